//! IPsec exceptions: traffic that a document excludes from IPsec.
//!
//! In come the rows of a table with rules, ends, protocols and an authentication column; out come
//! [`IpsecException`]s. They open no port and are no requirements. Invariant: what the table calls any is
//! `any` here, and ports that it only names are `named:` and their name.

use serde::{Deserialize, Serialize};

use super::columns::{Column, Layout};
use super::fold::Folded;
use super::reading::Readings;
use super::statement::settled;
use super::vocabulary::PortWord;
use super::{Direction, Ports, Protocol, title};
use crate::document::{Cell, Row};

/// One rule of an IPsec exception table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecException {
    /// 1-based line of the document.
    pub line: u32,
    /// The rule's name.
    pub rule: String,
    /// `any`, or the source's name.
    pub source: String,
    /// `any`, or the destination's name.
    pub destination: String,
    /// Protocols that the exception covers.
    pub protocols: Vec<Protocol>,
    /// Ports, or `named:` and what the document calls them.
    pub source_ports: String,
    /// Ports, or `named:` and what the document calls them.
    pub destination_ports: String,
    /// What the document demands as authentication.
    pub authentication: String,
    /// The direction in the rule's name.
    #[serde(default)]
    pub direction: Direction,
}

/// The exception that a row states.
pub(crate) fn exception(row: &Row, layout: &Layout, readings: &Readings) -> Option<IpsecException> {
    let cell = |kind: Column| {
        layout.position(kind).and_then(|at| row.cells.get(at)).map(Cell::one_line).unwrap_or_default()
    };
    let end = |kind: Column| {
        let text = cell(kind);
        let any = readings.words.ports.whole(Folded::new(&text).as_str()) == Some(PortWord::Any);
        if any { "any".to_owned() } else { text }
    };
    let ports = |kind: Column| {
        let text = cell(kind);
        let expression = readings.ports(&text);
        let ports = expression.groups.iter().flat_map(|group| &group.ports).copied();
        let ports = settled(ports.filter(|ports| *ports != Ports::Unspecified).collect());
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        if text.is_empty() || expression.is_complete() && !ports.is_empty() {
            ports.join(",")
        } else {
            format!("named:{text}")
        }
    };
    let (source, destination) = (end(Column::Source), end(Column::Destination));
    let rule = cell(Column::Rule);
    if rule.is_empty() && source.is_empty() && destination.is_empty() {
        return None;
    }
    let mut protocols = readings.protocols(&cell(Column::Protocol)).protocols();
    protocols.sort_unstable();
    Some(IpsecException {
        line: row.line,
        direction: title::direction(&rule, readings.words).unwrap_or_default(),
        rule,
        source,
        destination,
        protocols,
        source_ports: ports(Column::SourcePorts),
        destination_ports: ports(Column::Ports),
        authentication: cell(Column::Authentication),
    })
}
