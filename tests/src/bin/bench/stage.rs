//! Loads and attaches everything, and makes a row of each packet and program.

use std::{os::fd::OwnedFd, process::Command, rc::Rc};

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    compile,
    datapath::{LoadOptions, Programs},
    ruleset::RuleSet,
};
use portcullis_tests::{
    assembly::{self, Field},
    judge,
    packet::{Frame, Ip},
    raw,
};
use serde::Serialize;

use crate::{
    cases::{self, DROP, PASS, PREFIXES, Packet, RULES},
    measure::{Entry, Label},
    peers::XdpFilter,
};

/// The destination port of a frame without tags and options.
pub(crate) const PORT: Field = Field::Port { at: 36 };
const RANDOM_PORTS: &str = "random ports, half of them open";

/// Every entry, and what keeps its programs alive and attached.
pub(crate) struct Stage {
    pub(crate) entries: Vec<Entry>,
    nothing: Rc<OwnedFd>,
    loaded: Vec<Loaded>,
    dummies: Dummies,
    /// What could not be measured, and why.
    pub(crate) left_out: Vec<String>,
}

/// How many instructions the verifier followed in a program.
#[derive(Serialize)]
pub(crate) struct Verified {
    pub(crate) program: &'static str,
    pub(crate) rules: &'static str,
    pub(crate) instructions: u32,
}

/// Rules in the kernel.
pub(crate) struct Loaded {
    pub(crate) rules: usize,
    pub(crate) id: u32,
    pub(crate) programs: Programs,
}

impl Loaded {
    /// Compiles and loads rules.
    pub(crate) fn new(rules: &RuleSet) -> Result<Self> {
        let compiled = compile::compile(rules, &judge::slots(rules))?;
        let programs = Programs::load(&compiled.tables, &LoadOptions::default(), None)?;
        Ok(Self { rules: rules.rules.len(), id: programs.id()?, programs })
    }
}

/// Interfaces that lead nowhere, and the programs that are attached to them.
#[derive(Default)]
pub(crate) struct Dummies {
    made: usize,
    /// What must outlive the runs.
    kept: Vec<OwnedFd>,
}

impl Dummies {
    /// Attaches a program to a dummy of its own: a run of a program that is attached nowhere begins
    /// with an update of the kernel's dispatcher, which takes milliseconds.
    pub(crate) fn attach(&mut self, program: &OwnedFd) -> Result<()> {
        let name = self.make()?;
        self.kept.push(raw::attach(program, &name).context("cannot attach")?);
        Ok(())
    }

    /// Keeps a handle as long as the programs are attached.
    pub(crate) fn keep(&mut self, handle: OwnedFd) {
        self.kept.push(handle);
    }

    /// A new interface; one that is there already, of dummies that are gone, is taken.
    fn make(&mut self) -> Result<String> {
        self.made += 1;
        let name = format!("dummy{}", self.made);
        if nix::net::if_::if_nametoindex(&*name).is_err() {
            let made = Command::new("ip").args(["link", "add", &name, "type", "veth"]).status();
            ensure!(made.context("cannot run ip")?.success(), "cannot make {name}");
        }
        Ok(name)
    }
}

impl Stage {
    /// Loads and attaches everything; `xdp_filter` tells whether that peer is there.
    pub(crate) fn set(xdp_filter: bool) -> Result<Self> {
        let nothing = Rc::new(assembly::nothing()?);
        let mut stage = Self {
            entries: Vec::new(),
            nothing,
            loaded: Vec::new(),
            dummies: Dummies::default(),
            left_out: Vec::new(),
        };
        stage.dummies.attach(&stage.nothing)?;
        let syn = Frame::syn(Ip::V4, 443).bytes();
        let nothing = Rc::clone(&stage.nothing);
        stage.add(label("noop", 0, "any packet", None), &nothing, syn.clone(), Some(DROP), 0);
        for count in RULES {
            let handle = stage.load(&cases::rules(count))?;
            stage.single_packets(usize::from(count), &handle)?;
        }
        let floor = stage.varied(label("noop", 0, "random ports", None), PORT, &nothing, &syn, None)?;
        for count in [1, 10_000] {
            let handle = stage.load(&cases::scattered(count))?;
            let label = label("portcullis", count as usize, RANDOM_PORTS, Some(5.0));
            stage.varied(label, PORT, &handle, &syn, Some(floor))?;
        }
        stage.sources()?;
        if xdp_filter {
            stage.xdp_filter(&syn, floor)?;
        }
        Ok(stage)
    }

    /// Drops the entries whose case does not contain `part`.
    pub(crate) fn keep(&mut self, part: &str) {
        let kept = |entry: &Entry| entry.label.program == "noop" || entry.label.case.contains(part);
        let mut position = 0;
        let positions: Vec<usize> = self
            .entries
            .iter()
            .map(|entry| {
                let at = position;
                position += usize::from(kept(entry));
                at
            })
            .collect();
        self.entries.retain(kept);
        for entry in &mut self.entries {
            entry.floor = positions[entry.floor];
        }
    }

    /// What the verifier did for the first rules, which are the simplest, and for the last, with sources.
    pub(crate) fn verified(&mut self) -> Result<Vec<Verified>> {
        let mut all = Vec::new();
        let last = self.loaded.len().saturating_sub(1);
        for (rules, at) in [("open ports", 0), ("ports limited to sources", last)] {
            for (program, instructions) in self.loaded[at].programs.verified_instructions()? {
                all.push(Verified { program, rules, instructions });
            }
        }
        Ok(all)
    }

    /// The same packet at each run.
    fn single_packets(&mut self, count: usize, handle: &Rc<OwnedFd>) -> Result<()> {
        for ip in Ip::BOTH {
            let (question, reply) = cases::conversation(ip);
            let loaded = self.loaded.last_mut().context("rules are loaded first")?;
            loaded.programs.learn(&question)?;
            for Packet { name, bytes, action, budget } in cases::packets(ip).into_iter().chain([reply]) {
                self.add(label("portcullis", count, &name, budget), handle, bytes, action, 0);
            }
        }
        Ok(())
    }

    /// Rules limited by source: always the same source, then another one at each run.
    fn sources(&mut self) -> Result<()> {
        let packets = [
            ("IPv4", cases::from(Ip::V4, "10.0.0.1")?, cases::random_source(Ip::V4)),
            ("IPv6", cases::from(Ip::V6, "2001:db8::1")?, cases::random_source(Ip::V6)),
        ];
        let nothing = Rc::clone(&self.nothing);
        let mut floors = Vec::new();
        for (version, packet, field) in &packets {
            let label = label("noop", 0, &format!("random {version} sources"), None);
            floors.push(self.varied(label, *field, &nothing, packet, None)?);
        }
        for (count, budgets) in PREFIXES {
            let handle = match self.load(&cases::sources(count)) {
                Ok(handle) => handle,
                Err(error) => {
                    self.left_out.push(format!("portcullis with {count} sources: {error:#}"));
                    continue;
                }
            };
            for (n, (version, packet, field)) in packets.iter().enumerate() {
                let budget = Some(budgets[n]);
                let case = format!("{version} allowed TCP from 1 of {count} sources");
                let one = label("portcullis", 1, &case, budget);
                self.add(one, &handle, packet.clone(), Some(PASS), 0);
                let case = format!("{version} TCP from random, {count} sources");
                let random = label("portcullis", 1, &case, budget);
                self.varied(random, *field, &handle, packet, Some(floors[n]))?;
            }
        }
        Ok(())
    }

    /// The same packets for xdp-filter. Its ports are an array, as ours are: few and many.
    fn xdp_filter(&mut self, syn: &[u8], floor: usize) -> Result<()> {
        for count in [1, 10_000] {
            let filter = XdpFilter::load(&self.dummies.make()?, cases::other_ports(count))?;
            let handle = Rc::new(filter.program);
            for ip in Ip::BOTH {
                for Packet { name, bytes, action, .. } in cases::packets(ip) {
                    // It knows neither later fragments nor headers that IPv6 puts between; what it makes of
                    // them is its own affair.
                    let plain = action.filter(|_| !name.contains("behind"));
                    self.add(label("xdp-filter", count.into(), &name, None), &handle, bytes, plain, 0);
                }
            }
        }
        let filter = XdpFilter::load(&self.dummies.make()?, cases::scattered_ports())?;
        let handle = Rc::new(filter.program);
        self.varied(label("xdp-filter", 32_768, RANDOM_PORTS, None), PORT, &handle, syn, Some(floor))?;
        Ok(())
    }

    fn load(&mut self, rules: &RuleSet) -> Result<Rc<OwnedFd>> {
        let loaded = Loaded::new(rules)?;
        let handle = Rc::new(raw::program(loaded.id)?);
        self.loaded.push(loaded);
        self.dummies.attach(&handle)?;
        Ok(handle)
    }

    /// Adds an entry whose packet is different at each run; without a floor it is its own.
    fn varied(
        &mut self,
        label: Label,
        field: Field,
        handle: &Rc<OwnedFd>,
        packet: &[u8],
        floor: Option<usize>,
    ) -> Result<usize> {
        let array = raw::array_of(handle)?;
        // xdp-filter takes packets of one buffer only.
        let frags = label.program != "xdp-filter";
        let varied = Rc::new(assembly::vary(field, &array, frags)?);
        self.dummies.attach(&varied)?;
        self.dummies.keep(array);
        let action = floor.is_none().then_some(DROP);
        let floor = floor.unwrap_or(self.entries.len());
        Ok(self.add(label, &varied, packet.to_vec(), action, floor))
    }

    fn add(
        &mut self,
        label: Label,
        handle: &Rc<OwnedFd>,
        packet: Vec<u8>,
        action: Option<u32>,
        floor: usize,
    ) -> usize {
        self.entries.push(Entry { label, handle: Rc::clone(handle), packet, action, floor });
        self.entries.len() - 1
    }
}

fn label(program: &'static str, rules: usize, case: &str, budget: Option<f64>) -> Label {
    Label { program, rules, case: case.to_owned(), budget }
}
