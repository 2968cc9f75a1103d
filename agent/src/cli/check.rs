//! `portcullis check`.

use std::{io::Write as _, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::{Outcome, policy, table::counted};
use crate::{
    findings::{Severity, findings},
    terminal::{self, shown},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing to report, 2 the policy cannot be read or is not valid, 3 it is valid and there is something to know."
)]
pub(super) struct Check {
    /// Policy file
    policy: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<Outcome> {
        let Some(source) = policy::read(&self.policy, policy::Reading::Anything) else {
            return Ok(Outcome::BadInput);
        };
        let found = findings(&source.policy, &source.catalog)?;
        let mut out = terminal::out();
        if self.json {
            serde_json::to_writer_pretty(
                out.as_is(),
                &serde_json::json!({ "schema": 1, "findings": found }),
            )?;
            writeln!(out)?;
        } else {
            for finding in &found {
                let place = finding.place;
                writeln!(
                    out,
                    "{}:{}:{}: {}: {}: {}",
                    shown(&source.policy.file),
                    place.line,
                    place.column,
                    finding.severity,
                    finding.interface,
                    shown(&finding.message)
                )?;
            }
            let warnings = found.iter().filter(|finding| finding.severity == Severity::Warning).count();
            writeln!(
                out,
                "valid: {}, {}, {}",
                counted(source.policy.interfaces.len(), "interface"),
                counted(warnings, "warning"),
                counted(found.len() - warnings, "note")
            )?;
        }
        Ok(if found.is_empty() { Outcome::Done } else { Outcome::Found })
    }
}
