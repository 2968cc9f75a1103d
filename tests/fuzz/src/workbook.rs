//! Workbooks: a container as it came, or made-up sheets in a container that is well-formed.

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;

use crate::document::check;

const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
/// What parts the parts: the first sheet, the second one (hidden), the shared strings.
const MARK: char = '\u{1e}';

/// Bytes of a workbook, or the contents of its sheets.
pub fn workbook(bytes: &[u8]) {
    if bytes.starts_with(b"PK") {
        return check(bytes, "document.xlsx");
    }
    let text = String::from_utf8_lossy(bytes);
    check(&container(&text), "document.xlsx");
}

/// A workbook with the sheets whose contents are in `text`.
fn container(text: &str) -> Vec<u8> {
    let mut contents = text.split(MARK);
    let mut content = || contents.next().unwrap_or_default();
    let (first, second, strings) = (content(), content(), content());
    let sheet = |content: &str| format!("<worksheet xmlns=\"{MAIN}\">{content}</worksheet>");
    let relation = |id: &str, kind: &str, target: &str| {
        format!("<Relationship Id=\"{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>")
    };
    let relations = |inner: &str| format!("<Relationships xmlns=\"{PACKAGE}\">{inner}</Relationships>");
    let parts = [
        ("_rels/.rels", relations(&relation("r1", "officeDocument", "xl/workbook.xml"))),
        (
            "xl/workbook.xml",
            format!(
                "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets><sheet name=\"Ports\" sheetId=\"1\" r:id=\"r1\"/><sheet name=\"Old\" sheetId=\"2\" state=\"hidden\" r:id=\"r2\"/></sheets></workbook>"
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            relations(
                &[
                    relation("r1", "worksheet", "worksheets/sheet1.xml"),
                    relation("r2", "worksheet", "worksheets/sheet2.xml"),
                    relation("r3", "sharedStrings", "sharedStrings.xml"),
                ]
                .concat(),
            ),
        ),
        ("xl/worksheets/sheet1.xml", sheet(first)),
        ("xl/worksheets/sheet2.xml", sheet(second)),
        ("xl/sharedStrings.xml", format!("<sst xmlns=\"{MAIN}\">{strings}</sst>")),
    ];
    let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in parts {
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, stored).expect("memory");
        archive.write_all(content.as_bytes()).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}
