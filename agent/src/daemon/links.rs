//! rtnetlink -> the interfaces that this host has now.
//!
//! A thread reads the kernel's events, so that none waits while a policy is loaded, and keeps a table
//! of what is there. Whoever is told that it changed compares the table with what they know; what came
//! and went in between does not matter to them. Where the kernel had to drop events, the table is
//! read anew.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::NlasIterator;
use netlink_packet_route::{AddressFamily, link::LinkHeader};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use tokio::sync::Notify;

use crate::{
    datapath::{LinkType, OtherLink, chain},
    netlink::{list_links, messages},
};

/// `RTNLGRP_LINK`, `RTM_NEWLINK` and `RTM_DELLINK` of include/uapi/linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
/// `IFLA_IFNAME` of include/uapi/linux/if_link.h.
const NAME: u16 = 3;
/// Bytes of `struct ifinfomsg` of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 16;
/// Room for some hundred events, in bytes; a message about a link takes about two kilobytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// An interface as it is known apart from all others, also from one with the same name or number that
/// was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    index: u32,
    appeared: u64,
    link: Result<LinkType, OtherLink>,
}

impl Identity {
    /// What its packets begin with, or why they cannot be judged.
    pub(super) fn link(self) -> Result<LinkType, OtherLink> {
        self.link
    }

    /// Whether both have the same number, which a new interface rarely has.
    pub(super) fn has_index_of(self, other: Self) -> bool {
        self.index == other.index
    }

    /// An interface with this number.
    #[cfg(test)]
    pub(super) fn for_tests(index: u32) -> Self {
        Self { index, appeared: index.into(), link: Ok(LinkType::Ethernet) }
    }
}

/// The interfaces that are there, loopback included, by name.
pub(super) type Present = BTreeMap<String, Identity>;

/// A watch on the interfaces of this network namespace.
pub(super) struct LinkWatch {
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    changed: Notify,
}

/// The interfaces by index.
#[derive(Debug, Default)]
struct Table {
    links: BTreeMap<u32, (String, Identity)>,
    /// How many interfaces have appeared so far.
    appeared: u64,
    /// Why events are not read any more.
    failed: Option<String>,
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The interface with this index is there, under this name, and its packets begin so.
    There(u32, String, Result<LinkType, OtherLink>),
    /// It is gone.
    Gone(u32),
}

impl LinkWatch {
    /// Reads what is there and begins to follow it.
    pub(super) fn new() -> Result<Self> {
        let failed = "cannot watch the interfaces";
        // Before the first reading, so that no change falls between the two.
        let socket = subscribe().context(failed)?;
        let mut table = Table::default();
        table.replace(list_links(event).context(failed)?);
        let shared = Arc::new(Shared { table: Mutex::new(table), changed: Notify::new() });
        let watched = Arc::clone(&shared);
        let follow = move || {
            let Err(error) = follow(&socket, &watched);
            watched.change(|table| table.failed = Some(chain(error.as_ref())));
        };
        thread::Builder::new().name("links".to_owned()).spawn(follow).context(failed)?;
        Ok(Self { shared })
    }

    /// Returns when something changed since the last call.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// What is there now.
    pub(super) fn present(&self) -> Result<Present> {
        let table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &table.failed {
            bail!("the interfaces cannot be watched any more: {error}");
        }
        Ok(table.links.values().cloned().collect())
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }
}

impl Table {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Gone(index) => {
                self.links.remove(&index);
            }
            Event::There(index, name, link) => {
                if let Some((known, identity)) = self.links.get_mut(&index) {
                    *known = name;
                    identity.link = link;
                } else {
                    self.appeared += 1;
                    self.links.insert(index, (name, Identity { index, appeared: self.appeared, link }));
                }
            }
        }
    }

    /// Takes what was read in place of what was known. Whether an interface is still the same is not
    /// known then, so each is a new one.
    fn replace(&mut self, all: Vec<Event>) {
        self.links.clear();
        for event in all {
            self.apply(event);
        }
    }
}

/// Reads events for as long as that is possible.
fn follow(socket: &Socket, shared: &Shared) -> Result<std::convert::Infallible> {
    loop {
        match socket.recv_from_full() {
            Ok((bytes, _)) => {
                let events = messages(&bytes, |kind, _, payload| event(kind, payload))?;
                shared.change(|table| events.into_iter().flatten().for_each(|event| table.apply(event)));
            }
            // Events were lost (netlink(7)).
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                log::warn!("the kernel had to drop events about interfaces; they are read anew");
                let all = list_links(event)?;
                shared.change(|table| table.replace(all));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read events about interfaces"),
        }
    }
}

fn subscribe() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER)?)?;
    socket.bind_auto()?;
    socket.add_membership(LINK_GROUP)?;
    Ok(socket)
}

/// What a message says of an interface. Only its head, its name and its kind are read, so that no attribute of a
/// newer kernel can hide an interface.
fn event(kind: u16, payload: &[u8]) -> Option<Event> {
    let header = LinkHeader::parse(payload).ok()?;
    // Bridges speak of their ports, which are still there when they leave the bridge.
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    match kind {
        DEL_LINK => Some(Event::Gone(header.index)),
        NEW_LINK => {
            let mut attributes = NlasIterator::new(payload.get(HEADER..)?).flatten();
            let name = attributes.find(|attribute| attribute.kind() == NAME)?;
            let name = name.value().split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            Some(Event::There(header.index, name, LinkType::told(payload)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(index: u32, name: &str) -> Event {
        Event::There(index, name.to_owned(), Ok(LinkType::Ethernet))
    }

    fn identities(table: &Table) -> Vec<(u32, &str, u64)> {
        let links = table.links.values();
        links.map(|(name, identity)| (identity.index, name.as_str(), identity.appeared)).collect()
    }

    /// A message as the kernel sends it: `struct ifinfomsg` and attributes, in this host's byte order.
    fn payload(family: u8, index: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![family, 0, 1, 0];
        bytes.extend(index.to_ne_bytes());
        bytes.extend([0; 8]);
        for (kind, value) in attributes {
            bytes.extend(u16::try_from(4 + value.len()).expect("short").to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn an_interface_that_returns_under_its_name_and_number_is_another_one() {
        let mut table = Table::default();
        for event in [there(5, "eth0"), there(5, "eth0"), Event::Gone(5), there(5, "eth0"), there(6, "eth1")]
        {
            table.apply(event);
        }
        assert_eq!(identities(&table), [(5, "eth0", 2), (6, "eth1", 3)]);
    }

    #[test]
    fn a_renamed_interface_is_the_same_one() {
        let mut table = Table::default();
        table.apply(there(5, "eth0"));
        table.apply(there(5, "wan0"));
        assert_eq!(identities(&table), [(5, "wan0", 1)]);
    }

    #[test]
    fn after_lost_events_every_interface_is_a_new_one() {
        let mut table = Table::default();
        table.replace(vec![there(1, "lo"), there(5, "eth0")]);
        table.replace(vec![there(5, "eth0")]);
        assert_eq!(identities(&table), [(5, "eth0", 3)]);
    }

    #[test]
    fn a_name_is_read_whatever_else_a_message_holds() {
        let attributes: &[(u16, &[u8])] = &[(999, &[1, 2, 3]), (NAME, b"eth0\0"), (1, &[])];
        assert_eq!(event(NEW_LINK, &payload(0, 7, attributes)), Some(there(7, "eth0")));
        assert_eq!(event(DEL_LINK, &payload(0, 7, attributes)), Some(Event::Gone(7)));
    }

    #[test]
    fn an_interface_whose_packets_begin_otherwise_by_now_is_another_one() {
        let mut table = Table::default();
        table.apply(there(5, "bond0"));
        let before = table.links[&5].1;
        table.apply(Event::There(5, "bond0".to_owned(), Err(OtherLink::Header(32))));
        let after = table.links[&5].1;
        assert!(before != after && before.has_index_of(after) && after.link() == Err(OtherLink::Header(32)));
    }

    #[test]
    fn what_a_bridge_says_of_its_ports_is_no_event() {
        assert_eq!(event(DEL_LINK, &payload(7, 7, &[(NAME, b"eth0\0")])), None);
    }

    #[test]
    fn what_is_cut_short_is_no_event() {
        let whole = payload(0, 7, &[(NAME, b"eth0\0")]);
        for length in 0..whole.len() - 4 {
            assert_eq!(event(NEW_LINK, &whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn this_host_has_a_loopback() {
        let watch = LinkWatch::new().expect("rtnetlink answers");
        assert!(watch.present().expect("it goes on").contains_key("lo"));
    }
}
