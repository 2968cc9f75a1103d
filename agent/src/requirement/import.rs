//! Import: a document to its requirements.
//!
//! In comes a [`Document`]; out comes an [`Import`]: requirements, addresses and IPsec exceptions in the
//! order of their lines, and a diagnostic for each row that could not be read. Invariant: importing is a
//! pure function of the bytes; the same document gives the same import on every machine.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::diagnostic::Diagnostic;
use super::ipsec::IpsecException;
use super::names::Name;
use super::outcome::{Outcome, RowOutcome};
use super::pieces::{self, Piece, Shape};
use super::reading::Readings;
use super::surroundings::Surroundings;
use super::vocabulary::{Vocabulary, VocabularyError};
use super::{Requirement, language, lists, slug, unruled};
use crate::document::{Block, Document, Item, ReadError};

/// Everything that a document requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Version of this form.
    pub schema: u32,
    /// Where all of it comes from.
    pub document: DocumentInfo,
    /// Tables that something was read from.
    pub tables: Vec<TableInfo>,
    /// Documented rows.
    pub requirements: Vec<Requirement>,
    /// Addresses to reach.
    pub names: Vec<Name>,
    /// Traffic that IPsec leaves alone.
    pub ipsec_exceptions: Vec<IpsecException>,
    /// What a person should look at.
    pub diagnostics: Vec<Diagnostic>,
    /// What came of each row of the tables; told by `--explain`, not printed.
    #[serde(skip)]
    pub rows: Vec<RowOutcome>,
}

/// A document that requirements come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentInfo {
    /// Short name, unique in its catalog system.
    pub id: String,
    /// The document's own title.
    pub title: String,
    /// ISO 639-1 code, empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Name of the file.
    pub file: String,
    /// SHA-256 of the file, as 64 hexadecimal digits.
    pub sha256: String,
}

/// A table that requirements were read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Unique in the document.
    pub name: String,
    /// Line of its first row, 1-based.
    pub line: u32,
    /// Its caption or heading.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// How its columns were understood, for `--explain`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub columns: String,
}

/// A document that cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read as a document.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The built-in vocabulary is broken.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

/// Version of the form of [`Import`].
const SCHEMA: u32 = 1;

impl Import {
    /// Imports `bytes`, the content of the file `name`.
    ///
    /// # Errors
    ///
    /// [`ImportError::Read`] where the file is no document or exceeds a limit.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, ImportError> {
        let document = Document::read(bytes, name)?;
        let words = Vocabulary::standard()?;
        let mut import = run(document, words);
        let digest = Sha256::digest(bytes);
        import.document.file = name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned();
        import.document.sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if import.document.title.is_empty() {
            import.document.title.clone_from(&import.document.file);
        }
        import.document.id = slug::slug(&import.document.title);
        Ok(import)
    }

    /// How many rows of the tables came to `outcome`.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// How many requirements, addresses and exceptions there are.
    pub(crate) fn found(&self) -> usize {
        self.requirements.len() + self.names.len() + self.ipsec_exceptions.len()
    }
}

/// What a document requires; where it comes from stays open but for its title and language.
fn run(document: Document, words: &'static Vocabulary) -> Import {
    let language = language::of(&document).to_owned();
    let (blocks, diagnostics) = unruled::tables(document.blocks, words);
    let found = pieces::read(&pieces(document.title.clone(), &blocks, words), words);
    let title = document.title.or_else(|| first_text(&blocks)).unwrap_or_default();
    let document = DocumentInfo { title, language, ..DocumentInfo::default() };
    let mut import = Import { schema: SCHEMA, document, diagnostics, ..Import::default() };
    import.requirements.reserve(found.iter().map(|found| found.requirements.len()).sum());
    let mut names = slug::Names::default();
    for found in found {
        import.add(found, &mut names);
    }
    import.requirements.sort_by_key(|requirement| requirement.line);
    import.diagnostics.sort_by_key(|diagnostic| diagnostic.line);
    import.diagnostics.dedup();
    import
}

/// The tables and lists of a document, each with what was passed on the way to it.
fn pieces<'a>(title: Option<String>, blocks: &'a [Block], words: &'static Vocabulary) -> Vec<Piece<'a>> {
    let readings = Readings::new(words);
    let mut around = Surroundings::of(title);
    let mut pieces = vec![];
    for (at, block) in blocks.iter().enumerate() {
        let behind = &blocks[at + 1..];
        let shape = match block {
            Block::Heading(heading) => {
                around.heading(heading);
                continue;
            }
            Block::Paragraph(paragraph) => {
                around.paragraph(paragraph, words);
                continue;
            }
            Block::List(items) if heads(items, behind, &readings) => {
                around.line(&items[0]);
                continue;
            }
            Block::List(items) => Shape::List(items),
            Block::Table(table) => Shape::Table { table, behind },
        };
        pieces.push(Piece { shape, around: around.clone() });
        around.other();
    }
    pieces
}

impl Import {
    /// Adds what was found in a piece behind what was found before it; its table gets a name that no other has.
    fn add(&mut self, mut found: Self, names: &mut slug::Names) {
        for table in &mut found.tables {
            let name = names.free(&table.name);
            if name != table.name {
                found.requirements.iter_mut().for_each(|requirement| requirement.table.clone_from(&name));
                table.name = name;
            }
        }
        self.tables.append(&mut found.tables);
        self.requirements.append(&mut found.requirements);
        self.names.append(&mut found.names);
        self.ipsec_exceptions.append(&mut found.ipsec_exceptions);
        self.diagnostics.append(&mut found.diagnostics);
        self.rows.append(&mut found.rows);
    }
}

/// Whether a list is a heading: one item alone that states no port and stands before a paragraph or a table, as
/// `■ 受信` and `1. Ports` do.
fn heads(items: &[Item], behind: &[Block], readings: &Readings) -> bool {
    let [item] = items else { return false };
    let marked = item.bullet.starts_with(['■', '●', '◆', '□', '◇', '○', '◎'])
        || item.bullet.ends_with(['.', ')', '）'])
        || item.bullet.starts_with(|mark| ('①'..='⑳').contains(&mark));
    let before = matches!(behind.first(), Some(Block::Table(_) | Block::Paragraph(_)));
    marked && before && !lists::states_ports(&item.text, readings)
}

/// A document without a title is called by its first heading or short line.
fn first_text(blocks: &[Block]) -> Option<String> {
    blocks.iter().find_map(|block| match block {
        Block::Heading(heading) => Some(heading.text.clone()),
        Block::Paragraph(paragraph) => {
            Some(paragraph.text()).filter(|text| text.chars().count() <= 120 && !text.ends_with(['.', '。']))
        }
        Block::List(_) | Block::Table(_) => None,
    })
}
