//! Figures -> tables, and what JSON is made of.

use serde::Serialize;

use crate::{
    against::Comparison,
    change::{Change, Memory},
    flood::Rate,
    measure::Entry,
    stage::Verified,
};

/// Instructions that the verifier is willing to follow (`BPF_COMPLEXITY_LIMIT_INSNS`).
const VERIFIER_LIMIT: u32 = 1_000_000;

/// Everything that was measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    /// Costs of a packet.
    pub(crate) rows: Vec<Row>,
    /// Floods over veth.
    pub(crate) floods: Vec<Rate>,
    /// Changes of policy.
    pub(crate) changes: Vec<Change>,
    /// Memory of maps.
    pub(crate) memory: Vec<Memory>,
    /// Instructions that the verifier followed.
    pub(crate) verified: Vec<Verified>,
    /// What could not be compared, and why.
    pub(crate) missing: Vec<String>,
    /// What packets cost more than with an earlier object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<Comparison>,
}

/// What a packet costs.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) program: &'static str,
    pub(crate) case: String,
    pub(crate) rules: usize,
    /// Nanoseconds a packet.
    pub(crate) ns: f64,
    /// The same less that of the program that does nothing.
    pub(crate) above_noop_ns: f64,
    /// The same divided by that.
    pub(crate) ratio: f64,
    /// What `above_noop_ns` may be.
    pub(crate) budget_ns: Option<f64>,
}

pub(crate) fn rows(entries: &[Entry], best: &[f64]) -> Vec<Row> {
    let rows = entries.iter().zip(best).map(|(entry, &ns)| {
        let floor = best[entry.floor];
        Row {
            program: entry.label.program,
            case: entry.label.case.clone(),
            rules: entry.label.rules,
            ns,
            above_noop_ns: ns - floor,
            ratio: ns / floor,
            budget_ns: entry.label.budget,
        }
    });
    rows.collect()
}

/// A budget, and whether the figure keeps it.
fn judged(budget: Option<f64>, kept: bool) -> String {
    budget.map_or_else(String::new, |budget| format!("{budget:>8}{}", if kept { "" } else { "  missed" }))
}

pub(crate) fn print_rows(report: &Report) {
    let Report { rows, verified, missing, .. } = report;
    println!(
        "{:<11} {:<40} {:>6} {:>8} {:>10} {:>6} {:>8}",
        "program", "case", "rules", "ns", "above noop", "ratio", "budget"
    );
    for Row { program, case, rules, ns, above_noop_ns, ratio, budget_ns } in rows {
        let judged = judged(*budget_ns, budget_ns.is_none_or(|budget| *above_noop_ns <= budget));
        println!("{program:<11} {case:<40} {rules:>6} {ns:>8.2} {above_noop_ns:>10.2} {ratio:>6.2} {judged}");
    }
    for reason in missing {
        println!("not compared: {reason}");
    }
    let over = |row: &Row| row.budget_ns.is_some_and(|budget| row.above_noop_ns > budget);
    let of = rows.iter().filter(|row| row.budget_ns.is_some()).count();
    println!("{} of {of} budgets missed", rows.iter().filter(|row| over(row)).count());
    if let Some((case, more)) = cost_of_many(rows) {
        println!(
            "10,000 rules cost at most {more:.2} ns more than one ({case}); nothing but noise is allowed"
        );
    }
    for Verified { program, rules, instructions } in verified {
        println!(
            "the verifier followed {instructions} of {VERIFIER_LIMIT} instructions in {program} ({rules})"
        );
    }
}

/// The case of ours in which many rules cost most above one, and by how much.
fn cost_of_many(rows: &[Row]) -> Option<(&str, f64)> {
    let ours =
        |rules: usize| rows.iter().filter(move |row| row.program == "portcullis" && row.rules == rules);
    let pairs = ours(1).filter_map(|one| {
        let many = ours(10_000).find(|many| many.case == one.case)?;
        Some((one.case.as_str(), many.above_noop_ns - one.above_noop_ns))
    });
    pairs.max_by(|one, other| one.1.total_cmp(&other.1))
}

pub(crate) fn print_floods(floods: &[Rate]) {
    println!(
        "\n{:<11} {:<40} {:>6} {:>8} {:>10} {:>15}",
        "program", "flood over veth", "rules", "Mpps", "of noop", "budget"
    );
    for Rate { program, case, rules, packets_per_second, of_noop, budget } in floods {
        let millions = packets_per_second / 1e6;
        let judged = judged(*budget, budget.is_none_or(|budget| *of_noop >= budget));
        println!("{program:<11} {case:<40} {rules:>6} {millions:>8.3} {of_noop:>10.4} {:>6} {judged}", "");
    }
}

pub(crate) fn print_changes(report: &Report) {
    println!(
        "\n{:<43} {:>6} {:>8} {:>8} {:>10} {:>15}",
        "change", "rules", "min ms", "p50 ms", "max ms", "budget"
    );
    for Change { what, rules, min_ms, p50_ms, max_ms, budget_ms, phases } in &report.changes {
        let judged = judged(*budget_ms, budget_ms.is_none_or(|budget| *p50_ms <= budget));
        println!("{what:<43} {rules:>6} {min_ms:>8.1} {p50_ms:>8.1} {max_ms:>10.1} {:>6} {judged}", "");
        for (phase, p50_ms) in phases {
            println!("  {phase:<41} {:>6} {:>8} {p50_ms:>8.1}", "", "");
        }
    }
    println!("\n{:<52} {:>6} {:>8}", "memory", "rules", "KiB");
    for Memory { rules, bytes } in &report.memory {
        println!(
            "{:<52} {rules:>6} {:>8}",
            "maps of a generation, counters and flows included",
            bytes.div_ceil(1024)
        );
    }
}
