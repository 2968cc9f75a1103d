//! Slots: where a verdict is counted, and what the verdict is.
//!
//! Every packet ends in exactly one slot. Slots below [`FIRST_RULE`] are the fixed reasons of the
//! datapath; the others belong to rules. Slots below [`FIRST_ACCEPT`] drop, all others accept: the
//! program needs no branch to turn a slot into an action.
//!
//! The bits of a reason's slot have a meaning, so that one reason is made of another by an addition:
//!
//! | bits | meaning |
//! | --- | --- |
//! | 8 | set where the verdict is accept |
//! | 7 | set where the packet leaves ([`leaving`]) |
//! | 6 | accept: clear for the twin of a drop reason ([`unreadable`]), set for a reason of its own |
//! | 0 to 5 | the reason: 64 of each kind, of which some two thirds are free |

/// A counter slot. Plain because the kernel stores it in tables; see the module for its meaning.
pub type Slot = u16;

/// Slots below this one drop.
pub const FIRST_ACCEPT: Slot = 0x100;
/// Slots from this one on belong to rules.
pub const FIRST_RULE: Slot = 0x200 + if cfg!(feature = "previous-abi") { 8 } else { 0 };
/// Number of slots, hence entries of the counters map.
pub const COUNT: u32 = 0x8000;
/// Number of rules that fit.
pub const MAX_RULES: usize = COUNT as usize - FIRST_RULE as usize;

/// The slot of a reason: as it is written, or exchanged with its neighbour's in the version of the ABI that stands for
/// the one before this in tests. Distances that matter are even.
const fn placed(slot: Slot) -> Slot {
    if cfg!(feature = "previous-abi") { slot ^ 1 } else { slot }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $slot:literal, $name:literal, $text:literal;)*) => {
        /// The fixed reasons: why a packet was dropped, or accepted, without a rule.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant = placed($slot),)*
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
    UndocumentedTcp = 0x000, "undocumented-tcp", "TCP port that no rule opens, and no conversation of this host";
    /// A UDP datagram that neither a rule nor a flow admits.
    UndocumentedUdp = 0x001, "undocumented-udp", "UDP port that no rule opens, and no conversation of this host";
    /// An ICMP or ICMPv6 message that no rule admits.
    UndocumentedIcmp = 0x002, "undocumented-icmp", "ICMP type that no rule allows";
    /// Another IP protocol that no rule admits.
    UndocumentedProtocol = 0x003, "undocumented-protocol", "IP protocol that no rule allows";
    /// A rule opens the port, but not for this source or local address.
    Source = 0x004, "source", "port is open, but not for this source or local address";
    /// Not IPv4, IPv6 or ARP.
    NonIp = 0x005, "non-ip", "frame that carries neither IP nor ARP";
    /// The packet ends before the headers it announces.
    Truncated = 0x006, "truncated", "packet ends before the headers that it announces";
    /// A header contradicts itself.
    Malformed = 0x007, "malformed", "header that contradicts itself";
    /// More than two VLAN tags.
    VlanDepth = 0x008, "vlan-depth", "more than two VLAN tags";
    /// More IPv6 extension headers than the program follows.
    HeaderLimit = 0x009, "header-limit", "more IPv6 extension headers than are followed";
    /// A later fragment whose first, which names the port, was not seen.
    Fragment = 0x00a, "fragment", "later fragment whose first, which names the port, was not seen";
    /// A neighbour-discovery message that was forwarded (hop limit below 255).
    ForgedNeighbour = 0x00b, "forged-neighbour", "neighbour discovery from beyond the link (hop limit below 255)";
    /// The transport header is split over fragments, or a later one would overwrite it (RFC 1858,
    /// RFC 3128, RFC 7112).
    FragmentHeader = 0x00d, "fragment-header", "fragment that splits or overwrites the transport header";
    /// An SCTP packet that neither a rule nor a flow admits.
    UndocumentedSctp = 0x00e, "undocumented-sctp", "SCTP port that no rule opens, and no conversation of this host";
    /// A rule opens the port, but this host would route the packet on to another.
    Routed = 0x00f, "routed", "port is open, but the packet is addressed to another host, to which this one would pass it on";
    /// A datagram that answers what this host asked a group, or a TFTP server, from elsewhere, and no rule lets it in.
    GroupAnswer = 0x010, "group-answer", "answer to a question to a group, or TFTP from another port, that no rule lets in";
    /// The program could not read its own tables. Never seen; counted so that it cannot hide.
    Internal = 0x00c, "internal", "the program could not read its tables";

    /// [`Self::UndocumentedTcp`] of a packet that leaves; so with all that follow up to the first that accepts.
    OutboundTcp = 0x080, "outbound-undocumented-tcp", "leaving TCP segment that no rule allows, and no reply";
    /// A leaving UDP datagram that no rule admits.
    OutboundUdp = 0x081, "outbound-undocumented-udp", "leaving UDP datagram that no rule allows, and no reply";
    /// A leaving ICMP or ICMPv6 message that no rule admits.
    OutboundIcmp = 0x082, "outbound-undocumented-icmp", "leaving ICMP type that no rule allows, and no reply";
    /// Another leaving IP protocol that no rule admits.
    OutboundProtocol = 0x083, "outbound-undocumented-protocol", "leaving IP protocol that no rule allows";
    /// A rule allows the port, but not to this destination or from this local address.
    Destination = 0x084, "outbound-destination", "port is allowed, but not to this destination or from this local address";
    /// Leaving, and not IPv4, IPv6 or ARP.
    OutboundNonIp = 0x085, "outbound-non-ip", "leaving frame that carries neither IP nor ARP";
    /// A leaving packet ends before the headers it announces.
    OutboundTruncated = 0x086, "outbound-truncated", "leaving packet that ends before its headers";
    /// A leaving packet's header contradicts itself.
    OutboundMalformed = 0x087, "outbound-malformed", "leaving packet with a header that contradicts itself";
    /// More than two VLAN tags.
    OutboundVlanDepth = 0x088, "outbound-vlan-depth", "leaving packet with more than two VLAN tags";
    /// More IPv6 extension headers than the program follows.
    OutboundHeaderLimit = 0x089, "outbound-header-limit", "leaving packet with more IPv6 extension headers than are followed";
    /// A leaving fragment whose first was not seen.
    OutboundFragment = 0x08a, "outbound-fragment", "leaving later fragment whose first was not seen";
    /// A leaving neighbour-discovery message that was forwarded.
    OutboundForgedNeighbour = 0x08b, "outbound-forged-neighbour", "leaving neighbour discovery from beyond the link";
    /// The program could not read its own tables for a leaving packet.
    OutboundInternal = 0x08c, "outbound-internal", "the program could not read its tables for a leaving packet";
    /// A leaving fragment splits or overwrites a transport header.
    OutboundFragmentHeader = 0x08d, "outbound-fragment-header", "leaving fragment that splits or overwrites the transport header";
    /// A leaving SCTP packet that no rule admits.
    OutboundSctp = 0x08e, "outbound-undocumented-sctp", "leaving SCTP packet that no rule allows, and no reply";

    /// Reply to a TCP conversation that this host began.
    FlowTcp = 0x160, "flow-tcp", "reply to a TCP conversation that this host began";
    /// Reply to a UDP conversation that this host began.
    FlowUdp = 0x161, "flow-udp", "reply to a UDP conversation that this host began";
    /// Reply to an echo request of this host.
    FlowEcho = 0x162, "flow-echo", "reply to a ping from this host";
    /// ARP.
    Arp = 0x163, "arp", "ARP";
    /// IPv6 neighbour discovery from the link itself.
    NeighbourDiscovery = 0x164, "neighbour-discovery", "IPv6 neighbour discovery";
    /// ICMP or ICMPv6 errors, path-MTU messages among them.
    IcmpError = 0x165, "icmp-error", "ICMP error, path-MTU messages among them";
    /// DHCP or DHCPv6 replies to this host's client.
    Dhcp = 0x166, "dhcp", "DHCP reply to this host's client";
    /// Multicast listener discovery, without which switches stop delivering neighbour discovery.
    MulticastListener = 0x167, "multicast-listener", "IPv6 multicast listener discovery";
    /// [`Self::UndocumentedProtocol`] where the policy accepts it.
    UndocumentedProtocolAccepted = 0x103, "undocumented-protocol-accepted", "IP protocol that no rule allows, accepted by the policy";
    /// [`Self::NonIp`] where the policy accepts it.
    NonIpAccepted = 0x105, "non-ip-accepted", "frame that carries neither IP nor ARP, accepted by the policy";
    /// [`Self::Truncated`] where the policy accepts it.
    TruncatedAccepted = 0x106, "truncated-accepted", "packet that ends before its headers, accepted by the policy";
    /// [`Self::Malformed`] where the policy accepts it.
    MalformedAccepted = 0x107, "malformed-accepted", "header that contradicts itself, accepted by the policy";
    /// [`Self::VlanDepth`] where the policy accepts it.
    VlanDepthAccepted = 0x108, "vlan-depth-accepted", "more than two VLAN tags, accepted by the policy";
    /// [`Self::HeaderLimit`] where the policy accepts it.
    HeaderLimitAccepted = 0x109, "header-limit-accepted", "more IPv6 extension headers than are followed, accepted by the policy";
    /// [`Self::Fragment`] where the policy accepts it.
    FragmentAccepted = 0x10a, "fragment-accepted", "later fragment whose first was not seen, accepted by the policy";
    /// Control frame of the link itself (IEEE 802.1Q-2022 table 8-1): LACP, EAPOL, LLDP, spanning tree.
    LinkControl = 0x169, "link-control", "control frame of the link (LACP, EAPOL, LLDP, spanning tree and the like)";
    /// IGMP membership query, without which switches stop delivering groups (RFC 4541).
    IgmpQuery = 0x16a, "igmp-query", "IGMP membership query";
    /// Reply to an SCTP conversation that this host began.
    FlowSctp = 0x168, "flow-sctp", "reply to an SCTP conversation that this host began";
    /// TCP segment of a conversation with a port that is open to the other side.
    OutboundReplyTcp = 0x1e0, "outbound-reply-tcp", "leaving reply of a TCP port that is open to the other side";
    /// Reply to a UDP conversation that was let in.
    OutboundReplyUdp = 0x1e1, "outbound-reply-udp", "leaving reply to a UDP conversation that was let in";
    /// Echo reply to somebody whose requests are let in.
    OutboundReplyEcho = 0x1e2, "outbound-reply-echo", "leaving echo reply to somebody whose requests are let in";
    /// ARP.
    OutboundArp = 0x1e3, "outbound-arp", "leaving ARP";
    /// IPv6 neighbour discovery.
    OutboundNeighbourDiscovery = 0x1e4, "outbound-neighbour-discovery", "leaving IPv6 neighbour discovery";
    /// ICMP or ICMPv6 errors.
    OutboundIcmpError = 0x1e5, "outbound-icmp-error", "leaving ICMP error, path-MTU messages among them";
    /// Questions of this host's DHCP client.
    OutboundDhcp = 0x1e6, "outbound-dhcp", "leaving question of this host's DHCP client";
    /// Multicast listener discovery.
    OutboundMulticastListener = 0x1e7, "outbound-multicast-listener", "leaving IPv6 multicast listener discovery";
    /// [`Self::OutboundProtocol`] where the policy accepts it.
    OutboundProtocolAccepted = 0x183, "outbound-undocumented-protocol-accepted", "leaving IP protocol that no rule allows, accepted by the policy";
    /// [`Self::OutboundNonIp`] where the policy accepts it.
    OutboundNonIpAccepted = 0x185, "outbound-non-ip-accepted", "leaving frame that carries neither IP nor ARP, accepted by the policy";
    /// [`Self::OutboundTruncated`] where the policy accepts it.
    OutboundTruncatedAccepted = 0x186, "outbound-truncated-accepted", "leaving packet that ends before its headers, accepted by the policy";
    /// [`Self::OutboundMalformed`] where the policy accepts it.
    OutboundMalformedAccepted = 0x187, "outbound-malformed-accepted", "leaving packet with a header that contradicts itself, accepted by the policy";
    /// [`Self::OutboundVlanDepth`] where the policy accepts it.
    OutboundVlanDepthAccepted = 0x188, "outbound-vlan-depth-accepted", "leaving packet with more than two VLAN tags, accepted by the policy";
    /// [`Self::OutboundHeaderLimit`] where the policy accepts it.
    OutboundHeaderLimitAccepted = 0x189, "outbound-header-limit-accepted", "leaving packet with too many IPv6 extension headers, accepted by the policy";
    /// [`Self::OutboundFragment`] where the policy accepts it.
    OutboundFragmentAccepted = 0x18a, "outbound-fragment-accepted", "leaving later fragment whose first was not seen, accepted by the policy";
    /// Control frame of the link itself.
    OutboundLinkControl = 0x1e9, "outbound-link-control", "leaving control frame of the link (LACP, EAPOL, LLDP, spanning tree and the like)";
    /// IGMP queries and reports.
    OutboundIgmp = 0x1ea, "outbound-igmp", "leaving IGMP query or report";
    /// Reply to an SCTP conversation that was let in.
    OutboundReplySctp = 0x1e8, "outbound-reply-sctp", "leaving reply to an SCTP conversation that was let in";
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

/// Slots from a drop reason to its twin, which accepts.
const TWIN: Slot = FIRST_ACCEPT;

/// Drop reasons that may have a twin are below this one, so that a word has a bit for each.
const TWINNED: Slot = 32;

/// The slot of a packet that cannot be judged by its port, given that of the reason and the reasons that
/// the policy accepts: a bit for the slot of each, and only for reasons that have a twin. A reason that
/// accepts keeps its slot: bit 5 of its number is set, and no bit of `accepted` stands there.
#[must_use]
#[inline(always)]
pub const fn unreadable(slot: Slot, accepted: u32) -> Slot {
    slot + TWIN * ((accepted as u64) >> (slot & 63) & 1) as Slot
}

const _: () = {
    let twins = [
        (Reason::NonIp, Reason::NonIpAccepted),
        (Reason::Truncated, Reason::TruncatedAccepted),
        (Reason::Malformed, Reason::MalformedAccepted),
        (Reason::VlanDepth, Reason::VlanDepthAccepted),
        (Reason::HeaderLimit, Reason::HeaderLimitAccepted),
        (Reason::Fragment, Reason::FragmentAccepted),
        (Reason::UndocumentedProtocol, Reason::UndocumentedProtocolAccepted),
    ];
    let mut n = 0;
    while n < twins.len() {
        assert!(twins[n].0.slot() < TWINNED);
        assert!(unreadable(twins[n].0.slot(), 0) == twins[n].0.slot());
        assert!(unreadable(twins[n].0.slot(), u32::MAX) == twins[n].1.slot());
        n += 1;
    }
    let mut n = 0;
    while n < Reason::ALL.len() {
        let slot = Reason::ALL[n].slot();
        assert!(slot < FIRST_RULE);
        // A reason of its own that accepts stands where no bit of `accepted` is.
        assert!(!accepts(slot) || slot & 0x40 == 0 || slot & 63 >= TWINNED);
        n += 1;
    }
};

/// Slots from the reason of an arriving packet to that of a leaving one.
const LEAVING: Slot = Reason::OutboundTcp.slot() - Reason::UndocumentedTcp.slot();

/// The slot of a reason for a packet that leaves, given that for one that arrives.
#[must_use]
pub const fn leaving(slot: Slot) -> Slot {
    slot + LEAVING
}

/// Whether a reason's slot counts packets that leave.
#[must_use]
pub const fn is_leaving(reason: Reason) -> bool {
    reason.slot() & LEAVING != 0
}

const _: () = {
    let pairs = [
        (Reason::UndocumentedUdp, Reason::OutboundUdp),
        (Reason::UndocumentedIcmp, Reason::OutboundIcmp),
        (Reason::UndocumentedProtocol, Reason::OutboundProtocol),
        (Reason::Source, Reason::Destination),
        (Reason::NonIp, Reason::OutboundNonIp),
        (Reason::Truncated, Reason::OutboundTruncated),
        (Reason::Malformed, Reason::OutboundMalformed),
        (Reason::VlanDepth, Reason::OutboundVlanDepth),
        (Reason::HeaderLimit, Reason::OutboundHeaderLimit),
        (Reason::Fragment, Reason::OutboundFragment),
        (Reason::ForgedNeighbour, Reason::OutboundForgedNeighbour),
        (Reason::Internal, Reason::OutboundInternal),
        (Reason::FragmentHeader, Reason::OutboundFragmentHeader),
        (Reason::UndocumentedSctp, Reason::OutboundSctp),
        (Reason::FlowTcp, Reason::OutboundReplyTcp),
        (Reason::FlowUdp, Reason::OutboundReplyUdp),
        (Reason::FlowEcho, Reason::OutboundReplyEcho),
        (Reason::FlowSctp, Reason::OutboundReplySctp),
        (Reason::Arp, Reason::OutboundArp),
        (Reason::NeighbourDiscovery, Reason::OutboundNeighbourDiscovery),
        (Reason::IcmpError, Reason::OutboundIcmpError),
        (Reason::Dhcp, Reason::OutboundDhcp),
        (Reason::MulticastListener, Reason::OutboundMulticastListener),
        (Reason::LinkControl, Reason::OutboundLinkControl),
        (Reason::IgmpQuery, Reason::OutboundIgmp),
        (Reason::UndocumentedProtocolAccepted, Reason::OutboundProtocolAccepted),
        (Reason::NonIpAccepted, Reason::OutboundNonIpAccepted),
        (Reason::TruncatedAccepted, Reason::OutboundTruncatedAccepted),
        (Reason::MalformedAccepted, Reason::OutboundMalformedAccepted),
        (Reason::VlanDepthAccepted, Reason::OutboundVlanDepthAccepted),
        (Reason::HeaderLimitAccepted, Reason::OutboundHeaderLimitAccepted),
        (Reason::FragmentAccepted, Reason::OutboundFragmentAccepted),
    ];
    let mut n = 0;
    while n < pairs.len() {
        assert!(leaving(pairs[n].0.slot()) == pairs[n].1.slot());
        assert!(is_leaving(pairs[n].1) && !is_leaving(pairs[n].0));
        n += 1;
    }
};

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
