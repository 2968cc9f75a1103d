//! `portcullis catalog`: what systems and roles there are, and what a role requires.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Outcome,
    output::json,
    policy::{self, Reading},
    table,
};
use crate::catalog::{Catalog, DocumentInfo, Role, RowView, System};
use crate::requirement::{Direction, IpsecException, Name, Requirement};
use crate::terminal::{Escaped, shown};

/// Shows the catalog.
#[derive(Debug, Args)]
pub(super) struct CatalogArgs {
    #[command(subcommand)]
    action: Action,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Further catalog files.
    #[arg(long, global = true, value_name = "FILE")]
    catalog: Vec<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List systems and their roles.
    List,
    /// Show what a system or a role requires.
    Show {
        /// `system` or `system/role`.
        name: String,
    },
}

/// Longest cell of a table for people.
const CELL: usize = 48;

#[derive(Serialize)]
struct SystemJson<'a> {
    system: &'a str,
    title: &'a str,
    documents: Vec<&'a DocumentInfo>,
    roles: Vec<RoleJson<'a>>,
    names: Vec<&'a Name>,
    ipsec_exceptions: Vec<&'a IpsecException>,
}

#[derive(Serialize)]
struct RoleJson<'a> {
    role: String,
    title: &'a str,
    documented: &'a [String],
    inherits: &'a [String],
    #[serde(rename = "abstract")]
    is_abstract: bool,
    requirements: Vec<RowJson<'a>>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    document: &'a str,
    declared_by: &'a str,
    #[serde(flatten)]
    requirement: &'a Requirement,
}

/// Runs the command.
///
/// # Errors
///
/// Where a name does not exist, a file is wrong, or the output cannot be written.
pub(super) fn run(args: &CatalogArgs, out: &mut Escaped<impl Write>) -> anyhow::Result<Outcome> {
    let mut catalog = Catalog::builtin();
    for path in &args.catalog {
        catalog.add(read(path)?);
    }
    match &args.action {
        Action::List if args.json => {
            let systems: Vec<SystemJson<'_>> = catalog.systems().iter().map(system_json).collect();
            json(out, &serde_json::json!({ "systems": systems }))?;
        }
        Action::List => list(&catalog, out)?,
        Action::Show { name } if name.contains('/') => {
            let view = catalog.role(name)?;
            if args.json {
                json(out, &role_json(view.system(), view.role()))?;
            } else {
                show_role(view.system(), view.role(), out)?;
            }
        }
        Action::Show { name } => {
            let system = catalog.system(name)?;
            if args.json { json(out, &system_json(system))? } else { show_system(system, out)? }
        }
    }
    Ok(Outcome::Done)
}

/// Reads a catalog file.
///
/// # Errors
///
/// Where it cannot be read or is wrong.
pub(super) fn read(path: &std::path::Path) -> anyhow::Result<System> {
    let text = policy::text_of(path, Reading::Anything)?;
    Ok(Catalog::parse_system(&text, &path.to_string_lossy())?)
}

fn rows<'a>(system: &'a System, role: &'a Role) -> Vec<RowView<'a>> {
    system.role(&role.name).map(|view| view.requirements()).unwrap_or_default()
}

fn system_json(system: &System) -> SystemJson<'_> {
    SystemJson {
        system: &system.name,
        title: &system.title,
        documents: system.documents.iter().map(|document| &document.info).collect(),
        roles: system.roles.iter().map(|role| role_json(system, role)).collect(),
        names: system.names.iter().map(|name| &name.item).collect(),
        ipsec_exceptions: system.ipsec_exceptions.iter().map(|exception| &exception.item).collect(),
    }
}

fn role_json<'a>(system: &'a System, role: &'a Role) -> RoleJson<'a> {
    let row = |row: RowView<'a>| RowJson {
        document: &row.document.id,
        declared_by: &row.role.name,
        requirement: row.requirement,
    };
    RoleJson {
        role: format!("{}/{}", system.name, role.name),
        title: &role.title,
        documented: &role.documented,
        inherits: &role.inherits,
        is_abstract: role.is_abstract,
        requirements: rows(system, role).into_iter().map(row).collect(),
    }
}

fn list(catalog: &Catalog, out: &mut impl Write) -> anyhow::Result<()> {
    let mut lines = vec![];
    for system in catalog.systems() {
        for role in &system.roles {
            let kind = if role.is_abstract { "inherited by others" } else { "" };
            lines.push(vec![
                format!("{}/{}", system.name, role.name),
                rows(system, role).len().to_string(),
                role.title.clone(),
                kind.to_owned(),
            ]);
        }
    }
    table::write(out, &["ROLE", "ROWS", "TITLE", ""], &lines)?;
    Ok(())
}

fn show_system(system: &System, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{} ({})", shown(&system.title), shown(&system.name))?;
    for document in &system.documents {
        writeln!(
            out,
            "  document {}: {} [{}] {} sha256 {}",
            shown(&document.info.id),
            shown(&document.info.title),
            shown(&document.info.language),
            shown(&document.info.file),
            shown(&document.info.sha256)
        )?;
    }
    for role in &system.roles {
        writeln!(out)?;
        show_role(system, role, out)?;
    }
    if !system.names.is_empty() {
        writeln!(out, "\naddresses")?;
        let lines: Vec<Vec<String>> = system
            .names
            .iter()
            .map(|name| {
                let port = name.item.port.map_or_else(String::new, |port| port.to_string());
                vec![
                    origin(system, name.document, name.item.line),
                    name.item.scheme.clone(),
                    name.item.host.clone(),
                    port,
                    short(&name.item.purpose),
                ]
            })
            .collect();
        table::write(out, &["LINE", "SCHEME", "HOST", "PORT", "PURPOSE"], &lines)?;
    }
    if !system.ipsec_exceptions.is_empty() {
        writeln!(out, "\nIPsec exceptions")?;
        let lines: Vec<Vec<String>> = system
            .ipsec_exceptions
            .iter()
            .map(|exception| {
                let item = &exception.item;
                let protocols: Vec<String> = item.protocols.iter().map(ToString::to_string).collect();
                vec![
                    origin(system, exception.document, item.line),
                    item.rule.clone(),
                    item.source.clone(),
                    item.destination.clone(),
                    protocols.join(","),
                    item.source_ports.clone(),
                    item.destination_ports.clone(),
                ]
            })
            .collect();
        table::write(
            out,
            &["LINE", "RULE", "SOURCE", "DESTINATION", "PROTOCOL", "FROM PORT", "TO PORT"],
            &lines,
        )?;
    }
    Ok(())
}

fn show_role(system: &System, role: &Role, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}/{}: {}", shown(&system.name), shown(&role.name), shown(&role.title))?;
    for name in &role.documented {
        writeln!(out, "  documented as {}", shown(name))?;
    }
    if !role.inherits.is_empty() {
        writeln!(out, "  inherits {}", shown(&role.inherits.join(", ")))?;
    }
    let lines: Vec<Vec<String>> = rows(system, role)
        .into_iter()
        .map(|row| {
            let requirement = row.requirement;
            let join = |items: Vec<String>| items.join(",");
            let declared = if row.role.name == role.name { String::new() } else { row.role.name.clone() };
            vec![
                format!("{}:{}", row.document.id, requirement.line),
                join(requirement.protocols.iter().map(ToString::to_string).collect()),
                join(requirement.ports.iter().map(ToString::to_string).collect()),
                direction(requirement.direction).to_owned(),
                requirement.application.clone().unwrap_or_default(),
                short(&requirement.service),
                declared,
            ]
        })
        .collect();
    table::write(
        out,
        &["LINE", "PROTOCOL", "PORTS", "DIRECTION", "APPLICATION", "SERVICE", "INHERITED FROM"],
        &lines,
    )?;
    Ok(())
}

fn origin(system: &System, document: usize, line: u32) -> String {
    system
        .documents
        .get(document)
        .map_or_else(|| line.to_string(), |document| format!("{}:{line}", document.info.id))
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Both => "both",
        Direction::Unknown => "",
    }
}

/// A text cut to the width of a cell.
fn short(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
