//! Reloading is free: conversations do not notice, counters of what stays never go down.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, allow_from, interface, policy},
    lab::Namespace,
    operator::rows,
    packet::Ip,
    traffic::{EchoServer, Protocol},
};

use crate::{Edge, PATIENCE};

const RELOADS: u64 = 50;

#[test]
fn conversations_stay_up_and_counters_never_go_down_over_many_reloads() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    edge.serve(443)?;
    let outside = SocketAddr::new(Ip::V6.address(2), 7);
    let _outside = EchoServer::start(&edge.neighbour, Protocol::Tcp, outside)?;
    let talk = allow("talk", "tcp", "443");
    // Two policies that differ in all but the one rule: its place, its neighbours, the features.
    let policies = [
        policy(&[interface("edge0", &[talk.clone(), allow("dns", "udp", "53")])]),
        policy(&[interface(
            "edge0",
            &[allow_from("ssh", "tcp", "22", &["198.51.100.0/24"]), allow("wide", "tcp", "1-400"), talk],
        )]),
    ];
    edge.operator.apply(&policies[0]).exits(0);

    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        // One that a rule admits, one that this host began.
        let inbound = converse(&edge.neighbour, SocketAddr::new(Ip::V4.address(1), 443))?;
        let outbound = converse(edge.lab.host(), outside)?;
        let talks = [inbound, outbound].map(|stream| scope.spawn(|| chat(stream, &enough)));
        let reloaded = || {
            let mut before = 0;
            for n in 1..=RELOADS {
                edge.operator.apply(&policies[usize::from(n % 2 == 1)]).exits(0);
                let counters = edge.operator.counters("edge0");
                assert_eq!(counters["generation"], n + 1);
                let now = rows(&counters).find(|row| row["service"] == "talk").expect("it stays");
                let now = now["packets"].as_u64().expect("packets are a number");
                assert!(now >= before, "the counter went from {before} to {now} at reload {n}");
                before = now;
            }
        };
        // The conversations end however the reloads do.
        let reloaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(reloaded));
        enough.store(true, Ordering::Relaxed);
        for talk in talks {
            let words = talk.join().expect("a conversation does not panic")?;
            assert!(words > RELOADS, "only {words} words in {RELOADS} reloads");
        }
        reloaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok(())
    })?;
    // TCP would have sent a lost segment again: so look at what was dropped, too.
    assert_eq!(edge.operator.packets("edge0", "undocumented-tcp"), 0);
    assert_eq!(edge.operator.packets("edge0", "source"), 0);
    Ok(())
}

fn converse(from: &Namespace, server: SocketAddr) -> Result<TcpStream> {
    let stream = from.within(|| TcpStream::connect_timeout(&server, PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a number, waits for its echo, and goes on with the next one. Gives how many came back.
fn chat(mut stream: TcpStream, enough: &AtomicBool) -> Result<u64> {
    let mut words = 0_u64;
    while !enough.load(Ordering::Relaxed) {
        stream.write_all(&words.to_be_bytes())?;
        let mut echo = [0; 8];
        stream.read_exact(&mut echo)?;
        assert_eq!(u64::from_be_bytes(echo), words, "no byte is lost or changed");
        words += 1;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(words)
}
