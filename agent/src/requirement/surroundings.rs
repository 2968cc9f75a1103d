//! Surroundings: what stands around a table and belongs to its rows.
//!
//! In come the blocks before a table; out come its caption, the headings above it, and what they say
//! about role, direction and the two ends of the traffic. Invariant: a heading that names only ports,
//! directions or documents is no role.

use std::sync::Arc;

use super::fold::{Folded, fold};
use super::title::{self, Parties, direction, is_generic, parties, trim_title, without_product};
use super::vocabulary::{PortWord, Vocabulary};
use super::{Direction, action};
use crate::document::{Heading, Item, Line, Paragraph, Table, collapse};

/// Longest line that can be a heading without a mark.
const HEADING: usize = 90;
/// Longest sentence before a block of which the direction is asked.
const SENTENCE: usize = 300;
/// Longest sentence that announces ports.
const ANNOUNCEMENT: usize = 180;
/// Characters of a heading that are looked at.
const LONGEST: usize = 1_000;
/// The level of such a heading: below all marked ones.
const UNMARKED: u8 = 9;

/// What was passed on the way to a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The document's own title.
    title: Option<Arc<str>>,
    /// Shared by all that stands below them.
    headings: Vec<Arc<Heading>>,
    /// The paragraph right before, if it can head the next block.
    lead: Option<(String, bool)>,
    /// The direction that the sentence right before states, if that is too long to head the next block.
    said: Option<Direction>,
    /// The full sentence right before, which may say that ports come next.
    sentence: Option<String>,
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
    /// The nearest title says that the ports are blocked.
    pub(crate) blocked: bool,
}

impl Surroundings {
    /// The surroundings of nothing yet, in a document with this title.
    pub(crate) fn of(title: Option<String>) -> Self {
        Self { title: title.map(|title| cut(&title).into()), ..Self::default() }
    }

    /// Passes a heading.
    pub(crate) fn heading(&mut self, heading: &Heading) {
        while self.headings.last().is_some_and(|above| above.level >= heading.level) {
            self.headings.pop();
        }
        self.headings.push(Arc::new(Heading { text: cut(&heading.text).to_owned(), ..*heading }));
        self.other();
    }

    /// Passes a line that heads what follows without being marked as a heading, if it can.
    pub(crate) fn line(&mut self, item: &Item) {
        let text = collapse(&item.text);
        if text.chars().count() <= HEADING && !text.ends_with(['.', '。', ';', '；']) {
            self.heading(&Heading { line: item.line, level: UNMARKED, text });
        } else {
            self.other();
        }
    }

    /// Passes a paragraph: it may be a caption, a lead, or a heading that nobody marked.
    pub(crate) fn paragraph(&mut self, paragraph: &Paragraph, words: &Vocabulary) {
        self.other();
        let last = paragraph.lines.iter().map(|line| line.text.trim_end()).rfind(|text| !text.is_empty());
        let ends_open = last.is_some_and(|text| text.ends_with([':', '：']));
        let bytes = paragraph.lines.iter().flat_map(|line| line.text.bytes());
        let shown = bytes.filter(|byte| !byte.is_ascii_whitespace()).count();
        if !ends_open && shown > HEADING * char::MAX.len_utf8() {
            // Most text heads nothing.
            return;
        }
        let text = paragraph.text();
        let short = text.chars().count() <= HEADING;
        let sentence = text.ends_with(['.', '。', '!', '?', ';', ',', '！', '？']) && !text.ends_with("..");
        if paragraph.bold && short {
            self.lead = Some((text, true));
            return;
        }
        if paragraph.lines.len() == 1 && short && !sentence && !ends_open && starts_like_heading(&text) {
            let line = paragraph.line();
            self.heading(&Heading { line, level: UNMARKED, text });
            return;
        }
        if let [first, rest @ ..] = &paragraph.lines[..]
            && heads_sentences(&first.text, rest)
        {
            let text = collapse(&first.text);
            self.heading(&Heading { line: first.number, level: UNMARKED, text });
        }
        // `Inbound:`, or the last sentence before a table.
        let last = text
            .rsplit(['.', '。'])
            .find(|part| !part.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let long = ends_open && last.chars().take(SENTENCE + 1).count() <= SENTENCE;
        self.said = long.then(|| direction(&last, words)).flatten();
        let useful = ends_open && (last.chars().count() <= HEADING || parties(&last, words).is_some());
        if useful {
            self.lead = Some((last, false));
        } else {
            self.sentence = Some(last).filter(|_| sentence);
        }
    }

    /// Passes anything else.
    pub(crate) fn other(&mut self) {
        self.lead = None;
        self.said = None;
        self.sentence = None;
    }

    /// What is said about a list, which comes next: a full sentence can announce it too.
    pub(crate) fn scope_of_list(&self, words: &Vocabulary) -> Scope {
        let scope = self.scope(None, words);
        match (&self.lead, &self.sentence) {
            (None, Some(sentence)) if announces(sentence, words) => {
                let led = Self { lead: Some((sentence.clone(), false)), ..self.clone() };
                // A sentence is no role.
                Scope { heading_role: scope.heading_role, ..led.scope(None, words) }
            }
            _ => scope,
        }
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
        let role = |text: &str| {
            let product = title.is_some_and(|title| is_generic(without_product(text, title), words));
            let role = if product { None } else { title::role(text, words) }?;
            // `Ports on the …` inflects what the heading above names as it is.
            let named = headings
                .iter()
                .map(|(_, heading)| heading)
                .find(|name| is_inflected(&role, name) && title::is_name(name, words));
            Some(named.cloned().unwrap_or(role))
        };
        let near = &titles[..titles.len() - headings.len()];
        let blocked = action::are_blocked(
            near.iter().map(String::as_str),
            headings.iter().map(|(_, text)| text.as_str()),
            words,
        );
        let is_title =
            |depth: usize| depth == 0 && self.headings.first().is_some_and(|heading| heading.level == 1);
        // `The relay accepts connections on:`
        let told = lead.as_ref().and_then(|(text, _)| title::told_direction(text, words));
        let leading =
            lead.filter(|(text, bold)| !bold && text.chars().count() <= 40).and_then(|(text, _)| role(&text));
        Scope {
            captioned_role: caption.as_deref().and_then(role),
            heading_role: leading.or_else(|| {
                headings.iter().filter(|(depth, _)| !is_title(*depth)).find_map(|(_, text)| role(text))
            }),
            direction: near
                .iter()
                .find_map(|text| direction(text, words))
                .or(self.said)
                .or_else(|| headings.iter().find_map(|(_, text)| direction(text, words)))
                .or(told),
            parties: titles.iter().take(3).find_map(|text| parties(text, words)),
            blocked,
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

/// Whether a sentence says that ports come next, and not that they are to be closed.
fn announces(sentence: &str, words: &Vocabulary) -> bool {
    let folded = Folded::new(sentence);
    sentence.chars().count() <= ANNOUNCEMENT
        && !words.announcements.find(&folded).is_empty()
        && words.ports.find(&folded).iter().any(|found| found.meaning == PortWord::Port)
        && !words.actions.find(&folded).iter().any(|found| !found.meaning)
}

/// The beginning of a heading that names anything: every table below it is asked what it says.
fn cut(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

/// Most letters that tell two forms of a word apart.
const ENDING: usize = 3;
/// Letters that they have in common at least.
const STEM: usize = 5;

/// Whether two names are the same words in other forms: each pair begins alike.
fn is_inflected(name: &str, other: &str) -> bool {
    let alike = |one: &str, other: &str| {
        let (one, other) = (fold(one), fold(other));
        let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
        let longest = one.chars().count().max(other.chars().count());
        one == other || same >= STEM && longest - same <= ENDING
    };
    let (words, others) = (name.split_whitespace(), other.split_whitespace());
    name != other
        && words.clone().count() == others.clone().count()
        && words.zip(others).all(|(word, other)| alike(word, other))
}

/// Whether the first line of a paragraph heads its others, where a blank line was lost: it is much shorter than they
/// are, and they are sentences.
fn heads_sentences(first: &str, rest: &[Line]) -> bool {
    let length = first.chars().count();
    let ends =
        |text: &str| text.trim_end().ends_with(['.', '。', ':', '：', ';', ',', '、', '!', '?', '！', '？']);
    let sentence = rest.last().is_some_and(|last| ends(&last.text));
    let next = rest.first().map_or("", |next| next.text.trim_start());
    let begins = !next.starts_with(char::is_lowercase) && next.chars().count() > 2 * length;
    length <= HEADING / 2 && !ends(first) && starts_like_heading(first) && sentence && begins
}

/// Footnotes and notes are no headings.
fn starts_like_heading(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|first| first.is_alphanumeric() || matches!(first, '「' | '【' | '"' | '“' | '(' | '<'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Block, Document};

    #[test]
    fn a_heading_tells_how_an_inflected_role_is_called() {
        for (name, other, inflected) in [
            ("Сервере администрирования", "Сервер администрирования", true),
            ("Medienservers", "Medienserver", true),
            ("Сервер", "Сервер администрирования", false),
            ("Сервер администрирования", "Сервер", false),
            ("Media server cluster", "Media server", false),
            ("Web server", "Web service", false),
            ("Front End Server", "Front End Pool", false),
            ("Node 1", "Node 2", false),
            ("Relay", "Relay", false),
        ] {
            assert_eq!(is_inflected(name, other), inflected, "{name} {other}");
        }
        let words = Vocabulary::standard().expect("well-formed");
        let mut surroundings = Surroundings::default();
        for (level, text) in [(1, "Сетевые порты"), (2, "Сервер администрирования")]
        {
            surroundings.heading(&Heading { line: 1, level, text: text.to_owned() });
        }
        let scope = surroundings
            .scope(Some("Порты, которые должны быть открыты на Сервере администрирования"), words);
        assert_eq!(scope.captioned_role.as_deref(), Some("Сервер администрирования"));
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
    fn a_long_sentence_before_a_table_states_its_direction_and_nothing_else() {
        let words = Vocabulary::standard().expect("well-formed");
        let scope = |sentence: &str| {
            let text = format!("# Ports\n\n{sentence}\n\n| Port | Protocol |\n|---|---|\n| 443 | TCP |\n");
            let document = Document::read(text.as_bytes(), "ports.md").expect("a document");
            let mut surroundings = Surroundings::default();
            for block in &document.blocks {
                match block {
                    Block::Heading(heading) => surroundings.heading(heading),
                    Block::Paragraph(paragraph) => surroundings.paragraph(paragraph, words),
                    _ => {}
                }
            }
            surroundings.scope(None, words)
        };
        let sentence = "A tabela abaixo enumera as portas de saída que um aparelho da rede precisa de ter livres \
                        para chegar aos serviços da loja e aos de impressão:";
        let outbound = scope(sentence);
        assert_eq!((outbound.direction, outbound.heading_role), (Some(Direction::Outbound), None));
        // A sentence that ends, says both or goes on for long states none.
        let ended = sentence.replace(':', ".");
        let both = sentence.replace("de saída", "de saída, de entrada ou sem sentido,");
        let longer = sentence.replace("da loja", &"da loja ".repeat(30));
        for sentence in [ended, both, longer] {
            assert_eq!(scope(&sentence).direction, None, "{sentence}");
        }
    }
}
