//! Slots: where a verdict is counted, and what the verdict is.
//!
//! Every packet ends in exactly one slot. Slots below [`FIRST_RULE`] are the fixed reasons of the
//! datapath; the others belong to rules. Slots below [`FIRST_ACCEPT`] drop, all others accept: the
//! program needs no branch to turn a slot into an action.

/// A counter slot. Plain because the kernel stores it in tables; see the module for its meaning.
pub type Slot = u16;

/// Slots below this one drop.
pub const FIRST_ACCEPT: Slot = 32;
/// Slots from this one on belong to rules.
pub const FIRST_RULE: Slot = 64;
/// Number of slots, hence entries of the counters map.
pub const COUNT: u32 = 0x8000;
/// Number of rules that fit.
pub const MAX_RULES: usize = COUNT as usize - FIRST_RULE as usize;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $slot:literal, $name:literal, $text:literal;)*) => {
        /// The fixed reasons: why a packet was dropped, or accepted, without a rule.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant = $slot,)*
        }

        impl Reason {
            /// Every reason, in the order of the slots.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name by which the CLI, the metrics and the documentation know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for the operator.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    /// A TCP segment that neither a rule nor a flow admits.
    UndocumentedTcp = 0, "undocumented-tcp", "TCP port that no rule opens, and no conversation of this host";
    /// A UDP datagram that neither a rule nor a flow admits.
    UndocumentedUdp = 1, "undocumented-udp", "UDP port that no rule opens, and no conversation of this host";
    /// An ICMP or ICMPv6 message that no rule admits.
    UndocumentedIcmp = 2, "undocumented-icmp", "ICMP type that no rule allows";
    /// Another IP protocol that no rule admits.
    UndocumentedProtocol = 3, "undocumented-protocol", "IP protocol that no rule allows";
    /// A rule opens the port, but not for this source or local address.
    Source = 4, "source", "port is open, but not for this source or local address";
    /// Not IPv4, IPv6 or ARP.
    NonIp = 5, "non-ip", "frame that carries neither IP nor ARP";
    /// The packet ends before the headers it announces.
    Truncated = 6, "truncated", "packet ends before the headers that it announces";
    /// A header contradicts itself.
    Malformed = 7, "malformed", "header that contradicts itself";
    /// More than two VLAN tags.
    VlanDepth = 8, "vlan-depth", "more than two VLAN tags";
    /// More IPv6 extension headers than the program follows.
    HeaderLimit = 9, "header-limit", "more IPv6 extension headers than are followed";
    /// A fragment without the header that names its port.
    Fragment = 10, "fragment", "later fragment, which does not name its port";
    /// A neighbour-discovery message that was forwarded (hop limit below 255).
    ForgedNeighbour = 11, "forged-neighbour", "neighbour discovery from beyond the link (hop limit below 255)";
    /// The program could not read its own tables. Never seen; counted so that it cannot hide.
    Internal = 12, "internal", "the program could not read its tables";

    /// Reply to a TCP conversation that this host began.
    FlowTcp = 32, "flow-tcp", "reply to a TCP conversation that this host began";
    /// Reply to a UDP conversation that this host began.
    FlowUdp = 33, "flow-udp", "reply to a UDP conversation that this host began";
    /// Reply to an echo request of this host.
    FlowEcho = 34, "flow-echo", "reply to a ping from this host";
    /// ARP.
    Arp = 35, "arp", "ARP";
    /// IPv6 neighbour discovery from the link itself.
    NeighbourDiscovery = 36, "neighbour-discovery", "IPv6 neighbour discovery";
    /// ICMP or ICMPv6 errors, path-MTU messages among them.
    IcmpError = 37, "icmp-error", "ICMP error, path-MTU messages among them";
    /// DHCP or DHCPv6 replies to this host's client.
    Dhcp = 38, "dhcp", "DHCP reply to this host's client";
    /// Multicast listener discovery, without which switches stop delivering neighbour discovery.
    MulticastListener = 39, "multicast-listener", "IPv6 multicast listener discovery";
}

impl Reason {
    /// The slot that counts this reason.
    #[must_use]
    pub const fn slot(self) -> Slot {
        self as Slot
    }

    /// Whether a packet with this reason goes on to the host.
    #[must_use]
    pub const fn accepts(self) -> bool {
        accepts(self.slot())
    }

    /// The reason that a slot below [`FIRST_RULE`] stands for; `None` for a rule's slot or a free one.
    #[must_use]
    pub fn of(slot: Slot) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.slot() == slot)
    }
}

/// Whether the verdict of a slot is accept.
#[must_use]
pub const fn accepts(slot: Slot) -> bool {
    slot >= FIRST_ACCEPT
}

/// 1 where the verdict of a slot is accept, else 0: [`accepts`] without a comparison, so that no
/// compiler makes a branch of it. A branch on random verdicts is mispredicted half of the time.
/// `slot` is below [`COUNT`].
#[must_use]
pub const fn accept_bit(slot: Slot) -> u32 {
    (slot as u32 + (COUNT - FIRST_ACCEPT as u32)) >> COUNT.ilog2()
}

const _: () = {
    let mut slot = 0;
    while slot < COUNT {
        assert!(accept_bit(slot as Slot) == accepts(slot as Slot) as u32);
        slot += 1;
    }
};
