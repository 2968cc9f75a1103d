//! Places: where the cells of a line can begin, and how well each piece between two of them fits a column.
//!
//! In come a line and the parts of its table; out come the cuts whose pieces fit best together. Invariant: the pieces of
//! a cut follow each other without a gap, from the beginning of the line to its end.

use std::ops::Range;
use std::rc::Rc;

use super::anchors::{Kind, Part};
use super::boundaries::boundaries;
use super::digits;
use crate::requirement::Protocol;
use crate::requirement::expression::Expression;
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::PortWord;

/// Most pieces of a cell that is an anchor.
const PIECES: usize = 10;
/// What a cell of text loses that begins or ends inside of a list or a range: more than an anchor can say.
const TORN: i32 = 100;
/// Longest text that is asked whether it is a transport, in bytes.
const TRANSPORT: usize = 12;
/// Longest cell that is an anchor, in bytes.
const ANCHOR: usize = 120;

/// A line and where cells can begin in it.
pub(super) struct Places<'a> {
    text: &'a str,
    places: Vec<usize>,
    readings: &'a Readings,
}

impl<'a> Places<'a> {
    /// The places of a line.
    pub(super) fn of(text: &'a str, readings: &'a Readings) -> Self {
        Self { text, places: places(text, readings), readings }
    }

    /// How many there are, the end of the line among them.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// What stands between two of them.
    pub(super) fn piece(&self, from: usize, to: usize) -> &str {
        self.text[self.places[from]..self.places[to]].trim()
    }

    /// How well each piece fits part `at` of `parts`, by where it begins and ends: [`Self::weight`].
    pub(super) fn weights(&self, parts: &[Part], at: usize) -> Vec<Option<i32>> {
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
    pub(super) fn ports(&self, piece: &str) -> Option<Rc<Expression>> {
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
    pub(super) fn best(
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
