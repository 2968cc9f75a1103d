//! Anchors: lines whose cells nothing parts, cut where ports, protocols and directions stand.
//!
//! In come a line and the columns of its table, in their order; out come its cells. What the columns of ports,
//! protocols and directions hold is known by itself, wherever it stands in a line; the text between two of them
//! belongs to the columns between them. Invariant: a line is cut only where one place alone can be its ports.

use std::ops::Range;
use std::rc::Rc;

use super::boundaries::boundaries;
use super::digits;
use crate::requirement::Protocol;
use crate::requirement::columns::Column;
use crate::requirement::expression::Expression;
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::PortWord;

/// Most places of a line at which a cell can begin.
const PLACES: usize = 64;
/// Most pieces of a cell that is an anchor.
const PIECES: usize = 10;
/// What a cell of text loses that begins or ends inside of a list or a range: more than an anchor can say.
const TORN: i32 = 100;
/// Longest text that is asked whether it is a transport, in bytes.
const TRANSPORT: usize = 12;
/// Longest cell that is an anchor, in bytes.
const ANCHOR: usize = 120;

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
    let protocols = columns.iter().filter(|column| is_protocol(column)).count();
    let mut parts: Vec<Part> = vec![];
    for (at, column) in columns.iter().enumerate() {
        let kind = match column {
            Column::Ports | Column::DestinationPorts => Kind::Ports,
            Column::SourcePorts => Kind::SourcePorts,
            Column::Packed => Kind::Packed,
            // `Type | Port | Protocol`: the first of two names what needs the port.
            column if is_protocol(column) && (protocols == 1 || at > 0) => Kind::Protocol,
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

fn is_protocol(column: &Column) -> bool {
    matches!(column, Column::Protocol | Column::Transport)
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
    let line = Places { text, places: places(text, readings), readings };
    if line.places.len() > PLACES {
        return Line::Uncertain;
    }
    if line.places.len() < 2 {
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

/// Where a cell can begin in `text`, and its end: [`boundaries`], but where a known name ends in digits or capitals, and
/// before the bracket that opens what it holds.
fn places(text: &str, readings: &Readings) -> Vec<usize> {
    let word = |name: &str| readings.words.ports.whole(Folded::new(name).as_str());
    let known = |name: &str| matches!(word(name), Some(PortWord::Application(_) | PortWord::Protocol(_)));
    let application = |name: &str| matches!(word(name), Some(PortWord::Application(_)));
    let mut places = vec![];
    let found = boundaries(text);
    for (at, &start) in found.iter().enumerate() {
        let end = found.get(at + 1).copied().unwrap_or(text.len());
        let piece = text[start..end].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let name = start - text[..start].rsplit(char::is_whitespace).next().map_or(0, str::len);
        if piece.bytes().all(|byte| byte.is_ascii_digit()) && name < start {
            // `POP3110`: the first digit belongs to the name.
            let named = |&cut: &usize| {
                let whole = &text[name..start + cut];
                application(whole) || ends_in_name(whole, application)
            };
            let cut = digits::name_and_port(piece).into_iter().find(named).unwrap_or(0);
            places.push(start + cut);
        } else {
            places.push(start);
            // `NTPNTP`: a name behind another one.
            let capitals = piece.bytes().all(|byte| byte.is_ascii_uppercase());
            let inner = (2..piece.len().saturating_sub(1)).find(|&cut| capitals && known(&piece[cut..]));
            places.extend(inner.map(|cut| start + cut));
        }
    }
    let opened = |at: usize| text[..at].trim_end_matches(['(', '（', '[', '"', '„', '“', '«', '「']).len();
    places.iter_mut().for_each(|at| *at = opened(*at));
    places.dedup();
    if let Some(first) = places.first_mut() {
        *first = 0;
        places.push(text.len());
    }
    places
}

/// Whether capitals at the end of `text` are a known name with the digits behind them.
fn ends_in_name(text: &str, known: impl Fn(&str) -> bool) -> bool {
    let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = letters.len() - letters.bytes().rev().take_while(u8::is_ascii_uppercase).count();
    name < letters.len() && known(&text[name..])
}

/// A line and where cells can begin in it.
struct Places<'a> {
    text: &'a str,
    places: Vec<usize>,
    readings: &'a Readings,
}

impl Places<'_> {
    fn piece(&self, from: usize, to: usize) -> &str {
        self.text[self.places[from]..self.places[to]].trim()
    }

    /// How well each piece fits part `at` of `parts`, by where it begins and ends: [`Self::weight`].
    fn weights(&self, parts: &[Part], at: usize) -> Vec<Option<i32>> {
        let part = &parts[at];
        let text = |at: Option<usize>| {
            at.and_then(|at| parts.get(at)).is_some_and(|part| matches!(part, Part::Text(_)))
        };
        // No column of text beside it could have the words.
        let free = matches!(part, Part::Anchor(Kind::Protocol, _))
            && !text(at.checked_sub(1))
            && !text(Some(at + 1));
        let count = self.places.len();
        let mut weights = vec![None; count * count];
        for from in 0..count {
            let last = if matches!(part, Part::Text(_)) { count - 1 } else { (from + PIECES).min(count - 1) };
            for to in from..=last {
                let piece = self.piece(from, to);
                weights[from * count + to] = match (part, self.tears(from, to)) {
                    (Part::Anchor(..), true) => None,
                    (_, torn) => {
                        let weight = self
                            .weight(part, piece)
                            .or_else(|| (free && piece.len() <= ANCHOR).then_some(15));
                        weight.map(|weight| if torn { weight - TORN } else { weight })
                    }
                };
            }
        }
        weights
    }

    /// What a cell of ports says.
    fn ports(&self, piece: &str) -> Option<Rc<Expression>> {
        self.readings.remarked(piece).filter(|read| read.has_ports() && read.problems.is_empty())
    }

    /// Whether a piece begins or ends inside of a list, a range or brackets.
    fn tears(&self, from: usize, to: usize) -> bool {
        let joins = |at: usize| {
            let (before, behind) = (&self.text[..self.places[at]], &self.text[self.places[at]..]);
            let number = behind.starts_with(char::is_numeric);
            before.trim_end().ends_with(['/', '-', '–', '~', '～', '&'])
                || number && before.trim_end().ends_with([',', '、', '，', ';'])
                || number && before.ends_with('.')
                || behind.starts_with(['(', '（', '[', '/', '-', ','])
        };
        from < to && (from > 0 && joins(from) || to + 1 < self.places.len() && joins(to))
    }

    /// How well a piece fits a part; `None` where it cannot be one. Of anchors that say the same, the one with the
    /// fewest words fits best: `server` in `Media Server TCP` belongs to the text.
    fn weight(&self, part: &Part, piece: &str) -> Option<i32> {
        let readings = self.readings;
        let few = |count: usize| i32::try_from(count.min(4)).unwrap_or(4) * 10;
        let said = match part {
            // Protocols without ports have none.
            Part::Anchor(Kind::Ports, _) if piece.is_empty() => return Some(-40),
            _ if piece.is_empty() => return Some(0),
            // `TCP` alone is no text.
            Part::Text(_) if piece.len() <= TRANSPORT && !piece.contains(char::is_lowercase) => {
                let read = readings.protocols(piece);
                return Some(if read.is_complete() && read.named().next().is_some() { -20 } else { 20 });
            }
            Part::Text(_) => return Some(20),
            // Most pieces hold a word that no anchor has.
            Part::Anchor(kind, _)
                if piece.len() > ANCHOR
                    || *kind == Kind::Protocol && readings.words.port_words.are_exceeded_by(piece) =>
            {
                return None;
            }
            Part::Anchor(Kind::Ports, _) => {
                let read = self.ports(piece)?;
                let numbers = piece.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
                // An application behind the ports more likely begins what is said about them.
                let applications = read.groups.iter().map(|group| group.applications.len()).sum::<usize>();
                // A lone digit is more often a part of a name.
                let sure = match read.has_numbers() {
                    true if piece.len() > 1 => 100,
                    true => 70,
                    false => 30,
                };
                // A transport is in its own column first.
                Some(sure + few(numbers.count()) + few(read.protocols().len()) / 2 - few(applications))
            }
            Part::Anchor(Kind::SourcePorts, _) => {
                let read = self.ports(piece)?;
                (!read.has_protocols()).then_some(if read.has_numbers() { 60 } else { 40 })
            }
            Part::Anchor(Kind::Packed, _) => {
                let mut parts = piece.rsplit('/').map(str::trim);
                let ports = self.ports(parts.next()?).filter(|read| read.has_numbers())?;
                let protocol = readings.protocols(parts.next()?);
                let packed = parts.next().is_some() && protocol.named().next().is_some();
                (packed && ports.protocols().is_empty()).then_some(150)
            }
            Part::Anchor(Kind::Protocol, _) => {
                let read = readings.protocols(piece);
                // `UDP any device`
                let named = read.named().filter(|protocol| *protocol != Protocol::Any).count();
                let complete =
                    read.is_complete() && read.has_protocols() && piece.starts_with(char::is_alphabetic);
                complete.then(|| if named > 0 { 60 + few(named) } else { 40 })
            }
            Part::Anchor(Kind::Direction, _) => {
                readings.words.flow_cells.whole_of(piece).is_some().then_some(50)
            }
            Part::Anchor(Kind::Number, _) => {
                (piece.len() < 4 && piece.bytes().all(|byte| byte.is_ascii_digit())).then_some(40)
            }
        }?;
        let words = piece.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).count();
        Some(said - i32::try_from(words.min(9)).unwrap_or(9))
    }

    /// The cuts whose pieces fit best, and how well, one for each part; the ports nowhere in the cut that is given
    /// with their part.
    fn best(
        &self,
        weights: &[Vec<Option<i32>>],
        but: Option<(usize, &Range<usize>)>,
    ) -> Option<(i32, Vec<Range<usize>>)> {
        let count = self.places.len();
        // For each place, how well the parts from this one on fit what follows it, and where this one ends.
        let mut rest: Vec<Option<i32>> = (0..count).map(|at| (at == count - 1).then_some(0)).collect();
        let mut ends: Vec<Vec<usize>> = vec![vec![0; count]; weights.len()];
        for part in (0..weights.len()).rev() {
            let free = |from: usize, to: usize| {
                but.is_none_or(|(ports, cut)| part != ports || to <= cut.start || from >= cut.end)
            };
            let mut own = vec![None; count];
            for from in 0..count {
                for to in (from..count).filter(|&to| free(from, to)) {
                    let (Some(weight), Some(behind)) = (weights[part][from * count + to], rest[to]) else {
                        continue;
                    };
                    if own[from].is_none_or(|best| weight + behind > best) {
                        own[from] = Some(weight + behind);
                        ends[part][from] = to;
                    }
                }
            }
            rest = own;
        }
        let best = rest[0]?;
        let mut at = 0;
        let cuts = ends.iter().map(|ends| {
            let cut = at..ends[at];
            at = cut.end;
            cut
        });
        Some((best, cuts.collect()))
    }
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
