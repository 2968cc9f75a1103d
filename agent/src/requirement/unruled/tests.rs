//! Tables out of lines: what whole documents of the shapes give.

use crate::requirement::import::Import;

/// `line protocols ports service` of each requirement, and `line !` of each diagnostic.
fn read(text: &str) -> Vec<String> {
    let import = Import::read(text.as_bytes(), "ports.txt").expect("a document");
    let rows = import.requirements.iter().map(|row| {
        let protocols: Vec<String> = row.protocols.iter().map(ToString::to_string).collect();
        let ports: Vec<String> = row.ports.iter().map(ToString::to_string).collect();
        let service = [&row.service, row.notes.first().unwrap_or(&row.service)];
        let service = if row.service.is_empty() { service[1] } else { service[0] };
        format!("{} {}/{} {service}", row.line, protocols.join("+"), ports.join(",")).trim().to_owned()
    });
    rows.chain(import.diagnostics.iter().map(|told| format!("{} !", told.line))).collect()
}

/// The lines, with a blank one behind each.
fn spaced(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n\n")).collect()
}

#[test]
fn the_body_tells_how_many_columns_a_stack_has() {
    let lines =
        ["Port", "Protocol", "Foo bar", "Purpose", "22", "TCP", "x", "Shell", "443", "TCP", "y", "Web"];
    assert_eq!(read(&spaced(&lines)), ["9 tcp/22 Shell", "17 tcp/443 Web"]);
    assert_eq!(read(&lines.join("\n")), ["5 tcp/22 Shell", "9 tcp/443 Web"]);
    // The first name is unknown.
    let lines =
        ["Quux", "Port", "Protocol", "Purpose", "alpha", "22", "TCP", "Shell", "beta", "443", "TCP", "Web"];
    assert_eq!(read(&spaced(&lines)), ["9 tcp/22 Shell", "17 tcp/443 Web"]);
    // What stands above the table is no name.
    let lines = ["Gizmo", "Port", "Protocol", "Purpose", "22", "TCP", "Shell", "443", "TCP", "Web"];
    assert_eq!(read(&lines.join("\n")), ["5 tcp/22 Shell", "8 tcp/443 Web"]);
}

#[test]
fn prose_is_no_stack() {
    let once = ["Port", "Quux", "Foo bar", "22", "harbour", "x"];
    assert_eq!(read(&spaced(&once)), Vec::<String>::new());
    let apart = ["Port", "Quux", "Foo", "22", "a", "b", "c", "23", "d", "e"];
    assert_eq!(read(&spaced(&apart)), Vec::<String>::new());
}

#[test]
fn lists_and_notes_belong_to_the_cell_above() {
    let text = "Port\n\nProtocol\n\nPurpose\n\n22\n\nTCP\n\nFor:\n\n  \u{2022} logs.\n\n  \u{2022} files.\n\n\
        2856\n(note 1)\n\nTCP\n\nCopies\n\n443\n\nTCP\n\nWeb\n";
    assert_eq!(read(text), ["7 tcp/22 For: logs. files.", "17 tcp/2856 Copies", "24 tcp/443 Web"]);
    let text = "Port\nProtocol\nPurpose\n22\nTCP\nFor:\n  \u{2022} logs.\n  \u{2022} files.\n2856\n(note 1)\nTCP\nCopies\n443\nTCP\nWeb\n";
    assert_eq!(read(text), ["4 tcp/22 For: logs. files.", "9 tcp/2856 Copies", "13 tcp/443 Web"]);
}

#[test]
fn rows_with_too_few_or_too_many_cells_end_no_table() {
    let names = ["Port", "Protocol", "Purpose", "Description"];
    let short = ["22", "TCP", "Shell", "80", "TCP", "Web", "plain", "443", "TCP", "Web", "safe"];
    let rows = read(&spaced(&[&names[..], &short[..]].concat()));
    assert_eq!(rows, ["9 tcp/22 Shell", "15 tcp/80 Web", "23 tcp/443 Web"]);
    let long =
        ["22", "TCP", "Shell", "one", "two", "three", "80", "TCP", "Web", "plain", "443", "TCP", "Web"];
    let rows = read(&spaced(&[&names[..], &long[..]].concat()));
    assert_eq!(rows, ["9 tcp/22 Shell", "21 tcp/80 Web", "29 tcp/443 Web"]);
}

#[test]
fn ports_behind_the_end_of_a_stack_are_told() {
    let far = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let lines = [&["Port", "Protocol", "22", "TCP"], &far[..], &["443", "TCP", "k"]].concat();
    assert_eq!(read(&spaced(&lines)), ["5 tcp/22", "29 !"]);
}

#[test]
fn the_names_of_a_stack_may_be_broken_or_on_one_line() {
    let text = "\u{901a}\u{4fe1}\u{5143}\n\n\u{5f85}\u{53d7}\n\u{30dd}\u{30fc}\u{30c8}\n\n\u{30d7}\u{30ed}\u{30c8}\u{30b3}\u{30eb}\n\nA\n\n80\n\nTCP\n\nB\n\n443\n\nTCP\n";
    assert_eq!(read(text), ["8 tcp/80", "14 tcp/443"]);
    let text = format!(
        "Some path Required ports Foo bar\n\n{}",
        spaced(&["a b", "25/TCP", "x", "c d", "26/TCP", "y"])
    );
    assert_eq!(read(&text), ["3 tcp/25 a b", "9 tcp/26 c d"]);
}

#[test]
fn words_that_several_columns_could_share_are_reported() {
    let text = "Source Destination Protocol Port\nold harbour crane hall TCP 443\nCabin Hub UDP 500\n";
    assert_eq!(read(text), ["2 tcp/443 old harbour crane hall", "3 udp/500", "2 !"]);
}

#[test]
fn a_line_that_is_no_row_goes_on_with_the_row_above_or_is_reported() {
    let header = "Service Protocol Port Note\n";
    let goes_on = format!("{header}Web TCP 443 pages of all\nkinds since 2019\nMail TCP 25 letters\n");
    assert_eq!(read(&goes_on), ["2 tcp/443 Web", "4 tcp/25 Mail"]);
    let listed = format!("{header}Web TCP 443,\n8443 pages\nMail TCP 25 letters\n");
    assert_eq!(read(&listed), ["2 tcp/443,8443 Web", "4 tcp/25 Mail"]);
    let bare = format!("{header}Web TCP 443 pages\nPage 24\nMail TCP 25 letters\n");
    assert_eq!(read(&bare), ["2 tcp/443 Web", "4 tcp/25 Mail", "3 !"]);
}

#[test]
fn unknown_names_of_columns_are_proven_by_the_lines_below() {
    let rows = "Web TCP 443 x\nMail TCP 25 y\n";
    assert_eq!(read(&format!("Quux Protocol Port Plugh\n{rows}")), ["2 tcp/443 Web", "3 tcp/25 Mail"]);
    let prose = "Quux protocol port plugh\nWe like it.\nYou do not.\n";
    assert_eq!(read(prose), Vec::<String>::new());
}

#[test]
fn labels_and_values_in_turn_are_records() {
    let text = "Intro\nPort\n443\nProtocol\nTCP\nService\nWeb\nPort\n25\nProtocol\nTCP\nService\nMail\n";
    assert_eq!(read(text), ["2 tcp/443 Web", "8 tcp/25 Mail"]);
    // A blank value, and the next table.
    let text = "Port\n443\nProtocol\nTCP\nService\nPort\n25\nProtocol\nTCP\nService\nMail\n\nOther\n\nPort\n53\nProtocol\nUDP\nPort\n123\nProtocol\nUDP\n";
    let rows = read(text);
    assert_eq!(rows, ["1 tcp/443", "6 tcp/25 Mail", "15 udp/53", "19 udp/123"]);
    // Once is no record.
    assert_eq!(read("Port\n443\nProtocol\nTCP\n"), Vec::<String>::new());
}
