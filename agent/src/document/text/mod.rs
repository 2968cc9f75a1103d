//! Text: lines to blocks, for Markdown, reST, AsciiDoc, plain text and HTML inside any of them.
//!
//! In come lines; out come blocks. No strict Markdown parser stands here, since vendors' tables break
//! its rules (missing delimiter rows, rows over several lines, cells without outer pipes) and a
//! conforming parser then sees a paragraph. Each shape has a recogniser that either takes lines from
//! where it stands or leaves them; what nobody takes is a paragraph. Invariant: every line is read
//! once, in order, and no recogniser looks behind what it takes.

mod bars;
mod columns;
mod definitions;
mod directive;
mod grid;
mod heading;
mod list;
mod pipes;
mod records;
mod ruled;
mod screen;

use super::limits::CellBudget;
use super::{Block, Document, Heading, Line, Paragraph, ReadError, html, inline};

/// What a recogniser takes: blocks, and the index of the first line that it leaves.
type Taken = Option<(Vec<Block>, usize)>;

/// The lines of a document.
struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    /// Line `at`, without white space at its end; empty beyond the last one.
    fn get(&self, at: usize) -> &'a str {
        self.0.get(at).map_or("", |line| line.trim_end())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_blank(&self, at: usize) -> bool {
        self.get(at).trim_start().is_empty()
    }

    /// The number that people see for line `at`.
    fn number(at: usize) -> u32 {
        u32::try_from(at + 1).unwrap_or(u32::MAX)
    }
}

/// Reads a document that is not HTML from its first line on.
pub(super) fn read(content: &str) -> Result<Document, ReadError> {
    let mut lines: Vec<&str> = content.split('\n').collect();
    if content.contains("<!--") {
        lines = without_comments(lines);
    }
    let lines = Lines(lines);
    let levels = heading::Levels::of(&lines);
    let mut reader =
        Reader { lines: &lines, levels, blocks: vec![], budget: CellBudget::default(), pending: vec![] };
    let (title, start) = heading::front_matter(&lines);
    reader.run(start)?;
    let title = title.or_else(|| {
        reader.blocks.iter().find_map(|block| match block {
            Block::Heading(heading) if heading.level == 1 => Some(heading.text.clone()),
            _ => None,
        })
    });
    Ok(Document { title, blocks: reader.blocks })
}

/// Blanks out comments that run over lines: translators keep the original text in them.
fn without_comments(mut lines: Vec<&str>) -> Vec<&str> {
    let mut inside = false;
    for line in &mut lines {
        if inside {
            let Some(end) = line.find("-->") else {
                *line = "";
                continue;
            };
            inside = false;
            *line = &line[end + 3..];
        }
        if let Some(start) = line.rfind("<!--")
            && !line[start..].contains("-->")
        {
            inside = true;
            *line = &line[..start];
        }
    }
    lines
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    levels: heading::Levels,
    blocks: Vec<Block>,
    budget: CellBudget,
    /// Lines of the paragraph that is open.
    pending: Vec<(u32, &'a str)>,
}

impl Reader<'_> {
    fn run(&mut self, start: usize) -> Result<(), ReadError> {
        let mut at = start;
        let mut fenced: Option<&str> = None;
        while at < self.lines.len() {
            let line = self.lines.get(at);
            if let Some(fence) = fence(line) {
                // A fence hides prose and commands, but text tables are often put into one.
                fenced = if fenced.is_none() { Some(fence) } else { fenced.filter(|&open| open != fence) };
                self.flush();
                at += 1;
            } else if line.trim_start().is_empty() {
                self.flush();
                at += 1;
            } else if let Some((blocks, next)) = self.recognise(at, fenced.is_some())? {
                self.flush();
                self.blocks.extend(blocks);
                at = next.max(at + 1);
            } else {
                if fenced.is_none() {
                    self.pending.push((Lines::number(at), line));
                }
                at += 1;
            }
        }
        self.flush();
        Ok(())
    }

    /// Asks each recogniser in turn; those that need the most evidence come first.
    fn recognise(&mut self, at: usize, fenced: bool) -> Result<Taken, ReadError> {
        let lines = self.lines;
        if let Some(table) = self.html_block(at)? {
            return Ok(Some(table));
        }
        let ruled = table(lines, at);
        if let Some((blocks, _)) = &ruled {
            for block in blocks {
                if let Block::Table(table) = block {
                    for row in &table.rows {
                        self.budget.row(&row.cells, row.line)?;
                    }
                }
            }
            return Ok(ruled);
        }
        if fenced {
            return Ok(None);
        }
        // A heading or a list begins after a paragraph's lines, never inside of one word.
        let fresh = self.pending.is_empty();
        Ok(heading::marked(lines, &self.levels, at, fresh)
            .or_else(|| list::items(lines, at))
            .or_else(|| fresh.then(|| definitions::items(lines, at)).flatten()))
    }

    /// A table or list in HTML, up to its end tag.
    fn html_block(&mut self, at: usize) -> Result<Taken, ReadError> {
        let line = self.lines.get(at);
        let Some(name) = html_opening(line) else { return Ok(None) };
        let (open, close) = (format!("<{name}"), format!("</{name}"));
        let mut depth = 0_usize;
        let mut end = at;
        while end < self.lines.len() {
            let text = self.lines.get(end).to_ascii_lowercase();
            depth = (depth + text.matches(&open).count()).saturating_sub(text.matches(&close).count());
            end += 1;
            if depth == 0 {
                break;
            }
        }
        let text = self.lines.0[at..end].join("\n");
        let (_, blocks) = html::fragment(&text, u32::try_from(at).unwrap_or(u32::MAX), &mut self.budget)?;
        Ok(Some((blocks, end)))
    }

    /// Ends the paragraph that is open.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // Nothing else makes text bold.
        let bold = self.pending.iter().any(|(_, text)| text.contains(['*', '_', '<'])) && {
            let source: Vec<&str> = self.pending.iter().map(|&(_, text)| text).collect();
            inline::plain(&source.join(" ")).bold
        };
        let lines = self
            .pending
            .drain(..)
            .map(|(number, text)| Line { number, text: footnote(quoted(text)) })
            .filter(|line| !line.text.is_empty())
            .collect::<Vec<_>>();
        if !lines.is_empty() {
            self.blocks.push(Block::Paragraph(Paragraph { lines, bold }));
        }
    }
}

/// The table of text that begins at line `at`.
fn table(lines: &Lines<'_>, at: usize) -> Taken {
    grid::table(lines, at)
        .or_else(|| ruled::table(lines, at))
        .or_else(|| directive::table(lines, at))
        .or_else(|| bars::table(lines, at))
        .or_else(|| pipes::table(lines, at))
        .or_else(|| records::table(lines, at))
        .or_else(|| columns::table(lines, at))
}

/// The tag that opens an HTML block on this line.
fn html_opening(line: &str) -> Option<&'static str> {
    let lower = line.trim_start().as_bytes();
    if !line.contains('<') {
        return None;
    }
    let starts = |tag: &str| {
        lower.get(..=tag.len()).is_some_and(|head| {
            head[0] == b'<'
                && head[1..].eq_ignore_ascii_case(tag.as_bytes())
                && !lower.get(tag.len() + 1).is_some_and(u8::is_ascii_alphanumeric)
        })
    };
    if line.to_ascii_lowercase().contains("<table") && !line.trim_start().starts_with('|') {
        return Some("table");
    }
    ["ul", "ol", "dl"].into_iter().find(|tag| starts(tag))
}

/// A fence of code: three or more back quotes or tildes.
fn fence(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    [("```", "```"), ("~~~", "~~~")]
        .into_iter()
        .find(|(mark, _)| line.starts_with(mark))
        .map(|(_, mark)| mark)
}

/// A line without the marks of a quotation.
fn quoted(line: &str) -> &str {
    let mut line = line.trim_start();
    while let Some(rest) = line.strip_prefix("> ").or_else(|| line.strip_prefix('>')) {
        line = rest.trim_start();
    }
    line
}

/// The text of a line; a footnote mark that begins it stays, since it tells whose footnote this is.
fn footnote(line: &str) -> String {
    let inline = inline::plain(line);
    let marked = line.starts_with("[^")
        || line.starts_with('^')
        || line.starts_with("<sup>")
        || line.starts_with(['¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹']);
    match inline.marks.first() {
        Some(mark) if marked => format!("({mark}) {}", inline.text.trim_start_matches(':').trim_start()),
        _ => inline.text.into_string(),
    }
}

/// A heading block.
fn heading_block(at: usize, level: u8, source: &str) -> Block {
    Block::Heading(Heading {
        line: Lines::number(at),
        level,
        text: super::collapse(&inline::plain(source).text),
    })
}
