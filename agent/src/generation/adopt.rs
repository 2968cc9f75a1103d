//! What this host had begun before anything was enforced -> flows, so that its replies go on arriving.

use std::{thread, time::Duration};

use super::ApplyError;
use crate::{
    datapath::{DatapathError, LoadOptions, Pins, Programs},
    host::{Conversation, HostError, Side, Socket, Transport, conversations, sockets},
    policy::Settings,
    probe::{self, Segment},
    ruleset::{Opening, RuleSet},
    tables::Tables,
};

/// `XDP_PASS` of include/uapi/linux/bpf.h.
const PASS: u32 = 2;

/// An interface that is about to be enforced for the first time, whose egress program already learns.
pub(super) struct Listening<'a> {
    pub(super) interface: &'a str,
    pub(super) pins: &'a Pins,
    pub(super) rules: &'a RuleSet,
    /// How many conversations were adopted, or why none could be.
    pub(super) adopted: &'a mut Result<usize, HostError>,
}

/// Records what was begun before the egress programs were there: what sockets show of TCP and of
/// connected UDP. Sockets that are not connected do not show whom they talk to; where there are such,
/// the programs listen for as long as `learn` says first.
pub(super) fn adopt(listening: Vec<Listening<'_>>, learn: Duration) -> Result<(), ApplyError> {
    let Some(Listening { interface, pins, .. }) = listening.first() else { return Ok(()) };
    let seen = sockets();
    if let Ok(sockets) = &seen
        && !learn.is_zero()
        && sockets.iter().any(|socket| listening.iter().any(|interface| may_wait(socket, interface.rules)))
    {
        thread::sleep(learn);
    }
    // What begins from now on the programs learn by themselves.
    let begun = seen.map(|sockets| {
        let mut begun = conversations(&sockets);
        begun.retain(|talk| talk.begun == Side::Here);
        begun
    });
    if let Ok(begun) = &begun {
        record(begun, pins).map_err(|source| ApplyError::at(interface, source))?;
    }
    for Listening { adopted, .. } in listening {
        *adopted = begun.as_ref().map(Vec::len).map_err(Clone::clone);
    }
    Ok(())
}

/// Shows conversations to programs that admit nothing but replies: what is known to them already is
/// left alone, of all others the packet that begins it and its answer, as if they were sent now. The
/// programs write the flows, never userspace; flows are shared by all interfaces.
fn record(begun: &[Conversation], pins: &Pins) -> Result<(), DatapathError> {
    if begun.is_empty() {
        return Ok(());
    }
    let settings = Settings { dhcp: false, ..Settings::STANDARD };
    let options = LoadOptions { uncounted: true, ..LoadOptions::with(settings) };
    let mut programs = Programs::load(&Tables::deny_all(), &options, Some(pins))?;
    for talk in begun {
        let answer = probe::arriving(talk, Segment::Ack);
        if programs.judge(&answer, 1)?.0 == PASS {
            continue;
        }
        programs.learn(&probe::beginning(talk))?;
        if talk.is_established {
            programs.judge(&answer, 1)?;
        }
    }
    Ok(())
}

/// Whether somebody may be waiting for a datagram that no rule admits, without the kernel knowing from
/// whom.
fn may_wait(socket: &Socket, rules: &RuleSet) -> bool {
    let Socket { transport, local, remote, .. } = socket;
    let is_open = || {
        let open = |opening: &Opening| matches!(opening, Opening::Udp(ports) if ports.lo() <= local.port() && local.port() <= ports.hi());
        rules
            .rules
            .iter()
            .any(|rule| rule.sources.is_empty() && rule.address.is_none() && rule.openings.iter().any(open))
    };
    *transport == Transport::Udp
        && remote.is_none()
        && local.port() != 0
        && !local.ip().is_loopback()
        && !is_open()
}
