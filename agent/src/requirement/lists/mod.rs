//! Lists: items that state a port, as `TCP 443 – web` or `Web (443/tcp)`.
//!
//! In come items; out come requirements. An item counts only where its port language stands at its start,
//! at its end, behind a colon or in parentheses: a sentence that mentions a port requires nothing.
//! Invariant: what an item's parents say holds for it.

mod stated;

pub(crate) use self::stated::states_ports;
use self::stated::{has_number, starts_with_number};
use super::fold::Folded;
use super::import::Import;
use super::reading::Readings;
use super::statement::{Statement, report};
use super::surroundings::Scope;
use super::title;
use super::vocabulary::PortWord;
use super::{Diagnostic, action, mentions};
use crate::document::{Item, collapse};

/// Longest label before or behind the ports.
const LABEL: usize = 100;
/// Longest item that is looked at.
const ITEM: usize = 400;

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
        let Some(mut stated) = stated::of(&text, about_ports, readings) else {
            if let Some(message) = unread(&text, about_ports, readings) {
                import.diagnostics.push(Diagnostic::new(item.line, &text, message));
            }
            let name = text.trim_end_matches([':', '：']).trim().to_owned();
            parents.open(item.depth, name.clone());
            // What has a number of its own is no term of the next item.
            label = (!starts_with_number(&text, readings)).then_some((item.depth, name));
            continue;
        };
        let Said { scope, role } = parents.say(scope, readings);
        let denies = |text: &str| action::of(text, readings.words) == Some(false);
        if scope.blocked || denies(&stated.label) || denies(&stated.description) {
            import.diagnostics.push(Diagnostic::new(item.line, &text, action::FORBIDS));
            continue;
        }
        if action::of(&stated.label, readings.words) == Some(true) {
            stated.label.clear();
        }
        report(&stated.expression, item.line, || text.clone(), import);
        if stated.more {
            let message = "numbers behind the first port are not read: write an item for each port";
            import.diagnostics.push(Diagnostic::new(item.line, &text, message));
        }
        // A term stands right before its definition.
        let term = label
            .take()
            .filter(|(depth, _)| {
                *depth == item.depth && stated.label.is_empty() && stated.description.is_empty()
            })
            .map(|(_, name)| name);
        // `21 FTP`: without another name, what all its ports are for.
        let named = || {
            let mut all = stated.expression.groups.iter().map(|group| &group.applications);
            let shared = all.next().filter(|first| all.all(|other| other == *first));
            let names = shared.into_iter().flatten().filter_map(|&at| readings.words.applications.get(at));
            names.map(|application| application.name.as_str()).collect::<Vec<_>>().join("/")
        };
        let service = [stated.label, stated.description.clone(), term.unwrap_or_default()]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(named);
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

/// What to report about an item of which no port was read, if it seems to state one.
fn unread(text: &str, about_ports: bool, readings: &Readings) -> Option<&'static str> {
    const NUMBER: &str = "no port is read here: write the item as `name: TCP 443` if it requires one";
    if text.len() > ITEM {
        return None;
    }
    let protocol = || {
        let found = readings.words.ports.find(&Folded::new(text));
        found.iter().any(|word| matches!(word.meaning, PortWord::Protocol(_)))
    };
    if starts_with_number(text, readings) && (about_ports || protocol()) {
        return Some(NUMBER);
    }
    if !about_ports {
        return None;
    }
    if !mentions::of(text, readings).is_empty() {
        return Some("ports in a sentence are not read: write the item as `name: TCP 443`");
    }
    has_number(text, readings).then_some(NUMBER)
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
            let title = title::trim_title(parent, readings.words);
            scope.blocked = action::stance(&title, readings.words).unwrap_or(scope.blocked);
            scope.titles.insert(0, parent.clone());
            scope.titles.truncate(Self::TITLES);
            let own = title::role(parent, readings.words).filter(|_| parent.chars().count() <= LABEL);
            let role = own.or_else(|| around.role.clone());
            self.said.push(Said { scope, role });
        }
        &self.said[self.said.len() - 1]
    }
}

#[cfg(test)]
mod tests;
