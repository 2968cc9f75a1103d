//! `portcullis counters --archived`: what rules had counted that the policy does not have any more.

use std::io::Write as _;

use anyhow::{Result, bail};

use super::{Outcome, ago, bytes, json_line, lines, now, opens, role, table};
use crate::{
    counters::{Report, RuleCount},
    generation::{Archived, Known, Roots, known},
    terminal,
};

/// A rule that was removed; its counter was given away at that time, or still stands.
struct Removed {
    rule: RuleCount,
    archived: Option<u64>,
}

pub(super) fn run(roots: &Roots, only: Option<&str>, json: bool) -> Result<Outcome> {
    let mut names = roots.archives()?;
    names.extend(roots.interfaces()?);
    names.sort_unstable();
    names.dedup();
    if let Some(only) = only {
        if !names.iter().any(|name| name == only) {
            bail!("`{only}` is not enforced, and nothing is archived of it");
        }
        names.retain(|name| name == only);
    }
    let mut all = Vec::new();
    for interface in names {
        let removed = removed(roots, &interface)?;
        if !removed.is_empty() {
            all.push((interface, removed));
        }
    }
    let mut out = terminal::out();
    if json {
        let interfaces: Vec<_> = all
            .iter()
            .map(|(interface, removed)| {
                let rules: Vec<_> = removed
                    .iter()
                    .map(|Removed { rule, archived }| {
                        let mut rule = serde_json::json!(rule);
                        rule["archived"] = serde_json::json!(archived);
                        rule
                    })
                    .collect();
                serde_json::json!({ "interface": interface, "rules": rules })
            })
            .collect();
        json_line(&mut out, &serde_json::json!({ "interfaces": interfaces }))?;
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        writeln!(out, "no removed rule has counted anything")?;
    }
    for (interface, removed) in &all {
        let header = ["PACKETS", "BYTES", "LAST HIT", "OPENS", "ROLE", "SERVICE", "DOCUMENT:LINE", "COUNTER"];
        let mut table = table(&header, &[0, 1]);
        for Removed { rule, archived } in removed {
            table.add_row([
                rule.count.packets.to_string(),
                bytes(rule.count.bytes),
                ago(rule.last_hit, now()),
                opens(&rule.opens),
                role(rule),
                rule.service.clone(),
                format!("{}:{}", rule.document, rule.line),
                if archived.is_some() { "archived" } else { "stands" }.to_owned(),
            ]);
        }
        writeln!(out, "{interface}, removed rules\n")?;
        out.write_all(lines(&table).as_bytes())?;
        writeln!(out)?;
    }
    Ok(Outcome::Done)
}

/// The archive of an interface, then the rules whose counters still stand.
fn removed(roots: &Roots, interface: &str) -> Result<Vec<Removed>> {
    let archived = roots.archived(interface)?.into_iter();
    let mut removed: Vec<Removed> =
        archived.map(|Archived { rule, archived, .. }| Removed { rule, archived: Some(archived) }).collect();
    if let Known::Active(manifest) = known(roots, interface)?
        && let Some(totals) = roots.totals(&manifest)?
    {
        let report = Report::new(&manifest, &totals, &roots.note_reading(&manifest, &totals));
        let stands = report.rules.into_iter().filter(|rule| rule.retired && rule.count.packets > 0);
        removed.extend(stands.map(|rule| Removed { rule, archived: None }));
    }
    Ok(removed)
}
