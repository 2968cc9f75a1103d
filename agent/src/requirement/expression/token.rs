//! Tokens of port language: words with a meaning, numbers, marks, and everything else.
//!
//! In comes folded text; out come tokens in its order. Invariant: tokens cover every letter and digit
//! of the text, so that nothing is lost before it is understood.

use super::number::{self, Number};
use crate::requirement::Protocol;
use crate::requirement::fold::Folded;
use crate::requirement::numbered;
use crate::requirement::vocabulary::{NumberWord, PortWord, Vocabulary};

/// A piece of the text; offsets count bytes of the folded text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number(Number),
    Protocol(Protocol),
    Application(usize),
    Word(PortWord),
    /// `,` and `、`.
    Comma,
    Slash,
    Colon,
    /// A line break or `;`: what follows is a statement of its own.
    Break {
        line: bool,
    },
    Open,
    Close,
    /// A footnote mark.
    Mark,
    /// No port language.
    Unknown,
}

/// The tokens of `folded`.
pub(super) fn tokens(folded: &Folded, words: &Vocabulary) -> Vec<Token> {
    let text = folded.as_str();
    let mut found = words.ports.find(folded).into_iter().peekable();
    let mut tokens: Vec<Token> = Vec::with_capacity(text.len() / 4 + 1);
    // The last number that belongs to the word before it.
    let mut taken: Option<usize> = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        while found.next_if(|word| word.start < at).is_some() {}
        if let Some(end) = number::ipv6(text, at) {
            tokens.push(Token { kind: Kind::Unknown, start: at, end });
            at = end;
            continue;
        }
        if c.is_ascii_digit() {
            let number = number::lex(text, at, &tokens, words);
            let end = number.end;
            // `4 GB` is an amount.
            let gap = text[end..].len() - text[end..].trim_start_matches(' ').len();
            let unit = found
                .peek()
                .filter(|word| word.meaning == PortWord::Unit && word.start == end + gap && gap <= 1);
            if let Some(end) = unit.map(|word| word.end) {
                tokens.push(Token { kind: Kind::Unknown, start: at, end });
                at = end;
                continue;
            }
            // `10gbit`, `3rd`: letters on a number make it a word, unless they are port language.
            let glued = text[end..].chars().next().is_some_and(|c| c.is_ascii_alphabetic())
                && found.peek().is_none_or(|word| word.start != end);
            let whole = found
                .peek()
                .is_some_and(|word| word.start == at && word.end >= end && word.meaning != PortWord::Range);
            if glued && !whole {
                let end = end + word_length(&text[end..]);
                tokens.push(Token { kind: Kind::Unknown, start: at, end });
                at = end;
                continue;
            }
            if !whole {
                // `RFC 5424`, `versions 10 and 11`.
                let goes_on = taken.is_some_and(|last| {
                    let between = tokens.get(last + 1).map(|token| &token.kind);
                    let joins =
                        matches!(between, Some(Kind::Slash | Kind::Word(PortWord::Range | PortWord::List)));
                    joins && tokens.len() == last + 2
                });
                // `page 443/TCP` states a port.
                let own = text[end..].starts_with('/')
                    && found.peek().is_some_and(|word| {
                        word.start == end + 1 && matches!(word.meaning, PortWord::Protocol(_))
                    });
                let kind = if !own && (goes_on || belongs(text, at, &tokens, words)) {
                    taken = Some(tokens.len());
                    Kind::Unknown
                } else {
                    Kind::Number(number)
                };
                tokens.push(Token { kind, start: at, end });
                at = end;
                continue;
            }
        }
        if let Some(word) = found.next_if(|word| word.start == at) {
            let kind = match word.meaning {
                PortWord::Protocol(protocol) => Kind::Protocol(protocol),
                PortWord::Application(index) => Kind::Application(index),
                PortWord::Unit | PortWord::Other => Kind::Unknown,
                PortWord::Range if redirects(text, word.start, word.end, &tokens, words) => Kind::Slash,
                other => Kind::Word(other),
            };
            tokens.push(Token { kind, start: at, end: word.end });
            at = word.end;
            continue;
        }
        let mut push = |kind, end| {
            tokens.push(Token { kind, start: at, end });
            end
        };
        let end = at + c.len_utf8();
        at = match c {
            '\n' => push(Kind::Break { line: true }, end),
            ';' => push(Kind::Break { line: false }, end),
            ',' | '、' | '\u{60c}' | '|' => push(Kind::Comma, end),
            '/' | '\\' => push(Kind::Slash, end),
            ':' => push(Kind::Colon, end),
            '(' | '[' | '{' | '【' | '〔' => push(Kind::Open, end),
            ')' | ']' | '}' | '】' | '〕' => push(Kind::Close, end),
            '*' | '†' | '‡' | '§' | '※' => push(Kind::Mark, end),
            c if c.is_alphanumeric() => {
                // Up to the next word that is known, since scripts without spaces run on.
                let limit = found.peek().map_or(text.len(), |word| word.start);
                let length = word_length(&text[at..limit.max(end)]);
                push(Kind::Unknown, at + length.max(c.len_utf8()))
            }
            _ => end,
        };
    }
    tokens
}

/// Whether the number at `at` belongs to the word before it and is no port.
fn belongs(text: &str, at: usize, before: &[Token], words: &Vocabulary) -> bool {
    let adjoins = |kind: &Kind| matches!(kind, Kind::Unknown | Kind::Word(_));
    match before {
        [.., last] if adjoins(&last.kind) => numbered::taken(&text[..at], words).is_some(),
        [.., word, colon] if colon.kind == Kind::Colon && adjoins(&word.kind) => {
            numbered::taken(&text[..at], words) == Some(NumberWord::Edition)
        }
        _ => false,
    }
}

/// Whether an arrow leads from one port that documents list often to another, as in `80 → 8080`: a redirection,
/// and no range.
fn redirects(text: &str, start: usize, end: usize, before: &[Token], words: &Vocabulary) -> bool {
    let next = text[end..].trim_start();
    let digits = &next[..next.bytes().take_while(u8::is_ascii_digit).count()];
    let first = match before.last() {
        Some(Token { kind: Kind::Number(number), .. }) => Some(number.value),
        _ => None,
    };
    let arrow = text[start..end].starts_with(['→', '➜', '➝', '⟶']);
    arrow
        && first.is_some_and(|first| words.is_known(first))
        && digits.parse().is_ok_and(|last| words.is_known(last))
}

/// Bytes of the word at the start of `text`: letters and digits, also joined by `-`, `.` or `_`.
fn word_length(text: &str) -> usize {
    let plain = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    if text.as_bytes().get(plain).is_none_or(|byte| byte.is_ascii() && !b"-._'@".contains(byte)) {
        return plain;
    }
    let mut end = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let joins = matches!(c, '-' | '.' | '_' | '\'' | '’' | '@')
            && chars.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        if !c.is_alphanumeric() && !joins {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}
