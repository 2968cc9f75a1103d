//! Settings: ports that an administrator can move, with their default and their bounds.
//!
//! In comes a row with a setting's name, default, minimum and maximum; out comes a requirement whose port
//! is the default and whose parameter is the setting. Invariant: a setting is about ports only if its name
//! or its description says so; a table of time-outs yields nothing.

use super::columns::Column;
use super::fold::Folded;
use super::import::Import;
use super::statement::{Statement, report};
use super::tables::{Context, shown};
use super::vocabulary::PortWord;
use super::{Diagnostic, Parameter, Ports};
use crate::document::{Cell, Row};

/// Reads one row of settings.
pub(crate) fn read(row: &Row, context: &Context<'_>, import: &mut Import) {
    let readings = context.readings;
    let cell = |kind: Column| {
        context.layout.position(kind).and_then(|at| row.cells.get(at)).map(Cell::one_line).unwrap_or_default()
    };
    let (name, default) = (cell(Column::Parameter), cell(Column::Default));
    let others = [Column::Service, Column::Role, Column::Feature, Column::Note].map(cell);
    let [service, role, ..] = &others;
    let describes = |text: &String| {
        readings.words.ports.find(&Folded::new(text)).iter().any(|found| found.meaning == PortWord::Port)
    };
    let about_ports = Folded::new(&name).as_str().contains("port")
        || others.iter().any(describes)
        || context.layout.headers.iter().any(describes);
    if !about_ports {
        return;
    }
    let expression = readings.ports(&default);
    report(&expression, row.line, || shown(row), import);
    let ports: Vec<Ports> = expression.groups.iter().flat_map(|group| group.ports.iter().copied()).collect();
    if !expression.is_complete() || ports.is_empty() {
        if !default.is_empty() && default.chars().any(|c| c.is_ascii_digit()) {
            import.diagnostics.push(Diagnostic::new(
                row.line,
                &shown(row),
                "the default of this setting is no port: write it as `5350` or `5350-5353`",
            ));
        }
        return;
    }
    let bound = |kind: Column| cell(kind).replace([' ', ',', '.', '\u{a0}'], "").parse::<u16>().ok();
    let parameter = match (bound(Column::Minimum), bound(Column::Maximum)) {
        (None, None) => None,
        (min, max) => Some(Parameter {
            name: name.clone(),
            default: ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            min: min.unwrap_or(1),
            max: max.unwrap_or(u16::MAX),
        }),
    };
    let mut notes: Vec<String> = others[2..].iter().filter(|text| !text.is_empty()).cloned().collect();
    if parameter.is_none() && !name.is_empty() {
        notes.push(format!("setting {name}"));
    }
    let protocols = readings.protocols(&cell(Column::Protocol)).protocols();
    let scope = context.scope;
    let statement = Statement {
        line: row.line,
        table: context.name.to_owned(),
        role: if role.is_empty() {
            scope.captioned_role.clone().or_else(|| scope.heading_role.clone()).unwrap_or_default()
        } else {
            role.clone()
        },
        service: if parameter.is_none() && service.is_empty() { name } else { service.clone() },
        parameter,
        notes,
        flags: vec!["configurable"],
        ..Statement::default()
    };
    let groups = expression.groups.iter().map(|group| {
        let mut group = group.clone();
        if group.protocols.is_empty() {
            group.protocols.clone_from(&protocols);
        }
        group
    });
    statement.state(groups.collect(), scope, readings, import);
}
