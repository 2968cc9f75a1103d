//! A host that forwards, between a client and a server, each in a network of its own.

mod routed;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    traffic::{EchoServer, Protocol, exchange},
};

const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_millis(200);

/// The client's and the server's addresses.
const CLIENT: [&str; 2] = ["198.51.100.2", "2001:db8:1::2"];
const SERVER: [&str; 2] = ["203.0.113.2", "2001:db8::2"];

struct Passage {
    client: Namespace,
    server: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Passage {
    fn new() -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let client = lab.neighbour_in("lan0", "client0", "198.51.100.", "2001:db8:1::")?;
        let server = lab.neighbour("wan0", "server0")?;
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{setting}");
            fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
        }
        for (namespace, v4, v6) in
            [(&client, "198.51.100.1", "2001:db8:1::1"), (&server, "203.0.113.1", "2001:db8::1")]
        {
            namespace.run("ip", &["route", "add", "default", "via", v4])?;
            namespace.run("ip", &["-6", "route", "add", "default", "via", v6])?;
        }
        Ok(Some(Self { client, server, operator: Operator::new(&lab)?, lab }))
    }

    /// Serves a port in a namespace over both transports.
    fn serve(namespace: &Namespace, address: &str, port: u16) -> Result<Vec<EchoServer>> {
        let address = SocketAddr::new(address.parse::<IpAddr>()?, port);
        [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .map(|transport| EchoServer::start(namespace, transport, address))
            .collect()
    }
}

/// The interface that clients are behind.
fn inside(allows: &[String]) -> String {
    interface("lan0", allows).replace("name = \"lan0\"\n", "name = \"lan0\"\ndeployment = \"gateway\"\n")
}

/// Holds: policy 20, policy 21.
#[test]
fn requests_of_clients_pass_and_are_answered() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    let allows = [allow("web", "tcp", "443"), allow("names", "udp", "443")];
    let apply = |text: &str| passage.operator.apply(text).exits(0);
    apply(&policy(&[inside(&allows), interface("wan0", &[])]));
    for (server, client) in SERVER.into_iter().zip(CLIENT) {
        let mut servers = Passage::serve(&passage.server, server, 443)?;
        servers.extend(Passage::serve(&passage.server, server, 444)?);
        servers.extend(Passage::serve(&passage.client, client, 443)?);
        let at = |address: &str, port| -> Result<_> { Ok(SocketAddr::new(address.parse()?, port)) };
        for (transport, reason) in [(Protocol::Tcp, "undocumented-tcp"), (Protocol::Udp, "undocumented-udp")]
        {
            let flow = if transport == Protocol::Tcp { "flow-tcp" } else { "flow-udp" };
            let before = passage.operator.packets("wan0", flow);
            assert!(
                exchange(&passage.client, transport, at(server, 443)?, PATIENCE)?,
                "{transport:?} {server}"
            );
            assert!(passage.operator.packets("wan0", flow) > before, "the answer is counted under {flow}");

            let before = passage.operator.packets("lan0", reason);
            let passed = exchange(&passage.client, transport, at(server, 444)?, IMPATIENCE)?;
            assert!(!passed, "{transport:?} {server}: no rule allows the port");
            assert!(passage.operator.packets("lan0", reason) > before);

            let before = passage.operator.packets("wan0", reason);
            let entered = exchange(&passage.server, transport, at(client, 443)?, IMPATIENCE)?;
            assert!(!entered, "{transport:?} {client}: a server does not reach the client");
            assert!(passage.operator.packets("wan0", reason) > before);
        }
    }
    assert!(passage.operator.packets("lan0", "web") > 0 && passage.operator.packets("lan0", "names") > 0);
    Ok(())
}

/// Holds: policy 22.
#[test]
fn what_the_outside_lets_in_is_answered_from_within() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    let outside = interface("wan0", &[allow("mail", "tcp", "25"), allow("calls", "udp", "25")]);
    passage.operator.apply(&policy(&[inside(&[]), outside])).exits(0);
    for client in CLIENT {
        let _servers = Passage::serve(&passage.client, client, 25)?;
        for transport in [Protocol::Tcp, Protocol::Udp] {
            let at = SocketAddr::new(client.parse()?, 25);
            assert!(exchange(&passage.server, transport, at, PATIENCE)?, "{transport:?} {client}");
        }
    }
    assert!(
        passage.operator.packets("lan0", "flow-tcp") > 0 && passage.operator.packets("lan0", "flow-udp") > 0
    );
    Ok(())
}

/// Holds: policy 22.
#[test]
fn an_answer_does_not_open_the_way_for_requests() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    // Only the inside is judged: what leaves it are answers, which must not pass for questions.
    passage.operator.apply(&policy(&[inside(&[allow("names", "udp", "53")])])).exits(0);
    let server = SocketAddr::new(SERVER[0].parse()?, 53);
    let _server = EchoServer::start(&passage.server, Protocol::Udp, server)?;
    let socket = passage.client.within(|| std::net::UdpSocket::bind((CLIENT[0], 4_000)))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 4];
    socket.send(b"then")?;
    socket.recv(&mut answer)?;
    assert_eq!(&answer, b"then");

    passage.operator.apply(&policy(&[inside(&[])])).exits(0);
    socket.set_read_timeout(Some(IMPATIENCE))?;
    let before = passage.operator.packets("lan0", "undocumented-udp");
    socket.send(b"now.")?;
    assert!(socket.recv(&mut answer).is_err(), "the port is closed now, whatever was answered before");
    assert!(passage.operator.packets("lan0", "undocumented-udp") > before);
    Ok(())
}
