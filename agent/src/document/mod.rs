//! Documents: the bytes that a vendor published, as headings, paragraphs, lists and tables.
//!
//! In come the bytes of one file and its name; out comes a [`Document`] whose every row, item and
//! paragraph knows the line it stands on. What a table is about is not decided here: this module
//! sees shapes, `requirement` reads them.
//!
//! Invariant: memory and time stay proportional to the input. Spans, nesting and compressed
//! sheets are bounded by [`limits`], and what exceeds them is an error, never a part of a table.

mod delimited;
pub mod encoding;
mod format;
mod html;
mod inline;
pub mod limits;
mod sheet;
mod text;

use std::borrow::Cow;

use compact_str::CompactString;

pub use self::encoding::Encoding;
pub use self::format::Format;

/// What a file says, shape by shape, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The title that the file gives itself, if any.
    pub title: Option<String>,
    /// Headings, paragraphs, lists and tables in their order.
    pub blocks: Vec<Block>,
}

/// One shape of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading of the document.
    Heading(Heading),
    /// Text between blank lines.
    Paragraph(Paragraph),
    /// Items marked by bullets or numbers.
    List(Vec<Item>),
    /// Cells in rows.
    Table(Table),
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Line of the heading's text, 1-based.
    pub line: u32,
    /// 1 is the outermost.
    pub level: u8,
    /// The heading's text, markup removed.
    pub text: String,
}

/// Text between blank lines; line breaks are kept, since many tables survive only as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The lines, markup removed.
    pub lines: Vec<Line>,
    /// Whether all of it is set in bold, as captions often are.
    pub bold: bool,
}

/// One line of text with its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// 1-based.
    pub number: u32,
    /// The text, markup removed.
    pub text: String,
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Line of the item's first word, 1-based.
    pub line: u32,
    /// 0 for the outermost list.
    pub depth: u8,
    /// The mark before the item: `-`, `*`, `1.`; empty in HTML.
    pub bullet: String,
    /// The item's own text, without nested items.
    pub text: String,
}

/// A table: rows of the same width wherever the source allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Line of the first row, 1-based.
    pub line: u32,
    /// The caption that belongs to the table by markup.
    pub caption: Option<String>,
    /// Leading rows that the markup declares to be headers; `None` where it says nothing.
    pub header_rows: Option<usize>,
    /// All rows, headers included.
    pub rows: Vec<Row>,
}

/// One row of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Line of the row, 1-based; of `<tr>` in HTML; the row's number in a spreadsheet.
    pub line: u32,
    /// Cells from left to right, spans repeated.
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The cell's text, markup removed; `\n` where the source breaks the line.
    pub text: CompactString,
    /// Footnote marks set as superscript or reference, removed from the text.
    pub marks: Vec<String>,
    /// Repeats the cell to its left (colspan).
    pub from_left: bool,
    /// Repeats the cell above (rowspan).
    pub from_above: bool,
}

/// A file that cannot be read as a document at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// More bytes than are read.
    #[error("{0} bytes are more than a document may have ({max}): split it", max = limits::MAX_BYTES)]
    TooLarge(u64),
    /// A table, or all of them, would take more cells than are held.
    #[error("line {line}: more than {max} cells: split the document or mend its row and column spans", max = limits::MAX_CELLS)]
    TooManyCells {
        /// Line where the limit was passed.
        line: u32,
    },
    /// A row with text beyond the last column that is held.
    #[error("line {line}: the row has more than {max} columns: part the table into several", max = limits::MAX_COLUMNS)]
    TooManyColumns {
        /// Line of the row.
        line: u32,
    },
    /// Bytes that no encoding explains.
    #[error(
        "the text is neither UTF-8, UTF-16, Shift_JIS nor a Windows code page (first at byte {0}): save it as UTF-8"
    )]
    Encoding(usize),
    /// A binary file that is no spreadsheet.
    #[error("this is {0}, not a document: export it as Markdown, HTML, text, CSV or XLSX")]
    Binary(&'static str),
    /// A spreadsheet that cannot be opened.
    #[error("the spreadsheet cannot be read: {0}")]
    Sheet(String),
    /// A CSV file that cannot be read.
    #[error("line {line}: {message}")]
    Delimited {
        /// Line of the broken record.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
}

impl Document {
    /// Reads `bytes`, the content of the file `name` (its extension is a hint, not more).
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the bytes are too many, no text, or a broken container.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, ReadError> {
        if bytes.len() > limits::MAX_BYTES {
            return Err(ReadError::TooLarge(bytes.len() as u64));
        }
        if format::is_zip(bytes) {
            return sheet::read(bytes);
        }
        if let Some(kind) = format::binary(bytes) {
            return Err(ReadError::Binary(kind));
        }
        let (content, _) = encoding::decode(bytes)?;
        match format::sniff(&content, name) {
            Format::Html => html::read(&content),
            Format::Delimited(mark) => delimited::read(&content, mark),
            Format::Text => text::read(&content),
        }
    }
}

impl Block {
    /// First line of the block, 1-based.
    #[must_use]
    pub fn line(&self) -> u32 {
        match self {
            Self::Heading(heading) => heading.line,
            Self::Paragraph(paragraph) => paragraph.line(),
            Self::List(items) => items.first().map_or(0, |item| item.line),
            Self::Table(table) => table.line,
        }
    }
}

impl Paragraph {
    /// First line of the paragraph, 1-based.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.lines.first().map_or(0, |line| line.number)
    }

    /// The paragraph as one text, lines joined by spaces.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            for word in line.text.split_whitespace() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        text
    }
}

impl Cell {
    /// A cell that holds `text` and spans nothing.
    #[must_use]
    pub fn new(text: impl Into<CompactString>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The cell's text on one line, white space collapsed.
    #[must_use]
    pub fn one_line(&self) -> String {
        collapse(&self.text)
    }

    /// Whether the cell holds no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// `text` with every run of white space as one space and none at its ends.
#[must_use]
pub fn collapse(text: &str) -> String {
    collapsed(text).into_owned()
}

/// As [`collapse`]; most cells are so already.
pub(crate) fn collapsed(text: &str) -> Cow<'_, str> {
    if is_collapsed(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    Cow::Owned(out)
}

/// Whether every space of a text in ASCII stands alone between two words, as in most cells.
fn is_collapsed(text: &str) -> bool {
    let mut before = b' ';
    for &byte in text.as_bytes() {
        if !matches!(byte, b' '..=b'~') || byte == b' ' && before == b' ' {
            return false;
        }
        before = byte;
    }
    before != b' ' || text.is_empty()
}
