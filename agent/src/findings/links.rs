//! A policy + the interfaces of this host -> those that it names and that cannot be judged.

use super::{Finding, Kind, Severity};
use crate::{datapath::LinkTypes, generation::Skipped, policy::Policy};

/// The interfaces that are present and that the policy covers although their packets cannot be judged: by its full
/// name, so that `apply` refuses the policy, or by a pattern, which passes it over.
#[must_use]
pub fn unjudged(policy: &Policy, present: &LinkTypes) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, link) in present {
        let (Err(link), Some(entry)) = (link, policy.covering(name)) else { continue };
        let reason = Skipped::new(name, *link).reason;
        let (severity, message) = if entry.is_pattern() {
            (Severity::Note, format!("`{name}` is here and left out: {reason}"))
        } else {
            (Severity::Warning, format!("`apply` refuses the policy here: {reason}"))
        };
        let interface = entry.name.clone();
        found.push(Finding { severity, interface, place: entry.place, kind: Kind::Unjudged, message });
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Catalog,
        datapath::{LinkType, OtherLink},
    };

    #[test]
    fn an_interface_that_cannot_be_judged_is_a_finding_where_the_policy_covers_it() {
        let text = "version = 1\n[[interface]]\nname = \"gre*\"\n[[interface]]\nname = \"ib0\"\n";
        let policy = Policy::parse(text, "policy.toml", &Catalog::builtin()).expect("valid");
        let present = LinkTypes::from([
            ("can0".to_owned(), Err(OtherLink::Header(280))),
            ("gre1".to_owned(), Err(OtherLink::Outer("GRE"))),
            ("gretap1".to_owned(), Ok(LinkType::Ethernet)),
            ("ib0".to_owned(), Err(OtherLink::Header(32))),
        ]);
        let found = unjudged(&policy, &present);
        let told: Vec<_> = found
            .iter()
            .map(|finding| (finding.severity, finding.interface.as_str(), finding.place.line))
            .collect();
        assert_eq!(told, [(Severity::Warning, "ib0", 5), (Severity::Note, "gre*", 3)]);
        assert!(found[0].message.starts_with("`apply` refuses the policy here: its packets"), "{found:?}");
        assert!(found[1].message.starts_with("`gre1` is here and left out: its packets"), "{found:?}");
    }
}
