//! `portcullis plan`.

use std::{collections::BTreeSet, io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use ipnet::IpNet;

use super::{
    Outcome,
    enforce::warn,
    output, policy,
    table::{counted, lines, table},
};
use crate::{
    datapath::{LinkType, ensure_permission},
    generation::{ApplyOptions, Candidate, Here, Known, Manifest, Roots, Wanted, known, last},
    guard::{Cut, Seen, cuts},
    plan::{Change, ChangeKind, InterfacePlan, Terms, Whole, others, plan},
    policy::{Deployment, Enforcement},
    ruleset::Way,
    terminal,
};

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the policy with what the kernel enforces now, port by port, and asks the programs that would \
be loaded what they would cut of this host's conversations. Nothing is changed.

Exit codes: 0 nothing would change, 1 the kernel or the state cannot be read, 2 the policy cannot be \
read or is not valid, 3 something would change.")]
pub(super) struct Plan {
    /// Policy file; `-` is standard input
    #[arg(default_value = policy::DEFAULT)]
    policy: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Plan {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        ensure_permission("comparing a policy with what is enforced")?;
        let source = policy::read(&self.policy, policy::Reading::Anything)?;
        let present = LinkType::of_all()?;
        let Here { policy: here, skipped } = Here::new(&source.policy, &present);
        let wanted = Wanted::of(&here, &source.text, &source.catalog);
        let active = active(roots, &wanted)?;
        let plans = plan(&active, &wanted);
        let candidates: Vec<Candidate> = wanted
            .interfaces
            .iter()
            .map(|interface| Candidate::new(roots, interface, ApplyOptions::default()))
            .collect::<Result<_, _>>()?;
        let cuts = cuts(&candidates, &Seen::now()?)?;

        let is_different = plans.iter().any(InterfacePlan::is_different);
        let is_here = |name: &str| name == "lo" || present.contains_key(name);
        let missing: Vec<&str> =
            wanted.interfaces.iter().map(|entry| entry.name.as_str()).filter(|name| !is_here(name)).collect();
        let mut out = terminal::out();
        if self.json {
            let json = serde_json::json!({
                "different": is_different, "interfaces": plans, "missing": missing, "skipped": skipped,
                "cuts": cuts,
            });
            output::json(&mut out, &json)?;
        } else {
            for plan in &plans {
                print(&mut out, plan, !missing.contains(&plan.interface.as_str()))?;
            }
            for skipped in &skipped {
                writeln!(out, "{}", skipped.sentence())?;
            }
            if !missing.is_empty() {
                let present: Vec<&str> = present.keys().map(String::as_str).collect();
                let known = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
                writeln!(
                    out,
                    "`apply` would refuse the policy as long as an interface is missing; there are: {known}"
                )?;
            }
            drop(out);
            warn(&cuts, "apply would refuse");
        }
        Ok(if is_different || cuts.iter().any(is_vital) { Outcome::Found } else { Outcome::Done })
    }
}

fn is_vital(cut: &Cut) -> bool {
    cut.vital
}

/// What is enforced now, without what goes on as it is: interfaces that were renamed, whose old name is wanted.
fn active(roots: &Roots, wanted: &Wanted) -> Result<Vec<Manifest>> {
    let mut active = Vec::new();
    let mut stay = BTreeSet::new();
    for entry in roots.entries()? {
        if !wanted.names(&entry.name) && roots.enforced_as(&entry).is_some_and(|before| wanted.names(&before))
        {
            stay.insert(entry.name);
        }
    }
    for interface in roots.interfaces()?.into_iter().filter(|name| !stay.contains(name)) {
        match known(roots, &interface)? {
            Known::Active(manifest) => active.push(*manifest),
            Known::Other => active.extend(last(roots, &interface)?),
            Known::Nothing | Known::Astray | Known::Elsewhere => {}
            lost @ Known::Lost(_) => bail!("{}", lost.trouble(&interface).unwrap_or_default()),
        }
    }
    Ok(active)
}

fn print(out: &mut impl Write, plan: &InterfacePlan, is_here: bool) -> Result<()> {
    let InterfacePlan { interface, before, after, changes, rules_added, rules_removed } = plan;
    match (before, after) {
        (None, None) => {}
        (None, Some(_)) if !is_here => {
            writeln!(
                out,
                "{interface}: there is no such interface here; this would stay open where it appears:"
            )?;
        }
        (None, Some(after)) => {
            let verb = if after.settings.mode == Enforcement::Observe { "observed" } else { "enforced" };
            writeln!(out, "{interface}: would be {verb} for the first time; everything but this closes:")?;
        }
        (Some(_), None) => {
            writeln!(
                out,
                "{interface}: would be detached, as the policy does not name it: everything opens"
            )?;
        }
        (Some(before), Some(after)) => {
            let mut said = differences(*before, *after);
            let count = |kind| changes.iter().filter(|change| change.change == kind).count();
            let (opens, closes) = (count(ChangeKind::Opens), count(ChangeKind::Closes));
            if opens + closes > 0 {
                let ranges = |count, one, many| {
                    format!("{} {}", counted(count, "range"), if count == 1 { one } else { many })
                };
                said.push(format!(
                    "{}, {}",
                    ranges(opens, "opens", "open"),
                    ranges(closes, "closes", "close")
                ));
            } else if !(rules_added.is_empty() && rules_removed.is_empty()) {
                said.push(format!(
                    "{} and {} without opening or closing anything",
                    comes(rules_added.len(), "comes", "come"),
                    comes(rules_removed.len(), "goes", "go"),
                ));
            }
            let said = if said.is_empty() { "nothing would change".to_owned() } else { said.join("; ") };
            writeln!(out, "{interface}: {said}")?;
        }
    }
    if !changes.is_empty() {
        let mut table = table(&["", "WHAT", "FROM", "TO", "ROLE", "SERVICE", "DOCUMENT:LINE"], &[]);
        for change in changes {
            table.add_row(row(change));
        }
        out.write_all(lines(&table).as_bytes())?;
    }
    Ok(())
}

fn comes(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", counted(count, "rule"), if count == 1 { one } else { many })
}

/// What changes for the whole interface.
fn differences(before: Terms, after: Terms) -> Vec<String> {
    let mut said = Vec::new();
    let (before, after) = (before.settings, after.settings);
    if before.mode != after.mode {
        said.push(match after.mode {
            Enforcement::Enforce => "begins to drop what it only counted".to_owned(),
            Enforcement::Observe => "drops nothing any more, and only counts".to_owned(),
        });
    }
    if before.dhcp != after.dhcp {
        let verb = if after.dhcp { "accepts" } else { "drops" };
        said.push(format!("{verb} DHCP replies"));
    }
    if before.outbound != after.outbound {
        said.push(match after.outbound {
            None => "judges what leaves no longer".to_owned(),
            Some(Enforcement::Observe) => "counts what leaves, and drops nothing of it".to_owned(),
            Some(Enforcement::Enforce) => "drops what leaves without a rule".to_owned(),
        });
    }
    if before.deployment != after.deployment {
        said.push(match after.deployment {
            Deployment::Host => "stands for this host, no longer for clients behind it".to_owned(),
            Deployment::Gateway => "stands for clients behind it, as a gateway".to_owned(),
        });
    }
    if before.transit != after.transit {
        said.push(match after.transit {
            true => "lets in for hosts behind this one, too, as another interface is a gateway's".to_owned(),
            false => "lets in for this host alone".to_owned(),
        });
    }
    if before.unreadable != after.unreadable {
        said.push("treats packets that cannot be judged in another way".to_owned());
    }
    if before.flows != after.flows {
        said.push("remembers conversations for other times".to_owned());
    }
    said
}

fn row(change: &Change) -> [String; 7] {
    let verb = match change.change {
        ChangeKind::Opens => "opens",
        ChangeKind::Closes => "closes",
        ChangeKind::StaysOpen => "stays",
    };
    let except: Vec<String> = change.except.iter().map(ToString::to_string).collect();
    let local = match change.address {
        Some(address) => address.to_string(),
        None if except.is_empty() => "any".to_owned(),
        None => format!("any but {}", except.join(",")),
    };
    // What is compared are destinations where there are any.
    let (sources, destinations) = match &change.destinations {
        None => (changed(change.sources.as_ref(), change.whole.as_ref()), String::new()),
        some => (networks(change.sources.as_ref()), changed(some.as_ref(), change.whole.as_ref())),
    };
    let destinations = if destinations.is_empty() { "any".to_owned() } else { destinations };
    let (from, to) = match (change.direction, &change.destinations) {
        (Way::Leaving, _) => (local, destinations),
        // What passes a gateway.
        (_, Some(_)) => (sources, destinations),
        _ => (sources, local),
    };
    let role = change.role.as_ref().and_then(|role| role.rsplit('/').next()).unwrap_or("(policy)");
    [
        if change.direction == Way::Leaving { format!("{verb} out") } else { verb.to_owned() },
        change.what.clone(),
        from,
        to,
        role.to_owned(),
        change.service.clone(),
        format!("{}:{}", change.document, change.line),
    ]
}

/// As many networks as a cell of a table has room for.
const SHOWN: usize = 3;

/// The networks for which something changes. Those that are left of every address without some are many, and
/// say less than what it was and will be.
fn changed(list: Option<&Vec<IpNet>>, whole: Option<&Whole>) -> String {
    match (list, whole) {
        (Some(list), Some(Whole { before, after })) if list.len() > SHOWN => {
            format!("{} -> {}", networks(Some(before)), networks(Some(after)))
        }
        _ => networks(list),
    }
}

/// Networks in a cell of a table. Every address without some is many networks, and is told by those that are
/// missing.
fn networks(networks: Option<&Vec<IpNet>>) -> String {
    let Some(networks) = networks else { return "any".to_owned() };
    if networks.len() <= SHOWN && !networks.iter().all(|net| net.prefix_len() == 0) {
        return some(networks);
    }
    match others(networks) {
        missing if missing.is_empty() => "any".to_owned(),
        missing if missing.len() < networks.len() => format!("any but {}", some(&missing)),
        _ => some(networks),
    }
}

/// The first few of some networks.
fn some(networks: &[IpNet]) -> String {
    let shown = networks.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(",");
    let more = networks.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown}+{more}") } else { shown }
}
