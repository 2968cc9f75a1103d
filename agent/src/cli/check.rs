//! `portcullis check`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    Outcome,
    output::{complaints, json},
    policy::{self, Source},
    table::counted,
};
use crate::{
    datapath::LinkType,
    findings::{Finding, Severity, findings, of_host, unjudged},
    host::{Groups, Paths},
    problem::Complaint,
    terminal::{self, shown},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every file is checked, also after one that is not valid. `-` is standard input.

Exit codes: 0 nothing to report, 2 a policy cannot be read or is not valid, 3 all are valid and there is \
something to know (with --fail-on warning: something to be warned of).")]
pub(super) struct Check {
    /// Policy files
    #[arg(value_name = "POLICY", default_value = policy::DEFAULT)]
    policies: Vec<PathBuf>,
    /// What makes the exit code 3
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Note)]
    fail_on: FailOn,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What is worth an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Warnings alone
    Warning,
    /// Warnings and notes
    Note,
}

/// A policy that was checked.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    /// How many interfaces it names.
    interfaces: usize,
    #[serde(skip)]
    told: Result<Vec<Finding>, Vec<Complaint>>,
}

/// A finding with the file that it is about.
#[derive(Serialize)]
struct InFile<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl Check {
    pub(super) fn run(self) -> Result<Outcome> {
        if self.policies.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            bail!("standard input can be read once: name `-` once");
        }
        let all = self.policies.iter().map(|path| check(path)).collect::<Result<Vec<Checked>>>()?;
        let mut out = terminal::out();
        if self.json {
            let errors: Vec<&Complaint> =
                all.iter().filter_map(|one| one.told.as_ref().err()).flatten().collect();
            let findings: Vec<InFile<'_>> = all.iter().flat_map(Checked::findings).collect();
            json(&mut out, &serde_json::json!({ "policies": all, "errors": errors, "findings": findings }))?;
        } else {
            for one in &all {
                one.print(&mut out, all.len() > 1)?;
            }
        }
        let counts = |finding: InFile<'_>| {
            self.fail_on == FailOn::Note || finding.finding.severity == Severity::Warning
        };
        Ok(if all.iter().any(|one| !one.valid) {
            Outcome::BadInput
        } else if all.iter().flat_map(Checked::findings).any(counts) {
            Outcome::Found
        } else {
            Outcome::Done
        })
    }
}

fn check(path: &Path) -> Result<Checked> {
    let file = policy::name(path);
    let (interfaces, told) = match policy::read(path, policy::Reading::Anything) {
        Ok(Source { policy, catalog, .. }) => {
            let mut found = findings(&policy, &catalog)?;
            found.extend(of_host(&policy, &catalog, &groups()));
            // Where the kernel does not tell, nothing is known of this host.
            found.extend(LinkType::of_all().map(|here| unjudged(&policy, &here)).unwrap_or_default());
            (policy.interfaces.len(), Ok(found))
        }
        Err(error) => (0, Err(complaints(&error))),
    };
    Ok(Checked { file, valid: told.is_ok(), interfaces, told })
}

/// The groups that this host has joined; none where it cannot be asked, as where policies are only written.
fn groups() -> Groups {
    let seen = Paths::new().and_then(|paths| Groups::now(&paths));
    seen.inspect_err(|error| log::debug!("{error}")).unwrap_or_default()
}

impl Checked {
    fn findings(&self) -> impl Iterator<Item = InFile<'_>> {
        let found = self.told.as_deref().unwrap_or_default();
        found.iter().map(|finding| InFile { file: &self.file, finding })
    }

    fn print(&self, out: &mut impl Write, among_others: bool) -> Result<()> {
        let found = match &self.told {
            Ok(found) => found,
            Err(complaints) => {
                complaints.iter().for_each(|complaint| complain!("{complaint}"));
                return Ok(());
            }
        };
        for Finding { place, severity, interface, message, .. } in found {
            let (file, message) = (shown(&self.file), shown(message));
            writeln!(out, "{file}:{}:{}: {severity}: {interface}: {message}", place.line, place.column)?;
        }
        let warnings = found.iter().filter(|finding| finding.severity == Severity::Warning).count();
        let file = if among_others { format!("{}: ", shown(&self.file)) } else { String::new() };
        writeln!(
            out,
            "{file}valid: {}, {}, {}",
            counted(self.interfaces, "interface"),
            counted(warnings, "warning"),
            counted(found.len() - warnings, "note")
        )?;
        Ok(())
    }
}
