//! Files that operators write: catalogs and policies.

use std::sync::OnceLock;

use portcullis::catalog::{Catalog, CatalogError};
use portcullis::policy::{Place, Policy};

use crate::cost::bounded;
use crate::document::sentence;

/// A catalog file is read or refused with its place, and written as it was read.
pub fn catalog(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match bounded(text.len(), || Catalog::parse_system(text, "catalog.toml")) {
        Ok(system) => {
            let written = system.to_toml();
            let reread = Catalog::parse_system(&written, "written.toml");
            assert_eq!(reread.as_ref(), Ok(&system), "{written}");
            assert_eq!(reread.map(|system| system.to_toml()), Ok(written));
            for role in &system.roles {
                let view = system.role(&role.name).expect("a role of the system");
                assert!(view.requirements().len() >= role.rows.len().min(1));
            }
        }
        Err(CatalogError::File(problem)) => {
            in_text(text, problem.place);
            sentence(&problem.message);
        }
        Err(other) => sentence(&other.to_string()),
    }
}

/// A policy is read or refused with every problem at its place.
pub fn policy(bytes: &[u8]) {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let catalog = CATALOG.get_or_init(Catalog::builtin);
    let read = || Policy::parse(text, "policy.toml", catalog);
    match bounded(text.len(), read) {
        Ok(policy) => {
            assert_eq!(read().as_ref(), Ok(&policy), "the same text is the same policy");
            for interface in &policy.interfaces {
                in_text(text, interface.place);
                interface.bindings.iter().for_each(|binding| in_text(text, binding.place));
                interface.allows.iter().for_each(|allow| in_text(text, allow.place));
                let same = policy.interfaces.iter().filter(|other| other.name == interface.name).count();
                assert_eq!(same, 1, "interface {} is there {same} times", interface.name);
            }
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            for problem in &problems.0 {
                in_text(text, problem.place);
                sentence(&problem.message);
            }
        }
    }
}

fn in_text(text: &str, place: Place) {
    within(text, place.line as usize, place.column as usize);
}

/// A place lies in the text, or right behind it.
fn within(text: &str, line: usize, column: usize) {
    let lines: Vec<&str> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&line), "line {line} of {}", lines.len());
    let width = lines[line - 1].chars().count() + 1;
    assert!((1..=width).contains(&column), "column {column} of {width} on line {line}");
}
