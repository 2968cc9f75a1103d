//! Surroundings: what stands around a table and belongs to its rows.
//!
//! In come the blocks before a table; out come its caption, the headings above it, and what they say
//! about role, direction and the two ends of the traffic. Invariant: a heading that names only ports,
//! directions or documents is no role.

use super::Direction;
use super::fold::Folded;
use super::vocabulary::{FlowWord, PartiesPattern, Vocabulary};
use crate::document::{Heading, Paragraph, Table};

/// Longest line that can be a heading without a mark.
const HEADING: usize = 90;
/// The level of such a heading: below all marked ones.
const UNMARKED: u8 = 9;

/// The two ends that a heading or a caption names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parties {
    pub(crate) source: String,
    pub(crate) destination: String,
}

/// What was passed on the way to a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The document's own title.
    title: Option<String>,
    headings: Vec<Heading>,
    /// The paragraph right before, if it can head the next block.
    lead: Option<(String, bool)>,
    /// No heading has come before these.
    at_title: bool,
}

/// What a table's surroundings say about its rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Caption, lead and headings, nearest first.
    pub(crate) titles: Vec<String>,
    /// The role that the surroundings name, if the caption does.
    pub(crate) captioned_role: Option<String>,
    /// The role that a heading names.
    pub(crate) heading_role: Option<String>,
    pub(crate) direction: Option<Direction>,
    pub(crate) parties: Option<Parties>,
}

impl Surroundings {
    /// The surroundings of nothing yet, in a document with this title.
    pub(crate) fn of(title: Option<String>) -> Self {
        Self { title, ..Self::default() }
    }

    /// Passes a heading.
    pub(crate) fn heading(&mut self, heading: &Heading) {
        self.at_title = self.headings.is_empty() && heading.level == 1;
        while self.headings.last().is_some_and(|above| above.level >= heading.level) {
            self.headings.pop();
        }
        self.headings.push(heading.clone());
        self.lead = None;
    }

    /// Passes a paragraph: it may be a caption, a lead, or a heading that nobody marked.
    pub(crate) fn paragraph(&mut self, paragraph: &Paragraph, words: &Vocabulary) {
        let text = paragraph.text();
        let short = text.chars().count() <= HEADING;
        let sentence = text.ends_with(['.', '。', '!', '?', ';', ',', '！', '？']) && !text.ends_with("..");
        if paragraph.bold && short {
            self.lead = Some((text, true));
            return;
        }
        let ends_open = text.ends_with([':', '：']);
        if paragraph.lines.len() == 1 && short && !sentence && !ends_open && starts_like_heading(&text) {
            let line = paragraph.line();
            self.heading(&Heading { line, level: UNMARKED, text });
            return;
        }
        // `Inbound:`, or the last sentence before a table.
        let last = text
            .rsplit(['.', '。'])
            .find(|part| !part.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let useful = ends_open && (last.chars().count() <= HEADING || parties(&last, words).is_some());
        self.lead = useful.then_some((last, false));
    }

    /// Passes anything else.
    pub(crate) fn other(&mut self) {
        self.lead = None;
    }

    /// What is said about `table`, which comes next.
    pub(crate) fn scope(&self, caption: Option<&str>, words: &Vocabulary) -> Scope {
        let mut titles: Vec<String> = vec![];
        let lead = self.lead.as_ref().map(|(text, bold)| (trim_title(text, words), *bold));
        let caption = caption
            .map(|text| trim_title(text, words))
            .or_else(|| lead.clone().filter(|(_, bold)| *bold).map(|(text, _)| text));
        titles.extend(caption.clone());
        titles.extend(lead.clone().filter(|(_, bold)| !bold).map(|(text, _)| text));
        let headings: Vec<(usize, String)> = self
            .headings
            .iter()
            .enumerate()
            .rev()
            .map(|(depth, heading)| (depth, trim_title(&heading.text, words)))
            .collect();
        titles.extend(headings.iter().map(|(_, text)| text.clone()));
        let title =
            self.title.as_deref().or_else(|| self.headings.first().map(|heading| heading.text.as_str()));
        let names_role = |text: &String| {
            let generic = is_generic(text, words)
                || title.is_some_and(|title| is_generic(without_product(text, title), words));
            !generic && parties(text, words).is_none()
        };
        let is_title =
            |depth: usize| depth == 0 && self.headings.first().is_some_and(|heading| heading.level == 1);
        let leading = lead
            .filter(|(text, bold)| !bold && names_role(text) && text.chars().count() <= 40)
            .map(|(text, _)| text);
        Scope {
            captioned_role: caption.filter(names_role),
            heading_role: leading.or_else(|| {
                headings
                    .iter()
                    .filter(|(depth, _)| !is_title(*depth))
                    .map(|(_, text)| text)
                    .find(|text| names_role(text))
                    .cloned()
            }),
            direction: titles.iter().find_map(|text| direction(text, words)),
            parties: titles.iter().take(3).find_map(|text| parties(text, words)),
            titles,
        }
    }

    /// The caption that stands in place of the table's own, in its surroundings.
    pub(crate) fn caption_of(&self, table: &Table) -> Option<String> {
        table
            .caption
            .clone()
            .or_else(|| self.lead.as_ref().filter(|(_, bold)| *bold).map(|(text, _)| text.clone()))
    }
}

/// Footnotes and notes are no headings.
fn starts_like_heading(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|first| first.is_alphanumeric() || matches!(first, '「' | '【' | '"' | '“' | '(' | '<'))
}

fn trim_title(text: &str, words: &Vocabulary) -> String {
    let text = text.trim().trim_end_matches([':', '：']).trim_end();
    unnumbered(text, words).unwrap_or(text).to_owned()
}

/// What follows `Table 3:`.
fn unnumbered<'a>(text: &'a str, words: &Vocabulary) -> Option<&'a str> {
    let digit = text.find(|c: char| c.is_ascii_digit())?;
    let label = text[..digit].trim_end();
    words.table_labels.whole(Folded::new(label).as_str())?;
    let behind = text[digit..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let rest = behind.trim_start_matches([' ', ':', '：', '–', '—', '-', '　', '.']);
    (!rest.is_empty()).then_some(rest)
}

/// `text` without the words at its start or its end with which `title` begins: the product's name.
fn without_product<'a>(text: &'a str, title: &str) -> &'a str {
    let title: Vec<String> = title.split_whitespace().map(super::fold::fold).collect();
    let mut end = 0;
    let words: Vec<(usize, &str)> = text
        .split_inclusive(char::is_whitespace)
        .map(|word| {
            let start = end;
            end += word.len();
            (start, word.trim_end())
        })
        .filter(|(_, word)| !word.is_empty())
        .collect();
    let same = |at: usize, word: &str| title.get(at).is_some_and(|known| *known == super::fold::fold(word));
    let leading = words.iter().enumerate().take_while(|&(at, (_, word))| same(at, word)).count();
    if leading > 0 {
        // The whole title is not only the product.
        return words.get(leading).map_or(text, |(start, _)| &text[*start..]);
    }
    let trailing = (1..words.len())
        .find(|&first| words[first..].iter().enumerate().all(|(at, (_, word))| same(at, word)));
    trailing.map_or(text, |first| &text[..words[first].0])
}

/// `text` without a parenthesis at its end that holds a number, as the revision of a document does.
fn without_revision(text: &str) -> &str {
    let Some(rest) = text.trim_end().strip_suffix([')', '）', ']']) else { return text };
    match rest.rfind(['(', '（', '[']) {
        Some(open) if rest[open..].chars().any(|c| c.is_ascii_digit()) => rest[..open].trim_end(),
        _ => text,
    }
}

/// Whether a title names nothing but ports, directions and documents.
pub(crate) fn is_generic(text: &str, words: &Vocabulary) -> bool {
    let text = without_revision(text);
    let folded = Folded::new(text);
    let numbering = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c.is_whitespace());
    numbering.is_empty()
        || words.generic.covers(&folded)
        || numbering.len() < text.len() && words.generic.covers(&Folded::new(numbering))
        || words.flow_cells.whole(&trim_title(Folded::new(numbering).as_str(), words)).is_some()
}

/// The direction that a text states, if it states one.
pub(crate) fn direction(text: &str, words: &Vocabulary) -> Option<Direction> {
    let folded = Folded::new(text);
    // `Out:` above a table is a direction, as it is in a cell.
    let title = trim_title(folded.as_str(), words);
    let whole = title.chars().any(char::is_alphabetic).then(|| words.flow_cells.whole(&title)).flatten();
    let found = words.flows.find(&folded).into_iter().map(|found| found.meaning);
    direction_in(found).or_else(|| direction_in(whole))
}

/// One direction out of several words: both if a word says so, none if they disagree.
pub(crate) fn direction_in(found: impl IntoIterator<Item = FlowWord>) -> Option<Direction> {
    let (mut inbound, mut outbound, mut both) = (false, false, false);
    for flow in found {
        match flow {
            FlowWord::Inbound => inbound = true,
            FlowWord::Outbound => outbound = true,
            FlowWord::Both => both = true,
        }
    }
    match (inbound, outbound, both) {
        (_, _, true) => Some(Direction::Both),
        (true, false, false) => Some(Direction::Inbound),
        (false, true, false) => Some(Direction::Outbound),
        (true, true, false) | (false, false, false) => None,
    }
}

/// The two ends that a title names: `ports from A to B`.
pub(crate) fn parties(text: &str, words: &Vocabulary) -> Option<Parties> {
    let text = trim_title(text, words);
    let folded = Folded::new(&text);
    words.parties.iter().find_map(|pattern| matches(&text, &folded, pattern, words))
}

fn matches(source: &str, folded: &Folded, pattern: &PartiesPattern, words: &Vocabulary) -> Option<Parties> {
    let text = folded.as_str();
    let (start, first) = if pattern.before.is_empty() {
        (0, 0)
    } else {
        let at = find_word(text, &pattern.before)?;
        (at, at + pattern.before.len())
    };
    let middle = first + find_word(&text[first..], &pattern.between)?;
    let second = middle + pattern.between.len();
    let end =
        if pattern.after.is_empty() { text.len() } else { second + text[second..].find(&pattern.after)? };
    let piece = |from: usize, to: usize| {
        source
            .get(folded.source(from)..folded.source(to).min(source.len()))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    // Before the ends only ports and directions may be spoken of; otherwise it is a sentence.
    let (before, one, other) = (piece(0, start), piece(first, middle), piece(second, end));
    let spoken = before.is_empty() || is_generic(&before, words);
    let named =
        |end: &str| !end.is_empty() && end.chars().count() <= 60 && end.chars().any(char::is_alphabetic);
    let (from, to) = if pattern.from_first { (one, other) } else { (other, one) };
    (spoken && named(&from) && named(&to)).then_some(Parties { source: from, destination: to })
}

/// The first place of `word` in `text` that no letters of a spaced script adjoin; `word` carries its own spaces.
fn find_word(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(at, _)| at).find(|&at| {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic() && c.is_ascii());
        let starts =
            !word.starts_with(|c: char| c.is_ascii_alphabetic()) || !letter(text[..at].chars().next_back());
        let ends = !word.ends_with(|c: char| c.is_ascii_alphabetic())
            || !letter(text[at + word.len()..].chars().next());
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_two_ends() {
        let words = Vocabulary::standard().expect("well-formed");
        let cases = [
            ("Porte in ingresso da Internet a MCS:", Some(("Internet", "MCS"))),
            ("From Edge to Front End", Some(("Edge", "Front End"))),
            ("Ports vom Client zum Server", Some(("Client", "Server"))),
            ("監視サーバーから管理サーバーへの通信", Some(("監視サーバー", "管理サーバー"))),
            ("Web → Datenbank", Some(("Web", "Datenbank"))),
            ("Table 3: From Edge to Front End", Some(("Edge", "Front End"))),
            ("How to get from here to there in a day", None),
            ("Worker nodes", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(source, destination): (&str, &str)| Parties {
                source: source.to_owned(),
                destination: destination.to_owned(),
            });
            assert_eq!(parties(text, words), expected, "{text}");
        }
    }

    #[test]
    fn the_number_of_a_table_is_no_part_of_its_title() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, title) in [
            ("Table 3: Mail relay", "Mail relay"),
            ("Tabella 1. Nodi", "Nodi"),
            ("Tableau 2-1 – Passerelle", "Passerelle"),
            ("表1　サーバー", "サーバー"),
            ("Table 3", "Table 3"),
            ("Port 443: portal", "Port 443: portal"),
        ] {
            assert_eq!(trim_title(text, words), title);
        }
    }

    #[test]
    fn the_name_of_the_product_is_no_role() {
        let words = Vocabulary::standard().expect("well-formed");
        for (caption, role) in [
            ("Vault 9 required ports", None),
            ("Required ports for Vault 9", None),
            ("Vault 9 media server", Some("Vault 9 media server")),
            ("Media server", Some("Media server")),
        ] {
            let surroundings = Surroundings::of(Some("Vault 9 administration guide".to_owned()));
            let scope = surroundings.scope(Some(caption), words);
            assert_eq!(scope.captioned_role.as_deref(), role, "{caption}");
        }
    }

    #[test]
    fn ports_and_directions_are_no_roles() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, generic) in [
            ("Required ports", true),
            ("2.1 Ports and protocols", true),
            ("Eingehende Verbindungen", true),
            ("必要なポート", true),
            ("Porte di origine e destinazione", true),
            ("Required ports (Rev. 3.1)", true),
            ("Ports (mail relay)", false),
            ("Control plane", false),
            ("Ports of the mail relay", false),
        ] {
            assert_eq!(is_generic(text, words), generic, "{text}");
        }
    }
}
