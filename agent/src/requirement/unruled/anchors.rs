//! Anchors: lines whose cells nothing parts, cut where ports, protocols and directions stand.
//!
//! In come a line and the columns of its table, in their order; out come its cells. What the columns of ports,
//! protocols and directions hold is known by itself, wherever it stands in a line; the text between two of them
//! belongs to the columns between them. Invariant: a line is cut only where one place alone can be its ports.

use std::ops::Range;

use super::places::Places;
use crate::requirement::Protocol;
use crate::requirement::columns::Column;
use crate::requirement::reading::Readings;

/// Most places of a line at which a cell can begin.
const PLACES: usize = 64;
/// Columns side by side that are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One that is known by what it holds.
    Anchor(Kind, usize),
    /// Columns of text, of which the first takes all.
    Text(Range<usize>),
}

impl Part {
    fn has_ports(&self) -> bool {
        matches!(self, Self::Anchor(Kind::Ports | Kind::Packed, _))
    }
}

/// What an anchor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ports,
    SourcePorts,
    /// Several columns with slashes between them, the ports last.
    Packed,
    Protocol,
    Direction,
    /// The number of the row.
    Number,
}

/// The columns as anchors and the text between them; `None` where a column of another kind holds numbers too, or
/// where not one column alone holds ports.
pub(super) fn parts(columns: &[Column]) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = vec![];
    for (at, column) in columns.iter().enumerate() {
        let kind = match column {
            Column::Ports | Column::DestinationPorts => Kind::Ports,
            Column::SourcePorts => Kind::SourcePorts,
            Column::Packed => Kind::Packed,
            Column::Protocol | Column::Transport => Kind::Protocol,
            Column::Direction => Kind::Direction,
            Column::Number => Kind::Number,
            Column::Default
            | Column::DefaultPort
            | Column::Minimum
            | Column::Maximum
            | Column::InnerPort
            | Column::Url
            | Column::Parties
            | Column::TransposedParties => return None,
            _ => {
                match parts.last_mut() {
                    Some(Part::Text(range)) => range.end = at + 1,
                    _ => parts.push(Part::Text(at..at + 1)),
                }
                continue;
            }
        };
        parts.push(Part::Anchor(kind, at));
    }
    let ports = parts.iter().filter(|part| part.has_ports()).count();
    (ports == 1).then_some(parts)
}

/// Whether a column holds text, which nothing but what stands beside it tells.
pub(super) fn is_text(column: &Column) -> bool {
    matches!(parts(&[*column, Column::Ports]).as_deref(), Some([Part::Text(_), _]))
}

/// What a line is to a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A row: the text of each part.
    Row(Vec<String>),
    /// Nothing in it can be ports.
    Portless,
    /// As a row, but the transport that the table has for each port is missing.
    Bare(Vec<String>),
    /// It may have ports, but where is not certain.
    Uncertain,
}

/// Cuts `text` into a piece for each of `parts`.
pub(super) fn cut(text: &str, parts: &[Part], readings: &Readings) -> Line {
    let line = Places::of(text, readings);
    if line.count() > PLACES {
        return Line::Uncertain;
    }
    if line.count() < 2 {
        return Line::Portless;
    }
    let Some(ports) = parts.iter().position(Part::has_ports) else {
        return Line::Uncertain;
    };
    let weights: Vec<Vec<Option<i32>>> = (0..parts.len()).map(|part| line.weights(parts, part)).collect();
    let Some((best, cuts)) = line.best(&weights, None) else { return Line::Uncertain };
    let found = cuts[ports].clone();
    // Another place for the ports that fits as well leaves them in doubt.
    if !found.is_empty() && line.best(&weights, Some((ports, &found))).is_some_and(|(other, _)| other >= best)
    {
        return Line::Uncertain;
    }
    let cells: Vec<String> = cuts.into_iter().map(|cut| line.piece(cut.start, cut.end).to_owned()).collect();
    let protocols =
        parts.iter().zip(&cells).filter(|(part, _)| matches!(part, Part::Anchor(Kind::Protocol, _)));
    let protocols: Vec<_> = protocols.map(|(_, cell)| readings.protocols(cell)).collect();
    let stated = protocols.iter().any(|read| read.is_complete() && read.named().next().is_some());
    let portless = stated && protocols.iter().flat_map(|read| read.named()).all(Protocol::is_portless);
    if matches!(parts[ports], Part::Anchor(Kind::Packed, _)) {
        return if found.is_empty() { Line::Portless } else { Line::Row(cells) };
    }
    match line.ports(&cells[ports]) {
        // A sentence can speak of `ICMP type 3` too.
        _ if portless && has_sentence(text) => Line::Portless,
        None if portless => Line::Row(cells),
        None if speaks_of_transport(text) => Line::Uncertain,
        None => Line::Portless,
        // Words for ports (`any`, `dynamic`) count only beside a transport.
        Some(read) if !read.has_numbers() && !stated => Line::Portless,
        Some(read) if stated || read.has_protocols() => Line::Row(cells),
        Some(_) if protocols.iter().any(|read| read.is_complete() && read.has_protocols()) => {
            Line::Row(cells)
        }
        // The transport stands beside another number.
        Some(_) if speaks_of_transport(text) => Line::Uncertain,
        Some(_) => Line::Bare(cells),
    }
}

/// Whether a text has a digit and names TCP or UDP, be it inside of a word.
pub(super) fn speaks_of_transport(text: &str) -> bool {
    let transport = |three: &[u8]| three.eq_ignore_ascii_case(b"tcp") || three.eq_ignore_ascii_case(b"udp");
    let bytes = text.as_bytes();
    let mut ends = memchr::memchr2_iter(b'p', b'P', bytes);
    bytes.iter().any(u8::is_ascii_digit) && ends.any(|end| end >= 2 && transport(&bytes[end - 2..=end]))
}

/// Whether a sentence ends in a text.
fn has_sentence(text: &str) -> bool {
    text.trim_end().ends_with(['.', '。']) || text.contains(". ") || text.contains(".\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::vocabulary::Vocabulary;

    fn cuts(columns: &[Column], text: &str) -> String {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        match cut(text, &parts(columns).expect("one column of ports"), &readings) {
            Line::Row(cells) => cells.join("|"),
            Line::Bare(cells) => format!("bare {}", cells.join("|")),
            Line::Portless => "portless".to_owned(),
            Line::Uncertain => "uncertain".to_owned(),
        }
    }

    #[test]
    fn ports_and_protocols_tell_where_cells_end() {
        use Column::{Direction, Note, Packed, Ports, Protocol, Service, Source, SourcePorts};
        let usual = &[Service, Protocol, Ports, Note][..];
        for (columns, text, expected) in [
            (usual, "Media Relay UDP 50000-59999 RTP media", "Media Relay|UDP|50000-59999|RTP media"),
            (
                usual,
                "Media ServerTCP (TLS)5061Used by 3 nodes",
                "Media Server|TCP (TLS)|5061|Used by 3 nodes",
            ),
            (usual, "DNSTCP/UDP53Names of 2019", "DNS|TCP/UDP|53|Names of 2019"),
            (usual, "H.323 gate TCP 1720 calls", "H.323 gate|TCP|1720|calls"),
            (usual, "Store TCP 80, 443 and 8080 pages", "Store|TCP|80, 443 and 8080|pages"),
            (usual, "Reachability ICMP of all nodes", "Reachability|ICMP||of all nodes"),
            (usual, "Any device UDP 514 logs", "Any device|UDP|514|logs"),
            (usual, "Store TCP any pages", "Store|TCP|any|pages"),
            (usual, "Store 443 pages", "bare Store||443|pages"),
            (usual, "goes on over all nodes", "portless"),
            (usual, "", "portless"),
            (usual, "Store TCP 70000 pages", "uncertain"),
            (&[Ports, Protocol, Source, Note], "514 UDP Any Log store", "514|UDP|Any Log store"),
            (&[Protocol, Ports, Note], "NSTrap UDP 162 traps", "NSTrap|UDP 162|traps"),
            (&[Service, Ports, Protocol], "POP3110TCP", "POP3|110|TCP"),
            (
                &[Service, Ports, Protocol],
                "Copy 21 (control), 22 (data)TCP",
                "Copy|21 (control), 22 (data)|TCP",
            ),
            (&[Service, Ports, Note], "tide2gate20098/tcpReady", "tide2gate|20098/tcp|Ready"),
            (&[Service, Ports, Note], "tide2gate20098/tcpready", "uncertain"),
            (&[Service, Ports, Note], "Hall 7100 and room 7200 at noon", "uncertain"),
            (
                &[Source, SourcePorts, Service, Ports, Protocol, Direction],
                "Hub 1024-65535 Winch 22 TCP inbound",
                "Hub|1024-65535|Winch|22|TCP|inbound",
            ),
            (&[Packed, Note], "Edge/SIP(TLS)/TCP/5061Any caller", "Edge/SIP(TLS)/TCP/5061|Any caller"),
        ] {
            assert_eq!(cuts(columns, text), expected, "{text}");
        }
    }
}
