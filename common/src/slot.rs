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
    /// A later fragment whose first, which names the port, was not seen.
    Fragment = 10, "fragment", "later fragment whose first, which names the port, was not seen";
    /// A neighbour-discovery message that was forwarded (hop limit below 255).
    ForgedNeighbour = 11, "forged-neighbour", "neighbour discovery from beyond the link (hop limit below 255)";
    /// The transport header is split over fragments, or a later one would overwrite it (RFC 1858,
    /// RFC 3128, RFC 7112).
    FragmentHeader = 13, "fragment-header", "fragment that splits or overwrites the transport header";
    /// An SCTP packet that neither a rule nor a flow admits.
    UndocumentedSctp = 14, "undocumented-sctp", "SCTP port that no rule opens, and no conversation of this host";
    /// The program could not read its own tables. Never seen; counted so that it cannot hide.
    Internal = 12, "internal", "the program could not read its tables";

    /// [`Self::UndocumentedTcp`] of a packet that leaves; so with all that follow up to slot 31.
    OutboundTcp = 16, "outbound-undocumented-tcp", "leaving TCP segment that no rule allows, and no reply";
    /// A leaving UDP datagram that no rule admits.
    OutboundUdp = 17, "outbound-undocumented-udp", "leaving UDP datagram that no rule allows, and no reply";
    /// A leaving ICMP or ICMPv6 message that no rule admits.
    OutboundIcmp = 18, "outbound-undocumented-icmp", "leaving ICMP type that no rule allows, and no reply";
    /// Another leaving IP protocol that no rule admits.
    OutboundProtocol = 19, "outbound-undocumented-protocol", "leaving IP protocol that no rule allows";
    /// A rule allows the port, but not to this destination or from this local address.
    Destination = 20, "outbound-destination", "port is allowed, but not to this destination or from this local address";
    /// Leaving, and not IPv4, IPv6 or ARP.
    OutboundNonIp = 21, "outbound-non-ip", "leaving frame that carries neither IP nor ARP";
    /// A leaving packet ends before the headers it announces.
    OutboundTruncated = 22, "outbound-truncated", "leaving packet that ends before its headers";
    /// A leaving packet's header contradicts itself.
    OutboundMalformed = 23, "outbound-malformed", "leaving packet with a header that contradicts itself";
    /// More than two VLAN tags.
    OutboundVlanDepth = 24, "outbound-vlan-depth", "leaving packet with more than two VLAN tags";
    /// More IPv6 extension headers than the program follows.
    OutboundHeaderLimit = 25, "outbound-header-limit", "leaving packet with more IPv6 extension headers than are followed";
    /// A leaving fragment whose first was not seen.
    OutboundFragment = 26, "outbound-fragment", "leaving later fragment whose first was not seen";
    /// A leaving neighbour-discovery message that was forwarded.
    OutboundForgedNeighbour = 27, "outbound-forged-neighbour", "leaving neighbour discovery from beyond the link";
    /// The program could not read its own tables for a leaving packet.
    OutboundInternal = 28, "outbound-internal", "the program could not read its tables for a leaving packet";
    /// A leaving fragment splits or overwrites a transport header.
    OutboundFragmentHeader = 29, "outbound-fragment-header", "leaving fragment that splits or overwrites the transport header";
    /// A leaving SCTP packet that no rule admits.
    OutboundSctp = 30, "outbound-undocumented-sctp", "leaving SCTP packet that no rule allows, and no reply";

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
    /// [`Self::UndocumentedProtocol`] where the policy accepts it.
    UndocumentedProtocolAccepted = 40, "undocumented-protocol-accepted", "IP protocol that no rule allows, accepted by the policy";
    /// [`Self::NonIp`] where the policy accepts it.
    NonIpAccepted = 41, "non-ip-accepted", "frame that carries neither IP nor ARP, accepted by the policy";
    /// [`Self::Truncated`] where the policy accepts it.
    TruncatedAccepted = 42, "truncated-accepted", "packet that ends before its headers, accepted by the policy";
    /// [`Self::Malformed`] where the policy accepts it.
    MalformedAccepted = 43, "malformed-accepted", "header that contradicts itself, accepted by the policy";
    /// [`Self::VlanDepth`] where the policy accepts it.
    VlanDepthAccepted = 44, "vlan-depth-accepted", "more than two VLAN tags, accepted by the policy";
    /// [`Self::HeaderLimit`] where the policy accepts it.
    HeaderLimitAccepted = 45, "header-limit-accepted", "more IPv6 extension headers than are followed, accepted by the policy";
    /// [`Self::Fragment`] where the policy accepts it.
    FragmentAccepted = 46, "fragment-accepted", "later fragment whose first was not seen, accepted by the policy";
    /// Reply to an SCTP conversation that this host began.
    FlowSctp = 47, "flow-sctp", "reply to an SCTP conversation that this host began";
    /// TCP segment of a conversation with a port that is open to the other side.
    OutboundReplyTcp = 48, "outbound-reply-tcp", "leaving reply of a TCP port that is open to the other side";
    /// Reply to a UDP conversation that was let in.
    OutboundReplyUdp = 49, "outbound-reply-udp", "leaving reply to a UDP conversation that was let in";
    /// Echo reply to somebody whose requests are let in.
    OutboundReplyEcho = 50, "outbound-reply-echo", "leaving echo reply to somebody whose requests are let in";
    /// ARP.
    OutboundArp = 51, "outbound-arp", "leaving ARP";
    /// IPv6 neighbour discovery.
    OutboundNeighbourDiscovery = 52, "outbound-neighbour-discovery", "leaving IPv6 neighbour discovery";
    /// ICMP or ICMPv6 errors.
    OutboundIcmpError = 53, "outbound-icmp-error", "leaving ICMP error, path-MTU messages among them";
    /// Questions of this host's DHCP client.
    OutboundDhcp = 54, "outbound-dhcp", "leaving question of this host's DHCP client";
    /// Multicast listener discovery.
    OutboundMulticastListener = 55, "outbound-multicast-listener", "leaving IPv6 multicast listener discovery";
    /// [`Self::OutboundProtocol`] where the policy accepts it.
    OutboundProtocolAccepted = 56, "outbound-undocumented-protocol-accepted", "leaving IP protocol that no rule allows, accepted by the policy";
    /// [`Self::OutboundNonIp`] where the policy accepts it.
    OutboundNonIpAccepted = 57, "outbound-non-ip-accepted", "leaving frame that carries neither IP nor ARP, accepted by the policy";
    /// [`Self::OutboundTruncated`] where the policy accepts it.
    OutboundTruncatedAccepted = 58, "outbound-truncated-accepted", "leaving packet that ends before its headers, accepted by the policy";
    /// [`Self::OutboundMalformed`] where the policy accepts it.
    OutboundMalformedAccepted = 59, "outbound-malformed-accepted", "leaving packet with a header that contradicts itself, accepted by the policy";
    /// [`Self::OutboundVlanDepth`] where the policy accepts it.
    OutboundVlanDepthAccepted = 60, "outbound-vlan-depth-accepted", "leaving packet with more than two VLAN tags, accepted by the policy";
    /// [`Self::OutboundHeaderLimit`] where the policy accepts it.
    OutboundHeaderLimitAccepted = 61, "outbound-header-limit-accepted", "leaving packet with too many IPv6 extension headers, accepted by the policy";
    /// [`Self::OutboundFragment`] where the policy accepts it.
    OutboundFragmentAccepted = 62, "outbound-fragment-accepted", "leaving later fragment whose first was not seen, accepted by the policy";
    /// Reply to an SCTP conversation that was let in.
    OutboundReplySctp = 63, "outbound-reply-sctp", "leaving reply to an SCTP conversation that was let in";
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

/// Slots from a reason that a packet cannot be read to its twin, which accepts.
const TWIN: Slot = Reason::NonIpAccepted.slot() - Reason::NonIp.slot();

/// The slot of a packet that cannot be judged by its port, given that of the reason and the reasons that
/// the policy accepts: a bit for each slot below [`FIRST_ACCEPT`], and only for reasons that have a twin.
/// A reason that accepts keeps its slot.
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
    ];
    let mut n = 0;
    while n < twins.len() {
        assert!(unreadable(twins[n].0.slot(), 0) == twins[n].0.slot());
        assert!(unreadable(twins[n].0.slot(), u32::MAX) == twins[n].1.slot());
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
