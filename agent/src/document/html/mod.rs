//! HTML: tokens to blocks, without a tree.
//!
//! In comes a page, or a table that stands inside a Markdown file; out come its blocks. Tables need
//! no tree: a new `<tr>` ends the row before it, a new `<td>` the cell before it, and the end of the
//! table both, which is also what browsers do with unclosed tags. Only tables nest, to a fixed depth,
//! so that a page of a million open tags costs no more than its bytes.

mod builder;
mod grid;

use std::cell::RefCell;

use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use self::builder::Builder;
use super::limits::CellBudget;
use super::{Block, Document, ReadError};

/// Reads a whole page.
pub(super) fn read(content: &str) -> Result<Document, ReadError> {
    let (title, blocks) = fragment(content, 0, &mut CellBudget::default())?;
    Ok(Document { title, blocks })
}

/// Reads a piece of HTML that has `offset` lines before it; gives its `<title>` and its blocks.
pub(super) fn fragment(
    content: &str,
    offset: u32,
    budget: &mut CellBudget,
) -> Result<(Option<String>, Vec<Block>), ReadError> {
    let sink = Sink { state: RefCell::new(State { builder: Builder::new(offset, budget), begins: 1 }) };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(content));
    // The sink never asks for a script, so that one call reads everything.
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    tokenizer.sink.state.into_inner().builder.finish()
}

/// The tokenizer lends its sink only a shared reference.
struct Sink<'a> {
    state: RefCell<State<'a>>,
}

struct State<'a> {
    builder: Builder<'a>,
    /// Line after the token before this one, which is where this token begins: the tokenizer tells
    /// the line where a token ends, and a tag may go on for several.
    begins: u32,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let state = &mut *self.state.borrow_mut();
        let begins = std::mem::replace(&mut state.begins, u32::try_from(line).unwrap_or(u32::MAX));
        match token {
            Token::TagToken(tag) => {
                let attribute = |name: &str| {
                    tag.attrs
                        .iter()
                        .find(|attribute| &*attribute.name.local == name)
                        .and_then(|a| a.value.trim().parse().ok())
                };
                let spans = (attribute("colspan").unwrap_or(1), attribute("rowspan").unwrap_or(1));
                match tag.kind {
                    TagKind::StartTag => state.builder.open(&tag.name, spans, begins),
                    TagKind::EndTag => state.builder.close(&tag.name),
                }
                if tag.kind == TagKind::StartTag && !tag.self_closing {
                    return match &*tag.name {
                        "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                        "style" | "noscript" => TokenSinkResult::RawData(RawKind::Rawtext),
                        "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                        _ => TokenSinkResult::Continue,
                    };
                }
            }
            Token::CharacterTokens(text) => state.builder.text(&text, begins),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Table;

    fn tables(content: &str) -> Vec<Table> {
        let blocks = read(content).expect("small").blocks;
        blocks
            .into_iter()
            .filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None })
            .collect()
    }

    fn texts(table: &Table) -> Vec<(u32, Vec<&str>)> {
        table
            .rows
            .iter()
            .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.as_str()).collect()))
            .collect()
    }

    #[test]
    fn unclosed_tags_end_where_browsers_end_them() {
        let table =
            &tables("<table>\n<tr><th>Role<th>Port\n<tr\n class=x><td><p>Web<td>443\n<tr><td>Mail<td>25")[0];
        assert_eq!(
            texts(table),
            [(2, vec!["Role", "Port"]), (3, vec!["Web", "443"]), (5, vec!["Mail", "25"])]
        );
        assert_eq!(table.header_rows, Some(1));
    }

    #[test]
    fn spans_fill_the_grid_and_say_so() {
        let table = &tables("<table><tr><td rowspan=2>A<td colspan=2>B<tr><td>C<td>D</table>")[0];
        assert_eq!(texts(table), [(1, vec!["A", "B", "B"]), (1, vec!["A", "C", "D"])]);
        let flags: Vec<_> = table
            .rows
            .iter()
            .flat_map(|row| &row.cells)
            .map(|cell| (cell.from_left, cell.from_above))
            .collect();
        assert_eq!(
            flags,
            [(false, false), (false, false), (true, false), (false, true), (false, false), (false, false)]
        );
    }

    #[test]
    fn inner_tables_leave_the_cell_they_stand_in() {
        let found = tables("<table><tr><td>menu<td>\n<table><tr><td>Port<td>443</table>\nend</table>");
        assert_eq!(texts(&found[0]), [(2, vec!["Port", "443"])]);
        assert_eq!(texts(&found[1]), [(1, vec!["menu", "end"])]);
    }

    #[test]
    fn lists_headings_and_captions_keep_their_place() {
        let blocks = read("<title>T</title><h2>Edge</h2><ul><li>In<ul><li>TCP 443</ul><li>Out</ul><table><caption>Ports</caption><tr><td>1</table>").expect("small");
        assert_eq!(blocks.title.as_deref(), Some("T"));
        let Block::List(items) = &blocks.blocks[1] else { panic!("a list, not {:?}", blocks.blocks[1]) };
        let items: Vec<_> = items.iter().map(|item| (item.depth, item.text.as_str())).collect();
        assert_eq!(items, [(0, "In"), (1, "TCP 443"), (0, "Out")]);
        assert!(
            matches!(&blocks.blocks[2], Block::Table(table) if table.caption.as_deref() == Some("Ports"))
        );
    }

    #[test]
    fn depth_and_spans_are_bounded() {
        let deep = "<div>".repeat(200_000) + &"<table><tr><td>".repeat(50_000) + "x";
        assert!(read(&deep).is_ok());
        let wide = |spans: &str| format!("<table>{}</table>", format!("<tr><td {spans}>x").repeat(9_000));
        assert!(matches!(read(&wide("colspan=100000")), Err(ReadError::TooManyCells { .. })));
        // The cells of the rows below stand behind the last column.
        let hanging = read(&wide("colspan=100000 rowspan=100000"));
        assert!(matches!(hanging, Err(ReadError::TooManyColumns { line: 1 })));
    }
}
