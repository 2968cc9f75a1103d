//! Which conversation is the operator's own: the one that this command was typed into.

use std::{collections::BTreeSet, net::SocketAddr};

use procfs::process::{FDTarget, Process, all_processes};

use super::conversations::{Conversation, Side};

/// Most generations of processes that are gone through; a loop in /proc cannot be.
const MAX_ANCESTORS: usize = 64;

/// Names of the processes that serve remote shells.
const SHELL_SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];

/// The conversations, among those that others began, through which the operator may be working; each
/// by its place in the list.
///
/// `SSH_CONNECTION` names it, or an ancestor of this process holds its socket. A terminal multiplexer
/// breaks both; then every session of an SSH server may be the one.
#[must_use]
pub fn operators_sockets(conversations: &[Conversation]) -> BTreeSet<usize> {
    let inbound = || conversations.iter().enumerate().filter(|(_, talk)| talk.begun == Side::There);
    if let Some((client, server)) = std::env::var("SSH_CONNECTION").ok().as_deref().and_then(ends) {
        let named: BTreeSet<usize> = inbound()
            .filter(|(_, talk)| (talk.remote, talk.local) == (client, server))
            .map(|(index, _)| index)
            .collect();
        if !named.is_empty() {
            return named;
        }
    }
    let among = |inodes: &BTreeSet<u64>| -> BTreeSet<usize> {
        inbound().filter(|(_, talk)| inodes.contains(&talk.inode.into())).map(|(index, _)| index).collect()
    };
    let ancestors = among(&ancestors().flat_map(|process| inodes(&process)).collect());
    if !ancestors.is_empty() {
        return ancestors;
    }
    among(&shell_servers().iter().flat_map(inodes).collect())
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
    let parent = |process: &Process| Process::new(process.stat().ok()?.ppid).ok();
    let first = Process::myself().ok().and_then(|myself| parent(&myself));
    std::iter::successors(first, parent).take(MAX_ANCESTORS)
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
    use super::ends;

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
