//! What can be wrong with a catalog file or with a name that refers to one.

use std::fmt;

use crate::problem::Problem;

/// As many names are suggested at once.
const SHOWN: usize = 8;

/// A mistake in a catalog, or a name that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A catalog file that is wrong somewhere.
    File(Box<Problem>),
    /// No system of this name.
    UnknownSystem {
        /// The name that was asked for.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A role that is not written as `system/role`.
    WithoutSystem {
        /// The name that was asked for.
        name: String,
        /// Roles of that name, or the nearest one, as `system/role`.
        candidates: Vec<String>,
    },
    /// A role of a system that is not known.
    UnknownRolesSystem {
        /// The name that was asked for, as `system/role`.
        name: String,
        /// Its system.
        system: String,
        /// The nearest role that exists, as `system/role`.
        nearest: Option<String>,
    },
    /// No role of this name in a system that is known.
    UnknownRole {
        /// The name that was asked for, as `system/role`.
        name: String,
        /// The nearest name that exists, as `system/role`.
        nearest: Option<String>,
        /// The roles of the system.
        roles: Vec<String>,
    },
}

impl CatalogError {
    /// What is wrong, without what would be right.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::File(problem) => problem.message.clone(),
            Self::UnknownSystem { name, .. } => format!("there is no system `{name}`"),
            Self::WithoutSystem { name, .. } => {
                format!("`{name}` names no system, and a role is written as `system/role`")
            }
            Self::UnknownRolesSystem { name, system, .. } => {
                format!("there is no role `{name}`, because there is no system `{system}`")
            }
            Self::UnknownRole { name, .. } => format!("there is no role `{name}`"),
        }
    }

    /// What would be right.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::File(problem) => problem.help.clone().unwrap_or_default(),
            Self::UnknownSystem { nearest: Some(name), .. }
            | Self::UnknownRolesSystem { nearest: Some(name), .. }
            | Self::UnknownRole { nearest: Some(name), .. } => format!("did you mean `{name}`?"),
            Self::UnknownSystem { nearest: None, .. } => {
                "`portcullis catalog list` shows what there is".to_owned()
            }
            Self::WithoutSystem { candidates, .. } if candidates.is_empty() => {
                "`portcullis catalog list` shows every role that is built in".to_owned()
            }
            Self::WithoutSystem { candidates, .. } => format!("write {}", listed(candidates, " or ")),
            Self::UnknownRolesSystem { system, nearest: None, .. } => format!(
                "if a catalog file of yours has it, name that file at the top of the policy, as \
                 `catalog = [\"{system}.toml\"]`; `portcullis catalog list` shows what is built in"
            ),
            Self::UnknownRole { roles, nearest: None, .. } => {
                format!("its system has {}", listed(roles, ", "))
            }
        }
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(problem) => problem.fmt(f),
            _ => write!(f, "{}: {}", self.what(), self.help()),
        }
    }
}

/// Names in quotation marks; not too many of them.
fn listed(names: &[String], between: &str) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between);
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
