//! Documents: what must hold for whatever was read out of one.

use portcullis::catalog::{Catalog, System};
use portcullis::document::{Block, Document, encoding};
use portcullis::requirement::{Import, Outcome};

use crate::cost::bounded;

/// Most rows of a sheet, as spreadsheets number them.
const LAST_ROW: u32 = 1_048_576;
/// Length to which a short document is repeated, to see that cost grows with length and not faster.
const REPEATED: usize = 128 << 10;
/// One document in so many is repeated.
const SAMPLE: u32 = 64;

/// Markdown, reST, AsciiDoc and plain text.
pub fn text(bytes: &[u8]) {
    check(bytes, "document.md");
    check(bytes, "document.txt");
    repeat(bytes, "document.md");
}

/// HTML.
pub fn html(bytes: &[u8]) {
    let mut page = b"<html>".to_vec();
    page.extend_from_slice(bytes);
    check(&page, "document.html");
    repeat(&page, "document.html");
}

/// CSV and TSV: every row has a cell that holds text.
pub fn delimited(bytes: &[u8]) {
    check(bytes, "document.csv");
    check(bytes, "document.tsv");
    repeat(bytes, "document.csv");
    // What begins with a tag is a page, whatever its name says, and a page's rows may be empty.
    let page = encoding::decode(bytes).is_ok_and(|(text, _)| text.trim_start().starts_with('<'));
    let Ok(document) = Document::read(bytes, "document.csv") else { return };
    for block in document.blocks.iter().filter(|_| !page) {
        if let Block::Table(table) = block {
            assert!(table.rows.iter().all(|row| row.cells.iter().any(|cell| !cell.is_empty())));
        }
    }
}

/// Imports a document and looks at everything that came of it.
pub(crate) fn check(bytes: &[u8], name: &str) {
    let read = bounded(bytes.len(), || Import::read(bytes, name));
    match read {
        Ok(import) => holds(&import, last_line(bytes)),
        Err(error) => sentence(&error.to_string()),
    }
}

/// Repeats a short document until it is long: what is slow for its length shows then.
fn repeat(bytes: &[u8], name: &str) {
    let sum = bytes.iter().fold(0_u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    if bytes.is_empty() || bytes.len() > 4 << 10 || sum % SAMPLE != 0 {
        return;
    }
    let many = bytes.repeat(REPEATED / bytes.len());
    drop(bounded(many.len(), || Import::read(&many, name)));
}

/// What must hold for every import of a document that ends on line `last`.
///
/// # Panics
///
/// Where it does not.
pub(crate) fn holds(import: &Import, last: u32) {
    rows(import);
    let lines = import.requirements.iter().map(|it| it.line);
    let lines = lines.chain(import.names.iter().map(|it| it.line));
    let lines = lines.chain(import.ipsec_exceptions.iter().map(|it| it.line));
    let lines = lines.chain(import.diagnostics.iter().map(|it| it.line));
    let lines = lines.chain(import.tables.iter().map(|it| it.line));
    for line in lines {
        assert!((1..=last).contains(&line), "line {line} of a document with {last} lines");
    }
    for requirement in &import.requirements {
        let said = !requirement.ports.is_empty() || !requirement.protocols.is_empty();
        assert!(said, "neither ports nor protocols: {requirement:?}");
        for ports in &requirement.ports {
            assert_eq!(ports.to_string().parse(), Ok(*ports), "ports are read as they are printed");
        }
        assert!(!requirement.table.is_empty(), "no table: {requirement:?}");
    }
    for diagnostic in &import.diagnostics {
        sentence(&diagnostic.message);
        assert!(!diagnostic.text.contains('\n'), "{diagnostic:?}");
    }
    let json = serde_json::to_string(import).expect("JSON can hold any text");
    let reread: Import = serde_json::from_str(&json).expect("printed JSON is read");
    assert_eq!(reread, Import { rows: vec![], ..import.clone() }, "JSON");
    let system = System::draft("drafted", vec![import.clone()]);
    let file = system.to_toml();
    match Catalog::parse_system(&file, "drafted.toml") {
        Ok(reread) => assert_eq!(reread, system, "the catalog file reads differently"),
        Err(error) => panic!("the drafted catalog file is refused: {error}\n{file}"),
    }
}

/// Every row is read or reported, and the count of what is read agrees with what is printed.
fn rows(import: &Import) {
    let printed = |line: u32| {
        import.requirements.binary_search_by_key(&line, |it| it.line).is_ok()
            || import.names.iter().any(|it| it.line == line)
            || import.ipsec_exceptions.iter().any(|it| it.line == line)
    };
    let reported = |line: u32| import.diagnostics.iter().any(|it| it.line == line);
    for row in &import.rows {
        match row.outcome {
            Outcome::Read => assert!(printed(row.line), "read, but nothing is printed: {row:?}"),
            Outcome::Reported => assert!(reported(row.line), "not read, and not reported: {row:?}"),
            _ => {}
        }
    }
    let kinds = [
        Outcome::Read,
        Outcome::Reported,
        Outcome::Header,
        Outcome::Repeated,
        Outcome::Label,
        Outcome::Footnote,
        Outcome::Blank,
        Outcome::Nothing,
    ];
    let total: usize = kinds.iter().map(|&kind| import.count(kind)).sum();
    assert_eq!(total, import.rows.len(), "the counts of the outcomes");
}

/// What is shown to a person: it says something, on few lines.
pub(crate) fn sentence(message: &str) {
    assert!(message.chars().any(char::is_alphabetic), "no sentence: {message:?}");
}

/// The last line of a document, 1-based.
fn last_line(bytes: &[u8]) -> u32 {
    if bytes.starts_with(b"PK") {
        return LAST_ROW;
    }
    let Ok((text, _)) = encoding::decode(bytes) else { return 0 };
    // Readers may end lines at either character.
    let ends = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    u32::try_from(ends).expect("the fuzzer's documents are short") + 1
}
