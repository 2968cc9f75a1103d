//! What is to be enforced where, as plain rules: what a policy says, or what an earlier revision said.

use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use crate::{
    catalog::Catalog,
    policy::{Policy, Settings},
    ruleset::{RuleSet, rule_set},
};

/// Everything that is to be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the policy is called: mostly its file, by a path that names it from every folder.
    pub policy: String,
    /// Its text.
    pub text: String,
    /// SHA-256 of its text, in hexadecimal digits.
    pub policy_sha256: String,
    /// The revision that already stands for it; `None` where it becomes a new one.
    pub revision: Option<u64>,
    /// The interfaces, no two with the same name.
    pub interfaces: Vec<WantedInterface>,
}

/// What is to be enforced on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedInterface {
    /// Its name.
    pub name: String,
    /// How its packets are judged, beside its rules.
    pub settings: Settings,
    /// Its rules.
    pub rules: RuleSet,
}

impl Wanted {
    /// What a policy says. `text` is what it was read from.
    #[must_use]
    pub fn of(policy: &Policy, text: &str, catalog: &Catalog) -> Self {
        let interface = |interface: &crate::policy::InterfacePolicy| WantedInterface {
            name: interface.name.clone(),
            settings: interface.settings,
            rules: rule_set(&policy.file, interface, catalog).0,
        };
        Self {
            policy: policy.file.clone(),
            text: text.to_owned(),
            policy_sha256: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
            revision: None,
            interfaces: policy.interfaces.iter().map(interface).collect(),
        }
    }

    /// Whether an interface is named.
    #[must_use]
    pub fn names(&self, interface: &str) -> bool {
        self.interfaces.iter().any(|wanted| wanted.name == interface)
    }

    /// The same, but nothing is dropped on any interface.
    #[must_use]
    pub fn observed(mut self) -> Self {
        for interface in &mut self.interfaces {
            interface.settings = interface.settings.observed();
        }
        self
    }
}

impl From<&Manifest> for WantedInterface {
    fn from(manifest: &Manifest) -> Self {
        let rules = manifest.rules.iter().map(|slotted| slotted.rule.clone()).collect();
        Self { name: manifest.interface.clone(), settings: manifest.settings, rules: RuleSet { rules } }
    }
}
