//! Placeholder until the catalog lands.
#![allow(missing_docs)]
use crate::requirement::Requirement;
pub struct Catalog {
    systems: Vec<System>,
}
pub struct System {
    pub name: String,
    pub title: String,
    pub documents: Vec<DocumentInfo>,
    pub roles: Vec<Role>,
}
pub struct DocumentInfo {
    pub id: String,
    pub title: String,
    pub file: String,
    pub sha256: String,
    pub language: String,
}
pub struct Role {
    pub name: String,
    pub title: String,
    pub requirements: Vec<Requirement>,
}
pub struct RoleView<'a> {
    system: &'a System,
    role: &'a Role,
}
pub struct RowView<'a> {
    pub system: &'a System,
    pub role: &'a Role,
    pub document: &'a DocumentInfo,
    pub requirement: &'a Requirement,
}
#[derive(Debug, thiserror::Error)]
#[error("unknown role `{0}`")]
pub struct CatalogError(String);
impl Catalog {
    pub fn builtin() -> Self {
        Self { systems: Vec::new() }
    }
    pub fn systems(&self) -> &[System] {
        &self.systems
    }
    pub fn add(&mut self, system: System) {
        self.systems.push(system);
    }
    pub fn role(&self, name: &str) -> Result<RoleView<'_>, CatalogError> {
        for system in &self.systems {
            for role in &system.roles {
                if format!("{}/{}", system.name, role.name) == name {
                    return Ok(RoleView { system, role });
                }
            }
        }
        Err(CatalogError(name.to_owned()))
    }
}
impl<'a> RoleView<'a> {
    pub fn requirements(&self) -> Vec<RowView<'a>> {
        self.role
            .requirements
            .iter()
            .map(|requirement| RowView {
                system: self.system,
                role: self.role,
                document: &self.system.documents[0],
                requirement,
            })
            .collect()
    }
}
