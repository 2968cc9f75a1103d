//! Inline markup: the source of one cell, line or heading to its plain text.
//!
//! In comes Markdown, reST or HTML as it stands in a file; out comes what a reader sees: entities
//! decoded, escapes resolved, links as their text, `<br>` as a line break. Superscripts and
//! `[^n]` references are footnote marks: they leave the text, so that `443<sup>1</sup>` stays 443.
//!
//! Invariant: a star or underscore goes only as one of a pair; a lone one is a footnote mark.

use compact_str::CompactString;

/// Plain text and what the markup said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inline {
    /// What a reader sees; `\n` at line breaks of the markup.
    pub(super) text: CompactString,
    /// Footnote marks, in their order.
    pub(super) marks: Vec<String>,
    /// Whether the whole of it is bold.
    pub(super) bold: bool,
}

/// Tags that end a line of text.
const BREAKS: [&str; 9] = ["br", "p", "li", "div", "tr", "ul", "ol", "dd", "dt"];
/// Tags that carry no text of their own. Others, as `<server name>`, are a vendor's placeholders.
const TAGS: [&str; 26] = [
    "a",
    "abbr",
    "b",
    "big",
    "blockquote",
    "center",
    "cite",
    "code",
    "del",
    "dl",
    "em",
    "font",
    "i",
    "img",
    "input",
    "ins",
    "kbd",
    "mark",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "u",
    "var",
];
const SUPERSCRIPTS: [(char, char); 10] = [
    ('⁰', '0'),
    ('¹', '1'),
    ('²', '2'),
    ('³', '3'),
    ('⁴', '4'),
    ('⁵', '5'),
    ('⁶', '6'),
    ('⁷', '7'),
    ('⁸', '8'),
    ('⁹', '9'),
];

/// Longest raised text that is a footnote mark: `(12)`.
const LONGEST_RAISED: usize = 4;
/// Open emphasis marks among which a closing one is searched.
const OPEN: usize = 64;
/// Longest text or target of a link, in characters.
const LINK: usize = 2_000;

/// A piece of the text: plain, or a run of emphasis marks that may open or close.
enum Piece {
    Text(String),
    Marks { mark: char, length: usize, opens: bool, closes: bool, paired: bool },
}

/// Removes the markup of `source`.
pub(super) fn plain(source: &str) -> Inline {
    let plain = if source.is_ascii() {
        !source.bytes().fold(false, |marked, byte| marked | MARKUP[usize::from(byte)])
    } else {
        !source.contains(is_markup)
    };
    if plain {
        return Inline { text: source.trim().into(), ..Inline::default() };
    }
    let mut inline = Inline::default();
    let mut reader = Reader {
        rest: source,
        previous: None,
        pieces: vec![],
        plain: String::new(),
        marks: vec![],
        strong: 0,
        all_strong: true,
    };
    reader.run();
    let (mut pieces, marks, all_strong) = (reader.pieces, reader.marks, reader.all_strong);
    pair(&mut pieces);
    let wrapped = wraps(&pieces);
    for piece in pieces {
        match piece {
            Piece::Text(text) => inline.text.push_str(&text),
            Piece::Marks { paired: true, .. } => {}
            Piece::Marks { mark, length, .. } => inline.text.extend(std::iter::repeat_n(mark, length)),
        }
    }
    let trimmed = inline.text.trim();
    inline.bold = !trimmed.is_empty() && (wrapped || all_strong);
    inline.text = trimmed.into();
    inline.marks = marks;
    inline
}

/// Reads a source from left to right.
struct Reader<'a> {
    rest: &'a str,
    previous: Option<char>,
    pieces: Vec<Piece>,
    plain: String,
    marks: Vec<String>,
    /// Open `<b>` and `<strong>` tags.
    strong: usize,
    all_strong: bool,
}

impl<'a> Reader<'a> {
    fn run(&mut self) {
        loop {
            let text = self.rest.find(is_markup).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(text);
            self.push_str(text);
            self.previous = text.chars().next_back().or(self.previous);
            self.rest = rest;
            let Some(c) = rest.chars().next() else { break };
            let taken = match c {
                '\\' => self.escape(),
                '`' => self.code(),
                '<' => self.tag(),
                '&' => self.entity(),
                '[' | '!' => self.link(c),
                '*' | '_' => self.emphasis(c),
                '~' if self.rest.starts_with("~~") => Some(2),
                '|' if self.rest.starts_with("|br|") => {
                    self.push('\n');
                    Some(4)
                }
                '^' => self.caret(),
                _ => self.superscript(c),
            };
            let taken = taken.unwrap_or_else(|| {
                self.push(c);
                c.len_utf8()
            });
            self.previous = self.rest[..taken].chars().next_back();
            self.rest = &self.rest[taken..];
        }
        self.flush();
    }

    fn push(&mut self, c: char) {
        if !c.is_whitespace() && self.strong == 0 {
            self.all_strong = false;
        }
        self.plain.push(c);
    }

    fn push_str(&mut self, text: &str) {
        self.all_strong &= self.strong > 0 || text.trim_start().is_empty();
        self.plain.push_str(text);
    }

    fn flush(&mut self) {
        if !self.plain.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.plain)));
        }
    }

    /// `\*` is a star; before anything but punctuation the backslash is one itself.
    fn escape(&mut self) -> Option<usize> {
        let escaped = self.rest[1..].chars().next().filter(char::is_ascii_punctuation)?;
        self.push(escaped);
        Some(2)
    }

    /// A code span, in one or two back quotes (reST), shows its content.
    fn code(&mut self) -> Option<usize> {
        let ticks = self.rest.bytes().take_while(|&byte| byte == b'`').count();
        let body = &self.rest[ticks..];
        let Some(end) = body.find(&self.rest[..ticks]) else {
            // None of them closes: they are text, all at once.
            self.plain.extend(std::iter::repeat_n('`', ticks));
            return Some(ticks);
        };
        let content = &body[..end];
        // reST writes links as `text <address>`_.
        let reference = body[end + ticks..].starts_with('_');
        let shown =
            if reference { content.split_once(" <").map_or(content, |(text, _)| text) } else { content };
        self.push_str(shown.trim());
        Some(
            ticks
                + end
                + ticks
                + if reference { body[end + ticks..].bytes().take_while(|&b| b == b'_').count() } else { 0 },
        )
    }

    fn tag(&mut self) -> Option<usize> {
        if self.rest.starts_with("<!--") {
            return Some(self.rest.find("-->").map_or(self.rest.len(), |end| end + 3));
        }
        let end = self.rest[1..]
            .find(['<', '>'])
            .map(|at| at + 1)
            .filter(|&at| self.rest.as_bytes()[at] == b'>')?;
        let body = &self.rest[1..end];
        if body.starts_with("http") || (body.contains('@') && !body.contains(' ')) {
            self.push_str(body);
            return Some(end + 1);
        }
        let closing = body.starts_with('/');
        let name = body
            .trim_start_matches('/')
            .split([' ', '/', '\t', '\n'])
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if name == "sup" {
            if closing {
                return Some(end + 1);
            }
            return Some(self.mark_until(end + 1, "</sup>"));
        }
        if BREAKS.contains(&name.as_str()) {
            self.push('\n');
        } else if name == "b" || name == "strong" {
            self.strong = if closing { self.strong.saturating_sub(1) } else { self.strong + 1 };
        } else if !TAGS.contains(&name.as_str()) && name != "sub" && name != "table" {
            return None;
        }
        Some(end + 1)
    }

    /// Takes everything from `start` up to `end` as a footnote mark.
    fn mark_until(&mut self, start: usize, end: &str) -> usize {
        let body = &self.rest[start..];
        let length = body.find(end).unwrap_or(body.len());
        for mark in plain(&body[..length]).text.split([',', ' ']) {
            let mark = mark.trim_matches(['(', ')', '[', ']', ' ']);
            if !mark.is_empty() {
                self.marks.push(mark.to_owned());
            }
        }
        start + length + end.len().min(body.len() - length)
    }

    fn entity(&mut self) -> Option<usize> {
        let end = self.rest.bytes().take(32).position(|byte| byte == b';')?;
        let source = &self.rest[..=end];
        let decoded = html_escape::decode_html_entities(source);
        if decoded == source {
            return None;
        }
        self.push_str(&decoded);
        Some(end + 1)
    }

    /// `[text](target)`, `[text][reference]`, `![image](target)`, `[^note]`.
    fn link(&mut self, first: char) -> Option<usize> {
        let image = usize::from(first == '!');
        let open = self.rest[image..].strip_prefix('[')?;
        let end = matching(open, '[', ']')?;
        let (label, after) = (&open[..end], &open[end + 1..]);
        if let Some(name) = label.strip_prefix('^') {
            self.marks.push(name.to_owned());
            return Some(image + end + 2);
        }
        let target = match after.chars().next() {
            Some('(') => matching(&after[1..], '(', ')')? + 2,
            Some('[') => matching(&after[1..], '[', ']')? + 2,
            _ => return None,
        };
        if image == 0 {
            let shown = plain(label);
            self.push_str(&shown.text);
            self.marks.extend(shown.marks);
        }
        Some(image + end + 2 + target)
    }

    fn emphasis(&mut self, mark: char) -> Option<usize> {
        let length = self.rest.chars().take_while(|&c| c == mark).count();
        let next = self.rest[length..].chars().next();
        let (before, after) = (self.plain.chars().next_back().or(self.previous), next);
        let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let mut opens = !blank(after);
        let mut closes = !blank(before);
        if length == 1 {
            // Within a word or before a host name a lone mark is text: `1024*`, `*.example.com`.
            opens &= !word(before) && (mark == '_' || after != Some('.'));
            closes &= !word(after);
        }
        self.flush();
        self.pieces.push(Piece::Marks { mark, length, opens, closes, paired: false });
        if self.strong == 0 {
            self.all_strong = false;
        }
        Some(length)
    }

    /// `443^1^`: raised text; what is short and no word is a footnote mark.
    fn caret(&mut self) -> Option<usize> {
        let body = &self.rest[1..];
        let end = body.bytes().take(LONGEST_RAISED + 1).position(|byte| byte == b'^')?;
        let raised = &body[..end];
        let inner = raised.trim_matches(['(', ')', '[', ']']);
        let digits = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit());
        let letter = inner.len() == 1 && inner.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'*');
        (digits || letter).then(|| self.marks.push(inner.to_owned()))?;
        Some(end + 2)
    }

    fn superscript(&mut self, c: char) -> Option<usize> {
        let digit = |c: char| SUPERSCRIPTS.iter().find(|&&(raised, _)| raised == c).map(|&(_, digit)| digit);
        digit(c)?;
        let raised: Vec<char> = self.rest.chars().take_while(|&c| digit(c).is_some()).collect();
        self.marks.push(raised.iter().copied().filter_map(digit).collect());
        Some(raised.iter().map(|c| c.len_utf8()).sum())
    }
}

/// The characters of ASCII that may be markup.
static MARKUP: [bool; 256] = {
    let mut markup = [false; 256];
    let characters = b"\\`*_<&[!|~^";
    let mut at = 0;
    while at < characters.len() {
        markup[characters[at] as usize] = true;
        at += 1;
    }
    markup
};

/// Whether a character may be markup.
fn is_markup(c: char) -> bool {
    if c.is_ascii() {
        MARKUP[c as usize]
    } else {
        matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{2079}')
    }
}

/// Offset of the `close` that belongs to an `open` just before `text`.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices().take(LINK) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == close && depth == 0 => return Some(at),
            _ if c == close => depth -= 1,
            _ if c == open => depth += 1,
            _ => {}
        }
    }
    None
}

/// Marks the runs that open and close an emphasis.
fn pair(pieces: &mut [Piece]) {
    let mut open: Vec<(usize, char, usize)> = vec![];
    for at in 0..pieces.len() {
        let Piece::Marks { mark, length, opens, closes, .. } = pieces[at] else { continue };
        let reach = open.len().saturating_sub(OPEN);
        let partner =
            open[reach..].iter().rposition(|&(_, other, size)| closes && other == mark && size == length);
        if let Some(position) = partner.map(|position| reach + position) {
            for index in [at, open[position].0] {
                if let Piece::Marks { paired, .. } = &mut pieces[index] {
                    *paired = true;
                }
            }
            open.truncate(position);
        } else if opens {
            open.push((at, mark, length));
        }
    }
}

/// Whether one pair of at least two stars or underscores encloses all the text.
fn wraps(pieces: &[Piece]) -> bool {
    let shown: Vec<&Piece> =
        pieces.iter().filter(|piece| !matches!(piece, Piece::Text(text) if text.trim().is_empty())).collect();
    let strong = |piece: Option<&&Piece>| matches!(piece, Some(Piece::Marks { length, paired: true, .. }) if *length >= 2);
    let texts = shown.iter().filter(|piece| matches!(piece, Piece::Text(_))).count();
    texts == 1
        && (strong(shown.first()) && strong(shown.last())
            || shown.len() >= 5 && strong(shown.get(1)) && strong(shown.get(shown.len() - 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_a_reader_sees() {
        let cases = [
            ("TCP 5060\\*\\*  <br/> ", "TCP 5060**"),
            ("HTTPS <br/> TCP", "HTTPS \n TCP"),
            ("UDP &amp; TCP", "UDP & TCP"),
            ("**Quellport**", "Quellport"),
            ("_**Stand:** heute_", "Stand: heute"),
            ("1024-65535*", "1024-65535*"),
            ("*.edge.example.net, *.example.net", "*.edge.example.net, *.example.net"),
            ("`-Port 5061` or ``5062``", "-Port 5061 or 5062"),
            ("<a name=\"x\"></a>Ports for [the *edge*](edge.md#a(b))", "Ports for the edge"),
            ("\\<server name\\> and <server name>", "<server name> and <server name>"),
            ("a < b", "a < b"),
            ("`Manual <https://example.net>`_", "Manual"),
            ("MAX_PORT_RANGE", "MAX_PORT_RANGE"),
            ("limit |br| (two)", "limit \n (two)"),
        ];
        for (source, expected) in cases {
            assert_eq!(plain(source).text, expected, "{source}");
        }
    }

    #[test]
    fn footnote_marks_leave_the_text() {
        for (source, text, marks) in [
            ("443<sup>1</sup>", "443", vec!["1"]),
            ("443^1^", "443", vec!["1"]),
            ("443 ^(a)^", "443", vec!["a"]),
            ("2^16 or 2^32", "2^16 or 2^32", vec![]),
            ("443²", "443", vec!["2"]),
            ("443[^a]", "443", vec!["a"]),
            ("443 <sup>(1), (2)</sup>", "443", vec!["1", "2"]),
        ] {
            let inline = plain(source);
            assert_eq!(
                (inline.text.as_str(), inline.marks),
                (text, marks.into_iter().map(str::to_owned).collect()),
                "{source}"
            );
        }
    }

    #[test]
    fn knows_what_is_all_bold() {
        for (source, bold) in [
            ("**Ports**", true),
            ("**Ports** of it", false),
            ("<strong>Ports</strong>", true),
            ("Ports", false),
            ("**a** and **b**", false),
            ("***Ports***", true),
        ] {
            assert_eq!(plain(source).bold, bold, "{source}");
        }
    }
}
