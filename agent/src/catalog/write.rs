//! Catalog files: a system to TOML that a person can review.
//!
//! In comes a [`System`]; out comes its file. One key a line, empty keys left out, rows in the order of
//! their lines, so that a change of a document is a small difference in git. Invariant: what is written
//! reads back to an equal system.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;
use toml_writer::TomlWrite as _;

use super::{CatalogRow, Document, Origin, Role, Sourced, System, file::SCHEMA};

/// The file of a system, written block by block: large systems have files larger than what they are made from.
pub(super) struct File<'a>(pub(super) &'a System);

impl Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(system) = self;
        let mut out = Out(String::new());
        out.value("schema", SCHEMA);
        out.text("system", &system.name);
        out.text("title", &system.title);
        for document in &system.documents {
            out.document(document);
        }
        for peer in &system.peers {
            out.header("peer");
            out.text("name", &peer.name);
            out.list("documented", &peer.documented);
        }
        for role in &system.roles {
            out.role(role);
            for row in &role.rows {
                out.row(row, role, system);
                out.flush(f)?;
            }
        }
        for name in &system.names {
            out.block("name", name, system);
        }
        for exception in &system.ipsec_exceptions {
            out.block("ipsec_exception", exception, system);
        }
        out.flush(f)
    }
}

/// What was written and is not in the file yet.
struct Out(String);

impl Out {
    fn flush(&mut self, file: &mut fmt::Formatter<'_>) -> fmt::Result {
        file.write_str(&self.0)?;
        self.0.clear();
        Ok(())
    }

    fn document(&mut self, document: &Document) {
        let info = &document.info;
        self.header("document");
        self.text("id", &info.id);
        self.text("title", &info.title);
        self.optional("language", &info.language);
        self.text("file", &info.file);
        self.text("sha256", &info.sha256);
        for table in &document.tables {
            self.header("document.table");
            self.text("name", &table.name);
            self.value("line", table.line);
        }
    }

    fn role(&mut self, role: &Role) {
        self.header("role");
        self.text("name", &role.name);
        self.text("title", &role.title);
        self.list("documented", &role.documented);
        self.list("inherits", &role.inherits);
        if role.is_abstract {
            self.value("abstract", true);
        }
    }

    fn row(&mut self, row: &CatalogRow, role: &Role, system: &System) {
        let requirement = &row.requirement;
        self.header("role.requirement");
        self.text("document", &system.documents[row.document].info.id);
        self.value("line", requirement.line);
        self.text("table", &requirement.table);
        if role.documented.first() != Some(&requirement.role)
            && !(role.documented.is_empty() && requirement.role.is_empty())
        {
            self.text("role", &requirement.role);
        }
        self.optional("service", &requirement.service);
        if requirement.direction != crate::requirement::Direction::Unknown {
            self.serialized("direction", &requirement.direction);
        }
        self.optional("source", &requirement.source);
        self.optional("destination", &requirement.destination);
        self.names("protocols", &requirement.protocols);
        self.names("ports", &requirement.ports);
        if let Some(application) = &requirement.application {
            self.text("application", application);
        }
        if let Some(parameter) = &requirement.parameter {
            self.serialized("parameter", parameter);
        }
        self.list("inferred", &requirement.inferred);
        self.list("notes", &requirement.notes);
        self.list("reviewed", &row.reviewed);
        self.also(&row.also, system);
    }

    /// A block whose keys are the fields of `item`.
    fn block<T: Serialize>(&mut self, kind: &str, sourced: &Sourced<T>, system: &System) {
        let (document, item, also) =
            (&system.documents[sourced.document].info.id, &sourced.item, &sourced.also);
        self.header(kind);
        self.text("document", document);
        self.also(also, system);
        if let Ok(toml::Value::Table(fields)) = toml::Value::try_from(item) {
            for (key, value) in fields {
                self.value(&key, value);
            }
        }
    }

    fn also(&mut self, origins: &[Origin], system: &System) {
        self.array("also", origins, |out, origin| {
            let _ = write!(out, "{{ document = ");
            let _ = out.value(&system.documents[origin.document].info.id);
            let _ = write!(out, ", line = {} }}", origin.line);
        });
    }

    fn header(&mut self, kind: &str) {
        self.0.push_str("\n[[");
        self.0.push_str(kind);
        self.0.push_str("]]\n");
    }

    fn value(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = writeln!(self.0, "{value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        let _ = self.0.value(text);
        self.0.push('\n');
    }

    fn key(&mut self, key: &str) {
        self.0.push_str(key);
        self.0.push_str(" = ");
    }

    fn optional(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.text(key, text);
        }
    }

    fn list(&mut self, key: &str, items: &[String]) {
        self.array(key, items, |out, item| {
            let _ = out.value(item);
        });
    }

    /// A list of items whose text has nothing to escape.
    fn names(&mut self, key: &str, items: &[impl Display]) {
        self.array(key, items, |out, item| {
            let _ = write!(out, "\"{item}\"");
        });
    }

    /// A list whose items are written by `write`; nothing where it is empty.
    fn array<T>(&mut self, key: &str, items: &[T], mut write: impl FnMut(&mut String, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at == 0 {
                self.key(key);
                self.0.push('[');
            } else {
                self.0.push_str(", ");
            }
            write(&mut self.0, item);
        }
        if !items.is_empty() {
            self.0.push_str("]\n");
        }
    }

    fn serialized(&mut self, key: &str, item: &impl Serialize) {
        if let Ok(value) = toml::Value::try_from(item) {
            self.value(key, value);
        }
    }
}
