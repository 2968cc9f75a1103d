//! What this host had begun before anything was enforced -> flows, so that its replies go on arriving.

use std::{thread, time::Duration};

use super::ApplyError;
use crate::{
    datapath::Programs,
    host::{HostError, Side, Socket, Transport, conversations, sockets},
    probe,
    ruleset::{Opening, RuleSet},
};

/// An interface that is about to be enforced for the first time, whose egress program already learns.
pub(super) struct Listening<'a> {
    pub(super) interface: &'a str,
    pub(super) programs: &'a mut Programs,
    pub(super) rules: &'a RuleSet,
    /// How many conversations were adopted, or why none could be.
    pub(super) adopted: &'a mut Result<usize, HostError>,
}

/// Tells egress programs what was begun before they were there: what sockets show of TCP and of
/// connected UDP. Sockets that are not connected do not show whom they talk to; where there are such,
/// the programs listen for as long as `learn` says first.
///
/// That a conversation began on this host is told by its sockets alone, so the programs are shown the
/// packets that begin it, as if they left now.
pub(super) fn adopt(listening: Vec<Listening<'_>>, learn: Duration) -> Result<(), ApplyError> {
    if listening.is_empty() {
        return Ok(());
    }
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
    for Listening { interface, programs, adopted, .. } in listening {
        match &begun {
            Ok(begun) => {
                for talk in begun {
                    programs
                        .learn(&probe::beginning(talk))
                        .map_err(|source| ApplyError::at(interface, source))?;
                }
                *adopted = Ok(begun.len());
            }
            Err(error) => *adopted = Err(error.clone()),
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
