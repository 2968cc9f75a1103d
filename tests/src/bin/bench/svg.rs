//! Rows -> a picture: one bar a row, on a logarithmic scale of nanoseconds above the program that does
//! nothing, with a mark where the budget is.

use std::fmt::Write as _;

use crate::report::Row;

/// Pixels.
const BAR: usize = 14;
const NAMES: f64 = 430.0;
const SCALE: f64 = 560.0;
const MARGIN: f64 = 70.0;
const TOP: usize = 40;
/// Nanoseconds at both ends of the scale.
const LEAST: f64 = 0.1;
const MOST: f64 = 1_000.0;

/// The picture, with the figures of each case together.
pub(crate) fn draw(rows: &[Row]) -> String {
    let mut shown: Vec<&Row> = rows.iter().filter(|row| row.program != "noop").collect();
    // Stable: programs and numbers of rules stay in their order.
    shown.sort_by_key(|row| rows.iter().position(|other| other.case == row.case));
    let height = TOP + shown.len() * BAR + BAR;
    let width = NAMES + SCALE + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"4\" y=\"14\">nanoseconds a packet above a program that does nothing; \
         red: above the budget; line: budget</text>\n"
    );
    let mut tick = LEAST;
    while tick <= MOST {
        let x = position(tick);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            TOP - 6
        );
        tick = if tick < 1.0 { 1.0 } else { tick * 10.0 };
    }
    for (n, row) in shown.into_iter().enumerate() {
        bar(&mut text, TOP + n * BAR, row);
    }
    text.push_str("</svg>\n");
    text
}

fn bar(text: &mut String, top: usize, row: &Row) {
    let Row { program, case, rules, above_noop_ns: ns, budget_ns, .. } = row;
    let colour = match budget_ns {
        Some(budget) if ns > budget => "#c0392b",
        _ if *program == "portcullis" => "#2e6fa7",
        _ => "#999999",
    };
    let (height, baseline, end) = (BAR - 3, top + BAR - 4, position(*ns));
    let _ = writeln!(
        text,
        "<text x=\"4\" y=\"{baseline}\">{} ({program}, {rules} rules)</text>\
         <rect x=\"{NAMES}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{baseline}\">{ns:.1}</text>",
        escaped(case),
        end - NAMES,
        end + 4.0
    );
    if let Some(x) = budget_ns.map(position) {
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{}\" stroke=\"black\"/>",
            top + height
        );
    }
}

/// Where a number of nanoseconds stands.
fn position(ns: f64) -> f64 {
    NAMES + SCALE * (ns.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
