//! Candidate + what this host is doing now -> what the candidate would cut.
//!
//! The candidate itself is asked: its programs are loaded with counters and flows of their own, shown
//! what this host has begun, and then asked for their verdict on the packets that the other ends would
//! send. Nothing is predicted here, and nothing that is asked is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::{
    datapath::{DatapathError, LinkType, Programs},
    findings::drops_vrrp,
    generation::Candidate,
    host::{
        Caller, Conversation, Groups, HostError, Lease, Paths, Side, Transport, conversations,
        operators_sockets, resolvers, sockets,
    },
    policy::{Enforcement, Settings},
    probe::{self, Segment},
    ruleset::Way,
};

/// `XDP_PASS` of include/uapi/linux/bpf.h.
const PASS: u32 = 2;
/// `TC_ACT_SHOT` of include/uapi/linux/pkt_cls.h.
const SHOT: i32 = 2;
/// A port from which anything may be asked: the last of those that RFC 6335 section 6 leaves for it.
const FRESH_PORT: u16 = 65_535;
const DNS: u16 = 53;
/// RFC 2131 section 4.1.
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// What this host is doing, and cannot do without.
pub struct Seen {
    conversations: Vec<Conversation>,
    /// Which of them the operator may be working through.
    operators: BTreeSet<usize>,
    paths: Paths,
    gateways: BTreeSet<(String, IpAddr)>,
    leases: Vec<Lease>,
    resolvers: BTreeSet<IpAddr>,
    groups: Groups,
}

/// Something that the candidate would cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// On which interface.
    pub interface: String,
    /// What.
    #[serde(flatten)]
    pub subject: Subject,
    /// Whether the host or its operator would be locked out.
    pub vital: bool,
    /// Lines for the policy that would leave it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A change is refused: what this host or its operator cannot do without would be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it would lock somebody out: {}", vital(.0))]
pub struct Refusal(
    /// Everything that would be cut, what is vital first.
    pub Vec<Cut>,
);

fn vital(cuts: &[Cut]) -> String {
    let vital = cuts.iter().filter(|cut| cut.vital).map(ToString::to_string);
    vital.collect::<Vec<_>>().join("; ")
}

/// What is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Subject {
    /// A conversation that the operator may be working through.
    Session {
        /// Which, as `tcp 198.51.100.7:40000 > 203.0.113.1:22`.
        conversation: String,
    },
    /// Other conversations that others began, with the same ends but for the other side's port.
    Conversations {
        /// One of them.
        conversation: String,
        /// How many there are.
        count: usize,
    },
    /// The answers of a name server.
    Resolver {
        /// Its address.
        address: IpAddr,
    },
    /// The link-layer address of a gateway.
    Gateway {
        /// Its address.
        address: IpAddr,
    },
    /// VRRP, without which two routers take the same address for theirs.
    Vrrp {
        /// On which way it is dropped.
        direction: Way,
    },
    /// The renewal of an address by DHCP.
    Lease {
        /// The address.
        address: IpAddr,
        /// Seconds until it is lost.
        seconds: u32,
    },
}

/// The guard cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// What this host is doing cannot be told.
    #[error("cannot tell what the policy would cut: {0}")]
    Host(#[from] HostError),
    /// The candidate cannot be asked.
    #[error("{interface}: cannot tell what the policy would cut: {source}")]
    Datapath {
        /// On which interface.
        interface: String,
        /// Why.
        source: DatapathError,
    },
}

impl Seen {
    /// Looks around.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn now() -> Result<Self, GuardError> {
        let conversations = conversations(&sockets()?);
        let operators = operators_sockets(&conversations);
        Self::around(conversations, operators)
    }

    /// Looks around for somebody who asks the agent: only that caller's session is vital, and none where the
    /// caller is not known.
    ///
    /// # Errors
    ///
    /// As [`Self::now`].
    pub fn of(caller: &Caller) -> Result<Self, GuardError> {
        let conversations = conversations(&sockets()?);
        let operators = caller.sockets(&conversations);
        Self::around(conversations, operators)
    }

    fn around(conversations: Vec<Conversation>, operators: BTreeSet<usize>) -> Result<Self, GuardError> {
        let paths = Paths::new()?;
        Ok(Self {
            operators,
            conversations,
            gateways: paths.gateways()?,
            leases: paths.leases()?,
            groups: Groups::now(&paths)?,
            paths,
            resolvers: resolvers(),
        })
    }
}

/// What the candidates would cut, interface by interface, what is vital first. One that only observes
/// cuts nothing.
///
/// # Errors
///
/// Where a candidate cannot be asked.
pub fn cuts<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    seen: &Seen,
) -> Result<Vec<Cut>, GuardError> {
    let mut cuts = Vec::new();
    for candidate in candidates {
        let Settings { mode, outbound, .. } = candidate.wanted.settings;
        if mode == Enforcement::Enforce || outbound == Some(Enforcement::Enforce) {
            let interface = candidate.wanted.name.clone();
            let found = of_interface(candidate, seen);
            cuts.extend(found.map_err(|source| GuardError::Datapath { interface, source })?);
        }
    }
    cuts.sort_by_key(|cut: &Cut| !cut.vital);
    Ok(cuts)
}

fn of_interface(candidate: &Candidate, seen: &Seen) -> Result<Vec<Cut>, DatapathError> {
    let name = candidate.wanted.name.as_str();
    let arrives = |talk: &Conversation| {
        seen.paths.interfaces(talk.remote.ip(), talk.local.ip(), talk.interface).contains(name)
    };
    let talks: Vec<(usize, &Conversation)> = seen
        .conversations
        .iter()
        .enumerate()
        .filter(|(_, talk)| talk.is_established && arrives(talk))
        .collect();
    let any = |address: IpAddr| {
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) }
    };
    let resolvers: Vec<IpAddr> = seen
        .resolvers
        .iter()
        .copied()
        .filter(|address| seen.paths.interfaces(*address, any(*address), None).contains(name))
        .collect();
    let gateways: Vec<IpAddr> = seen
        .gateways
        .iter()
        // Elsewhere nobody asks for link-layer addresses.
        .filter(|(interface, _)| interface == name && candidate.load.link == LinkType::Ethernet)
        .map(|(_, gateway)| *gateway)
        .collect();
    let is_spoken = seen.groups.speak_vrrp_on(name);
    let dropped = drops_vrrp(&candidate.wanted.rules, &candidate.wanted.settings);
    let vrrp = dropped.filter(|_| is_spoken);
    let leases: Vec<&Lease> = seen.leases.iter().filter(|lease| lease.interface == name).collect();
    if vrrp.is_none() && talks.is_empty() && resolvers.is_empty() && gateways.is_empty() && leases.is_empty()
    {
        return Ok(Vec::new());
    }

    let mut judge = Judge { candidate, programs: candidate.load_alone()?, cuts: Vec::new() };
    judge.conversations(&talks, &seen.operators)?;
    for address in resolvers {
        let answer = talk(Transport::Udp, Side::Here, (any(address), FRESH_PORT), (address, DNS));
        if !judge.answered(&answer)? {
            let remedy = judge.candidate.wanted.settings.outbound.map(|_| remedy_out("names", &answer));
            judge.cut(Subject::Resolver { address }, true, remedy);
        }
    }
    for address in gateways {
        if !judge.passes(&probe::neighbour(address))? {
            judge.cut(Subject::Gateway { address }, true, None);
        }
    }
    if let Some(direction) = vrrp {
        let remedy = judge.remedy_vrrp(direction);
        judge.cut(Subject::Vrrp { direction }, true, Some(remedy));
    }
    for lease in leases {
        let Lease { address, seconds, .. } = *lease;
        let answer = talk(Transport::Udp, Side::Here, (address, DHCP_CLIENT), (any(address), DHCP_SERVER));
        if !judge.arrives(&answer, Segment::Ack)? {
            judge.cut(Subject::Lease { address, seconds }, true, Some("dhcp = true\n".to_owned()));
        }
    }
    Ok(judge.cuts)
}

fn talk(transport: Transport, begun: Side, local: (IpAddr, u16), remote: (IpAddr, u16)) -> Conversation {
    Conversation {
        transport,
        local: local.into(),
        remote: remote.into(),
        begun,
        is_established: true,
        interface: None,
        inode: 0,
    }
}

/// The candidate on one interface, ready to be asked.
struct Judge<'a> {
    candidate: &'a Candidate,
    programs: Programs,
    cuts: Vec<Cut>,
}

impl Judge<'_> {
    fn conversations(
        &mut self,
        talks: &[(usize, &Conversation)],
        operators: &BTreeSet<usize>,
    ) -> Result<(), DatapathError> {
        for (_, talk) in talks.iter().filter(|(_, talk)| talk.begun == Side::Here) {
            self.programs.learn(&probe::beginning(self.candidate.load.link, talk))?;
        }
        // No verdict on what others began depends on their port.
        let mut alike: BTreeMap<(Transport, SocketAddr, IpAddr, Side), Vec<usize>> = BTreeMap::new();
        for (at, (_, talk)) in talks.iter().enumerate() {
            alike.entry((talk.transport, talk.local, talk.remote.ip(), talk.begun)).or_default().push(at);
        }
        for group in alike.into_values() {
            let (_, first) = talks[group[0]];
            if self.goes_on(first)? {
                continue;
            }
            let remedy = match (first.begun, self.candidate.wanted.settings.outbound) {
                (Side::There, _) => Some(self.remedy(first)),
                (Side::Here, Some(Enforcement::Enforce)) => {
                    let base = format!("{}-{}-out", first.transport, first.remote.port());
                    Some(remedy_out(&self.free(base), first))
                }
                (Side::Here, _) => None,
            };
            let own = group.iter().find(|at| operators.contains(&talks[**at].0));
            let subject = match own {
                Some(at) => Subject::Session { conversation: talks[*at].1.to_string() },
                None => Subject::Conversations { conversation: first.to_string(), count: group.len() },
            };
            self.cut(subject, own.is_some(), remedy);
        }
        Ok(())
    }

    /// Whether a conversation goes on, and whether the other side could begin it once more.
    fn goes_on(&mut self, talk: &Conversation) -> Result<bool, DatapathError> {
        if talk.begun == Side::Here {
            return self.answered(talk);
        }
        let goes_on = self.arrives(talk, Segment::Ack)?;
        if talk.transport == Transport::Udp {
            return Ok(goes_on);
        }
        let again = Conversation { remote: SocketAddr::new(talk.remote.ip(), FRESH_PORT), ..*talk };
        Ok(goes_on && self.arrives(&again, Segment::Syn)?)
    }

    /// Whether what this host begins leaves, and its answer arrives.
    fn answered(&mut self, talk: &Conversation) -> Result<bool, DatapathError> {
        let leaves = self.programs.leaving(&probe::beginning(self.candidate.load.link, talk))? != SHOT;
        Ok(leaves && self.arrives(talk, Segment::Ack)?)
    }

    /// Whether what the other side sends passes.
    fn arrives(&mut self, talk: &Conversation, segment: Segment) -> Result<bool, DatapathError> {
        self.passes(&probe::arriving(self.candidate.load.link, talk, segment))
    }

    fn passes(&mut self, packet: &[u8]) -> Result<bool, DatapathError> {
        Ok(self.programs.judge(packet, 1)?.0 == PASS)
    }

    fn cut(&mut self, subject: Subject, vital: bool, remedy: Option<String>) {
        let interface = self.candidate.wanted.name.clone();
        self.cuts.push(Cut { interface, subject, vital, remedy });
    }

    /// A name that no allow of the policy has, as this one if it is free.
    fn free(&self, base: String) -> String {
        let taken = |name: &str| {
            let identity = format!("allow/{name}");
            self.candidate.wanted.rules.rules.iter().any(|rule| rule.identity.0 == identity)
        };
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base)
    }

    /// What the policy would have to say to let VRRP in or out.
    fn remedy_vrrp(&self, direction: Way) -> String {
        let (base, line) = match direction {
            Way::Arriving => ("vrrp", ""),
            Way::Leaving => ("vrrp-out", "direction = \"out\"\n"),
        };
        let name = self.free(base.to_owned());
        format!("[[interface.allow]]\nname      = \"{name}\"\nprotocol  = \"vrrp\"\n{line}")
    }

    /// What the policy would have to say to leave a conversation alone.
    fn remedy(&self, talk: &Conversation) -> String {
        let Conversation { transport, local, remote, .. } = talk;
        let base = if (*transport, local.port()) == (Transport::Tcp, 22) {
            "ssh".to_owned()
        } else {
            format!("{transport}-{}", local.port())
        };
        let name = self.free(base);
        format!(
            "[[interface.allow]]\nname     = \"{name}\"\nprotocol = \"{transport}\"\nports    = {}\nfrom     = [\"{}\"]\n",
            local.port(),
            remote.ip()
        )
    }
}

/// What the policy would have to say to let a conversation of this host out.
fn remedy_out(name: &str, talk: &Conversation) -> String {
    let Conversation { transport, remote, .. } = talk;
    format!(
        "[[interface.allow]]\nname      = \"{name}\"\nprotocol  = \"{transport}\"\nports     = {}\n\
         direction = \"out\"\nto        = [\"{}\"]\n",
        remote.port(),
        remote.ip()
    )
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.interface, self.subject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { conversation } => write!(f, "would cut your own session {conversation}"),
            Self::Conversations { conversation, count: 1 } => write!(f, "would cut {conversation}"),
            Self::Conversations { conversation, count } => {
                write!(f, "would cut {count} conversations like {conversation}")
            }
            Self::Resolver { address } => write!(f, "would drop the answers of the name server {address}"),
            Self::Vrrp { direction: Way::Arriving } => {
                f.write_str("would drop the VRRP of the other routers: two would be master")
            }
            Self::Vrrp { direction: Way::Leaving } => {
                f.write_str("would drop the VRRP of this host: two would be master")
            }
            Self::Gateway { address } => write!(f, "would hide the gateway {address}"),
            Self::Lease { address, seconds } => {
                write!(
                    f,
                    "would keep the address {address} from being renewed by DHCP: it is lost in {seconds} s"
                )
            }
        }
    }
}
