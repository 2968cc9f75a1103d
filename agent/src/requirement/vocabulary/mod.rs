//! The vocabulary: what the words of vendors' tables mean, in every language at once.
//!
//! In come the TOML files of `agent/vocabulary`, compiled into the binary; out come lexicons, one for
//! each place where words are read. Invariant: no word of a human language stands in the code of the
//! importer, so that a language is added without it.

mod lexicon;
mod meaning;
mod needle;
mod words;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

pub(crate) use self::lexicon::{Found, Lexicon};
pub(crate) use self::meaning::{FlagWord, FlowWord, HintWord, NumberWord, PortWord, RangeEnd, SubjectWord};
use self::needle::Needle;
pub(crate) use self::needle::Pairs;
use self::words::Words;
use super::Protocol;
use super::columns::Column;

/// One file a language; the common one comes first, so that its entries win.
const LANGUAGES: [&str; 10] = [
    include_str!("../../../vocabulary/common.toml"),
    include_str!("../../../vocabulary/en.toml"),
    include_str!("../../../vocabulary/de.toml"),
    include_str!("../../../vocabulary/ja.toml"),
    include_str!("../../../vocabulary/fr.toml"),
    include_str!("../../../vocabulary/es.toml"),
    include_str!("../../../vocabulary/pt.toml"),
    include_str!("../../../vocabulary/it.toml"),
    include_str!("../../../vocabulary/ru.toml"),
    include_str!("../../../vocabulary/zh.toml"),
];
const PROTOCOLS: &str = include_str!("../../../vocabulary/protocols.toml");
const APPLICATIONS: &str = include_str!("../../../vocabulary/applications.toml");

/// Words of headers that name no role either, should they stand in a heading: `source and destination ports`.
const GENERIC_COLUMNS: [&str; 7] =
    ["port", "source_port", "destination_port", "protocol", "source", "destination", "direction"];

/// An application protocol.
#[derive(Debug, Deserialize)]
pub(crate) struct Application {
    /// As documents write it.
    pub(crate) name: String,
    /// What it runs over where a document states nothing; empty where it could be several.
    pub(crate) transport: Vec<Protocol>,
    /// Ports that it usually has.
    pub(crate) ports: Vec<u16>,
    words: Vec<String>,
}

/// A sentence that names two ends: text before, between and after them.
#[derive(Debug)]
pub(crate) struct PartiesPattern {
    pub(crate) before: Option<Needle>,
    pub(crate) between: Needle,
    pub(crate) after: Option<Needle>,
    pub(crate) from_first: bool,
}

/// The vocabulary of all languages.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) columns: Lexicon<Column>,
    pub(crate) whole_columns: Lexicon<Column>,
    pub(crate) ports: Lexicon<PortWord>,
    /// The words of which `ports` consists.
    pub(crate) port_words: Words,
    /// Words that a number behind them belongs to. They are no port language: some are units too.
    pub(crate) numbered: Lexicon<NumberWord>,
    /// Directions that count in headings, captions and cells.
    pub(crate) flows: Lexicon<FlowWord>,
    /// Directions that count where they are all of a cell.
    pub(crate) flow_cells: Lexicon<FlowWord>,
    /// Directions and qualifications, as roles, services and notes mention them.
    pub(crate) hints: Lexicon<HintWord>,
    /// Headers of two columns that state the ends of one range.
    pub(crate) range_ends: Lexicon<RangeEnd>,
    pub(crate) answers: Lexicon<bool>,
    /// What a rule does: words that allow traffic, and words that deny it.
    pub(crate) actions: Lexicon<bool>,
    /// Phrases that deny wherever they stand in a short text: `do not open`.
    pub(crate) denials: Lexicon<()>,
    /// States that deny, but for those that ports have by default.
    pub(crate) closed: Lexicon<()>,
    /// Headers of what only blocked ports have: `Reason for blocking`.
    pub(crate) deny_reasons: Lexicon<()>,
    /// Words that take back or question what a title says: `except`, `troubleshooting`.
    pub(crate) doubts: Lexicon<()>,
    /// Words of headings that name no role: `required ports`.
    pub(crate) generic: Lexicon<()>,
    pub(crate) note_labels: Lexicon<()>,
    /// Words with which a clause begins, and no name: `when`.
    pub(crate) clauses: Lexicon<()>,
    /// Headers, as they are written, of roles or ends that can be purposes: `rôle`, which has an accent.
    pub(crate) purposes: Vec<String>,
    /// Words of a sentence that says what comes next: `listed below`.
    pub(crate) announcements: Lexicon<()>,
    /// Words before the number of a table.
    pub(crate) table_labels: Lexicon<()>,
    pub(crate) ipsec: Lexicon<()>,
    pub(crate) parties: Vec<PartiesPattern>,
    /// What parts words for ports and directions from the role that they belong to.
    pub(crate) subjects: Lexicon<SubjectWord>,
    /// Words for what is on or off, which in some languages are those for directions.
    pub(crate) states: Lexicon<()>,
    /// Articles before a name.
    pub(crate) articles: Lexicon<()>,
    pub(crate) applications: Vec<Application>,
    /// Ports that documents list often.
    known: Vec<u16>,
}

/// A vocabulary that cannot be read; the files are part of the program, so only its authors see this.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// A file is no TOML of the documented form.
    #[error("the vocabulary is broken: {0}")]
    Form(#[from] toml::de::Error),
    /// A protocol that is none.
    #[error("the vocabulary names a protocol that is none: {0}")]
    Protocol(#[from] super::ValueError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageFile {
    #[allow(dead_code, reason = "names the file for its authors")]
    language: String,
    columns: BTreeMap<String, Vec<String>>,
    words: BTreeMap<String, Vec<String>>,
    parties: PartiesFile,
    #[serde(default)]
    subject: SubjectFile,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectFile {
    any: Vec<String>,
    inbound: Vec<String>,
    outbound: Vec<String>,
    alone: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartiesFile {
    patterns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProtocolFile {
    protocol: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationFile {
    application: Vec<Application>,
    known: Vec<u16>,
}

impl Vocabulary {
    /// The vocabulary of the files in `agent/vocabulary`, read once.
    pub(crate) fn standard() -> Result<&'static Self, VocabularyError> {
        static STANDARD: OnceLock<Vocabulary> = OnceLock::new();
        if let Some(vocabulary) = STANDARD.get() {
            return Ok(vocabulary);
        }
        let vocabulary = Self::load(&LANGUAGES)?;
        Ok(STANDARD.get_or_init(|| vocabulary))
    }

    fn load(languages: &[&str]) -> Result<Self, VocabularyError> {
        let files =
            languages.iter().map(|text| toml::from_str(text)).collect::<Result<Vec<LanguageFile>, _>>()?;
        let protocols: ProtocolFile = toml::from_str(PROTOCOLS)?;
        let applications: ApplicationFile = toml::from_str(APPLICATIONS)?;

        let words = |keys: &[&str]| -> Vec<&str> {
            let keys = keys.iter();
            keys.flat_map(|key| files.iter().filter_map(|file| file.words.get(*key)))
                .flatten()
                .map(String::as_str)
                .collect()
        };
        let meanings = |key: &str, meaning: PortWord| {
            words(&[key]).into_iter().map(move |word| (word, meaning)).collect::<Vec<_>>()
        };

        // Where a word has several meanings among ports, the first in this order holds.
        let mut ports = vec![];
        for (name, names) in &protocols.protocol {
            let protocol: Protocol = name.parse()?;
            ports.extend(names.iter().map(|word| (word.as_str(), PortWord::Protocol(protocol))));
        }
        for (index, application) in applications.application.iter().enumerate() {
            ports.extend(application.words.iter().map(|word| (word.as_str(), PortWord::Application(index))));
        }
        for (key, meaning) in [
            ("range", PortWord::Range),
            ("maps", PortWord::Maps),
            ("list", PortWord::List),
            ("between", PortWord::Between),
            ("more", PortWord::More),
            ("above", PortWord::Above),
            ("below", PortWord::Below),
            ("any", PortWord::Any),
            ("dynamic", PortWord::Dynamic),
            ("unspecified", PortWord::Unspecified),
            ("nothing", PortWord::Nothing),
            ("port", PortWord::Port),
            ("ip_protocol", PortWord::IpProtocol),
            ("unit", PortWord::Unit),
            ("other", PortWord::Other),
            ("filler", PortWord::Filler),
            // `443 (bidirectional)`: the direction is read elsewhere.
            ("both", PortWord::Filler),
            ("inbound", PortWord::Filler),
            ("outbound", PortWord::Filler),
        ] {
            ports.extend(meanings(key, meaning));
        }
        let numbered = [("edition", NumberWord::Edition), ("place", NumberWord::Place)];
        let numbered = numbered
            .into_iter()
            .flat_map(|(key, meaning)| words(&[key]).into_iter().map(move |word| (word, meaning)));
        let flows = |keys: [&[&str]; 3]| {
            let [both, inbound, outbound] = keys.map(&words);
            let both = both.into_iter().map(|word| (word, FlowWord::Both));
            let inbound = inbound.into_iter().map(|word| (word, FlowWord::Inbound));
            let outbound = outbound.into_iter().map(|word| (word, FlowWord::Outbound));
            Lexicon::new(both.chain(inbound).chain(outbound))
        };
        let single = |keys: &[&str]| Lexicon::new(words(keys).into_iter().map(|word| (word, ())));
        let hints = [
            ("both", HintWord::Flow(FlowWord::Both)),
            ("inbound", HintWord::Flow(FlowWord::Inbound)),
            ("outbound", HintWord::Flow(FlowWord::Outbound)),
            ("receives", HintWord::Verb(FlowWord::Inbound)),
            ("sends", HintWord::Verb(FlowWord::Outbound)),
            ("legacy", HintWord::Flag(FlagWord::Legacy)),
            ("optional", HintWord::Flag(FlagWord::Optional)),
            ("configurable", HintWord::Flag(FlagWord::Configurable)),
        ];
        let hints =
            hints.into_iter().flat_map(|(key, hint)| words(&[key]).into_iter().map(move |word| (word, hint)));
        let range_ends = [("first_port", RangeEnd::First), ("last_port", RangeEnd::Last)];
        let range_ends = range_ends
            .into_iter()
            .flat_map(|(key, end)| words(&[key]).into_iter().map(move |word| (word, end)));
        let answers = [("yes", true), ("no", false)];
        let answers = answers
            .into_iter()
            .flat_map(|(key, answer)| words(&[key]).into_iter().map(move |word| (word, answer)));
        let actions = [("deny", false), ("deny_phrase", false), ("closed", false), ("allow", true)];
        let actions = actions
            .into_iter()
            .flat_map(|(key, action)| words(&[key]).into_iter().map(move |word| (word, action)));
        let (columns, whole_columns) = columns(&files)?;
        Ok(Self {
            columns,
            whole_columns,
            port_words: Words::new(ports.iter().map(|(phrase, _)| *phrase)),
            ports: Lexicon::new(ports),
            numbered: Lexicon::new(numbered),
            flows: flows([&["both"], &["inbound"], &["outbound"]]),
            flow_cells: flows([
                &["both", "both_cell"],
                &["inbound", "inbound_cell", "receives"],
                &["outbound", "outbound_cell", "sends"],
            ]),
            hints: Lexicon::new(hints),
            range_ends: Lexicon::new(range_ends),
            answers: Lexicon::new(answers),
            actions: Lexicon::new(actions),
            denials: single(&["deny_phrase"]),
            closed: single(&["closed"]),
            deny_reasons: single(&["deny_reason"]),
            doubts: single(&["doubt"]),
            generic: Lexicon::new(
                words(&["generic", "inbound", "outbound", "both", "notes_label"])
                    .into_iter()
                    .chain(GENERIC_COLUMNS.iter().flat_map(|key| {
                        files.iter().filter_map(|file| file.columns.get(*key)).flatten().map(String::as_str)
                    }))
                    .map(|word| (word, ())),
            ),
            note_labels: single(&["notes_label"]),
            clauses: single(&["clause"]),
            purposes: words(&["purpose"]).into_iter().map(str::to_owned).collect(),
            announcements: single(&["announce"]),
            table_labels: single(&["table_label"]),
            ipsec: single(&["ipsec"]),
            parties: files
                .iter()
                .flat_map(|file| &file.parties.patterns)
                .filter_map(|pattern| PartiesPattern::new(pattern))
                .collect(),
            subjects: subjects(&files),
            states: single(&["state"]),
            articles: single(&["article"]),
            applications: applications.application,
            known: applications.known,
        })
    }

    /// Whether documents often list `port`.
    pub(crate) fn is_known(&self, port: u32) -> bool {
        self.known.iter().any(|&known| u32::from(known) == port)
            || self
                .applications
                .iter()
                .any(|application| application.ports.iter().any(|&known| u32::from(known) == port))
    }

    /// What the application usually found on `port` runs over.
    pub(crate) fn transport_of(&self, port: u16) -> &[Protocol] {
        self.applications
            .iter()
            .find(|application| application.ports.contains(&port))
            .map_or(&[], |application| &application.transport)
    }
}

/// The lexicons of header words: those found anywhere, and those that must be a whole header.
fn columns(files: &[LanguageFile]) -> Result<(Lexicon<Column>, Lexicon<Column>), VocabularyError> {
    let (mut anywhere, mut whole) = (vec![("tcp", Column::Transport), ("udp", Column::Transport)], vec![]);
    for file in files {
        for (key, words) in &file.columns {
            let (name, only_whole) =
                key.strip_suffix("_cell").map_or((key.as_str(), false), |name| (name, true));
            let word = Column::deserialize(serde::de::value::StrDeserializer::<toml::de::Error>::new(name))?;
            whole.extend(words.iter().map(|text| (text.as_str(), word)));
            if !only_whole {
                anywhere.extend(words.iter().map(|text| (text.as_str(), word)));
            }
        }
    }
    // `tcp/udp` over a column means its protocol; `*port` is no whole header.
    Ok((Lexicon::new(anywhere), Lexicon::new(whole)))
}

/// The words of the subject patterns of all languages; a word of several lists means all of them.
fn subjects(files: &[LanguageFile]) -> Lexicon<SubjectWord> {
    let mut subjects: BTreeMap<&str, SubjectWord> = BTreeMap::new();
    for SubjectFile { any, inbound, outbound, alone } in files.iter().map(|file| &file.subject) {
        for (patterns, flow, alone) in [
            (any, None, false),
            (inbound, Some(FlowWord::Inbound), false),
            (outbound, Some(FlowWord::Outbound), false),
            (alone, None, true),
        ] {
            for (before, behind) in patterns.iter().filter_map(|pattern| pattern.split_once("{role}")) {
                let leads = !before.is_empty();
                let subject = subjects.entry(if leads { before.trim() } else { behind }).or_default();
                subject.leads |= leads;
                subject.alone |= alone;
                match flow {
                    Some(FlowWord::Inbound) => subject.inbound = true,
                    Some(FlowWord::Outbound) => subject.outbound = true,
                    Some(FlowWord::Both) | None => subject.any = true,
                }
            }
        }
    }
    Lexicon::new(subjects)
}

impl PartiesPattern {
    fn new(pattern: &str) -> Option<Self> {
        let (from, to) = (pattern.find("{from}")?, pattern.find("{to}")?);
        let (first, second) = if from < to { (from, to) } else { (to, from) };
        let (first_end, second_end) =
            (pattern[first..].find('}')? + first + 1, pattern[second..].find('}')? + second + 1);
        Some(Self {
            before: Needle::new(&pattern[..first]),
            between: Needle::new(&pattern[first_end..second])?,
            after: Needle::new(&pattern[second_end..]),
            from_first: from < to,
        })
    }
}

#[cfg(test)]
mod tests;
