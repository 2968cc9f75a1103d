//! `portcullis status`.

use std::io::{Write as _, stdout};

use anyhow::Result;
use clap::Args;

use super::{
    Outcome,
    table::{bytes, lines, table},
};
use crate::{
    counters::Report,
    datapath::Mode,
    generation::{Known, Roots, known},
    policy::Enforcement,
};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let mut out = stdout().lock();
        let mut rows = Vec::new();
        let (mut lost, mut astray, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
        for interface in roots.interfaces()? {
            let attachment = roots.attachment(&interface);
            let known = known(roots, &interface)?;
            troubles.extend(known.trouble(&interface));
            let manifest = match known {
                Known::Active(manifest) => manifest,
                Known::Nothing => continue,
                Known::Lost(_) => {
                    lost.push(interface);
                    continue;
                }
                Known::Astray => {
                    astray.push(interface);
                    continue;
                }
            };
            let Some(program) = attachment.program()? else { continue };
            let Some(totals) = attachment.totals(manifest.slots())? else { continue };
            let report = Report::new(&manifest, &totals);
            rows.push((program, manifest, report));
        }
        if self.json {
            let interfaces: Vec<_> = rows
                .iter()
                .map(|(program, manifest, report)| {
                    serde_json::json!({
                        "interface": manifest.interface, "mode": manifest.mode, "xdp": manifest.xdp,
                        "fallback": manifest.fallback, "generation": manifest.generation,
                        "program": program, "policy": manifest.policy,
                        "policy_sha256": manifest.policy_sha256, "applied": manifest.applied,
                        "rules": manifest.rules.len(),
                        "accepted": report.accepted, "dropped": report.dropped, "total": report.total,
                    })
                })
                .collect();
            serde_json::to_writer_pretty(
                &mut out,
                &serde_json::json!({ "schema": 1, "interfaces": interfaces, "without_manifest": lost, "without_interface": astray }),
            )?;
            writeln!(out)?;
            return Ok(Outcome::Done);
        }
        if rows.is_empty() && troubles.is_empty() {
            writeln!(out, "no interface is enforced; `portcullis apply POLICY` begins")?;
            return Ok(Outcome::Done);
        }
        if !rows.is_empty() {
            let header =
                ["INTERFACE", "MODE", "XDP", "GENERATION", "RULES", "ACCEPTED", "DROPPED", "BYTES", "POLICY"];
            let mut table = table(&header, &[3, 4, 5, 6, 7]);
            for (_, manifest, report) in &rows {
                let mode = match manifest.mode {
                    Enforcement::Enforce => "enforce",
                    Enforcement::Observe => "observe",
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
        for trouble in troubles {
            writeln!(out, "{trouble}")?;
        }
        Ok(Outcome::Done)
    }
}
