//! Flags, fragments, protocols and sources.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::{
    field::{Fate, Field, Shot},
    frames::{CLOSED, HOST4, HOST6, OPEN, PEER4, PEER6, TCP, UDP, V4, fragment6, tcp, udp, v6},
};

use Fate::{Dropped, Passes};

/// Both ports, and what a packet to each deserves (sentences 2 and 3).
const PORTS: [(u16, Fate); 2] = [(OPEN, Passes), (CLOSED, Dropped)];

/// A rule needs no state: flags and options change nothing (sentence 2), and no conversation is there that they
/// could belong to (sentence 7).
///
/// Holds: policy 1, policy 2, security closed.
#[test]
fn no_flags_and_options_of_tcp_change_which_port_is_open() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    let largest = [[2, 4, 5, 0xb4].as_slice(), &[1; 36]].concat();
    for options in [[].as_slice(), &[2, 4, 5, 0xb4], &[0xff; 8], &largest] {
        for flags in 0..=u8::MAX {
            for (port, fate) in PORTS {
                let name =
                    |version| format!("IPv{version} tcp/{port} flags {flags:02x} options {options:02x?}");
                shots.push((name(4), V4::new(TCP).frame(&tcp(4, port, flags, options)), fate));
                shots.push((name(6), v6(PEER6, 64, TCP, &tcp(6, port, flags, options)), fate));
            }
        }
    }
    field.fire(&shots);
    Ok(())
}

/// A fragment's offset, whether more follow, what it holds over IPv4 and over IPv6, and what it deserves.
type Part<'a> = (u16, bool, &'a [u8], &'a [u8], Fate);

/// Sentences 11 and 12.
///
/// Holds: policy 11, policy 12, security closed.
#[test]
fn fragments_open_nothing() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    let mut number = 0;
    for (port, fate) in PORTS {
        let (mut segment, mut segment6, data) = (tcp(4, port, 2, &[]), tcp(6, port, 2, &[]), [0x41; 24]);
        for segment in [&mut segment, &mut segment6] {
            segment.resize(64, 0x42);
        }
        let mut datagram = |name: &str, parts: &[Part<'_>]| {
            number += 1;
            for (offset, more, four, six, fate) in parts {
                let part = format!("port {port}: {name}, from {offset}");
                let packet = V4 { fragment: (number, *offset, *more), ..V4::new(TCP) };
                shots.push((format!("IPv4 {part}"), packet.frame(four), *fate));
                let frame = fragment6(number.into(), *offset, *more, TCP, six);
                shots.push((format!("IPv6 {part}"), frame, *fate));
            }
        };
        // 64 bytes of segment: 20 of header.
        let early = [0x43; 24];
        datagram(
            "whole header first",
            &[(0, true, &segment, &segment6, fate), (64, false, &data, &data, fate)],
        );
        datagram(
            "out of order",
            &[
                (64, false, &early, &early, Dropped),
                (0, true, &segment, &segment6, fate),
                (64, false, &data, &data, fate),
            ],
        );
        datagram("first ends within its header", &[(0, true, &segment[..8], &segment6[..8], Dropped)]);
        datagram("first ends before its ports end", &[(0, true, &[], &[], Dropped)]);
        datagram(
            "later overlaps the header",
            &[
                (0, true, &segment, &segment6, fate),
                (8, true, &data, &data, Dropped),
                (16, true, &early, &early, Dropped),
            ],
        );
        datagram("later alone", &[(8, true, &data, &data, Dropped), (512, false, &data, &data, Dropped)]);
        datagram("atomic", &[(0, false, &segment, &segment6, fate)]);
    }
    field.fire(&shots);
    Ok(())
}

/// A header chain that the first fragment does not hold whole (RFC 7112).
///
/// Holds: policy 12.
#[test]
fn a_chain_of_headers_is_not_split_over_fragments() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let segment = tcp(6, OPEN, 2, &[]);
    let options = [TCP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let whole = [options.as_slice(), &segment].concat();
    field.fire(&[
        ("split in the options".into(), fragment6(1, 0, true, 60, &options[..8]), Dropped),
        ("split after the options".into(), fragment6(2, 0, true, 60, &options), Dropped),
        ("split in the ports".into(), fragment6(3, 0, true, 60, &whole[..16]), Dropped),
        ("split in the flags".into(), fragment6(4, 0, true, 60, &whole[..24]), Dropped),
        ("not split".into(), fragment6(5, 0, true, 60, &[whole.as_slice(), &[0; 4]].concat()), Passes),
    ]);
    Ok(())
}

/// An open port of TCP and UDP is one of no other protocol, whatever stands where theirs would (sentence 2), and
/// ICMP type 59 is none that always passes (sentence 9).
///
/// Holds: policy 2, policy 13, security closed.
#[test]
fn no_other_protocol_gets_in_by_an_open_port() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for number in 0..=u8::MAX {
        // What follows: a header that says that nothing follows (59), and ports that are closed.
        let payload = [[59, 0, 1, 4].as_slice(), &[0; 36]].concat();
        shots.push((format!("IPv4 protocol {number}"), V4::new(number).frame(&payload), Dropped));
        shots.push((format!("IPv6 protocol {number}"), v6(PEER6, 64, number, &payload), Dropped));
        // The open port, for all but those that have it and those that IPv6 reads on after.
        if number != TCP && number != UDP {
            let open = tcp(4, OPEN, 2, &[]);
            shots.push((
                format!("IPv4 protocol {number} to the open port"),
                V4::new(number).frame(&open),
                Dropped,
            ));
        }
    }
    // SCTP, DCCP and UDP-Lite have ports, and none of them is open.
    for number in [132, 33, 136] {
        let open = udp(6, OPEN);
        shots.push((
            format!("IPv6 protocol {number} to the open port"),
            v6(PEER6, 64, number, &open),
            Dropped,
        ));
    }
    field.fire(&shots);
    Ok(())
}

/// A source is no authentication and opens nothing; a rule without sources holds for any (sentence 4).
///
/// Holds: policy 4, security closed.
#[test]
fn no_source_opens_a_port() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    let sources = [
        PEER4,
        HOST4,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::new(203, 0, 113, 255),
    ];
    let sources6 = [HOST6, "::1".parse()?, "::".parse()?, "ff02::1".parse()?, "::ffff:127.0.0.1".parse()?];
    for (port, fate) in PORTS {
        for source in sources {
            let packet = V4 { source, ..V4::new(UDP) };
            shots.push((format!("udp/{port} from {source}"), packet.frame(&udp(4, port)), fate));
        }
        for source in sources6 {
            shots.push((format!("udp/{port} from {source}"), v6(source, 64, UDP, &udp(6, port)), fate));
        }
    }
    field.fire(&shots);
    assert!(field.is_heard(), "the open port hears what passes");
    Ok(())
}

/// Queries for members of groups pass, as those over IPv6 do; no other message of IGMP does.
#[test]
fn of_igmp_only_queries_pass() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for kind in 0..=u8::MAX {
        let fate = if kind == 0x11 { Passes } else { Dropped };
        let message = [[kind, 0].as_slice(), &[0; 38]].concat();
        for group in [[224, 0, 0, 1], [224, 0, 0, 22], [239, 1, 2, 3]] {
            let mut frame = V4::new(2).frame(&message);
            // The destination; the witness does not read the checksum.
            frame[30..34].copy_from_slice(&group);
            shots.push((format!("IGMP type {kind:02x} to {group:?}"), frame, fate));
        }
    }
    field.fire(&shots);
    Ok(())
}
