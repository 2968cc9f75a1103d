//! What the kernel tells of an interface -> what its packets begin with, as XDP sees them.
//!
//! XDP sees a packet from its link-layer header on, and nothing tells a program what that is. The hardware type of the
//! interface does (ARPHRD), with two exceptions that its kind names.

use std::{collections::BTreeMap, fmt};

use netlink_packet_core::{NlaBuffer, NlasIterator};
use portcullis_common::abi::feature;
use serde::{Deserialize, Serialize};

use super::{DatapathError, device::index_of};
use crate::{netlink, policy::is_interface_name};

/// What the packets of an interface begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkType {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// Their IP header.
    Ip,
}

/// Why the packets of an interface cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherLink {
    /// Their own header stands there, or that of the packet that carried them: a tunnel without a fixed other end shows
    /// the outer one (`ipgre_header_ops` of net/ipv4/ip_gre.c).
    Outer(&'static str),
    /// The header of the packet that carried them stands there, of a multicast router.
    Register,
    /// What stands before them depends on the interface that they came through.
    Ipsec(&'static str),
    /// They begin with something else; the number is the hardware type.
    Header(u16),
}

impl OtherLink {
    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Outer(_) => {
                "name the interface below it in the policy, or use a tunnel that carries Ethernet (`gretap`, \
                 `ip6gretap`) in its place"
            }
            Self::Register => "name the interface below it in the policy",
            Self::Ipsec(_) => "name the interface in the policy that those packets come through",
            Self::Header(_) => "name the interface in the policy that carries IP over it",
        }
    }
}

impl fmt::Display for OtherLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outer(kind) => {
                write!(
                    f,
                    "it is a {kind} interface, where it depends on the tunnel whether XDP sees their own IP header or the \
                     outer one"
                )
            }
            Self::Register => f.write_str(
                "it is a PIM register interface, where XDP sees the outer IP header and not their own",
            ),
            Self::Ipsec(kind) => write!(
                f,
                "it is an IPsec interface ({kind}), where XDP sees the link-layer header of whatever they came through"
            ),
            Self::Header(number) => write!(
                f,
                "they begin with neither an Ethernet nor an IP header, as it is {} (ARPHRD type {number})",
                name(*number)
            ),
        }
    }
}

/// The link types of interfaces by name, or why their packets cannot be judged.
pub type LinkTypes = BTreeMap<String, Result<LinkType, OtherLink>>;

/// Bytes of `struct ifinfomsg` of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 16;

/// Hardware types of include/uapi/linux/if_arp.h.
mod arphrd {
    pub(super) const ETHER: u16 = 1;
    pub(super) const PPP: u16 = 512;
    pub(super) const RAWIP: u16 = 519;
    pub(super) const TUNNEL: u16 = 768;
    pub(super) const TUNNEL6: u16 = 769;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const SIT: u16 = 776;
    pub(super) const IPGRE: u16 = 778;
    pub(super) const PIMREG: u16 = 779;
    pub(super) const IP6GRE: u16 = 823;
    /// Of a tunnel without a header of its own, as WireGuard and tun.
    pub(super) const NONE: u16 = 0xfffe;
}

/// What an interface with a hardware type is, for people.
fn name(number: u16) -> &'static str {
    match number {
        3 => "an AX.25 interface",
        24 => "an IEEE 1394 interface",
        32 => "an InfiniBand interface",
        256 | 257 => "a SLIP interface",
        280 => "a CAN interface",
        290 => "an MCTP interface",
        801..=803 => "a monitor of a wireless network",
        804 | 805 => "an IEEE 802.15.4 interface",
        820 => "a Phonet interface",
        824 => "a monitor of netlink",
        825 => "a 6LoWPAN interface",
        826 => "a monitor of virtual sockets",
        _ => "of a kind that is not known here",
    }
}

impl LinkType {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Ethernet, Self::Ip];

    /// That of an interface; `None` where there is no such interface.
    ///
    /// # Errors
    ///
    /// Where its packets cannot be judged, or the kernel does not tell.
    pub fn of(interface: &str) -> Result<Option<Self>, DatapathError> {
        let Some(index) = index_of(interface) else { return Ok(None) };
        told_of(interface, index)?
            .transpose()
            .map_err(|link| DatapathError::Unjudged { interface: interface.to_owned(), link })
    }

    /// That of each interface of this network namespace, loopback left out, by name.
    ///
    /// # Errors
    ///
    /// Where the kernel does not list them.
    pub fn of_all() -> Result<LinkTypes, DatapathError> {
        /// `IFLA_IFNAME` of include/uapi/linux/if_link.h.
        const NAME: u16 = 3;
        let read = |_, payload: &[u8]| {
            let name = text(attribute(payload.get(HEADER..)?, NAME)?);
            Some((String::from_utf8_lossy(name).into_owned(), Self::told(payload)?))
        };
        let all = netlink::list_links(read)
            .map_err(|error| DatapathError::bpf("list the interfaces", error.as_ref()))?;
        Ok(all.into_iter().filter(|(name, _)| name != "lo" && is_interface_name(name)).collect())
    }

    /// Fails where programs for this type would misread the packets of an interface.
    pub(super) fn ensure(self, interface: &str, index: u32) -> Result<(), DatapathError> {
        match told_of(interface, index)? {
            Some(Ok(found)) if found == self => Ok(()),
            Some(Err(link)) => Err(DatapathError::Unjudged { interface: interface.to_owned(), link }),
            // It is another one than when they were loaded.
            Some(Ok(_)) | None => Err(DatapathError::Changed { interface: interface.to_owned() }),
        }
    }

    /// What `struct ifinfomsg` and its attributes say of an interface; `None` where they are cut short.
    pub(crate) fn told(payload: &[u8]) -> Option<Result<Self, OtherLink>> {
        /// Attributes of include/uapi/linux/if_link.h.
        const LINK_INFO: u16 = 18;
        const INFO_KIND: u16 = 1;
        const INFO_DATA: u16 = 2;
        const TUN_TYPE: u16 = 3;
        /// `IFF_TAP` of include/uapi/linux/if_tun.h.
        const TAP: u8 = 2;

        let hardware = u16::from_ne_bytes(payload.get(2..4)?.try_into().ok()?);
        let info = attribute(payload.get(HEADER..)?, LINK_INFO).unwrap_or_default();
        let kind = attribute(info, INFO_KIND).unwrap_or_default();
        let kind = text(kind);
        // Whoever owns a tun device may give it any hardware type, and its packets stay as they are.
        if kind == b"tun"
            && let Some([kind]) = attribute(info, INFO_DATA).and_then(|data| attribute(data, TUN_TYPE))
        {
            return Some(Ok(if *kind == TAP { Self::Ethernet } else { Self::Ip }));
        }
        Some(match (kind, hardware) {
            // The kernel puts the link-layer header of the carrying packet before the inner one
            // (`skb_mac_header_rebuild` in net/xfrm/xfrm_input.c).
            (b"xfrm", _) => Err(OtherLink::Ipsec("xfrm")),
            (b"vti" | b"vti6", _) => Err(OtherLink::Ipsec("vti")),
            (_, arphrd::ETHER | arphrd::LOOPBACK) => Ok(Self::Ethernet),
            (
                _,
                arphrd::NONE | arphrd::TUNNEL | arphrd::TUNNEL6 | arphrd::SIT | arphrd::PPP | arphrd::RAWIP,
            ) => Ok(Self::Ip),
            (_, arphrd::IPGRE) => Err(OtherLink::Outer("GRE")),
            (_, arphrd::IP6GRE) => Err(OtherLink::Outer("GRE over IPv6")),
            (_, arphrd::PIMREG) => Err(OtherLink::Register),
            (_, number) => Err(OtherLink::Header(number)),
        })
    }

    /// What the kernel programs know it by.
    pub(super) fn feature(self) -> u32 {
        match self {
            Self::Ethernet => 0,
            Self::Ip => feature::NO_LINK_HEADER,
        }
    }
}

/// Text up to the zero that ends it.
fn text(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The value of an attribute among others.
fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    /// Bytes of `struct nlattr`.
    const HEADER: usize = 4;
    let mut all = NlasIterator::new(attributes).flatten();
    let found = all.find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == wanted)?;
    let length = usize::from(found.length());
    found.into_inner().get(HEADER..length)
}

fn told_of(interface: &str, index: u32) -> Result<Option<Result<LinkType, OtherLink>>, DatapathError> {
    netlink::link(index, LinkType::told).map_err(|error| {
        DatapathError::bpf(format!("tell what kind of interface `{interface}` is"), error.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::written;

    /// `struct ifinfomsg` and attributes, in this host's byte order.
    fn message(hardware: u16, kind: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(hardware.to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(written(3, b"some0\0"));
        if !kind.is_empty() {
            bytes.extend(written(18, &[written(1, kind), written(2, data)].concat()));
        }
        bytes
    }

    /// ARPHRD type, kind, the kind's data, and what the link is taken for.
    type Case<'a> = (u16, &'a [u8], Vec<u8>, Result<LinkType, OtherLink>);

    #[test]
    fn the_hardware_type_says_what_packets_begin_with_and_some_kinds_know_better() {
        let (ethernet, ip) = (Ok(LinkType::Ethernet), Ok(LinkType::Ip));
        let tun = |kind| written(3, &[kind]);
        let cases: [Case<'_>; 17] = [
            (1, b"", vec![], ethernet),
            (1, b"veth\0", vec![], ethernet),
            (772, b"", vec![], ethernet),
            (65_534, b"wireguard\0", vec![], ip),
            (768, b"ipip\0", vec![], ip),
            (769, b"ip6tnl\0", vec![], ip),
            (776, b"sit\0", vec![], ip),
            (512, b"ppp\0", vec![], ip),
            (519, b"", vec![], ip),
            (778, b"gre\0", vec![], Err(OtherLink::Outer("GRE"))),
            (823, b"ip6gre\0", vec![], Err(OtherLink::Outer("GRE over IPv6"))),
            (65_534, b"xfrm\0", vec![], Err(OtherLink::Ipsec("xfrm"))),
            (768, b"vti\0", vec![], Err(OtherLink::Ipsec("vti"))),
            (769, b"vti6\0", vec![], Err(OtherLink::Ipsec("vti"))),
            (280, b"can\0", vec![], Err(OtherLink::Header(280))),
            // What it was made to be, and what somebody called it.
            (1, b"tun\0", tun(1), ip),
            (280, b"tun\0", tun(2), ethernet),
        ];
        for (hardware, kind, data, expected) in cases {
            assert_eq!(
                LinkType::told(&message(hardware, kind, &data)),
                Some(expected),
                "{hardware} {kind:?}"
            );
        }
        // A kernel that does not tell what a tun device was made to be.
        assert_eq!(LinkType::told(&message(65_534, b"tun\0", &[])), Some(ip));
        assert_eq!(LinkType::told(&message(1, b"", &[])[..15]), None);
    }

    #[test]
    fn loopback_begins_with_an_ethernet_header() {
        assert_eq!(LinkType::of("lo").expect("it is told"), Some(LinkType::Ethernet));
        assert_eq!(LinkType::of("nosuch0").expect("it is told"), None);
    }
}
