//! Rule set: what one interface lets in and out, and why.
//!
//! A rule is a documented row (or a local allow) bound to an interface or to one of its addresses. It
//! says nothing of classes, slots or the kernel: [`crate::compile`] turns rules into tables.

mod from_policy;

pub use from_policy::{Silence, Silent, rule_set};

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use crate::requirement::PortRange;

/// The rules of one interface, in the order of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The rules. No two have the same identity.
    pub rules: Vec<Rule>,
}

/// Something that an interface lets in or out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What the rule is known by across reloads; its counter belongs to this.
    pub identity: Identity,
    /// Why the rule exists.
    pub origin: Origin,
    /// Which packets it is for.
    #[serde(default, skip_serializing_if = "Way::is_arriving")]
    pub way: Way,
    /// What it opens.
    #[serde(deserialize_with = "stored")]
    pub openings: Vec<Opening>,
    /// Sources that it is limited to; empty means any. A leaving packet's is the local address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<IpNet>,
    /// Destinations that it is limited to; empty means any. An arriving packet's is the local address,
    /// except on a gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<IpNet>,
    /// The local address that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// Whether a packet arrives at an interface or leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// It arrives.
    #[default]
    #[serde(rename = "in")]
    Arriving,
    /// It leaves.
    #[serde(rename = "out")]
    Leaving,
}

impl Way {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
    const fn is_arriving(&self) -> bool {
        matches!(self, Self::Arriving)
    }
}

/// What a rule is known by: equal in two generations exactly if it is the same row, bound in the same
/// place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(pub String);

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A row of a vendor's document.
    Document(DocumentOrigin),
    /// An `[[interface.allow]]` of the policy.
    Policy {
        /// Its name.
        name: String,
        /// The policy file.
        file: String,
        /// Its line there.
        line: u32,
    },
}

/// The documented row that a rule enforces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentOrigin {
    /// System, as `skype-for-business-server-2015`.
    pub system: String,
    /// Role that declares the row, as `front-end-server`.
    pub role: String,
    /// Text of the service cell.
    pub service: String,
    /// Application protocol, as `SIP/TLS`.
    pub application: Option<String>,
    /// Identifier of the document in its catalog.
    pub document: String,
    /// Line in the document.
    pub line: u32,
}

/// Something that packets can be addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opening {
    /// TCP destination ports.
    Tcp(PortRange),
    /// UDP destination ports.
    Udp(PortRange),
    /// SCTP destination ports.
    Sctp(PortRange),
    /// An ICMP type.
    Icmp(u8),
    /// An ICMPv6 type.
    Icmpv6(u8),
    /// Another IP protocol, by number.
    Protocol(u8),
    /// Frames that carry neither IP nor ARP, by their EtherType. They have no addresses that a rule could be limited to.
    EtherType(u16),
    /// UDP datagrams that answer what this host asked a group, or a TFTP server, from another address or port.
    Answers,
}

/// Openings as a manifest has them. One that was written before SCTP had ports opens all of them by the number
/// of the protocol (132, RFC 9260), which a rollback must not shut.
fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Opening>, D::Error> {
    const SCTP: Opening = Opening::Protocol(132);
    let openings = Vec::deserialize(deserializer)?;
    let opening = |opening| if opening == SCTP { Opening::Sctp(PortRange::ALL) } else { opening };
    Ok(openings.into_iter().map(opening).collect())
}

/// Where a rule comes from, in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// `system/role`; `None` for an allow of the policy.
    pub role: Option<String>,
    /// Text of the service cell, or the name of the allow.
    pub service: &'a str,
    /// The document, or the policy file.
    pub document: &'a str,
    /// The line there.
    pub line: u32,
}

impl Origin {
    /// The origin in an operator's words.
    #[must_use]
    pub fn told(&self) -> Told<'_> {
        match self {
            Self::Document(origin) => Told {
                role: Some(format!("{}/{}", origin.system, origin.role)),
                service: &origin.service,
                document: &origin.document,
                line: origin.line,
            },
            Self::Policy { name, file, line } => {
                Told { role: None, service: name, document: file, line: *line }
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(ports) => write!(f, "tcp/{ports}"),
            Self::Udp(ports) => write!(f, "udp/{ports}"),
            Self::Sctp(ports) => write!(f, "sctp/{ports}"),
            Self::Icmp(kind) => write!(f, "icmp/{kind}"),
            Self::Icmpv6(kind) => write!(f, "icmpv6/{kind}"),
            Self::Protocol(number) => write!(f, "ip{number}"),
            Self::EtherType(number) => write!(f, "ethertype/{number:#06x}"),
            Self::Answers => f.write_str("group-answer"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(origin) => write!(f, "{}:{}", origin.document, origin.line),
            Self::Policy { file, line, .. } => write!(f, "{file}:{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Opening, PortRange, Rule};

    #[test]
    fn a_rule_that_was_stored_before_sctp_had_ports_opens_all_of_them() {
        let stored = |openings: &str| {
            format!(
                r#"{{"identity":"allow/s1","origin":{{"policy":{{"name":"s1","file":"p","line":1}}}},"openings":{openings}}}"#
            )
        };
        let rule: Rule = serde_json::from_str(&stored(r#"[{"protocol":132},{"protocol":47}]"#)).unwrap();
        assert_eq!(rule.openings, [Opening::Sctp(PortRange::ALL), Opening::Protocol(47)]);
        let again = serde_json::to_string(&rule).unwrap();
        assert!(again.contains(r#"[{"sctp":"0-65535"},{"protocol":47}]"#), "{again}");
        assert_eq!(serde_json::from_str::<Rule>(&again).unwrap(), rule);
    }
}
