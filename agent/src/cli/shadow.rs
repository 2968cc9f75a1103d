//! `portcullis shadow`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Outcome,
    output::json,
    table::{bytes, lines, table},
};
use crate::{
    generation::{Pending, Roots},
    shadow::ShadowReport,
    terminal,
};

/// Arguments of `shadow`.
#[derive(Debug, Args)]
#[command(after_help = "\
`portcullis apply --shadow POLICY` begins a shadow, `portcullis confirm` enforces it, `portcullis \
rollback` ends it. A conversation that a rule admits is counted once for every packet; what answers \
this host's own conversations is accepted either way.

Exit codes: 0 nothing would differ so far, 1 no shadow is there, 3 something would.")]
pub(super) struct Shadow {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Shadow {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let mut reports = Vec::new();
        for manifest in Pending::now(roots)?.manifests {
            let attachment = roots.attachment(&manifest.interface)?;
            let differing = attachment.differences(u32::MAX)?.unwrap_or_default();
            reports.extend(ShadowReport::new(&manifest, &differing));
        }
        if reports.is_empty() {
            bail!("there is no shadow; `portcullis apply --shadow POLICY` begins one");
        }
        let mut out = terminal::out();
        if self.json {
            json(&mut out, &serde_json::json!({ "interfaces": reports }))?;
        } else {
            for report in &reports {
                print(&mut out, report)?;
            }
        }
        let differs = reports.iter().any(|report| !report.differences.is_empty());
        Ok(if differs { Outcome::Found } else { Outcome::Done })
    }
}

fn print(out: &mut impl Write, report: &ShadowReport) -> Result<()> {
    let ShadowReport { interface, shadow, differences, opens, closes, .. } = report;
    writeln!(
        out,
        "{interface}: revision {shadow} would newly accept {} packets and newly drop {}",
        opens.packets, closes.packets
    )?;
    if differences.is_empty() {
        return Ok(());
    }
    let header = ["", "PACKETS", "BYTES", "ROLE", "SERVICE", "DOCUMENT:LINE", "LAST PACKET"];
    let mut table = table(&header, &[1, 2]);
    for difference in differences {
        let role = match &difference.role {
            Some(role) => role.rsplit('/').next().unwrap_or(role),
            None if difference.document.is_empty() => "",
            None => "(policy)",
        };
        let place = match difference.document.as_str() {
            "" => String::new(),
            document => format!("{document}:{}", difference.line),
        };
        table.add_row([
            difference.change.to_owned(),
            difference.count.packets.to_string(),
            bytes(difference.count.bytes),
            role.to_owned(),
            difference.service.clone(),
            place,
            difference.example.clone().unwrap_or_default(),
        ]);
    }
    out.write_all(lines(&table).as_bytes())?;
    Ok(())
}
