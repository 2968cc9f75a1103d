//! The cost of an import: in proportion to the document, whatever it holds.
//!
//! Processor time is compared between two documents, so that neither the machine nor another load on it counts: that of
//! all threads, since large documents are read by several, so that one test waits for the other.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use portcullis::requirement::Import;

/// Processor time of one import: the least of several, which a busy machine disturbs least.
fn cost(content: &str, name: &str) -> Duration {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let now =
        || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("Linux has the clock"));
    let once = |_| {
        let started = now();
        let import = Import::read(content.as_bytes(), name).expect("a document");
        assert!(!import.requirements.is_empty(), "{name} says nothing");
        now() - started
    };
    (0..5).map(once).min().expect("some")
}

/// Tables of 30 rows, of whose cells many come only once.
fn tables(count: usize) -> String {
    let mut text = String::from("# Product\n");
    for table in 0..count {
        let _ = write!(
            text,
            "\n## Section {table}: relay\n\n| Service | Port | Protocol | Notes |\n|---|---|---|---|\n"
        );
        for row in 0..30 {
            let number = table * 30 + row;
            let _ = writeln!(
                text,
                "| service {number} | {} | TCP | Used for request {number} between nodes |",
                1 + number * 7919 % 65_535
            );
        }
    }
    text
}

#[test]
fn a_document_four_times_as_long_costs_about_four_times_as_much() {
    // Fewer texts than are remembered, and many more.
    let (short, long) = (tables(30), tables(120));
    let (once, four) = (cost(&short, "short.md"), cost(&long, "long.md"));
    assert!(four < once * 8, "{once:?} for 900 rows, {four:?} for 3,600");
}

#[test]
fn lists_that_are_never_closed_cost_no_more_than_closed_ones() {
    let items = 300;
    let flat = format!("<ul>{}</ul>", "<li>Node<ul><li>web 443/tcp</ul>".repeat(items));
    let nested = "<ul><li>Node<ul><li>web 443/tcp".repeat(items);
    let (closed, open) = (cost(&flat, "flat.html"), cost(&nested, "nested.html"));
    assert!(open < closed * 8, "{closed:?} for closed lists, {open:?} for open ones");
}

#[test]
fn a_heading_of_any_length_costs_the_same_for_each_of_its_tables() {
    let table = "| Service | Port |\n|---|---|\n| web | 443 |\n\ntext\n\n".repeat(200);
    let below = |words: usize| format!("# {}\n\n{table}", "relay port server ".repeat(words));
    let (short, long) = (cost(&below(60), "short.md"), cost(&below(6_000), "long.md"));
    assert!(long < short * 8, "{short:?} below a short heading, {long:?} below a long one");
}

#[test]
fn a_list_of_blocked_ports_costs_no_more_than_one_of_open_ports() {
    let items: String = (1..10_000).map(|port| format!("- service {port}: TCP {port}\n")).collect();
    let below = |title: &str| format!("# Ports\n\n- web: TCP 443\n\n## {title}\n\n{items}");
    let (open, blocked) =
        (cost(&below("Open ports"), "open.md"), cost(&below("Blocked ports"), "blocked.md"));
    assert!(blocked < open * 2, "{open:?} for open ports, {blocked:?} for blocked ones");
}

#[test]
fn labels_that_come_again_without_ports_cost_in_proportion_to_their_number() {
    let labels = |count: usize| format!("- web: TCP 443\n\n{}", "Port\n\nWeb\n\nx3\n\n".repeat(count));
    let (short, long) = (cost(&labels(100), "short.txt"), cost(&labels(800), "long.txt"));
    assert!(long < short * 16, "{short:?} for 100 labels, {long:?} for eight times as many");
}
