//! Requirements: what a vendor documents, one row at a time.
//!
//! These types are the contract between import, catalog and rule set, and the JSON that
//! `portcullis import --format json` prints. They hold what the document says, not what a policy
//! makes of it: nothing here knows of interfaces, addresses or the kernel.

mod action;
mod cells;
mod columns;
mod diagnostic;
pub mod difference;
mod expression;
#[cfg(test)]
mod fixtures;
mod flows;
mod fold;
mod footnotes;
mod import;
mod ipsec;
mod language;
mod lists;
mod matrix;
mod mentions;
mod names;
mod numbered;
mod outcome;
mod pairing;
mod pieces;
mod reading;
mod rows;
mod settings;
pub mod slug;
mod split_ranges;
mod statement;
mod subject;
mod surroundings;
mod tables;
mod title;
mod unruled;
mod vocabulary;
mod wrapped;

pub use self::diagnostic::Diagnostic;
pub use self::import::{DocumentInfo, Import, ImportError, TableInfo};
pub use self::ipsec::IpsecException;
pub use self::names::Name;
pub use self::outcome::{Outcome, RowOutcome};
pub use self::vocabulary::VocabularyError;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One documented row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Line of the row in its document, 1-based; of `<tr>` in HTML.
    pub line: u32,
    /// Name of the table the row stands in, unique in its document.
    pub table: String,
    /// Text of the role cell, white space collapsed.
    pub role: String,
    /// Text of the service cell, white space collapsed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Which side opens the conversation, seen from the role.
    #[serde(default)]
    pub direction: Direction,
    /// Text of the source cell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Text of the destination cell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub destination: String,
    /// IP protocols; empty where the document does not say and nothing could be inferred.
    pub protocols: Vec<Protocol>,
    /// Ports; empty for protocols without ports.
    pub ports: Vec<Ports>,
    /// Application protocol, as `SIP/TLS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The documented setting that moves the ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<Parameter>,
    /// Fields that the document does not state and that were inferred: `protocols`, `direction`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inferred: Vec<String>,
    /// Qualifications: `legacy`, `optional`, `configurable`, footnotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which side opens the conversation, seen from the role that the row belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Others connect to the role.
    Inbound,
    /// The role connects to others.
    Outbound,
    /// Either side.
    Both,
    /// The document does not say.
    #[default]
    Unknown,
}

/// An IP protocol as a document names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Any protocol.
    Any,
    /// Another protocol by its number (IANA protocol numbers): `ip47`.
    Ip(u8),
}

/// Ports as a document names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// A port or a range of ports.
    Range(PortRange),
    /// Any port.
    Any,
    /// A port that the system picks while running.
    Dynamic,
    /// A port that is defined elsewhere.
    Unspecified,
    /// A range that ends beyond the last port, kept as documented; [`Ports::range`] cuts it off.
    Beyond {
        /// First port.
        lo: u16,
        /// The end that no port has, 65536 to 99999.
        hi: u32,
    },
}

/// Ports `lo` to `hi`, both included; `lo <= hi` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    lo: u16,
    hi: u16,
}

/// A documented setting that moves or narrows a port range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The setting's name as documented.
    pub name: String,
    /// The documented default, as `5350` or `1024-65535`.
    pub default: String,
    /// Smallest port that the document permits.
    pub min: u16,
    /// Largest port that the document permits.
    pub max: u16,
}

/// A port or protocol that is none, with the text that was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Neither `tcp`, `udp`, `any` nor `ipN`.
    #[error("`{0}` is no protocol: use `tcp`, `udp`, `any` or `ip` and a number from 0 to 255, as `ip47`")]
    Protocol(String),
    /// Neither a port, a range nor one of the words.
    #[error(
        "`{0}` is no port: use a port (`443`), a range (`5000-5100`), `any`, `dynamic` or `unspecified`; ports end at 65535"
    )]
    Ports(String),
    /// A range whose end lies before its start.
    #[error("`{0}-{1}` ends before it starts: write `{1}-{0}`")]
    Reversed(u16, u16),
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { lo: 0, hi: u16::MAX };

    /// The range from `lo` to `hi`, both included.
    ///
    /// # Errors
    ///
    /// [`ValueError::Reversed`] where `hi` lies below `lo`.
    pub const fn new(lo: u16, hi: u16) -> Result<Self, ValueError> {
        if lo <= hi { Ok(Self { lo, hi }) } else { Err(ValueError::Reversed(lo, hi)) }
    }

    /// A single port.
    #[must_use]
    pub const fn single(port: u16) -> Self {
        Self { lo: port, hi: port }
    }

    /// First port.
    #[must_use]
    pub const fn lo(self) -> u16 {
        self.lo
    }

    /// Last port.
    #[must_use]
    pub const fn hi(self) -> u16 {
        self.hi
    }

    /// Number of ports, 1 to 65,536.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.hi as u32 - self.lo as u32 + 1
    }

    /// Whether `port` lies in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.lo <= port && port <= self.hi
    }

    /// Whether every port that can be used lies in the range: port 0 is reserved (RFC 6335, section 6), so that
    /// documents write both `0-65535` and `1-65535` for any port.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.lo <= 1 && self.hi == u16::MAX
    }

    /// Whether every port of `other` lies in the range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }
}

impl Ports {
    /// The ports to open: every port for [`Ports::Any`], what exists of [`Ports::Beyond`]; `None` where
    /// the document names no number.
    #[must_use]
    pub const fn range(self) -> Option<PortRange> {
        match self {
            Self::Range(range) => Some(range),
            Self::Any => Some(PortRange::ALL),
            Self::Beyond { lo, .. } => Some(PortRange { lo, hi: u16::MAX }),
            Self::Dynamic | Self::Unspecified => None,
        }
    }
}

impl Protocol {
    /// Whether the protocol has no ports, as ESP; SCTP, DCCP and UDP-Lite have (IANA protocol numbers).
    #[must_use]
    pub const fn is_portless(self) -> bool {
        matches!(self, Self::Ip(number) if !matches!(number, 6 | 17 | 33 | 132 | 136))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Any => f.write_str("any"),
            Self::Ip(number) => write!(f, "ip{number}"),
        }
    }
}

impl FromStr for Protocol {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "any" => Ok(Self::Any),
            _ => match text.strip_prefix("ip").and_then(|number| number.parse().ok()) {
                Some(6) => Ok(Self::Tcp),
                Some(17) => Ok(Self::Udp),
                Some(number) => Ok(Self::Ip(number)),
                None => Err(ValueError::Protocol(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lo == self.hi { write!(f, "{}", self.lo) } else { write!(f, "{}-{}", self.lo, self.hi) }
    }
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let port = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or_else(|| ValueError::Ports(text.to_owned()))
        };
        match text.split_once('-') {
            Some((lo, hi)) => Self::new(port(lo.trim())?, port(hi.trim())?),
            None => port(text.trim()).map(Self::single),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Any => f.write_str("any"),
            Self::Dynamic => f.write_str("dynamic"),
            Self::Unspecified => f.write_str("unspecified"),
            Self::Beyond { lo, hi } => write!(f, "{lo}-{hi}"),
        }
    }
}

impl FromStr for Ports {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "any" => Ok(Self::Any),
            "dynamic" => Ok(Self::Dynamic),
            "unspecified" => Ok(Self::Unspecified),
            _ => text.parse().map(Self::Range).or_else(|error| beyond(text).ok_or(error)),
        }
    }
}

/// `1024-65536` and the like.
fn beyond(text: &str) -> Option<Ports> {
    let (lo, hi) = text.split_once('-')?;
    let (lo, hi) = (lo.trim().parse().ok()?, hi.trim().parse().ok()?);
    (65_536..=99_999).contains(&hi).then_some(Ports::Beyond { lo, hi })
}

macro_rules! serde_by_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_by_text!(Protocol, PortRange, Ports);
