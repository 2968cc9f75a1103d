//! What enforces an interface -> which of its parts are missing.
//!
//! Whoever may use BPF can take away a program, a link's pin or a pinned map, and nothing tells of it. So it is
//! looked at: by a command that has put a policy in place, and by the agent again and again.

use std::{collections::BTreeMap, fmt};

use netlink_packet_core::NlasIterator;
use portcullis_common::abi::map;
use serde::Serialize;

use super::{Attachment, DatapathError, Pins, attachment::link_at, link, pins::held};
use crate::netlink::list_links;

/// A part of what enforces an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The program that judges what arrives is not on the interface.
    Ingress,
    /// Its link has no pin.
    IngressPin,
    /// The program that sees what leaves is not on the interface.
    Egress,
    /// Its link has no pin.
    EgressPin,
    /// The counters have no pin.
    Counters,
    /// The flows, or what belongs to them, have no pin.
    Flows,
    /// What the counters stand for is not known any more.
    Manifest,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "the ingress program",
            Self::IngressPin => "the pin of the ingress link",
            Self::Egress => "the egress program",
            Self::EgressPin => "the pin of the egress link",
            Self::Counters => "the counters",
            Self::Flows => "the flows",
            Self::Manifest => "the manifest",
        })
    }
}

/// The XDP programs on the interfaces of this network namespace, by the interface's number: what the interfaces
/// themselves say, whatever a link says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnInterfaces(BTreeMap<u32, Vec<u32>>);

impl OnInterfaces {
    /// Those that are there now.
    ///
    /// # Errors
    ///
    /// Where the kernel does not list the interfaces.
    pub fn now() -> Result<Self, DatapathError> {
        let listed = list_links(|_, payload| programs(payload)).map_err(|error| DatapathError::Bpf {
            what: "list the interfaces".into(),
            reason: super::chain(error.as_ref()),
        })?;
        Ok(Self(listed.into_iter().collect()))
    }

    pub(super) fn has(&self, interface: u32, program: u32) -> bool {
        self.0.get(&interface).is_some_and(|programs| programs.contains(&program))
    }
}

/// The number of an interface and the XDP programs on it. Only what is needed is read, so that no attribute of a
/// newer kernel can hide an interface.
fn programs(payload: &[u8]) -> Option<(u32, Vec<u32>)> {
    /// Bytes of `struct ifinfomsg` of include/uapi/linux/rtnetlink.h, and where the number stands in it.
    const HEADER: usize = 16;
    const INDEX: std::ops::Range<usize> = 4..8;
    /// `IFLA_XDP`, and `IFLA_XDP_PROG_ID` to `IFLA_XDP_HW_PROG_ID` in it, of include/uapi/linux/if_link.h.
    const XDP: u16 = 43;
    const IDS: std::ops::RangeInclusive<u16> = 4..=7;
    /// `NLA_F_NESTED` of include/uapi/linux/netlink.h.
    const NESTED: u16 = 1 << 15;

    let index = u32::from_ne_bytes(payload.get(INDEX)?.try_into().ok()?);
    let mut programs = Vec::new();
    for attribute in NlasIterator::new(payload.get(HEADER..)?).flatten() {
        if attribute.kind() & !NESTED != XDP {
            continue;
        }
        for id in NlasIterator::new(attribute.value()).flatten().filter(|id| IDS.contains(&id.kind())) {
            programs.extend(id.value().try_into().ok().map(u32::from_ne_bytes));
        }
    }
    Some((index, programs))
}

impl Attachment {
    /// The parts that are missing, of those that the kernel holds; all of them where nothing is attached.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn missing(&self, on_interfaces: &OnInterfaces) -> Result<Vec<Part>, DatapathError> {
        let mut missing = Vec::new();
        match link_at(&self.pins.ingress())? {
            None => missing.push(Part::IngressPin),
            Some(link) if self.stands(&link) && on_interfaces.has(link.interface, link.program) => {}
            Some(_) => missing.push(Part::Ingress),
        }
        match link_at(&self.pins.egress())? {
            Some(link) if self.stands(&link) => {}
            Some(_) => missing.push(Part::Egress),
            // On clsact there is no link to be pinned.
            None if self.filter()?.is_some() => {}
            None if link::knows_tcx(self.index()?) => missing.push(Part::EgressPin),
            None => missing.push(Part::Egress),
        }
        for name in Pins::SHARED_MAPS {
            let part = if name == map::COUNTERS { Part::Counters } else { Part::Flows };
            if !missing.contains(&part) && held(&self.pins.map(name))?.is_none() {
                missing.push(part);
            }
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::written;

    #[test]
    fn the_programs_of_every_mode_are_read_whatever_else_an_interface_says() {
        let mut bytes = vec![0; 4];
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(written(999, &[1, 2, 3]));
        let ids = [written(2, &[4]), written(5, &11_u32.to_ne_bytes()), written(6, &12_u32.to_ne_bytes())];
        bytes.extend(written(43 | 1 << 15, &ids.concat()));
        assert_eq!(programs(&bytes), Some((7, vec![11, 12])));
        assert_eq!(programs(&bytes[..12]), None);
        assert_eq!(programs(&bytes[..16]), Some((7, vec![])));
    }

    #[test]
    fn this_hosts_interfaces_are_listed() {
        let all = OnInterfaces::now().expect("rtnetlink answers");
        assert!(all.0.contains_key(&1), "loopback is there: {all:?}");
    }
}
