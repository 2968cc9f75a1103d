//! Catalog files as people write them, right and wrong.

use super::*;

const SMALL: &str = r#"
schema = 1
system = "mail-suite"
title = "Mail Suite"

[[document]]
id = "guide"
title = "Guide"
file = "guide.md"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[document.table]]
name = "ports"
line = 3

[[role]]
name = "all-servers"
title = "All servers"
documented = ["Every server"]
abstract = true
[[role.requirement]]
document = "guide"
line = 9
table = "ports"
protocols = ["udp"]
ports = ["161"]

[[role]]
name = "relay"
title = "Relay"
documented = ["Relay server"]
inherits = ["all-servers"]
[[role.requirement]]
document = "guide"
line = 5
table = "ports"
service = "Mail"
direction = "inbound"
protocols = ["tcp"]
ports = ["25", "587"]

[[role]]
name = "edge-relay"
title = "Edge relay"
inherits = ["relay", "all-servers"]
"#;

/// Holds: policy 6.
#[test]
fn inherited_rows_come_once_and_in_document_order() {
    let mut catalog = Catalog::default();
    catalog.add(Catalog::parse_system(SMALL, "small.toml").expect("valid"));
    let rows = catalog.role("mail-suite/edge-relay").expect("there").requirements();
    let shown: Vec<(u32, &str, &str)> = rows
        .iter()
        .map(|row| (row.requirement.line, row.role.name.as_str(), row.requirement.role.as_str()))
        .collect();
    assert_eq!(shown, [(5, "relay", "Relay server"), (9, "all-servers", "Every server")]);
    assert!(rows.iter().all(|row| row.document.id == "guide" && row.system.name == "mail-suite"));
}

#[test]
fn wrong_names_get_the_nearest_one() {
    let mut catalog = Catalog::default();
    catalog.add(Catalog::parse_system(SMALL, "small.toml").expect("valid"));
    let other = SMALL.replace("mail-suite", "other-suite").replace("edge-relay", "relay-proxy");
    catalog.add(Catalog::parse_system(&other, "other.toml").expect("valid"));
    for (wrong, what, help) in [
        ("mail-suite/relai", "there is no role `mail-suite/relai`", "did you mean `mail-suite/relay`?"),
        (
            "mail-siute/relay",
            "there is no role `mail-siute/relay`, because there is no system `mail-siute`",
            "did you mean `mail-suite/relay`?",
        ),
        (
            "relay",
            "`relay` names no system, and a role is written as `system/role`",
            "write `mail-suite/relay` or `other-suite/relay`",
        ),
        (
            "edge-relai",
            "`edge-relai` names no system, and a role is written as `system/role`",
            "write `mail-suite/edge-relay`",
        ),
        (
            "something",
            "`something` names no system, and a role is written as `system/role`",
            "`portcullis catalog list` shows every role that is built in",
        ),
        (
            "core/mme",
            "there is no role `core/mme`, because there is no system `core`",
            "if a catalog file of yours has it, name that file at the top of the policy, as \
             `catalog = [\"core.toml\"]`; `portcullis catalog list` shows what is built in",
        ),
        (
            "mail-suite/quarantine",
            "there is no role `mail-suite/quarantine`",
            "its system has `all-servers`, `relay`, `edge-relay`",
        ),
    ] {
        let error = catalog.role(wrong).expect_err("wrong");
        assert_eq!((error.what().as_str(), error.help().as_str()), (what, help));
        assert_eq!(error.to_string(), format!("{what}: {help}"));
    }
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let cases = [
        ("schema = 1", "schema = 7", "small.toml:2:10: schema 7 is not known"),
        (
            "inherits = [\"all-servers\"]",
            "inherits = [\"all-server\"]",
            "small.toml:31:13: there is no role `all-server` to inherit: did you mean `all-servers`?",
        ),
        ("abstract = true", "abstract = true\ninherits = [\"edge-relay\"]", "inherits from itself"),
        ("ports = [\"161\"]", "ports = [\"70000\"]", "`70000` is no port"),
        (
            "table = \"ports\"\nservice",
            "table = \"port\"\nservice",
            "has no table `port`: did you mean `ports`?",
        ),
        ("name = \"relay\"", "name = \"Relay Server\"", "small.toml:28:8: `Relay Server` is no name"),
        ("title = \"Relay\"", "titel = \"Relay\"", "unknown field `titel`"),
    ];
    for (right, wrong, message) in cases {
        let text = SMALL.replacen(right, wrong, 1);
        assert_ne!(text, SMALL, "{right}");
        let error = Catalog::parse_system(&text, "small.toml").expect_err(message).to_string();
        assert!(error.contains(message), "{error}\nshould say: {message}");
    }
}

#[test]
fn what_is_written_reads_back() {
    let system = Catalog::parse_system(SMALL, "small.toml").expect("valid");
    let again = Catalog::parse_system(&system.to_toml(), "again.toml").expect("written by us");
    assert_eq!(again, system);
}

#[test]
fn every_builtin_file_reads_back() {
    for system in Catalog::builtin().systems() {
        assert_eq!(Catalog::parse_system(&system.to_toml(), "again.toml").as_ref(), Ok(system));
    }
}
