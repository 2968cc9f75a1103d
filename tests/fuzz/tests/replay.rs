//! Replays seeds, and every input that once broke something, without the fuzzer.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use portcullis_fuzz::TARGETS;

/// Folders of documents that other tests read too: seeds of the targets that read documents.
const DOCUMENTS: [&str; 4] = ["afresh", "documents", "languages", "shapes"];

/// One test, since memory is measured for the whole process.
///
/// Holds: security untrusted-document.
#[test]
fn every_seed_and_every_input_that_once_broke_something() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = here.join("../../agent/tests/fixtures");
    let mut failed = vec![];
    for (name, property) in TARGETS {
        let mut inputs = files(&here.join("seeds").join(name));
        inputs.extend(files(&here.join("regressions").join(name)));
        if ["text", "html", "delimited", "encoding"].contains(&name) {
            inputs.extend(DOCUMENTS.iter().flat_map(|folder| files(&fixtures.join(folder))));
        }
        assert!(!inputs.is_empty(), "{name} has no seeds");
        for input in inputs {
            let bytes = fs::read(&input).expect("readable");
            if panic::catch_unwind(|| property(&bytes)).is_err() {
                failed.push(format!("{name}: {}", input.display()));
            }
        }
    }
    assert!(failed.is_empty(), "what each broke stands above:\n{}", failed.join("\n"));
}

/// The files of a folder, in the order of their names; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}
