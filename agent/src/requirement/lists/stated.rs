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
}

/// The ports that an item states, if it does.
pub(super) fn of(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
    scattered(text, about_ports, readings).or_else(|| stated(text, about_ports, readings))
}

/// Whether a text has a number of its own at its start or its end, where a port would stand.
pub(super) fn has_number(text: &str) -> bool {
    starts_with_number(text) || {
        let end = text.trim_end_matches([')', '）', ']']);
        let rest = end.trim_end_matches(|c: char| c.is_ascii_digit());
        is_port(&end[rest.len()..]) && rest.ends_with([' ', '(', '（', '['])
    }
}

/// Whether a text starts with a number that could be a port: `8010 console`.
pub(super) fn starts_with_number(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    is_port(&text[..text.len() - rest.len()]) && rest.starts_with([' ', '/', '(', ',', ';'])
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
    Some(Stated { expression: mentions::together(&mentions), label, description })
}

/// The ports that an item states, if it does.
fn stated(text: &str, about_ports: bool, readings: &Readings) -> Option<Stated> {
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
    };
    if let Some(expression) = read(text) {
        // `SSH: 22/TCP`: an application protocol beside the ports is what they are for.
        let name = |piece: &str| {
            readings
                .complete(piece)
                .is_some_and(|expression| !expression.has_ports() && expression.protocols().is_empty())
        };
        for separator in SEPARATORS {
            if let Some((before, behind)) = text.split_once(separator) {
                if name(before) && read(behind).is_some() {
                    return Some(made(expression, before, ""));
                }
                if name(behind) && read(before).is_some() {
                    return Some(made(expression, "", behind));
                }
            }
        }
        return Some(made(expression, "", ""));
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
    in_parentheses(text, &read)
        .filter(|(expression, label, _)| !edition(label, expression, readings))
        .map(|(expression, label, description)| made(expression, label, description))
        .or_else(|| {
            at_an_end(text, &read, readings)
                .map(|(expression, label, description)| made(expression, label, description))
        })
}

/// Whether `label` is of what has the number behind it: `Version: 2019`. One beside a protocol is a port.
fn edition(label: &str, expression: &Expression, readings: &Readings) -> bool {
    expression.protocols().is_empty()
        && numbered::taken(Folded::new(label).as_str(), readings.words) == Some(NumberWord::Edition)
}

/// A text before a parenthesis that ends it, and what is in that; no numbers, which could be ports.
fn trailing_parenthesis(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_end_matches(['.', '。', ';', '；']).strip_suffix([')', '）'])?;
    let open = inner.rfind(['(', '（'])?;
    let remark = inner[open..].trim_start_matches(['(', '（']);
    let before = inner[..open].trim_end();
    (!before.is_empty() && !remark.contains(char::is_numeric)).then_some((before, remark))
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
    // `4 GB of memory`: what makes the number an amount is not cut off from it.
    let unit = |rest: &str| {
        let found = readings.words.ports.find(&Folded::new(rest));
        found.first().is_some_and(|word| word.start == 0 && word.meaning == PortWord::Unit)
    };
    let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).take(24).collect();
    let leading = spaces
        .iter()
        .rev()
        .filter_map(|&at| read(&text[..at]).map(|expression| (expression, "", text[at..].trim())))
        .find(|(_, _, rest)| !unit(rest));
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
