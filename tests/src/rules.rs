//! Rule sets as text, one rule a line, so that a test's rules can be read, and a failing test's rules
//! copied from its output.
//!
//! ```text
//! tcp/443 udp/3478-3481 sctp/36412 icmp/8 icmpv6/128 ip47 from 198.51.100.0/24 2001:db8::/32 at 203.0.113.1
//! ethertype/0x88f7
//! group-answer from 198.51.100.0/24
//! out tcp/443 udp/53 to 198.51.100.0/24 at 203.0.113.1
//! ```

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use portcullis::ruleset::{Identity, Opening, Origin, Rule, RuleSet, Way};

/// Reads rules, one a line; empty lines are left out.
///
/// # Panics
///
/// On a line that is no rule: the text is part of a test.
#[must_use]
pub fn parse(text: &str) -> RuleSet {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let rules = (1..)
        .zip(lines)
        .map(|(line, text)| rule(line, text).unwrap_or_else(|error| panic!("`{text}`: {error:#}")))
        .collect();
    RuleSet { rules }
}

/// The text of a rule set; [`parse`] gives it back.
#[must_use]
pub fn print(rules: &RuleSet) -> String {
    let mut text = String::new();
    for rule in &rules.rules {
        if rule.way == Way::Leaving {
            text.push_str("out ");
        }
        let openings: Vec<String> = rule.openings.iter().map(ToString::to_string).collect();
        text.push_str(&openings.join(" "));
        if !rule.sources.is_empty() {
            text.push_str(" from");
        }
        for source in &rule.sources {
            let _ = write!(text, " {source}");
        }
        if !rule.destinations.is_empty() {
            text.push_str(" to");
        }
        for destination in &rule.destinations {
            let _ = write!(text, " {destination}");
        }
        if let Some(address) = rule.address {
            let _ = write!(text, " at {address}");
        }
        text.push('\n');
    }
    text
}

/// A rule with this number, open to everybody and everywhere.
#[must_use]
pub fn open(number: u32, openings: &[Opening]) -> Rule {
    Rule {
        identity: Identity(format!("rule-{number}")),
        origin: Origin::Policy { name: format!("rule-{number}"), file: "rules".into(), line: number },
        way: Way::Arriving,
        openings: openings.to_vec(),
        sources: Vec::new(),
        destinations: Vec::new(),
        address: None,
    }
}

fn rule(line: u32, text: &str) -> Result<Rule> {
    enum Part {
        Openings,
        Sources,
        Destinations,
        Address,
    }
    let mut rule = open(line, &[]);
    let mut part = Part::Openings;
    for word in text.split_whitespace() {
        match (word, &part) {
            ("out", Part::Openings) if rule.openings.is_empty() => rule.way = Way::Leaving,
            ("from", _) => part = Part::Sources,
            ("to", _) => part = Part::Destinations,
            ("at", _) => part = Part::Address,
            (_, Part::Openings) => rule.openings.push(opening(word)?),
            (_, Part::Sources) => rule.sources.push(word.parse().with_context(|| word.to_owned())?),
            (_, Part::Destinations) => rule.destinations.push(word.parse().with_context(|| word.to_owned())?),
            (_, Part::Address) => rule.address = Some(word.parse().with_context(|| word.to_owned())?),
        }
    }
    Ok(rule)
}

fn opening(word: &str) -> Result<Opening> {
    if word == "group-answer" {
        return Ok(Opening::Answers);
    }
    let Some((kind, value)) = word.split_once('/') else {
        let number = word.strip_prefix("ip").with_context(|| format!("`{word}` opens nothing"))?;
        return Ok(Opening::Protocol(number.parse()?));
    };
    Ok(match kind {
        "tcp" => Opening::Tcp(value.parse()?),
        "udp" => Opening::Udp(value.parse()?),
        "sctp" => Opening::Sctp(value.parse()?),
        "icmp" => Opening::Icmp(value.parse()?),
        "icmpv6" => Opening::Icmpv6(value.parse()?),
        "ethertype" => {
            let digits = value.strip_prefix("0x").with_context(|| format!("`{value}` is no EtherType"))?;
            Opening::EtherType(u16::from_str_radix(digits, 16)?)
        }
        _ => bail!("`{kind}` is nothing that a rule opens"),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_printed_is_read_back() {
        let text = "tcp/443 udp/3478-3481 sctp/36412 icmp/8 icmpv6/128 ip47 from 198.51.100.0/24 2001:db8::/32 at 203.0.113.1\n\
                    udp/53\n\
                    ethertype/0x88f7\n\
                    group-answer from 198.51.100.0/24\n\
                    out tcp/443 to 198.51.100.0/24 2001:db8::/32 at 203.0.113.1\n";
        assert_eq!(super::print(&super::parse(text)), text);
    }
}
