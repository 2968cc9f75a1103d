//! Documents of every shape and language, and what a person has read out of them.
//!
//! Each file in `fixtures/languages`, `fixtures/shapes` and `fixtures/vendors` has an `.expected` beside it: a line for each
//! requirement (line, role, service, source and destination, protocols, ports, direction), `!` before what
//! must be reported and `@` before addresses. `PORTCULLIS_BLESS=1` rewrites them; read the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use portcullis::requirement::{Import, Requirement};

fn shown(import: &Import) -> String {
    let mut out = String::new();
    for requirement in &import.requirements {
        let _ = writeln!(out, "{}", row(requirement));
    }
    for diagnostic in &import.diagnostics {
        let _ = writeln!(out, "! {} {}", diagnostic.line, diagnostic.message);
    }
    for name in &import.names {
        let _ = writeln!(out, "@ {} {} {} {:?}", name.line, name.scheme, name.host, name.port);
    }
    out
}

fn row(requirement: &Requirement) -> String {
    let list = |items: Vec<String>| items.join(",");
    let inferred = if requirement.inferred.iter().any(|field| field == "protocols") { "?" } else { "" };
    let parameter = requirement.parameter.as_ref();
    let parameter = parameter.map(|it| format!(" | {}={} in {}-{}", it.name, it.default, it.min, it.max));
    format!(
        "{} | {} | {} | {} > {} | {}{inferred} {} | {:?}{}",
        requirement.line,
        requirement.role,
        requirement.service,
        requirement.source,
        requirement.destination,
        list(requirement.protocols.iter().map(ToString::to_string).collect()),
        list(requirement.ports.iter().map(ToString::to_string).collect()),
        requirement.direction,
        parameter.unwrap_or_default(),
    )
}

fn documents(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let entries = std::fs::read_dir(folder).expect("the fixtures are in the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expected"));
    paths.sort();
    paths
}

fn check(folder: &str) {
    let documents = documents(folder);
    assert!(documents.len() >= 9, "{folder}: the fixtures are missing");
    for path in documents {
        let bytes = std::fs::read(&path).expect("readable");
        let import = Import::read(&bytes, &path.to_string_lossy()).expect("a document");
        let expected = path.with_extension("expected");
        if std::env::var_os("PORTCULLIS_BLESS").is_some() {
            std::fs::write(&expected, shown(&import)).expect("writable");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(shown(&import), wanted, "{}", path.display());
    }
}

#[test]
fn every_language() {
    check("languages");
}

#[test]
fn every_shape() {
    check("shapes");
}

/// Documents as vendors of gateways, storage, conferences, databases, printers and back-up products write them.
#[test]
fn every_vendor() {
    check("vendors");
}

/// The same table in the encodings of its language gives the same requirements.
#[test]
fn every_encoding() {
    for (file, labels) in [
        ("ja.md", ["Shift_JIS", "UTF-16LE"]),
        ("de.md", ["windows-1252", "windows-1250"]),
        ("ru.txt", ["windows-1251", "UTF-16BE"]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/languages").join(file);
        let text = std::fs::read_to_string(path).expect("readable");
        let expected = Import::read(text.as_bytes(), file).expect("a document").requirements;
        for label in labels {
            // No vendor writes a tilde of its own into a Japanese code page.
            let text = text.replace('～', "-");
            let bytes = encode(&text, label);
            let found = Import::read(&bytes, file).expect(label).requirements;
            assert_eq!(found.len(), expected.len(), "{file} in {label}");
            let ports = |rows: &[Requirement]| {
                rows.iter().map(|row| (row.role.clone(), row.ports.clone())).collect::<Vec<_>>()
            };
            assert_eq!(ports(&found), ports(&expected), "{file} in {label}");
        }
    }
}

fn encode(text: &str, label: &str) -> Vec<u8> {
    match label {
        "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        label => {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).expect("known");
            encoding.encode(text).0.into_owned()
        }
    }
}
