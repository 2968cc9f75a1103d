//! Whole documents in the shapes that vendors publish, each with the rows that it must give.
//!
//! `tests/fixtures/documents` holds them; beside each stands its `.expected`: line, role, direction
//! and ports of every row, as a person read them out of the document.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::import::Import;

/// `12 | Web server | inbound | tcp/443 udp/53`, one line of the document a line.
fn rows(import: &Import) -> String {
    let mut rows: BTreeMap<(u32, &str, String), Vec<String>> = BTreeMap::new();
    for requirement in &import.requirements {
        let direction = format!("{:?}", requirement.direction).to_lowercase();
        let ports = rows.entry((requirement.line, &requirement.role, direction)).or_default();
        for protocol in &requirement.protocols {
            if requirement.ports.is_empty() {
                ports.push(protocol.to_string());
            }
            ports.extend(requirement.ports.iter().map(|port| format!("{protocol}/{port}")));
        }
    }
    let line = |((line, role, direction), mut ports): ((u32, &str, String), Vec<String>)| {
        ports.sort();
        format!("{line} | {role} | {direction} | {}\n", ports.join(" "))
    };
    rows.into_iter().map(line).collect()
}

fn documents() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents");
    let entries = fs::read_dir(&folder).expect("the folder exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expected"));
    paths.sort();
    paths
}

#[test]
fn documents_give_the_rows_that_people_read_in_them() {
    let documents = documents();
    assert!(documents.len() >= 5, "{documents:?}");
    for path in documents {
        let bytes = fs::read(&path).expect("readable");
        let expected = PathBuf::from(format!("{}.expected", path.display()));
        let expected = fs::read_to_string(&expected).expect("every document has its `.expected`");
        let import = Import::read(&bytes, &path.to_string_lossy()).expect("a document");
        assert_eq!(rows(&import), expected, "{}", path.display());
    }
}
