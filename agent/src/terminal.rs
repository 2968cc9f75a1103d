//! Text that others wrote -> what a terminal shows of it, and nothing that a terminal does.
//!
//! Documents, policies, file names and names of interfaces may hold characters that move the cursor, change
//! what stands there already, turn the direction of writing, or cannot be seen. [`Escaped`] writes them by
//! their number; whatever people read goes through it. Files and JSON stay as they are.
//!
//! Nothing here fails because a reader has gone: a command goes on to its end, and its exit code says what it
//! would have said otherwise.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, IsTerminal as _, StderrLock, StdoutLock, Write},
};

/// Writes for people: characters that a terminal acts on, or that nobody sees, are written by their number.
/// Ends of lines are the writer's own; [`shown`] is for what must not bring any.
pub(crate) struct Escaped<W>(W);

/// Standard output as it is. What is written after its reader has gone goes nowhere, as in
/// `portcullis counters | head`.
pub(crate) struct Stdout {
    out: StdoutLock<'static>,
    gone: bool,
}

/// Standard output, for people.
pub(crate) fn out() -> Escaped<Stdout> {
    Escaped(Stdout::new())
}

/// As [`out`], for a command that prints much and once.
pub(crate) fn buffered() -> Escaped<BufWriter<Stdout>> {
    Escaped(BufWriter::new(Stdout::new()))
}

/// A message on standard error. What cannot be written there cannot be told anywhere.
pub(crate) fn write_message(message: fmt::Arguments<'_>) {
    #[expect(clippy::disallowed_methods, reason = "this is where it is escaped")]
    let mut out: Escaped<StderrLock<'static>> = Escaped(io::stderr().lock());
    let _ = writeln!(out, "{}", shown(&message.to_string()));
}

/// As `eprintln!`, escaped.
macro_rules! complain {
    ($($arguments:tt)*) => { crate::terminal::write_message(format_args!($($arguments)*)) };
}

/// Text within a line: nothing in it begins another one. Only lines that are set in, as those of messages that
/// show a place, go on below.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) && !text.contains('\n') {
        return Cow::Borrowed(text);
    }
    let mut lines = text.split('\n');
    let mut shown = escaped(lines.next().unwrap_or_default());
    for line in lines {
        shown.push_str(if line.starts_with("  ") { "\n" } else { "\\n" });
        shown.push_str(&escaped(line));
    }
    Cow::Owned(shown)
}

/// As [`shown`], for text that stays on its line whatever is in it, as that of a cell.
pub(crate) fn one_line(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\\n")
}

impl<W: Write> Escaped<W> {
    #[cfg(test)]
    fn new(out: W) -> Self {
        Self(out)
    }

    /// The writer below, for what programs read: files and JSON.
    pub(crate) fn as_is(&mut self) -> &mut W {
        &mut self.0
    }
}

impl Stdout {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "whoever writes for people has it in `Escaped`")]
        Self { out: io::stdout().lock(), gone: false }
    }

    /// Whether the reader has gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.gone
    }

    /// Whether the reader is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.is_terminal()
    }

    fn unless_gone<T>(
        &mut self,
        done: T,
        write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.gone {
            return Ok(done);
        }
        match write(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(done)
            }
            other => other,
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), |out| out.flush())
    }
}

impl<W: Write> Write for Escaped<W> {
    /// Takes whole characters; formatted text comes in no other way.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid();
            if is_plain(valid) {
                self.0.write_all(valid.as_bytes())?;
            } else {
                self.0.write_all(escaped(valid).as_bytes())?;
            }
            for byte in chunk.invalid() {
                write!(self.0, "\\x{byte:02x}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~'))
        || text.chars().all(|character| character == '\n' || !is_unseen(character))
}

/// The text with each character by its number that is not to be written; ends of lines stay.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    for character in text.chars() {
        if character == '\n' || !is_unseen(character) || is_style(before, character) {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_default());
        }
        before = character;
    }
    escaped
}

/// Whether a character only says how the symbol before it is drawn, as documents have it in `✔️`.
fn is_style(before: char, character: char) -> bool {
    matches!(character, '\u{fe0e}' | '\u{fe0f}')
        && matches!(before, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a character does something to a terminal or cannot be seen where it stands: controls, separators of
/// lines, and what Unicode calls ignorable (`Default_Ignorable_Code_Point` of DerivedCoreProperties.txt), which
/// holds marks of direction, joiners, fillers, selectors and tags; and the other format characters without a
/// shape of their own.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{2028}' | '\u{2029}'
            | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{13440}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Escaped::new(Vec::new());
        write!(out, "{text}").expect("memory");
        String::from_utf8(out.0).expect("text")
    }

    #[test]
    fn what_people_read_is_written_as_it_is() {
        for text in [
            "SQL ブラウザー",
            "Zugriff über Maße — “quoted”, 100 % …",
            "Входящие подключения\nи исходящие",
            "שירות דואר",
            "خدمة البريد",
            "เซิร์ฟเวอร์",
            "e\u{301}te\u{301}",
            "ガ か\u{3099}",
            "✔\u{fe0f} yes, 🖥\u{fe0f} host",
            "half\u{a0}blank",
        ] {
            assert_eq!(written(text), text);
            assert_eq!(shown(&text.replace('\n', " ")), text.replace('\n', " "));
        }
    }

    #[test]
    fn what_a_terminal_acts_on_and_nobody_sees_is_written_by_its_number() {
        for (text, expected) in [
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m \u{85}", "\\u{9b}31m \\u{85}"),
            ("a\rb\tc\u{8}\u{7f}\0", "a\\rb\\tc\\u{8}\\u{7f}\\u{0}"),
            ("admin\u{202e}nimda", "admin\\u{202e}nimda"),
            ("\u{2066}isolated\u{2069}", "\\u{2066}isolated\\u{2069}"),
            (
                "zero\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}width",
                "zero\\u{200b}\\u{200c}\\u{200d}\\u{2060}\\u{feff}width",
            ),
            ("soft\u{ad}hyphen", "soft\\u{ad}hyphen"),
            ("tag\u{e0041}\u{e007f}", "tag\\u{e0041}\\u{e007f}"),
            ("http\u{fe0f}", "http\\u{fe0f}"),
            ("line\u{2028}para\u{2029}", "line\\u{2028}para\\u{2029}"),
        ] {
            assert_eq!(written(text), expected);
            assert_eq!(shown(text), expected);
            // What is escaped already stays as it is.
            assert_eq!(written(&shown(text)), expected);
        }
    }

    #[test]
    fn no_character_of_the_kinds_that_are_refused_passes() {
        for character in (0..=char::MAX as u32).filter_map(char::from_u32) {
            let text = written(&format!("a{character}b"));
            assert!(
                character == '\n' || text.chars().all(|shown| !shown.is_control()),
                "{:x}",
                u32::from(character)
            );
        }
        // Those that show what is not there, or hide what is, whatever the list above says.
        let unseen =
            ["\u{200b}", "\u{200f}", "\u{202a}", "\u{202e}", "\u{2066}", "\u{2069}", "\u{61c}", "\u{180e}"];
        for text in unseen {
            assert!(written(text).starts_with("\\u{"), "{}", text.escape_unicode());
        }
    }

    #[test]
    fn text_within_a_line_begins_no_other() {
        assert_eq!(shown("a\nportcullis: all is well"), "a\\nportcullis: all is well");
        assert_eq!(
            shown("wrong\n  3 | ports = \u{1b}\n    = help: write"),
            "wrong\n  3 | ports = \\u{1b}\n    = help: write"
        );
        assert_eq!(shown("\n"), "\\n");
        assert_eq!(written("a\nb"), "a\nb");
    }

    #[test]
    fn bytes_that_are_no_text_are_written_by_their_number() {
        let mut out = Escaped::new(Vec::new());
        out.write_all(b"a\xffb\x9b").expect("memory");
        assert_eq!(out.0, b"a\\xffb\\x9b");
    }
}
