//! Statements: groups of ports with all that their row says, as requirements.
//!
//! In comes what a row's cells said, whatever its shape; out come requirements, one for each set of
//! protocols. What the document leaves open is inferred here and marked: the transport of an application
//! protocol, of a title (`TCP ports`), of a port that only one transport uses. Invariant: nothing is
//! inferred over something stated.

use std::rc::Rc;

use super::expression::{Expression, Group, Problem, once, unique};
use super::fold::Folded;
use super::import::Import;
use super::reading::{Hints, Readings};
use super::surroundings::Scope;
use super::title;
use super::vocabulary::{FlagWord, PortWord, Vocabulary};
use super::{Diagnostic, Direction, Parameter, PortRange, Ports, Protocol, Requirement};

/// What a row says besides its ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    pub(crate) line: u32,
    pub(crate) table: String,
    pub(crate) role: String,
    pub(crate) service: String,
    pub(crate) source: String,
    pub(crate) destination: String,
    /// Stated by a column of its own.
    pub(crate) direction: Option<Direction>,
    /// Text of a column with application protocols.
    pub(crate) application: String,
    pub(crate) parameter: Option<Parameter>,
    /// Sentences of note cells, remarks and footnotes.
    pub(crate) notes: Vec<String>,
    /// Flags that the shape itself gives.
    pub(crate) flags: Vec<&'static str>,
    /// Whether text of the port cells says that ports are dynamic by default, and the like.
    pub(crate) qualified: String,
}

/// Bytes of the longest word that qualifies nothing: `SCTP`, and one Chinese character.
const LONGEST_NAME: usize = 4;

impl Statement {
    /// Adds the requirements that `groups` make to `import`.
    pub(crate) fn state(
        mut self,
        groups: Vec<Group>,
        scope: &Scope,
        readings: &Readings,
        import: &mut Import,
    ) {
        let words = readings.words;
        let said = [&self.role, &self.service, self.qualification()].map(|text| readings.hints(text));
        let noted: Vec<Rc<Hints>> = self.notes.iter().map(|note| readings.hints(note)).collect();
        let (direction, direction_inferred) = self.direction(scope, &said, &noted);
        let flags = self.flags(said.iter().chain(&noted));
        let mut groups = joined(parted(groups)).into_iter().peekable();
        while let Some(group) = groups.next() {
            let mut inferred: Vec<String> = vec![];
            let portless = group.is_portless();
            let Group { mut protocols, mut ports, applications, .. } = group;
            once(&mut ports);
            if protocols.is_empty() {
                // `TCP/SSH` in a column of applications states the transport.
                protocols = transports(&self.application, words);
            }
            if protocols.is_empty() {
                protocols = self.infer(&applications, &ports, scope, words);
                if !protocols.is_empty() {
                    inferred.push("protocols".to_owned());
                }
            }
            if direction_inferred && direction != Direction::Unknown {
                inferred.push("direction".to_owned());
            }
            // `8/0` or `any` beside a protocol that has no ports.
            let ports = if portless { vec![] } else { settled(ports) };
            let names = applications.iter().filter_map(|&index| words.applications.get(index));
            let named = names.map(|known| known.name.as_str()).collect::<Vec<_>>().join("/");
            let application = Some(named)
                .filter(|named| !named.is_empty())
                .or_else(|| Some(application(&self.application, words)).filter(|text| !text.is_empty()));
            // Most rows have one group, to which everything moves.
            let Self { line, table, role, service, source, destination, parameter, notes: said, .. } =
                if groups.peek().is_some() { self.clone() } else { std::mem::take(&mut self) };
            let mut notes: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
            notes.extend(said);
            once(&mut notes);
            import.requirements.push(Requirement {
                line,
                table,
                role,
                service,
                direction,
                source,
                destination,
                protocols,
                ports,
                application,
                parameter,
                inferred,
                notes,
            });
        }
    }

    /// The direction: stated by a column, said by the row's own words, by titles, or by notes.
    fn direction(&self, scope: &Scope, said: &[Rc<Hints>], noted: &[Rc<Hints>]) -> (Direction, bool) {
        if let Some(stated) = self.direction {
            return (stated, false);
        }
        let said = said.iter().find_map(|hints| title::direction_in(hints.flows.iter().copied()));
        if let Some(stated) = said.or(scope.direction) {
            return (stated, false);
        }
        let noted = noted.iter().flat_map(|hints| hints.flows.iter().chain(&hints.verbs).copied());
        (title::direction_in(noted).unwrap_or_default(), true)
    }

    /// The transports of a group that states none.
    fn infer(
        &self,
        applications: &[usize],
        ports: &[Ports],
        scope: &Scope,
        words: &Vocabulary,
    ) -> Vec<Protocol> {
        let named = applications.iter().filter_map(|&index| words.applications.get(index));
        let named = unique(named.flat_map(|known| known.transport.iter().copied()));
        if !named.is_empty() {
            return named;
        }
        for text in scope.titles.iter().take(2) {
            let found = transports(text, words);
            if !found.is_empty() {
                return found;
            }
        }
        if self.parameter.is_some() {
            // A port that can be moved is not there for what others use it for.
            return vec![];
        }
        let known: Vec<&[Protocol]> = ports
            .iter()
            .map(|ports| if let Ports::Range(range) = ports { words.transport_of(range.lo()) } else { &[] })
            .collect();
        match known.first() {
            Some(&first) if known.iter().all(|&other| other == first) => first.to_vec(),
            _ => vec![],
        }
    }

    /// The text of the port cells where it can say more than ports: `443 TCP` cannot.
    fn qualification(&self) -> &String {
        const NOTHING: &String = &String::new();
        let says = self.qualified.split(|c: char| !c.is_alphabetic()).any(|word| word.len() > LONGEST_NAME);
        if says { &self.qualified } else { NOTHING }
    }

    /// Qualifications that the row's words make.
    fn flags<'a>(&self, hints: impl Iterator<Item = &'a Rc<Hints>>) -> Vec<&'static str> {
        let found = hints.flat_map(|hints| &hints.flags).map(|flag| match flag {
            FlagWord::Legacy => "legacy",
            FlagWord::Optional => "optional",
            FlagWord::Configurable => "configurable",
        });
        unique(self.flags.iter().copied().chain(found))
    }
}

/// The protocols that a text names.
fn transports(text: &str, words: &Vocabulary) -> Vec<Protocol> {
    let found = words.ports.find(&Folded::new(text)).into_iter();
    unique(found.filter_map(|found| match found.meaning {
        PortWord::Protocol(protocol) => Some(protocol),
        _ => None,
    }))
}

/// What a column of applications names, without its transports: `SSH` of `TCP/SSH`.
fn application(text: &str, words: &Vocabulary) -> String {
    if text.is_empty() {
        return String::new();
    }
    let folded = Folded::new(text);
    let mut named = String::new();
    let mut at = 0;
    for found in words.ports.find(&folded) {
        let (start, end) = (folded.source(found.start), folded.source(found.end).min(text.len()));
        if matches!(found.meaning, PortWord::Protocol(_))
            && text.get(end..).is_some_and(|rest| rest.starts_with('/'))
        {
            named.push_str(text.get(at..start).unwrap_or_default());
            at = end + 1;
        }
    }
    named.push_str(text.get(at..).unwrap_or_default());
    named
}

/// The ports of a whole row: every port, written as a range, is `any` where it is all that the row has. In a list it
/// stays the range that it is, as `22, any` would leave open what the 22 is for.
pub(super) fn settled(ports: Vec<Ports>) -> Vec<Ports> {
    match ports[..] {
        [Ports::Range(range)] if range.is_whole() => vec![Ports::Any],
        _ => ports,
    }
}

/// Groups with numbers, and with protocols that have ports and others that have none, as one of each.
fn parted(groups: Vec<Group>) -> Vec<Group> {
    let mixed = |group: &Group| {
        let portless = group.protocols.iter().filter(|protocol| protocol.is_portless()).count();
        (1..group.protocols.len()).contains(&portless)
            && group.ports.iter().any(|ports| ports.range().is_some())
    };
    if !groups.iter().any(mixed) {
        return groups;
    }
    let mut parted = vec![];
    for group in groups {
        if mixed(&group) {
            let (portless, others) = group.protocols.iter().partition(|protocol| protocol.is_portless());
            parted.push(Group { protocols: others, ..group });
            parted.push(Group { protocols: portless, ..Group::default() });
        } else {
            parted.push(group);
        }
    }
    parted
}

/// Neighbouring groups with the same protocols as one.
fn joined(groups: Vec<Group>) -> Vec<Group> {
    if groups.len() < 2 {
        return groups;
    }
    let mut joined: Vec<Group> = Vec::with_capacity(groups.len());
    for group in groups {
        match joined.last_mut() {
            Some(last) if last.protocols == group.protocols && last.applications == group.applications => {
                last.ports.extend(group.ports);
                once(&mut last.ports);
            }
            _ => joined.push(group),
        }
    }
    joined
}

/// Reports the problems of an expression on `line`.
pub(crate) fn report(expression: &Expression, line: u32, text: impl Fn() -> String, import: &mut Import) {
    for problem in &expression.problems {
        let message = match problem {
            Problem::OutOfRange(number) if *number == 0 => {
                "port 0 is reserved and cannot be opened: mend the row".to_owned()
            }
            Problem::OutOfRange(number) => format!(
                "{number} is no port, ports end at {}: mend the row, what exists of it is kept",
                PortRange::ALL.hi()
            ),
            Problem::TooLong(bytes) => format!("{bytes} bytes are too many for a cell: part it into rows"),
            Problem::Mapped(port, other) => {
                format!(
                    "{port} is mapped to {other}: read as {port}, check that this is the port that others use"
                )
            }
            Problem::Reversed(lo, hi, read) => {
                format!("the range {lo}-{hi} ends before it starts: read as {read}")
            }
            Problem::Ambiguous(shown, others) => {
                let others = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
                format!("`{shown}` groups thousands or parts two ports: check that it does not mean {others}")
            }
        };
        import.diagnostics.push(Diagnostic::new(line, &text(), message));
    }
}
