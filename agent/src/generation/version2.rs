//! The slots of the reasons in version 2 of the ABI, whose manifests do not tell them. Later ones do.

use portcullis_common::slot::Slot;

/// The version.
pub(super) const VERSION: u32 = 2;

/// Slot and name of each reason.
pub(super) const REASONS: &[(Slot, &str)] = &[
    (0, "undocumented-tcp"),
    (1, "undocumented-udp"),
    (2, "undocumented-icmp"),
    (3, "undocumented-protocol"),
    (4, "source"),
    (5, "non-ip"),
    (6, "truncated"),
    (7, "malformed"),
    (8, "vlan-depth"),
    (9, "header-limit"),
    (10, "fragment"),
    (11, "forged-neighbour"),
    (12, "internal"),
    (13, "fragment-header"),
    (14, "undocumented-sctp"),
    (16, "outbound-undocumented-tcp"),
    (17, "outbound-undocumented-udp"),
    (18, "outbound-undocumented-icmp"),
    (19, "outbound-undocumented-protocol"),
    (20, "outbound-destination"),
    (21, "outbound-non-ip"),
    (22, "outbound-truncated"),
    (23, "outbound-malformed"),
    (24, "outbound-vlan-depth"),
    (25, "outbound-header-limit"),
    (26, "outbound-fragment"),
    (27, "outbound-forged-neighbour"),
    (28, "outbound-internal"),
    (29, "outbound-fragment-header"),
    (30, "outbound-undocumented-sctp"),
    (32, "flow-tcp"),
    (33, "flow-udp"),
    (34, "flow-echo"),
    (35, "arp"),
    (36, "neighbour-discovery"),
    (37, "icmp-error"),
    (38, "dhcp"),
    (39, "multicast-listener"),
    (40, "undocumented-protocol-accepted"),
    (41, "non-ip-accepted"),
    (42, "truncated-accepted"),
    (43, "malformed-accepted"),
    (44, "vlan-depth-accepted"),
    (45, "header-limit-accepted"),
    (46, "fragment-accepted"),
    (47, "flow-sctp"),
    (48, "outbound-reply-tcp"),
    (49, "outbound-reply-udp"),
    (50, "outbound-reply-echo"),
    (51, "outbound-arp"),
    (52, "outbound-neighbour-discovery"),
    (53, "outbound-icmp-error"),
    (54, "outbound-dhcp"),
    (55, "outbound-multicast-listener"),
    (56, "outbound-undocumented-protocol-accepted"),
    (57, "outbound-non-ip-accepted"),
    (58, "outbound-truncated-accepted"),
    (59, "outbound-malformed-accepted"),
    (60, "outbound-vlan-depth-accepted"),
    (61, "outbound-header-limit-accepted"),
    (62, "outbound-fragment-accepted"),
    (63, "outbound-reply-sctp"),
];

#[cfg(test)]
mod tests {
    use portcullis_common::slot::Reason;

    use super::REASONS;

    #[test]
    fn no_reason_of_version_2_is_unknown_and_no_two_have_one_slot() {
        let mut slots: Vec<_> = REASONS.iter().map(|(slot, _)| *slot).collect();
        slots.dedup();
        assert_eq!(slots.len(), 62);
        assert!(slots.is_sorted() && slots.last() == Some(&63));
        for (slot, name) in REASONS {
            assert!(Reason::ALL.iter().any(|reason| reason.name() == *name), "{slot} {name}");
        }
    }
}
