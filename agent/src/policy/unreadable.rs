//! What becomes of packets that cannot be judged by what they are addressed to.

use portcullis_common::slot::Reason;
use serde::{Deserialize, Serialize};

/// The wish of an operator for packets of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// They are dropped.
    #[default]
    Drop,
    /// They go on to the host.
    Accept,
}

/// `[interface.unreadable]`: one wish for each reason why a packet cannot be judged. Whatever is left
/// out is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Unreadable {
    /// Frames that carry neither IP nor ARP.
    pub non_ip: Wish,
    /// More than two VLAN tags.
    pub vlan_depth: Wish,
    /// More IPv6 extension headers than are followed.
    pub header_limit: Wish,
    /// Packets that end before the headers that they announce.
    pub truncated: Wish,
    /// Headers that contradict themselves.
    pub malformed: Wish,
    /// Later fragments whose first was not seen.
    pub fragment: Wish,
    /// IP protocols without ports that no rule allows.
    pub undocumented_protocol: Wish,
}

impl Unreadable {
    /// What is unreadable is dropped, whatever it is.
    pub const DROP: Self = Self {
        non_ip: Wish::Drop,
        vlan_depth: Wish::Drop,
        header_limit: Wish::Drop,
        truncated: Wish::Drop,
        malformed: Wish::Drop,
        fragment: Wish::Drop,
        undocumented_protocol: Wish::Drop,
    };

    /// Whether packets that would be dropped for `reason` are accepted.
    #[must_use]
    pub fn accepts(&self, reason: Reason) -> bool {
        let wish = match reason {
            Reason::NonIp => self.non_ip,
            Reason::VlanDepth => self.vlan_depth,
            Reason::HeaderLimit => self.header_limit,
            Reason::Truncated => self.truncated,
            Reason::Malformed => self.malformed,
            Reason::Fragment => self.fragment,
            Reason::UndocumentedProtocol => self.undocumented_protocol,
            _ => return false,
        };
        wish == Wish::Accept
    }
}
