//! What is measured: programs, rules and packets.

use std::{os::fd::OwnedFd, rc::Rc};

use anyhow::{Context as _, Result};
use portcullis::{
    compile,
    datapath::{LoadOptions, Programs},
    requirement::PortRange,
    ruleset::{Opening, RuleSet},
};
use portcullis_tests::{
    assembly::{self, Field},
    judge,
    packet::{Frame, Ip, Transport},
    raw, rules,
    splice::{self, Extension},
};

use crate::measure::Entry;

/// XDP actions.
const DROP: u32 = 1;
const PASS: u32 = 2;

/// Every entry, and what keeps its programs alive and attached.
pub(crate) struct Stage {
    pub(crate) entries: Vec<Entry>,
    loaded: Vec<Loaded>,
    links: Vec<OwnedFd>,
}

/// Rules in the kernel.
pub(crate) struct Loaded {
    pub(crate) rules: usize,
    pub(crate) id: u32,
    programs: Programs,
}

impl Loaded {
    /// Compiles and loads rules.
    pub(crate) fn new(rules: &RuleSet) -> Result<Self> {
        let compiled = compile::compile(rules, &judge::slots(rules))?;
        let mut programs = Programs::load(&compiled.tables, &LoadOptions::default(), None)?;
        Ok(Self { rules: rules.rules.len(), id: programs.id()?, programs })
    }
}

/// `count` rules: the first opens the ports that the cases use, the others ports above.
pub(crate) fn rules(count: u16) -> RuleSet {
    let mut set = rules::parse("tcp/443 udp/3478");
    for n in 1..count {
        let port = PortRange::single(20_000 + n);
        set.rules.push(rules::open(u32::from(n) + 1, &[Opening::Tcp(port), Opening::Udp(port)]));
    }
    set
}

/// `count` rules that share half of all TCP ports, without any order.
fn scattered(count: u32) -> RuleSet {
    let mut openings = vec![Vec::new(); count as usize];
    let mut next = (0..openings.len()).cycle();
    for port in 0..=u16::MAX {
        // An odd factor scatters the ports over the upper bits (Knuth's multiplicative hash).
        if u32::from(port).wrapping_mul(0x9e37_79b1) >> 16 & 1 == 1 {
            openings[next.next().unwrap_or(0)].push(Opening::Tcp(PortRange::single(port)));
        }
    }
    RuleSet { rules: (0..).zip(openings).map(|(n, openings)| rules::open(n, &openings)).collect() }
}

/// One rule for `count` sources that lie in 10.0.0.0/8 and 2001:db8::/32, each beside as many
/// addresses that are no source.
fn sources(count: u16) -> RuleSet {
    let prefixes = (0..u32::from(count)).map(|n| {
        let [a, b] = u16::try_from(n << 6).unwrap_or(u16::MAX).to_be_bytes();
        if count == 1 {
            "10.0.0.0/9 2001:db8::/33".to_owned()
        } else {
            format!("10.{a}.{b}.0/19 2001:db8:{a:02x}{b:02x}::/43")
        }
    });
    rules::parse(&format!("tcp/443 from {}", prefixes.collect::<Vec<_>>().join(" ")))
}

impl Stage {
    /// Loads and attaches everything.
    pub(crate) fn set() -> Result<Self> {
        let mut stage = Self { entries: Vec::new(), loaded: Vec::new(), links: Vec::new() };
        let nothing = stage.attached(assembly::nothing()?)?;
        let syn = Frame::syn(Ip::V4, 443).bytes();
        stage.add("noop", 0, "any packet", &nothing, syn.clone(), Some(DROP), None);

        for count in [1, 100, 10_000] {
            let handle = stage.load(&rules(count))?;
            for ip in Ip::BOTH {
                stage.single_packets(ip, usize::from(count), &handle)?;
            }
        }
        let port = Field::Port { at: 36 };
        let floor = stage.varied("noop", 0, "random ports", port, &nothing, &syn, None)?;
        for count in [1, 10_000] {
            let handle = stage.load(&scattered(count))?;
            let name = "random ports, half of them open";
            stage.varied("portcullis", count as usize, name, port, &handle, &syn, Some(floor))?;
        }
        stage.sources(&nothing)?;
        Ok(stage)
    }

    /// Drops the entries whose case does not contain `part`.
    pub(crate) fn keep(&mut self, part: &str) {
        let kept = |entry: &Entry| entry.program == "noop" || entry.case.contains(part);
        let mut position = 0;
        let positions: Vec<usize> = self
            .entries
            .iter()
            .map(|entry| {
                let at = position;
                position += usize::from(kept(entry));
                at
            })
            .collect();
        self.entries.retain(kept);
        for entry in &mut self.entries {
            entry.floor = positions[entry.floor];
        }
    }

    /// The same packet at each run.
    fn single_packets(&mut self, ip: Ip, count: usize, handle: &Rc<OwnedFd>) -> Result<()> {
        let allowed = Frame::syn(ip, 443);
        let (hidden, hidden_name) = match ip {
            Ip::V4 => (splice::options(&allowed.bytes(), 3), "allowed TCP behind options"),
            Ip::V6 => (
                splice::extend(&allowed.bytes(), &[Extension::padded(60, 1)]),
                "allowed TCP behind an extension",
            ),
        };
        // What this host sends, and its answer.
        let question = Frame::syn(ip, 80);
        let reply = Transport::Tcp { source: 80, destination: 40_000, syn: false, ack: true };
        let mut reply = Frame::new(ip, reply);
        (reply.source, reply.destination) = (question.destination, question.source);
        let loaded = self.loaded.last_mut().context("rules are loaded first")?;
        loaded.programs.learn(&question.bytes())?;
        let cases = [
            ("allowed TCP", allowed.bytes(), PASS),
            ("allowed UDP", Frame::udp(ip, 3478).bytes(), PASS),
            ("undocumented SYN", Frame::syn(ip, 444).bytes(), DROP),
            ("undocumented ACK", Frame::ack(ip, 444).bytes(), DROP),
            ("undocumented UDP", Frame::udp(ip, 444).bytes(), DROP),
            ("allowed TCP, one tag", allowed.clone().tagged(&[5]).bytes(), PASS),
            ("allowed TCP, two tags", allowed.clone().tagged(&[5, 6]).bytes(), PASS),
            (hidden_name, hidden, PASS),
            ("reply by flow", reply.bytes(), PASS),
        ];
        let version = if ip == Ip::V4 { "IPv4" } else { "IPv6" };
        for (case, packet, action) in cases {
            self.add("portcullis", count, &format!("{version} {case}"), handle, packet, Some(action), None);
        }
        Ok(())
    }

    /// Rules limited by source: always the same source, then another one at each run.
    fn sources(&mut self, nothing: &Rc<OwnedFd>) -> Result<()> {
        // The second to fourth byte of an IPv4 source, the third and fourth group of an IPv6 source.
        let v4 = Field::Address { at: 26, vary: 0x00ff_ffff, keep: 0x0a00_0000 };
        let v6 = Field::Address { at: 26, vary: -1, keep: 0 };
        let from = |ip, source: &str| -> Result<Vec<u8>> {
            let mut frame = Frame::syn(ip, 443);
            frame.source = source.parse()?;
            Ok(frame.bytes())
        };
        let packets = [("IPv4", from(Ip::V4, "10.0.1.1")?, v4), ("IPv6", from(Ip::V6, "2001:db8::1")?, v6)];
        let mut floors = Vec::new();
        for (version, packet, field) in &packets {
            let case = format!("random {version} sources");
            floors.push(self.varied("noop", 0, &case, *field, nothing, packet, None)?);
        }
        for count in [1, 1_000] {
            let handle = self.load(&sources(count))?;
            for ((version, packet, field), floor) in packets.iter().zip(&floors) {
                let case = format!("{version} allowed TCP from 1 of {count} sources");
                self.add("portcullis", 1, &case, &handle, packet.clone(), Some(PASS), None);
                let case = format!("{version} TCP from random, {count} sources");
                self.varied("portcullis", 1, &case, *field, &handle, packet, Some(*floor))?;
            }
        }
        Ok(())
    }

    fn load(&mut self, rules: &RuleSet) -> Result<Rc<OwnedFd>> {
        let loaded = Loaded::new(rules)?;
        let handle = raw::program(loaded.id)?;
        self.loaded.push(loaded);
        self.attached(handle)
    }

    /// Attaches a program to a dummy of its own: a run of a program that is attached nowhere begins
    /// with an update of the kernel's dispatcher, which takes milliseconds.
    fn attached(&mut self, program: OwnedFd) -> Result<Rc<OwnedFd>> {
        let name = format!("dummy{}", self.links.len());
        let status = std::process::Command::new("ip")
            .args(["link", "add", &name, "type", "veth"])
            .status()
            .context("cannot run ip")?;
        anyhow::ensure!(status.success(), "cannot make {name}");
        self.links.push(raw::attach(&program, &name).context("cannot attach")?);
        Ok(Rc::new(program))
    }

    /// Adds an entry whose packet is different at each run.
    #[expect(clippy::too_many_arguments, reason = "a row of the table")]
    fn varied(
        &mut self,
        program: &'static str,
        rules: usize,
        case: &str,
        field: Field,
        handle: &Rc<OwnedFd>,
        packet: &[u8],
        floor: Option<usize>,
    ) -> Result<usize> {
        let array = raw::array_of(handle)?;
        let varied = self.attached(assembly::vary(field, &array)?)?;
        // The array must outlive the program's runs.
        self.links.push(array);
        let action = (program == "noop").then_some(DROP);
        Ok(self.add(program, rules, case, &varied, packet.to_vec(), action, floor))
    }

    /// Adds an entry; without a floor of its own it is compared with the first.
    #[expect(clippy::too_many_arguments, reason = "a row of the table")]
    fn add(
        &mut self,
        program: &'static str,
        rules: usize,
        case: &str,
        handle: &Rc<OwnedFd>,
        packet: Vec<u8>,
        action: Option<u32>,
        floor: Option<usize>,
    ) -> usize {
        let number = self.entries.len();
        // The program that does nothing is its own floor.
        let floor = floor.unwrap_or(if program == "noop" { number } else { 0 });
        let (case, handle) = (case.to_owned(), Rc::clone(handle));
        self.entries.push(Entry { program, rules, case, handle, packet, action, floor });
        number
    }
}
