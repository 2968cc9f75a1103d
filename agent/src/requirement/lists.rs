//! Lists: items that state a port, as `TCP 443 – web` or `Web (443/tcp)`.
//!
//! In come items; out come requirements. An item counts only where its port language stands at its start,
//! at its end, behind a colon or in parentheses: a sentence that mentions a port requires nothing.
//! Invariant: what an item's parents say holds for it.

use super::expression::{Expression, Group};
use super::fold::Folded;
use super::import::Import;
use super::reading::Readings;
use super::statement::{Statement, report};
use super::surroundings::Scope;
use super::title;
use super::vocabulary::PortWord;
use super::{Diagnostic, Ports, Protocol, action, mentions};
use crate::document::{Item, collapse};

/// Longest label before or behind the ports.
const LABEL: usize = 100;
/// Longest item that is looked at.
const ITEM: usize = 400;
/// What parts a label from its ports.
const SEPARATORS: [&str; 10] = [": ", "：", " - ", " – ", " — ", " = ", " → ", " -> ", ", ", " | "];

/// Ports in an item, and the text beside them.
struct Stated {
    expression: std::rc::Rc<Expression>,
    label: String,
    description: String,
}

/// Reads a list.
pub(crate) fn read(items: &[Item], scope: &Scope, readings: &Readings, import: &mut Import) {
    let about_ports = scope.titles.iter().take(2).any(|title| {
        readings.words.ports.find(&Folded::new(title)).iter().any(|found| found.meaning == PortWord::Port)
    });
    let mut parents = Parents::default();
    let mut label: Option<(u8, String)> = None;
    for item in items {
        parents.end(item.depth);
        let text = collapse(&item.text);
        let Some(mut stated) =
            scattered(&text, about_ports, readings).or_else(|| stated(&text, about_ports, readings))
        else {
            if about_ports && text.len() <= ITEM && !mentions::of(&text, readings).is_empty() {
                let message = "ports in a sentence are not read: write the item as `name: TCP 443`";
                import.diagnostics.push(Diagnostic::new(item.line, &text, message));
            }
            let name = text.trim_end_matches([':', '：']).trim().to_owned();
            parents.open(item.depth, name.clone());
            label = Some((item.depth, name));
            continue;
        };
        let denies = |text: &str| action::of(text, readings.words) == Some(false);
        if denies(&stated.label) || denies(&stated.description) {
            import.diagnostics.push(Diagnostic::new(item.line, &text, action::FORBIDS));
            continue;
        }
        if action::of(&stated.label, readings.words) == Some(true) {
            stated.label.clear();
        }
        report(&stated.expression, item.line, || text.clone(), import);
        let Said { scope, role } = parents.say(scope, readings);
        // A term stands right before its definition.
        let term = label
            .take()
            .filter(|(depth, _)| {
                *depth == item.depth && stated.label.is_empty() && stated.description.is_empty()
            })
            .map(|(_, name)| name);
        let service = [stated.label, stated.description.clone(), term.unwrap_or_default()]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        let parties = scope.parties.clone().unwrap_or_default();
        let statement = Statement {
            line: item.line,
            table: scope
                .titles
                .first()
                .map(|title| super::slug::slug(title))
                .filter(|slug| !slug.is_empty())
                .unwrap_or_else(|| "list".to_owned()),
            role: role
                .clone()
                .or_else(|| scope.heading_role.clone())
                .filter(|_| scope.parties.is_none())
                .unwrap_or_default(),
            notes: if stated.description.is_empty() || stated.description == service {
                vec![]
            } else {
                vec![stated.description]
            },
            service,
            source: parties.source,
            destination: parties.destination,
            qualified: text.clone(),
            ..Statement::default()
        };
        let groups = stated
            .expression
            .groups
            .iter()
            .filter(|group| !group.ports.is_empty() || !group.protocols.is_empty())
            .cloned()
            .collect();
        statement.state(groups, scope, readings, import);
    }
}

/// The items around the one that is read, outermost first.
#[derive(Default)]
struct Parents {
    open: Vec<(u8, String)>,
    /// What the first of them say, as far as somebody asked: each is understood once, however many items it has.
    said: Vec<Said>,
}

/// What an item's parents say about it.
struct Said {
    scope: Scope,
    role: Option<String>,
}

impl Parents {
    /// Titles that anything is read from.
    const TITLES: usize = 3;

    /// Leaves the items that an item of this depth does not stand in.
    fn end(&mut self, depth: u8) {
        while self.open.pop_if(|(open, _)| *open >= depth).is_some() {}
        // The first one is the scope outside of all items.
        self.said.truncate(self.open.len() + 1);
    }

    fn open(&mut self, depth: u8, name: String) {
        self.open.push((depth, name));
    }

    /// What all open items say, in the scope of their list.
    fn say(&mut self, list: &Scope, readings: &Readings) -> &Said {
        if self.said.is_empty() {
            self.said.push(Said { scope: list.clone(), role: None });
        }
        while let Some((_, parent)) = self.open.get(self.said.len() - 1) {
            let around = &self.said[self.said.len() - 1];
            let mut scope = around.scope.clone();
            scope.direction = title::direction(parent, readings.words).or(scope.direction);
            scope.parties = title::parties(parent, readings.words).or(scope.parties);
            scope.titles.insert(0, parent.clone());
            scope.titles.truncate(Self::TITLES);
            let own = title::role(parent, readings.words).filter(|_| parent.chars().count() <= LABEL);
            let role = own.or_else(|| around.role.clone());
            self.said.push(Said { scope, role });
        }
        &self.said[self.said.len() - 1]
    }
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
            if let Some(expression) = read(behind).filter(|_| before.chars().count() <= LABEL) {
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
        .map(|(expression, label, description)| made(expression, label, description))
        .or_else(|| {
            at_an_end(text, &read, readings)
                .map(|(expression, label, description)| made(expression, label, description))
        })
}

/// A text before a parenthesis that ends it, and what is in that; no numbers, which could be ports.
fn trailing_parenthesis(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_end_matches(['.', '。', ';', '；']).strip_suffix([')', '）'])?;
    let open = inner.rfind(['(', '（'])?;
    let remark = inner[open..].trim_start_matches(['(', '（']);
    let before = inner[..open].trim_end();
    (!before.is_empty() && !remark.contains(char::is_numeric)).then_some((before, remark))
}

type Split<'a> = (std::rc::Rc<Expression>, &'a str, &'a str);

/// `Web (443/tcp) for all`, `443/tcp（web）`.
fn in_parentheses<'a>(
    text: &'a str,
    read: &impl Fn(&str) -> Option<std::rc::Rc<Expression>>,
) -> Option<Split<'a>> {
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
    read: &impl Fn(&str) -> Option<std::rc::Rc<Expression>>,
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
        spaces.take(24).find_map(|at| read(&text[at..]).map(|expression| (expression, text[..at].trim(), "")))
    })
}

fn trimmed(text: &str) -> String {
    text.trim().trim_matches([':', '-', '–', '—', ',', ';', '：']).trim().to_owned()
}
