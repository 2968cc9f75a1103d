//! The catalog: systems, their roles, and what each role requires.
//!
//! In come catalog files, made by the importer and reviewed by a person; out come roles with all their
//! rows, inherited ones included, each with the document and the role that declare it. Invariant: every
//! name that a loaded system refers to exists, and no role inherits from itself.

mod draft;
mod error;
mod file;
mod resolve;
mod write;

pub use self::error::CatalogError;
pub use crate::requirement::DocumentInfo;

use std::fmt;

use crate::requirement::{IpsecException, Name, Requirement};

/// Catalog files that are part of the program.
const BUILTIN: [(&str, &str); 4] = [
    ("windows-live-messenger-8.1.toml", include_str!("../../catalog/windows-live-messenger-8.1.toml")),
    ("windows-messenger-lcs-2005.toml", include_str!("../../catalog/windows-messenger-lcs-2005.toml")),
    ("lync-server-2013-public-im.toml", include_str!("../../catalog/lync-server-2013-public-im.toml")),
    (
        "skype-for-business-server-2015.toml",
        include_str!("../../catalog/skype-for-business-server-2015.toml"),
    ),
];

/// All systems that policies can refer to.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    systems: Vec<System>,
}

/// One product with its documents and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Stable name: `skype-for-business-server-2015`.
    pub name: String,
    /// The product's name.
    pub title: String,
    /// Documents that the rows come from.
    pub documents: Vec<Document>,
    /// Names for whom the documents mean by a source or destination, so that a policy can fill them.
    pub peers: Vec<Peer>,
    /// Roles in the order of the file.
    pub roles: Vec<Role>,
    /// Addresses that the product connects to.
    pub names: Vec<Sourced<Name>>,
    /// Traffic that its documents exclude from IPsec.
    pub ipsec_exceptions: Vec<Sourced<IpsecException>>,
}

/// A document of a system, and what the catalog calls its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Which document it is.
    pub info: DocumentInfo,
    /// The tables, in the order of their lines.
    pub tables: Vec<TableName>,
}

/// The catalog's name for a table of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The name that rows refer to.
    pub name: String,
    /// Line of the table's first row in its document, 1-based.
    pub line: u32,
}

/// A name for whom the documents mean by a source or destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Stable name: `public-im-partner`.
    pub name: String,
    /// What the documents call it.
    pub documented: Vec<String>,
}

/// A named set of requirements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Stable name: `front-end-server`.
    pub name: String,
    /// The role's name in English.
    pub title: String,
    /// What the documents call it.
    pub documented: Vec<String>,
    /// Roles of the same system whose rows hold for this one too.
    pub inherits: Vec<String>,
    /// Only there to be inherited: it speaks of other roles (`all servers`).
    pub is_abstract: bool,
    /// The role's own rows.
    pub rows: Vec<CatalogRow>,
}

/// A row of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogRow {
    /// Index of the row's document in [`System::documents`].
    pub document: usize,
    /// What the row says.
    pub requirement: Requirement,
    /// Fields that the reviewer set and the document does not state: `direction`, `parameter`, …
    pub reviewed: Vec<String>,
    /// Other lines that say the same, in this document or in another one.
    pub also: Vec<Origin>,
}

/// A line of a document of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index in [`System::documents`].
    pub document: usize,
    /// 1-based.
    pub line: u32,
}

/// Something with the document that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// Index in [`System::documents`].
    pub document: usize,
    /// The thing itself.
    pub item: T,
    /// Other lines that say the same.
    pub also: Vec<Origin>,
}

/// A role with everything that it inherits.
#[derive(Clone, Copy, Debug)]
pub struct RoleView<'a> {
    system: &'a System,
    role: &'a Role,
}

/// A requirement with where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    /// What is required.
    pub requirement: &'a Requirement,
    /// The document that says so.
    pub document: &'a DocumentInfo,
    /// The role that declares the row, which may be an inherited one.
    pub role: &'a Role,
    /// The system that the role belongs to.
    pub system: &'a System,
    /// Other lines that say the same.
    pub also: &'a [Origin],
}

impl Catalog {
    /// The catalog that is part of the program.
    ///
    /// # Panics
    ///
    /// Never in a program whose tests passed: one of them reads every built-in file.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for (name, text) in BUILTIN {
            match Self::parse_system(text, name) {
                Ok(system) => catalog.add(system),
                Err(error) => unreachable!("built-in catalog: {error}"),
            }
        }
        catalog
    }

    /// Adds a system; one of the same name is replaced.
    pub fn add(&mut self, system: System) {
        self.systems.retain(|known| known.name != system.name);
        self.systems.push(system);
    }

    /// Reads a catalog file.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] with file, line and column of the first mistake.
    pub fn parse_system(text: &str, name_for_errors: &str) -> Result<System, CatalogError> {
        file::parse(text, name_for_errors)
    }

    /// All systems, in the order in which they were added.
    #[must_use]
    pub fn systems(&self) -> &[System] {
        &self.systems
    }

    /// The system called `name`.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownSystem`] with the nearest name that exists.
    pub fn system(&self, name: &str) -> Result<&System, CatalogError> {
        self.systems.iter().find(|system| system.name == name).ok_or_else(|| CatalogError::UnknownSystem {
            name: name.to_owned(),
            nearest: resolve::nearest(name, self.systems.iter().map(|system| system.name.as_str())),
        })
    }

    /// The role called `name`, written as `system/role`.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] with the nearest name that exists.
    pub fn role(&self, name: &str) -> Result<RoleView<'_>, CatalogError> {
        let full_names = || {
            self.systems
                .iter()
                .flat_map(|system| system.roles.iter().map(|role| format!("{}/{}", system.name, role.name)))
        };
        let Some((system, role)) = name.split_once('/') else {
            return Err(CatalogError::WithoutSystem {
                name: name.to_owned(),
                candidates: resolve::roles_called(name, full_names()),
            });
        };
        let nearest = || resolve::nearest_role(name, full_names());
        let Ok(known) = self.system(system) else {
            let (name, system) = (name.to_owned(), system.to_owned());
            return Err(CatalogError::UnknownRolesSystem { nearest: nearest(), name, system });
        };
        known.role(role).map_err(|error| match error {
            // It may be a role of another system.
            CatalogError::UnknownRole { name, nearest: None, roles } => {
                CatalogError::UnknownRole { nearest: nearest(), name, roles }
            }
            other => other,
        })
    }
}

impl RowView<'_> {
    /// The peer that the row's source names; `None` where it names none, or one without a name here.
    #[must_use]
    pub fn source_peer(&self) -> Option<&str> {
        let source = &self.requirement.source;
        let peer = self.system.peers.iter().find(|peer| peer.documented.contains(source))?;
        Some(&peer.name)
    }

    /// The name that a policy knows the row's destination by.
    #[must_use]
    pub fn destination_peer(&self) -> Option<&str> {
        let destination = &self.requirement.destination;
        let peer = self.system.peers.iter().find(|peer| peer.documented.contains(destination))?;
        Some(&peer.name)
    }
}

impl System {
    /// The role called `name`.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownRole`] with the nearest role of this system.
    pub fn role(&self, name: &str) -> Result<RoleView<'_>, CatalogError> {
        self.roles
            .iter()
            .find(|role| role.name == name)
            .map(|role| RoleView { system: self, role })
            .ok_or_else(|| CatalogError::UnknownRole {
                name: format!("{}/{name}", self.name),
                nearest: resolve::nearest(name, self.roles.iter().map(|role| role.name.as_str()))
                    .map(|role| format!("{}/{role}", self.name)),
                roles: self.roles.iter().map(|role| role.name.clone()).collect(),
            })
    }

    /// The system as a catalog file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.file().to_string()
    }

    /// [`System::to_toml`] as it is written, without all of it in memory.
    #[must_use]
    pub fn file(&self) -> impl fmt::Display {
        write::File(self)
    }
}

impl<'a> RoleView<'a> {
    /// The role itself.
    #[must_use]
    pub fn role(&self) -> &'a Role {
        self.role
    }

    /// The system that the role belongs to.
    #[must_use]
    pub fn system(&self) -> &'a System {
        self.system
    }

    /// The role's rows and those that it inherits, in the order of documents and lines, none twice.
    #[must_use]
    pub fn requirements(&self) -> Vec<RowView<'a>> {
        resolve::rows(self.system, self.role)
    }
}

#[cfg(test)]
mod tests;
