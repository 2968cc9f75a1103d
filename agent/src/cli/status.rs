//! `portcullis status`.

use std::io::Write as _;

use anyhow::Result;
use clap::Args;

use super::{
    Outcome,
    counters::leaving,
    output::json,
    table::{bytes, lines, table},
};
use crate::{
    counters::Report,
    daemon::{self, Answer, Request, Standing, ask},
    datapath::{FlowTotals, Mode, OnInterfaces, Part, chain, flow_totals},
    generation::{Beside, Known, Manifest, Pending, Roots, Stage, known},
    host::forwards,
    policy::Enforcement,
    terminal::{self, shown},
};

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --check, an interface that the running agent's policy names and that is not there counts as not protected: \
name it by a pattern where it comes and goes.

Exit codes: 0 done, 1 the kernel or the state cannot be read, 3 with --check: nothing is enforced, an interface is \
not protected, the policy file is refused, or something is missing or otherwise than it should be.")]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// End with exit code 3 where something is not as it should be
    #[arg(long)]
    check: bool,
}

impl Status {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let mut out = terminal::out();
        let mut rows = Vec::new();
        let (mut lost, mut astray, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
        let mut flows = None;
        let on_interfaces = OnInterfaces::now()?;
        for interface in roots.interfaces()? {
            let attachment = roots.attachment(&interface)?;
            let known = known(roots, &interface)?;
            troubles.extend(known.trouble(&interface));
            let manifest = match known {
                Known::Active(manifest) => manifest,
                Known::Nothing | Known::Other => continue,
                Known::Lost(_) => {
                    lost.push(interface);
                    continue;
                }
                Known::Astray | Known::Elsewhere => {
                    astray.push(interface);
                    continue;
                }
            };
            let Some(program) = attachment.program()? else { continue };
            let Some(totals) = roots.totals(&manifest)? else {
                troubles.push(format!(
                    "{interface}: enforced, but its counters are missing: apply the policy again"
                ));
                continue;
            };
            let missing = roots.missing(&interface, &on_interfaces)?;
            if !missing.is_empty() {
                let all: Vec<String> = missing.iter().map(Part::to_string).collect();
                let all = all.join(" and ");
                troubles.push(format!("{interface}: missing: {all}; apply the policy again"));
            }
            match forwards(&interface) {
                Ok(routes) if routes != manifest.routes => {
                    let switched = if routes { "on" } else { "off" };
                    troubles.push(format!(
                        "{interface}: forwarding was switched {switched} since the policy was applied; apply it again"
                    ));
                }
                Ok(_) => {}
                Err(error) => troubles.push(format!("{interface}: {}", chain(&error))),
            }
            // They are those of all interfaces.
            flows = flow_totals(attachment.pins())?;
            let report = Report::new(&manifest, &totals, &roots.note_reading(&manifest, &totals));
            rows.push((program, manifest, report));
        }
        // Enforcement needs no agent, and neither does this command.
        let agent = match ask(&roots.state, &Request::Status) {
            Ok(Some(Answer::Status(agent))) => Some(agent),
            Ok(_) => None,
            Err(error) => {
                troubles.push(chain(error.as_ref()));
                None
            }
        };
        let is_ended = |manifest: &Manifest| matches!(manifest.beside, Some(Beside::Ended { .. }));
        let is_well = !rows.is_empty()
            && troubles.is_empty()
            && !rows.iter().any(|(_, manifest, _)| is_ended(manifest))
            && agent.as_ref().is_none_or(is_content);
        let outcome = if self.check && !is_well { Outcome::Found } else { Outcome::Done };
        if self.json {
            let interfaces: Vec<_> = rows
                .iter()
                .map(|(program, manifest, report)| {
                    serde_json::json!({
                        "interface": manifest.interface, "mode": manifest.settings.mode, "xdp": manifest.xdp,
                        "fallback": manifest.fallback, "generation": manifest.generation,
                        "program": program, "policy": manifest.policy,
                        "policy_sha256": manifest.policy_sha256, "applied": manifest.applied,
                        "rules": manifest.rules.len(), "revision": manifest.revision,
                        "pending": pending_json(manifest),
                        "last_hit": report.last_hit(),
                        "accepted": report.accepted, "dropped": report.dropped, "total": report.total,
                    })
                })
                .collect();
            let status = serde_json::json!({
                "interfaces": interfaces, "flows": flows,
                "without_manifest": lost, "without_interface": astray, "agent": agent,
                "well": is_well, "troubles": troubles,
            });
            json(&mut out, &status)?;
            return Ok(outcome);
        }
        if rows.is_empty() && troubles.is_empty() {
            writeln!(out, "no interface is enforced; `portcullis apply POLICY` begins")?;
        }
        if !rows.is_empty() {
            let header =
                ["INTERFACE", "MODE", "XDP", "GENERATION", "RULES", "ACCEPTED", "DROPPED", "BYTES", "POLICY"];
            let mut table = table(&header, &[3, 4, 5, 6, 7]);
            for (_, manifest, report) in &rows {
                let mode = match (manifest.settings.mode, &manifest.beside) {
                    (_, Some(Beside::Trial { .. })) => "trial",
                    (_, Some(Beside::Shadow { .. })) => "shadow",
                    (Enforcement::Enforce, _) => "enforce",
                    (Enforcement::Observe, _) => "observe",
                };
                let xdp = match manifest.xdp {
                    Mode::Native => "native",
                    Mode::Generic => "generic",
                };
                table.add_row([
                    manifest.interface.clone(),
                    mode.to_owned(),
                    xdp.to_owned(),
                    manifest.generation.to_string(),
                    manifest.rules.len().to_string(),
                    report.accepted.packets.to_string(),
                    report.dropped.packets.to_string(),
                    bytes(report.total.bytes),
                    manifest.policy.clone(),
                ]);
            }
            out.write_all(lines(&table).as_bytes())?;
        }
        for (_, manifest, report) in &rows {
            if let Some(outbound) = &report.outbound {
                writeln!(out, "{}: {}", manifest.interface, leaving(outbound))?;
            }
            if let Some(sentence) = pending_sentence(manifest) {
                writeln!(out, "{}: {sentence}", manifest.interface)?;
            }
        }
        for trouble in troubles {
            writeln!(out, "{}", shown(&trouble))?;
        }
        if let Some(FlowTotals { entries, begun, evicted, missed }) = flows
            && evicted + missed > 0
        {
            writeln!(
                out,
                "of {begun} conversations, {evicted} gave way to others before their time and {missed} were \
                 not recorded at once: `entries` in `[flows]`, now {entries}, makes room for more"
            )?;
        }
        if let Some(agent) = agent {
            describe(&mut out, &agent)?;
        }
        Ok(outcome)
    }
}

/// Whether the agent protects everything that its policy names, and refuses nothing.
fn is_content(agent: &daemon::Status) -> bool {
    agent.refused.is_none()
        && agent
            .interfaces
            .iter()
            .all(|watched| matches!(watched.standing, Standing::Protected | Standing::Skipped))
}

/// How a trial or a shadow stands, for programs; null where there is none.
fn pending_json(manifest: &Manifest) -> serde_json::Value {
    match &manifest.beside {
        None => serde_json::Value::Null,
        Some(Beside::Trial { .. }) => serde_json::json!({
            "stage": "trial", "revision": manifest.revision,
            "seconds_left": left(manifest).map(|left| left.as_secs_f64()),
        }),
        Some(Beside::Ended { revision, before }) => serde_json::json!({
            "stage": "ended", "revision": revision, "enforced_before": before.is_some(),
        }),
        Some(Beside::Shadow { candidate }) => {
            serde_json::json!({ "stage": "shadow", "revision": candidate.revision })
        }
    }
}

/// How a trial or a shadow stands, for people.
fn pending_sentence(manifest: &Manifest) -> Option<String> {
    Some(match manifest.beside.as_ref()? {
        Beside::Trial { .. } => {
            let left = left(manifest)?.as_secs();
            format!(
                "tried for {left} more seconds; `portcullis confirm` keeps it, `portcullis rollback` ends it"
            )
        }
        Beside::Ended { revision, before: Some(_) } => {
            format!("the trial of revision {revision} has ended unconfirmed; the policy before it holds")
        }
        Beside::Ended { revision, before: None } => format!(
            "the trial of revision {revision} has ended unconfirmed; nothing is dropped, as before it"
        ),
        Beside::Shadow { candidate } => format!(
            "revision {} is evaluated beside; `portcullis shadow` tells what would differ",
            candidate.revision
        ),
    })
}

fn left(manifest: &Manifest) -> Option<std::time::Duration> {
    let pending = Pending { manifests: vec![manifest.clone()] };
    match pending.stage().ok()?? {
        Stage::Trial { left, .. } => Some(left),
        Stage::Ended | Stage::Shadow => None,
    }
}

/// What the agent does, and what it could not do.
fn describe(out: &mut impl std::io::Write, agent: &daemon::Status) -> std::io::Result<()> {
    let daemon::Status { pid, uptime, policy, busy, refused, interfaces } = agent;
    let uptime = match uptime {
        0..60 => format!("{uptime} s"),
        60..3600 => format!("{} min", uptime / 60),
        3600..172_800 => format!("{} h", uptime / 3600),
        _ => format!("{} days", uptime / 86400),
    };
    writeln!(out, "agent: process {pid} follows {}, running for {uptime}", shown(policy))?;
    if let Some(daemon::Busy { with, seconds }) = busy {
        writeln!(out, "agent: it has been {with} for {seconds:.1} s; what it tells is from before")?;
    }
    for watched in interfaces {
        let name = &watched.interface;
        match watched.standing {
            Standing::Protected => {}
            Standing::Skipped => {
                let why = watched.error.as_deref().unwrap_or_default();
                writeln!(out, "{name}: left out: {}", shown(why))?;
            }
            Standing::Awaited => writeln!(out, "{name}: not there yet; protected when it appears")?,
            Standing::Unprotected => {
                let why = watched.error.as_deref().unwrap_or("it was detached by hand");
                writeln!(out, "{name}: NOT PROTECTED: {}", shown(why))?;
            }
        }
    }
    if let Some(error) = refused {
        let error = shown(error);
        writeln!(out, "the policy file is refused as it is now, the one before it goes on: {error}")?;
    }
    Ok(())
}
