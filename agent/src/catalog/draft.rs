//! Drafts: imports to a system that a person then reviews.
//!
//! In come the imports of one product's documents; out comes a [`System`] with one role for each role text,
//! or for each table where rows name none. Invariant: every requirement, address and exception of the
//! imports is in the draft once.

use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::{CatalogRow, Document, Role, Sourced, System, TableName};
use crate::requirement::slug::{Names, slug};
use crate::requirement::{Import, Requirement};

impl System {
    /// A draft of the system `name` out of `imports`.
    #[must_use]
    pub fn draft(name: &str, imports: Vec<Import>) -> Self {
        let title = imports.first().map(|import| import.document.title.clone()).unwrap_or_default();
        let system = Self { name: name.to_owned(), title, ..Self::default() };
        let mut draft =
            Draft { system, documents: Names::default(), names: Names::default(), roles: HashMap::new() };
        for import in imports {
            draft.add(import);
        }
        draft.system
    }
}

/// A system that is being put together, and what it has so far.
struct Draft {
    system: System,
    /// Names of documents.
    documents: Names,
    /// Names of roles.
    names: Names,
    /// Indexes of roles by their title.
    roles: HashMap<String, usize>,
}

impl Draft {
    fn add(&mut self, import: Import) {
        let document = self.system.documents.len();
        let mut info = import.document;
        info.id = self.documents.free(or(&info.id, "document"));
        let mut tables: Vec<TableName> =
            import.tables.into_iter().map(|table| TableName { name: table.name, line: table.line }).collect();
        let mut known: HashSet<String> = tables.iter().map(|table| table.name.clone()).collect();
        for requirement in &import.requirements {
            // Lists have no table of their own.
            if !known.contains(&requirement.table) {
                known.insert(requirement.table.clone());
                tables.push(TableName { name: requirement.table.clone(), line: requirement.line });
            }
        }
        self.system.documents.push(Document { info, tables });
        for requirement in import.requirements {
            self.role_of(&requirement).rows.push(CatalogRow {
                document,
                requirement,
                reviewed: vec![],
                also: vec![],
            });
        }
        let names = import.names.into_iter().map(|item| Sourced { document, item, also: vec![] });
        self.system.names.extend(names);
        let exceptions =
            import.ipsec_exceptions.into_iter().map(|item| Sourced { document, item, also: vec![] });
        self.system.ipsec_exceptions.extend(exceptions);
    }

    /// The role that a row belongs to, made where it is the first.
    fn role_of(&mut self, requirement: &Requirement) -> &mut Role {
        let text = if requirement.role.is_empty() { &requirement.table } else { &requirement.role };
        let at = if let Some(&at) = self.roles.get(text) {
            at
        } else {
            let name = self.names.free(or(&slug(text), "role"));
            let documented =
                if requirement.role.is_empty() { vec![] } else { vec![requirement.role.clone()] };
            self.system.roles.push(Role { name, title: text.clone(), documented, ..Role::default() });
            self.roles.insert(text.clone(), self.system.roles.len() - 1);
            self.system.roles.len() - 1
        };
        &mut self.system.roles[at]
    }
}

/// `wanted`, or `fallback` where nothing is wanted.
fn or<'a>(wanted: &'a str, fallback: &'a str) -> &'a str {
    if wanted.is_empty() { fallback } else { wanted }
}
