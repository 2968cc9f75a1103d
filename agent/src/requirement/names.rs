//! Names: the addresses that a document tells its readers to reach.
//!
//! In come cells; out come [`Name`]s: scheme, host pattern and port. Documents write the address twice
//! (as text and as its link), or run it together with the text behind it. Invariant: a host pattern has a
//! dot and only characters that host names have; a star stands for one or more labels.

use serde::{Deserialize, Serialize};

/// An address that the product connects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// 1-based line of the document.
    pub line: u32,
    /// `https`, `http`, …; empty where the document states none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Host pattern, as `*.contacts.example`.
    pub host: String,
    /// The port: stated, or the scheme's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What it is for, as the document says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// `port` where the document leaves it to the scheme.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inferred: Vec<String>,
}

/// An address found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Where the address ends in the text.
    pub(crate) end: usize,
}

/// Schemes and the ports that they have (RFC 9110, RFC 8446 over them; RFC 4217, RFC 4511, RFC 3261).
const SCHEMES: [(&str, u16); 12] = [
    ("https", 443),
    ("http", 80),
    ("wss", 443),
    ("ws", 80),
    ("ftps", 990),
    ("ftp", 21),
    ("sftp", 22),
    ("ssh", 22),
    ("ldaps", 636),
    ("ldap", 389),
    ("sips", 5061),
    ("sip", 5060),
];
/// Ends of host names, for text that runs on behind them; the longest that fits wins.
const TOP_LEVEL: [&str; 24] = [
    "com", "net", "org", "info", "biz", "edu", "gov", "mil", "int", "cloud", "local", "example", "test",
    "io", "eu", "de", "fr", "it", "es", "jp", "ru", "cn", "uk", "us",
];

impl Name {
    /// The name that `address` on `line` stands for.
    pub(crate) fn new(line: u32, address: Address, purpose: String) -> Self {
        let own = SCHEMES.iter().find(|(scheme, _)| *scheme == address.scheme).map(|&(_, port)| port);
        let inferred = if address.port.is_none() && own.is_some() { vec!["port".to_owned()] } else { vec![] };
        Self {
            line,
            scheme: address.scheme,
            host: address.host,
            port: address.port.or(own),
            purpose,
            inferred,
        }
    }
}

/// Whether a cell holds addresses and little else.
pub(crate) fn is_address(text: &str) -> bool {
    if memchr::memchr2(b'.', b':', text.as_bytes()).is_none() {
        return false;
    }
    let mut words = text
        .split_whitespace()
        .map(|word| word.trim_matches([',', ';', '(', ')', '<', '>']))
        .filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    parse(first).is_some_and(|address| address.end == first.len())
        && words.all(|word| parse(word).is_some() || word.len() <= 3)
}

/// The addresses of a cell, each once.
pub(crate) fn addresses(text: &str) -> Vec<Address> {
    let mut found: Vec<Address> = vec![];
    for word in
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '<' | '>' | '、'))
    {
        // `relay.example.com:80, 443`: another port of the same address.
        let another = found.last().filter(|before| before.port.is_some()).and_then(|before| {
            let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
            let port = digits.then(|| word.parse().ok().filter(|&port| port > 0)).flatten()?;
            Some(Address { port: Some(port), ..before.clone() })
        });
        if let Some(address) = another.or_else(|| parse(word))
            && !found.iter().any(|known| {
                (&known.scheme, &known.host, known.port) == (&address.scheme, &address.host, address.port)
            })
        {
            found.push(address);
        }
    }
    found
}

/// The address at the start of `text`: `scheme://host:port/path`, or a host pattern alone.
pub(crate) fn parse(text: &str) -> Option<Address> {
    // Most words are none, and show it early: neither a scheme nor two labels.
    if !text.bytes().any(|byte| matches!(byte, b'.' | b':')) {
        return None;
    }
    let (scheme, start) = match text.find("://") {
        Some(at) if text[..at].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') && at > 0 => {
            (text[..at].to_ascii_lowercase(), at + 3)
        }
        _ => (String::new(), 0),
    };
    let rest = &text[start..];
    let length =
        rest.bytes().take_while(|&byte| byte.is_ascii_alphanumeric() || b".-*_<>{}".contains(&byte)).count();
    let host = run_together(rest[..length].trim_end_matches(['.', '-']), scheme.is_empty());
    if !is_host(host, scheme.is_empty()) {
        return None;
    }
    let mut end = start + host.len();
    let mut port = None;
    if let Some(digits) = text[end..].strip_prefix(':') {
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        port = digits[..count].parse().ok();
        if port.is_some() {
            end += 1 + count;
        }
    }
    if text[end..].starts_with('/') {
        end += text[end..].bytes().take_while(u8::is_ascii_graphic).count();
    }
    Some(Address { scheme, host: host.to_owned(), port, end })
}

/// Cuts off text that runs on behind the host: it begins with a capital, as a new cell does.
fn run_together(host: &str, bare: bool) -> &str {
    let Some(dot) = host.rfind('.') else { return host };
    let last = &host[dot + 1..];
    let turn = last
        .as_bytes()
        .windows(2)
        .position(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    if let Some(turn) = turn {
        return &host[..dot + 2 + turn];
    }
    let known = TOP_LEVEL
        .iter()
        .filter(|known| last.len() > known.len() + 3 && last.starts_with(**known))
        .map(|known| known.len())
        .max();
    match known {
        Some(length) if !bare => &host[..dot + 1 + length],
        _ => host,
    }
}

/// Whether a text is a host pattern; without a scheme it must look like nothing else.
fn is_host(host: &str, bare: bool) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let letters = labels
        .last()
        .is_some_and(|last| last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let plain = labels.iter().all(|label| !label.is_empty() && label.len() <= 63);
    let address = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    if bare {
        // `e.g`, `example.pdf` and `System.Net` are no hosts.
        let file = labels.last().is_some_and(|last| {
            [
                "exe", "dll", "pdf", "ini", "xml", "txt", "md", "html", "htm", "conf", "log", "js", "msi",
                "zip", "yaml", "yml", "json",
            ]
            .contains(last)
        });
        return labels.len() >= 2
            && letters
            && plain
            && !file
            && labels.iter().all(|label| label.len() > 1 || *label == "*")
            && !labels.iter().skip(1).any(|label| label.starts_with(|c: char| c.is_ascii_uppercase()));
    }
    plain && (labels.len() >= 2 && letters || address || labels.len() == 1 && host.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_as_documents_write_them() {
        let cases = [
            ("https://Login.example.com", Some(("https", "Login.example.com", None))),
            ("http://relay.example.com:1863Relay for all", Some(("http", "relay.example.com", Some(1863)))),
            (
                "https://*.contacts.example.comObtains the list",
                Some(("https", "*.contacts.example.com", None)),
            ),
            ("http://crl.example.com最新の一覧", Some(("http", "crl.example.com", None))),
            ("*.update.example.net", Some(("", "*.update.example.net", None))),
            ("https://example.net/path?x=1", Some(("https", "example.net", None))),
            ("e.g.", None),
            ("setup.exe", None),
            ("443", None),
            ("1.2", None),
        ];
        for (text, expected) in cases {
            let found = parse(text);
            let found =
                found.as_ref().map(|address| (address.scheme.as_str(), address.host.as_str(), address.port));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_address_has_all_its_ports() {
        let ports: Vec<_> = addresses("https://a.example.com:80, 8443 relay.example.com 443")
            .into_iter()
            .map(|address| (address.host, address.port))
            .collect();
        let a = || "a.example.com".to_owned();
        assert_eq!(ports, [(a(), Some(80)), (a(), Some(8443)), ("relay.example.com".to_owned(), None)]);
    }

    #[test]
    fn an_address_and_its_link_are_one() {
        assert_eq!(addresses("https://a.example.com (https://a.example.com)").len(), 1);
        assert!(
            is_address("https://a.example.com (https://a.example.com)")
                && !is_address("see https://a.example.com for more")
        );
    }
}
