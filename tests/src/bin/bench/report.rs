//! Figures -> one table, and JSON.

use serde::Serialize;

use crate::{flood::Rate, measure::Entry};

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    /// Costs of a packet.
    pub(crate) rows: &'a [Row],
    /// Floods over veth.
    pub(crate) floods: &'a [Rate],
}

/// What a packet costs.
#[derive(Serialize)]
pub(crate) struct Row {
    program: &'static str,
    case: String,
    rules: usize,
    /// Nanoseconds a packet.
    ns: f64,
    /// The same less that of the program that does nothing.
    above_noop_ns: f64,
    /// The same divided by that.
    ratio: f64,
}

pub(crate) fn rows(entries: &[Entry], best: &[f64]) -> Vec<Row> {
    let rows = entries.iter().zip(best).map(|(entry, &ns)| {
        let floor = best[entry.floor];
        Row {
            program: entry.program,
            case: entry.case.clone(),
            rules: entry.rules,
            ns,
            above_noop_ns: ns - floor,
            ratio: ns / floor,
        }
    });
    rows.collect()
}

pub(crate) fn print_nanoseconds(rows: &[Row]) {
    println!(
        "{:<11} {:<44} {:>6} {:>8} {:>10} {:>6}",
        "program", "case", "rules", "ns", "above noop", "ratio"
    );
    for Row { program, case, rules, ns, above_noop_ns, ratio } in rows {
        println!("{program:<11} {case:<44} {rules:>6} {ns:>8.2} {above_noop_ns:>10.2} {ratio:>6.2}");
    }
}

pub(crate) fn print_floods(floods: &[Rate]) {
    if floods.is_empty() {
        return;
    }
    println!("\n{:<11} {:<44} {:>6} {:>8} {:>10}", "program", "flood over veth", "rules", "Mpps", "of noop");
    for Rate { program, case, rules, packets_per_second, of_noop } in floods {
        let millions = packets_per_second / 1e6;
        println!("{program:<11} {case:<44} {rules:>6} {millions:>8.3} {of_noop:>10.3}");
    }
}
