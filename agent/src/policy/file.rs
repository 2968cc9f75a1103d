//! The policy as it is written: TOML with the place of every value. Nothing is resolved yet.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::{
    policy::{Deployment, Enforcement, Unreadable},
    problem::{Collector, Problems},
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    /// Version of the language.
    pub(super) version: Spanned<u32>,
    /// Catalog files beside the built-in ones.
    #[serde(default)]
    pub(super) catalog: Vec<String>,
    /// `[[interface]]`.
    #[serde(default)]
    pub(super) interface: Vec<InterfaceTable>,
    /// `[flows]`.
    #[serde(default)]
    pub(super) flows: FlowsTable,
    /// `[peers]`.
    #[serde(default)]
    pub(super) peers: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
}

/// `[flows]`: seconds, and a number.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FlowsTable {
    pub(super) tcp_opening: Option<Spanned<i64>>,
    pub(super) tcp_established: Option<Spanned<i64>>,
    pub(super) tcp_closing: Option<Spanned<i64>>,
    pub(super) udp: Option<Spanned<i64>>,
    pub(super) sctp: Option<Spanned<i64>>,
    pub(super) echo: Option<Spanned<i64>>,
    pub(super) answers: Option<Spanned<i64>>,
    pub(super) entries: Option<Spanned<i64>>,
}

/// `[[interface]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceTable {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) mode: Enforcement,
    #[serde(default = "yes")]
    pub(super) dhcp: bool,
    pub(super) outbound: Option<Enforcement>,
    #[serde(default)]
    pub(super) deployment: Deployment,
    #[serde(default)]
    pub(super) unreadable: Unreadable,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<Spanned<String>, Spanned<PortsValue>>,
    #[serde(default)]
    pub(super) address: Vec<AddressTable>,
    #[serde(default)]
    pub(super) allow: Vec<AllowTable>,
}

/// `[[interface.address]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressTable {
    pub(super) address: Spanned<String>,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<Spanned<String>, Spanned<PortsValue>>,
    #[serde(default)]
    pub(super) allow: Vec<AllowTable>,
}

/// `[[interface.allow]]` and `[[interface.address.allow]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowTable {
    pub(super) name: Spanned<String>,
    pub(super) protocol: Spanned<OneOrMany<String>>,
    pub(super) ports: Option<Spanned<PortsValue>>,
    pub(super) types: Option<Spanned<OneOrMany<TypeValue>>>,
    #[serde(default)]
    pub(super) direction: AllowDirection,
    pub(super) from: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) to: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Which packets an allow is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AllowDirection {
    #[default]
    In,
    Out,
}

/// One value, or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a value or a list of values")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Ports: `443`, `"80,443,5000-5100"` or a list of such.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a port as 443, ports as \"80,443,5000-5100\", or a list of them")]
pub(super) enum PortsValue {
    Number(i64),
    Text(String),
    List(Vec<PortsValue>),
}

/// An ICMP type or an EtherType, by number or by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a type as 8, \"echo-request\" or 0x88f7")]
pub(super) enum TypeValue {
    Number(i64),
    Name(String),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

fn yes() -> bool {
    true
}

/// Reads the text; what TOML or the shape of the tables forbids is a problem here.
pub(super) fn parse(text: &str, file: &str) -> Result<PolicyFile, Problems> {
    toml::from_str(text).map_err(|error| {
        let mut problems = Collector::new(text, file);
        problems.add_toml(&error);
        problems.finish(()).expect_err("a problem was just added")
    })
}
