//! What runs when enforcement begins goes on: not a packet is lost.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Namespace,
    operator::lab,
    packet::Ip,
    traffic::{EchoServer, Protocol},
};

use crate::{Edge, IMPATIENCE, PATIENCE, applied};

/// One side of a conversation that is always answered.
pub(crate) enum Talk {
    Tcp(TcpStream),
    Connected(UdpSocket),
    Unconnected(UdpSocket, SocketAddr),
}

impl Talk {
    pub(crate) fn tcp(from: &Namespace, server: SocketAddr) -> Result<Self> {
        let stream = from.within(|| TcpStream::connect_timeout(&server, PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Tcp(stream))
    }

    pub(crate) fn udp(from: &Namespace, server: SocketAddr, is_connected: bool) -> Result<Self> {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = from.within(|| UdpSocket::bind((any, 0)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        if !is_connected {
            return Ok(Self::Unconnected(socket, server));
        }
        from.within(|| socket.connect(server))?;
        Ok(Self::Connected(socket))
    }

    /// Waits for echoes no longer than for what must not come.
    pub(crate) fn hurry(&mut self) {
        let patience = Some(IMPATIENCE);
        let set = match self {
            Self::Tcp(stream) => stream.set_read_timeout(patience),
            Self::Connected(socket) | Self::Unconnected(socket, _) => socket.set_read_timeout(patience),
        };
        set.expect("a time that is not zero");
    }

    /// Says a word and waits for its echo.
    pub(crate) fn say(&mut self, word: u64) -> Result<()> {
        let word = word.to_be_bytes();
        let mut echo = [0; 8];
        match self {
            Self::Tcp(stream) => {
                stream.write_all(&word)?;
                stream.read_exact(&mut echo)?;
            }
            Self::Connected(socket) => {
                socket.send(&word)?;
                socket.recv(&mut echo)?;
            }
            Self::Unconnected(socket, server) => {
                socket.send_to(&word, *server)?;
                socket.recv_from(&mut echo)?;
            }
        }
        ensure!(echo == word, "another word came back: an answer was lost");
        Ok(())
    }
}

#[test]
fn conversations_that_run_when_enforcement_begins_lose_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let host = edge.lab.host();
    let (mut servers, mut talks) = (Vec::new(), Vec::new());
    for ip in Ip::BOTH {
        let (here, there) = (SocketAddr::new(ip.address(1), 22), SocketAddr::new(ip.address(2), 443));
        servers.push(EchoServer::start(host, Protocol::Tcp, here)?);
        servers.push(EchoServer::start(&edge.neighbour, Protocol::Tcp, there)?);
        servers.push(EchoServer::start(&edge.neighbour, Protocol::Udp, there)?);
        // Two that this host began and the kernel knows; one that it does not know; one that came in.
        talks.push(Talk::tcp(host, there)?);
        talks.push(Talk::udp(host, there, true)?);
        talks.push(Talk::udp(host, there, false)?);
        talks.push(Talk::tcp(&edge.neighbour, here)?);
    }
    let enough = AtomicBool::new(false);
    let words: Vec<AtomicU64> = talks.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = talks
            .iter_mut()
            .zip(&words)
            .map(|(talk, words)| scope.spawn(|| chat(talk, words, &enough)))
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            all_say_more(&words);
            let ssh = policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]);
            applied(&edge.operator, &ssh).prints("edge0: adopted 4 conversations that this host had begun");
            all_say_more(&words);
        }));
        enough.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a conversation does not panic")?;
        }
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(())
    })?;
    // TCP would have sent again what was lost: so look at what was dropped, too.
    for reason in ["undocumented-tcp", "undocumented-udp", "source"] {
        assert_eq!(edge.operator.packets("edge0", reason), 0, "{reason}");
    }
    assert!(edge.operator.packets("edge0", "flow-tcp") > 0);
    assert!(edge.operator.packets("edge0", "flow-udp") > 0);
    Ok(())
}

/// Waits until every conversation has said a few more words.
fn all_say_more(words: &[AtomicU64]) {
    let before: Vec<u64> = words.iter().map(|words| words.load(Ordering::Relaxed)).collect();
    let deadline = Instant::now() + PATIENCE;
    for (words, before) in words.iter().zip(before) {
        while words.load(Ordering::Relaxed) < before + 20 {
            assert!(Instant::now() < deadline, "a conversation has stopped");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn chat(talk: &mut Talk, words: &AtomicU64, enough: &AtomicBool) -> Result<()> {
    while !enough.load(Ordering::Relaxed) {
        talk.say(words.fetch_add(1, Ordering::Relaxed))?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn only_what_this_host_began_is_adopted() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    // The web server of the edge: somebody is connected, and the policy closes it.
    let mut inbound = Talk::tcp(&edge.neighbour, SocketAddr::new(Ip::V4.address(1), 443))?;
    inbound.say(1)?;
    let path = edge.operator.policy(&policy(&[interface("edge0", &[])]))?;
    edge.operator
        .run(&["apply", "--force", path.to_str().expect("text")])
        .exits(0)
        .keeps_quiet_about("adopted");
    let Talk::Tcp(stream) = &inbound else { unreachable!("it is TCP") };
    stream.set_read_timeout(Some(IMPATIENCE))?;
    assert!(inbound.say(2).is_err(), "what others began ends where no rule admits it");
    assert!(edge.operator.packets("edge0", "undocumented-tcp") > 0);
    Ok(())
}
