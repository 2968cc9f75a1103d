//! Mentions: protocols with their ports among other words, as `TCP 443 (HTTPS), optionally TCP 80`.
//!
//! In comes the text of an item; out come the runs of port language in it that name protocol and port both.
//! Invariant: a number beside which no protocol stands is never taken.

use std::rc::Rc;

use super::expression::{Expression, Group};
use super::fold::Folded;
use super::numbered;
use super::reading::Readings;
use super::vocabulary::{PortWord, Vocabulary};

/// Most words and numbers of one run.
const RUN: usize = 16;
/// Most words and numbers of an item.
const WORDS: usize = 80;

/// A run of port language.
pub(super) struct Mention {
    expression: Rc<Expression>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A word that can be part of a run.
struct Anchor {
    start: usize,
    end: usize,
    /// A run can begin, and end, with it.
    begins: bool,
    ends: bool,
    protocol: bool,
    number: bool,
}

/// The runs of `text`, in its order, each as long as it can be.
pub(super) fn of(text: &str, readings: &Readings) -> Vec<Mention> {
    let anchors = anchors(text, readings);
    let mut found = vec![];
    if !anchors.iter().any(|anchor| anchor.protocol) || anchors.len() > WORDS {
        return found;
    }
    let mut at = 0;
    while at < anchors.len() {
        let last = (at + RUN).min(anchors.len());
        let run = (at..last)
            .rev()
            .filter(|&end| begins(text, &anchors[at..], readings.words) && anchors[end].ends)
            .filter(|&end| anchors[at..=end].iter().any(|anchor| anchor.protocol))
            .find_map(|end| {
                let (start, end) = (anchors[at].start, closed(text, anchors[at].start, anchors[end].end));
                let expression = readings.complete(&text[start..end]).filter(|read| is_paired(read))?;
                Some(Mention { expression, start, end })
            });
        match run {
            Some(run) => {
                while anchors.get(at).is_some_and(|anchor| anchor.start < run.end) {
                    at += 1;
                }
                found.push(run);
            }
            None => at += 1,
        }
    }
    found
}

/// Whether a run can begin with the first of `anchors`: a number behind a word belongs to that, as in `Console 3`,
/// unless a protocol or the end of a range follows it right away.
fn begins(text: &str, anchors: &[Anchor], words: &Vocabulary) -> bool {
    let [first, others @ ..] = anchors else { return false };
    if !first.number || !text[..first.start].trim_end().ends_with(char::is_alphanumeric) {
        return first.begins;
    }
    // `RFC 793 (TCP)`
    let slash = text[first.end..].starts_with('/');
    if !slash && numbered::taken(Folded::new(&text[..first.start]).as_str(), words).is_some() {
        return false;
    }
    let near =
        |next: &Anchor, marks: &[char]| text[first.end..next.start].chars().all(|c| marks.contains(&c));
    match others {
        [next, ..] if next.protocol => first.begins && near(next, &[' ', '/', '(']),
        [joint, next, ..] if next.number => first.begins && !joint.number && near(next, &['-', '–', '~']),
        _ => false,
    }
}

/// What all runs say together.
pub(super) fn together(mentions: &[Mention]) -> Rc<Expression> {
    let read = || mentions.iter().map(|mention| &mention.expression);
    let problems = read().flat_map(|expression| expression.problems.iter().cloned()).collect();
    let groups = read().flat_map(|expression| expression.groups.iter().cloned()).collect();
    Rc::new(Expression { groups, problems, ..Expression::default() })
}

/// Whether each port of an expression has its protocol beside it.
fn is_paired(expression: &Expression) -> bool {
    let paired =
        |group: &Group| !group.protocols.is_empty() && (group.is_portless() || !group.ports.is_empty());
    expression.groups.iter().all(paired)
        && (expression.has_numbers() || expression.groups.iter().any(Group::is_portless))
}

/// The words of port language and the numbers of `text`.
fn anchors(text: &str, readings: &Readings) -> Vec<Anchor> {
    let folded = Folded::new(text);
    let words = folded.as_str();
    let source = |at: usize| folded.source(at).min(text.len());
    let mut anchors: Vec<Anchor> = vec![];
    let numbers = |from: usize, to: usize, anchors: &mut Vec<Anchor>| {
        let mut at = from;
        while let Some(start) = words[at..to].find(|c: char| c.is_ascii_digit()).map(|start| at + start) {
            let end = start + words[start..].bytes().take_while(u8::is_ascii_digit).count();
            let free = !words[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
            let (start, end_source) = (source(start), source(end));
            anchors.push(Anchor {
                start,
                end: end_source,
                begins: free,
                ends: true,
                protocol: false,
                number: true,
            });
            at = end.min(to);
        }
    };
    let mut at = 0;
    for word in readings.words.ports.find(&folded) {
        numbers(at, word.start.max(at), &mut anchors);
        let (names, ends) = match word.meaning {
            PortWord::Protocol(_) => (true, true),
            PortWord::Application(_) | PortWord::Any => (true, true),
            PortWord::IpProtocol | PortWord::Port | PortWord::Between => (true, false),
            PortWord::More => (false, true),
            _ => (false, false),
        };
        anchors.push(Anchor {
            start: source(word.start),
            end: source(word.end),
            begins: names,
            ends,
            protocol: matches!(word.meaning, PortWord::Protocol(_) | PortWord::IpProtocol),
            number: false,
        });
        at = word.end;
    }
    numbers(at, words.len(), &mut anchors);
    anchors
}

/// The end of a run with the parentheses that are open in it.
fn closed(text: &str, start: usize, end: usize) -> usize {
    let open = text[start..end].matches(['(', '（']).count();
    let closed = text[start..end].matches([')', '）']).count();
    let behind = text[end..].chars().take(open.saturating_sub(closed));
    end + behind.take_while(|c| matches!(c, ')' | '）')).map(char::len_utf8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_each_pair_of_protocol_and_port() {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        let cases: [(&str, &[&str]); 13] = [
            ("TCP 443 (HTTPS), optionally TCP 80 for the redirect", &["TCP 443 (HTTPS)", "TCP 80"]),
            ("Mail: TCP 25, 465 or 587 depending on your relay", &["TCP 25, 465 or 587"]),
            ("Store: Vault, TCP 6379, and Vault Watch, TCP 26379", &["TCP 6379", "TCP 26379"]),
            ("Push (443/tcp) to the hub, 5223/tcp to phones", &["443/tcp", "5223/tcp"]),
            ("Feldbus/TCP, Port 512: alarms", &["TCP, Port 512"]),
            ("TCP 5900 to 5999 at night", &["TCP 5900 to 5999"]),
            ("tunnels need ESP and UDP 500 twice", &["ESP and UDP 500"]),
            ("Console 3 – TCP 444 and TCP 81", &["TCP 444 and TCP 81"]),
            ("Console 443/tcp, 5000-5010/udp", &["443/tcp, 5000-5010/udp"]),
            ("5 nodes speak TCP on both links", &[]),
            ("needs version 7 of TCP/IP", &[]),
            ("Discard, RFC 863 (UDP), see section 5 (TCP)", &[]),
            ("Status page 8080/tcp", &["8080/tcp"]),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> =
                of(text, &readings).iter().map(|mention| &text[mention.start..mention.end]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest! {
        /// Whatever an item holds, its runs are pieces of it, in order, that name protocol and port.
        #[test]
        fn runs_are_pieces_of_the_text(text in "(\\PC|TCP|udp/|[0-9]{1,5}| |①|ﬁ|Port|\\(){0,30}") {
            let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
            let mut end = 0;
            for mention in of(&text, &readings) {
                prop_assert!(end <= mention.start && text.is_char_boundary(mention.start));
                prop_assert!(mention.start < mention.end && text.is_char_boundary(mention.end));
                prop_assert!(is_paired(&mention.expression));
                end = mention.end;
            }
        }
    }
}
