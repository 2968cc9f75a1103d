//! Frames by smoltcp's wire formats, and bytes where no library writes what an attacker would.

use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet,
    TcpPacket, TcpSeqNumber, UdpPacket,
};

pub(crate) const HOST4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const PEER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Ports that the policy opens, TCP and UDP, and one that it does not.
pub(crate) const OPEN: u16 = 443;
pub(crate) const CLOSED: u16 = 444;

/// Numbers of IP protocols (IANA).
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// A TCP segment with these flags and options over IPv4's or IPv6's pseudo header.
pub(crate) fn tcp(version: u8, port: u16, flags: u8, options: &[u8]) -> Vec<u8> {
    segment(version, [40_000, port], 0, flags, options)
}

/// A TCP segment from one port to the other.
pub(crate) fn segment(version: u8, ports: [u16; 2], sequence: i32, flags: u8, options: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0; header + 16];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(ports[0]);
    packet.set_dst_port(ports[1]);
    packet.set_seq_number(TcpSeqNumber(sequence));
    packet.set_header_len(u8::try_from(header).expect("at most 60"));
    packet.set_window_len(1024);
    bytes[13] = flags;
    bytes[20..header].copy_from_slice(options);
    let (source, destination) = pseudo(version);
    TcpPacket::new_unchecked(&mut bytes).fill_checksum(&source, &destination);
    bytes
}

/// A UDP datagram.
pub(crate) fn udp(version: u8, port: u16) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    let mut packet = UdpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(40_000);
    packet.set_dst_port(port);
    packet.set_len(24);
    let (source, destination) = pseudo(version);
    packet.fill_checksum(&source, &destination);
    bytes
}

fn pseudo(version: u8) -> (IpAddress, IpAddress) {
    if version == 4 { (PEER4.into(), HOST4.into()) } else { (PEER6.into(), HOST6.into()) }
}

/// An Ethernet frame to the host.
pub(crate) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    to([2, 0, 0, 0, 0, 1], kind, payload)
}

/// An Ethernet frame to any address.
pub(crate) fn to(destination: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_dst_addr(EthernetAddress(destination));
    frame.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    frame.set_ethertype(EthernetProtocol::from(kind));
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// An IPv4 packet whose header is yet to be spoiled.
pub(crate) struct V4 {
    pub(crate) source: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) options: Vec<u8>,
    /// Identification, offset in bytes, and whether more follow.
    pub(crate) fragment: (u16, u16, bool),
}

impl V4 {
    pub(crate) fn new(protocol: u8) -> Self {
        Self { source: PEER4, protocol, options: Vec::new(), fragment: (7, 0, false) }
    }

    pub(crate) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(0x0800, &self.packet(payload))
    }

    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut bytes = vec![0; header + payload.len()];
        bytes[20..header].copy_from_slice(&self.options);
        bytes[header..].copy_from_slice(payload);
        let total = u16::try_from(bytes.len()).expect("a packet");
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
        packet.set_version(4);
        packet.set_header_len(u8::try_from(header).expect("at most 60"));
        packet.set_total_len(total);
        packet.set_hop_limit(64);
        packet.set_next_header(IpProtocol::from(self.protocol));
        packet.set_src_addr(self.source);
        packet.set_dst_addr(HOST4);
        let (identification, offset, more) = self.fragment;
        packet.set_ident(identification);
        packet.set_more_frags(more);
        packet.set_frag_offset(offset);
        packet.fill_checksum();
        bytes
    }
}

/// An IPv6 frame with this first header and everything after the fixed one.
pub(crate) fn v6(source: Ipv6Addr, hop_limit: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + payload.len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes);
    packet.set_version(6);
    packet.set_payload_len(u16::try_from(payload.len()).expect("a packet"));
    packet.set_next_header(IpProtocol::from(next));
    packet.set_hop_limit(hop_limit);
    packet.set_src_addr(source);
    packet.set_dst_addr(HOST6);
    packet.payload_mut().copy_from_slice(payload);
    ethernet(0x86dd, &bytes)
}

/// An IPv6 frame with a chain of extension headers of eight bytes each, all of them padding.
pub(crate) fn chain(kinds: &[u8], last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        let next = kinds.get(n + 1).copied().unwrap_or(last);
        // A fragment header that is no fragment (RFC 6946) has zeros where others have padding; an authentication
        // header counts its length in words, less two (RFC 4302).
        bytes.extend(match kind {
            44 => [next, 0, 0, 0, 0, 0, 0, 9].to_vec(),
            51 => [[next, 1].as_slice(), &[0; 10]].concat(),
            _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
        });
    }
    bytes.extend_from_slice(payload);
    v6(PEER6, 64, kinds.first().copied().unwrap_or(last), &bytes)
}

/// An IPv6 fragment.
pub(crate) fn fragment6(identification: u32, offset: u16, more: bool, next: u8, payload: &[u8]) -> Vec<u8> {
    let place = (offset & !7 | u16::from(more)).to_be_bytes();
    let header = [[next, 0].as_slice(), &place, &identification.to_be_bytes()].concat();
    v6(PEER6, 64, 44, &[header, payload.to_vec()].concat())
}
