//! Frames, options and extension headers, and what the link needs.

use anyhow::Result;

use crate::{
    field::{Fate, Field, Shot},
    frames::{CLOSED, OPEN, PEER6, TCP, V4, chain, ethernet, tcp, to, v6},
};

use Fate::{Dropped, Passes};

const PORTS: [(u16, Fate); 2] = [(OPEN, Passes), (CLOSED, Dropped)];

/// Sentences 10 and 13.
///
/// Holds: policy 10, policy 13.
#[test]
fn frames_hide_no_port() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    let tag = |kind: u16, payload: &[u8]| [[0, 5].as_slice(), &kind.to_be_bytes(), payload].concat();
    for (port, fate) in PORTS {
        let packet = V4::new(TCP).packet(&tcp(4, port, 2, &[]));
        let one = tag(0x0800, &packet);
        let two = tag(0x8100, &one);
        shots.push((format!("tcp/{port}, one tag"), ethernet(0x8100, &one), fate));
        shots.push((format!("tcp/{port}, a service tag"), ethernet(0x88a8, &one), fate));
        shots.push((format!("tcp/{port}, two tags"), ethernet(0x88a8, &two), fate));
        shots.push((format!("tcp/{port}, three tags"), ethernet(0x88a8, &tag(0x8100, &two)), Dropped));
        let length = u16::try_from(packet.len() + 8)?;
        let llc = [[0xaa, 0xaa, 3, 0, 0, 0, 8, 0].as_slice(), &packet].concat();
        shots.push((format!("tcp/{port} after LLC and SNAP"), ethernet(length, &llc), Dropped));
        for kind in [0x8870_u16, 0x8847, 0x8864, 0x88b5, 0x0600, 0xffff] {
            shots.push((format!("tcp/{port} in EtherType {kind:04x}"), ethernet(kind, &packet), Dropped));
        }
        let crossed = format!("tcp/{port} of IPv4 that calls itself IPv6");
        shots.push((crossed, ethernet(0x86dd, &packet), Dropped));
    }
    let packet = V4::new(TCP).packet(&tcp(4, OPEN, 2, &[]));
    // Up to the last byte of the header.
    for length in 0..20 + 20 {
        shots.push((format!("runt of {length} bytes"), ethernet(0x0800, &packet[..length]), Dropped));
    }
    field.fire(&shots);
    Ok(())
}

/// Ports are read behind options, whatever these ask for (sentence 10); a header that contradicts itself is dropped
/// (sentence 13).
///
/// Holds: policy 10, policy 13.
#[test]
fn options_of_ipv4_hide_no_port() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for (port, fate) in PORTS {
        // Loose and strict source routes, record route, timestamp, router alert, and what is none.
        for kind in [131_u8, 137, 7, 68, 148, 130, 0xff] {
            for words in [2_usize, 10] {
                let mut options = vec![0; words * 4];
                options[..3].copy_from_slice(&[kind, u8::try_from(words * 4 - 1)?, 4]);
                let packet = V4 { options, ..V4::new(TCP) };
                let name = format!("tcp/{port}, {words} words of option {kind}");
                shots.push((name, packet.frame(&tcp(4, port, 2, &[])), fate));
            }
        }
        let frame = V4::new(TCP).frame(&tcp(4, port, 2, &[]));
        for header in (0..5).chain([15]) {
            let mut spoiled = frame.clone();
            spoiled[14] = 0x40 | header;
            shots.push((format!("tcp/{port}, {header} words of header"), spoiled, Dropped));
        }
    }
    field.fire(&shots);
    Ok(())
}

/// Up to seven extension headers stand before ports (sentence 10); more are not followed.
///
/// Holds: policy 10.
#[test]
fn extension_headers_hide_no_port() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for (port, fate) in PORTS {
        let segment = tcp(6, port, 2, &[]);
        for kinds in [&[0][..], &[43], &[60], &[44], &[0, 43, 60], &[0, 60, 43, 44, 60], &[60; 7]] {
            shots.push((format!("tcp/{port} after {kinds:?}"), chain(kinds, TCP, &segment), fate));
        }
        shots.push((format!("tcp/{port} after eight"), chain(&[60; 8], TCP, &segment), Dropped));
        let mut lies = chain(&[60], TCP, &segment);
        lies[14 + 40 + 1] = 255;
        shots.push((format!("tcp/{port} after a header beyond the end"), lies, Dropped));
    }
    field.fire(&shots);
    Ok(())
}

/// AH, Mobility, HIP and Shim6 go to sockets of their own protocols: they are what the packet is for, and no rule
/// opens them (sentence 2).
///
/// Holds: policy 2.
#[test]
fn headers_that_are_protocols_are_not_passed_over() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for kind in [51, 135, 139, 140] {
        for kinds in [vec![kind], vec![60, kind], vec![kind, 60]] {
            let frame = chain(&kinds, TCP, &tcp(6, OPEN, 2, &[]));
            shots.push((format!("the open port after {kinds:?}"), frame, Dropped));
        }
    }
    field.fire(&shots);
    Ok(())
}

/// Sentence 9: errors and neighbour discovery from the link itself, and no other message.
///
/// Holds: policy 9, security always-safe.
#[test]
fn of_messages_only_those_that_keep_the_link_pass() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    let message = |kind: u8| [[kind, 0].as_slice(), &[0; 38]].concat();
    for kind in 0..=u8::MAX {
        let fate = if matches!(kind, 3 | 11 | 12) { Passes } else { Dropped };
        shots.push((format!("ICMP type {kind}"), V4::new(1).frame(&message(kind)), fate));
        let (always, link) = (matches!(kind, 1..=4 | 130..=132 | 143), matches!(kind, 133..=137));
        for hop_limit in [255, 64] {
            let fate = if always || link && hop_limit == 255 { Passes } else { Dropped };
            let frame = v6(PEER6, hop_limit, 58, &message(kind));
            shots.push((format!("ICMPv6 type {kind}, hop limit {hop_limit}"), frame, fate));
        }
    }
    field.fire(&shots);
    Ok(())
}

/// Control frames that no bridge forwards keep bonds and ports alive (IEEE Std 802.1Q, table 8-1).
#[test]
fn control_frames_of_the_link_pass() -> Result<()> {
    let Some(mut field) = Field::new()? else { return Ok(()) };
    let mut shots: Vec<Shot> = Vec::new();
    for (name, last, kind) in
        [("LACP", 2, 0x8809), ("EAPOL", 3, 0x888e), ("LLDP", 0x0e, 0x88cc), ("PTP", 0x0e, 0x88f7)]
    {
        let frame = to([1, 0x80, 0xc2, 0, 0, last], kind, &[last; 46]);
        shots.push((name.to_owned(), frame, Passes));
        // To the host itself it is any frame.
        shots.push((format!("{name} to the host"), ethernet(kind, &[last; 46]), Dropped));
    }
    field.fire(&shots);
    Ok(())
}
