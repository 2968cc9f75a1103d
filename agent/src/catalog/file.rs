//! Catalog files: TOML to a system.
//!
//! In comes the text of a file; out comes a [`System`], or the first mistake with its line and column.
//! Invariant: a system that leaves here refers only to documents, tables and roles that it has.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{CatalogError, CatalogRow, Document, Origin, Peer, Role, Sourced, System, TableName, resolve};
use crate::problem::Collector;
use crate::requirement::{
    Direction, DocumentInfo, IpsecException, Name, Parameter, Ports, Protocol, Requirement,
};

/// Version of the form.
pub(super) const SCHEMA: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemFile {
    schema: Spanned<u32>,
    system: Spanned<String>,
    title: String,
    #[serde(default)]
    document: Vec<DocumentFile>,
    #[serde(default)]
    peer: Vec<PeerFile>,
    #[serde(default)]
    role: Vec<RoleFile>,
    #[serde(default)]
    name: Vec<SourcedFile<Name>>,
    #[serde(default)]
    ipsec_exception: Vec<SourcedFile<IpsecException>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentFile {
    id: Spanned<String>,
    title: String,
    #[serde(default)]
    language: String,
    file: String,
    sha256: Spanned<String>,
    #[serde(default)]
    table: Vec<TableFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    name: Spanned<String>,
    line: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerFile {
    name: Spanned<String>,
    documented: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleFile {
    name: Spanned<String>,
    title: String,
    #[serde(default)]
    documented: Vec<String>,
    #[serde(default)]
    inherits: Vec<Spanned<String>>,
    #[serde(default, rename = "abstract")]
    is_abstract: bool,
    #[serde(default)]
    requirement: Vec<RequirementFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequirementFile {
    document: Spanned<String>,
    line: Spanned<u32>,
    table: Spanned<String>,
    role: Option<String>,
    #[serde(default)]
    service: String,
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    #[serde(default)]
    protocols: Vec<Protocol>,
    #[serde(default)]
    ports: Vec<Ports>,
    application: Option<String>,
    parameter: Option<Parameter>,
    #[serde(default)]
    inferred: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    reviewed: Vec<String>,
    #[serde(default)]
    also: Vec<OriginFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginFile {
    document: Spanned<String>,
    line: u32,
}

#[derive(Deserialize)]
struct SourcedFile<T> {
    document: Spanned<String>,
    #[serde(default)]
    also: Vec<OriginFile>,
    #[serde(flatten)]
    item: T,
}

/// Reads a catalog file; `name` is what errors call it.
pub(super) fn parse(text: &str, name: &str) -> Result<System, CatalogError> {
    let checker = Checker { text, name };
    let file: SystemFile =
        toml::from_str(text).map_err(|error| checker.mistake(|problems| problems.add_toml(&error)))?;
    checker.system(file)
}

/// Checks what TOML itself does not.
struct Checker<'a> {
    text: &'a str,
    name: &'a str,
}

impl Checker<'_> {
    fn system(&self, file: SystemFile) -> Result<System, CatalogError> {
        if *file.schema.get_ref() != SCHEMA {
            return Err(self.error(
                file.schema.span(),
                format!("schema {} is not known: this program reads schema {SCHEMA}", file.schema.get_ref()),
            ));
        }
        self.slug(&file.system)?;
        let mut documents: Vec<Document> = vec![];
        for document in file.document {
            documents.push(self.document(document, &documents)?);
        }
        let mut peers: Vec<Peer> = vec![];
        for peer in file.peer {
            peers.push(self.peer(peer, &peers)?);
        }
        let mut roles: Vec<Role> = vec![];
        let mut parents: Vec<(usize, Spanned<String>)> = vec![];
        for role in file.role {
            parents.extend(role.inherits.iter().map(|parent| (roles.len(), parent.clone())));
            roles.push(self.role(role, &roles, &documents)?);
        }
        let mut system = System {
            name: file.system.into_inner(),
            title: file.title,
            documents,
            peers,
            roles,
            ..System::default()
        };
        self.inheritance(&system, &parents)?;
        for name in file.name {
            system.names.push(self.sourced(name, &system.documents)?);
        }
        for exception in file.ipsec_exception {
            system.ipsec_exceptions.push(self.sourced(exception, &system.documents)?);
        }
        Ok(system)
    }

    fn sourced<T>(&self, file: SourcedFile<T>, documents: &[Document]) -> Result<Sourced<T>, CatalogError> {
        let document = self.document_index(&file.document, documents)?;
        Ok(Sourced { document, item: file.item, also: self.origins(&file.also, documents)? })
    }

    fn origins(&self, files: &[OriginFile], documents: &[Document]) -> Result<Vec<Origin>, CatalogError> {
        files
            .iter()
            .map(|file| {
                Ok(Origin { document: self.document_index(&file.document, documents)?, line: file.line })
            })
            .collect()
    }

    fn document(&self, file: DocumentFile, before: &[Document]) -> Result<Document, CatalogError> {
        self.slug(&file.id)?;
        if before.iter().any(|document| document.info.id == *file.id.get_ref()) {
            return Err(self.error(
                file.id.span(),
                format!("document `{}` is there already: give it another id", file.id.get_ref()),
            ));
        }
        let digest = file.sha256.get_ref();
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.error(
                file.sha256.span(),
                "a SHA-256 has 64 hexadecimal digits: take it from `sha256sum`".to_owned(),
            ));
        }
        let mut tables: Vec<TableName> = vec![];
        for table in file.table {
            self.slug(&table.name)?;
            if tables.iter().any(|known| known.name == *table.name.get_ref()) {
                return Err(self
                    .error(table.name.span(), format!("table `{}` is there already", table.name.get_ref())));
            }
            tables.push(TableName { name: table.name.into_inner(), line: table.line });
        }
        let info = DocumentInfo {
            id: file.id.into_inner(),
            title: file.title,
            language: file.language,
            file: file.file,
            sha256: file.sha256.into_inner(),
        };
        Ok(Document { info, tables })
    }

    fn peer(&self, file: PeerFile, before: &[Peer]) -> Result<Peer, CatalogError> {
        self.slug(&file.name)?;
        let taken = |text: &String| before.iter().any(|peer| peer.documented.contains(text));
        if let Some(text) = file.documented.iter().find(|text| taken(text)) {
            return Err(self.error(file.name.span(), format!("`{text}` is the name of another peer already")));
        }
        if before.iter().any(|peer| peer.name == *file.name.get_ref()) {
            return Err(self.error(
                file.name.span(),
                format!("peer `{}` is there already: a peer has one block", file.name.get_ref()),
            ));
        }
        Ok(Peer { name: file.name.into_inner(), documented: file.documented })
    }

    fn role(&self, file: RoleFile, before: &[Role], documents: &[Document]) -> Result<Role, CatalogError> {
        self.slug(&file.name)?;
        if before.iter().any(|role| role.name == *file.name.get_ref()) {
            return Err(self.error(
                file.name.span(),
                format!("role `{}` is there already: a role has one block", file.name.get_ref()),
            ));
        }
        let mut rows = vec![];
        for row in file.requirement {
            let document = self.document_index(&row.document, documents)?;
            let tables = &documents[document].tables;
            if !tables.iter().any(|table| table.name == *row.table.get_ref()) {
                let nearest =
                    resolve::nearest(row.table.get_ref(), tables.iter().map(|table| table.name.as_str()));
                let hint = nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default();
                return Err(self.error(
                    row.table.span(),
                    format!(
                        "document `{}` has no table `{}`{hint}",
                        row.document.get_ref(),
                        row.table.get_ref()
                    ),
                ));
            }
            if *row.line.get_ref() == 0 {
                return Err(self.error(row.line.span(), "lines count from 1".to_owned()));
            }
            let requirement = Requirement {
                line: row.line.into_inner(),
                table: row.table.into_inner(),
                role: row.role.or_else(|| file.documented.first().cloned()).unwrap_or_default(),
                service: row.service,
                direction: row.direction,
                source: row.source,
                destination: row.destination,
                protocols: row.protocols,
                ports: row.ports,
                application: row.application,
                parameter: row.parameter,
                inferred: row.inferred,
                notes: row.notes,
            };
            let also = self.origins(&row.also, documents)?;
            rows.push(CatalogRow { document, requirement, reviewed: row.reviewed, also });
        }
        Ok(Role {
            name: file.name.into_inner(),
            title: file.title,
            documented: file.documented,
            inherits: file.inherits.into_iter().map(Spanned::into_inner).collect(),
            is_abstract: file.is_abstract,
            rows,
        })
    }

    /// Every inherited role exists, and none inherits from itself.
    fn inheritance(&self, system: &System, parents: &[(usize, Spanned<String>)]) -> Result<(), CatalogError> {
        for (child, parent) in parents {
            let child = &system.roles[*child];
            let name = parent.get_ref();
            let Some(role) = system.roles.iter().find(|role| role.name == *name) else {
                let nearest = resolve::nearest(name, system.roles.iter().map(|role| role.name.as_str()));
                let hint = nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default();
                return Err(self.error(parent.span(), format!("there is no role `{name}` to inherit{hint}")));
            };
            if resolve::lineage(system, role).iter().any(|ancestor| ancestor.name == child.name) {
                return Err(self.error(
                    parent.span(),
                    format!(
                        "`{}` inherits from itself by way of `{name}`: take one of the two out",
                        child.name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn document_index(&self, id: &Spanned<String>, documents: &[Document]) -> Result<usize, CatalogError> {
        documents.iter().position(|document| document.info.id == *id.get_ref()).ok_or_else(|| {
            let nearest =
                resolve::nearest(id.get_ref(), documents.iter().map(|document| document.info.id.as_str()));
            let hint = nearest.map_or_else(
                || ": add a `[[document]]` with this id".to_owned(),
                |name| format!(": did you mean `{name}`?"),
            );
            self.error(id.span(), format!("there is no document `{}`{hint}", id.get_ref()))
        })
    }

    /// Names are typed by people and stand in metrics.
    fn slug(&self, name: &Spanned<String>) -> Result<(), CatalogError> {
        let text = name.get_ref();
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
        let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if plain && ends {
            return Ok(());
        }
        Err(self.error(
            name.span(),
            format!("`{text}` is no name: use lower-case letters, digits, hyphens and dots"),
        ))
    }

    fn error(&self, span: Range<usize>, message: String) -> CatalogError {
        self.mistake(|problems| problems.add(&span, message, None))
    }

    fn mistake(&self, note: impl FnOnce(&mut Collector<'_>)) -> CatalogError {
        let mut problems = Collector::new(self.text, self.name);
        note(&mut problems);
        CatalogError::File(Box::new(problems.last().expect("a mistake was just noted")))
    }
}
