//! The guard: nobody locks himself out without having been told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Ran, lab},
    packet::Ip,
    traffic::{EchoServer, Protocol},
};

use crate::{Edge, IMPATIENCE, PATIENCE, applied, left_behind, web};

/// Somebody from the neighbour who is logged in at a port of the protected host. This process holds
/// the server's side, so it is what an SSH server is to whoever works in its session.
struct Session {
    stream: TcpStream,
    _server: EchoServer,
}

impl Session {
    fn begin(edge: &Edge, ip: Ip, port: u16) -> Result<Self> {
        let address = SocketAddr::new(ip.address(1), port);
        let server = EchoServer::start(edge.lab.host(), Protocol::Tcp, address)?;
        let stream = edge.neighbour.within(|| TcpStream::connect_timeout(&address, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self { stream, _server: server };
        assert!(session.lives()?);
        Ok(session)
    }

    fn lives(&mut self) -> Result<bool> {
        self.stream.write_all(b"?")?;
        match self.stream.read_exact(&mut [0]) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As the CLI writes it.
    fn told(&self) -> String {
        format!(
            "tcp {} > {}",
            self.stream.local_addr().expect("bound"),
            self.stream.peer_addr().expect("connected")
        )
    }

    /// As sshd tells it to what it starts.
    fn variable(&self) -> String {
        let (client, server) =
            (self.stream.local_addr().expect("bound"), self.stream.peer_addr().expect("connected"));
        format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
    }
}

fn apply(edge: &Edge, text: &str, options: &[&str], variable: Option<&str>) -> Ran {
    let path = edge.operator.policy(text).expect("the lab's folder can be written");
    let mut args = vec!["apply", path.to_str().expect("text")];
    args.extend(options);
    let mut command = edge.operator.command(&args);
    command.env_remove("SSH_CONNECTION");
    if let Some(variable) = variable {
        command.env("SSH_CONNECTION", variable);
    }
    Ran::of(command)
}

/// The lines of a complaint from the allow that is missing on.
fn remedy(ran: &Ran) -> String {
    let start = ran.stderr.find("[[interface.allow]]").expect("the missing lines");
    let end = ran.stderr[start..].find("\nportcullis:").expect("the verdict comes last");
    ran.stderr[start..start + end].to_owned()
}

#[test]
fn a_policy_that_would_cut_the_operators_session_is_refused_and_says_what_is_missing() -> Result<()> {
    for ip in Ip::BOTH {
        let Some(lab) = lab() else { return Ok(()) };
        let edge = Edge::new(lab)?;
        let mut session = Session::begin(&edge, ip, 22)?;
        let sentence = format!("edge0: would cut your own session {}", session.told());

        let refused =
            apply(&edge, &web(), &[], None).exits(1).complains(&sentence).complains("nothing has changed");
        let refused = refused.complains("= help: `--force --confirm 60s` tries the policy all the same");
        assert_eq!(left_behind(), Vec::<String>::new());
        assert!(session.lives()?);
        let mended = web() + "\n" + &remedy(&refused);
        let path = edge.operator.policy(&web())?;
        edge.operator
            .run(&["plan", path.to_str().expect("text")])
            .exits(3)
            .complains(&sentence)
            .complains("name     = \"ssh\"");

        apply(&edge, &mended, &[], None).exits(0).prints("enforcing 2 rules");
        assert!(session.lives()?);
        // Where something is enforced already, it is no different.
        apply(&edge, &web(), &[], None).exits(1).complains(&sentence);
        assert!(session.lives()?);

        apply(&edge, &web(), &["--force"], None).exits(0).complains(&format!("forced: {sentence}"));
        session.stream.set_read_timeout(Some(IMPATIENCE))?;
        assert!(!session.lives()?, "forced, it is cut");
        apply(&edge, &mended, &[], None).exits(0);
    }
    Ok(())
}

#[test]
fn what_this_host_began_is_asked_about_where_leaving_packets_are_judged() -> Result<()> {
    for mode in ["enforce", "observe"] {
        let Some(lab) = lab() else { return Ok(()) };
        let edge = Edge::new(lab)?;
        let server = SocketAddr::new(Ip::V4.address(2), 2_222);
        let _server = EchoServer::start(&edge.neighbour, Protocol::Tcp, server)?;
        let mut stream = edge.lab.host().within(|| TcpStream::connect_timeout(&server, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let lives = |stream: &mut TcpStream| -> Result<bool> {
            stream.write_all(b"?")?;
            Ok(stream.read_exact(&mut [0]).is_ok())
        };
        assert!(lives(&mut stream)?);
        let judged = format!("name = \"edge0\"\nmode = \"{mode}\"\noutbound = \"enforce\"\n");
        let text = web().replace("name = \"edge0\"\n", &judged);

        let sentence = format!("edge0: would cut tcp {} > {server}", stream.local_addr()?);
        let path = edge.operator.policy(&text)?;
        edge.operator.run(&["plan", path.to_str().expect("text")]).exits(3).complains(&sentence);
        let allow = "[[interface.allow]]\nname = \"shell\"\nprotocol = \"tcp\"\nports = 2222\n\
                     direction = \"out\"\nto = [\"203.0.113.2\"]\n";
        let mended = text.clone() + "\n" + allow;
        let quiet = apply(&edge, &mended, &[], None).exits(0);
        assert!(!quiet.stderr.contains("would cut"), "{quiet}");
        assert!(lives(&mut stream)?, "{mode}");
        apply(&edge, &text, &[], None).exits(0).complains(&sentence);
        stream.set_read_timeout(Some(IMPATIENCE))?;
        assert!(!lives(&mut stream)?, "{mode}: it was told, and is cut");
        edge.operator.run(&["detach", "--all"]).exits(0);
    }
    Ok(())
}

#[test]
fn an_observed_interface_cuts_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let mut session = Session::begin(&edge, Ip::V4, 22)?;
    apply(&edge, &web(), &["--observe"], None).exits(0);
    assert!(session.lives()?);
    Ok(())
}

#[test]
fn the_operators_session_is_the_one_that_ssh_names() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let mut own = Session::begin(&edge, Ip::V4, 22)?;
    let other = Session::begin(&edge, Ip::V4, 2222)?;
    let ssh = policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]);
    // A variable that names nothing that lives, as a multiplexer keeps it, is no excuse.
    apply(&edge, &ssh, &[], Some("198.51.100.7 1 203.0.113.1 22")).exits(1).complains(&other.told());
    // Others' conversations are told, and are theirs.
    apply(&edge, &ssh, &[], Some(&own.variable()))
        .exits(0)
        .complains(&format!("warning: edge0: would cut {}", other.told()));
    assert!(own.lives()?);
    Ok(())
}

#[test]
fn an_address_that_is_only_lent_can_be_renewed() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    lend(&edge.lab)?;
    let without = web().replace("name = \"edge0\"\n", "name = \"edge0\"\ndhcp = false\n");
    apply(&edge, &without, &[], None)
        .exits(1)
        .complains("would keep the address 203.0.113.77 from being renewed by DHCP")
        .complains("dhcp = true");
    applied(&edge.operator, &web());
    assert_eq!(edge.operator.packets("edge0", "dhcp"), 0, "what the guard asks is not counted");
    Ok(())
}

/// Gives the protected host an address for a time, as a DHCP client does.
fn lend(lab: &Lab) -> Result<()> {
    let lifetime = ["valid_lft", "300", "preferred_lft", "300"];
    let mut args = vec!["address", "add", "203.0.113.77/24", "dev", "edge0"];
    args.extend(lifetime);
    lab.host().run("ip", &args).map(drop)
}

#[test]
fn gateways_and_name_servers_are_asked_about_and_found_well() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let ip = |args: &[&str]| edge.lab.host().run("ip", args);
    ip(&["route", "add", "default", "via", "203.0.113.2"])?;
    ip(&["-6", "route", "add", "default", "via", "2001:db8::2"])?;
    let ran = applied(&edge.operator, &policy(&[interface("edge0", &[])]));
    assert_eq!(ran.stderr, "");
    assert_eq!(edge.operator.packets("edge0", "arp"), 0, "what the guard asks is not counted");
    Ok(())
}
