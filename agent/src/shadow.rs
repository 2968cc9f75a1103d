//! Shadow: what an evaluated policy would decide otherwise, told in the words of the documents.
//!
//! The manifest of a generation with a shadow and what its program has counted go in, a report comes out,
//! the same for the table of the CLI and for JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_common::{
    class,
    second::Example,
    slot::{Reason, Slot},
};
use serde::Serialize;

use crate::{
    counters::Count,
    datapath::Differing,
    generation::{Beside, Manifest},
    ruleset::{Rule, Told},
};

/// What a shadow on one interface would decide otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// Interface.
    pub interface: String,
    /// The revision that decides.
    pub revision: u64,
    /// The revision that is evaluated.
    pub shadow: u64,
    /// What would differ, by rule.
    pub differences: Vec<RuleDifference>,
    /// Sum of what is dropped and would be accepted.
    pub opens: Count,
    /// Sum of what is accepted and would be dropped.
    pub closes: Count,
}

/// What differs for one rule, or for one reason to accept without a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleDifference {
    /// `opens`: dropped now, and would be accepted by this rule; `closes`: accepted now by this rule, and
    /// would be dropped.
    pub change: &'static str,
    /// Identity of the rule, or name of the reason.
    pub rule: String,
    /// `system/role`; `None` for an allow of the policy or a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text of the service cell, the name of the allow, or the reason in a sentence.
    pub service: String,
    /// The document, or the policy file; empty for a reason.
    pub document: String,
    /// The line there.
    pub line: u32,
    /// How much.
    #[serde(flatten)]
    pub count: Count,
    /// The last packet of the slot, as `tcp 198.51.100.7:40000 > 203.0.113.1:22`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

impl ShadowReport {
    /// The report of a generation; `None` where it has no shadow.
    #[must_use]
    pub fn new(manifest: &Manifest, differing: &[Differing]) -> Option<Self> {
        let Some(Beside::Shadow { candidate }) = &manifest.beside else { return None };
        let mut report = Self {
            interface: manifest.interface.clone(),
            revision: manifest.revision,
            shadow: candidate.revision,
            differences: Vec::new(),
            opens: Count::default(),
            closes: Count::default(),
        };
        for Differing { slot, opens, closes, last } in differing {
            for (change, manifest, counter, sum) in [
                ("opens", candidate.as_ref(), opens, &mut report.opens),
                ("closes", manifest, closes, &mut report.closes),
            ] {
                if counter.packets == 0 {
                    continue;
                }
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
                let told = Named::of(manifest, *slot);
                report.differences.push(RuleDifference {
                    change,
                    rule: told.rule,
                    role: told.role,
                    service: told.service,
                    document: told.document,
                    line: told.line,
                    count: (*counter).into(),
                    example: example(last),
                });
            }
        }
        Some(report)
    }
}

/// What a slot that accepts stands for.
#[derive(Default)]
struct Named {
    rule: String,
    role: Option<String>,
    service: String,
    document: String,
    line: u32,
}

impl Named {
    fn of(manifest: &Manifest, slot: Slot) -> Self {
        let rule = manifest.rules.iter().find(|rule| rule.slot == slot).map(|slotted| &slotted.rule);
        match (rule, Reason::of(slot)) {
            (Some(Rule { identity, origin, .. }), _) => {
                let Told { role, service, document, line } = origin.told();
                Self {
                    rule: identity.to_string(),
                    role,
                    service: service.to_owned(),
                    document: document.to_owned(),
                    line,
                }
            }
            (None, Some(reason)) => {
                Self { rule: reason.name().to_owned(), service: reason.text().to_owned(), ..Self::default() }
            }
            // A slot that no rule of this side has: nothing can be said of it but its number.
            (None, None) => Self { rule: format!("slot {slot}"), ..Self::default() },
        }
    }
}

/// A packet in one line; `None` where none was kept, or it has no addresses.
fn example(last: &Example) -> Option<String> {
    let address = |bytes: [u8; 16]| -> Option<IpAddr> {
        let [a, b, c, d, ..] = bytes;
        match last.version {
            4 => Some(Ipv4Addr::new(a, b, c, d).into()),
            6 => Some(Ipv6Addr::from(bytes).into()),
            _ => None,
        }
    };
    let (source, destination) = (address(last.source)?, address(last.destination)?);
    let index = last.index as usize;
    let ports = |transport: &str, first: usize| {
        let port = u16::try_from(index - first).ok()?;
        let from = SocketAddr::new(source, u16::from_be(last.source_port));
        let to = SocketAddr::new(destination, u16::from_be(port));
        Some(format!("{transport} {from} > {to}"))
    };
    match index {
        class::TCP..class::UDP => ports("tcp", class::TCP),
        class::UDP..class::ICMP4 => ports("udp", class::UDP),
        class::ICMP4..class::ICMP6 => Some(format!("icmp/{} {source} > {destination}", index - class::ICMP4)),
        class::ICMP6..class::PROTOCOL => {
            Some(format!("icmpv6/{} {source} > {destination}", index - class::ICMP6))
        }
        class::SCTP.. => ports("sctp", class::SCTP),
        class::PROTOCOL..class::IGMP => {
            Some(format!("ip{} {source} > {destination}", index - class::PROTOCOL))
        }
        class::IGMP..class::ETHER => Some(format!("igmp {source} > {destination}")),
        // A frame of an EtherType has no addresses; what was kept in their place is its payload.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_told_by_what_it_was_addressed_to() {
        let [source, destination] = [[192, 0, 2, 1], [203, 0, 113, 1]].map(|v4| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4);
            bytes
        });
        let of = |index: usize| {
            let index = u32::try_from(index).expect("a class");
            let source_port = 40_000_u16.to_be();
            example(&Example { seen: 1, source, destination, index, source_port, version: 4 })
        };
        for (index, expected) in [
            (class::TCP + class::port_index(443), "tcp 192.0.2.1:40000 > 203.0.113.1:443"),
            (class::UDP + class::port_index(53), "udp 192.0.2.1:40000 > 203.0.113.1:53"),
            (class::SCTP + class::port_index(36_412), "sctp 192.0.2.1:40000 > 203.0.113.1:36412"),
            (class::ICMP4 + 8, "icmp/8 192.0.2.1 > 203.0.113.1"),
            (class::PROTOCOL + 47, "ip47 192.0.2.1 > 203.0.113.1"),
            (class::IGMP + 0x16, "igmp 192.0.2.1 > 203.0.113.1"),
        ] {
            assert_eq!(of(index).as_deref(), Some(expected));
        }
        for index in [class::ETHER, class::ETHER + class::ETHER_TYPES - 1] {
            assert_eq!(of(index), None, "its payload is no address");
        }
        assert_eq!(example(&Example::default()), None);
    }
}
