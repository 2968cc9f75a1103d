//! Import: a document to its requirements.
//!
//! In comes a [`Document`]; out comes an [`Import`]: requirements, addresses and IPsec exceptions in the
//! order of their lines, and a diagnostic for each row that could not be read. Invariant: importing is a
//! pure function of the bytes; the same document gives the same import on every machine.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::diagnostic::Diagnostic;
use super::footnotes::Footnotes;
use super::ipsec::IpsecException;
use super::names::Name;
use super::outcome::{Outcome, RowOutcome};
use super::reading::Readings;
use super::surroundings::Surroundings;
use super::vocabulary::{Vocabulary, VocabularyError};
use super::{Requirement, columns, language, lists, slug, tables, unruled};
use crate::document::{Block, Document, Item, ReadError, Table};

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
        let mut import = Importer::new(words).run(document);
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

/// Walks through a document and collects what it requires.
struct Importer {
    readings: Readings,
    surroundings: Surroundings,
    /// Names of tables.
    taken: slug::Names,
    import: Import,
}

impl Importer {
    fn new(words: &'static Vocabulary) -> Self {
        let import = Import { schema: SCHEMA, ..Import::default() };
        Self {
            readings: Readings::new(words),
            surroundings: Surroundings::default(),
            taken: slug::Names::default(),
            import,
        }
    }

    fn run(mut self, document: Document) -> Import {
        self.import.document.language = language::of(&document).to_owned();
        self.surroundings = Surroundings::of(document.title.clone());
        let blocks = unruled::tables(document.blocks, self.readings.words);
        let title = document.title.or_else(|| first_text(&blocks));
        self.import.document.title = title.unwrap_or_default();
        for (at, block) in blocks.iter().enumerate() {
            match block {
                Block::Heading(heading) => self.surroundings.heading(heading),
                Block::Paragraph(paragraph) => self.surroundings.paragraph(paragraph, self.readings.words),
                Block::List(items) if heads(items, &blocks[at + 1..], &self.readings) => {
                    self.surroundings.line(&items[0]);
                }
                Block::List(items) => {
                    let scope = self.surroundings.scope(None, self.readings.words);
                    lists::read(items, &scope, &self.readings, &mut self.import);
                    self.surroundings.other();
                }
                Block::Table(table) => {
                    self.table(table, &blocks[at + 1..]);
                    self.surroundings.other();
                }
            }
        }
        self.import.requirements.sort_by_key(|requirement| requirement.line);
        self.import.diagnostics.sort_by_key(|diagnostic| diagnostic.line);
        self.import.diagnostics.dedup();
        self.import
    }

    fn table(&mut self, table: &Table, behind: &[Block]) {
        let caption = self.surroundings.caption_of(table);
        let scope = self.surroundings.scope(caption.as_deref(), self.readings.words);
        let footnotes = Footnotes::behind(behind);
        let before = self.import.found();
        let name = self.table_name(&scope.titles);
        let upright = columns::upright(table, &self.readings);
        let table = upright.as_ref().unwrap_or(table);
        let columns = tables::read(table, &name, &scope, footnotes, &self.readings, &mut self.import);
        if self.import.found() != before {
            let title = scope.titles.first().cloned().unwrap_or_default();
            self.import.tables.push(TableInfo {
                name,
                line: table.line,
                title,
                columns: columns.unwrap_or_default(),
            });
        } else {
            self.taken.take_back(&name);
        }
    }

    /// A name that no other table of the document has.
    fn table_name(&mut self, titles: &[String]) -> String {
        let base = titles
            .iter()
            .map(|title| slug::slug(title))
            .find(|slug| !slug.is_empty())
            .unwrap_or_else(|| "table".to_owned());
        self.taken.free(&base)
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
