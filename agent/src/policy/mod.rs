//! Policy: which roles each interface plays here, and what else it lets in.
//!
//! Text goes in, a [`Policy`] comes out in which every name is resolved and every value checked, or
//! all the problems of the text with their places. docs/policy.md is its reference. Nothing here
//! looks at the machine: whether an interface exists is somebody else's question.

mod ether_type;
mod file;
mod flows;
mod protocol;
mod resolve;
mod selection;
mod settings;
mod unreadable;

pub use crate::problem::{Place, Problem, Problems};
pub use flows::Flows;
pub(crate) use protocol::protocol_name;
pub use selection::is_interface_name;
pub use settings::{Deployment, Enforcement, Settings};
pub use unreadable::{Unreadable, Wish};

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    catalog::Catalog,
    requirement::PortRange,
    ruleset::{Opening, Way},
};

/// A policy in which every name is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The file it was read from.
    pub file: String,
    /// Its interfaces, in the order of the file; no two have the same name.
    pub interfaces: Vec<InterfacePolicy>,
}

/// What one interface enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePolicy {
    /// Name, as `eth0`, or a pattern, as `eth*` ([`Policy::on`] tells which interfaces it stands for).
    pub name: String,
    /// Where the file names it.
    pub place: Place,
    /// How its packets are judged, beside its rules.
    pub settings: Settings,
    /// The roles it plays, on all its addresses or on one.
    pub bindings: Vec<Binding>,
    /// What it lets in besides.
    pub allows: Vec<Allow>,
}

/// A role on an interface or on one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `system/role`, known to the catalog.
    pub role: String,
    /// Where the file names it.
    pub place: Place,
    /// The local address that plays the role; `None` for all.
    pub address: Option<IpAddr>,
    /// Values of the role's parameters.
    pub parameters: BTreeMap<String, PortRange>,
    /// Networks of the peers that the policy names; a documented source with such a name is limited to them.
    pub peers: BTreeMap<String, Vec<IpNet>>,
}

/// Something that no document covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Its name, unique on its interface.
    pub name: String,
    /// Where the file has it.
    pub place: Place,
    /// Which packets it is for.
    pub way: Way,
    /// What it opens.
    pub openings: Vec<Opening>,
    /// Sources that it is limited to; empty means any.
    pub sources: Vec<IpNet>,
    /// Destinations that it is limited to; empty means any.
    pub destinations: Vec<IpNet>,
    /// The local address that it is limited to.
    pub address: Option<IpAddr>,
}

/// A policy as it is written: its names are not looked up yet.
pub struct Written<'a> {
    parsed: file::PolicyFile,
    text: &'a str,
    file: &'a str,
}

impl<'a> Written<'a> {
    /// Reads a policy; `file` is what it is called in problems.
    ///
    /// # Errors
    ///
    /// What TOML or the shape of the tables forbids.
    pub fn read(text: &'a str, file: &'a str) -> Result<Self, Problems> {
        Ok(Self { parsed: file::parse(text, file)?, text, file })
    }

    /// The catalog files that it names, as it names them: they have to be added to the catalog before.
    #[must_use]
    pub fn catalog_files(&self) -> &[String] {
        &self.parsed.catalog
    }

    /// Looks its names up.
    ///
    /// # Errors
    ///
    /// Every problem of the text that could be found, each with its place.
    pub fn resolve(self, catalog: &Catalog) -> Result<Policy, Problems> {
        resolve::resolve(self.parsed, self.text, self.file, catalog)
    }
}

impl Policy {
    /// Reads a policy and looks its names up.
    ///
    /// # Errors
    ///
    /// Every problem of the text that could be found, each with its place.
    pub fn parse(text: &str, file: &str, catalog: &Catalog) -> Result<Self, Problems> {
        Written::read(text, file)?.resolve(catalog)
    }
}
