//! A policy + the interfaces of a host -> what it says of those that can be judged, and which of them its patterns pass
//! over.

use serde::Serialize;

use crate::{
    datapath::{LinkTypes, OtherLink},
    policy::{InterfacePolicy, Policy},
};

/// A policy as it holds for the interfaces that are there.
pub struct Here {
    /// The policy, without patterns. Full names stay, present or not.
    pub policy: Policy,
    /// Interfaces that a pattern covers and that cannot be judged.
    pub skipped: Vec<Skipped>,
}

/// An interface that a pattern passes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub interface: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Here {
    /// What a policy says of the interfaces that are present.
    #[must_use]
    pub fn new(policy: &Policy, present: &LinkTypes) -> Self {
        let (mut judged, mut skipped) = (Vec::new(), Vec::new());
        for (name, link) in present {
            match link {
                Err(link) if policy.covering(name).is_some_and(InterfacePolicy::is_pattern) => {
                    skipped.push(Skipped::new(name, *link));
                }
                _ => judged.push(name.clone()),
            }
        }
        Self { policy: policy.on(&judged), skipped }
    }
}

impl Skipped {
    /// An interface whose packets cannot be judged.
    #[must_use]
    pub fn new(interface: &str, link: OtherLink) -> Self {
        let reason = format!("its packets cannot be judged: {link}; {}", link.advice());
        Self { interface: interface.to_owned(), reason }
    }

    /// A sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { interface, reason } = self;
        format!("{interface}: left out, although a pattern covers it: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Catalog, datapath::LinkType};

    #[test]
    fn patterns_pass_over_what_cannot_be_judged_and_full_names_stay() {
        let text = "version = 1\n[[interface]]\nname = \"*\"\n[[interface]]\nname = \"can0\"\n";
        let policy = Policy::parse(text, "policy.toml", &Catalog::builtin()).expect("valid");
        let present = LinkTypes::from([
            ("can0".to_owned(), Err(OtherLink::Header(280))),
            ("can1".to_owned(), Err(OtherLink::Header(280))),
            ("eth0".to_owned(), Ok(LinkType::Ethernet)),
            ("wg0".to_owned(), Ok(LinkType::Ip)),
        ]);
        let Here { policy, skipped } = Here::new(&policy, &present);
        let names: Vec<&str> = policy.interfaces.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["eth0", "wg0", "can0"]);
        assert_eq!(skipped, [Skipped::new("can1", OtherLink::Header(280))]);
        assert!(skipped[0].sentence().contains("a CAN interface (ARPHRD type 280)"), "{skipped:?}");
    }
}
