//! Names of protocols and ICMP types, as nftables and the IANA registries spell them.

/// What an allow's `protocol` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    /// Frames that carry neither IP nor ARP, by their EtherType.
    EtherType,
    /// Datagrams that answer what this host asked a group, or a TFTP server, from elsewhere.
    Answers,
    /// Another protocol by number.
    Number(u8),
}

/// IANA "Assigned Internet Protocol Numbers", and what is no protocol of IP's.
const PROTOCOLS: &[(&str, Named)] = &[
    ("tcp", Named::Tcp),
    ("udp", Named::Udp),
    ("icmp", Named::Icmp),
    ("icmpv6", Named::Icmpv6),
    ("igmp", Named::Number(2)),
    ("ipip", Named::Number(4)),
    ("ipv6", Named::Number(41)),
    ("gre", Named::Number(47)),
    ("esp", Named::Number(50)),
    ("ah", Named::Number(51)),
    ("ospf", Named::Number(89)),
    ("pim", Named::Number(103)),
    ("vrrp", Named::Number(112)),
    ("sctp", Named::Sctp),
    ("dccp", Named::Number(33)),
    ("udplite", Named::Number(136)),
    ("ethertype", Named::EtherType),
    ("group-answer", Named::Answers),
];

/// IANA "ICMP Type Numbers".
const ICMP_TYPES: &[(&str, u8)] = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
];

/// IANA "ICMPv6 type Numbers".
const ICMPV6_TYPES: &[(&str, u8)] = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("router-solicitation", 133),
    ("router-advertisement", 134),
    ("neighbour-solicitation", 135),
    ("neighbour-advertisement", 136),
    ("redirect", 137),
    ("mld2-listener-report", 143),
];

/// A protocol by its name, or as `ip` and a number.
pub(super) fn protocol(name: &str) -> Option<Named> {
    if let Some((_, named)) = PROTOCOLS.iter().find(|(known, _)| *known == name) {
        return Some(*named);
    }
    match name.strip_prefix("ip")?.parse().ok()? {
        1 => Some(Named::Icmp),
        6 => Some(Named::Tcp),
        17 => Some(Named::Udp),
        58 => Some(Named::Icmpv6),
        132 => Some(Named::Sctp),
        number => Some(Named::Number(number)),
    }
}

/// The names that [`protocol`] knows, for a help text.
pub(super) fn protocol_names() -> String {
    names(PROTOCOLS)
}

/// The word of a policy for an IP protocol.
pub(crate) fn protocol_name(number: u8) -> String {
    let is = |named: Named| protocol(&format!("ip{number}")) == Some(named);
    let known = PROTOCOLS.iter().find(|(_, named)| is(*named));
    known.map_or_else(|| format!("ip{number}"), |(name, _)| (*name).to_owned())
}

/// An ICMP or ICMPv6 type by its name.
pub(super) fn icmp_type(named: Named, name: &str) -> Option<u8> {
    types(named).iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The names that [`icmp_type`] knows.
pub(super) fn icmp_type_names(named: Named) -> String {
    names(types(named))
}

fn types(named: Named) -> &'static [(&'static str, u8)] {
    if named == Named::Icmp { ICMP_TYPES } else { ICMPV6_TYPES }
}

fn names<T>(table: &[(&str, T)]) -> String {
    table.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
