//! The groups that this host has joined, and whether it speaks VRRP.
//!
//! /proc tells both: rtnetlink lists the groups of IPv4 only since Linux 6.14, and sockets that read IP themselves are
//! listed by a module of sock_diag(7) that many kernels lack.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{netlink::HostError, paths::Paths};

/// The protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const VRRP: u8 = 112;

/// The groups of VRRP (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
const VRRP_GROUPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))];

/// What this host listens to that is addressed to more than itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The groups joined on each interface, or on one whose frames it carries, without those that every host is in.
    pub joined: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Whether somebody reads VRRP, which takes a privilege, as joining a group does not.
    pub has_vrrp: bool,
}

impl Groups {
    /// Reads them. What the kernel does not have, IPv6 for example, has no groups.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn now(paths: &Paths) -> Result<Self, HostError> {
        let mut joined: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for (interface, groups) in joined4(&read("igmp")?).into_iter().chain(joined6(&read("igmp6")?)) {
            for below in paths.below(&interface) {
                joined.entry(below.to_owned()).or_default().extend(&groups);
            }
        }
        Ok(Self { joined, has_vrrp: reads(&read("raw")?, VRRP) || reads(&read("raw6")?, VRRP) })
    }

    /// Whether VRRP is spoken on an interface: its group is joined there, or nowhere at all, as where routers know
    /// each other by address.
    #[must_use]
    pub fn speak_vrrp_on(&self, interface: &str) -> bool {
        let is_in = |groups: &BTreeSet<IpAddr>| VRRP_GROUPS.iter().any(|group| groups.contains(group));
        self.has_vrrp && (self.joined.get(interface).is_some_and(is_in) || !self.joined.values().any(is_in))
    }
}

/// A file of this network namespace; empty where there is none.
fn read(name: &str) -> Result<String, HostError> {
    match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| HostError::Kernel {
            what: "the groups that it has joined",
            source: Arc::new(error),
        }),
    }
}

/// `/proc/net/igmp`: a line for an interface, `2 eth0 : 1 V3`, then one for each group, as the eight digits of the
/// bytes in memory (`igmp_mc_seq_show` in net/ipv4/igmp.c).
fn joined4(text: &str) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut joined: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    let mut interface = None;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if !line.starts_with('\t') {
            interface = words.nth(1).map(|name| name.trim_end_matches(':').to_owned());
            continue;
        }
        let group = words.next().and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let group = group.map(|bits| IpAddr::from(bits.to_ne_bytes()));
        if let (Some(interface), Some(group)) = (&interface, group.filter(|group| !is_everybodys(*group))) {
            joined.entry(interface.clone()).or_default().insert(group);
        }
    }
    joined
}

/// `/proc/net/igmp6`: number, interface, and the group in 32 digits.
fn joined6(text: &str) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut joined: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (Some(interface), Some(digits)) = (words.next(), words.next()) else { continue };
        let Ok(bits) = u128::from_str_radix(digits, 16) else { continue };
        let group = IpAddr::V6(Ipv6Addr::from_bits(bits));
        if !is_everybodys(group) {
            joined.entry(interface.to_owned()).or_default().insert(group);
        }
    }
    joined
}

/// `/proc/net/raw`: a line for each socket, whose local port is the protocol that it reads.
fn reads(text: &str, protocol: u8) -> bool {
    let number = |line: &str| {
        let (_, digits) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        u16::from_str_radix(digits, 16).ok()
    };
    text.lines().skip(1).filter_map(number).any(|number| number == u16::from(protocol))
}

/// Whether a group is one that hosts or routers are in without anybody's asking, and whose traffic is either none or
/// always accepted (RFC 1112, RFC 4291 section 2.7.1, RFC 9777).
fn is_everybodys(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => matches!(group.octets(), [224, 0, 0, 1 | 2 | 22]),
        IpAddr::V6(group) => matches!(
            group.segments(),
            [0xff01, ..]
                | [0xff02, 0, 0, 0, 0, 0, 0, 1 | 2 | 0x16]
                | [0xff05, 0, 0, 0, 0, 0, 0, 2]
                | [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(joined: &BTreeMap<String, BTreeSet<IpAddr>>) -> Vec<String> {
        joined.iter().flat_map(|(name, groups)| groups.iter().map(move |it| format!("{name} {it}"))).collect()
    }

    #[test]
    fn groups_of_ipv4_are_read() {
        let word = |group: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(group));
        let group = |octets| format!("\t\t\t\t{}     1 0:00000000\t\t0\n", word(octets));
        let text = [
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n".to_owned(),
            "1\tlo        :     1      V3\n".to_owned(),
            group([224, 0, 0, 1]),
            "7\teth0      :     3      V3\n".to_owned(),
            group([224, 0, 0, 251]),
            group([239, 1, 2, 3]),
            group([224, 0, 0, 1]),
            "8\ta-longer-name1:     1      V2\n".to_owned(),
            group([224, 0, 0, 18]),
        ];
        let joined = joined4(&text.concat());
        assert_eq!(told(&joined), ["a-longer-name1 224.0.0.18", "eth0 224.0.0.251", "eth0 239.1.2.3"]);
    }

    #[test]
    fn groups_of_ipv6_are_read() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    1    lo              ff010000000000000000000000000001     1 00000008 0\n\
                    2    eth0            ff0200000000000000000001ff000001     1 00000004 0\n\
                    2    eth0            ff020000000000000000000000000012     1 00000004 0\n\
                    2    eth0            ff0200000000000000000001fe000001     1 00000004 0\n";
        assert_eq!(told(&joined6(text)), ["eth0 ff02::12", "eth0 ff02::1:fe00:1"]);
    }

    #[test]
    fn sockets_that_read_vrrp_are_found_by_their_protocol() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
        let line = |port: &str| {
            format!(
                "{head}    1: 00000000:{port} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0\n"
            )
        };
        assert!(reads(&line("0070"), VRRP));
        assert!(!reads(&line("0001"), VRRP) && !reads(&line("0170"), VRRP) && !reads(head, VRRP));
        let six = format!(
            "{head}  112: 00000000000000000000000000000000:0070 00000000000000000000000000000000:0000 07\n"
        );
        assert!(reads(&six, VRRP));
    }

    #[test]
    fn vrrp_is_spoken_where_its_group_is_joined_or_everywhere() {
        let on = |interface: &str, group: &str| {
            (interface.to_owned(), BTreeSet::from([group.parse().expect("an address")]))
        };
        let of = |joined, has_vrrp| {
            let groups = Groups { joined, has_vrrp };
            ["eth0", "eth1"].map(|interface| groups.speak_vrrp_on(interface))
        };
        let joined = BTreeMap::from([on("eth0", "224.0.0.18"), on("eth1", "239.1.2.3")]);
        assert_eq!(of(joined.clone(), true), [true, false]);
        assert_eq!(of(BTreeMap::from([on("eth1", "ff02::12")]), true), [false, true]);
        assert_eq!(of(BTreeMap::from([on("eth1", "239.1.2.3")]), true), [true, true]);
        // A group that anybody may join is not enough.
        assert_eq!(of(joined, false), [false, false]);
    }
}
