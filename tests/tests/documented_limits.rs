//! What a document leaves to the operator: who its peers are, and where a range of ports lies.

use anyhow::Result;
use portcullis::{
    catalog::Catalog,
    policy::Policy,
    ruleset::{RuleSet, rule_set},
};

/// The rules of a policy for one interface with these keys.
fn rules(keys: &str) -> Result<RuleSet> {
    let catalog = Catalog::builtin();
    let text = format!("version = 1\n[[interface]]\nname = \"edge0\"\n{keys}");
    let policy = Policy::parse(&text, "policy.toml", &catalog)?;
    Ok(rule_set(&policy.file, &policy.interfaces[0], &catalog).0)
}

/// Openings and sources of the rule with an identity.
fn rule(rules: &RuleSet, identity: &str) -> (String, usize) {
    let rule = rules.rules.iter().find(|rule| rule.identity.0 == identity);
    let rule = rule.unwrap_or_else(|| panic!("no rule {identity} among {:#?}", rules.rules));
    let openings: Vec<String> = rule.openings.iter().map(ToString::to_string).collect();
    (openings.join(" "), rule.sources.len())
}

const PARTNER_ROW: &str = "lync-server-2013-public-im/access-edge@public-im-ports-ja:47";
const CLIENT_ROW: &str = "lync-server-2013-public-im/access-edge@public-im-ports-ja:59";
const EDGE: &str = "roles = [\"lync-server-2013-public-im/access-edge\"]\n";

/// Holds: policy 4.
#[test]
fn a_row_for_a_peer_is_limited_to_it_once_the_policy_names_it() -> Result<()> {
    let open = rules(EDGE)?;
    assert_eq!(rule(&open, PARTNER_ROW), ("tcp/5061".to_owned(), 0));
    let peers = "[peers]\npublic-im-partner = [\"198.51.100.0/24\", \"2001:db8:1::/48\"]\n";
    let limited = rules(&format!("{EDGE}{peers}"))?;
    assert_eq!(rule(&limited, PARTNER_ROW), ("tcp/5061".to_owned(), 2));
    assert_eq!(rule(&limited, CLIENT_ROW), ("tcp/443".to_owned(), 0), "another peer, which is not named");
    Ok(())
}

const MEDIA: &str = "roles = [\"windows-messenger-lcs-2005/audio-and-video\"]\n";

#[test]
fn a_documented_range_can_be_narrowed_and_moved_within_its_bounds() -> Result<()> {
    let opened = |keys: &str| -> Result<Vec<String>> {
        let rules = rules(&format!("{MEDIA}{keys}"))?.rules;
        Ok(rules.iter().flat_map(|rule| &rule.openings).map(ToString::to_string).collect())
    };
    assert_eq!(opened("")?, ["udp/5350-5353"]);
    assert_eq!(opened("parameters = { media-ports = \"5350-5351\" }\n")?, ["udp/5350-5351"]);
    assert_eq!(opened("parameters = { media-ports = \"40000-40100\" }\n")?, ["udp/40000-40100"]);
    let error =
        opened("parameters = { media-ports = \"80-90\" }\n").expect_err("below the bounds").to_string();
    assert!(error.contains("policy.toml:5:30") && error.contains("stay within 1024-65535"), "{error}");
    let error = opened("parameters = { media-port = \"5350\" }\n").expect_err("a wrong name").to_string();
    assert!(error.contains("`media-port` is no parameter") && error.contains("`media-ports`"), "{error}");
    Ok(())
}
