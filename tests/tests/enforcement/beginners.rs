//! Who began a conversation is known, whatever the policy, the mode, a trial or the interface was before: a client that
//! was answered once gets in no longer than something admits it.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use portcullis_tests::{
    draft::{address, allow, allow_from, interface, observed, policy},
    lab::Namespace,
    packet::Ip,
    traffic::Protocol,
};

use crate::{Edge, IMPATIENCE, PATIENCE};

/// A service that the host runs; no test's first or last policy has a rule for it.
const SERVICE: u16 = 9_999;
/// How often a client asks.
const TRIES: usize = 10;

/// A client with one socket, so that all that it asks is one conversation.
struct Client(UdpSocket);

impl Client {
    fn new(edge: &Edge, ip: Ip) -> Result<Self> {
        let socket = edge.neighbour.within(|| UdpSocket::bind(SocketAddr::new(ip.address(2), 0)))?;
        socket.connect(SocketAddr::new(ip.address(1), SERVICE))?;
        Ok(Self(socket))
    }

    /// Whether a question is answered within `patience`.
    fn ask(&self, patience: Duration) -> Result<bool> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.send(b"question")?;
        let mut answer = [0; 8];
        Ok(self.0.recv(&mut answer).is_ok())
    }

    /// How many of [`TRIES`] questions are answered.
    fn answered(&self, patience: Duration) -> Result<usize> {
        let mut answered = 0;
        for _ in 0..TRIES {
            answered += usize::from(self.ask(patience)?);
        }
        Ok(answered)
    }
}

/// A host whose service answers, and a client of each version of IP.
fn edge() -> Result<Option<(Edge, Vec<Client>)>> {
    let Some(mut edge) = Edge::new()? else { return Ok(None) };
    edge.serve(SERVICE)?;
    let clients = Ip::BOTH.into_iter().map(|ip| Client::new(&edge, ip)).collect::<Result<_>>()?;
    Ok(Some((edge, clients)))
}

#[track_caller]
fn expect(clients: &[Client], answered: usize, when: &str) -> Result<()> {
    let patience = if answered == 0 { IMPATIENCE } else { PATIENCE };
    for client in clients {
        assert_eq!(client.answered(patience)?, answered, "{when}");
    }
    Ok(())
}

fn closed() -> String {
    policy(&[interface("edge0", &[])])
}

fn service_from_neighbours() -> String {
    let port = SERVICE.to_string();
    policy(&[interface(
        "edge0",
        &[allow_from("service", "udp", &port, &["203.0.113.0/24", "2001:db8::/32"])],
    )])
}

/// Holds: policy 7.
#[test]
fn a_client_that_is_active_at_the_first_enforcement_is_a_stranger() -> Result<()> {
    let Some((edge, clients)) = edge()? else { return Ok(()) };
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let asking = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                for client in &clients {
                    client.ask(Duration::from_millis(20))?;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        let begin = Instant::now();
        while asked.load(Ordering::Relaxed) < 10 {
            ensure!(begin.elapsed() < PATIENCE, "the clients are not answered");
            thread::yield_now();
        }
        edge.operator.apply(&closed()).exits(0);
        done.store(true, Ordering::Relaxed);
        asking.join().expect("the clients do not panic")
    })?;
    expect(&clients, 0, "a service without a rule, whose client was active while the programs listened")
}

/// Holds: policy 7.
#[test]
fn a_rule_that_goes_ends_what_it_let_in() -> Result<()> {
    let Some((edge, clients)) = edge()? else { return Ok(()) };
    let port = SERVICE.to_string();
    let at = |ip: Ip| {
        let own = ip.address(1).to_string();
        address(&own, &[allow(&format!("service-{ip:?}"), "udp", &port)])
    };
    let rules = [
        ("a rule with `from`", service_from_neighbours()),
        ("a rule of an address", policy(&[interface("edge0", &[at(Ip::V4), at(Ip::V6)])])),
        ("a rule for all", policy(&[interface("edge0", &[allow("service", "udp", &port)])])),
    ];
    for (says, open) in rules {
        edge.operator.apply(&open).exits(0);
        expect(&clients, TRIES, says)?;
        edge.operator.apply(&closed()).exits(0);
        expect(&clients, 0, &format!("{says}, when it is gone"))?;
    }
    Ok(())
}

/// Holds: policy 7.
#[test]
fn a_shadow_reports_each_packet_that_a_rule_lets_in() -> Result<()> {
    let Some((edge, clients)) = edge()? else { return Ok(()) };
    edge.operator.apply(&service_from_neighbours()).exits(0);
    let shadow = edge.operator.policy(&closed())?;
    edge.operator.run(&["apply", shadow.to_str().expect("text"), "--shadow"]).exits(0);
    expect(&clients, TRIES, "the active policy lets it in")?;
    let shadow = edge.operator.run(&["shadow", "--json"]).exits(3).json();
    let closes = shadow["interfaces"][0]["closes"]["packets"].as_u64().unwrap_or(0);
    assert_eq!(closes, (TRIES * clients.len()) as u64, "{shadow}");
    Ok(())
}

/// Holds: policy 7.
#[test]
fn what_was_only_observed_is_not_let_in() -> Result<()> {
    let Some((edge, clients)) = edge()? else { return Ok(()) };
    edge.operator.apply(&policy(&[observed("edge0", &[])])).exits(0);
    expect(&clients, TRIES, "nothing is dropped")?;
    let packets = |reason| edge.operator.packets("edge0", reason);
    assert_eq!(
        packets("undocumented-udp"),
        (TRIES * clients.len()) as u64,
        "each is counted as what would be dropped"
    );
    edge.operator.apply(&closed()).exits(0);
    expect(&clients, 0, "observed before")
}

/// Holds: policy 7.
#[test]
fn a_trial_that_ends_takes_its_clients_along() -> Result<()> {
    let Some((edge, clients)) = edge()? else { return Ok(()) };
    edge.operator.apply(&closed()).exits(0);
    let open = edge.operator.policy(&service_from_neighbours())?;
    edge.operator.run(&["apply", open.to_str().expect("text"), "--confirm", "5s"]).exits(0);
    expect(&clients, TRIES, "the trial lets it in")?;
    let begin = Instant::now();
    while edge.operator.run(&["status", "--json"]).json()["interfaces"][0]["pending"]["stage"] != "ended" {
        ensure!(begin.elapsed() < PATIENCE, "the trial does not end");
        thread::sleep(Duration::from_millis(50));
    }
    expect(&clients, 0, "the trial is over")
}

/// Holds: policy 7.
#[test]
fn what_this_host_begins_from_a_port_that_was_open_goes_on() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let port = SERVICE.to_string();
    edge.operator.apply(&policy(&[interface("edge0", &[allow("service", "udp", &port)])])).exits(0);
    for ip in Ip::BOTH {
        // As NTP, IKE and SIP do: both ends ask from the port that is open.
        let (here, there) =
            (SocketAddr::new(ip.address(1), SERVICE), SocketAddr::new(ip.address(2), SERVICE));
        let _server = portcullis_tests::traffic::EchoServer::start(&edge.neighbour, Protocol::Udp, there)?;
        let socket = edge.lab.host().within(|| UdpSocket::bind(here))?;
        socket.connect(there)?;
        let client = Client(socket);
        assert!(client.ask(PATIENCE)?, "{ip:?} while the port is open");
        edge.operator.apply(&closed()).exits(0);
        assert_eq!(client.answered(PATIENCE)?, TRIES, "{ip:?} after it was closed");
        edge.operator.apply(&policy(&[interface("edge0", &[allow("service", "udp", &port)])])).exits(0);
    }
    Ok(())
}

/// Answers are known as such on every interface, whichever they leave by.
///
/// Holds: policy 7.
#[test]
fn an_answer_that_leaves_by_another_interface_lets_nobody_in_there() -> Result<()> {
    /// An address that the host reaches by the second interface, also where its packets arrive by the first.
    const CLIENTS: [(Ip, &str, u8); 2] = [(Ip::V4, "192.0.2.5", 32), (Ip::V6, "2001:db8:2::5", 128)];
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    edge.serve(SERVICE)?;
    let host = edge.lab.host();
    let other = edge.lab.neighbour_in("edge1", "far1", "198.51.100.", "2001:db8:1::")?;
    for name in ["all", "edge0", "edge1"] {
        // What arrives by another way than answers leave is no forgery here.
        let setting = format!("net/ipv4/conf/{name}/rp_filter");
        host.within(|| std::fs::write(format!("/proc/sys/{setting}"), "0"))?;
    }
    for (ip, client, bits) in CLIENTS {
        let (way, back) = match ip {
            Ip::V4 => ("198.51.100.2", "198.51.100.1"),
            Ip::V6 => ("2001:db8:1::2", "2001:db8:1::1"),
        };
        edge.neighbour.address("far0", &format!("{client}/{bits}"))?;
        other.address("far1", &format!("{client}/{bits}"))?;
        host.run("ip", &["route", "add", client, "via", way, "dev", "edge1"])?;
        other.run("ip", &["route", "add", &ip.address(1).to_string(), "via", back, "dev", "far1"])?;
    }
    edge.operator
        .apply(&policy(&[
            interface("edge0", &[allow("service", "udp", &SERVICE.to_string())]),
            interface("edge1", &[]),
        ]))
        .exits(0);
    for (ip, client, _) in CLIENTS {
        let server = SocketAddr::new(ip.address(1), SERVICE);
        let socket = |namespace: &Namespace| {
            namespace.within(|| {
                UdpSocket::bind((client, 40_000)).and_then(|socket| socket.connect(server).map(|()| socket))
            })
        };
        let (asks, hears) = (socket(&edge.neighbour)?, Client(socket(&other)?));
        hears.0.set_read_timeout(Some(PATIENCE))?;
        for _ in 0..TRIES {
            asks.send(b"question")?;
            let mut answer = [0; 8];
            hears.0.recv(&mut answer)?;
            let before = edge.operator.packets("edge1", "undocumented-udp");
            assert!(!hears.ask(IMPATIENCE)?, "{ip:?}: it was let in where the port is closed");
            assert!(edge.operator.packets("edge1", "undocumented-udp") > before, "{ip:?}");
            hears.0.set_read_timeout(Some(PATIENCE))?;
        }
    }
    Ok(())
}
