//! Shapes: what only the whole table tells.
//!
//! In come the columns as their headers and cells alone make them; out come the columns as they stand side by
//! side, and the table's [`Shape`]. Invariant: a table without ports and addresses has none.

use super::Column;
use super::content::Content;
use crate::requirement::Direction;

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One requirement a row.
    Ports,
    /// Sources down, destinations across, or the other way round.
    Matrix { transposed: bool, parties: bool },
    /// Settings that move ports.
    Settings,
    /// Addresses to reach.
    Names,
    /// Traffic that IPsec leaves alone.
    Ipsec,
}

/// Ports below `Inbound` or `Outbound` alone, beside a column of protocols or with their own.
pub(super) fn fill_from_flow(columns: &mut [Column], directions: &[Option<Direction>], contents: &[Content]) {
    let transports = columns.contains(&Column::Protocol);
    for ((column, direction), content) in columns.iter_mut().zip(directions).zip(contents) {
        let one_way = matches!(direction, Some(Direction::Inbound | Direction::Outbound));
        if one_way
            && matches!(column, Column::Other | Column::Direction)
            && content.most(content.ports)
            && content.numbers > 0
            && (transports || content.transported > 0)
        {
            *column = Column::Ports;
        }
    }
}

/// `Inbound | Outbound`: a direction heads the ports that go that way.
pub(super) fn fill_from_direction(
    columns: &mut [Column],
    directions: &[Option<Direction>],
    contents: &[Content],
) {
    for ((column, direction), content) in columns.iter_mut().zip(directions).zip(contents) {
        let ports = content.filled > 0 && content.transported * 3 >= content.filled * 2;
        if direction.is_some() && *column == Column::Other && ports {
            *column = Column::Ports;
        }
    }
}

/// Gives columns without a telling header the kind of their cells.
pub(super) fn fill_from_content(
    columns: &mut [Column],
    found: &[Vec<Column>],
    contents: &[Content],
    headed: bool,
) {
    let has = |columns: &[Column], kind: &Column| columns.contains(kind);
    let has_ports = |columns: &[Column]| {
        columns.iter().any(|column| {
            matches!(
                column,
                Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Packed | Column::Default
            )
        })
    };
    for at in 0..columns.len() {
        let (content, free) = (&contents[at], matches!(columns[at], Column::Other));
        if free && content.most(content.protocols) && !has(columns, &Column::Protocol) && content.urls == 0 {
            columns[at] = Column::Protocol;
        } else if free && content.most(content.flows) && !has(columns, &Column::Direction) {
            columns[at] = Column::Direction;
        } else if free && content.most(content.urls) && !has(columns, &Column::Url) {
            columns[at] = Column::Url;
        }
    }
    if has_ports(columns) {
        return;
    }
    let ends = has(columns, &Column::Source) && has(columns, &Column::Destination);
    let proven = |at: usize, content: &Content, columns: &[Column]| {
        let free = matches!(
            columns[at],
            Column::Other
                | Column::Service
                | Column::Feature
                | Column::Note
                | Column::Application
                | Column::Protocol
        );
        // A rule of a packet filter may name its service instead: those rows are reported.
        let rules = has(columns, &Column::Action) && ends;
        free && content.transported > 0 && (rules || content.transported * 3 >= content.filled * 2)
    };
    if let Some(at) = (0..columns.len()).find(|&at| proven(at, &contents[at], columns)) {
        columns[at] = Column::Ports;
        return;
    }
    // Bare numbers are ports only beside a column of protocols.
    if has(columns, &Column::Protocol) || !headed {
        let numbers = (0..columns.len()).find(|&at| {
            let content = &contents[at];
            let free = columns[at] == Column::Other
                && !found[at].iter().any(|word| matches!(word, Column::Other | Column::Hardware));
            free && content.filled > 0
                && content.numbers * 3 >= content.filled * 2
                && (has(columns, &Column::Protocol) || content.transported > 0)
        });
        if let Some(at) = numbers {
            columns[at] = Column::Ports;
        }
    }
}

/// The shape of a table with these columns.
pub(super) fn shape(
    columns: &[Column],
    found: &[Vec<Column>],
    headers: &[String],
    contents: &[Content],
    ipsec: bool,
) -> Option<Shape> {
    let has = |kind: &Column| columns.contains(kind);
    let ends = has(&Column::Source) && has(&Column::Destination);
    // How somebody logs in is asked of many ends; rules and titles speak of IPsec.
    let (rule, authentication) = (has(&Column::Rule), has(&Column::Authentication));
    if ends && (rule && authentication || ipsec && (rule || authentication)) {
        return Some(Shape::Ipsec);
    }
    if let Some(matrix) = matrix(columns, found, contents) {
        return Some(matrix);
    }
    let bounds = has(&Column::Minimum) || has(&Column::Maximum);
    if has(&Column::Default) && (bounds || has(&Column::Parameter)) {
        return Some(Shape::Settings);
    }
    let holds_ports = |at: usize| {
        let content = &contents[at];
        match &columns[at] {
            Column::Ports | Column::TcpPorts | Column::UdpPorts => {
                content.some_ports > 0 || has(&Column::Protocol) && content.filled == 0
            }
            Column::Packed => content.filled > 0,
            _ => false,
        }
    };
    let portless = has(&Column::Protocol)
        && headers.len() > 1
        && found.iter().flatten().any(|word| *word == Column::Ports);
    let flagged =
        columns.iter().filter(|column| matches!(column, Column::TcpPorts | Column::UdpPorts)).count() == 2
            && has(&Column::Ports);
    if (0..columns.len()).any(holds_ports) || portless || flagged {
        return Some(Shape::Ports);
    }
    let addresses = (0..columns.len()).any(|at| {
        contents[at].most(contents[at].urls)
            && matches!(columns[at], Column::Url | Column::Other | Column::Destination | Column::Service)
    });
    addresses.then_some(Shape::Names)
}

/// Ports below several columns that are no ports by their headers: a matrix.
fn matrix(columns: &[Column], found: &[Vec<Column>], contents: &[Content]) -> Option<Shape> {
    let corner = found.first()?;
    let sources_across = corner.contains(&Column::TransposedParties);
    let parties = corner.contains(&Column::Parties) || sources_across;
    let known = columns.iter().skip(1).any(|column| {
        matches!(
            column,
            Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Protocol | Column::Packed
        )
    });
    let full = |content: &Content| content.filled > 0 && content.transported * 2 >= content.filled;
    let across = contents.iter().skip(1).filter(|content| full(content)).count();
    (parties && across >= 1 || !known && across >= 2 || across >= 3 && across * 2 >= contents.len())
        .then_some(Shape::Matrix { transposed: sources_across, parties })
}

/// Settles what only the whole table tells: what names a row, and where its ports are.
pub(super) fn settle(columns: &mut [Column], headers: &[String], role_stated: bool) {
    let count = |columns: &[Column], kind: &Column| columns.iter().filter(|&column| column == kind).count();
    // `Component A | → | Component B`: an arrow between two names tells who begins.
    if let Some(at) =
        columns.windows(3).position(|three| three == [Column::Role, Column::Direction, Column::Role])
    {
        (columns[at], columns[at + 2]) = (Column::Source, Column::Destination);
    }
    let named = count(columns, &Column::Role) > 0 || role_stated;
    let first = columns.iter().position(|column| !matches!(column, Column::Required | Column::Direction));
    if let (false, Some(first)) = (named, first)
        && columns[first] == Column::Feature
    {
        columns[first] = Column::Role;
    }
    // The leftmost text column names the row where no header does.
    let text =
        count(columns, &Column::Role) + count(columns, &Column::Service) + count(columns, &Column::Feature)
            > 0;
    if let (false, Some(first)) = (text, first) {
        // Without any header, what stands behind the ports names them: `8403  TCP  tunnel`.
        let unheaded =
            (0..columns.len()).find(|&at| columns[at] == Column::Other && headers[at].trim().is_empty());
        let names = if columns[first] == Column::Other { Some(first) } else { unheaded };
        if let Some(names) = names {
            columns[names] = Column::Service;
        }
    }
    if count(columns, &Column::Service) == 0
        && let Some(feature) = columns.iter().position(|column| *column == Column::Feature)
    {
        columns[feature] = Column::Service;
    }
    for column in columns.iter_mut().filter(|column| **column == Column::Feature) {
        *column = Column::Note;
    }
}
