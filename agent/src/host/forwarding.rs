//! Whether this host passes on to others what arrives at an interface.

use std::{fs, io};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoPortKind, LinkAttribute, LinkInfo, LinkMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{Answers, HostError, Netlink};

/// Whether packets that arrive at an interface are routed on where they are addressed to others.
///
/// A port of a bridge hands over what is meant for the hosts behind the bridge as well, which is no routing: of such a
/// port this says no. So it does of an interface that is not there.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn forwards(interface: &str) -> Result<bool, HostError> {
    let forwarding = ["ipv4", "ipv6"]
        .into_iter()
        .map(|family| is_on(&format!("/proc/sys/net/{family}/conf/{interface}/forwarding")))
        .collect::<io::Result<Vec<bool>>>();
    let what = "what it forwards";
    let forwarding = forwarding.map_err(|source| HostError::Kernel { what, source: source.into() })?;
    Ok(forwarding.contains(&true) && !is_port_of_bridge(interface)?)
}

/// Whether a setting of the kernel is on; one that is not there is off (a kernel without IPv6).
fn is_on(path: &str) -> io::Result<bool> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim() != "0"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_port_of_bridge(interface: &str) -> Result<bool, HostError> {
    let netlink = Netlink::open(NETLINK_ROUTE, "its interfaces")?;
    let mut question = LinkMessage::default();
    question.attributes.push(LinkAttribute::IfName(interface.to_owned()));
    let answers = netlink.ask(&RouteNetlinkMessage::GetLink(question), Answers::One)?;
    let mut infos = answers.iter().flat_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => message.attributes.as_slice(),
        _ => &[],
    });
    let is_bridge = |info: &LinkInfo| matches!(info, LinkInfo::PortKind(InfoPortKind::Bridge));
    Ok(infos
        .any(|attribute| matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.iter().any(is_bridge))))
}
