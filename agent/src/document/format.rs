//! Formats: what kind of document a file holds.
//!
//! In comes the file's text and name; out comes the reader to use. Content decides; the extension
//! only settles what content leaves open, since archives rename everything to `.txt`. Markdown, reST
//! and plain text are one format: vendors mix them in one file.

/// The readers for decoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HTML from its first line on.
    Html,
    /// Fields separated by this character.
    Delimited(u8),
    /// Markdown, reST, AsciiDoc, plain text, and HTML inside any of them.
    Text,
}

/// Lines looked at to recognise separated fields.
const SAMPLE: usize = 50;

/// Whether `bytes` begin like a ZIP container, as every XLSX file does.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// What `bytes` are where they are plainly no text.
pub(super) fn binary(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 7] = [
        (b"%PDF-", "a PDF file"),
        (b"\xD0\xCF\x11\xE0", "an old Office file"),
        (b"\x7FELF", "a program"),
        (b"\x89PNG", "an image"),
        (b"\xFF\xD8\xFF", "an image"),
        (b"GIF8", "an image"),
        (b"\x1F\x8B", "a compressed file"),
    ];
    kinds.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, kind)| kind)
}

/// The reader for `content`, which was found in the file `name`.
pub(super) fn sniff(content: &str, name: &str) -> Format {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let start = content.trim_start();
    if is_html(start) {
        return Format::Html;
    }
    match extension.as_deref() {
        Some("csv") => Format::Delimited(delimiter(content).unwrap_or_else(|| frequent(content))),
        Some("tsv" | "tab") => Format::Delimited(b'\t'),
        Some("md" | "markdown" | "rst" | "adoc") => Format::Text,
        _ => delimiter(content).map_or(Format::Text, Format::Delimited),
    }
}

/// A document is HTML where markup stands before any other text.
fn is_html(start: &str) -> bool {
    let head: String = start.chars().take(64).collect::<String>().to_ascii_lowercase();
    let opens = [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<table",
        "<div",
        "<section",
        "<article",
        "<main",
        "<meta",
        "<?xml",
        "<h1",
        "<h2",
        "<h3",
        "<p>",
        "<p ",
        "<ul",
        "<dl",
        "<style",
        "<script",
        "<!--",
    ];
    opens.iter().any(|tag| head.starts_with(tag)) && !has_markdown_table(start)
}

/// Markdown files may open with a comment or an anchor; their tables give them away.
fn has_markdown_table(content: &str) -> bool {
    let mut pipes = 0;
    content.lines().any(|line| {
        let line = line.trim();
        let rule = line.len() > 2 && line.contains("--") && line.bytes().all(|byte| b"|:- +".contains(&byte));
        let found = (rule && pipes > 0 && line.contains(['|', '+']))
            || line.starts_with("# ")
            || line.starts_with("## ");
        pipes = line.matches('|').count();
        found
    })
}

/// The character that splits most lines into the same number of at least two fields.
fn delimiter(content: &str) -> Option<u8> {
    let lines: Vec<&str> = content.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE).collect();
    if lines.len() < 2 {
        return None;
    }
    [b'\t', b';', b',', b'|'].into_iter().find(|&mark| {
        // Prose has commas too: all but a title line or two must agree, and pipes need no outer ones.
        let counts: Vec<usize> = lines.iter().map(|line| fields(line, mark)).collect();
        let common = mode(&counts);
        let agree = counts.iter().filter(|&&count| count == common).count();
        let outer = mark == b'|'
            && (lines.iter().any(|line| line.trim_start().starts_with('|')) || has_markdown_table(content));
        let prose =
            lines.iter().any(|line| line.starts_with('#') || line.contains("](") || line.contains("<t"));
        let leading_tab =
            mark == b'\t' && lines.iter().any(|line| line.trim_start_matches(' ').starts_with('\t'));
        let spaced = mark == b','
            && lines.iter().filter(|line| line.contains(", ") && !line.contains('"')).count() * 2
                > lines.len();
        // Short and long rows are left to the header where the mark is rare in prose and on every line.
        let ragged = mark == b';'
            && common >= 3
            && counts[0] == common
            && agree * 3 >= counts.len() * 2
            && counts.iter().all(|&count| count > 1);
        common >= if mark == b',' { 3 } else { 2 }
            && (agree * 10 >= counts.len() * 9 || ragged)
            && !outer
            && !prose
            && !leading_tab
            && !spaced
    })
}

/// The character that splits most lines of a file which is said to have separated fields; a comma where none does.
fn frequent(content: &str) -> u8 {
    let split = |mark: u8| {
        let lines = content.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE);
        let counts: Vec<usize> = lines.map(|line| fields(line, mark)).filter(|&count| count > 1).collect();
        (counts.len(), counts.iter().sum::<usize>())
    };
    [b'\t', b';', b','].into_iter().max_by_key(|&mark| split(mark)).unwrap_or(b',')
}

/// Fields of `line`, quotes respected.
fn fields(line: &str, mark: u8) -> usize {
    let mut quoted = false;
    1 + line
        .bytes()
        .filter(|&byte| {
            quoted ^= byte == b'"';
            byte == mark && !quoted
        })
        .count()
}

/// The most frequent of `counts`.
fn mode(counts: &[usize]) -> usize {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| a == b)
        .max_by_key(|run| run.len())
        .and_then(|run| run.first())
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_before_the_name() {
        let cases = [
            ("<!DOCTYPE html>\n<table>", "notes.txt", Format::Html),
            ("<table><tr><td>1</td></tr></table>", "notes.md", Format::Html),
            ("Role;Port;Protocol\nWeb;443;TCP\nMail;25;TCP\n", "ports.txt", Format::Delimited(b';')),
            (
                "Role,Port,Protocol\nWeb,443,TCP\n\"Mail, relay\",25,TCP\n",
                "ports.csv",
                Format::Delimited(b','),
            ),
            ("Role;Port;Protocol\nWeb;443;TCP\nMail;25\nName;53;UDP\n", "ports.csv", Format::Delimited(b';')),
            ("Role;Port;Protocol\nWeb;443;TCP\nMail;25\nName;53;UDP\n", "ports.txt", Format::Delimited(b';')),
            ("Role;Port\nWeb;443;TCP;x\nMail;25,26;TCP\n", "ports.csv", Format::Delimited(b';')),
            ("Role,Port\nWeb,443,TCP\nMail,25;26,TCP,x\n", "ports.csv", Format::Delimited(b',')),
            ("Role\n", "ports.csv", Format::Delimited(b',')),
            ("One; two; three.\nFour; five.\nSix.\n", "ports.txt", Format::Text),
            ("Role\tPort\nWeb\t443\n", "ports.tsv", Format::Delimited(b'\t')),
            ("# Ports\n\n| Role | Port |\n| --- | --- |\n| Web | 443 |\n", "ports.txt", Format::Text),
            ("Role | Port\n--- | ---\nWeb | 443\n", "ports.txt", Format::Text),
            ("Open TCP 443, 80, and 22.\nThen restart, wait, and look.\n", "ports.txt", Format::Text),
            ("<!-- generated -->\n\n## Ports\n\n| Role | Port |\n|---|---|\n", "x.md", Format::Text),
        ];
        for (content, name, expected) in cases {
            assert_eq!(sniff(content, name), expected, "{content:?}");
        }
    }
}
