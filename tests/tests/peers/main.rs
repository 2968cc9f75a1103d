//! Programs that others wrote, on both sides of a policy: what a document names works with them as they
//! are, and what it does not name does not. Each test in a lab of its own.

mod advertisements;
mod calls;
mod leases;
mod names;
mod path_mtu;
mod relay;
mod sessions;
mod tags;

use std::time::Duration;

use anyhow::Result;
use portcullis_tests::{
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    programs::Programs,
    running::Running,
};

/// How long a client waits for what must not come.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// A protected host with the interface `edge0`, and its neighbour behind `far0`.
struct Edge {
    neighbour: Namespace,
    operator: Operator,
    programs: Programs,
    lab: Lab,
}

impl Edge {
    /// `None` without root or one of the programs; then that was said.
    fn new(programs: &[&'static str]) -> Result<Option<Self>> {
        Self::behind(programs, |lab| lab.neighbour("edge0", "far0"))
    }

    /// The same where neither side has an address yet.
    fn without_addresses(programs: &[&'static str]) -> Result<Option<Self>> {
        Self::behind(programs, |lab| lab.host().link("edge0", "far0"))
    }

    fn behind(programs: &[&'static str], link: impl Fn(&Lab) -> Result<Namespace>) -> Result<Option<Self>> {
        let Some(programs) = Programs::find(programs) else { return Ok(None) };
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = link(&lab)?;
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { neighbour, operator, programs, lab }))
    }

    fn host(&self) -> &Namespace {
        self.lab.host()
    }

    /// What was counted on the interface under a rule's name, its `document:line`, or a reason.
    #[track_caller]
    fn counted(&self, name: &str) -> u64 {
        self.operator.packets("edge0", name)
    }

    /// Applies a policy that must be valid.
    #[track_caller]
    fn apply(&self, policy: &str) {
        drop(self.operator.apply(policy).exits(0));
    }
    /// dnsmasq on the neighbour, with no configuration but these options.
    fn dnsmasq(&self, options: &[&str]) -> Running {
        let interface = ["--interface=far0", "--bind-interfaces"];
        self.dnsmasq_in(&self.neighbour, &[&interface, options].concat())
    }

    fn dnsmasq_in(&self, namespace: &Namespace, options: &[&str]) -> Running {
        let alone = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file="];
        let common = [&alone[..], &["--user=root", "--log-facility=-"], options].concat();
        self.programs.start(namespace, "dnsmasq", &common)
    }

    /// Datagrams that the protected host's kernel has handed to its programs, over both versions of IP.
    fn datagrams(&self) -> u64 {
        counter(self.host(), "Udp", "InDatagrams") + counter(self.host(), "Udp6", "InDatagrams")
    }
}

/// What a namespace's kernel itself has counted for a protocol (`/proc/net/snmp`, `/proc/net/snmp6`).
fn counter(namespace: &Namespace, protocol: &str, name: &str) -> u64 {
    let file = if protocol.ends_with('6') { "snmp6" } else { "snmp" };
    let text = namespace.within(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")));
    let text = text.expect("the kernel counts");
    let value = if file == "snmp6" {
        text.lines().find_map(|line| line.strip_prefix(&format!("{protocol}{name}"))).map(str::trim)
    } else {
        // A line of names, then one of values.
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{protocol}: ")));
        let names = lines.next().expect("names").split(' ');
        let mut both = names.zip(lines.next().expect("values").split(' '));
        both.find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{protocol} {name} in\n{text}"))
}
