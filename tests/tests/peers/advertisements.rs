//! IPv6 without configuration: dnsmasq advertises a prefix and itself as the router, and the protected host's
//! kernel takes both. No rule speaks of it.

use anyhow::Result;
use etherparse::{Icmpv6Type, PacketBuilder};
use portcullis_tests::{
    assembly::Generator,
    draft::{interface, policy},
    programs::soon,
};

use crate::Edge;

#[test]
fn address_and_route_come_from_the_router_and_not_from_beyond_the_link() -> Result<()> {
    let Some(edge) = Edge::without_addresses(&["dnsmasq", "ping"])? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    edge.neighbour.address("far0", "2001:db8::2/64")?;
    let _router = edge.dnsmasq(&[
        "--port=0",
        "--dhcp-range=2001:db8::,ra-only",
        "--enable-ra",
        "--ra-param=far0,4,600",
    ]);
    let host = |args: &[&str]| edge.host().run("ip", args).expect("the interface is there");
    soon("an address", || {
        host(&["-6", "address", "show", "dev", "edge0", "scope", "global"]).contains("2001:db8::")
    });
    soon("a route", || host(&["-6", "route", "show", "default"]).contains("proto ra"));
    soon("a usable address", || host(&["-6", "address", "show", "dev", "edge0", "tentative"]).is_empty());
    drop(edge.programs.run(edge.host(), "ping", 10, &["-c", "3", "-i", "0.2", "2001:db8::2"]).exits(0));
    assert_eq!(edge.counted("flow-echo"), 3);
    let discovered = edge.counted("neighbour-discovery");
    assert!(
        discovered >= 3,
        "an advertisement of the router, a solicitation and an advertisement of the neighbour"
    );
    assert_eq!(edge.counted("forged-neighbour"), 0);

    // From beyond the link: routers on the way would have lowered the hop limit (RFC 4861 section 6.1.2).
    let generator = edge.neighbour.within(|| Generator::new("far0"))?;
    let send = |frame: &[u8]| edge.neighbour.within(|| generator.send(frame, 1));
    for hops in [254, 64, 1] {
        send(&advertisement(hops))?;
    }
    soon("the forged ones", || edge.counted("forged-neighbour") == 3);
    let forged = "2001:db8:bad:";
    let addresses = host(&["-6", "address", "show", "dev", "edge0"]);
    assert!(!addresses.contains(forged), "{addresses}");
    // The same from the link itself: the host would have believed it.
    send(&advertisement(255))?;
    soon("its address", || host(&["-6", "address", "show", "dev", "edge0"]).contains(forged));
    assert_eq!(edge.counted("forged-neighbour"), 3);
    edge.operator.show("edge0", "router advertisements");
    Ok(())
}

/// A router advertisement (RFC 4861 section 4.2) of 2001:db8:bad::/64 for the minute to come.
fn advertisement(hops: u8) -> Vec<u8> {
    let router = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0xad];
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let minute = 60_u32.to_be_bytes();
    // Reachable time and retransmission timer: unspecified. Prefix information (section 4.6.2): on this
    // link, and for addresses.
    let mut payload = vec![0; 8];
    payload.extend([3, 4, 64, 0xc0]);
    payload.extend(
        [minute, minute, [0; 4], [0x20, 0x01, 0x0d, 0xb8], [0x0b, 0xad, 0, 0], [0; 4], [0; 4]].concat(),
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(router, all_nodes, hops)
        .icmpv6(Icmpv6Type::Unknown { type_u8: 134, code_u8: 0, bytes5to8: [64, 0, 0, 60] })
        .write(&mut frame, &payload)
        .expect("a vector takes every byte");
    frame
}
