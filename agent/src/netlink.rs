//! Netlink: a request -> what the kernel lists.

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Lists the interfaces of this network namespace, in the order of their numbers; `read` gets `struct
/// ifinfomsg` and attributes of each.
///
/// # Errors
///
/// As [`list`].
pub(crate) fn list_links<T>(read: impl Fn(u16, &[u8]) -> Option<T>) -> Result<Vec<T>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    let mut request = NetlinkMessage::new(header, payload);
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    list(NETLINK_ROUTE, &bytes, read)
}

/// What `read` makes of `struct ifinfomsg` and attributes of one interface; `None` where there is no interface with
/// this number.
///
/// # Errors
///
/// Where the kernel does not answer, or answers with an error.
pub(crate) fn link<T>(index: u32, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let mut request = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(message)),
    );
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let (answer, _) = ask(NETLINK_ROUTE, &bytes)?.recv_from_full()?;
    let told = messages(&answer, |kind, _, payload| match kind {
        // `struct nlmsgerr` begins with the error.
        NLMSG_ERROR if payload.get(..4) == Some(&(-libc::ENODEV).to_ne_bytes()) => Ok(None),
        NLMSG_ERROR => Err("the kernel refuses to tell"),
        _ => read(payload).map(Some).ok_or("its answer is cut short"),
    })?;
    match told.into_iter().next() {
        Some(told) => told.map_err(anyhow::Error::msg),
        None => bail!("the kernel does not answer"),
    }
}

/// Sends a request and gives what `read` makes of each message of the answer, from its type and payload. A
/// listing that something changed under is repeated.
///
/// # Errors
///
/// Where the kernel does not answer, or answers with an error.
pub(crate) fn list<T>(
    protocol: isize,
    request: &[u8],
    read: impl Fn(u16, &[u8]) -> Option<T>,
) -> Result<Vec<T>> {
    /// Changes do not go on for ever.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        if let Some(all) = once(protocol, request, &read)? {
            return Ok(all);
        }
    }
    bail!("what is listed changes too quickly");
}

/// As [`list`]; `None` where something changed meanwhile.
fn once<T>(
    protocol: isize,
    request: &[u8],
    read: &impl Fn(u16, &[u8]) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    let socket = ask(protocol, request)?;
    let mut all = Vec::new();
    let mut whole = true;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, flags, item) in
            messages(&bytes, |kind, flags, payload| (kind, flags, read(kind, payload)))?
        {
            whole &= flags & NLM_F_DUMP_INTR == 0;
            match kind {
                NLMSG_DONE => return Ok(whole.then_some(all)),
                NLMSG_ERROR => bail!("the kernel does not list it"),
                _ => all.extend(item),
            }
        }
    }
}

/// Sends a request; the answer is read from the socket.
fn ask(protocol: isize, request: &[u8]) -> Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    Ok(socket)
}

/// What `read` makes of each netlink message in a datagram, from its type, flags and payload.
///
/// # Errors
///
/// Where a message is cut short.
pub(crate) fn messages<T>(mut bytes: &[u8], read: impl Fn(u16, u16, &[u8]) -> T) -> Result<Vec<T>> {
    /// Messages begin at multiples of this (`NLMSG_ALIGNTO` of include/uapi/linux/netlink.h).
    const ALIGN: usize = 4;
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).context("a netlink message is cut short")?;
        all.push(read(message.message_type(), message.flags(), message.payload()));
        let length = (message.length() as usize).next_multiple_of(ALIGN);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(all)
}

/// An attribute as the kernel writes it.
#[cfg(test)]
pub(crate) fn written(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).expect("short").to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_cut_short_is_an_error() {
        assert!(super::messages(&[1, 0, 0], |_, _, _| ()).is_err());
        let mut long = vec![0; 16];
        long[0] = 200;
        assert!(super::messages(&long, |_, _, _| ()).is_err());
    }
}
