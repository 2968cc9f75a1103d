//! Lists as vendors write them, and what each item gives.

use crate::requirement::Import;

/// `tcp/443 Console`, or `!` for a report: one line an item, below `head`.
fn items(head: &str, items: &[&str]) -> Vec<String> {
    let list: String = items.iter().map(|item| format!("- {item}\n")).collect();
    let import = Import::read(format!("# {head}\n\n{list}").as_bytes(), "list.md").expect("a document");
    (3..)
        .take(items.len())
        .map(|line| {
            let mut shown: Vec<String> = vec![];
            for requirement in import.requirements.iter().filter(|requirement| requirement.line == line) {
                let protocols = requirement.protocols.iter().map(ToString::to_string).collect::<Vec<_>>();
                let ports = requirement.ports.iter().map(ToString::to_string).collect::<Vec<_>>();
                shown.push(format!("{}/{} {}", protocols.join("+"), ports.join(","), requirement.service));
            }
            let reports = import.diagnostics.iter().filter(|diagnostic| diagnostic.line == line);
            shown.extend(reports.map(|_| "!".to_owned()));
            shown.join(" ")
        })
        .collect()
}

/// The same of one item.
fn item(head: &str, text: &str) -> String {
    items(head, &[text]).remove(0)
}

#[test]
fn numbers_of_documents_and_versions_are_no_ports() {
    for text in [
        "ECHO: port (RFC 862)",
        "Logging (RFC 3164)",
        "Directory: see KB 4041",
        "Version: 2022",
        "Console (since 2021)",
        "Console: siehe Kapitel 12",
        "Журнал (версия 2023)",
        "監視 バージョン 2022",
        "Console – see page 44",
    ] {
        assert_eq!(item("Required ports", text), "!", "{text}");
    }
    for (text, expected) in [
        ("Relay: TCP 8514 (RFC 6587)", "tcp/8514 Relay"),
        ("Status page: 8081", "/8081 Status page"),
        ("Release: 8443/tcp", "tcp/8443 Release"),
        ("Poller v3: 8161/udp", "udp/8161 Poller v3"),
        ("Poller (version 3): 8161/udp", "udp/8161 Poller (version 3)"),
        ("64 KB, 8161/udp", "udp/8161 64 KB"),
    ] {
        assert_eq!(item("Required ports", text), expected, "{text}");
    }
}
