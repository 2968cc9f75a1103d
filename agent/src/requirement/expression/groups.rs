//! Groups: which ports go with which protocols.
//!
//! In come elements; out come groups. Authors write the protocol before its ports (`TCP 80, 443`) or
//! behind them (`443/TCP, 80/TCP`), and each statement of a cell keeps to one of the two. Invariant: the
//! groups hold every port element, in the order of the text.

use super::elements::{Element, LAST_TYPE, Reader};
use super::token::Token;
use super::{Context, Expression, Group, Problem, once, unique};
use crate::requirement::fold::Folded;
use crate::requirement::vocabulary::Vocabulary;
use crate::requirement::{Ports, Protocol};

/// Reads the tokens of the cell `source`.
pub(super) fn read(
    source: &str,
    folded: &Folded,
    tokens: &[Token],
    context: Context,
    words: &Vocabulary,
) -> Expression {
    let mut reader = Reader::new(folded.as_str(), context);
    let elements = reader.read(tokens);
    let mut cell = Cell { words, groups: vec![], line: 0 };
    let mut expression = Expression {
        nothing: elements.contains(&Element::Nothing),
        numbered: elements.contains(&Element::Numbered),
        ..Expression::default()
    };
    for statement in elements.split_inclusive(|element| matches!(element, Element::Break { .. })) {
        cell.statement(statement);
        cell.line += usize::from(matches!(statement.last(), Some(Element::Break { line: true })));
    }
    remarks(&elements, source, folded, &mut expression.remarks);
    let mut groups = cell.finish();
    let portless = !groups.is_empty() && groups.iter().all(Group::is_portless);
    if portless {
        // `ICMP type 8, code 0`: numbers beside a protocol without ports are none.
        reader.problems.retain(|problem| !matches!(problem, Problem::OutOfRange(_)));
    } else if !reader.swallowed.is_empty() && groups.iter().all(|group| group.ports.is_empty()) {
        // The only numbers of the cell are its ports, whatever words stand before them.
        let protocols = unique(groups.iter().flat_map(|group| group.protocols.iter().copied()));
        let applications = unique(groups.iter().flat_map(|group| group.applications.iter().copied()));
        groups = vec![Group { protocols, applications, ports: reader.swallowed, ..Group::default() }];
        reader.problems.append(&mut reader.swallowed_problems);
    }
    expression.groups = groups;
    expression.problems = reader.problems;
    expression.marks = reader.marks;
    expression
}

/// The remarks as they stand in the cell.
fn remarks(elements: &[Element], source: &str, folded: &Folded, out: &mut Vec<String>) {
    for element in elements {
        match element {
            Element::Remark(start, end) => {
                let text = source
                    .get(folded.source(*start)..folded.source(*end).min(source.len()))
                    .unwrap_or_default();
                out.push(crate::document::collapse(text));
            }
            Element::Inner(inner) => remarks(inner, source, folded, out),
            _ => {}
        }
    }
}

/// The groups of one cell, statement by statement.
struct Cell<'a> {
    words: &'a Vocabulary,
    groups: Vec<Group>,
    line: usize,
}

/// The group that is being put together.
#[derive(Default)]
struct Open {
    group: Group,
    /// Applications came behind the ports: the next port begins a new group.
    named_behind: bool,
}

impl Cell<'_> {
    fn statement(&mut self, elements: &[Element]) {
        let Some(first) = elements.iter().find_map(leading) else { return };
        let start = self.groups.len();
        let mut open = Open { group: Group { line: self.line, ..Group::default() }, named_behind: false };
        self.elements(elements, first, &mut open);
        self.close(&mut open);
        self.join_trailing_protocol(start);
        self.share(start, first);
    }

    fn elements(&mut self, elements: &[Element], style: Style, open: &mut Open) {
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Ports(ports) => self.ports(*ports, style, open),
                Element::Protocol(protocol) => self.protocol(*protocol, style, open),
                Element::Application(application) => {
                    let port_follows = elements[index + 1..]
                        .iter()
                        .find(|next| **next != Element::Separator)
                        .is_some_and(|next| matches!(next, Element::Ports(_)));
                    if style == Style::Before && port_follows && !open.group.ports.is_empty() {
                        let before = open.group.protocols.clone();
                        self.close(open);
                        let own = self
                            .words
                            .applications
                            .get(*application)
                            .map_or(&[][..], |known| &known.transport);
                        // `UDP/TCP 5060, TLS 5061`: of what goes on, the application leaves what it runs over.
                        open.group.protocols = match own {
                            [] => before,
                            own => before.into_iter().filter(|protocol| own.contains(protocol)).collect(),
                        };
                    } else {
                        open.named_behind = !open.group.ports.is_empty();
                    }
                    open.group.applications.push(*application);
                }
                Element::Inner(inner) => {
                    // `HTTPS (443)`, `5060 (TCP)`, `TCP (TLS)`: what is inside goes with what is outside.
                    for element in inner {
                        match element {
                            Element::Ports(ports) => open.group.ports.push(*ports),
                            Element::Protocol(protocol) => open.group.protocols.push(*protocol),
                            Element::Application(application) => {
                                open.named_behind = !open.group.ports.is_empty();
                                open.group.applications.push(*application);
                            }
                            Element::Inner(_)
                            | Element::Separator
                            | Element::Break { .. }
                            | Element::Remark(..)
                            | Element::Numbered
                            | Element::Nothing => {}
                        }
                    }
                }
                Element::Separator
                | Element::Break { .. }
                | Element::Remark(..)
                | Element::Numbered
                | Element::Nothing => {}
            }
        }
    }

    fn ports(&mut self, ports: Ports, style: Style, open: &mut Open) {
        let complete = match style {
            Style::Before => open.named_behind,
            Style::Behind => !open.group.protocols.is_empty() || open.named_behind,
        };
        if open.group.is_portless() && !may_be_type(ports) {
            // `ESP, 500/UDP`: a protocol without ports is an item of its own.
            self.close(open);
        } else if complete && !open.group.ports.is_empty() {
            let protocols = open.group.protocols.clone();
            self.close(open);
            if style == Style::Before {
                open.group.protocols = protocols;
            }
        }
        open.group.ports.push(ports);
    }

    fn protocol(&mut self, protocol: Protocol, style: Style, open: &mut Open) {
        // `ESP, UDP 500`, `53/UDP, ICMP`: what has no ports shares none.
        let parts = !open.group.protocols.is_empty() && open.group.is_portless() != protocol.is_portless();
        if parts || style == Style::Before && !open.group.ports.is_empty() && !open.group.protocols.is_empty()
        {
            self.close(open);
        }
        if style == Style::Behind && open.group.protocols.is_empty() {
            // `22, 161/UDP`: the protocol stands beside the last one.
            let ports = &open.group.ports;
            open.group.sharing = ports[..ports.len().saturating_sub(1)].to_vec();
        }
        open.group.protocols.push(protocol);
    }

    fn close(&mut self, open: &mut Open) {
        let line = open.group.line;
        let group = std::mem::take(&mut open.group);
        open.group.line = line;
        open.named_behind = false;
        if !group.is_empty() {
            self.groups.push(group);
        }
    }

    /// `TCP 53 / UDP`: a protocol at the end of a statement goes with the ports before it, unless it has none, as
    /// in `UDP 500 and ESP`.
    fn join_trailing_protocol(&mut self, start: usize) {
        let joins = |last: &mut Group| last.ports.is_empty() && !last.is_portless();
        if self.groups.len() >= start + 2
            && let Some(last) = self.groups.pop_if(joins)
            && let Some(before) = self.groups.last_mut()
        {
            before.protocols.extend(last.protocols);
            before.applications.extend(last.applications);
        }
    }

    /// Hands protocols on to groups of the statement, and of its neighbours, that have none.
    fn share(&mut self, start: usize, style: Style) {
        let needs = |group: &Group| {
            group.protocols.is_empty() && group.applications.is_empty() && !group.ports.is_empty()
        };
        // `80/TCP, 443`: the protocol goes on. A line with only a protocol goes with the lines before it.
        for index in start..self.groups.len() {
            if needs(&self.groups[index]) && index > 0 {
                let before = self.groups[index - 1].clone();
                let goes_on =
                    index > start || style == Style::Before || before.line + 1 >= self.groups[index].line;
                if goes_on && !before.protocols.is_empty() && before.may_have(&self.groups[index]) {
                    self.groups[index].take_protocols(&before.protocols);
                }
            }
        }
        let alone = self.groups.len() == start + 1 && self.groups[start].ports.is_empty();
        if alone && self.groups[..start].iter().any(needs) {
            let last = self.groups.remove(start);
            for group in self.groups.iter_mut().filter(|group| needs(group)) {
                group.take_protocols(&last.protocols);
                group.applications.clone_from(&last.applications);
            }
        }
    }

    /// The groups, each with its protocols and ports once.
    fn finish(self) -> Vec<Group> {
        let mut groups = self.groups;
        // A line that only names a protocol heads the lines below it.
        for index in 1..groups.len() {
            let (before, rest) = groups.split_at_mut(index);
            let heads = before[index - 1].ports.is_empty() && !before[index - 1].protocols.is_empty();
            if heads
                && before[index - 1].may_have(&rest[0])
                && rest[0].protocols.is_empty()
                && !rest[0].ports.is_empty()
            {
                rest[0].protocols.clone_from(&before[index - 1].protocols);
            }
        }
        // `80; 443 TCP`: one protocol, stated once, behind all.
        let mut stated = groups
            .iter()
            .filter(|group| !group.protocols.is_empty() && !group.is_portless())
            .map(|group| &group.protocols);
        let only = stated.next().filter(|first| groups.len() > 1 && stated.all(|other| other == *first));
        if let Some(protocols) = &only.cloned() {
            for group in groups.iter_mut().filter(|group| {
                group.protocols.is_empty() && group.applications.is_empty() && !group.ports.is_empty()
            }) {
                group.take_protocols(protocols);
            }
        }
        let with_ports = groups.iter().any(|group| !group.ports.is_empty())
            && groups.iter().any(|group| group.ports.is_empty());
        let used = |group: &Group, groups: &[Group]| {
            groups.iter().any(|other| {
                !other.ports.is_empty()
                    && group.protocols.iter().all(|protocol| other.protocols.contains(protocol))
            })
        };
        if with_ports {
            let all = groups.clone();
            groups.retain(|group| {
                !group.ports.is_empty()
                    || group.protocols.iter().any(|protocol| matches!(protocol, Protocol::Ip(_)))
                    || !used(group, &all)
            });
        }
        for group in &mut groups {
            once(&mut group.protocols);
            once(&mut group.applications);
            once(&mut group.ports);
            keep_plain(&mut group.ports);
            // `ICMP 8/0` has no port 8.
            if group.is_portless() {
                group.ports.clear();
            }
        }
        groups
    }
}

impl Group {
    /// Whether the ports of `other` can be these protocols'.
    fn may_have(&self, other: &Self) -> bool {
        !self.is_portless() || other.ports.iter().all(|&ports| may_be_type(ports))
    }
}

/// Whether a number could be the type of an ICMP message, or a protocol's own.
fn may_be_type(ports: Ports) -> bool {
    matches!(ports, Ports::Range(range) if u32::from(range.hi()) <= LAST_TYPE)
        || matches!(ports, Ports::Any | Ports::Dynamic | Ports::Unspecified)
}

/// Numbers say more than words: `dynamic (49152-65535)` is the range.
fn keep_plain(ports: &mut Vec<Ports>) {
    let numbers = ports.iter().any(|ports| matches!(ports, Ports::Range(_) | Ports::Beyond { .. }));
    if numbers {
        ports.retain(|ports| !matches!(ports, Ports::Dynamic | Ports::Unspecified | Ports::Any));
    } else if ports.len() > 1 {
        ports.retain(|ports| *ports != Ports::Unspecified);
    }
}

/// Where a statement writes its protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `TCP 80`
    Before,
    /// `80/TCP`
    Behind,
}

fn leading(element: &Element) -> Option<Style> {
    match element {
        Element::Ports(_) => Some(Style::Behind),
        Element::Protocol(_) | Element::Application(_) => Some(Style::Before),
        Element::Inner(inner) => inner.iter().find_map(leading),
        Element::Separator
        | Element::Break { .. }
        | Element::Remark(..)
        | Element::Numbered
        | Element::Nothing => None,
    }
}
