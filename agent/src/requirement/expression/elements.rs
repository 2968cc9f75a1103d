//! Elements: tokens to ports, protocols and what stands between them.
//!
//! In come tokens; out come elements in the same order, ranges put together and footnote marks taken
//! out. A parenthesis is either wholly port language, or a remark of which only the names of application
//! protocols count. Invariant: a number that is not taken as a port ends up inside a remark.

use super::number::Number;
use super::token::{Kind, Token};
use super::{Context, Problem};
use crate::requirement::vocabulary::PortWord;
use crate::requirement::{PortRange, Ports, Protocol};

/// Parentheses inside of parentheses that are still read.
const DEEPEST: usize = 8;
/// Largest number in parentheses that is a footnote and no port.
const LAST_FOOTNOTE: u32 = 20;
/// Largest type of an ICMP message, and largest number of a protocol.
pub(super) const LAST_TYPE: u32 = 255;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Ports(Ports),
    Protocol(Protocol),
    Application(usize),
    /// A comma, a slash, an `and`.
    Separator,
    /// A new statement; on a new line if so.
    Break {
        line: bool,
    },
    /// What stands in parentheses.
    Inner(Vec<Element>),
    /// Text from one folded offset to another.
    Remark(usize, usize),
    /// `IP protocol` without its number.
    Numbered,
    Nothing,
}

/// Reads the tokens of a cell.
pub(super) struct Reader<'a> {
    text: &'a str,
    context: Context,
    pub(super) problems: Vec<Problem>,
    pub(super) marks: Vec<String>,
    /// Parentheses around what is read.
    depth: usize,
    /// Numbers inside remarks that would be ports, should the cell have no others.
    pub(super) swallowed: Vec<Ports>,
    /// What is wrong with those.
    pub(super) swallowed_problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, context: Context) -> Self {
        Self {
            text,
            context,
            problems: vec![],
            marks: vec![],
            depth: 0,
            swallowed: vec![],
            swallowed_problems: vec![],
        }
    }

    /// The elements of `tokens`.
    pub(super) fn read(&mut self, tokens: &[Token]) -> Vec<Element> {
        let mut elements: Vec<Element> = vec![];
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match &token.kind {
                Kind::Number(number) => self.number(number, tokens, at, &mut elements),
                Kind::Protocol(protocol) => {
                    elements.push(Element::Protocol(*protocol));
                    skip_own_number(*protocol, tokens, at + 1)
                }
                Kind::Application(index) => {
                    elements.push(Element::Application(*index));
                    at + 1
                }
                Kind::Word(word) => self.word(*word, tokens, at, &mut elements),
                Kind::Comma | Kind::Slash => {
                    elements.push(Element::Separator);
                    at + 1
                }
                Kind::Colon | Kind::Close => at + 1,
                Kind::Break { line } => {
                    elements.push(Element::Break { line: *line });
                    at + 1
                }
                Kind::Open => self.inner(tokens, at, &mut elements),
                Kind::Mark => self.mark(tokens, at),
                Kind::Unknown => {
                    remark(&mut elements, token.start, token.end, self.text);
                    at + 1
                }
            };
        }
        elements
    }

    fn number(&mut self, number: &Number, tokens: &[Token], at: usize, elements: &mut Vec<Element>) -> usize {
        let token = &tokens[at];
        if number.foreign {
            remark(elements, token.start, token.end, self.text);
            return at + 1;
        }
        let named = elements.iter().any(|element| matches!(element, Element::Protocol(_)));
        if let (Context::Protocols, false, Ok(number)) = (self.context, named, u8::try_from(number.value)) {
            elements.push(Element::Protocol(by_number(number)));
            return at + 1;
        }
        let known = self.problems.len();
        let (ports, next) = self.ports(number, tokens, at);
        // `node 2`, `version 10`: a number right behind a word of its own belongs to it.
        let glued = matches!(elements.last(), Some(Element::Remark(_, end)) if self.text[*end..token.start].chars().all(|c| c == ' ' || c == '#'));
        if glued {
            self.swallowed.extend(ports);
            self.swallowed_problems.extend(self.problems.drain(known..));
            let end = tokens[next - 1].end;
            remark(elements, token.start, end, self.text);
        } else if let Some(ports) = ports {
            elements.push(Element::Ports(ports));
        }
        next
    }

    /// A port or a range that begins with `number`, and the token after it.
    fn ports(&mut self, number: &Number, tokens: &[Token], at: usize) -> (Option<Ports>, usize) {
        self.doubt(number);
        let word =
            |at: usize, word: PortWord| tokens.get(at).is_some_and(|token| token.kind == Kind::Word(word));
        let follows = skip_fillers(tokens, at + 1);
        if word(follows, PortWord::More) {
            return (self.range(number.value, 65_535), follows + 1);
        }
        let plus = tokens.get(at + 1).is_some_and(|token| self.text[token.start..token.end] == *"+");
        if plus
            && !matches!(
                tokens.get(at + 2).map(|token| &token.kind),
                Some(Kind::Number(_) | Kind::Protocol(_) | Kind::Application(_))
            )
        {
            return (self.range(number.value, 65_535), at + 2);
        }
        // `1024:65535`, as packet filters write it, without spaces.
        let colon = matches!(tokens.get(at + 1), Some(Token { kind: Kind::Colon, start, end }) if *start == number.end && tokens.get(at + 2).is_some_and(|next| next.start == *end));
        let mapped = colon || word(at + 1, PortWord::Maps);
        if let Some(Token { kind: Kind::Number(last), .. }) = tokens.get(at + 2)
            && mapped
            && !last.foreign
            && (!colon || maps(number.value, last.value))
        {
            self.problems.push(Problem::Mapped(number.value, last.value));
            return (self.single(number.value), at + 3);
        }
        // A mark of a footnote may stand behind the first end.
        let marked = at + 1 + usize::from(matches!(tokens.get(at + 1), Some(Token { kind: Kind::Mark, .. })));
        let joint = skip_fillers(tokens, marked);
        let between = at > 0
            && tokens[..at]
                .iter()
                .rev()
                .find(|token| token.kind != Kind::Word(PortWord::Port))
                .is_some_and(|token| token.kind == Kind::Word(PortWord::Between));
        if colon || word(joint, PortWord::Range) || between && word(joint, PortWord::List) {
            let mut end = if colon { at + 2 } else { skip_fillers(tokens, joint + 1) };
            while word(end, PortWord::Range) {
                end += 1;
            }
            if let Some(Token { kind: Kind::Number(last), .. }) = tokens.get(end)
                && !last.foreign
            {
                self.doubt(last);
                return (self.range(number.value, last.value), skip_trailing(tokens, end + 1));
            }
        }
        (self.single(number.value), at + 1)
    }

    fn doubt(&mut self, number: &Number) {
        if let Some(other) = &number.doubt {
            let shown =
                self.text[..number.end].rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
            self.problems.push(Problem::Ambiguous(shown.to_owned(), other.clone()));
        }
    }

    fn single(&mut self, port: u32) -> Option<Ports> {
        match u16::try_from(port) {
            Ok(port) if port > 0 => Some(Ports::Range(PortRange::single(port))),
            _ => {
                self.problems.push(Problem::OutOfRange(port));
                None
            }
        }
    }

    fn range(&mut self, lo: u32, hi: u32) -> Option<Ports> {
        if lo == hi {
            return self.single(lo);
        }
        let (Ok(first), false) = (u16::try_from(lo), hi > 99_999) else {
            self.problems.push(Problem::OutOfRange(lo.max(hi)));
            return None;
        };
        let Ok(last) = u16::try_from(hi) else {
            self.problems.push(Problem::OutOfRange(hi));
            return Some(Ports::Beyond { lo: first, hi });
        };
        if let Ok(range) = PortRange::new(first, last) {
            return Some(Ports::Range(range));
        }
        // `5060-61` repeats only the digits that change; anything else ends before it starts.
        let scale = 10_u32.pow(hi.checked_ilog10().unwrap_or(0) + 1);
        let extended = u16::try_from(lo - lo % scale + hi).ok().filter(|&hi| hi > first && scale <= lo);
        let (lo_port, hi_port) = extended.map_or((last, first), |hi| (first, hi));
        let read = PortRange::new(lo_port, hi_port).ok().map(Ports::Range)?;
        if extended.is_none() {
            self.problems.push(Problem::Reversed(lo, hi, read));
        }
        Some(read)
    }

    fn word(&mut self, word: PortWord, tokens: &[Token], at: usize, elements: &mut Vec<Element>) -> usize {
        let next = skip_fillers(tokens, at + 1);
        let following = tokens.get(next).and_then(|token| match &token.kind {
            Kind::Number(number) if !number.foreign => Some(number),
            _ => None,
        });
        match word {
            PortWord::Any if self.context == Context::Protocols => {
                elements.push(Element::Protocol(Protocol::Any));
            }
            // `1-65535` and `0-65535` are ranges here; whether that is any port, the whole row tells.
            PortWord::Any if self.text[tokens[at].start..].starts_with(|c: char| c.is_ascii_digit()) => {
                let first = u32::from(!self.text[tokens[at].start..].starts_with('0'));
                elements.extend(self.range(first, 65_535).map(Element::Ports));
            }
            PortWord::Any => elements.push(Element::Ports(Ports::Any)),
            PortWord::Dynamic => elements.push(Element::Ports(Ports::Dynamic)),
            PortWord::Unspecified => elements.push(Element::Ports(Ports::Unspecified)),
            PortWord::Nothing => elements.push(Element::Nothing),
            PortWord::List | PortWord::Range => elements.push(Element::Separator),
            PortWord::Above | PortWord::Below => {
                if let Some(number) = following {
                    let strict = u32::from(
                        self.text[tokens[at].start..tokens[at].end] == *">" || number.value == 1023,
                    );
                    let (lo, hi) = if word == PortWord::Above {
                        (number.value.saturating_add(strict), 65_535)
                    } else {
                        (1, number.value)
                    };
                    elements.extend(self.range(lo, hi).map(Element::Ports));
                    return next + 1;
                }
            }
            PortWord::IpProtocol => {
                if let Some(number) = following.and_then(|number| u8::try_from(number.value).ok()) {
                    elements.push(Element::Protocol(by_number(number)));
                    return next + 1;
                }
                // A bare `IP` or `protocol` says less.
                let said = &self.text[tokens[at].start..tokens[at].end];
                if said.contains("ip") && said.len() > 2 {
                    elements.push(Element::Numbered);
                }
            }
            PortWord::Protocol(_)
            | PortWord::Application(_)
            | PortWord::Between
            | PortWord::Maps
            | PortWord::More
            | PortWord::Port
            | PortWord::Unit
            | PortWord::Other
            | PortWord::Filler => {}
        }
        at + 1
    }

    /// A parenthesis, from its opening on.
    fn inner(&mut self, tokens: &[Token], at: usize, elements: &mut Vec<Element>) -> usize {
        let mut depth = 0;
        let close = tokens[at..].iter().position(|token| {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = close.map_or(tokens.len(), |length| at + length);
        let next = (end + 1).min(tokens.len()).max(at + 1);
        let content = &tokens[at + 1..end.max(at + 1)];
        let after_port = at > 0
            && matches!(tokens[at - 1].kind, Kind::Number(_) | Kind::Mark | Kind::Close | Kind::Protocol(_));
        if let [Token { kind: Kind::Number(number), .. }] = content {
            let own = at > 0
                && matches!(tokens[at - 1].kind, Kind::Protocol(Protocol::Ip(own)) if u32::from(own) == number.value);
            if own {
                return next;
            }
            if after_port && number.value <= LAST_FOOTNOTE {
                self.marks.push(number.value.to_string());
                return next;
            }
        }
        // `5900 (※1)`, `5900(*2)`: a mark of its own makes the number one of a footnote.
        if let [Token { kind: Kind::Mark, .. }, Token { kind: Kind::Number(number), .. }] = content
            && after_port
            && number.value <= LAST_FOOTNOTE
        {
            self.marks.push(number.value.to_string());
            return next;
        }
        if self.depth >= DEEPEST {
            let (start, end) =
                (content.first().map_or(0, |token| token.start), content.last().map_or(0, |token| token.end));
            elements.push(Element::Remark(start, end));
            return next;
        }
        // `TCP (1720)` names a port, even where bare numbers are protocols.
        let named =
            at > 0 && matches!(tokens[at - 1].kind, Kind::Protocol(protocol) if !protocol.is_portless());
        let context = if named { Context::Ports } else { self.context };
        let mut reader = Reader { depth: self.depth + 1, ..Reader::new(self.text, context) };
        let inner = reader.read(content);
        let foreign = inner.iter().any(|element| matches!(element, Element::Remark(..)));
        if foreign {
            // `(SMTP with authentication)`: the protocol counts, the sentence is a remark.
            let applications: Vec<Element> =
                inner.into_iter().filter(|element| matches!(element, Element::Application(_))).collect();
            if !applications.is_empty() {
                elements.push(Element::Inner(applications));
            }
            let (start, end) =
                (content.first().map_or(0, |token| token.start), content.last().map_or(0, |token| token.end));
            elements.push(Element::Remark(start, end));
        } else {
            self.problems.append(&mut reader.problems);
            self.marks.append(&mut reader.marks);
            elements.push(Element::Inner(inner));
        }
        next
    }

    /// One or more stars or daggers.
    fn mark(&mut self, tokens: &[Token], at: usize) -> usize {
        let mut end = at + 1;
        while tokens
            .get(end)
            .is_some_and(|token| token.kind == Kind::Mark && token.start == tokens[end - 1].end)
        {
            end += 1;
        }
        // `443*1`, `443 ※1`, `443①`: the number belongs to the mark, unless nothing stands before it.
        if let Some(Token { kind: Kind::Number(number), start, .. }) = tokens.get(end)
            && *start == tokens[end - 1].end
            && number.value <= LAST_FOOTNOTE
            && at > 0
        {
            self.marks.push(number.value.to_string());
            return end + 1;
        }
        self.marks.push(self.text[tokens[at].start..tokens[end - 1].end].to_owned());
        end
    }
}

/// Whether `lo:hi` maps one port to another: a range neither descends, nor repeats the digits of its begin, as
/// `443:8443`.
fn maps(lo: u32, hi: u32) -> bool {
    lo > hi || lo < hi && hi.to_string().ends_with(&lo.to_string())
}

/// Adds text to the remark that it continues, or as a new one.
fn remark(elements: &mut Vec<Element>, start: usize, end: usize, text: &str) {
    if let Some(Element::Remark(_, last)) = elements.last_mut()
        && !text[*last..start].contains(['(', ')', '\n', ';', ','])
    {
        *last = end;
        return;
    }
    elements.push(Element::Remark(start, end));
}

/// IANA protocol numbers 6 and 17 are TCP and UDP.
pub(crate) fn by_number(number: u8) -> Protocol {
    match number {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        other => Protocol::Ip(other),
    }
}

/// Protocols without ports are often named with their number: `GRE 47`, `ICMP type 8`.
fn skip_own_number(protocol: Protocol, tokens: &[Token], at: usize) -> usize {
    let Protocol::Ip(own) = protocol else { return at };
    match tokens.get(at) {
        Some(Token { kind: Kind::Number(number), .. })
            if number.value == u32::from(own) || protocol.is_portless() && number.value <= LAST_TYPE =>
        {
            at + 1
        }
        _ => at,
    }
}

/// Skips words that say nothing: `port 5000 to port 5010`.
fn skip_fillers(tokens: &[Token], mut at: usize) -> usize {
    while tokens
        .get(at)
        .is_some_and(|token| matches!(token.kind, Kind::Word(PortWord::Port | PortWord::Filler)))
    {
        at += 1;
    }
    at
}

/// Behind a range, skips what closes it in some languages.
fn skip_trailing(tokens: &[Token], at: usize) -> usize {
    at + usize::from(tokens.get(at).is_some_and(|token| token.kind == Kind::Word(PortWord::Filler)))
}
