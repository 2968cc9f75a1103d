//! The place of the attacks: a protected host, whoever sends, and everything that would notice.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{TcpListener, UdpSocket},
};

use anyhow::{Context as _, Result};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Operator, lab},
    portless,
    programs::soon,
    tagged,
};

use crate::frames::{CLOSED, HOST4, OPEN};

/// Frames that are sent before the witness is heard: its queue holds more.
const VOLLEY: usize = 64;

/// What a frame deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    Dropped,
}

/// A frame, what it is, and what it deserves.
pub(crate) type Shot = (String, Vec<u8>, Fate);

pub(crate) struct Field {
    sender: File,
    witness: File,
    listeners: [TcpListener; 2],
    sockets: [UdpSocket; 2],
    /// A socket for each IP protocol without ports, by its number.
    raw: Vec<(u8, File)>,
    operator: Operator,
    _lab: Lab,
}

impl Field {
    /// `None` without root.
    pub(crate) fn new() -> Result<Option<Self>> {
        Self::allowing(&[])
    }

    /// A field whose host allows more than its two ports.
    pub(crate) fn allowing(more: &[String]) -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.silent_neighbour("edge0", "far0")?;
        // That of the frames: the host's sockets are to hear what passes.
        drop(lab.host().run("ip", &["link", "set", "edge0", "address", "02:00:00:00:00:01"])?);
        lab.host().address("edge0", &format!("{HOST4}/24"))?;
        let operator = Operator::new(&lab)?;
        let ports = [allow("web", "tcp", &OPEN.to_string()), allow("media", "udp", &OPEN.to_string())];
        let allows = [&ports, more].concat();
        drop(operator.apply(&policy(&[interface("edge0", &allows)])).exits(0));
        let witness = tagged::packets("edge0").context("cannot watch edge0")?;
        let sender = neighbour.within(|| tagged::packets("far0")).context("cannot send from far0")?;
        let listeners = [TcpListener::bind((HOST4, OPEN))?, TcpListener::bind((HOST4, CLOSED))?];
        let sockets = [UdpSocket::bind((HOST4, OPEN))?, UdpSocket::bind((HOST4, CLOSED))?];
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        let portless = (0..=255).filter(|number| ![0, 1, 6, 17, 255].contains(number));
        let raw =
            portless.map(|number| Ok((number, portless::socket(number)?))).collect::<io::Result<_>>()?;
        Ok(Some(Self { sender, witness, listeners, sockets, raw, operator, _lab: lab }))
    }

    /// Sends all of it, and asks everybody who would have noticed.
    #[track_caller]
    pub(crate) fn fire(&mut self, shots: &[Shot]) {
        for volley in shots.chunks(VOLLEY) {
            self.volley(volley);
        }
        assert!(self.listeners[1].accept().is_err(), "a connection to the closed port");
        assert!(self.sockets[1].recv_from(&mut [0; 64]).is_err(), "a datagram to the closed port");
        for (number, socket) in &self.raw {
            assert!((&*socket).read(&mut [0; 64]).is_err(), "a raw socket received IP protocol {number}");
        }
    }

    /// Whether the open UDP port has received anything: what the closed ones do not hear, they would.
    pub(crate) fn is_heard(&self) -> bool {
        self.sockets[0].recv_from(&mut [0; 64]).is_ok()
    }

    #[track_caller]
    fn volley(&mut self, shots: &[Shot]) {
        let before = self.counts();
        for (name, frame, _) in shots {
            let sent = self.sender.write(frame).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(sent, frame.len(), "{name}");
        }
        let count = |fate: Fate| shots.iter().filter(|shot| shot.2 == fate).count() as u64;
        soon("the counters", || self.counts()["total"] >= before["total"] + shots.len() as u64);
        let after = self.counts();
        let more = |name: &str| after[name] - before[name];
        let passed = self.witnessed();
        let mut faults = Vec::new();
        let mut left = passed.clone();
        for (name, frame, fate) in shots {
            // The kernel keeps the outermost tag apart from what the witness sees.
            let same = |seen: &Vec<u8>| untagged(seen) == untagged(frame);
            let at = left.iter().position(same);
            let seen = at.map(|at| left.swap_remove(at)).is_some();
            if seen != (*fate == Fate::Passes) {
                faults.push(format!("{name}: {}", if seen { "passed" } else { "was dropped" }));
            }
        }
        assert!(faults.is_empty(), "{} of {} frames: {faults:#?}", faults.len(), shots.len());
        assert_eq!(more("total"), shots.len() as u64, "each frame is counted once");
        assert_eq!((more("accepted"), more("dropped")), (count(Fate::Passes), count(Fate::Dropped)));
        assert!(left.is_empty(), "frames that nobody sent: {left:02x?}");
    }

    /// The packets in all, accepted and dropped.
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counters = self.operator.counters("edge0");
        let number =
            |name| counters[name]["packets"].as_u64().unwrap_or_else(|| panic!("{name}: {counters:#}"));
        ["total", "accepted", "dropped"].into_iter().map(|name| (name, number(name))).collect()
    }

    /// What has passed since.
    fn witnessed(&mut self) -> Vec<Vec<u8>> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(length) = self.witness.read(&mut buffer) {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }
}

/// A frame without its VLAN tags.
fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) && frame.len() >= at + 6 {
        at += 4;
    }
    [&frame[..12], &frame[at.min(frame.len())..]].concat()
}
