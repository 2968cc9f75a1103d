//! What is measured: rules and packets, and what each may cost.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use portcullis::{
    requirement::PortRange,
    ruleset::{Opening, RuleSet},
};
use portcullis_tests::{
    assembly::Field,
    packet::{Frame, Ip, Transport},
    rules,
    splice::{self, Extension},
};

/// XDP actions.
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;

/// Numbers of rules that every packet is measured with.
pub(crate) const RULES: [u16; 4] = [1, 100, 1_000, 10_000];
/// Numbers of prefixes that a rule is limited to, and what they may cost over IPv4 and IPv6.
pub(crate) const PREFIXES: [(u32, [f64; 2]); 3] =
    [(1, [8.0, 25.0]), (1_000, [8.0, 25.0]), (100_000, [40.0, 70.0])];

/// A packet, and what becomes of it.
pub(crate) struct Packet {
    /// What it is.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What a port filter that opens tcp/443 and udp/3478 must answer; `None` where that depends on more.
    pub(crate) action: Option<u32>,
    /// Nanoseconds above the program that does nothing that it may cost with Portcullis.
    pub(crate) budget: Option<f64>,
}

/// One packet of each kind, the same at each run.
pub(crate) fn packets(ip: Ip) -> Vec<Packet> {
    let version = if ip == Ip::V4 { "IPv4" } else { "IPv6" };
    let allowed = Frame::syn(ip, 443);
    let plain = allowed.bytes();
    // An offset of 800 bytes.
    let (hidden, behind, later) = match ip {
        Ip::V4 => (splice::options(&plain, 3), "behind options", splice::fragment4(&plain, 100, false)),
        Ip::V6 => (
            splice::extend(&plain, &[Extension::padded(60, 1)]),
            "behind an extension",
            splice::extend(&plain, &[Extension::fragment(100, false)]),
        ),
    };
    let common = Some(4.0);
    let rare = Some(10.0);
    let rows = [
        ("allowed TCP".to_owned(), plain, Some(PASS), common),
        ("allowed UDP".to_owned(), Frame::udp(ip, 3478).bytes(), Some(PASS), common),
        ("undocumented SYN".to_owned(), Frame::syn(ip, 444).bytes(), Some(DROP), common),
        ("undocumented ACK".to_owned(), Frame::ack(ip, 444).bytes(), Some(DROP), None),
        ("undocumented UDP".to_owned(), Frame::udp(ip, 444).bytes(), Some(DROP), common),
        ("allowed TCP, one tag".to_owned(), allowed.clone().tagged(&[5]).bytes(), Some(PASS), common),
        ("allowed TCP, two tags".to_owned(), allowed.clone().tagged(&[5, 6]).bytes(), Some(PASS), rare),
        (format!("allowed TCP {behind}"), hidden, Some(PASS), rare),
        ("later fragment".to_owned(), later, None, None),
    ];
    let packet =
        |(name, bytes, action, budget)| Packet { name: format!("{version} {name}"), bytes, action, budget };
    rows.into_iter().map(packet).collect()
}

/// More packets that are dropped, each for another reason.
pub(crate) fn dropped(ip: Ip) -> Vec<Packet> {
    let (version, echo) = if ip == Ip::V4 { ("IPv4", 8) } else { ("IPv6", 128) };
    let plain = Frame::syn(ip, 443).bytes();
    let rows = [
        ("undocumented echo request", Frame::new(ip, Transport::Icmp { kind: echo, identifier: 1 }).bytes()),
        ("undocumented protocol", Frame::new(ip, Transport::Other(47)).bytes()),
        ("undocumented SCTP", Frame::sctp(ip, 444).bytes()),
        ("truncated", plain[..plain.len() - 40].to_vec()),
        // An EtherType for experiments (IEEE Std 802, 9.2.3).
        ("frame of another protocol", splice::set(&splice::set(&plain, 12, 0x88), 13, 0xb5)),
    ];
    let packet =
        |(name, bytes)| Packet { name: format!("{version} {name}"), bytes, action: Some(DROP), budget: None };
    rows.into_iter().map(packet).collect()
}

/// A segment to the port of [`conversation`] that belongs to none.
pub(crate) fn stranger(ip: Ip) -> Packet {
    let segment = Transport::Tcp { source: 81, destination: 40_000, syn: false, ack: true };
    let name = format!("{} no reply to a port of a flow", if ip == Ip::V4 { "IPv4" } else { "IPv6" });
    Packet { name, bytes: Frame::new(ip, segment).bytes(), action: Some(DROP), budget: None }
}

/// What makes the source of [`from`] a random one: the second to fourth byte of an IPv4 address, the third and
/// fourth group of an IPv6 address.
pub(crate) fn random_source(ip: Ip) -> Field {
    match ip {
        Ip::V4 => Field::Address { at: 26, vary: 0x00ff_ffff, keep: 0x0a00_0000 },
        Ip::V6 => Field::Address { at: 26, vary: -1, keep: 0 },
    }
}

/// What a host sends, and the answer to it.
pub(crate) fn conversation(ip: Ip) -> (Vec<u8>, Packet) {
    let question = Frame::syn(ip, 80);
    let answer = Transport::Tcp { source: 80, destination: 40_000, syn: false, ack: true };
    let mut reply = Frame::new(ip, answer);
    (reply.source, reply.destination) = (question.destination, question.source);
    let version = if ip == Ip::V4 { "IPv4" } else { "IPv6" };
    let name = format!("{version} reply by flow");
    let packet = Packet { name, bytes: reply.bytes(), action: Some(PASS), budget: Some(30.0) };
    (question.bytes(), packet)
}

/// `count` rules: the first opens the ports that the packets use, the others ports above.
pub(crate) fn rules(count: u16) -> RuleSet {
    let mut set = rules::parse("tcp/443 udp/3478");
    for n in 1..count {
        let port = PortRange::single(20_000 + n);
        set.rules.push(rules::open(u32::from(n) + 1, &[Opening::Tcp(port), Opening::Udp(port)]));
    }
    set
}

/// The ports that [`rules()`] opens beside those of the packets.
pub(crate) fn other_ports(count: u16) -> impl Iterator<Item = u16> {
    (1..count).map(|n| 20_000 + n)
}

/// Half of all ports, without any order.
pub(crate) fn scattered_ports() -> impl Iterator<Item = u16> {
    // An odd factor scatters the ports over the upper bits (Knuth's multiplicative hash).
    (0..=u16::MAX).filter(|&port| u32::from(port).wrapping_mul(0x9e37_79b1) >> 16 & 1 == 1)
}

/// `count` rules that share half of all TCP ports.
pub(crate) fn scattered(count: u32) -> RuleSet {
    let mut openings = vec![Vec::new(); count as usize];
    let mut next = (0..openings.len()).cycle();
    for port in scattered_ports() {
        openings[next.next().unwrap_or(0)].push(Opening::Tcp(PortRange::single(port)));
    }
    RuleSet { rules: (0..).zip(openings).map(|(n, openings)| rules::open(n, &openings)).collect() }
}

/// One rule for `count` sources that lie in 10.0.0.0/8 and 2001:db8::/32, each beside as many
/// addresses that are no source.
pub(crate) fn sources(count: u32) -> RuleSet {
    // The blocks are cut into as many pieces as there are sources, of which the lower halves are sources.
    let bits = count.next_power_of_two().ilog2();
    let prefixes = (0..count).map(|n| {
        let v4 = Ipv4Addr::from(0x0a00_0000 | n << (24 - bits));
        let v6 = Ipv6Addr::from((0x2001_0db8 << 32 | u128::from(n) << (32 - bits)) << 64);
        format!("{v4}/{} {v6}/{}", 9 + bits, 33 + bits)
    });
    rules::parse(&format!("tcp/443 from {}", prefixes.collect::<Vec<_>>().join(" ")))
}

/// A SYN to an open port from this source.
pub(crate) fn from(ip: Ip, source: &str) -> Result<Vec<u8>> {
    let mut frame = Frame::syn(ip, 443);
    frame.source = source.parse()?;
    Ok(frame.bytes())
}
