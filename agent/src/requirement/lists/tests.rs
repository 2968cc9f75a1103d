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
        ("Relay: 8514 (RFC 6587)", "/8514 Relay"),
        ("Status page: 8081", "/8081 Status page"),
        ("Release: 8443/tcp", "tcp/8443 Release"),
        ("Poller v3: 8161/udp", "udp/8161 Poller v3"),
        ("Poller (version 3): 8161/udp", "udp/8161 Poller (version 3)"),
        ("64 KB, 8161/udp", "udp/8161 64 KB"),
    ] {
        assert_eq!(item("Required ports", text), expected, "{text}");
    }
}

#[test]
fn protocols_in_parentheses_are_those_of_the_ports_outside() {
    for (text, expected) in [
        ("8102 Panel (TCP)", "tcp/8102 Panel"),
        ("8101 (UDP) Panel", "udp/8101 Panel"),
        ("8103 Night desk [TCP]", "tcp/8103 Night desk"),
        ("[UDP] 8104 Night desk", "udp/8104 Night desk"),
        ("Night desk (TCP/UDP): 8105", "tcp+udp/8105 Night desk"),
        ("8106 - Night desk （TCP）", "tcp/8106 Night desk"),
        ("5062 SIP [UDP,TCP]", "udp+tcp/5062 SIP"),
        ("8107 Panel (ESP)", "/8107 Panel"),
    ] {
        assert_eq!(item("Ports", text), expected, "{text}");
    }
}

#[test]
fn an_item_with_a_number_is_no_term_of_the_next() {
    let found = items("Devices", &["8110 Night desk (TCP, old)", "TCP 8111", "Morning desk", "TCP 8112"]);
    assert_eq!(found, ["!", "tcp/8111 ", "", "tcp/8112 Morning desk"]);
}

#[test]
fn an_item_can_enumerate_its_ports() {
    for (text, expected) in [
        ("FTP: 21 for orders, 20 for parcels", "tcp/21,20 FTP"),
        ("TCP 8121 for orders and 8120 for parcels", "tcp/8121,8120 for orders and 8120 for parcels"),
        ("8130 – orders, 4 desks", "/8130 orders, 4 desks !"),
    ] {
        assert_eq!(item("Ports", text), expected, "{text}");
    }
}

#[test]
fn what_stands_before_a_colon_is_the_service() {
    for (text, expected) in [
        ("Syslog: 514 (RFC 3164)", "Syslog"),
        ("HTTP: 80 (version 11)", "HTTP"),
        ("Desk: 8140 (version 11)", "Desk"),
        ("21 FTP [TCP]", "FTP"),
    ] {
        assert_eq!(item("Ports", text).split_once(' ').map(|(_, name)| name), Some(expected), "{text}");
    }
}

#[test]
fn a_full_sentence_announces_the_ports_below_it() {
    let read = |sentence: &str| {
        let text = format!("Handbook 7\n\nIntroduction to all. {sentence}\n\n- 8151 - for desks\n");
        let import = Import::read(text.as_bytes(), "list.md").expect("a document");
        import.requirements.iter().flat_map(|found| &found.ports).map(ToString::to_string).collect::<Vec<_>>()
    };
    for sentence in [
        "The usual ports are listed below.",
        "Die Ports sind nachstehend aufgeführt.",
        "Les ports suivants sont nécessaires.",
        "Se utilizan los puertos siguientes.",
        "São usadas as seguintes portas.",
        "Sono necessarie le porte seguenti.",
        "Порты перечислены ниже.",
        "使用するポートは以下のとおりです。",
        "使用的端口如下。",
    ] {
        assert_eq!(read(sentence), ["8151"], "{sentence}");
    }
    for sentence in
        ["The desks are listed below.", "Ports are explained elsewhere.", "The following ports are blocked."]
    {
        assert!(read(sentence).is_empty(), "{sentence}");
    }
}
