//! What an item states: its ports, and the text beside them.
//!
//! In comes the text of an item; out come an expression and what stands before and behind it. Invariant: a number
//! that belongs to the word before it, as in `RFC 5424`, is no port.

use std::rc::Rc;

use super::{ITEM, LABEL};
use crate::document::collapse;
use crate::requirement::expression::{Expression, Group};
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::{NumberWord, PortWord};
use crate::requirement::{Ports, Protocol, mentions, numbered};

/// What parts a label from its ports.
const SEPARATORS: [&str; 10] = [": ", "：", " - ", " – ", " — ", " = ", " → ", " -> ", ", ", " | "];

/// Ports in an item, and the text beside them.
pub(super) struct Stated {
    pub(super) expression: Rc<Expression>,
    pub(super) label: String,
    pub(super) description: String,
    /// The description has numbers that could be ports and are not read.
    pub(super) more: bool,
}

/// The ports that an item states, if it does.
pub(super) fn of(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    scattered(text, about_ports, readings).or_else(|| {
        let mut found = stated(text, about_ports, readings)?;
        enumerated(&mut found, about_ports, readings);
        Some(found)
    })
}

/// `21 for commands, 20 for data`: what the description goes on with in the same words are ports too. Other numbers
/// with which a piece of it begins could be, and could be amounts.
fn enumerated(found: &mut Stated, about_ports: bool, readings: &Readings) {
    if !found.description.contains(char::is_numeric) {
        return;
    }
    let folded = Folded::new(&found.description);
    let joints = readings.words.ports.find(&folded).into_iter().filter(|word| word.meaning == PortWord::List);
    let source = |at: usize| folded.source(at).min(found.description.len());
    let mut cuts: Vec<(usize, usize)> =
        joints.map(|joint| (source(joint.start), source(joint.end))).collect();
    cuts.extend(
        found.description.match_indices([',', ';', '、', '；']).map(|(at, mark)| (at, at + mark.len())),
    );
    cuts.sort_unstable();
    let mut starts = vec![];
    let mut pieces = vec![];
    for (cut, behind) in cuts.into_iter().chain([(found.description.len(), found.description.len())]) {
        let start = starts.last().copied().unwrap_or(0);
        pieces.push(found.description.get(start..cut).unwrap_or_default().trim());
        starts.push(behind);
    }
    let [first, others @ ..] = &pieces[..] else { return };
    let first = first.split(' ').next();
    let mut expression = Expression::clone(&found.expression);
    let Some(last) = expression.groups.last().cloned() else { return };
    for piece in others.iter().filter(|piece| starts_with_number(piece, readings)) {
        let known = about_ports || !last.protocols.is_empty();
        let alike = |other: &Stated| other.label.is_empty() && other.description.split(' ').next() == first;
        if let Some(other) = stated(piece, known, readings).filter(alike) {
            let groups = other.expression.groups.iter().cloned().map(|mut group| {
                if group.protocols.is_empty() && group.applications.is_empty() {
                    group.protocols.clone_from(&last.protocols);
                    group.applications.clone_from(&last.applications);
                }
                group
            });
            expression.groups.extend(groups);
            expression.problems.extend(other.expression.problems.iter().cloned());
        } else {
            found.more |= about_ports;
        }
    }
    found.expression = Rc::new(expression);
}

/// Whether a text has a number of its own at its start or its end, where a port would stand.
pub(super) fn has_number(text: &str, readings: &Readings) -> bool {
    starts_with_number(text, readings) || {
        let end = text.trim_end_matches([')', '）', ']']);
        let rest = end.trim_end_matches(|c: char| c.is_ascii_digit());
        is_port(&end[rest.len()..]) && rest.ends_with([' ', '(', '（', '['])
    }
}

/// Whether a text starts with a number that could be a port: `8010 console`.
pub(super) fn starts_with_number(text: &str, readings: &Readings) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    is_port(&text[..text.len() - rest.len()])
        && rest.starts_with([' ', '/', '(', ',', ';'])
        && !is_amount(rest.trim_start(), readings)
}

/// Whether what stands behind a number makes it an amount: `4 GB of memory`.
fn is_amount(rest: &str, readings: &Readings) -> bool {
    let found = readings.words.ports.find(&Folded::new(rest));
    found.first().is_some_and(|word| word.start == 0 && word.meaning == PortWord::Unit)
}

fn is_port(digits: &str) -> bool {
    digits.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether a line of text states ports as an item does.
pub(crate) fn states_ports(text: &str, readings: &Readings) -> bool {
    stated(&collapse(text), false, readings).is_some()
}

/// The ports that an item states in several places, or among other words.
fn scattered(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    if text.len() > ITEM || !text.chars().any(char::is_numeric) || readings.complete(text).is_some() {
        return None;
    }
    let mentions = mentions::of(text, readings);
    let (first, last) = (mentions.first()?, mentions.last()?);
    let (before, behind) = (&text[..first.start], &text[last.end..]);
    let label = trimmed(before);
    let parted = |text: &str| {
        SEPARATORS.iter().any(|separator| {
            *separator != ", " && text.trim_start() != text.trim_start().trim_start_matches(separator.trim())
        })
    };
    let headed =
        label.is_empty() || SEPARATORS.iter().any(|separator| before.trim_end().ends_with(separator.trim()));
    // What one run heads is its description, and a run in parentheses has its own rule.
    let lone = mentions.len() == 1 && !(headed && !label.is_empty() && !parted(behind));
    let described = label.is_empty() && parted(&text[first.end..]);
    let ends = !behind.contains(char::is_alphanumeric) && !text.ends_with('.');
    let listed = headed || ends || about_ports && !text.ends_with(['.', '。']);
    if lone || described || !listed || label.chars().count() > LABEL {
        return None;
    }
    let description = trimmed(&text[first.end..]);
    Some(Stated { expression: mentions::together(&mentions), label, description, more: false })
}

/// The ports that an item states in one place, if it does.
fn stated(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    let found = at_one_place(text, about_ports, readings);
    match &found {
        Some(known) if !known.expression.protocols().is_empty() => found,
        _ => with_aside(text, about_ports, readings).or(found),
    }
}

fn at_one_place(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    // Full-width digits count too; without any, only a list of ports can name a protocol that has none.
    if text.len() > ITEM || !about_ports && !text.chars().any(char::is_numeric) {
        return None;
    }
    let read = |piece: &str| {
        let piece = piece.trim();
        // Most pieces end here; what else is asked folds the piece once more.
        let expression = readings.complete(piece)?;
        let protocols = expression.protocols();
        // `8443 — HTTPS`: a port that its application usually has.
        let usual = |group: &Group| {
            let known = |port: &Ports| {
                port.range().filter(|range| range.width() == 1).is_some_and(|range| {
                    let mut named =
                        group.applications.iter().filter_map(|&at| readings.words.applications.get(at));
                    named.any(|application| application.ports.contains(&range.lo()))
                })
            };
            !group.ports.is_empty() && group.ports.iter().all(known)
        };
        let proven = || {
            about_ports
                || !protocols.is_empty()
                || expression.groups.iter().all(usual)
                || readings
                    .words
                    .ports
                    .find(&Folded::new(piece))
                    .iter()
                    .any(|found| found.meaning == PortWord::Port)
        };
        // A protocol that has no ports is stated by itself.
        let portless = || {
            !expression.has_ports()
                && !protocols.is_empty()
                && protocols.iter().all(|protocol| matches!(protocol, Protocol::Ip(_)))
        };
        (expression.has_numbers() && proven() || portless()).then_some(expression)
    };
    let made = |expression, label: &str, description: &str| Stated {
        expression,
        label: trimmed(label),
        description: trimmed(description),
        more: false,
    };
    let alone = |text: &str| read(text).map(|expression| alone(text, expression, readings, &read));
    if let Some(found) = alone(text) {
        return Some(found);
    }
    for separator in SEPARATORS {
        for (at, _) in text.match_indices(separator) {
            let (before, behind) = (&text[..at], &text[at + separator.len()..]);
            if let Some(expression) = read(before) {
                return Some(made(expression, "", behind));
            }
            if let Some(expression) = read(behind).filter(|expression| {
                before.chars().count() <= LABEL && !edition(before, expression, readings)
            }) {
                return Some(made(expression, before, ""));
            }
        }
    }
    // `Heartbeat: UDP 8117 (multicast)`: what stands in parentheses at the end is said about the ports before it.
    if let Some((before, remark)) = trailing_parenthesis(text)
        && let Some(mut found) = stated(before, about_ports, readings)
    {
        if found.description.is_empty() {
            found.description = trimmed(remark);
        }
        return Some(found);
    }
    // `Relay: 514 (RFC 6587)`: so does a remark with numbers that are no ports.
    if let Some((before, remark)) = parenthesis_at_end(text)
        && read(remark).is_none()
        && let Some(mut found) = stated(before, about_ports, readings).filter(|found| !found.label.is_empty())
        && found.description.is_empty()
        && before.contains([':', '：'])
    {
        found.description = trimmed(remark);
        return Some(found);
    }
    in_parentheses(text, &read)
        .filter(|(expression, label, _)| !edition(label, expression, readings))
        .map(|(expression, label, description)| made(expression, label, description))
        .or_else(|| {
            let (expression, label, description) = at_an_end(text, &read, readings)?;
            let mut found = made(expression, label, description);
            // `FTP: 21 for commands`
            let run = text.strip_suffix(description).map(str::trim).and_then(alone);
            if let Some(run) = run.filter(|_| found.label.is_empty()) {
                found.label = run.label;
            }
            Some(found)
        })
}

/// Whether `label` is of what has the number behind it: `Version: 2019`. One beside a protocol is a port.
fn edition(label: &str, expression: &Expression, readings: &Readings) -> bool {
    expression.protocols().is_empty()
        && numbered::taken(Folded::new(label).as_str(), readings.words) == Some(NumberWord::Edition)
}

/// A text before a parenthesis that ends it, and what is in that; no numbers, which could be ports.
fn trailing_parenthesis(text: &str) -> Option<(&str, &str)> {
    parenthesis_at_end(text).filter(|(_, remark)| !remark.contains(char::is_numeric))
}

/// A text before a parenthesis that ends it, and what is in that.
fn parenthesis_at_end(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_end_matches(['.', '。', ';', '；']).strip_suffix([')', '）'])?;
    let open = inner.rfind(['(', '（'])?;
    let remark = inner[open..].trim_start_matches(['(', '（']);
    let before = inner[..open].trim_end();
    (!before.is_empty()).then_some((before, remark))
}

/// `SSH: 22/TCP`: an application protocol beside ports that are all of an item is what they are for.
fn alone(
    text: &str,
    expression: Rc<Expression>,
    readings: &Readings,
    read: &impl Fn(&str) -> Option<Rc<Expression>>,
) -> Stated {
    let name = |piece: &str| {
        readings
            .complete(piece)
            .is_some_and(|expression| !expression.has_ports() && expression.protocols().is_empty())
    };
    let mut found = Stated { expression, label: String::new(), description: String::new(), more: false };
    for separator in SEPARATORS {
        if let Some((before, behind)) = text.split_once(separator) {
            if name(before) && read(behind).is_some() {
                found.label = trimmed(before);
                break;
            }
            if name(behind) && read(before).is_some() {
                found.description = trimmed(behind);
                break;
            }
        }
    }
    found
}

/// `8012 console (TCP)`, `8011 [UDP] console`: nothing but protocols in parentheses is said about the ports outside.
fn with_aside(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    const OPEN: [char; 4] = ['(', '（', '[', '［'];
    const CLOSE: [char; 4] = [')', '）', ']', '］'];
    let (start, open) = text.match_indices(OPEN).next()?;
    let (length, close) = text[start..].match_indices(CLOSE).next()?;
    let (inner, end) = (&text[start + open.len()..start + length], start + length + close.len());
    if text[end..].contains(OPEN) {
        return None;
    }
    let aside =
        readings.complete(inner).filter(|aside| !aside.has_ports() && aside.applications().is_empty())?;
    let protocols = aside.protocols();
    if protocols.is_empty() || protocols.iter().any(|protocol| protocol.is_portless()) {
        return None;
    }
    let outside = collapse(&format!("{} {}", &text[..start], &text[end..]));
    let mut found = stated(&outside, about_ports, readings)?;
    if !found.expression.protocols().is_empty() {
        return None;
    }
    let mut expression = Expression::clone(&found.expression);
    for group in &mut expression.groups {
        group.protocols.clone_from(&protocols);
    }
    found.expression = Rc::new(expression);
    Some(found)
}

type Split<'a> = (Rc<Expression>, &'a str, &'a str);

/// `Web (443/tcp) for all`, `443/tcp（web）`.
fn in_parentheses<'a>(text: &'a str, read: &impl Fn(&str) -> Option<Rc<Expression>>) -> Option<Split<'a>> {
    let open = text.find(['(', '（'])?;
    let close = open + text[open..].find([')', '）'])?;
    let content = text[open..close].trim_start_matches(['(', '（']);
    let behind = text[close..].trim_start_matches([')', '）']).trim_start_matches(['.', ':', ' ']);
    let label = text[..open].trim();
    if let Some(expression) = read(label) {
        return Some((expression, "", content));
    }
    read(content)
        .filter(|_| label.chars().count() <= LABEL && !label.is_empty())
        .map(|expression| (expression, label, behind))
}

/// `443/tcp web`, `web 443/tcp`: the longest run of port language at either end.
fn at_an_end<'a>(
    text: &'a str,
    read: &impl Fn(&str) -> Option<Rc<Expression>>,
    readings: &Readings,
) -> Option<Split<'a>> {
    let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).take(24).collect();
    let leading = spaces
        .iter()
        .rev()
        .filter_map(|&at| read(&text[..at]).map(|expression| (expression, "", text[at..].trim())))
        .find(|(_, _, rest)| !is_amount(rest, readings));
    leading.or_else(|| {
        let ends_open = !text.ends_with(['.', '。', ';', ',']);
        let spaces = text
            .match_indices(' ')
            .map(|(at, _)| at)
            .filter(|&at| ends_open && text[..at].chars().count() <= LABEL);
        let (expression, label) = spaces
            .take(24)
            .find_map(|at| read(&text[at..]).map(|expression| (expression, text[..at].trim())))?;
        let numbers = text[label.len()..].trim_start().starts_with(char::is_numeric);
        let owned = numbers && numbered::taken(Folded::new(label).as_str(), readings.words).is_some();
        (!owned).then_some((expression, label, ""))
    })
}

fn trimmed(text: &str) -> String {
    text.trim().trim_matches([':', '-', '–', '—', ',', ';', '：']).trim().to_owned()
}
