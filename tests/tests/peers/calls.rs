//! SIP calls with their audio, by SIPp on both sides. The protected host is a front-end server: its document
//! opens 5060/TCP (line 53) and, for media, 49152 to 57500 (line 91).

use std::fs;

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy, role},
    operator::Ran,
    packet::Ip,
    programs::listens,
    running::Running,
};

use crate::Edge;

/// The port and the media as the document has them.
const SIP: &str = "server-ports-ja:53";
const MEDIA: &str = "server-ports-ja:91";

const CALLS: u64 = 4;
/// Half a second of audio, 20 ms a packet.
const PACKETS_A_CALL: u64 = 25;

fn front_end(allows: &[String]) -> String {
    let role = role("skype-for-business-server-2015/front-end-server");
    policy(&[interface("edge0", &[&[role], allows].concat())])
}

/// Who calls whom how.
#[derive(Clone, Copy)]
struct Call {
    ip: Ip,
    /// As SIPp says it: `t1` or `u1`.
    transport: &'static str,
    port: u16,
    media: u16,
}

impl Call {
    /// The protected host, as a server that sends back the audio that it hears.
    fn server(self, edge: &Edge) -> Running {
        let (address, port, media) = self.words(1);
        let args = ["-sn", "uas", "-i", &address, "-p", &port, "-t", self.transport];
        let echo = ["-mi", &address, "-mp", &media, "-rtp_echo", "-nostdin"];
        let server = edge.programs.start(edge.host(), "sipp", &[&args[..], &echo].concat());
        listens(edge.host(), self.port);
        listens(edge.host(), self.media);
        server
    }

    /// The neighbour calls a few times; what SIPp said in the end.
    fn calls(self, edge: &Edge, seconds: &str) -> Ran {
        let (server, port, _) = self.words(1);
        let (address, ..) = self.words(2);
        let calls = CALLS.to_string();
        let from = ["-sf", "caller.xml", "-i", &address, "-mi", &address, "-t", self.transport];
        let often = ["-m", &calls, "-r", "20", "-timeout", seconds, "-timeout_error", "-nostdin"];
        let to = [format!("{server}:{port}")];
        let mut command = edge.programs.command(&edge.neighbour, "sipp");
        command.current_dir("/mnt/sip").args(from).args(often).args(to);
        Ran::of(command)
    }

    fn words(self, n: u8) -> (String, String, String) {
        let address = self.ip.address(n);
        let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        (address, self.port.to_string(), self.media.to_string())
    }
}

#[test]
fn calls_and_their_audio_pass_where_the_document_says() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&front_end(&[allow("sip-udp", "udp", "5060")]));
    for (ip, transport, rule) in [(Ip::V4, "t1", SIP), (Ip::V6, "t1", SIP), (Ip::V4, "u1", "sip-udp")] {
        let call = Call { ip, transport, port: 5060, media: 50_000 };
        let before = (edge.counted(rule), edge.counted(MEDIA), edge.datagrams());
        let _server = call.server(&edge);
        drop(call.calls(&edge, "10").exits(0));
        assert!(edge.counted(rule) >= before.0 + 2 * CALLS, "each call is set up and ended");
        assert_eq!(edge.counted(MEDIA), before.1 + CALLS * PACKETS_A_CALL, "every packet of audio");
        assert!(edge.datagrams() >= before.2 + CALLS * PACKETS_A_CALL, "and the host has it");
    }
    assert_eq!(edge.counted("undocumented-udp"), 0);
    edge.operator.show("edge0", "calls over TCP, IPv6 and UDP");
    Ok(())
}

#[test]
fn audio_outside_of_the_documented_range_is_dropped() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&front_end(&[]));
    let call = Call { ip: Ip::V4, transport: "t1", port: 5060, media: 20_000 };
    let _server = call.server(&edge);
    drop(call.calls(&edge, "10").exits(0));
    assert_eq!(edge.counted("undocumented-udp"), CALLS * PACKETS_A_CALL, "every packet of audio");
    assert_eq!(edge.counted(MEDIA), 0);
    assert_eq!(edge.datagrams(), 0, "the host has none");
    edge.operator.show("edge0", "audio to port 20000");
    Ok(())
}

#[test]
fn calls_to_ports_that_no_document_names_fail() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&front_end(&[]));
    // 5060 is documented for TCP alone, 5059 not at all.
    for (transport, port, reason) in [("u1", 5060, "undocumented-udp"), ("t1", 5059, "undocumented-tcp")] {
        let call = Call { ip: Ip::V4, transport, port, media: 50_000 };
        let _server = call.server(&edge);
        let ran = call.calls(&edge, "1");
        assert_ne!(ran.code, Some(0), "{ran}");
        assert!(edge.counted(reason) > 0, "{reason}");
    }
    assert_eq!((edge.counted(SIP), edge.counted(MEDIA)), (0, 0));
    edge.operator.show("edge0", "calls to 5060/UDP and 5059/TCP");
    Ok(())
}

fn edge() -> Result<Option<Edge>> {
    let Some(edge) = Edge::new(&["sipp"])? else { return Ok(None) };
    let folder = edge.lab.folder("sip")?;
    fs::write(folder.join("caller.xml"), include_str!("fixtures/caller.xml"))?;
    // Silence in G.711: 160 bytes are 20 ms.
    fs::write(folder.join("audio.ulaw"), vec![0xff; 160 * usize::try_from(PACKETS_A_CALL)?])?;
    Ok(Some(edge))
}
