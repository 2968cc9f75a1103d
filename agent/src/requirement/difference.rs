//! Differences: which ports two sets of requirements open and close.
//!
//! In come two sets of requirements, each under a name for its role; out come changes. Ports are compared as
//! sets for each role, direction and protocol, so that a row split in two is no change. A port that closes
//! where one of the same width opens for the same service has moved. Invariant: equal sets of ports give no
//! change, whatever rows they come from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Direction, PortRange, Ports, Requirement};

/// A port or range that is open on one side only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The role.
    pub role: String,
    /// `inbound`, `outbound`, `both` or `unknown`.
    pub direction: &'static str,
    /// `tcp`, `udp`, …; `unknown` where no side states it.
    pub protocol: String,
    /// The ports that opened or closed; of a move, those that closed.
    pub ports: String,
    /// Of a move, the ports that opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
    /// Lines that state it: of the new side, or of the old one where ports closed.
    pub lines: Vec<u32>,
    /// The service, where the rows name one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// What happened to ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Open only on the new side.
    Opened,
    /// Open only on the old side.
    Closed,
    /// Closed, and opened elsewhere for the same service.
    Moved,
}

/// A requirement and the name of its role.
pub type Named<'a> = (&'a str, &'a Requirement);

type Key = (String, &'static str, String);

/// What one side opens under a key: ranges, words, and which rows say so.
#[derive(Default)]
struct Side<'a> {
    ranges: Vec<PortRange>,
    words: Vec<&'static str>,
    rows: Vec<&'a Requirement>,
}

/// The changes from `old` to `new`, opened ones first.
#[must_use]
pub fn changes(old: &[Named<'_>], new: &[Named<'_>]) -> Vec<Change> {
    let (old, new) = (sides(old), sides(new));
    let mut changes = vec![];
    let empty = Side::default();
    let keys: std::collections::BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (before, after) = (old.get(key).unwrap_or(&empty), new.get(key).unwrap_or(&empty));
        let mut opened = only(after, before, key, ChangeKind::Opened);
        let mut closed = only(before, after, key, ChangeKind::Closed);
        pair(&mut opened, &mut closed, &mut changes);
        changes.extend(opened);
        changes.extend(closed);
    }
    changes.sort();
    changes
}

fn sides<'a>(requirements: &[Named<'a>]) -> BTreeMap<Key, Side<'a>> {
    let mut sides: BTreeMap<Key, Side<'a>> = BTreeMap::new();
    for (role, requirement) in requirements {
        let direction = match requirement.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
            Direction::Both => "both",
            Direction::Unknown => "unknown",
        };
        let mut protocols: Vec<String> = requirement.protocols.iter().map(ToString::to_string).collect();
        if protocols.is_empty() {
            protocols.push("unknown".to_owned());
        }
        for protocol in protocols {
            let side = sides.entry(((*role).to_owned(), direction, protocol)).or_default();
            side.rows.push(requirement);
            if requirement.ports.is_empty() {
                side.words.push("no ports");
            }
            for ports in &requirement.ports {
                match ports {
                    Ports::Dynamic => side.words.push("dynamic"),
                    Ports::Unspecified => side.words.push("unspecified"),
                    Ports::Any | Ports::Range(_) | Ports::Beyond { .. } => {
                        // `any`, `0-65535` and `1-65535` open the same.
                        let whole = |range: PortRange| if range.is_whole() { PortRange::ALL } else { range };
                        side.ranges.extend(ports.range().map(whole));
                    }
                }
            }
        }
    }
    sides
}

/// What `side` opens and `other` does not, one change a range.
fn only(side: &Side<'_>, other: &Side<'_>, key: &Key, kind: ChangeKind) -> Vec<Change> {
    let stating = |range: &PortRange| -> Vec<&Requirement> {
        let touches = |ports: &Ports| {
            ports.range().is_some_and(|ports| ports.lo() <= range.hi() && range.lo() <= ports.hi())
        };
        side.rows.iter().copied().filter(|row| row.ports.iter().any(touches)).collect()
    };
    let change = |ports: String, rows: Vec<&Requirement>| {
        let mut lines: Vec<u32> = rows.iter().map(|row| row.line).collect();
        lines.dedup();
        let service = rows.first().map(|row| row.service.clone()).unwrap_or_default();
        Change {
            kind,
            role: key.0.clone(),
            direction: key.1,
            protocol: key.2.clone(),
            ports,
            moved_to: None,
            lines,
            service,
        }
    };
    let mut changes: Vec<Change> = subtract(&side.ranges, &other.ranges)
        .into_iter()
        .map(|range| change(range.to_string(), stating(&range)))
        .collect();
    let mut words: Vec<&str> =
        side.words.iter().copied().filter(|word| !other.words.contains(word)).collect();
    words.dedup();
    changes.extend(words.into_iter().map(|word| change(word.to_owned(), side.rows.clone())));
    changes
}

/// The parts of `ranges` that no range of `others` covers, in order and joined where they touch.
fn subtract(ranges: &[PortRange], others: &[PortRange]) -> Vec<PortRange> {
    let mut left = joined(ranges);
    for other in joined(others) {
        left = left
            .into_iter()
            .flat_map(|range| {
                let below = range.hi().min(other.lo().saturating_sub(1));
                let above = range.lo().max(other.hi().saturating_add(1));
                let outside = other.hi() < range.lo() || range.hi() < other.lo();
                let below =
                    (range.lo() < other.lo()).then(|| PortRange::new(range.lo(), below).ok()).flatten();
                let above =
                    (range.hi() > other.hi()).then(|| PortRange::new(above, range.hi()).ok()).flatten();
                if outside { vec![range] } else { below.into_iter().chain(above).collect() }
            })
            .collect();
    }
    left
}

fn joined(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut joined: Vec<PortRange> = vec![];
    for range in sorted {
        match joined.last_mut() {
            Some(last) if u32::from(range.lo()) <= u32::from(last.hi()) + 1 => {
                *last = PortRange::new(last.lo(), last.hi().max(range.hi())).unwrap_or(*last);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Turns a closed and an opened range of one service and one width into a move.
fn pair(opened: &mut Vec<Change>, closed: &mut Vec<Change>, changes: &mut Vec<Change>) {
    let width = |change: &Change| change.ports.parse::<PortRange>().map(PortRange::width).ok();
    closed.retain(|old| {
        let matching: Vec<usize> = opened
            .iter()
            .enumerate()
            .filter(|(_, new)| new.service == old.service && width(new).is_some() && width(new) == width(old))
            .map(|(at, _)| at)
            .collect();
        let &[at] = &matching[..] else { return true };
        let new = opened.remove(at);
        changes.push(Change {
            kind: ChangeKind::Moved,
            moved_to: Some(new.ports),
            lines: new.lines,
            ..old.clone()
        });
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(line: u32, service: &str, ports: &[&str]) -> Requirement {
        let ports: Vec<String> = ports.iter().map(|port| format!("\"{port}\"")).collect();
        let json = format!(
            "{{\"line\":{line},\"table\":\"t\",\"role\":\"Web\",\"service\":\"{service}\",\"protocols\":[\"tcp\"],\"ports\":[{}]}}",
            ports.join(",")
        );
        serde_json::from_str(&json).expect("valid")
    }

    fn shown(old: &[Requirement], new: &[Requirement]) -> Vec<(ChangeKind, String, Option<String>)> {
        let old: Vec<Named<'_>> =
            old.iter().map(|requirement| (requirement.role.as_str(), requirement)).collect();
        let new: Vec<Named<'_>> =
            new.iter().map(|requirement| (requirement.role.as_str(), requirement)).collect();
        changes(&old, &new).into_iter().map(|change| (change.kind, change.ports, change.moved_to)).collect()
    }

    #[test]
    fn ports_are_compared_as_sets() {
        use ChangeKind::{Closed, Moved, Opened};
        let row = requirement;
        let text = |text: &str| text.to_owned();
        assert_eq!(
            shown(&[row(1, "a", &["80-90"])], &[row(1, "a", &["80-85"]), row(2, "b", &["86", "87-90"])]),
            []
        );
        assert_eq!(
            shown(&[row(1, "a", &["80"])], &[row(1, "a", &["80", "443"])]),
            [(Opened, text("443"), None)]
        );
        assert_eq!(
            shown(&[row(1, "a", &["80-90"])], &[row(1, "a", &["82-84"])]),
            [(Closed, text("80-81"), None), (Closed, text("85-90"), None)]
        );
        assert_eq!(
            shown(&[row(1, "a", &["5060"])], &[row(4, "a", &["5070"])]),
            [(Moved, text("5060"), Some(text("5070")))]
        );
        assert_eq!(
            shown(&[row(1, "a", &["5060"])], &[row(4, "b", &["5070"])]),
            [(Opened, text("5070"), None), (Closed, text("5060"), None)]
        );
        assert_eq!(shown(&[row(1, "a", &["0-65535"])], &[row(1, "a", &["any"])]), []);
        assert_eq!(
            shown(&[row(1, "a", &["dynamic"])], &[row(1, "a", &["80"])]),
            [(Opened, text("80"), None), (Closed, text("dynamic"), None)]
        );
    }
}
