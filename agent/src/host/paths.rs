//! On which interfaces packets from an address arrive, which gateways lead elsewhere, and which
//! addresses are only lent.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{Answers, HostError, Netlink};

/// The interfaces of this host and how they reach others, as routing tells it.
pub struct Paths {
    netlink: Netlink,
    links: BTreeMap<u32, Link>,
    /// Routes that were asked for before.
    known: RefCell<BTreeMap<(IpAddr, IpAddr), Option<u32>>>,
}

/// An interface.
#[derive(Debug)]
struct Link {
    name: String,
    /// The bridge or bond that it is a port of.
    master: Option<u32>,
    /// The interface that carries its frames, as that below a VLAN.
    below: Option<u32>,
}

/// An IPv4 address that this host has for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Where.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Seconds that are left.
    pub seconds: u32,
}

impl Paths {
    /// Asks the kernel for its interfaces.
    ///
    /// # Errors
    ///
    /// Where it does not tell.
    pub fn new() -> Result<Self, HostError> {
        let netlink = Netlink::open(NETLINK_ROUTE, "its routes")?;
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = BTreeMap::new();
        for answer in netlink.ask(&question, Answers::List)? {
            if let RouteNetlinkMessage::NewLink(message) = answer {
                links.insert(message.header.index, Link::of(&message));
            }
        }
        Ok(Self { netlink, links, known: RefCell::default() })
    }

    /// The interfaces on which packets from `remote` to `local` arrive: the one that leads to `remote`,
    /// as routes are mostly symmetric, and those that carry its frames. `bound` is the interface that
    /// a socket insists on.
    #[must_use]
    pub fn interfaces(&self, remote: IpAddr, local: IpAddr, bound: Option<u32>) -> BTreeSet<&str> {
        let way = bound.or_else(|| {
            *self.known.borrow_mut().entry((remote, local)).or_insert_with(|| self.route(remote, local))
        });
        self.carrying(way)
    }

    /// The interfaces on which packets for one of these arrive: itself, and those that carry its frames.
    #[must_use]
    pub fn below(&self, interface: &str) -> BTreeSet<&str> {
        self.carrying(self.links.iter().find(|(_, link)| link.name == interface).map(|(index, _)| *index))
    }

    fn carrying(&self, interface: Option<u32>) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<u32> = interface.into_iter().collect();
        while let Some(index) = open.pop() {
            let Some(link) = self.links.get(&index).filter(|_| found.insert(index)) else { continue };
            open.extend(link.below);
            open.extend(
                self.links.iter().filter(|(_, link)| link.master == Some(index)).map(|(port, _)| *port),
            );
        }
        found.iter().filter_map(|index| self.links.get(index)).map(|link| link.name.as_str()).collect()
    }

    /// The interface that leads from `local` to `remote`; `None` where none does, or it is this host.
    fn route(&self, remote: IpAddr, local: IpAddr) -> Option<u32> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(remote);
        message.header.destination_prefix_length = bits(remote);
        message.attributes.push(RouteAttribute::Destination(remote.into()));
        if !local.is_unspecified() {
            message.header.source_prefix_length = bits(local);
            message.attributes.push(RouteAttribute::Source(local.into()));
        }
        // The kernel answers with an error where nothing leads there.
        let answers = self.netlink.ask(&RouteNetlinkMessage::GetRoute(message), Answers::One).ok()?;
        answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast => {
                route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            }
            _ => None,
        })
    }

    /// The gateways of default routes, each with the interface that leads to it.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn gateways(&self) -> Result<BTreeSet<(String, IpAddr)>, HostError> {
        let mut gateways = BTreeSet::new();
        for version in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = version;
            for answer in self.netlink.ask(&RouteNetlinkMessage::GetRoute(message), Answers::List)? {
                let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
                if route.header.destination_prefix_length != 0 || route.header.kind != RouteType::Unicast {
                    continue;
                }
                gateways.extend(self.hop(&route.attributes, None));
                for attribute in &route.attributes {
                    let RouteAttribute::MultiPath(hops) = attribute else { continue };
                    let hops =
                        hops.iter().filter_map(|hop| self.hop(&hop.attributes, Some(hop.interface_index)));
                    gateways.extend(hops);
                }
            }
        }
        Ok(gateways)
    }

    fn hop(&self, attributes: &[RouteAttribute], index: Option<u32>) -> Option<(String, IpAddr)> {
        let (mut way, mut gateway) = (index, None);
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => way = Some(*index),
                RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some((*address).into()),
                RouteAttribute::Gateway(RouteAddress::Inet6(address)) => gateway = Some((*address).into()),
                _ => {}
            }
        }
        Some((self.links.get(&way?)?.name.clone(), gateway?))
    }

    /// The addresses of this host.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn addresses(&self) -> Result<BTreeSet<IpAddr>, HostError> {
        let mut addresses = BTreeSet::new();
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for answer in self.netlink.ask(&question, Answers::List)? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            // That of the other end of a point-to-point link is told as the address, and this one as the local one.
            let mut other = None;
            let mut own = None;
            for attribute in &message.attributes {
                match attribute {
                    AddressAttribute::Local(local) => own = Some(*local),
                    AddressAttribute::Address(address) => other = Some(*address),
                    _ => {}
                }
            }
            addresses.extend(own.or(other));
        }
        Ok(addresses)
    }

    /// The IPv4 addresses that this host has for a time only: a DHCP client must renew them.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn leases(&self) -> Result<Vec<Lease>, HostError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut leases = Vec::new();
        for answer in self.netlink.ask(&RouteNetlinkMessage::GetAddress(message), Answers::List)? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            if message.header.flags.contains(AddressHeaderFlags::Permanent) {
                continue;
            }
            let Some(link) = self.links.get(&message.header.index) else { continue };
            let (mut address, mut seconds) = (None, u32::MAX);
            for attribute in &message.attributes {
                match attribute {
                    AddressAttribute::Local(local) => address = Some(*local),
                    AddressAttribute::CacheInfo(times) => seconds = times.ifa_valid,
                    _ => {}
                }
            }
            leases.extend(address.map(|address| Lease { interface: link.name.clone(), address, seconds }));
        }
        Ok(leases)
    }
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self { name: String::new(), master: None, below: None };
        let mut is_stacked = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Link(index) => link.below = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    // For other kinds, the index names something else: a veth's other end, for example.
                    is_stacked |= infos.iter().any(|info| {
                        matches!(
                            info,
                            LinkInfo::Kind(
                                InfoKind::Vlan | InfoKind::MacVlan | InfoKind::IpVlan | InfoKind::MacSec
                            )
                        )
                    });
                }
                _ => {}
            }
        }
        link.below = link.below.filter(|_| is_stacked);
        link
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
