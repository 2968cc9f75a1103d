//! Doctor: what stands in the way of enforcement on this host, and what mends it.
//!
//! Facts ([`host()`], [`links`]) go in, findings come out; `diagnose` is pure. [`Remedy`]s change the host only
//! where the operator asks.

mod elsewhere;
mod ethtool;
mod host;
mod link;

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf};

use serde::Serialize;

pub use host::{Host, host};
pub use link::{Kind, Link, links};

/// Largest packet that native XDP takes in one buffer: a page of 4096 bytes less headroom (256), the end of
/// the buffer (320) and an Ethernet header with two VLAN tags. Drivers differ by a few bytes.
const ONE_BUFFER: u32 = 4096 - 256 - 320 - 22;
/// The oldest kernel that the tests prove.
const FIRST_KERNEL: (u32, u32) = (6, 1);

/// Something that an operator should know or mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Interface; none where it concerns the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// A name for programs to go by.
    pub kind: &'static str,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// What `--fix` can do about it.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Enforcement is not possible, or not where it is meant to be.
    Problem,
    /// It works otherwise, or more slowly, than one would think.
    Warning,
}

/// A change of this host that mends a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Leave VLAN tags in packets.
    LeaveTags,
    /// Do not merge packets in hardware.
    DoNotMerge,
    /// Compile BPF programs to machine code.
    Jit,
    /// Mount a BPF file system.
    Mount,
}

/// Where this tool's own programs stand.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// The program by which the pins that are looked at enforce an interface.
    pub here: BTreeMap<String, u32>,
    /// The folder, as `--bpffs` names it, below which the program of an interface is pinned otherwise.
    pub elsewhere: BTreeMap<String, PathBuf>,
}

impl Ours {
    /// With `here`, where else the programs of interfaces are pinned.
    #[must_use]
    pub fn among(links: &[Link], here: BTreeMap<String, u32>) -> Self {
        let foreign =
            |link: &Link| link.xdp_program.filter(|program| here.get(&link.interface) != Some(program));
        let elsewhere = links
            .iter()
            .filter_map(|link| Some((link.interface.clone(), elsewhere::pinned_below(foreign(link)?)?)))
            .collect();
        Self { here, elsewhere }
    }
}

/// What is found.
#[must_use]
pub fn diagnose(host: &Host, links: &[Link], ours: &Ours) -> Vec<Finding> {
    let mut found = Vec::new();
    of_host(host, &mut found);
    for link in links {
        Examination { link, links, found: &mut found }.all(ours);
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

fn of_host(host: &Host, found: &mut Vec<Finding>) {
    let mut add = |severity, kind, message: String, advice: &str, remedy| {
        found.push(Finding { interface: None, severity, kind, message, advice: advice.to_owned(), remedy });
    };
    if host.version.is_some_and(|version| version < FIRST_KERNEL) {
        let message = format!("this is Linux {}; 6.1 is the oldest that is known to work", host.kernel);
        add(Severity::Problem, "kernel", message, "boot Linux 6.1 or later", None);
    }
    if !host.btf {
        let message = "the kernel does not tell its types: /sys/kernel/btf/vmlinux is missing".to_owned();
        add(
            Severity::Problem,
            "btf",
            message,
            "boot a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build it",
            None,
        );
    }
    if !host.bpffs {
        let message = "no BPF file system is mounted: enforcement could not outlive a command".to_owned();
        let advice = "`mount -t bpf bpf /sys/fs/bpf`, or name another folder with --bpffs";
        add(Severity::Problem, "bpffs", message, advice, Some(Remedy::Mount));
    }
    if host.jit == Some(false) {
        let message = "BPF programs are interpreted: each packet costs several times as much".to_owned();
        add(Severity::Warning, "jit", message, "`sysctl net.core.bpf_jit_enable=1`", Some(Remedy::Jit));
    }
    for setting in &host.source_routes {
        let message = format!(
            "{setting} is on: a packet may name the way that it takes on from here, past rules for one local address \
             and to other hosts"
        );
        add(Severity::Warning, "source-routes", message, &format!("`sysctl {setting}=0`"), None);
    }
    if !host.capable {
        let message =
            "this process may not load programs: CAP_BPF, CAP_NET_ADMIN or CAP_PERFMON is missing".to_owned();
        add(Severity::Problem, "capabilities", message, "run it with sudo", None);
    }
}

struct Examination<'a> {
    link: &'a Link,
    links: &'a [Link],
    found: &'a mut Vec<Finding>,
}

impl Examination<'_> {
    fn all(&mut self, ours: &Ours) {
        if let Some(other) = self.link.other {
            let message = format!("its packets cannot be judged: {other}");
            let advice = format!(
                "{}; `apply` refuses a policy that names this one, and a pattern passes it over",
                other.advice()
            );
            self.add(Severity::Warning, "unjudged", message, advice, None);
            return;
        }
        self.place();
        self.program(ours);
        self.native();
        self.tags();
        self.merging();
    }

    fn add(
        &mut self,
        severity: Severity,
        kind: &'static str,
        message: String,
        advice: String,
        remedy: Option<Remedy>,
    ) {
        let interface = Some(self.link.interface.clone());
        self.found.push(Finding { interface, severity, kind, message, advice, remedy });
    }

    /// Whether this is the right interface to name in a policy.
    fn place(&mut self) {
        let Link { interface: name, kind, port_of, stands_on, .. } = self.link;
        let over = port_of.as_ref().and_then(|over| self.links.iter().find(|link| link.interface == *over));
        match over.map(|over| (&over.kind, &over.interface)) {
            Some((Kind::Bond, bond)) => self.add(
                Severity::Warning,
                "port-of-bond",
                format!(
                    "it is a port of {bond}: here only what comes by this one is judged, and {bond} takes no native \
                     program as long as a port has one of its own"
                ),
                format!(
                    "name `{bond}` in the policy: it passes the program on to its ports, also to those that join later, \
                     and LACP passes; where ports are enforced already, `portcullis detach` them first, or the bond \
                     is judged in generic mode"
                ),
                None,
            ),
            Some((Kind::Bridge, bridge)) => self.add(
                Severity::Warning,
                "port-of-bridge",
                format!("it is a port of {bridge}: here every packet is judged, also what is only forwarded to others"),
                format!("name `{bridge}` in the policy to judge what is meant for this host alone"),
                None,
            ),
            _ => {}
        }
        match (kind, stands_on) {
            (Kind::Vlan, Some(below)) => self.add(
                Severity::Warning,
                "vlan",
                format!("it is a VLAN of {below}: native XDP is not possible here, and a program on {below} judges its packets before"),
                format!(
                    "name `{below}` in the policy to judge all its VLANs alike and in the driver; name `{name}` for \
                     rules of this VLAN, which are judged in generic mode, and leave `{below}` out"
                ),
                None,
            ),
            (Kind::Bridge, _) => self.add(
                Severity::Warning,
                "bridge",
                "it is a bridge: here only what is meant for this host is judged, in generic mode; what it forwards is not".to_owned(),
                "name its ports in the policy to judge what it forwards, too".to_owned(),
                None,
            ),
            _ => {}
        }
    }

    /// Whether another program is there than that of the pins that are looked at.
    fn program(&mut self, ours: &Ours) {
        let name = &self.link.interface;
        let here = ours.here.get(name).copied();
        let Some(program) = self.link.xdp_program.filter(|program| Some(*program) != here) else { return };
        if let Some(bpffs) = ours.elsewhere.get(name) {
            let bpffs = bpffs.display();
            let advice = format!(
                "name that folder with `--bpffs {bpffs}`, and with `--state` the state that belongs to it; \
                 `portcullis detach {name} --bpffs {bpffs}` ends it"
            );
            let message = format!("portcullis itself enforces it, with pins below {bpffs}");
            return self.add(Severity::Problem, "enforced-elsewhere", message, advice, None);
        }
        self.add(
            Severity::Problem,
            "occupied",
            format!("another XDP program (number {program}) is attached to it"),
            format!(
                "end or detach the tool that attached it; `ip link set dev {} xdp off` does so where no link holds \
                 the program (`bpftool link show`); `bpftool prog show id {program}` tells more",
                self.link.interface
            ),
            None,
        );
    }

    fn native(&mut self) {
        let Link { kind, native, multi_buffer, mtu, driver, .. } = self.link;
        if *kind != Kind::Device && *kind != Kind::Bond {
            return;
        }
        let driver = driver.as_deref().unwrap_or("its driver");
        if *native == Some(false) {
            self.add(
                Severity::Warning,
                "generic",
                format!(
                    "{driver} has no native XDP: packets are judged in generic mode, alike but more slowly"
                ),
                "nothing to mend; a card whose driver has native XDP drops several times as many packets"
                    .to_owned(),
                None,
            );
        } else if *native == Some(true) && *multi_buffer == Some(false) && *mtu > ONE_BUFFER {
            self.add(
                Severity::Warning,
                "mtu",
                format!("its MTU is {mtu}, and {driver} takes packets of one buffer only in native XDP, about {ONE_BUFFER} bytes"),
                format!("`ip link set dev {} mtu {ONE_BUFFER}`, or generic mode, which is slower", self.link.interface),
                None,
            );
        }
    }

    /// Whether VLAN tags are gone before they can be seen.
    fn tags(&mut self) {
        let name = &self.link.interface;
        let vlans: Vec<&str> = self
            .links
            .iter()
            .filter(|vlan| vlan.stands_on.as_ref() == Some(name))
            .map(|vlan| vlan.interface.as_str())
            .collect();
        if vlans.is_empty() || self.link.strips_tags != Some(true) {
            return;
        }
        self.add(
            Severity::Warning,
            "hidden-tags",
            format!(
                "the driver takes VLAN tags out of packets before XDP sees them, so that those for {} look untagged",
                vlans.join(", ")
            ),
            format!("`ethtool -K {name} rxvlan off`"),
            Some(Remedy::LeaveTags),
        );
    }

    fn merging(&mut self) {
        if self.link.merges_in_hardware == Some(true) {
            self.add(
                Severity::Warning,
                "merged",
                "the card merges packets (LRO): most drivers refuse native XDP then, and merged packets count as one".to_owned(),
                format!("`ethtool -K {} lro off`", self.link.interface),
                Some(Remedy::DoNotMerge),
            );
        }
    }
}

impl Finding {
    /// Mends it, as `advice` says.
    ///
    /// # Errors
    ///
    /// Where the host refuses. Nothing has changed then.
    pub fn mend(&self, bpffs: &std::path::Path) -> io::Result<()> {
        let interface = self.interface.as_deref().unwrap_or_default();
        match self.remedy {
            None => Ok(()),
            Some(Remedy::LeaveTags) => ethtool::switch_off(interface, ethtool::STRIPS_TAGS),
            Some(Remedy::DoNotMerge) => ethtool::switch_off(interface, ethtool::MERGES),
            Some(Remedy::Jit) => fs::write("/proc/sys/net/core/bpf_jit_enable", "1"),
            Some(Remedy::Mount) => crate::datapath::ensure_bpffs(bpffs)
                .map(drop)
                .map_err(|error| io::Error::other(error.to_string())),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::{LinkType, OtherLink};

    type Case<T> = (&'static str, fn(&mut T));

    fn healthy() -> Host {
        Host {
            kernel: "6.18.5".to_owned(),
            version: Some((6, 18)),
            btf: true,
            bpffs: true,
            jit: Some(true),
            source_routes: Vec::new(),
            capable: true,
        }
    }

    fn device(name: &str) -> Link {
        Link {
            interface: name.to_owned(),
            index: 2,
            kind: Kind::Device,
            link_type: Some(LinkType::Ethernet),
            other: None,
            mtu: 1500,
            port_of: None,
            stands_on: None,
            xdp_program: None,
            native: Some(true),
            multi_buffer: Some(false),
            strips_tags: Some(true),
            merges_in_hardware: Some(false),
            driver: Some("driver".to_owned()),
        }
    }

    fn kinds(host: &Host, links: &[Link]) -> Vec<String> {
        let ours = Ours {
            here: BTreeMap::from([("ours0".to_owned(), 7)]),
            elsewhere: BTreeMap::from([("ours1".to_owned(), PathBuf::from("/mnt/bpf"))]),
        };
        let label = |finding: Finding| match finding.interface {
            Some(interface) => format!("{interface} {}", finding.kind),
            None => finding.kind.to_owned(),
        };
        diagnose(host, links, &ours).into_iter().map(label).collect()
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(kinds(&healthy(), &[device("eth0")]), [""; 0]);
    }

    #[test]
    fn each_lack_of_the_host_is_one_finding() {
        let cases: [Case<Host>; 5] = [
            ("kernel", |host| host.version = Some((5, 15))),
            ("btf", |host| host.btf = false),
            ("bpffs", |host| host.bpffs = false),
            ("jit", |host| host.jit = Some(false)),
            ("capabilities", |host| host.capable = false),
        ];
        for (kind, break_it) in cases {
            let mut host = healthy();
            break_it(&mut host);
            assert_eq!(kinds(&host, &[]), [kind]);
        }
    }

    #[test]
    fn each_trait_of_an_interface_is_one_finding() {
        let cases: [Case<Link>; 7] = [
            ("unjudged", |link| (link.link_type, link.other) = (None, Some(OtherLink::Header(280)))),
            ("occupied", |link| link.xdp_program = Some(9)),
            ("generic", |link| link.native = Some(false)),
            ("mtu", |link| link.mtu = 9000),
            ("merged", |link| link.merges_in_hardware = Some(true)),
            ("bridge", |link| link.kind = Kind::Bridge),
            ("vlan", |link| (link.kind, link.stands_on) = (Kind::Vlan, Some("eth1".to_owned()))),
        ];
        for (kind, change) in cases {
            let mut link = device("eth0");
            change(&mut link);
            assert_eq!(kinds(&healthy(), &[link]), [format!("eth0 {kind}")]);
        }
    }

    #[test]
    fn our_own_program_and_packets_of_several_buffers_are_fine() {
        let ours = Link { xdp_program: Some(7), mtu: 9000, multi_buffer: Some(true), ..device("ours0") };
        assert_eq!(kinds(&healthy(), &[ours]), [""; 0]);
    }

    #[test]
    fn our_own_program_with_other_pins_is_not_taken_for_another_tools() {
        let link = Link { xdp_program: Some(8), ..device("ours1") };
        assert_eq!(kinds(&healthy(), &[link]), ["ours1 enforced-elsewhere"]);
    }

    #[test]
    fn hidden_tags_matter_where_vlans_are() {
        let vlan = Link { kind: Kind::Vlan, stands_on: Some("eth0".to_owned()), ..device("eth0.10") };
        assert_eq!(kinds(&healthy(), &[device("eth0"), vlan]), ["eth0 hidden-tags", "eth0.10 vlan"]);
    }

    #[test]
    fn ports_are_sent_to_what_they_are_ports_of() {
        let bond = Link { kind: Kind::Bond, ..device("bond0") };
        let port = Link { port_of: Some("bond0".to_owned()), ..device("eth0") };
        assert_eq!(kinds(&healthy(), &[bond, port.clone()]), ["eth0 port-of-bond"]);
        let bridge = Link { kind: Kind::Bridge, ..device("bond0") };
        assert_eq!(kinds(&healthy(), &[bridge, port]), ["bond0 bridge", "eth0 port-of-bridge"]);
    }
}
