//! `portcullis counters`.

mod archive;

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::{
    Outcome,
    output::json_line,
    table::{bytes, counted, lines, table},
};
use crate::{
    counters::{Count, Outbound, ReasonCount, Report, RuleCount},
    generation::{Known, Roots, known},
    hits::Window,
    policy::Enforcement,
    ruleset::Way,
    terminal,
};

/// Arguments of `counters`.
#[derive(Debug, Args)]
#[command(after_help = "\
When a rule last counted is known as well as the counters are read: by the running agent every ten seconds \
(`agent --sample`), and by each `counters` and `status`. `5-15 s ago` means that a reading 5 seconds ago found \
more packets than the one 15 seconds ago; `before 5 s ago`, that nobody had read them earlier.

A rule that is removed keeps its counter in the kernel until another rule needs it. With --archived, removed \
rules are shown, those first whose counters were given away since.

Exit codes: 0 done, 1 nothing is enforced, or the counters cannot be read.")]
pub(super) struct Counters {
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// What a line stands for
    #[arg(long, value_enum, default_value_t = By::Rule)]
    by: By,
    /// Show rules that have not counted anything, too
    #[arg(long)]
    all: bool,
    /// Show what rules had counted that were removed
    #[arg(long, conflicts_with_all = ["by", "all", "watch"])]
    archived: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Show again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

/// What a line of the table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A documented row or an allow
    Rule,
    /// A role
    Role,
    /// A service of a role
    Service,
    /// A fixed reason to accept or drop
    Reason,
}

impl Counters {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        if self.archived {
            return archive::run(roots, self.interface.as_deref(), self.json);
        }
        let mut out = terminal::out();
        let to_terminal = out.as_is().is_terminal();
        loop {
            let reports = self.reports(roots)?;
            if self.json {
                json_line(&mut out, &self.json_of(&reports))?;
            } else {
                let mut text = Vec::new();
                for report in &reports {
                    self.print(&mut text, report)?;
                }
                if self.watch.is_some() && to_terminal {
                    // Home, and clear what lies below.
                    out.as_is().write_all(b"\x1b[H\x1b[J")?;
                }
                out.write_all(&text)?;
            }
            out.flush()?;
            let abandoned = out.as_is().is_abandoned();
            let Some(seconds) = self.watch.filter(|_| !abandoned) else { return Ok(Outcome::Done) };
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }

    fn reports(&self, roots: &Roots) -> Result<Vec<Report>> {
        let (mut reports, mut troubles, mut enforced) = (Vec::new(), Vec::new(), Vec::new());
        for interface in roots.interfaces()? {
            let known = known(roots, &interface)?;
            let wanted = self.interface.as_ref().is_none_or(|only| *only == interface);
            if let Some(trouble) = known.trouble(&interface).filter(|_| wanted) {
                troubles.push(trouble);
            }
            let Known::Active(manifest) = known else { continue };
            if wanted && let Some(totals) = roots.totals(&manifest)? {
                let hits = roots.note_reading(&manifest, &totals);
                reports.push(Report::new(&manifest, &totals, &hits));
            }
            enforced.push(interface);
        }
        match (&self.interface, reports.is_empty()) {
            (_, false) => {
                for trouble in troubles {
                    complain!("portcullis: {trouble}");
                }
                Ok(reports)
            }
            _ if !troubles.is_empty() => bail!("{}", troubles.join("\n  ")),
            (Some(name), _) if !enforced.is_empty() => {
                bail!("`{name}` is not enforced; enforced: {}", enforced.join(", "))
            }
            _ => bail!("no interface is enforced; `portcullis apply POLICY` begins"),
        }
    }

    /// The reports for programs, with what `--by` sums up.
    fn json_of(&self, reports: &[Report]) -> serde_json::Value {
        let sums = |report: &Report| {
            let mut json = serde_json::json!(report);
            let (key, groups) = match self.by {
                By::Rule => return json,
                By::Role => ("roles", Some(report.sums(|rule| (rule.role.clone(), None)))),
                By::Service => {
                    ("services", Some(report.sums(|rule| (rule.role.clone(), Some(rule.service.clone())))))
                }
                By::Reason => ("", None),
            };
            if let Some(object) = json.as_object_mut() {
                object.remove("rules");
                object.extend(groups.map(|groups| (key.to_owned(), serde_json::json!(groups))));
            }
            json
        };
        let by = match self.by {
            By::Rule => "rule",
            By::Role => "role",
            By::Service => "service",
            By::Reason => "reason",
        };
        serde_json::json!({ "by": by, "interfaces": reports.iter().map(sums).collect::<Vec<_>>() })
    }

    fn print(&self, out: &mut Vec<u8>, report: &Report) -> Result<()> {
        let mode = match report.mode {
            Enforcement::Enforce => "enforce",
            Enforcement::Observe => "observe: drops are only counted",
        };
        writeln!(out, "{} ({mode}, generation {})\n", report.interface, report.generation)?;
        match self.by {
            By::Rule => self.by_rule(out, report)?,
            By::Role => self.by_group(out, report, "ROLE", role)?,
            By::Service => {
                self.by_group(out, report, "SERVICE", |rule| format!("{}: {}", role(rule), rule.service))?;
            }
            By::Reason => {}
        }
        self.reasons(out, report)?;
        writeln!(
            out,
            "total {} packets, {}: {} accepted, {} dropped",
            report.total.packets,
            bytes(report.total.bytes),
            report.accepted.packets,
            report.dropped.packets
        )?;
        if let Some(outbound) = &report.outbound {
            writeln!(out, "{}", leaving(outbound))?;
        }
        writeln!(out)?;
        Ok(())
    }

    fn by_rule(&self, out: &mut Vec<u8>, report: &Report) -> Result<()> {
        let mut table =
            table(&["PACKETS", "BYTES", "LAST HIT", "OPENS", "ROLE", "SERVICE", "DOCUMENT:LINE"], &[0, 1]);
        let (mut silent, mut shown) = (0, 0);
        for rule in &report.rules {
            if rule.count.packets == 0 && (!self.all || rule.retired) {
                silent += usize::from(!rule.retired);
                continue;
            }
            shown += 1;
            let address = rule.address.as_ref().map(|address| format!(" on {address}")).unwrap_or_default();
            let mut place = format!("{}:{}", rule.document, rule.line);
            if rule.retired {
                place.push_str(" (retired)");
            } else if rule.shadowed && rule.count.packets == 0 {
                place.push_str(" (narrower rows count)");
            }
            table.add_row([
                rule.count.packets.to_string(),
                bytes(rule.count.bytes),
                ago(rule.last_hit, now()),
                format!("{}{}{address}", out_of(rule.direction), opens(&rule.opens)),
                role(rule),
                rule.service.clone(),
                place,
            ]);
        }
        if shown > 0 {
            out.extend(lines(&table).into_bytes());
        }
        tell_silent(out, silent, "rule")?;
        writeln!(out)?;
        Ok(())
    }

    fn by_group(
        &self,
        out: &mut Vec<u8>,
        report: &Report,
        header: &str,
        group: impl Fn(&RuleCount) -> String,
    ) -> Result<()> {
        let mut sums: BTreeMap<String, Count> = BTreeMap::new();
        for rule in &report.rules {
            let sum = sums.entry(group(rule)).or_default();
            sum.packets += rule.count.packets;
            sum.bytes += rule.count.bytes;
        }
        let mut table = table(&["PACKETS", "BYTES", header], &[0, 1]);
        let (mut silent, mut shown) = (0, 0);
        for (name, sum) in sums {
            if sum.packets == 0 && !self.all {
                silent += 1;
                continue;
            }
            shown += 1;
            table.add_row([sum.packets.to_string(), bytes(sum.bytes), name]);
        }
        if shown > 0 {
            out.extend(lines(&table).into_bytes());
        }
        tell_silent(out, silent, &header.to_lowercase())?;
        writeln!(out)?;
        Ok(())
    }

    fn reasons(&self, out: &mut Vec<u8>, report: &Report) -> Result<()> {
        let mut table = table(&["PACKETS", "BYTES", "LAST HIT", "VERDICT", "REASON", ""], &[0, 1]);
        let mut shown = 0;
        let applies = |reason: &&ReasonCount| {
            let all = self.all && (reason.direction == Way::Arriving || report.outbound.is_some());
            all || reason.count.packets > 0
        };
        for reason in report.reasons.iter().filter(applies) {
            shown += 1;
            table.add_row([
                reason.count.packets.to_string(),
                bytes(reason.count.bytes),
                ago(reason.last_hit, now()),
                reason.verdict.to_owned(),
                reason.reason.to_owned(),
                reason.text.to_owned(),
            ]);
        }
        if shown > 0 {
            out.extend(lines(&table).into_bytes());
            writeln!(out)?;
        }
        Ok(())
    }
}

/// What stands before openings for packets that leave.
fn out_of(way: Way) -> &'static str {
    match way {
        Way::Arriving => "",
        Way::Leaving => "out ",
    }
}

/// What has left an interface, in one line.
pub(super) fn leaving(outbound: &Outbound) -> String {
    let mode = match outbound.mode {
        Enforcement::Enforce => "",
        Enforcement::Observe => ", drops are only counted",
    };
    format!(
        "leaving {} packets, {}: {} accepted, {} dropped{mode}",
        outbound.total.packets,
        bytes(outbound.total.bytes),
        outbound.accepted.packets,
        outbound.dropped.packets
    )
}

/// Seconds since 1970 UTC.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// How long ago something was counted, as far as that is known: `5-15 s ago`, `before 3 min ago`.
fn ago(window: Option<Window>, now: f64) -> String {
    let Some(Window { after, before }) = window else { return String::new() };
    let unit = |seconds: f64| match seconds {
        ..120.0 => (1.0, "s"),
        ..7200.0 => (60.0, "min"),
        ..172_800.0 => (3600.0, "h"),
        _ => (86_400.0, "days"),
    };
    let since = |time: f64| (now - time).max(0.0);
    let Some(after) = after else {
        let (size, name) = unit(since(before));
        if since(before) < 1.0 {
            // This reading is the first.
            return "before now".to_owned();
        }
        return format!("before {:.0} {name} ago", (since(before) / size).floor());
    };
    let (size, name) = unit(since(after));
    let (least, most) = ((since(before) / size).floor(), (since(after) / size).ceil());
    format!("{least:.0}-{most:.0} {name} ago")
}

/// How many things were left out of a table because they have not counted anything.
fn tell_silent(out: &mut Vec<u8>, silent: usize, thing: &str) -> Result<()> {
    if silent > 0 {
        let (have, them) = if silent == 1 { ("has", "it") } else { ("have", "them") };
        writeln!(out, "{} {have} not counted a packet (--all shows {them})", counted(silent, thing))?;
    }
    Ok(())
}

/// What a rule opens, short enough for a column: `tcp+udp/80,443,5000-5100+3`, where three more ports
/// or ranges are left out.
fn opens(openings: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut by_protocol: Vec<(&str, Vec<&str>)> = Vec::new();
    for opening in openings {
        let (protocol, ports) = opening.split_once('/').unwrap_or((opening, ""));
        match by_protocol.last_mut() {
            Some((last, list)) if *last == protocol => list.push(ports),
            _ => by_protocol.push((protocol, vec![ports])),
        }
    }
    let mut by_ports: Vec<(String, Vec<&str>)> = Vec::new();
    for (protocol, ports) in by_protocol {
        match by_ports.last_mut() {
            Some((protocols, same)) if *same == ports && ports != [""] => {
                protocols.push('+');
                protocols.push_str(protocol);
            }
            _ => by_ports.push((protocol.to_owned(), ports)),
        }
    }
    let told = by_ports.into_iter().map(|(protocols, ports)| match ports.as_slice() {
        [""] => protocols,
        ports if ports.len() <= SHOWN => format!("{protocols}/{}", ports.join(",")),
        ports => format!("{protocols}/{}+{}", ports[..SHOWN].join(","), ports.len() - SHOWN),
    });
    told.collect::<Vec<_>>().join(" ")
}

/// The role that declares a rule, without its system; `policy` for an allow.
fn role(rule: &RuleCount) -> String {
    match &rule.role {
        Some(role) => role.rsplit('/').next().unwrap_or(role).to_owned(),
        None => "(policy)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Window, ago, opens};

    #[test]
    fn how_long_ago_is_told_as_well_as_it_is_known() {
        let window = |after, before| Some(Window { after, before });
        for (window, told) in [
            (None, ""),
            (window(Some(985.5), 995.2), "4-15 s ago"),
            (window(Some(999.0), 1003.0), "0-1 s ago"),
            (window(Some(-200.0), 900.0), "1-20 min ago"),
            (window(None, 999.9), "before now"),
            (window(None, 940.0), "before 60 s ago"),
            (window(None, -100_000.0), "before 28 h ago"),
        ] {
            assert_eq!(ago(window, 1000.0), told, "{window:?}");
        }
    }

    #[test]
    fn what_a_rule_opens_fits_into_a_column() {
        for (openings, told) in [
            (&["tcp/443"][..], "tcp/443"),
            (&["tcp/443", "udp/443"], "tcp+udp/443"),
            (&["tcp/80", "tcp/443", "udp/3478"], "tcp/80,443 udp/3478"),
            (&["udp/1", "udp/2", "udp/3", "udp/4-9", "udp/11"], "udp/1,2,3+2"),
            (&["icmp/8", "icmpv6/128", "ip47", "ip50"], "icmp/8 icmpv6/128 ip47 ip50"),
        ] {
            let openings: Vec<String> = openings.iter().map(ToString::to_string).collect();
            assert_eq!(opens(&openings), told);
        }
    }
}
