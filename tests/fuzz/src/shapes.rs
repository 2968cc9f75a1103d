//! Shapes: one table, written in every format, says the same.
//!
//! In come bytes, of which each picks a header or a cell; out come the same rows as CSV, TSV, HTML and
//! Markdown. Invariant: what a table requires does not depend on the format that carries it.

use std::fmt::Write as _;

use portcullis::requirement::{Import, Outcome, Requirement};

use crate::document::check;

const HEADERS: [&str; 40] = [
    "Role",
    "Service",
    "Port",
    "Ports",
    "Protocol",
    "TCP",
    "UDP",
    "TCP port",
    "UDP port",
    "Source",
    "Destination",
    "Direction",
    "Inbound",
    "Outbound",
    "Notes",
    "Purpose",
    "Source port",
    "Destination port",
    "Default",
    "Minimum",
    "Maximum",
    "URL",
    "Rule",
    "No.",
    "Dienst",
    "Zielport",
    "Quelle",
    "Ziel",
    "Protokoll",
    "Richtung",
    "ポート番号",
    "プロトコル",
    "送信元",
    "Порт",
    "Протокол",
    "Назначение",
    "端口",
    "协议",
    "Puerto",
    "Required",
];
const CELLS: [&str; 56] = [
    "443",
    "80, 443",
    "5000-5100",
    "TCP",
    "UDP",
    "TCP/UDP",
    "443/tcp",
    "53/TCP, 53/UDP",
    "any",
    "dynamic",
    "-",
    "",
    "ESP",
    "50",
    "IP protocol 50",
    "Web server",
    "Client",
    "Mail relay",
    "Database",
    "inbound",
    "outbound",
    "both",
    "HTTPS",
    "SNMP",
    "22; 161/UDP",
    "TCP 443, 8443 (bidirectional)",
    "https://a.example.com",
    "*.example.com",
    "a.example.com:8443",
    "1024-65535*",
    "yes",
    "no",
    "optional",
    "1",
    "2",
    "3",
    "10",
    "65535",
    "65536",
    "0",
    "ab 1024",
    "udp/5060-61",
    "Ports 3000 to 3010",
    "→",
    "←",
    "443 (TLS)",
    "only if enabled",
    "Defined by user",
    "ICMP",
    "Port",
    "Protocol",
    "TCP: 80, 443 UDP: 53",
    "all ports",
    "443番",
    "входящий",
    "入站",
];
/// Most columns and rows.
const WIDEST: usize = 7;
const LONGEST: usize = 12;

/// A table out of `bytes`.
pub fn shapes(bytes: &[u8]) {
    let Some((&width, picks)) = bytes.split_first() else { return };
    let width = 2 + usize::from(width) % (WIDEST - 1);
    let pick = |from: &[&'static str], byte: &u8| from[usize::from(*byte) % from.len()];
    let mut rows: Vec<Vec<&str>> = vec![];
    for (at, row) in picks.chunks_exact(width).take(LONGEST).enumerate() {
        let from = if at == 0 { &HEADERS[..] } else { &CELLS[..] };
        rows.push(row.iter().map(|byte| pick(from, byte)).collect());
    }
    rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
    if rows.len() < 2 {
        return;
    }
    let forms = [
        ("table.csv", delimited(&rows, b',')),
        ("table.tsv", delimited(&rows, b'\t')),
        ("table.html", html(&rows, "td")),
    ];
    same(&forms);
    same(&[("table.html", html(&rows, "th")), ("table.md", markdown(&rows))]);
}

/// What a table says: its rows by their number, without the lines and names that the format gives.
type Said = (Vec<(usize, Requirement)>, Vec<(usize, String)>, Vec<Outcome>);

fn same(forms: &[(&str, Vec<u8>)]) {
    let said: Vec<Said> = forms.iter().map(|(name, bytes)| said(name, bytes)).collect();
    for (at, other) in said.iter().enumerate().skip(1) {
        assert_eq!(
            &said[0],
            other,
            "{} and {}:\n{}\n{}",
            forms[0].0,
            forms[at].0,
            String::from_utf8_lossy(&forms[0].1),
            String::from_utf8_lossy(&forms[at].1)
        );
    }
}

fn said(name: &str, bytes: &[u8]) -> Said {
    check(bytes, name);
    let import = Import::read(bytes, name).expect("a table");
    // Rows stand one a line in each form; Markdown has its rule below the header.
    let first = import.rows.first().map_or(0, |row| row.line);
    let number = |line: u32| {
        let at = import.rows.iter().position(|row| row.line == line);
        at.unwrap_or((line.saturating_sub(first)) as usize)
    };
    let plain =
        |it: &Requirement| (number(it.line), Requirement { line: 0, table: String::new(), ..it.clone() });
    let mut told: Vec<(usize, String)> = import
        .names
        .iter()
        .map(|it| (number(it.line), format!("{}://{}:{:?}", it.scheme, it.host, it.port)))
        .chain(import.diagnostics.iter().map(|it| (number(it.line), it.message.clone())))
        .collect();
    told.sort();
    (
        import.requirements.iter().map(plain).collect(),
        told,
        import.rows.iter().map(|row| row.outcome).collect(),
    )
}

fn delimited(rows: &[Vec<&str>], mark: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(mark).from_writer(vec![]);
    for row in rows {
        writer.write_record(row).expect("memory");
    }
    writer.into_inner().expect("memory")
}

/// A page whose first row is of `head` cells.
fn html(rows: &[Vec<&str>], head: &str) -> Vec<u8> {
    let mut page = String::from("<table>");
    for (at, row) in rows.iter().enumerate() {
        let tag = if at == 0 { head } else { "td" };
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<{tag}>{cell}</{tag}>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>");
    page.into_bytes()
}

fn markdown(rows: &[Vec<&str>]) -> Vec<u8> {
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | ").replace('*', "\\*"));
        if at == 0 {
            let _ = writeln!(text, "|{}", " --- |".repeat(row.len()));
        }
    }
    text.into_bytes()
}
