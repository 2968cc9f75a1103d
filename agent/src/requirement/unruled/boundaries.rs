//! Boundaries: where a cell may begin in a line whose cells nothing parts.
//!
//! In comes a line; out come places in it, in order. Invariant: each is the start of a character, and none stands
//! between the digits of one number.

/// Transports, which other capitals often adjoin: `DNSTCP/UDP53`.
const TRANSPORTS: [&str; 2] = ["TCP", "UDP"];

/// Where a cell may begin: at a letter or digit behind something else, another script or a lower-case letter, at a word
/// behind capitals, and before and behind a transport among them.
pub(super) fn boundaries(text: &str) -> Vec<usize> {
    let mut starts = vec![];
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let begins = match before {
            None => c.is_alphanumeric(),
            Some(before) => {
                c.is_alphanumeric()
                    && (!before.is_alphanumeric()
                        || before.is_lowercase() && c.is_uppercase()
                        || before.is_ascii() != c.is_ascii()
                        || before.is_ascii_digit() != c.is_ascii_digit())
            }
        };
        if begins || c.is_ascii_uppercase() && is_beside_capitals(text, at) {
            starts.push(at);
        }
        before = Some(c);
    }
    starts
}

/// Whether a word or a transport begins at this capital behind others, or another word behind a transport: `HTTPUsed`,
/// `DNSTCP`, `UDPRTP`.
fn is_beside_capitals(text: &str, at: usize) -> bool {
    let before = text[..at].bytes().rev().take_while(u8::is_ascii_uppercase).count();
    let run = &text[at - before..at];
    let word = before > 0 && text[at + 1..].starts_with(char::is_lowercase);
    let transport = |name: &str| {
        before > 1 && text[at..].starts_with(name)
            || run.strip_suffix(name).is_some_and(|rest| rest.len() != 1)
    };
    word || TRANSPORTS.into_iter().any(transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_begin_where_the_writing_changes() {
        for (text, expected) in [
            ("Front End SIP", &["Front ", "End ", "SIP"][..]),
            ("Front-End-ServerSIP5061", &["Front-", "End-", "Server", "SIP", "5061"]),
            ("DNSTCP/UDP53Names", &["DNS", "TCP/", "UDP", "53", "Names"]),
            ("UDPRTP", &["UDP", "RTP"]),
            ("メールTCP25", &["メール", "TCP", "25"]),
            ("5060TCPUsed", &["5060", "TCP", "Used"]),
            ("80HTTPWeb", &["80", "HTTP", "Web"]),
            ("ATCP SCTP", &["ATCP ", "SCTP"]),
        ] {
            let mut starts = boundaries(text);
            starts.push(text.len());
            let pieces: Vec<&str> = starts.windows(2).map(|two| &text[two[0]..two[1]]).collect();
            assert_eq!(pieces, expected, "{text}");
        }
    }
}
