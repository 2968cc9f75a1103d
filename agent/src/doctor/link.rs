//! rtnetlink, ethtool and the kernel's list of XDP features -> what each interface is and can do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NlasIterator, Parseable as _};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp};
use netlink_sys::protocols::NETLINK_GENERIC;
use serde::Serialize;

use super::ethtool;
use crate::{
    datapath::{LinkType, OtherLink},
    netlink::{list, list_links},
};

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A network card, or a virtual one that behaves like it.
    Device,
    /// Several interfaces that look like one.
    Bond,
    /// A switch inside this host.
    Bridge,
    /// One VLAN of another interface.
    Vlan,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its name.
    pub interface: String,
    /// Number of the interface.
    #[serde(skip)]
    pub index: u32,
    /// What it is.
    pub kind: Kind,
    /// What its packets begin with; none where they cannot be judged.
    pub link_type: Option<LinkType>,
    /// Why they cannot.
    #[serde(skip)]
    pub other: Option<OtherLink>,
    /// Largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The bond or bridge that it is a port of.
    pub port_of: Option<String>,
    /// The interface that a VLAN stands on.
    pub stands_on: Option<String>,
    /// Kernel identifier of its XDP program.
    pub xdp_program: Option<u32>,
    /// Whether the driver declares native XDP; `None` where the kernel does not tell.
    pub native: Option<bool>,
    /// Whether native XDP takes packets of several buffers.
    pub multi_buffer: Option<bool>,
    /// Whether the driver takes VLAN tags out of packets; `None` where it does not tell.
    pub strips_tags: Option<bool>,
    /// Whether the card merges packets before XDP sees them.
    pub merges_in_hardware: Option<bool>,
    /// Driver.
    pub driver: Option<String>,
}

/// The interfaces of this network namespace, loopback left out.
///
/// # Errors
///
/// Where the kernel does not list them.
pub fn links() -> Result<Vec<Link>> {
    let read = |_, payload: &[u8]| Some((LinkMessage::parse(payload).ok()?, LinkType::told(payload)?));
    let messages = list_links(read).context("the kernel does not list the interfaces")?;
    let names: BTreeMap<u32, String> =
        messages.iter().filter_map(|(message, _)| Some((message.header.index, name(message)?))).collect();
    let features = features();
    let mut links: Vec<Link> = messages
        .iter()
        .filter_map(|(message, told)| {
            let link = link(message, &names, features.as_ref())?;
            Some(Link { link_type: told.ok(), other: told.err(), ..link })
        })
        .filter(|link| link.interface != "lo")
        .collect();
    links.sort_by(|one, other| one.interface.cmp(&other.interface));
    Ok(links)
}

fn name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn link(message: &LinkMessage, names: &BTreeMap<u32, String>, features: Option<&Features>) -> Option<Link> {
    let interface = name(message)?;
    let index = message.header.index;
    // What the kernel knows of XDP on this interface: nothing declared means no native XDP.
    let declared = features.map(|features| features.get(&index).copied().unwrap_or(0));
    let flags = ethtool::flags(&interface);
    let mut link = Link {
        index,
        kind: Kind::Device,
        link_type: None,
        other: None,
        mtu: 0,
        port_of: None,
        stands_on: None,
        xdp_program: None,
        native: declared.map(|bits| bits & XDP_BASIC != 0),
        multi_buffer: declared.map(|bits| bits & XDP_RX_SG != 0),
        strips_tags: flags.map(|flags| flags & ethtool::STRIPS_TAGS != 0),
        merges_in_hardware: flags.map(|flags| flags & ethtool::MERGES != 0),
        driver: ethtool::driver(&interface),
        interface,
    };
    let mut stands_on = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.port_of = names.get(index).cloned(),
            LinkAttribute::Link(index) => stands_on = names.get(index).cloned(),
            LinkAttribute::LinkInfo(info) => link.kind = kind(info),
            LinkAttribute::Xdp(xdp) => {
                link.xdp_program = xdp.iter().find_map(|xdp| match xdp {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // Of others it is the far end of a tunnel or of a pair.
    link.stands_on = stands_on.filter(|_| link.kind == Kind::Vlan);
    Some(link)
}

fn kind(info: &[LinkInfo]) -> Kind {
    let mut kinds = info.iter().filter_map(|info| match info {
        LinkInfo::Kind(InfoKind::Bond | InfoKind::Team) => Some(Kind::Bond),
        LinkInfo::Kind(InfoKind::Bridge) => Some(Kind::Bridge),
        LinkInfo::Kind(InfoKind::Vlan) => Some(Kind::Vlan),
        _ => None,
    });
    kinds.next().unwrap_or(Kind::Device)
}

/// XDP features by number of the interface (`enum netdev_xdp_act` of include/uapi/linux/netdev.h).
type Features = BTreeMap<u32, u64>;
const XDP_BASIC: u64 = 1 << 0;
const XDP_RX_SG: u64 = 1 << 5;

/// Asks the generic netlink family `netdev` for every interface's XDP features; `None` where the kernel has no
/// such family (before Linux 6.3).
fn features() -> Option<Features> {
    /// Commands and attributes of include/uapi/linux/genetlink.h and include/uapi/linux/netdev.h.
    const CONTROLLER: u16 = 16;
    const GET_FAMILY: u8 = 3;
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;
    const DEVICE_GET: u8 = 1;
    const DEVICE_INDEX: u16 = 1;
    const DEVICE_FEATURES: u16 = 3;
    // The controller lists all families; the name is compared here.
    let family = |_, payload: &[u8]| {
        let name = attribute(payload, FAMILY_NAME)?;
        let id = attribute(payload, FAMILY_ID)?;
        (name == b"netdev\0").then(|| u16::from_ne_bytes([id[0], *id.get(1).unwrap_or(&0)]))
    };
    let family = *list(NETLINK_GENERIC, &generic(CONTROLLER, GET_FAMILY), family).ok()?.first()?;
    let device = |_, payload: &[u8]| {
        let index = attribute(payload, DEVICE_INDEX)?.try_into().map(u32::from_ne_bytes).ok()?;
        let bits = attribute(payload, DEVICE_FEATURES)?.try_into().map(u64::from_ne_bytes).ok()?;
        Some((index, bits))
    };
    list(NETLINK_GENERIC, &generic(family, DEVICE_GET), device).ok().map(|all| all.into_iter().collect())
}

/// A request for everything that a family lists: `struct nlmsghdr` and `struct genlmsghdr`.
fn generic(family: u16, command: u8) -> Vec<u8> {
    const LENGTH: u32 = 20;
    let flags = NLM_F_DUMP | NLM_F_REQUEST;
    let mut bytes = LENGTH.to_ne_bytes().to_vec();
    bytes.extend(family.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes
}

/// The value of an attribute behind the four bytes of `struct genlmsghdr`.
fn attribute(payload: &[u8], kind: u16) -> Option<Vec<u8>> {
    let mut attributes = NlasIterator::new(payload.get(4..)?).flatten();
    attributes.find(|attribute| attribute.kind() == kind).map(|attribute| attribute.value().to_vec())
}
