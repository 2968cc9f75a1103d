//! Which conversation is the operator's own: the one that this command was typed into.

use std::{collections::BTreeSet, net::SocketAddr};

use procfs::process::{FDTarget, Process, all_processes};
use serde::{Deserialize, Serialize};

use super::{
    conversations::{Conversation, Side},
    sockets::Transport,
};

/// Most generations of processes that are gone through; a loop in /proc cannot be.
const MAX_ANCESTORS: usize = 64;

/// Names of the processes that serve remote shells.
const SHELL_SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];

/// The port of SSH servers (RFC 4253 section 4.1).
const SSH: u16 = 22;

/// A session as whoever works in it names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The end from which it was begun.
    pub remote: SocketAddr,
    /// The end on this host.
    pub local: SocketAddr,
}

/// Somebody who asks the agent to change something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its process, as the kernel knows it.
    pub process: Option<i32>,
    /// The sessions that it may be working in, as it says.
    pub sessions: Vec<Session>,
}

impl Caller {
    /// The conversations through which the caller may be working, each by its place in the list.
    ///
    /// Where an ancestor of its process can be seen to hold the socket of one, that is it, whatever the caller
    /// says. An agent that may not look into other users' processes takes the caller's word, for conversations
    /// that there are and that others began.
    #[must_use]
    pub fn sockets(&self, conversations: &[Conversation]) -> BTreeSet<usize> {
        let process = self.process.and_then(|process| Process::new(process).ok());
        let held = process.map_or_else(BTreeSet::new, |process| {
            let all = std::iter::successors(Some(process), parent).take(MAX_ANCESTORS);
            held_by(conversations, &all.flat_map(|process| inodes(&process)).collect())
        });
        if !held.is_empty() {
            return held;
        }
        inbound(conversations)
            .filter(|(_, talk)| self.sessions.contains(&Session { remote: talk.remote, local: talk.local }))
            .map(|(index, _)| index)
            .collect()
    }
}

/// The sessions that this process may be working in.
#[must_use]
pub fn own_sessions(conversations: &[Conversation]) -> Vec<Session> {
    let session = |index| {
        let Conversation { remote, local, .. } = conversations[index];
        Session { remote, local }
    };
    operators_sockets(conversations).into_iter().map(session).collect()
}

/// The conversations with an SSH server, each by its place in the list: those whose socket such a process can
/// be seen to hold, else those with port 22.
#[must_use]
pub fn logins(conversations: &[Conversation]) -> BTreeSet<usize> {
    let held = held_by(conversations, &shell_servers().iter().flat_map(inodes).collect());
    if !held.is_empty() {
        return held;
    }
    inbound(conversations)
        .filter(|(_, talk)| talk.transport == Transport::Tcp && talk.local.port() == SSH)
        .map(|(index, _)| index)
        .collect()
}

/// The conversations, among those that others began, through which the operator may be working; each
/// by its place in the list.
///
/// `SSH_CONNECTION` names it, or an ancestor of this process holds its socket. A terminal multiplexer
/// breaks both; then every session of an SSH server may be the one.
#[must_use]
pub fn operators_sockets(conversations: &[Conversation]) -> BTreeSet<usize> {
    if let Some((client, server)) = std::env::var("SSH_CONNECTION").ok().as_deref().and_then(ends) {
        let named: BTreeSet<usize> = inbound(conversations)
            .filter(|(_, talk)| (talk.remote, talk.local) == (client, server))
            .map(|(index, _)| index)
            .collect();
        if !named.is_empty() {
            return named;
        }
    }
    let ancestors = held_by(conversations, &ancestors().flat_map(|process| inodes(&process)).collect());
    if !ancestors.is_empty() {
        return ancestors;
    }
    held_by(conversations, &shell_servers().iter().flat_map(inodes).collect())
}

fn inbound(conversations: &[Conversation]) -> impl Iterator<Item = (usize, &Conversation)> {
    conversations.iter().enumerate().filter(|(_, talk)| talk.begun == Side::There)
}

/// Those whose socket is among these.
fn held_by(conversations: &[Conversation], inodes: &BTreeSet<u64>) -> BTreeSet<usize> {
    inbound(conversations)
        .filter(|(_, talk)| inodes.contains(&talk.inode.into()))
        .map(|(index, _)| index)
        .collect()
}

/// `SSH_CONNECTION` (ssh(1)): address and port of the client, then of the server.
fn ends(variable: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = variable.split(' ');
    let mut end = || {
        let address = words.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address, words.next()?.parse().ok()?))
    };
    Some((end()?, end()?))
}

/// The processes above this one, the nearest first.
fn ancestors() -> impl Iterator<Item = Process> {
    let first = Process::myself().ok().and_then(|myself| parent(&myself));
    std::iter::successors(first, parent).take(MAX_ANCESTORS)
}

fn parent(process: &Process) -> Option<Process> {
    Process::new(process.stat().ok()?.ppid).ok()
}

fn shell_servers() -> Vec<Process> {
    let is_one =
        |process: &Process| process.stat().is_ok_and(|stat| SHELL_SERVERS.contains(&stat.comm.as_str()));
    all_processes().into_iter().flatten().filter_map(Result::ok).filter(is_one).collect()
}

/// The sockets that a process holds.
fn inodes(process: &Process) -> BTreeSet<u64> {
    let socket = |target| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
    process.fd().into_iter().flatten().filter_map(Result::ok).filter_map(|fd| socket(fd.target)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_says_counts_for_conversations_that_there_are_and_that_others_began() {
        let talk = |local: &str, remote: &str, begun| Conversation {
            transport: Transport::Tcp,
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            begun,
            is_established: true,
            interface: None,
            inode: 0,
        };
        let talks = [
            talk("203.0.113.1:22", "198.51.100.7:40000", Side::There),
            talk("203.0.113.1:443", "198.51.100.7:40001", Side::There),
            talk("203.0.113.1:40002", "198.51.100.7:443", Side::Here),
        ];
        let of = |talk: &Conversation| Session { remote: talk.remote, local: talk.local };
        let said = |sessions: &[Session]| {
            let sockets = Caller { process: None, sessions: sessions.to_vec() }.sockets(&talks);
            sockets.into_iter().collect::<Vec<_>>()
        };
        let gone = Session { remote: "198.51.100.7:50000".parse().expect("an address"), ..of(&talks[0]) };
        assert_eq!(said(&[of(&talks[1])]), [1]);
        assert_eq!(said(&[gone, of(&talks[2]), of(&talks[0])]), [0]);
        assert!(said(&[gone]).is_empty());
        assert!(said(&[]).is_empty());
        // Without a process to look into, whoever talks with the port of SSH servers may be logged in.
        assert_eq!(logins(&talks).into_iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_process_that_holds_a_socket_is_believed_before_its_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = std::net::TcpStream::connect(address).expect("connected");
        let (server, remote) = listener.accept().expect("accepted");
        let of = |socket: &std::net::TcpStream| {
            use std::os::fd::AsRawFd as _;
            let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("a link");
            let text = link.to_string_lossy().into_owned();
            text.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().expect("socket:[inode]")
        };
        let other: SocketAddr = "198.51.100.7:40001".parse().expect("an address");
        let talk = |remote, inode| Conversation {
            transport: Transport::Tcp,
            local: address,
            remote,
            begun: Side::There,
            is_established: true,
            interface: None,
            inode,
        };
        let talks = [talk(other, 0), talk(remote, of(&server))];
        drop(client);
        let process = i32::try_from(std::process::id()).ok();
        let caller = Caller { process, sessions: vec![Session { remote: other, local: address }] };
        assert_eq!(caller.sockets(&talks).into_iter().collect::<Vec<_>>(), [1]);
        let stranger = Caller { process: None, ..caller };
        assert_eq!(stranger.sockets(&talks).into_iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn the_variable_of_ssh_names_both_ends() {
        let told = |text| ends(text).map(|(client, server)| format!("{client} {server}"));
        assert_eq!(
            told("198.51.100.7 40000 203.0.113.1 22").as_deref(),
            Some("198.51.100.7:40000 203.0.113.1:22")
        );
        assert_eq!(
            told("fe80::7%eth0 40000 fe80::1%eth0 22").as_deref(),
            Some("[fe80::7]:40000 [fe80::1]:22")
        );
        for text in ["", "198.51.100.7", "198.51.100.7 40000 203.0.113.1", "a b c d"] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
