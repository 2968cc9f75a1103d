//! Actions: rows of a packet filter that forbid what they name.
//!
//! In come a row and its layout; out comes whether the row forbids. A rule that denies traffic requires none, so
//! that nothing it names may be opened. Invariant: a row with a word that denies in its column of actions, or as
//! all of a cell beside its ports, forbids; so does each row of a table whose title or whose header says it.

use super::columns::{Column, Layout};
use super::expression::Expression;
use super::fold::Folded;
use super::tables::Context;
use super::title::{is_generic, without_number};
use super::vocabulary::{Found, Vocabulary};
use crate::document::{Cell, Row};

/// Longest cell whose words count one by one, in characters: more is a sentence.
const LONGEST: usize = 40;

/// Longest title that says whether its ports are blocked, in characters.
const TITLE: usize = 90;

/// What a person who wonders about such a row is told.
pub(super) const FORBIDS: &str = "the row forbids: nothing is required";

/// Whether a text allows (`true`) or denies, and says nothing else; `do not open` denies among other words too.
pub(super) fn of(text: &str, words: &Vocabulary) -> Option<bool> {
    words.actions.whole_of(text).or_else(|| is_denial(text, words).then_some(false))
}

/// Whether a short text says in a sentence that something is not to be opened, or is not needed any more.
fn is_denial(text: &str, words: &Vocabulary) -> bool {
    is_within(text, LONGEST)
        && text.trim().contains(|c: char| c.is_whitespace() || !c.is_ascii())
        && !words.denials.find(&Folded::new(text)).is_empty()
}

/// Whether the words of a short text allow or deny; one that denies weighs more.
pub(super) fn among(text: &str, words: &Vocabulary) -> Option<bool> {
    if is_within(text, LONGEST) { among_all(text, words) } else { None }
}

/// Whether a text has at most so many characters.
fn is_within(text: &str, most: usize) -> bool {
    text.len() <= most || !text.is_ascii() && text.chars().take(most + 1).count() <= most
}

fn among_all(text: &str, words: &Vocabulary) -> Option<bool> {
    let found = words.actions.find(&Folded::new(text));
    found.iter().map(|found| found.meaning).min()
}

/// Whether a cell denies the ports in it: `TCP 23: deny`.
pub(super) fn denies(expression: &Expression, words: &Vocabulary) -> bool {
    expression.remarks.iter().any(|remark| of(remark, words) == Some(false))
}

/// What a title says about the ports below it: that they are blocked (`true`), or something that keeps a title
/// further away from saying so. Only words for ports and directions may stand before the two words that block ports.
pub(super) fn blocks(title: &str, words: &Vocabulary) -> Option<bool> {
    if !is_within(title, TITLE) {
        return None;
    }
    let folded = Folded::new(title);
    let actions = words.actions.find(&folded);
    let denial = actions.iter().find(|found| !found.meaning)?;
    let port = |found: &&Found<Column>| {
        matches!(found.meaning, Column::Ports | Column::SourcePorts | Column::DestinationPorts)
    };
    let columns = words.columns.find(&folded);
    let end = columns.iter().find(port).map_or(folded.as_str().len(), |port| port.end.max(denial.end));
    let denied =
        |at: usize| actions.iter().any(|found| !found.meaning && (found.start..found.end).contains(&at));
    let generic = words.generic.find(&folded);
    let known = |at: usize| denied(at) || generic.iter().any(|found| (found.start..found.end).contains(&at));
    let plain = folded.as_str()[..end].char_indices().all(|(at, c)| !c.is_alphanumeric() || known(at));
    let allows = actions.iter().any(|found| found.meaning);
    let doubted = words.doubts.find(&folded).iter().any(|found| !denied(found.end - 1));
    let asks = title.trim_end().ends_with(['?', '？']);
    Some(plain && !allows && !doubted && !asks)
}

/// Whether the titles of a table or a list say that its ports are blocked: the nearest that says anything of it.
/// `near` are those that belong to it alone; of `headings` the innermost counts that is more than words for ports.
pub(super) fn are_blocked<'a>(
    near: impl IntoIterator<Item = &'a str>,
    headings: impl IntoIterator<Item = &'a str>,
    words: &Vocabulary,
) -> bool {
    if let Some(blocked) = near.into_iter().find_map(|title| stance(title, words)) {
        return blocked;
    }
    for title in headings {
        match stance(title, words) {
            Some(blocked) => return blocked,
            None if !is_generic(title, words) => return false,
            None => {}
        }
    }
    false
}

/// [`blocks`], and `false` for a title that allows.
pub(super) fn stance(title: &str, words: &Vocabulary) -> Option<bool> {
    let title = without_number(title);
    let allows = || is_within(title, TITLE) && among_all(title, words) == Some(true);
    blocks(title, words).or_else(|| allows().then_some(false))
}

/// Whether a table only has rows that are blocked: a header asks for the reason, and no column for the action.
pub(super) fn gives_reasons(layout: &Layout, words: &Vocabulary) -> bool {
    layout.headers.iter().any(|header| words.deny_reasons.whole_of(header).is_some())
        && !layout.columns.contains(&Column::Action)
        && layout.actions.iter().all(Option::is_none)
}

/// Whether `row` denies what it names.
pub(super) fn forbids(row: &Row, context: &Context<'_>) -> bool {
    let words = context.readings.words;
    let layout = context.layout;
    // `Default port state`: who uses the port opens it.
    let by_default = |at: usize| {
        let header = layout.headers.get(at).map_or("", String::as_str);
        words
            .columns
            .find(&Folded::new(header))
            .iter()
            .any(|found| matches!(found.meaning, Column::Default | Column::DefaultPort))
    };
    let columns = layout.columns.iter().zip(&layout.actions);
    let denied = |cell: &Cell, kind: &Column, header: &Option<bool>| match kind {
        // `no` below `Allowed`, `yes` below `Blocked`.
        _ if header.is_some_and(|action| words.answers.whole_of(leading(&cell.text)) == Some(!action)) => {
            true
        }
        Column::Action => among(&cell.text, words) == Some(false),
        // A description can name what it describes.
        Column::Service => is_denial(&cell.text, words),
        // Names, and cells of which [`denies`] is asked when they were read.
        Column::Role
        | Column::Source
        | Column::Destination
        | Column::Ports
        | Column::TcpPorts
        | Column::UdpPorts
        | Column::Protocol => false,
        _ => of(&cell.text, words) == Some(false),
    };
    row.cells.iter().zip(columns).enumerate().any(|(at, (cell, (kind, header)))| {
        denied(cell, kind, header) && !(words.closed.whole_of(&cell.text).is_some() && by_default(at))
    })
}

/// The answer before a remark: `No (internal)`.
fn leading(text: &str) -> &str {
    text.split(['(', '（', ',', ';', '–', '—', '\n']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::import::Import;

    #[test]
    fn titles_say_that_ports_are_blocked() {
        let words = Vocabulary::standard().expect("well-formed");
        for (title, blocked) in [
            ("Blocked ports", true),
            ("3.1 Blocked inbound ports on the guest network", true),
            ("The following ports are blocked", true),
            ("Ports that must not be opened", true),
            ("Denied traffic", true),
            ("Gesperrte Ports", true),
            ("Ports, die gesperrt werden müssen", true),
            ("Nicht zu öffnende Ports: blockiert", false),
            ("Ports bloqués", true),
            ("Ports à bloquer", true),
            ("Portas bloqueadas", true),
            ("Puertos que deben estar bloqueados hacia fuera", true),
            ("Porte bloccate", true),
            ("Заблокированные порты", true),
            ("ブロックするポート", true),
            ("遮断対象ポート", true),
            ("被封锁的端口", true),
            ("禁止开放的端口", true),
            ("Ports to keep closed", true),
            ("Diese Ports nicht öffnen", true),
            ("No abrir estos puertos", true),
            ("Порты, которые следует заблокировать", true),
            ("開放してはいけないポート", true),
            ("不应开放的端口", true),
            ("Opening blocked ports", false),
            ("Ports for block storage", false),
            ("Ports must not be blocked", false),
            ("以下のポートをブロックしないでください", false),
            ("Troubleshooting blocked ports", false),
            ("If ports are blocked", false),
            ("Unblock ports", false),
            ("Ports that are not blocked", false),
            ("Nicht gesperrte Ports", false),
            ("Ports non bloqués", false),
            ("ブロックされていないポート", false),
            ("未被封锁的端口", false),
            ("All ports are blocked except", false),
            ("Blocked ports?", false),
            ("Blocked and open ports", false),
            ("Your firewall may have blocked these ports", false),
            ("Ports", false),
            ("Open ports", false),
            ("Web server", false),
        ] {
            let found = are_blocked([without_number(title)], [], words);
            assert_eq!(found, blocked, "{title}");
        }
    }

    #[test]
    fn the_nearest_title_that_says_anything_of_it_counts() {
        let words = Vocabulary::standard().expect("well-formed");
        assert!(are_blocked(["Inbound"], ["Ports", "Blocked ports"], words));
        assert!(are_blocked(["Guest network"], ["Blocked ports"], words));
        assert!(!are_blocked(["Open ports"], ["Blocked ports"], words));
        assert!(!are_blocked(["All ports are blocked except"], ["Blocked ports"], words));
        assert!(!are_blocked([], ["Guest network", "Blocked ports"], words));
    }

    #[test]
    fn sentences_beside_a_port_deny_it() {
        let words = Vocabulary::standard().expect("well-formed");
        for text in [
            "do not open",
            "Do not open to the Internet",
            "nicht öffnen",
            "nicht mehr benötigt",
            "ne pas ouvrir",
            "no abrir",
            "não abrir",
            "non aprire",
            "не открывать",
            "開放しないでください",
            "不要开放",
            "no longer required",
        ] {
            assert_eq!(of(text, words), Some(false), "{text}");
        }
        assert_eq!(of("open", words), Some(true));
        for text in [
            "management",
            "required",
            "guests are not allowed",
            "le port le plus utilisé",
            "the long tale of a port that nobody need do not open any more",
        ] {
            assert_eq!(of(text, words), None, "{text}");
        }
    }

    /// The ports that a document requires, and how many of its rows and items forbid.
    fn import(text: &str) -> (Vec<String>, usize) {
        let import = Import::read(text.as_bytes(), "ports.md").expect("a document");
        let ports = import.requirements.iter().flat_map(|row| row.ports.iter().map(ToString::to_string));
        (ports.collect(), import.diagnostics.iter().filter(|reported| reported.message == FORBIDS).count())
    }

    #[test]
    fn blocked_tables_and_lists_open_nothing() {
        let table =
            "| Port | Protocol | Service |\n|---|---|---|\n| 23 | TCP | telnet |\n| 69 | UDP | tftp |\n\n";
        for title in [
            "## Blocked ports",
            "## Gesperrte Ports",
            "## Ports bloqués",
            "## Portas bloqueadas",
            "### Puertos que deben estar bloqueados al exterior",
            "## ブロックするポート",
            "## Заблокированные порты",
            "## 被封锁的端口",
            "## Porte bloccate",
            "The following ports are blocked:",
            "**Blocked ports**",
        ] {
            assert_eq!(import(&format!("# Guide\n\n{title}\n\n{table}")), (vec![], 2), "{title}");
            let list = format!("# Guide\n\n{title}\n\n- telnet: TCP 23\n- tftp: UDP 69\n");
            assert_eq!(import(&list), (vec![], 2), "{title}");
        }
        for title in ["## Troubleshooting blocked ports", "## If ports are blocked", "## Unblock ports"] {
            let (ports, forbidden) = import(&format!("# Guide\n\n{title}\n\n{table}"));
            assert_eq!((ports.len(), forbidden), (2, 0), "{title}");
        }
        // A heading holds up to the next one.
        let both = format!("# Guide\n\n## Blocked ports\n\n{table}## Open ports\n\n{table}");
        assert_eq!(import(&both), (vec!["23".to_owned(), "69".to_owned()], 2));
        let nested = "# Ports\n\n- Blocked ports:\n  - TCP 23\n- Open ports:\n  - TCP 443\n";
        assert_eq!(import(nested), (vec!["443".to_owned()], 1));
    }

    #[test]
    fn reasons_for_blocking_stand_beside_blocked_ports() {
        for reason in ["Reason for blocking", "Causa del blocco", "Motivo do bloqueio", "ブロック理由"]
        {
            let text = format!("| Port | Protocol | {reason} |\n|---|---|---|\n| 23 | TCP | worms |\n");
            assert_eq!(import(&text), (vec![], 1), "{reason}");
        }
        let mixed = "| Port | Protocol | Action | Block reason |\n|---|---|---|---|\n| 22 | TCP | allow | |\n\
                     | 23 | TCP | deny | worms |\n";
        assert_eq!(import(mixed), (vec!["22".to_owned()], 1));
    }

    #[test]
    fn ports_that_are_not_open_are_not_required() {
        for (header, yes, no) in [
            ("Open", "Yes", "No"),
            ("Exposed", "yes", "no (internal)"),
            ("Offen", "Ja", "Nein"),
            ("Öffnen", "Ja", "Nein"),
            ("Ouvert", "Oui", "Non"),
            ("Abierto", "Sí", "No"),
            ("Expuesto", "Sí", "No, interno"),
            ("Aberta", "Sim", "Não"),
            ("Aperta", "Sì", "No"),
            ("Pubblicata", "Sì", "No"),
            ("Status", "Open", "Closed"),
            ("Zustand", "Offen", "Geschlossen"),
            ("État", "Ouvert", "Fermé"),
            ("Estado", "Abierto", "Cerrado"),
            ("Stato", "Aperta", "Chiusa"),
        ] {
            let text = format!(
                "| Service | Port | Protocol | {header} |\n|---|---|---|---|\n\
                 | web | 443 | TCP | {yes} |\n| store | 5432 | TCP | {no} |\n"
            );
            assert_eq!(import(&text), (vec!["443".to_owned()], 1), "{header}");
        }
        // Who uses the port opens it.
        let text = "| Service | Port | Protocol | Default port state |\n|---|---|---|---|\n\
                    | web | 443 | TCP | Open |\n| traps | 162 | UDP | Closed |\n";
        assert_eq!(import(text), (vec!["443".to_owned(), "162".to_owned()], 0));
    }

    #[test]
    fn a_note_that_denies_forbids_its_row_or_item() {
        for note in ["Do not open", "nicht öffnen", "ne pas ouvrir", "no abrir", "no longer required"] {
            let table = format!(
                "| Port | Protocol | Notes |\n|---|---|---|\n| 23 | TCP | {note} |\n| 22 | TCP | shell |\n"
            );
            assert_eq!(import(&table), (vec!["22".to_owned()], 1), "{note}");
            let described = table.replace("Notes", "Description");
            assert_eq!(import(&described), (vec!["22".to_owned()], 1), "{note}");
            let list = format!("# Ports\n\n- TCP 23: {note}\n- TCP 22: shell\n");
            assert_eq!(import(&list), (vec!["22".to_owned()], 1), "{note}");
        }
    }
}
