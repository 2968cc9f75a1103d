//! What runs on an interface before anything is dropped there -> flows that say who began it, so that replies to this
//! host go on arriving and nobody else's conversation is taken for one of this host.

use std::{thread, time::Duration};

use super::{ApplyError, prepare::Generation};
use crate::{
    datapath::{Begun, DatapathError, LinkType, Listener, LoadOptions, Pins, Programs},
    host::{Conversation, HostError, Paths, Side, Socket, Transport, conversations, sockets, translated},
    policy::{Enforcement, Settings},
    probe::{self, Segment},
    ruleset::{Opening, RuleSet},
    tables::Tables,
};

/// `XDP_PASS` of include/uapi/linux/bpf.h.
const PASS: u32 = 2;

/// What is in place where a generation comes to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// A part of a generation.
    Part,
    /// A generation of another version of the ABI, whose programs judge and count until they are swapped. What is
    /// begun meanwhile their flows alone would know.
    OtherVersion,
}

/// An interface where no generation is in place whose flows go on.
pub(super) struct Newcomer<'a> {
    pub(super) generation: &'a Generation,
    pub(super) before: Before,
    pub(super) begun: &'a mut Option<Begun>,
    pub(super) listener: &'a mut Option<Listener>,
    /// What learns next to the programs of another version.
    pub(super) learner: &'a mut Option<Begun>,
    /// How many conversations were adopted, or why none could be.
    pub(super) adopted: &'a mut Result<usize, HostError>,
}

/// Records what was begun before the programs were there.
///
/// First what sockets show: TCP, and UDP where they are connected; and what connection tracking knows to have been begun
/// from behind this host under an address of its own. Then an ingress program listens that passes
/// everything, so that what others begin is known to be theirs when it is answered; only then the egress programs
/// learn what this host begins. Sockets that are not connected do not show whom they talk to; where there are such,
/// the programs listen for as long as `learn` says, half of it before this host's own packets are learnt from.
pub(super) fn adopt(newcomers: &mut [Newcomer<'_>], learn: Duration) -> Result<(), ApplyError> {
    let Some(first) = newcomers.first() else { return Ok(()) };
    let (interface, pins) = (first.interface().to_owned(), first.generation.attachment.pins().clone());
    let failed = |source| ApplyError::at(&interface, source);
    let (seen, _) = record(&pins).map_err(failed)?;
    let waits = seen.as_ref().is_ok_and(|sockets| {
        sockets.iter().any(|socket| newcomers.iter().any(|newcomer| may_wait(socket, newcomer.rules())))
    });
    let half = if waits { learn / 2 } else { Duration::ZERO };

    if newcomers.iter().any(|newcomer| newcomer.before == Before::Nothing) {
        for link in LinkType::ALL {
            listen(newcomers, link, &pins)?;
        }
        thread::sleep(half);
    }
    for newcomer in newcomers.iter_mut() {
        let Generation { attachment, programs, candidate, .. } = newcomer.generation;
        let failed = |source| ApplyError::at(&newcomer.generation.manifest.interface, source);
        match newcomer.before {
            Before::OtherVersion => {
                *newcomer.learner = Some(candidate.learn_beside(attachment).map_err(failed)?);
            }
            Before::Nothing | Before::Part => {
                *newcomer.begun = Some(attachment.begin(programs).map_err(failed)?);
            }
        }
    }
    thread::sleep(half);
    // What began while only others were listened to.
    let (_, adopted) = record(&pins).map_err(failed)?;
    for newcomer in newcomers {
        *newcomer.adopted = adopted.clone();
    }
    Ok(())
}

/// Has one pair of programs listen on all interfaces of a link type where nothing is in place.
fn listen(newcomers: &mut [Newcomer<'_>], link: LinkType, pins: &Pins) -> Result<(), ApplyError> {
    let wants = |newcomer: &&mut Newcomer<'_>| newcomer.before == Before::Nothing && newcomer.link() == link;
    let mut listening = None;
    for newcomer in newcomers.iter_mut().filter(wants) {
        let failed = |source| ApplyError::at(&newcomer.generation.manifest.interface, source);
        let programs = match &mut listening {
            Some(programs) => programs,
            none => {
                let settings = Settings { mode: Enforcement::Observe, dhcp: false, ..Settings::STANDARD };
                let options =
                    LoadOptions { link, uncounted: true, listening: true, ..LoadOptions::with(settings) };
                none.insert(Programs::load(&Tables::deny_all(), &options, Some(pins)).map_err(failed)?)
            }
        };
        *newcomer.listener = Some(newcomer.generation.attachment.listen(programs).map_err(failed)?);
    }
    Ok(())
}

impl Newcomer<'_> {
    fn link(&self) -> LinkType {
        self.generation.candidate.load.link
    }

    fn interface(&self) -> &str {
        &self.generation.manifest.interface
    }

    fn rules(&self) -> &RuleSet {
        &self.generation.candidate.wanted.rules
    }
}

/// What sockets show: they themselves, and how many conversations this host has begun; or why they cannot be seen.
type Shown = (Result<Vec<Socket>, HostError>, Result<usize, HostError>);

/// Records what sockets and connection tracking show that this host has begun.
fn record(pins: &Pins) -> Result<Shown, DatapathError> {
    let seen = sockets();
    let begun = seen.as_ref().map(|sockets| {
        let mut begun = conversations(sockets);
        begun.retain(|talk| talk.begun == Side::Here);
        begun.extend(from_behind());
        begun
    });
    let count = match begun {
        Ok(begun) => {
            show(&begun, pins)?;
            Ok(begun.len())
        }
        Err(error) => Err(error.clone()),
    };
    Ok((seen, count))
}

/// What containers and others behind this host have begun under an address of its own. Where that is not known, what
/// sockets show is adopted alone, as if nobody were behind it.
fn from_behind() -> Vec<Conversation> {
    let known = Paths::new().and_then(|paths| translated(&paths.addresses()?));
    known.inspect_err(|error| log::debug!("{error}")).unwrap_or_default()
}

/// Shows conversations to programs that admit nothing but replies: what is known to them already is
/// left alone, of all others the packet that begins it and its answer, as if they were sent now. The
/// programs write the flows, never userspace; flows are shared by all interfaces.
fn show(begun: &[Conversation], pins: &Pins) -> Result<(), DatapathError> {
    if begun.is_empty() {
        return Ok(());
    }
    let settings = Settings { dhcp: false, ..Settings::STANDARD };
    // Flows are the same whatever the packets began with.
    let link = LinkType::Ethernet;
    let options = LoadOptions { link, uncounted: true, ..LoadOptions::with(settings) };
    let mut programs = Programs::load(&Tables::deny_all(), &options, Some(pins))?;
    for talk in begun {
        let answer = probe::arriving(link, talk, Segment::Ack);
        if programs.judge(&answer, 1)?.0 == PASS {
            continue;
        }
        programs.learn(&probe::beginning(link, talk))?;
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
