//! `portcullis doctor`.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{Outcome, output::json, table::counted};
use crate::{
    doctor::{Finding, Kind, Link, Ours, diagnose, host, links},
    generation::Roots,
    terminal,
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the kernel, at this process and at the interfaces; nothing is changed without --fix.

Exit codes: 0 nothing to tell, 1 failed (with --fix: something could not be mended), 3 something was found. \
With --fix, what was mended is no longer found.")]
pub(super) struct Doctor {
    /// Interfaces; all but loopback if none is named
    interfaces: Vec<String>,
    /// Mend what can be mended, and say so: leave VLAN tags in packets, do not merge packets in hardware,
    /// compile BPF programs, mount a BPF file system. All but the last go back to what the host's own
    /// configuration says at the next boot
    #[arg(long)]
    fix: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A finding, and whether it was mended.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    /// With `--fix`: whether that mended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed: Option<bool>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Doctor {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let host = host(&roots.bpffs);
        let links = links()?;
        for name in &self.interfaces {
            if !links.iter().any(|link| link.interface == *name) {
                let known: Vec<&str> = links.iter().map(|link| link.interface.as_str()).collect();
                bail!("there is no interface `{name}` here; there are: {}", known.join(", "));
            }
        }
        let asked =
            |name: &str| self.interfaces.is_empty() || self.interfaces.iter().any(|asked| asked == name);
        let here: BTreeMap<String, u32> = links
            .iter()
            .filter_map(|link| {
                let program = roots.attachment(&link.interface).ok()?.program().ok()??;
                Some((link.interface.clone(), program))
            })
            .collect();
        let ours = Ours::among(&links, here);
        let told: Vec<Told> = diagnose(&host, &links, &ours)
            .into_iter()
            .filter(|finding| finding.interface.as_deref().is_none_or(asked))
            .map(|finding| self.mend(finding, roots))
            .collect();
        let shown: Vec<&Link> = links.iter().filter(|link| asked(&link.interface)).collect();

        let mut out = terminal::out();
        if self.json {
            let all = serde_json::json!({ "host": host, "interfaces": shown, "findings": told });
            json(&mut out, &all)?;
        } else {
            let jit = match host.jit {
                Some(true) => "compiled",
                Some(false) => "interpreted",
                None => "compiled or not, which is not told here",
            };
            writeln!(
                out,
                "Linux {}, BPF programs {jit}; memory of BPF is not limited by memlock",
                host.kernel
            )?;
            for link in shown {
                writeln!(out, "{}", line(link, ours.here.contains_key(&link.interface)))?;
            }
            for Told { finding, fixed, error } in &told {
                let Finding { interface, severity, message, advice, .. } = finding;
                let place = interface.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
                writeln!(out, "\n{place}{severity}: {message}")?;
                match (fixed, error) {
                    (Some(true), _) => writeln!(out, "  mended: {advice}")?,
                    (_, Some(error)) => writeln!(out, "  cannot be mended here ({error}): {advice}")?,
                    _ => writeln!(out, "  {advice}")?,
                }
            }
            let mended = told.iter().filter(|told| told.fixed == Some(true)).count();
            let left = counted(told.len() - mended, "finding");
            writeln!(
                out,
                "\n{left}{}",
                if mended > 0 { format!(", {mended} mended") } else { String::new() }
            )?;
        }
        Ok(if told.iter().any(|told| told.error.is_some()) {
            Outcome::Failed
        } else if told.iter().all(|told| told.fixed == Some(true)) {
            Outcome::Done
        } else {
            Outcome::Found
        })
    }

    fn mend(&self, finding: Finding, roots: &Roots) -> Told {
        if !self.fix || finding.remedy.is_none() {
            return Told { finding, fixed: None, error: None };
        }
        let outcome = finding.mend(&roots.bpffs);
        let error = outcome.err().map(|error| error.to_string());
        Told { finding, fixed: Some(error.is_none()), error }
    }
}

/// What an interface is, in one line.
fn line(link: &Link, enforced: bool) -> String {
    let kind = match link.kind {
        Kind::Device => link.driver.clone().unwrap_or_else(|| "device".to_owned()),
        Kind::Bond => "bond".to_owned(),
        Kind::Bridge => "bridge".to_owned(),
        Kind::Vlan => "VLAN".to_owned(),
    };
    let native = match (link.native, link.multi_buffer) {
        (Some(true), Some(true)) => "native XDP, also of several buffers",
        (Some(true), _) => "native XDP",
        (Some(false), _) => "generic XDP",
        (None, _) => "native XDP not told",
    };
    let enforced = if enforced { ", enforced" } else { "" };
    format!("{}: {kind}, MTU {}, {native}{enforced}", link.interface, link.mtu)
}
