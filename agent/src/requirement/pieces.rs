//! Pieces: the tables and lists of a document, each with what stands around it, to what they require.
//!
//! In come pieces in the order of the document; out comes what each requires, in the same order. None needs what
//! another one says, so that those of a large document are read by several threads. Invariant: what is read does not
//! depend on their number.

use std::{panic, thread};

use super::footnotes::Footnotes;
use super::import::{Import, TableInfo};
use super::reading::Readings;
use super::surroundings::Surroundings;
use super::vocabulary::Vocabulary;
use super::{columns, lists, slug, tables};
use crate::document::{Block, Item, Table};

/// Rows and items for which another thread is worth its while: some milliseconds.
const WORTH: usize = 1_000;
/// Most threads; what they read has to be put together by one.
const THREADS: usize = 4;

/// A table or a list, and what stands around it.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) shape: Shape<'a>,
    /// What was passed on the way to it.
    pub(super) around: Surroundings,
}

/// What a piece consists of.
#[derive(Debug)]
pub(super) enum Shape<'a> {
    List(&'a [Item]),
    Table {
        table: &'a Table,
        /// What follows it.
        behind: &'a [Block],
    },
}

/// What each of the pieces requires. A table is called by its title, which may be another one's too.
pub(super) fn read(pieces: &[Piece<'_>], words: &'static Vocabulary) -> Vec<Import> {
    let rows = pieces.iter().map(Piece::rows).sum::<usize>();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    read_by(pieces, rows.div_ceil(WORTH).clamp(1, processors.min(THREADS)), words)
}

/// [`read`] by so many threads.
fn read_by(pieces: &[Piece<'_>], threads: usize, words: &'static Vocabulary) -> Vec<Import> {
    let own = |pieces: &[Piece<'_>]| {
        let readings = Readings::new(words);
        pieces.iter().map(|piece| piece.read(&readings)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let (mine, others) = shares(pieces, threads);
        let begun: Vec<_> = others.into_iter().map(|share| scope.spawn(move || own(share))).collect();
        let mut found = own(mine);
        for thread in begun {
            found.extend(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        found
    })
}

/// The pieces in as many runs of about as many rows: the first, and the others.
fn shares<'a, 'p>(pieces: &'p [Piece<'a>], count: usize) -> (&'p [Piece<'a>], Vec<&'p [Piece<'a>]>) {
    let rows = pieces.iter().map(Piece::rows).sum::<usize>();
    let mut ends: Vec<usize> = vec![];
    let mut before = 0;
    for (at, piece) in pieces.iter().enumerate() {
        if before * count >= rows * (ends.len() + 1) && ends.len() + 1 < count {
            ends.push(at);
        }
        before += piece.rows();
    }
    ends.push(pieces.len());
    let others = ends.windows(2).map(|run| &pieces[run[0]..run[1]]).collect();
    (&pieces[..ends[0]], others)
}

impl Piece<'_> {
    fn rows(&self) -> usize {
        match self.shape {
            Shape::List(items) => items.len(),
            Shape::Table { table, .. } => table.rows.len(),
        }
    }

    fn read(&self, readings: &Readings) -> Import {
        let mut found = Import::default();
        match self.shape {
            Shape::List(items) => {
                let scope = self.around.scope_of_list(readings.words);
                lists::read(items, &scope, readings, &mut found);
            }
            Shape::Table { table, behind } => {
                let caption = self.around.caption_of(table);
                let scope = self.around.scope(caption.as_deref(), readings.words);
                let name = name(&scope.titles);
                let upright = columns::upright(table, readings);
                let table = upright.as_ref().unwrap_or(table);
                let columns =
                    tables::read(table, &name, &scope, Footnotes::behind(behind), readings, &mut found);
                if found.found() > 0 {
                    let title = scope.titles.first().cloned().unwrap_or_default();
                    let columns = columns.unwrap_or_default();
                    found.tables.push(TableInfo { name, line: table.line, title, columns });
                }
            }
        }
        found
    }
}

/// What a table with these titles is called.
fn name(titles: &[String]) -> String {
    let names = titles.iter().map(|title| slug::slug(title));
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "table".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn what_is_read_does_not_depend_on_the_number_of_threads() {
        let table = |number: usize| {
            let rows = (1..=number % 5).map(|row| format!("| web {row} | {} | TCP |\n", number * 10 + row));
            format!("| Service | Port | Protocol |\n|---|---|---|\n{}\ntext\n\n", rows.collect::<String>())
        };
        let text: String = (0..40).map(table).collect();
        let document = Document::read(text.as_bytes(), "ports.md").expect("a document");
        let pieces: Vec<Piece<'_>> = document
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::Table(table) => Some(Piece {
                    shape: Shape::Table { table, behind: &[] },
                    around: Surroundings::default(),
                }),
                _ => None,
            })
            .collect();
        let words = Vocabulary::standard().expect("well-formed");
        let lines = |threads| -> Vec<Vec<u32>> {
            let lines = |found: &Import| found.requirements.iter().map(|row| row.line).collect();
            read_by(&pieces, threads, words).iter().map(lines).collect()
        };
        let alone = lines(1);
        assert_eq!(alone.concat().len(), 80);
        for threads in [2, 3, 7, 100] {
            assert_eq!(lines(threads), alone, "{threads}");
        }
        assert!(read_by(&[], 3, words).is_empty());
    }
}
