//! Cells: the language of ports, by one row whose port and protocol cells are made up.

use portcullis::requirement::{Import, Ports, Protocol, Requirement};

use crate::cost::bounded;
use crate::document::holds;

/// A protocol cell, `|`, a port cell; what is read, written plainly, reads the same.
pub fn cell(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (protocol, ports) = text.split_once('|').unwrap_or(("TCP", text));
    let table = table(protocol, ports);
    let Ok(import) = bounded(table.len(), || Import::read(&table, "cell.csv")) else { return };
    let last =
        u32::try_from(table.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count()).expect("short");
    holds(&import, last + 1);
    let row = |import: &Import| -> Vec<Requirement> {
        import.requirements.iter().filter(|it| it.line == 2).cloned().collect()
    };
    for requirement in row(&import) {
        let Some((protocol, ports)) = plain(&requirement) else { continue };
        let again = Import::read(&self::table(&protocol, &ports), "cell.csv").expect("a plain table");
        let [found] = &row(&again)[..] else { panic!("`{protocol}` `{ports}` is not one row: {again:?}") };
        assert_eq!(
            (&found.protocols, &found.ports),
            (&requirement.protocols, &requirement.ports),
            "`{protocol}` `{ports}`"
        );
        assert!(again.diagnostics.is_empty(), "`{protocol}` `{ports}`: {:?}", again.diagnostics);
    }
}

/// A table with one made-up row between plain ones, which keep its columns what they are.
fn table(protocol: &str, ports: &str) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(vec![]);
    let rows = [
        ["Service", "Protocol", "Port"],
        ["Made up", protocol, ports],
        ["Web", "TCP", "443"],
        ["DNS", "UDP", "53"],
    ];
    for row in rows {
        writer.write_record(row).expect("memory");
    }
    writer.into_inner().expect("memory")
}

/// A requirement as a careful vendor would write it.
fn plain(requirement: &Requirement) -> Option<(String, String)> {
    let protocol = |protocol: &Protocol| match protocol {
        Protocol::Tcp => "TCP".to_owned(),
        Protocol::Udp => "UDP".to_owned(),
        Protocol::Any => "any".to_owned(),
        Protocol::Ip(number) => format!("IP protocol {number}"),
    };
    let protocols: Vec<String> = requirement.protocols.iter().map(protocol).collect();
    // A protocol without a name is told from its transport, which the text does not repeat.
    let stated = !requirement.inferred.iter().any(|field| field == "protocols");
    let known = requirement.ports.iter().all(|ports| matches!(ports, Ports::Range(_)));
    let ports: Vec<String> = requirement.ports.iter().map(ToString::to_string).collect();
    (stated && known && !protocols.is_empty() && !ports.is_empty())
        .then(|| (protocols.join("/"), ports.join(", ")))
}
