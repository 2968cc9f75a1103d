//! What is to be enforced where, as plain rules: what a policy says, or what an earlier revision said.

use sha2::{Digest as _, Sha256};

use crate::{
    catalog::Catalog,
    policy::{Enforcement, Policy},
    ruleset::{RuleSet, rule_set},
};

/// Everything that is to be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The policy file.
    pub policy: String,
    /// Its text.
    pub text: String,
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
    /// Whether packets are dropped or only counted.
    pub mode: Enforcement,
    /// Whether replies to this host's DHCP client are accepted.
    pub dhcp: bool,
    /// Its rules.
    pub rules: RuleSet,
}

impl Wanted {
    /// What a policy says. `text` is what it was read from.
    #[must_use]
    pub fn of(policy: &Policy, text: &str, catalog: &Catalog) -> Self {
        let interface = |interface: &crate::policy::InterfacePolicy| WantedInterface {
            name: interface.name.clone(),
            mode: interface.mode,
            dhcp: interface.dhcp,
            rules: rule_set(&policy.file, interface, catalog).0,
        };
        Self {
            policy: absolute(&policy.file),
            text: text.to_owned(),
            revision: None,
            interfaces: policy.interfaces.iter().map(interface).collect(),
        }
    }

    /// SHA-256 of the text, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect()
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
            interface.mode = Enforcement::Observe;
        }
        self
    }
}

/// A path that still names the file when it is read from another folder.
fn absolute(file: &str) -> String {
    std::path::absolute(file).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}
