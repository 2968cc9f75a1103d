//! The reasons where no rule decides.

use portcullis_common::slot::Reason;

use super::{Verdict, frame::Destination};
use crate::ruleset::Way;

/// A verdict about an arriving packet as one about a leaving packet.
pub(super) fn leaving(verdict: Verdict) -> Verdict {
    let Verdict::Reason(reason) = verdict else { return verdict };
    Verdict::Reason(match reason {
        Reason::UndocumentedTcp => Reason::OutboundTcp,
        Reason::UndocumentedUdp => Reason::OutboundUdp,
        Reason::UndocumentedSctp => Reason::OutboundSctp,
        Reason::UndocumentedIcmp => Reason::OutboundIcmp,
        Reason::UndocumentedProtocol => Reason::OutboundProtocol,
        Reason::UndocumentedProtocolAccepted => Reason::OutboundProtocolAccepted,
        Reason::Source => Reason::Destination,
        Reason::NonIp => Reason::OutboundNonIp,
        Reason::NonIpAccepted => Reason::OutboundNonIpAccepted,
        Reason::Truncated => Reason::OutboundTruncated,
        Reason::TruncatedAccepted => Reason::OutboundTruncatedAccepted,
        Reason::Malformed => Reason::OutboundMalformed,
        Reason::MalformedAccepted => Reason::OutboundMalformedAccepted,
        Reason::VlanDepth => Reason::OutboundVlanDepth,
        Reason::VlanDepthAccepted => Reason::OutboundVlanDepthAccepted,
        Reason::HeaderLimit => Reason::OutboundHeaderLimit,
        Reason::HeaderLimitAccepted => Reason::OutboundHeaderLimitAccepted,
        Reason::Fragment => Reason::OutboundFragment,
        Reason::FragmentAccepted => Reason::OutboundFragmentAccepted,
        Reason::FragmentHeader => Reason::OutboundFragmentHeader,
        Reason::ForgedNeighbour => Reason::OutboundForgedNeighbour,
        Reason::Arp => Reason::OutboundArp,
        Reason::NeighbourDiscovery => Reason::OutboundNeighbourDiscovery,
        Reason::MulticastListener => Reason::OutboundMulticastListener,
        Reason::IcmpError => Reason::OutboundIcmpError,
        Reason::IgmpQuery => Reason::OutboundIgmp,
        Reason::LinkControl => Reason::OutboundLinkControl,
        other => other,
    })
}

/// The reason where no rule opens a destination.
pub(super) fn unruled(destination: Destination, way: Way) -> Reason {
    match destination {
        // RFC 9776 section 4: queries; and the messages by which a host says which groups it wants.
        Destination::Igmp(0x11) => Reason::IgmpQuery,
        Destination::Igmp(0x12 | 0x16 | 0x17 | 0x22) if way == Way::Leaving => Reason::IgmpQuery,
        Destination::Igmp(_) => Reason::UndocumentedProtocol,
        Destination::Tcp(_) => Reason::UndocumentedTcp,
        Destination::Udp(_) => Reason::UndocumentedUdp,
        Destination::Sctp(_) => Reason::UndocumentedSctp,
        // Unreachable, time exceeded, parameter problem (RFC 792).
        Destination::Icmp(3 | 11 | 12) => Reason::IcmpError,
        // RFC 4890 section 4.4.1.
        Destination::Icmpv6(1..=4) => Reason::IcmpError,
        Destination::Icmpv6(130..=132 | 143) => Reason::MulticastListener,
        Destination::Icmpv6(133..=137) => Reason::NeighbourDiscovery,
        Destination::Icmp(_) | Destination::Icmpv6(_) => Reason::UndocumentedIcmp,
        Destination::Protocol(_) => Reason::UndocumentedProtocol,
        Destination::Answers => Reason::GroupAnswer,
    }
}
