//! This build's kernel object and an earlier one in one run: the same rules, packets and rounds.
//!
//! Each round loads both anew, because a program's place in memory shows in its time, and measures every line
//! with the no-op, one object and the other in short turns. The smallest figure of all rounds counts, and a line is
//! called slower only where the middle one of the rounds' differences says so, too: one of the two objects may have
//! had a lucky round. Noise only ever adds, so such a line is measured in more rounds before it is believed.

use std::{os::fd::OwnedFd, rc::Rc};

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    compile,
    datapath::{LoadOptions, Programs},
    ruleset::RuleSet,
};
use portcullis_tests::{
    assembly::{self, Field},
    packet::{Frame, Ip},
    raw,
};
use serde::Serialize;

use crate::{
    cases::{self, DROP, PASS, Packet},
    earlier::{self, Earlier, Object},
    measure,
    stage::{Dummies, PORT},
};

/// Nanoseconds that a packet may cost more on its way to a drop.
const ALLOWED: f64 = 0.5;
/// How many times the rounds there may be, where a line seems slower.
const PATIENCE: u32 = 3;
/// Turns that the programs take in a round: in a short one, the chance is good that nothing else disturbs.
const TURNS: u32 = 40;
/// Numbers of rules, and of sources of one rule.
const RULES: [u16; 2] = [1, 10_000];
const SOURCES: [u32; 2] = [1, 1_000];

/// What one packet costs with both.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) rules: usize,
    /// Whether the packet is dropped; where it changes from run to run, not all are.
    pub(crate) drops: bool,
    /// Nanoseconds of the program that does nothing.
    pub(crate) noop_ns: f64,
    /// Nanoseconds with the earlier object.
    pub(crate) earlier_ns: f64,
    /// Nanoseconds with this build's.
    pub(crate) ns: f64,
    /// How many more they were in each round, by the smallest figures of that round.
    #[serde(skip)]
    differences: Vec<f64>,
}

impl Line {
    /// A line without figures.
    fn new(case: String, rules: usize, drops: bool) -> Self {
        let [noop_ns, earlier_ns, ns] = [f64::INFINITY; 3];
        Self { case, rules, drops, noop_ns, earlier_ns, ns, differences: Vec::new() }
    }

    /// Nanoseconds that a packet costs more than it did.
    pub(crate) fn more(&self) -> f64 {
        self.ns - self.earlier_ns
    }

    /// Whether a drop costs more than it may.
    pub(crate) fn is_slower(&self) -> bool {
        self.drops && self.more() > ALLOWED && self.middle() > ALLOWED
    }

    /// The middle one of the rounds' differences.
    fn middle(&self) -> f64 {
        let mut differences = self.differences.clone();
        differences.sort_by(f64::total_cmp);
        differences.get(differences.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Takes the figures of a round: those of the no-op, the earlier object and this one.
    fn take(&mut self, [noop, earlier, this]: [f64; 3]) {
        self.noop_ns = self.noop_ns.min(noop);
        self.earlier_ns = self.earlier_ns.min(earlier);
        self.ns = self.ns.min(this);
        self.differences.push(this - earlier);
    }
}

/// All lines.
#[derive(Serialize)]
pub(crate) struct Comparison {
    pub(crate) lines: Vec<Line>,
    /// Rounds, each of which loaded both objects.
    pub(crate) loads: u32,
    /// What could not be compared, and why.
    pub(crate) missing: Vec<String>,
}

impl Comparison {
    /// How many drops cost more than they may.
    pub(crate) fn slower(&self) -> usize {
        self.lines.iter().filter(|line| line.is_slower()).count()
    }
}

/// Compares; only cases that contain `only`.
pub(crate) fn compare(object: &Object, rounds: u32, repeat: u32, only: &str) -> Result<Comparison> {
    measure::ensure_no_statistics()?;
    let mut comparison = Comparison { lines: Vec::new(), loads: 0, missing: Vec::new() };
    loop {
        let loads = comparison.loads;
        let mut round = Round::set(object, loads.is_multiple_of(2))?;
        round.pairs.retain(|pair| pair.packet.name.contains(only));
        if loads == 0 {
            comparison.missing = std::mem::take(&mut round.missing);
            for pair in &round.pairs {
                match pair.line()? {
                    Ok(line) => comparison.lines.push(line),
                    Err(reason) => comparison.missing.push(reason),
                }
            }
            ensure!(!comparison.lines.is_empty(), "no case that can be compared contains `{only}`");
        }
        for line in &mut comparison.lines {
            if loads < rounds || line.is_slower() {
                let same = |pair: &&Pair| pair.rules == line.rules && pair.packet.name == line.case;
                let pair = round.pairs.iter().find(same).context("each round has the same lines")?;
                line.take(pair.measure(repeat)?);
            }
        }
        comparison.loads += 1;
        let most = if comparison.slower() > 0 { rounds.saturating_mul(PATIENCE) } else { rounds };
        if comparison.loads >= most {
            return Ok(comparison);
        }
    }
}

/// Both objects, loaded and attached with all rules.
struct Round {
    pairs: Vec<Pair>,
    dummies: Dummies,
    nothing: Rc<OwnedFd>,
    /// The kernel finds a program among all by its address, at a cost that depends on its place.
    earlier_first: bool,
    /// What must outlive the runs.
    kept: Vec<(Programs, Earlier)>,
    /// What cannot be compared, and why.
    missing: Vec<String>,
}

/// One packet, and the programs that see it.
struct Pair {
    rules: usize,
    packet: Packet,
    /// Whether most packets are dropped, where they change from run to run; else the first answer tells.
    drops: Option<bool>,
    nothing: Rc<OwnedFd>,
    earlier: Rc<OwnedFd>,
    this: Rc<OwnedFd>,
}

impl Round {
    /// Loads everything, of each rules the earlier object first or last.
    fn set(object: &Object, earlier_first: bool) -> Result<Self> {
        let mut dummies = Dummies::default();
        let nothing = Rc::new(assembly::nothing()?);
        dummies.attach(&nothing)?;
        let mut round = Self {
            pairs: Vec::new(),
            dummies,
            nothing,
            earlier_first,
            kept: Vec::new(),
            missing: Vec::new(),
        };
        for count in RULES {
            let programs = round.load(object, &cases::rules(count))?;
            let rules = usize::from(count);
            for ip in Ip::BOTH {
                for packet in cases::packets(ip).into_iter().chain(cases::dropped(ip)) {
                    round.pair(rules, packet, &programs);
                }
                round.conversation(rules, ip, &programs)?;
            }
            let syn = Frame::syn(Ip::V4, 443).bytes();
            round.varied(rules, "random ports, all but one closed", syn, PORT, Some(true), &programs)?;
        }
        let programs = round.load(object, &cases::scattered(10_000))?;
        let syn = Frame::syn(Ip::V4, 443).bytes();
        round.varied(10_000, "random ports, half of them open", syn, PORT, Some(false), &programs)?;
        for count in SOURCES {
            match round.load(object, &cases::sources(count)) {
                Ok(programs) => round.sources(count, &programs)?,
                Err(error) => round.missing.push(format!("{count} sources: {error:#}")),
            }
        }
        Ok(round)
    }

    /// The programs of the earlier object and of this one with rules, attached.
    fn load(&mut self, object: &Object, rules: &RuleSet) -> Result<[Rc<OwnedFd>; 2]> {
        let tables = compile::compile(rules, &earlier::slots(rules))?.tables;
        let load_this = || Programs::load(&tables, &LoadOptions::default(), None);
        let (earlier, this) = if self.earlier_first {
            let earlier = object.load(&tables)?;
            (earlier, load_this()?)
        } else {
            let this = load_this()?;
            (object.load(&tables)?, this)
        };
        let programs = [Rc::new(earlier.ingress.try_clone()?), Rc::new(raw::program(this.id()?)?)];
        for program in &programs {
            self.dummies.attach(program)?;
        }
        self.kept.push((this, earlier));
        Ok(programs)
    }

    /// A reply, and a segment that is none: both look among the flows.
    fn conversation(&mut self, rules: usize, ip: Ip, programs: &[Rc<OwnedFd>; 2]) -> Result<()> {
        let (question, reply) = cases::conversation(ip);
        let (this, earlier) = self.kept.last_mut().context("rules are loaded first")?;
        this.learn(&question)?;
        if !earlier.learn(&question)? {
            self.missing.push(format!("{}: the settings of flows have another shape", reply.name));
            return Ok(());
        }
        for packet in [cases::stranger(ip), reply] {
            self.pair(rules, packet, programs);
        }
        Ok(())
    }

    /// One packet from a source that a rule names, from one that it does not, and from random ones.
    fn sources(&mut self, count: u32, programs: &[Rc<OwnedFd>; 2]) -> Result<()> {
        let packet = |ip, source: &str, what: &str, action| {
            let name = format!("{what}, {count} sources");
            cases::from(ip, source).map(|bytes| Packet { name, bytes, action, budget: None })
        };
        let packets = [
            packet(Ip::V4, "10.0.0.1", "IPv4 TCP from a source", Some(PASS))?,
            packet(Ip::V6, "2001:db8::1", "IPv6 TCP from a source", Some(PASS))?,
            packet(Ip::V4, "192.0.2.1", "IPv4 TCP from no source", Some(DROP))?,
            packet(Ip::V6, "2001:db9::1", "IPv6 TCP from no source", Some(DROP))?,
        ];
        for packet in packets {
            self.pair(1, packet, programs);
        }
        for (ip, version, source) in [(Ip::V4, "IPv4", "10.0.0.1"), (Ip::V6, "IPv6", "2001:db8::1")] {
            let name = format!("{version} TCP from random, {count} sources");
            let bytes = cases::from(ip, source)?;
            self.varied(1, &name, bytes, cases::random_source(ip), Some(false), programs)?;
        }
        Ok(())
    }

    fn pair(&mut self, rules: usize, packet: Packet, [earlier, this]: &[Rc<OwnedFd>; 2]) {
        let [nothing, earlier, this] = [&self.nothing, earlier, this].map(Rc::clone);
        self.pairs.push(Pair { rules, packet, drops: None, nothing, earlier, this });
    }

    /// A packet that is different at each run.
    fn varied(
        &mut self,
        rules: usize,
        name: &str,
        bytes: Vec<u8>,
        field: Field,
        drops: Option<bool>,
        [earlier, this]: &[Rc<OwnedFd>; 2],
    ) -> Result<()> {
        let mut programs = Vec::new();
        for program in [&Rc::clone(&self.nothing), earlier, this] {
            let array = raw::array_of(program)?;
            let varied = Rc::new(assembly::vary(field, &array, true)?);
            self.dummies.attach(&varied)?;
            self.dummies.keep(array);
            programs.push(varied);
        }
        let [nothing, earlier, this]: [_; 3] = programs.try_into().ok().context("three programs")?;
        let packet = Packet { name: name.to_owned(), bytes, action: None, budget: None };
        self.pairs.push(Pair { rules, packet, drops, nothing, earlier, this });
        Ok(())
    }
}

impl Pair {
    /// A line without figures, or why there is none: both must answer alike, and this one as expected.
    fn line(&self) -> Result<Result<Line, String>> {
        let Packet { name, bytes, action, .. } = &self.packet;
        let [before, now] = [&self.earlier, &self.this].map(|program| raw::run(program, bytes, 1));
        let (before, now) = (before.context("cannot run")?.0, now.context("cannot run")?.0);
        ensure!(action.is_none_or(|expected| expected == now), "{name} is answered by {now}");
        if before != now && self.drops.is_none() {
            return Ok(Err(format!("{name}: the earlier object answers {before}, this one {now}")));
        }
        let drops = self.drops.unwrap_or(now == DROP);
        Ok(Ok(Line::new(name.clone(), self.rules, drops)))
    }

    /// Nanoseconds of the no-op, the earlier object and this one, measured in turn.
    fn measure(&self, repeat: u32) -> Result<[f64; 3]> {
        let mut best = [f64::INFINITY; 3];
        let mut turns = [(0, &self.nothing), (1, &self.earlier), (2, &self.this)];
        for _ in 0..TURNS {
            for (at, program) in turns {
                let took = measure::once(program, &self.packet.bytes, repeat / TURNS);
                best[at] = best[at].min(took.with_context(|| format!("cannot run {}", self.packet.name))?.1);
            }
            // Neither object always follows the no-op.
            turns.swap(1, 2);
        }
        Ok(best)
    }
}

/// Prints what costs more and what less.
pub(crate) fn print(comparison: &Comparison) {
    let Comparison { lines, loads, missing } = comparison;
    println!(
        "{:<40} {:>6} {:>5} {:>8} {:>8} {:>8} {:>8}",
        "case", "rules", "", "no-op ns", "earlier", "this", "more"
    );
    for line in lines {
        let Line { case, rules, drops, noop_ns, earlier_ns, ns, .. } = line;
        let (drop, more) = (if *drops { "drop" } else { "" }, line.more());
        let judged = if line.is_slower() { "  slower" } else { "" };
        println!(
            "{case:<40} {rules:>6} {drop:>5} {noop_ns:>8.2} {earlier_ns:>8.2} {ns:>8.2} {more:>+8.2}{judged}"
        );
    }
    for reason in missing {
        println!("not compared: {reason}");
    }
    let drops = lines.iter().filter(|line| line.drops).count();
    println!(
        "{} of {drops} lines of the drop path cost more than {ALLOWED} ns more, the smallest of {loads} loads of \
         each object",
        comparison.slower()
    );
}

#[cfg(test)]
mod tests {
    use super::Line;

    fn line(drops: bool, rounds: &[(f64, f64)]) -> Line {
        let mut line = Line::new(String::new(), 1, drops);
        for (earlier, this) in rounds {
            line.take([1.0, *earlier, *this]);
        }
        line
    }

    #[test]
    fn only_a_drop_is_slower_and_only_beyond_half_a_nanosecond() {
        let cases = [(true, 5.4, false), (true, 5.6, true), (false, 9.0, false), (true, 4.0, false)];
        for (drops, ns, slower) in cases {
            assert_eq!(line(drops, &[(5.0, ns)]).is_slower(), slower, "{drops} {ns}");
        }
    }

    #[test]
    fn a_lucky_round_of_the_earlier_object_alone_makes_no_line_slower() {
        let lucky = line(true, &[(4.0, 5.0), (5.0, 5.0), (5.0, 5.1)]);
        assert!(lucky.more() > 0.5 && !lucky.is_slower(), "{}", lucky.more());
        let slower = line(true, &[(4.0, 6.0), (5.0, 6.0), (5.0, 5.1)]);
        assert!(slower.is_slower(), "{}", slower.more());
    }
}
