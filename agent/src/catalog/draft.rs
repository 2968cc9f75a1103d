//! Drafts: imports to a system that a person then reviews.
//!
//! In come the imports of one product's documents; out comes a [`System`] with one role for each role text,
//! or for each table where rows name none. Invariant: every requirement, address and exception of the
//! imports is in the draft once.

use super::{CatalogRow, Document, Role, Sourced, System, TableName};
use crate::requirement::slug::slug;
use crate::requirement::{Import, Requirement};

impl System {
    /// A draft of the system `name` out of `imports`.
    #[must_use]
    pub fn draft(name: &str, imports: Vec<Import>) -> Self {
        let title = imports.first().map(|import| import.document.title.clone()).unwrap_or_default();
        let mut system = Self { name: name.to_owned(), title, ..Self::default() };
        for import in imports {
            system.add_import(import);
        }
        system
    }

    fn add_import(&mut self, import: Import) {
        let document = self.documents.len();
        let mut info = import.document;
        info.id = free(&info.id, "document", |id| self.documents.iter().any(|known| known.info.id == id));
        let mut tables: Vec<TableName> =
            import.tables.into_iter().map(|table| TableName { name: table.name, line: table.line }).collect();
        for requirement in &import.requirements {
            // Lists have no table of their own.
            if !tables.iter().any(|table| table.name == requirement.table) {
                tables.push(TableName { name: requirement.table.clone(), line: requirement.line });
            }
        }
        self.documents.push(Document { info, tables });
        for requirement in import.requirements {
            self.role_of(&requirement).rows.push(CatalogRow {
                document,
                requirement,
                reviewed: vec![],
                also: vec![],
            });
        }
        self.names.extend(import.names.into_iter().map(|item| Sourced { document, item, also: vec![] }));
        self.ipsec_exceptions.extend(import.ipsec_exceptions.into_iter().map(|item| Sourced {
            document,
            item,
            also: vec![],
        }));
    }

    /// The role that a row belongs to, made where it is the first.
    fn role_of(&mut self, requirement: &Requirement) -> &mut Role {
        let text = if requirement.role.is_empty() { &requirement.table } else { &requirement.role };
        let known = self.roles.iter().position(|role| role.title == *text);
        let at = known.unwrap_or_else(|| {
            let name = free(&slug(text), "role", |name| self.roles.iter().any(|role| role.name == name));
            let documented =
                if requirement.role.is_empty() { vec![] } else { vec![requirement.role.clone()] };
            self.roles.push(Role { name, title: text.clone(), documented, ..Role::default() });
            self.roles.len() - 1
        });
        &mut self.roles[at]
    }
}

/// `wanted`, or `wanted-2` and so on where it is `taken`; `fallback` where nothing is wanted.
fn free(wanted: &str, fallback: &str, taken: impl Fn(&str) -> bool) -> String {
    let base = if wanted.is_empty() { fallback } else { wanted };
    if !taken(base) {
        return base.to_owned();
    }
    let mut number = 2_u32;
    loop {
        let name = format!("{base}-{number}");
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}
