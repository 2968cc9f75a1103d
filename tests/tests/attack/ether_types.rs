//! Frames that carry neither IP nor ARP, where a policy names some of them.

use std::io::{Read as _, Write as _};

use anyhow::Result;
use portcullis_tests::{
    draft::{ether_types, interface, policy},
    operator::{Operator, lab},
    programs::soon,
    tagged,
};

use crate::{
    field::{Fate, Field, Shot},
    frames::{CLOSED, TCP, V4, ethernet, tcp, to},
};

use Fate::{Dropped, Passes};

/// The policy names the EtherTypes; every other one is dropped, and naming some opens nothing of IP (sentence 13).
///
/// Holds: policy 13, security closed, security ether-types.
#[test]
fn every_ether_type_but_the_named_ones_is_dropped() -> Result<()> {
    let named = ["profinet", "0x88f7", "0xffff"];
    let Some(mut field) = Field::allowing(&[ether_types("machines", &named)])? else { return Ok(()) };
    let payload = V4::new(TCP).packet(&tcp(4, CLOSED, 2, &[]));
    let mut shots: Vec<Shot> = Vec::new();
    // IP, ARP and tags are read; all others by steps that meet every byte, and the neighbours of those named.
    let steps = (0..=u16::MAX).step_by(251);
    for kind in
        steps.chain([0x8891, 0x8892, 0x8893, 0x9288, 0x88f6, 0x88f7, 0x88f8, 0xfffe, 0xffff, 0, 0x05ff])
    {
        if matches!(kind, 0x0800 | 0x0806 | 0x86dd | 0x8100 | 0x88a8) {
            continue;
        }
        let fate = if matches!(kind, 0x8892 | 0x88f7 | 0xffff) { Passes } else { Dropped };
        shots.push((format!("EtherType {kind:04x}"), ethernet(kind, &payload), fate));
        shots.push((
            format!("EtherType {kind:04x} to a group"),
            to([1, 0, 0x5e, 0, 0, 1], kind, &payload),
            fate,
        ));
    }
    let tag = |kind: u16| [[0, 5].as_slice(), &kind.to_be_bytes(), &payload].concat();
    shots.push(("a named one after a tag".into(), ethernet(0x8100, &tag(0x8892)), Passes));
    shots.push(("another after a tag".into(), ethernet(0x8100, &tag(0x8893)), Dropped));
    shots.push(("a closed port after a tag".into(), ethernet(0x8100, &tag(0x0800)), Dropped));
    field.fire(&shots);
    Ok(())
}

/// Frames by a packet socket of this host, past every socket that knows IP (sentence 15).
///
/// Holds: policy 15.
#[test]
fn only_named_ether_types_leave() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.silent_neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let out = ether_types("clock", &["ptp"]).replace("types =", "direction = \"out\"\ntypes =");
    let allows = ["outbound = \"enforce\"\n".to_owned(), ether_types("machines", &["profinet"]), out];
    drop(operator.apply(&policy(&[interface("edge0", &allows)])).exits(0));
    let mut sender = tagged::packets("edge0")?;
    let mut witness = neighbour.within(|| tagged::packets("far0"))?;
    let frames = [0x8892, 0x88cc, 0x88f7].map(|kind| ethernet(kind, &[kind.to_be_bytes()[1]; 46]));
    // A packet socket is told of a frame that the kernel drops on its way out.
    let sent = frames.each_ref().map(|frame| sender.write(frame).is_ok());
    assert_eq!(sent, [false, false, true]);
    let left = |name: &str| operator.packets("edge0", name);
    soon("the last frame", || left("clock") == 1);
    assert_eq!((left("outbound-non-ip"), left("machines")), (2, 0));
    let (mut buffer, mut seen) = ([0; 2048], Vec::new());
    while let Ok(length) = witness.read(&mut buffer) {
        seen.push(buffer[..length].to_vec());
    }
    assert_eq!(seen, [frames[2].clone()]);
    Ok(())
}
