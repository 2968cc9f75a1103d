//! Conversations -> the packets that they consist of, for asking a program about them and for showing it
//! what this host has begun. Nothing here is ever sent.
//!
//! Packets are whole and plain: Ethernet II where the link type has it, IP without options, checksums included.
//! Link-layer addresses are zero, as no verdict depends on them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpHeaders, PacketBuilder, PacketBuilderStep,
};

use crate::{
    datapath::LinkType,
    host::{Conversation, Transport},
};

/// No packet crosses more routers than this before it arrives.
const HOPS: u8 = 64;
/// What neighbour discovery asks for (RFC 4861 section 7.1).
const ON_LINK: u8 = 255;
/// Neighbour advertisement (RFC 4861 section 4.4).
const ADVERTISEMENT: u8 = 136;

/// Which segment of a TCP conversation; datagrams are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The one that asks for a connection.
    Syn,
    /// One in the middle.
    Ack,
}

/// What the other end of a conversation sends.
#[must_use]
pub fn arriving(link: LinkType, talk: &Conversation, segment: Segment) -> Vec<u8> {
    packet(link, talk.transport, [talk.remote, talk.local], segment)
}

/// What this host sends when it begins a conversation.
#[must_use]
pub fn beginning(link: LinkType, talk: &Conversation) -> Vec<u8> {
    packet(link, talk.transport, [talk.local, talk.remote], Segment::Syn)
}

/// What a gateway answers on Ethernet when this host asks for its link-layer address: an ARP reply (RFC 826) or a
/// neighbour advertisement.
#[must_use]
pub fn neighbour(gateway: IpAddr) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([0; 6], [0; 6]);
    match gateway {
        IpAddr::V4(address) => {
            let address = address.octets();
            let reply = ArpPacket::new(
                ArpHardwareId::ETHERNET,
                EtherType::IPV4,
                ArpOperation::REPLY,
                &[0; 6],
                &address,
                &[0; 6],
                &[0; 4],
            );
            // Both lengths are those of the addresses above.
            let reply = reply.expect("equal lengths of both sides");
            let builder = ethernet.arp(reply);
            let mut frame = Vec::with_capacity(builder.size());
            builder.write(&mut frame).expect("a vector takes every byte");
            frame
        }
        IpAddr::V6(address) => {
            let message = ethernet.ipv6(address.octets(), Ipv6Addr::LOCALHOST.octets(), ON_LINK).icmpv6_raw(
                ADVERTISEMENT,
                0,
                [0x60, 0, 0, 0],
            );
            let mut frame = Vec::with_capacity(message.size(16));
            message.write(&mut frame, &address.octets()).expect("a vector takes every byte");
            frame
        }
    }
}

/// A datagram or segment from one end to another.
///
/// # Panics
///
/// Where the two are not of the same version of IP, which no socket's are.
fn packet(link: LinkType, transport: Transport, [from, to]: [SocketAddr; 2], segment: Segment) -> Vec<u8> {
    let ip = ip(link, from.ip(), to.ip());
    let mut packet = Vec::with_capacity(128);
    match transport {
        Transport::Tcp => {
            let tcp = ip.tcp(from.port(), to.port(), 1, u16::MAX);
            let tcp = match segment {
                Segment::Syn => tcp.syn(),
                Segment::Ack => tcp.ack(1),
            };
            tcp.write(&mut packet, &[])
        }
        Transport::Udp => ip.udp(from.port(), to.port()).write(&mut packet, &[]),
    }
    .expect("a vector takes every byte");
    packet
}

/// The headers before a datagram or segment.
fn ip(link: LinkType, from: IpAddr, to: IpAddr) -> PacketBuilderStep<IpHeaders> {
    let ethernet = || PacketBuilder::ethernet2([0; 6], [0; 6]);
    match (from, to, link) {
        (IpAddr::V4(from), IpAddr::V4(to), LinkType::Ethernet) => {
            ethernet().ipv4(from.octets(), to.octets(), HOPS)
        }
        (IpAddr::V6(from), IpAddr::V6(to), LinkType::Ethernet) => {
            ethernet().ipv6(from.octets(), to.octets(), HOPS)
        }
        (IpAddr::V4(from), IpAddr::V4(to), LinkType::Ip) => {
            PacketBuilder::ipv4(from.octets(), to.octets(), HOPS)
        }
        (IpAddr::V6(from), IpAddr::V6(to), LinkType::Ip) => {
            PacketBuilder::ipv6(from.octets(), to.octets(), HOPS)
        }
        _ => panic!("{from} and {to} are of different versions of IP"),
    }
}
