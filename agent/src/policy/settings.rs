//! How the packets of an interface are judged, beside its rules.

use serde::{Deserialize, Serialize};

use super::{Flows, Unreadable};

/// What a policy says of an interface beside its rules. A manifest keeps it; what is left out of one is as in
/// a policy that does not mention it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether packets are dropped or only counted.
    pub mode: Enforcement,
    /// Whether leaving packets are judged too, and dropped or only counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Enforcement>,
    /// Whether replies to this host's DHCP client are accepted.
    #[serde(default = "yes")]
    pub dhcp: bool,
    /// What the roles stand for here.
    #[serde(default)]
    pub deployment: Deployment,
    /// Whether another interface of the policy is a gateway's: then what rules let in may be for the hosts behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transit: bool,
    /// What becomes of packets that cannot be judged by what they are addressed to.
    #[serde(default)]
    pub unreadable: Unreadable,
    /// How long conversations are remembered, and how many.
    #[serde(default)]
    pub flows: Flows,
}

/// Whether packets with a drop verdict are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// They are.
    #[default]
    Enforce,
    /// They are counted as dropped, and pass.
    Observe,
}

/// Where the roles of an interface are played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deployment {
    /// On this host: what arrives is for it.
    #[default]
    Host,
    /// By clients behind this interface: what arrives are their requests, which pass to others.
    Gateway,
}

impl Settings {
    /// Those of a policy that mentions none.
    pub const STANDARD: Self = Self {
        mode: Enforcement::Enforce,
        outbound: None,
        dhcp: true,
        deployment: Deployment::Host,
        transit: false,
        unreadable: Unreadable::DROP,
        flows: Flows::STANDARD,
    };

    /// The same, but nothing is dropped.
    #[must_use]
    pub fn observed(self) -> Self {
        let outbound = self.outbound.map(|_| Enforcement::Observe);
        Self { mode: Enforcement::Observe, outbound, ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// What serde takes for `dhcp` where it is left out.
fn yes() -> bool {
    Settings::STANDARD.dhcp
}
