//! Resolution: inheritance, and the names nearest to one that does not exist.
//!
//! In come a role or a wrong name; out come rows or a suggestion. Invariant: a row appears once, however
//! many ways lead to the role that declares it.

use super::{Role, RowView, System};

/// A name further away than a third of its letters is no misspelling.
const TOLERANCE: usize = 3;

/// The rows of `role` and of everything that it inherits.
pub(super) fn rows<'a>(system: &'a System, role: &'a Role) -> Vec<RowView<'a>> {
    let mut found: Vec<(usize, u32, RowView<'a>)> = vec![];
    for role in lineage(system, role) {
        for row in &role.rows {
            let Some(document) = system.documents.get(row.document) else { continue };
            let view = RowView {
                requirement: &row.requirement,
                document: &document.info,
                role,
                system,
                also: &row.also,
            };
            found.push((row.document, row.requirement.line, view));
        }
    }
    // Stable: rows of one line keep the order of their file.
    found.sort_by_key(|&(document, line, _)| (document, line));
    found.into_iter().map(|(_, _, view)| view).collect()
}

/// The role and all roles that it inherits, each once.
pub(super) fn lineage<'a>(system: &'a System, role: &'a Role) -> Vec<&'a Role> {
    let mut found: Vec<&Role> = vec![role];
    let mut at = 0;
    while let Some(role) = found.get(at) {
        for name in &role.inherits {
            let parent = system.roles.iter().find(|candidate| candidate.name == *name);
            found.extend(parent.filter(|parent| !found.iter().any(|known| known.name == parent.name)));
        }
        at += 1;
    }
    found
}

/// The name nearest to `wrong`, if one is near.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let distances = names.map(|name| (strsim::damerau_levenshtein(wrong, name), name));
    let (distance, name) = distances.min()?;
    (distance * TOLERANCE <= wrong.chars().count().max(name.chars().count())).then(|| name.to_owned())
}

/// The `system/role` nearest to `wrong`.
pub(super) fn nearest_role(wrong: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    nearest(wrong, names.iter().map(String::as_str))
}

/// The roles of every system that are called `wrong`, which lacks the system; those of the nearest name where
/// there is none.
pub(super) fn roles_called(wrong: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    fn role(name: &str) -> &str {
        name.split_once('/').map_or(name, |(_, role)| role)
    }
    let names: Vec<String> = names.collect();
    let Some(best) = nearest(wrong, names.iter().map(|name| role(name))) else { return Vec::new() };
    names.iter().filter(|name| role(name) == best).cloned().collect()
}
