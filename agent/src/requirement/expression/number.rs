//! Numbers: digits to a value, and whether a mark between digits groups thousands or parts two ports.
//!
//! In comes folded text and the place of a digit; out comes a [`Number`] and where it ends. Evidence
//! decides, in this order: a group that begins with 0 is no port; the other end of a range is written
//! alike; the value fits 65535; one reading consists of ports that documents list often. Invariant: a
//! choice without evidence is marked, so that it gets reported.

use super::token::{Kind, Token};
use crate::requirement::vocabulary::{PortWord, Vocabulary};

/// Digits, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Number {
    /// The value, at most [`u32::MAX`].
    pub(super) value: u32,
    /// End in the folded text.
    pub(super) end: usize,
    /// The mark that groups its thousands.
    pub(super) mark: Option<char>,
    /// The other reading, where the evidence does not decide.
    pub(super) doubt: Option<Vec<u32>>,
    /// An address, a version or a date: no port.
    pub(super) foreign: bool,
}

/// Longest text between the two ends of a range: ` up to `.
const RANGE_GAP: usize = 12;

/// Reads the number that begins at `at`; `before` are the tokens to its left.
pub(super) fn lex(text: &str, at: usize, before: &[Token], words: &Vocabulary) -> Number {
    let end = at + digits(&text[at..]);
    let value = text[at..end].parse().unwrap_or(u32::MAX);
    let number = Number { value, end, mark: None, doubt: None, foreign: false };
    if let Some(end) = dotted(text, at, end) {
        return Number { end, foreign: true, ..number };
    }
    let Some((mark, joined, group, group_end)) = grouped(text, at, end) else {
        return decimal(text, end).map_or(number.clone(), |end| Number { end, foreign: true, ..number });
    };
    let apart = Number { doubt: None, ..number.clone() };
    let together = Number { value: joined, end: group_end, mark: Some(mark), doubt: None, foreign: false };
    if joined > 65_535 {
        return apart;
    }
    let in_range = range_goes_on(text, group_end, mark) || began_alike(before, mark);
    if group.starts_with('0') || matches!(mark, '\'' | '’' | '.') || in_range {
        return together;
    }
    let second = group.parse().unwrap_or(u32::MAX);
    let (parts, whole) = (words.is_known(value) && words.is_known(second), words.is_known(joined));
    match (parts, whole) {
        (true, false) => apart,
        (false, true) => together,
        // `1,433` lists no port 1 and `10,102` no port 10; `5 222` with a space is how many languages
        // group.
        _ if end - at == 1 || mark == ' ' || !words.is_known(value) => {
            Number { doubt: (mark != ' ').then(|| vec![value, second]), ..together }
        }
        _ => Number { doubt: Some(vec![joined]), ..apart },
    }
}

/// Length of the digits at the start of `text`.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// One or two digits, a mark and exactly three digits that no further group follows.
fn grouped(text: &str, at: usize, end: usize) -> Option<(char, u32, &str, usize)> {
    if end - at > 2 || text.as_bytes()[at] == b'0' {
        return None;
    }
    let mark = text[end..].chars().next().filter(|c| matches!(c, ',' | '.' | ' ' | '\'' | '’'))?;
    let start = end + mark.len_utf8();
    if digits(&text[start..]) != 3 {
        return None;
    }
    let group_end = start + 3;
    let another = text[group_end..].strip_prefix(mark).is_some_and(|rest| digits(rest) == 3 && mark != ' ');
    let joined = format!("{}{}", &text[at..end], &text[start..group_end]).parse().ok()?;
    (!another).then_some((mark, joined, &text[start..group_end], group_end))
}

/// Whether behind `end` a range goes on to a number grouped by the same mark.
fn range_goes_on(text: &str, end: usize, mark: char) -> bool {
    let rest = &text[end..];
    let Some(gap) = rest.find(|c: char| c.is_ascii_digit()) else { return false };
    let between = rest[..gap].trim();
    let next = end + gap;
    gap <= RANGE_GAP
        && !between.is_empty()
        && !between.contains([',', ';', '\n', '/', '、', '(', ')'])
        && grouped(text, next, next + digits(&text[next..])).is_some_and(|(other, ..)| other == mark)
}

/// Whether this number ends a range that began with the same mark.
fn began_alike(before: &[Token], mark: char) -> bool {
    matches!(before, [.., Token { kind: Kind::Number(number), .. }, Token { kind: Kind::Word(PortWord::Range | PortWord::List), .. }] if number.mark == Some(mark))
}

/// The end of an IPv4 address, with its prefix length: `192.0.2.0/24`.
fn dotted(text: &str, at: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut next = end;
    for _ in 0..3 {
        if bytes.get(next) != Some(&b'.') {
            return None;
        }
        let length = digits(&text[next + 1..]);
        if length == 0 || length > 3 {
            return None;
        }
        next += 1 + length;
    }
    let prefix = text[next..].strip_prefix('/').map_or(0, digits);
    (end - at <= 3).then_some(if prefix > 0 { next + 1 + prefix } else { next })
}

/// The end of an IPv6 address at `at`, with its prefix length: `2001:db8::/32`.
pub(super) fn ipv6(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let begins = rest.starts_with("::")
        || rest.starts_with(|c: char| c.is_ascii_hexdigit())
            && rest.as_bytes()[..rest.len().min(5)].contains(&b':');
    if !begins || text[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':') {
        return None;
    }
    let length =
        rest.bytes().take_while(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')).count();
    let address = rest[..length].trim_end_matches('.');
    let end = at + address.len();
    let whole = !text[end..].starts_with(|c: char| c.is_alphanumeric());
    if address.len() <= 2 || !whole || address.parse::<std::net::Ipv6Addr>().is_err() {
        return None;
    }
    let prefix = text[end..].strip_prefix('/').map_or(0, digits);
    Some(if prefix > 0 { end + 1 + prefix } else { end })
}

/// The end of a version or a decimal: `1.2`, `5.0.1`.
fn decimal(text: &str, end: usize) -> Option<usize> {
    let rest = text[end..].strip_prefix('.')?;
    let length = digits(rest);
    (length > 0).then(|| decimal(text, end + 1 + length).unwrap_or(end + 1 + length))
}
