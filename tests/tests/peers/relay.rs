//! A TURN server (coturn, RFC 8656) on the protected host. The document of its role opens 3478/UDP (line 77);
//! the range of relay ports is the operator's.

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy, role},
    operator::Ran,
    programs::listens,
    running::Running,
};

use crate::Edge;

/// The port as the document has it.
const TURN: &str = "public-im-ports-ja:77";

/// Messages of a client, each through a relay port to the neighbour and back.
const MESSAGES: u64 = 10;

const SERVER: &str = "203.0.113.1";
const NEIGHBOUR: &str = "203.0.113.2";

fn av_edge(allows: &[String]) -> String {
    policy(&[interface("edge0", &[&[role("lync-server-2013-public-im/av-edge")], allows].concat())])
}

#[test]
fn media_is_relayed_through_the_operators_range() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&av_edge(&[allow("relay", "udp", "49160-49200")]));
    let _servers = servers(&edge, 3478);
    drop(edge.programs.run(&edge.neighbour, "turnutils_stunclient", 5, &["-p", "3478", SERVER]).exits(0));
    let learnt = edge.counted(TURN);
    assert!(learnt > 0, "the client has learnt its own address");
    drop(client(&edge, &[]).exits(0).prints("Total lost packets 0 "));
    assert!(edge.counted(TURN) >= learnt + MESSAGES, "every message to the relay");
    assert_eq!(edge.counted("relay"), MESSAGES, "every message from the peer to a relay port");
    assert_eq!(edge.counted("undocumented-udp"), 0);
    edge.operator.show("edge0", "relayed");
    Ok(())
}

#[test]
fn answers_of_peers_are_replies_where_the_range_is_closed() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&av_edge(&[]));
    let _servers = servers(&edge, 3478);
    drop(client(&edge, &[]).exits(0).prints("Total lost packets 0 "));
    assert_eq!(edge.counted("flow-udp"), MESSAGES, "the relay spoke first");
    edge.operator.show("edge0", "relayed without a rule for the range");
    Ok(())
}

#[test]
fn a_relay_at_what_no_document_names_is_not_reached() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&av_edge(&[]));
    // 3478 is documented for UDP alone, 3470 not at all.
    let _servers = (servers(&edge, 3478), servers(&edge, 3470));
    drop(client(&edge, &["-t"]).exits(124));
    assert!(edge.counted("undocumented-tcp") > 0);
    let ran = edge.programs.run(&edge.neighbour, "turnutils_stunclient", 1, &["-p", "3470", SERVER]);
    drop(ran.exits(124));
    assert!(edge.counted("undocumented-udp") > 0);
    assert_eq!(edge.counted(TURN), 0);
    edge.operator.show("edge0", "3478/TCP and 3470/UDP");
    Ok(())
}

fn edge() -> Result<Option<Edge>> {
    Edge::new(&["turnserver", "turnutils_peer", "turnutils_stunclient", "turnutils_uclient"])
}

/// The relay on the protected host, and on the neighbour a peer that sends back what it receives.
fn servers(edge: &Edge, port: u16) -> [Running; 2] {
    let folder = edge.lab.folder(&format!("turn{port}")).expect("the lab's folder can be written");
    let own = |option: &str, file: &str| format!("--{option}={}", folder.join(file).display());
    let files = [own("pidfile", "pid"), own("userdb", "users")];
    let number = port.to_string();
    let listening = ["-n", "--no-cli", "--no-tls", "--no-dtls", "-L", SERVER, "-p", &number];
    let relaying = ["--min-port=49160", "--max-port=49200", "--no-multicast-peers"];
    let known = ["--lt-cred-mech", "--user=name:word", "--realm=lab", "--log-file=stdout"];
    let args: Vec<&str> = [&listening[..], &relaying, &known]
        .concat()
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let server = edge.programs.start(edge.host(), "turnserver", &args);
    let peer_port = (port + 2).to_string();
    let peer = ["-L", NEIGHBOUR, "-p", &peer_port];
    let peer = edge.programs.start(&edge.neighbour, "turnutils_peer", &peer);
    listens(edge.host(), port);
    listens(&edge.neighbour, port + 2);
    [server, peer]
}

/// The neighbour's client, which makes relays to the peer.
fn client(edge: &Edge, more: &[&str]) -> Ran {
    let messages = MESSAGES.to_string();
    let who = ["-u", "name", "-w", "word", "-L", NEIGHBOUR, "-p", "3478"];
    let what = ["-n", &messages, "-l", "170", "-e", NEIGHBOUR, "-r", "3480", "-c"];
    let seconds = if more.is_empty() { 20 } else { 1 };
    let args = [&who[..], &what, more, &[SERVER]].concat();
    edge.programs.run(&edge.neighbour, "turnutils_uclient", seconds, &args)
}
