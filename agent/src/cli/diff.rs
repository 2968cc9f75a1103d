//! `portcullis diff`: which ports two documents or catalogs open and close against each other.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use clap::Args;

use super::{Outcome, catalog, import, output::json, table};
use crate::catalog::{Catalog, RoleView};
use crate::requirement::Requirement;
use crate::requirement::difference::{self, ChangeKind};
use crate::terminal::Escaped;

/// Compares two documents or catalogs: which ports opened, closed or moved.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// A document, a catalog file, or a built-in `system` or `system/role`.
    old: String,
    /// The same, newer.
    new: String,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// One side of a comparison: requirements under the names of their roles.
struct Side {
    rows: Vec<(String, Requirement)>,
    /// Role names are those of a catalog.
    catalogued: bool,
}

impl Side {
    fn named(&self) -> Vec<difference::Named<'_>> {
        self.rows.iter().map(|(role, requirement)| (role.as_str(), requirement)).collect()
    }
}

/// Runs the command.
///
/// # Errors
///
/// Where a side cannot be read.
pub(super) fn run(args: &DiffArgs, out: &mut Escaped<impl Write>) -> anyhow::Result<Outcome> {
    let (mut old, mut new) = (load(&args.old)?, load(&args.new)?);
    if old.catalogued != new.catalogued {
        // A document has no catalog names: what both have is what the document calls its roles.
        for side in [&mut old, &mut new] {
            for (role, requirement) in &mut side.rows {
                requirement.role.clone_into(role);
            }
        }
    }
    align(&old, &mut new);
    let changes = difference::changes(&old.named(), &new.named());
    if args.json {
        json(out, &serde_json::json!({ "changes": changes }))?;
    } else if !changes.is_empty() {
        let rows: Vec<Vec<String>> = changes
            .iter()
            .map(|change| {
                let kind = match change.kind {
                    ChangeKind::Opened => "opened",
                    ChangeKind::Closed => "closed",
                    ChangeKind::Moved => "moved",
                };
                let ports = change
                    .moved_to
                    .as_ref()
                    .map_or_else(|| change.ports.clone(), |to| format!("{} to {to}", change.ports));
                let lines = change.lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                vec![
                    kind.to_owned(),
                    change.role.clone(),
                    change.direction.to_owned(),
                    change.protocol.clone(),
                    ports,
                    lines,
                    change.service.clone(),
                ]
            })
            .collect();
        table::write(out, &["CHANGE", "ROLE", "DIRECTION", "PROTOCOL", "PORTS", "LINES", "SERVICE"], &rows)?;
    }
    Ok(if changes.is_empty() { Outcome::Done } else { Outcome::Found })
}

/// Roles in another language, or two single roles, have no name in common: the n-th is the n-th.
fn align(old: &Side, new: &mut Side) {
    let names = |side: &Side| unique(side.rows.iter().map(|(role, _)| role.clone()));
    let (before, after) = (names(old), names(new));
    if before.len() != after.len() || before.iter().any(|role| after.contains(role)) {
        return;
    }
    for (role, _) in &mut new.rows {
        if let Some(at) = after.iter().position(|name| name == role) {
            role.clone_from(&before[at]);
        }
    }
}

/// Each item once, in order.
fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    items.filter(|item| seen.insert(item.clone())).collect()
}

fn load(name: &str) -> anyhow::Result<Side> {
    let path = Path::new(name);
    if !path.exists() {
        let builtin = Catalog::builtin();
        if name.contains('/') {
            // One role stands for itself: what it inherits belongs to it.
            let view = builtin.role(name)?;
            let rows = view
                .requirements()
                .into_iter()
                .map(|row| (view.role().name.clone(), row.requirement.clone()));
            return Ok(Side { rows: rows.collect(), catalogued: true });
        }
        return match builtin.system(name) {
            Ok(system) => Ok(of_roles(system.roles.iter().filter_map(|role| system.role(&role.name).ok()))),
            Err(error) => bail!("{name} is neither a file nor a built-in system: {error}"),
        };
    }
    if path.extension().is_some_and(|extension| extension == "toml") {
        let system = catalog::read(path)?;
        return Ok(of_roles(system.roles.iter().filter_map(|role| system.role(&role.name).ok())));
    }
    let import = import::import(path)?;
    let role = |requirement: &Requirement| {
        if !requirement.role.is_empty() || requirement.source.is_empty() && requirement.destination.is_empty()
        {
            return requirement.role.clone();
        }
        format!("{} to {}", requirement.source, requirement.destination)
    };
    Ok(Side {
        rows: import.requirements.into_iter().map(|requirement| (role(&requirement), requirement)).collect(),
        catalogued: false,
    })
}

fn of_roles<'a>(views: impl IntoIterator<Item = RoleView<'a>>) -> Side {
    let rows = views.into_iter().flat_map(|view| {
        // Rows that another role declares are compared there.
        let own = view.requirements().into_iter().filter(move |row| row.role.name == view.role().name);
        own.map(move |row| (view.role().name.clone(), row.requirement.clone()))
    });
    Side { rows: rows.collect(), catalogued: true }
}
