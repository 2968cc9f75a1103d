//! Programs that others wrote, on both sides of a policy: what a document names works with them as they
//! are, and what it does not name does not. Each test in a lab of its own.

mod calls;

use std::time::Duration;

use anyhow::Result;
use portcullis_tests::{
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    programs::Programs,
};

/// How long a client waits for what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let Some(programs) = Programs::find(programs) else { return Ok(None) };
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.neighbour("edge0", "far0")?;
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
    /// Datagrams that the protected host's kernel has handed to its programs, over both versions of IP.
    fn datagrams(&self) -> u64 {
        let (v4, v6) = self.host().within(|| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            (read("snmp").expect("the kernel counts"), read("snmp6").expect("the kernel counts"))
        });
        let mut udp = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let names = udp.next().expect("names").split(' ');
        let mut v4 = names.zip(udp.next().expect("values").split(' '));
        let mut v6 = v6.lines().filter_map(|line| line.split_once(' '));
        let of = |found: Option<(&str, &str)>| -> u64 {
            found.expect("it is counted").1.trim().parse().expect("a number")
        };
        of(v4.find(|(name, _)| *name == "InDatagrams")) + of(v6.find(|(name, _)| *name == "Udp6InDatagrams"))
    }
}
