//! The built-in catalog against the documents that it was made from, line by line.
//!
//! The documents are not part of this project. Where they are not at hand (`PORTCULLIS_DOCUMENTS`, or
//! `shared/documents` beside the workspace) that comparison is reported as skipped. The comparison itself is always
//! held to a document and a catalog of the fixtures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis::catalog::{Catalog, System};
use portcullis::requirement::{Import, Name, Requirement};
use xtask::skip::{Need, skip};

/// Notes that are facts; sentences stay in the documents.
const FLAGS: [&str; 3] = ["legacy", "optional", "configurable"];

fn documents() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/documents");
    let folder = std::env::var_os("PORTCULLIS_DOCUMENTS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let reason = format!("no documents in {}; set PORTCULLIS_DOCUMENTS to their folder", folder.display());
    skip(Need::Documents, &reason);
    None
}

/// A requirement without what the reviewer set, and with facts only.
fn facts(requirement: &Requirement, reviewed: &[String]) -> Requirement {
    let mut facts = requirement.clone();
    facts.notes.retain(|note| FLAGS.contains(&note.as_str()));
    facts.table.clear();
    for field in reviewed {
        match field.as_str() {
            "direction" => facts.direction = Default::default(),
            "parameter" => facts.parameter = None,
            "protocols" => facts.protocols.clear(),
            "ports" => facts.ports.clear(),
            "application" => facts.application = None,
            "role" => facts.role.clear(),
            other => panic!("`{other}` is no field that a reviewer can set"),
        }
        facts.inferred.retain(|inferred| inferred != field);
    }
    facts
}

/// Only what a row opens: protocols and ports that no reviewer set.
fn opened(requirement: &Requirement, reviewed: &[String]) -> Requirement {
    let facts = facts(requirement, reviewed);
    Requirement { line: 0, role: String::new(), notes: vec![], inferred: vec![], ..facts }
}

fn compare(system: &System, document: usize, import: &Import) {
    let info = &system.documents[document].info;
    assert_eq!(
        import.document.sha256, info.sha256,
        "{}: another file than the one that was reviewed",
        info.file
    );
    let mut imported: BTreeMap<u32, Vec<&Requirement>> = BTreeMap::new();
    for requirement in &import.requirements {
        imported.entry(requirement.line).or_default().push(requirement);
    }
    let mut rows = 0;
    for role in &system.roles {
        for row in &role.rows {
            let own = (row.document == document).then_some(row.requirement.line);
            let others =
                row.also.iter().filter(|origin| origin.document == document).map(|origin| origin.line);
            for line in own.into_iter().chain(others) {
                rows += 1;
                // Another line says the same in its own words: only what it opens is compared.
                let compared = |requirement: &Requirement| {
                    if own == Some(line) {
                        facts(requirement, &row.reviewed)
                    } else {
                        opened(requirement, &row.reviewed)
                    }
                };
                let mut said = imported.get(&line).into_iter().flatten();
                let place = format!("{}/{}: line {line} of {}", system.name, role.name, info.file);
                assert!(
                    said.any(|requirement| compared(requirement) == compared(&row.requirement)),
                    "{place} says something else:\n{:#?}\n{:#?}",
                    row.requirement,
                    imported.get(&line)
                );
                let table = system.documents[document].tables.iter().rfind(|table| table.line <= line);
                let table = table.map(|table| table.name.as_str());
                assert_eq!(table, Some(row.requirement.table.as_str()), "{place} stands in another table");
            }
        }
    }
    assert_eq!(rows, import.requirements.len(), "{}: rows of {} here and there", system.name, info.file);

    let name = |name: &Name| (name.line, name.scheme.clone(), name.host.clone(), name.port);
    let mut names = vec![];
    for known in &system.names {
        names.extend((known.document == document).then(|| name(&known.item)));
        let others = known.also.iter().filter(|origin| origin.document == document);
        names.extend(others.map(|origin| name(&Name { line: origin.line, ..known.item.clone() })));
    }
    assert_eq!(names, import.names.iter().map(name).collect::<Vec<_>>(), "{}", info.file);
    let exceptions: Vec<_> = system
        .ipsec_exceptions
        .iter()
        .filter(|known| known.document == document)
        .map(|known| known.item.clone())
        .collect();
    assert_eq!(exceptions, import.ipsec_exceptions, "{}", info.file);
}

/// A fixture and its catalog, in which `from` is replaced by `to`.
fn compare_sample(from: &str, to: &str) {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read_to_string(fixtures.join("catalog/sample.toml")).expect("a fixture");
    assert!(text.contains(from), "the fixture has no `{from}`");
    let system = Catalog::parse_system(&text.replacen(from, to, 1), "sample.toml").expect("a catalog");
    let bytes = std::fs::read(fixtures.join("languages/en.md")).expect("a fixture");
    compare(&system, 0, &Import::read(&bytes, "en.md").expect("a document"));
}

/// Holds: readme origin.
#[test]
fn a_reviewed_catalog_says_what_its_document_says() {
    compare_sample("", "");
}

#[test]
#[should_panic(expected = "says something else")]
fn a_port_that_the_document_does_not_have_is_noticed() {
    compare_sample("8443", "8444");
}

#[test]
#[should_panic(expected = "says something else")]
fn what_a_reviewer_set_and_does_not_own_up_to_is_noticed() {
    compare_sample("reviewed = [\"direction\"]", "");
}

#[test]
fn the_builtin_catalog_says_what_its_documents_say() {
    let Some(folder) = documents() else { return };
    for system in Catalog::builtin().systems() {
        for (index, document) in system.documents.iter().enumerate() {
            let bytes =
                std::fs::read(folder.join(&document.info.file)).expect("the document is in the folder");
            let import = Import::read(&bytes, &document.info.file).expect("a document");
            compare(system, index, &import);
        }
    }
}

/// Holds: policy 6.
#[test]
fn roles_open_what_they_inherit() {
    let catalog = Catalog::builtin();
    let lines = |role: &str| -> Vec<u32> {
        catalog.role(role).expect(role).requirements().iter().map(|row| row.requirement.line).collect()
    };
    let front_end = lines("skype-for-business-server-2015/front-end-server");
    assert!(
        [52, 54, 90, 91].iter().all(|line| front_end.contains(line)),
        "own and inherited rows: {front_end:?}"
    );
    assert!(front_end.is_sorted() && !front_end.contains(&73));
    let with_mediation = lines("skype-for-business-server-2015/front-end-server-with-mediation");
    assert_eq!(with_mediation.len(), front_end.len() + 5);
}
