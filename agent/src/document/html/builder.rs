//! What the tags of a page build: headings, paragraphs, list items and tables.
//!
//! In come tags and text in their order; out come blocks. The builder keeps one open text and knows
//! where it goes; the innermost open table, if any, takes everything. Invariant: no tag is needed to
//! close what another one opened.

use super::grid::TableBuilder;
use crate::document::limits::{CellBudget, MAX_DEPTH};
use crate::document::{Block, Heading, Item, Line, Paragraph, ReadError, Table, collapse};

/// Where text outside of tables goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Paragraph,
    Heading(u8),
    Item,
    Title,
    /// Scripts and styles: no reader sees them.
    Hidden,
}

/// Text that is being collected.
#[derive(Default)]
pub(super) struct Text {
    /// The text so far; `\n` only where the markup breaks the line.
    pub(super) shown: String,
    /// Footnote marks.
    pub(super) marks: Vec<String>,
    /// Line of its first character.
    line: u32,
    /// Whether some of it is not bold.
    regular: bool,
}

/// Builds the blocks of one page or fragment.
pub(super) struct Builder<'a> {
    offset: u32,
    budget: &'a mut CellBudget,
    failure: Option<ReadError>,
    title: Option<String>,
    blocks: Vec<Block>,
    tables: Vec<TableBuilder>,
    /// Open tables beyond the depth limit: their text stays in the cell that they stand in.
    skipped: usize,
    place: Place,
    text: Text,
    items: Vec<Item>,
    lists: u8,
    strong: usize,
    /// The open superscript.
    raised: Option<String>,
}

impl Text {
    /// Appends text as HTML shows it: white space is one space, and none at the start of a line.
    fn push(&mut self, text: &str, line: u32, strong: bool) {
        for c in text.chars() {
            if c.is_whitespace() && c != '\u{a0}' && c != '\u{202f}' {
                if !self.shown.is_empty() && !self.shown.ends_with([' ', '\n']) {
                    self.shown.push(' ');
                }
            } else {
                if self.shown.is_empty() {
                    self.line = line;
                }
                self.regular |= !strong;
                self.shown.push(c);
            }
        }
    }

    fn end_line(&mut self) {
        while self.shown.ends_with(' ') {
            self.shown.pop();
        }
        if !self.shown.is_empty() && !self.shown.ends_with('\n') {
            self.shown.push('\n');
        }
    }
}

impl<'a> Builder<'a> {
    /// A builder for text that has `offset` lines before it.
    pub(super) fn new(offset: u32, budget: &'a mut CellBudget) -> Self {
        Self {
            offset,
            budget,
            failure: None,
            title: None,
            blocks: vec![],
            tables: vec![],
            skipped: 0,
            place: Place::Paragraph,
            text: Text::default(),
            items: vec![],
            lists: 0,
            strong: 0,
            raised: None,
        }
    }

    /// A start tag on `line`, with its column and row spans.
    pub(super) fn open(&mut self, name: &str, spans: (usize, usize), line: u32) {
        let line = line + self.offset;
        match name {
            "table" if self.tables.len() >= MAX_DEPTH => self.skipped += 1,
            "table" => {
                self.flush();
                self.end_list();
                self.tables.push(TableBuilder::new(line));
            }
            "b" | "strong" => self.strong += 1,
            "sup" => self.raised = Some(String::new()),
            "br" | "hr" => self.target().end_line(),
            "p" | "div" | "li" | "dd" | "dt" | "tr" if self.skipped > 0 => self.target().end_line(),
            _ if self.skipped > 0 => {}
            _ => match self.tables.last_mut() {
                Some(table) => match name {
                    "caption" => table.open_caption(),
                    "thead" | "tbody" | "tfoot" => {
                        let taken = table.open_section(name == "thead", self.budget);
                        self.note(taken);
                    }
                    "tr" => {
                        let taken = table.open_row(line, self.budget);
                        self.note(taken);
                    }
                    "td" | "th" => table.open_cell(name == "th", spans, line),
                    "p" | "div" | "li" | "ul" | "ol" | "dd" | "dt" => self.target().end_line(),
                    _ => {}
                },
                None => self.open_outside(name, line),
            },
        }
    }

    fn open_outside(&mut self, name: &str, line: u32) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.end_list();
                self.place = Place::Heading(name.as_bytes()[1] - b'0');
            }
            "ul" | "ol" | "dl" => {
                self.flush();
                self.lists = self.lists.saturating_add(1);
            }
            "li" | "dt" | "dd" => {
                self.flush();
                self.place = Place::Item;
                self.text.line = line;
            }
            "p" | "div" | "section" | "article" | "blockquote" | "pre" | "main" | "header" | "footer" => {
                if self.place == Place::Item {
                    self.text.end_line();
                } else {
                    self.flush();
                    self.place = Place::Paragraph;
                }
            }
            "title" => {
                self.flush();
                self.place = Place::Title;
            }
            "script" | "style" | "noscript" | "textarea" => {
                self.flush();
                self.place = Place::Hidden;
            }
            _ => {}
        }
    }

    /// An end tag.
    pub(super) fn close(&mut self, name: &str) {
        match name {
            "table" if self.skipped > 0 => self.skipped -= 1,
            "table" => {
                if let Some(table) = self.tables.pop() {
                    self.end_table(table);
                }
            }
            "b" | "strong" => self.strong = self.strong.saturating_sub(1),
            "sup" => self.end_superscript(),
            "p" | "div" | "li" | "dd" | "dt" | "ul" | "ol" if !self.tables.is_empty() => {
                self.target().end_line();
            }
            "caption" => {
                if let Some(table) = self.tables.last_mut() {
                    table.close_caption();
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "p" | "div" | "section" | "article" | "pre"
            | "title"
                if self.tables.is_empty() && self.place != Place::Item =>
            {
                self.flush();
                self.place = Place::Paragraph;
            }
            "li" | "dt" | "dd" => {
                self.flush();
                self.place = Place::Paragraph;
            }
            "ul" | "ol" | "dl" if self.tables.is_empty() => {
                self.flush();
                self.lists = self.lists.saturating_sub(1);
                self.place = Place::Paragraph;
                if self.lists == 0 {
                    self.end_list();
                }
            }
            "script" | "style" | "noscript" | "textarea" => {
                self.text = Text::default();
                self.place = Place::Paragraph;
            }
            _ => {}
        }
    }

    /// Text that begins on `line`.
    pub(super) fn text(&mut self, text: &str, line: u32) {
        if self.place == Place::Hidden && self.tables.is_empty() {
            return;
        }
        if let Some(raised) = &mut self.raised {
            raised.push_str(text);
            return;
        }
        let strong = self.strong > 0;
        let blank = text.len() - text.trim_start().len();
        let skipped = text[..blank].bytes().filter(|&byte| byte == b'\n').count();
        let line = line + self.offset + u32::try_from(skipped).unwrap_or(0);
        self.target().push(text, line, strong);
    }

    /// Everything that was read.
    pub(super) fn finish(mut self) -> Result<(Option<String>, Vec<Block>), ReadError> {
        while let Some(table) = self.tables.pop() {
            self.end_table(table);
        }
        self.flush();
        self.end_list();
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.title, self.blocks)),
        }
    }

    /// The text that is open now.
    fn target(&mut self) -> &mut Text {
        match self.tables.last_mut() {
            Some(table) => table.text(),
            None => &mut self.text,
        }
    }

    /// A superscript is a footnote mark where it is short; otherwise it is text.
    fn end_superscript(&mut self) {
        let Some(raised) = self.raised.take() else { return };
        let strong = self.strong > 0;
        let marks: Vec<&str> =
            raised.split([',', ' ']).map(|mark| mark.trim_matches(['(', ')', '[', ']'])).collect();
        let target = self.target();
        if target.shown.is_empty() || target.shown.ends_with('\n') {
            // At the start of a line it tells whose footnote this is.
            let line = target.line;
            target.push(&format!("({}) ", marks.join(",")), line, strong);
        } else if marks.iter().all(|mark| mark.chars().count() <= 3) {
            target.marks.extend(marks.into_iter().filter(|mark| !mark.is_empty()).map(str::to_owned));
        } else {
            let line = target.line;
            target.push(&raised, line, strong);
        }
    }

    fn end_table(&mut self, table: TableBuilder) {
        match table.finish(self.budget) {
            Ok(Some(table)) if !self.tables.is_empty() && is_list(&table) => self.inline(&table),
            Ok(Some(table)) => self.blocks.push(Block::Table(table)),
            Ok(None) => {}
            Err(failure) => self.note(Err(failure)),
        }
    }

    /// Puts the rows of a table as lines into the cell that holds it.
    fn inline(&mut self, table: &Table) {
        let strong = self.strong > 0;
        let target = self.target();
        for row in &table.rows {
            for cell in &row.cells {
                target.end_line();
                for line in cell.text.lines() {
                    target.push(line, row.line, strong);
                    target.end_line();
                }
                target.marks.extend(cell.marks.iter().cloned());
            }
        }
    }

    /// Remembers the first failure; the tokenizer cannot be stopped.
    fn note(&mut self, result: Result<(), ReadError>) {
        if let (Err(failure), None) = (result, &self.failure) {
            self.failure = Some(failure);
        }
    }

    /// Puts the text outside of tables where it belongs.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let shown = text.shown.trim();
        if shown.is_empty() {
            return;
        }
        match self.place {
            Place::Heading(level) => {
                self.blocks.push(Block::Heading(Heading { line: text.line, level, text: collapse(shown) }));
            }
            Place::Item => self.items.push(Item {
                line: text.line,
                depth: self.lists.saturating_sub(1),
                bullet: String::new(),
                text: shown.to_owned(),
            }),
            Place::Title => self.title = Some(collapse(shown)),
            Place::Paragraph => {
                self.end_list();
                let lines = shown
                    .lines()
                    .map(|line| Line { number: text.line, text: line.trim().to_owned() })
                    .collect();
                self.blocks.push(Block::Paragraph(Paragraph { lines, bold: !text.regular }));
            }
            Place::Hidden => {}
        }
    }

    fn end_list(&mut self) {
        if !self.items.is_empty() {
            self.blocks.push(Block::List(std::mem::take(&mut self.items)));
        }
    }
}

/// Whether a table inside of a cell only stacks lines.
fn is_list(table: &Table) -> bool {
    table.caption.is_none() && table.rows.iter().all(|row| row.cells.len() == 1)
}
