//! Policy + names of this host's interfaces -> which entry holds for which interface.

use super::{InterfacePolicy, Policy};

/// Bytes of an interface name, the closing zero included (`IFNAMSIZ` of include/uapi/linux/if.h).
const NAME_SIZE: usize = 16;

/// Whether the kernel could give an interface this name (`dev_valid_name` in net/core/dev.c). No other may
/// become a part of a path.
#[must_use]
pub fn is_interface_name(name: &str) -> bool {
    let forbidden = |byte: u8| {
        // The last two are blanks to the kernel, in any encoding (`isspace` of lib/ctype.c).
        matches!(byte, b'/' | b':' | 0 | 0x0b | 0xa0) || byte.is_ascii_whitespace()
    };
    !name.is_empty() && name.len() < NAME_SIZE && !matches!(name, "." | "..") && !name.bytes().any(forbidden)
}

impl InterfacePolicy {
    /// Whether the name is a pattern: `*` stands for any characters, `?` for one.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?'])
    }
}

impl Policy {
    /// The entry that holds for an interface: the one with its full name, else the first whose
    /// pattern fits. Loopback has to be named in full. What no interface can be called is not covered by anything.
    #[must_use]
    pub fn covering(&self, interface: &str) -> Option<&InterfacePolicy> {
        if !is_interface_name(interface) {
            return None;
        }
        let full = self.interfaces.iter().find(|entry| entry.name == interface);
        let fits = |entry: &&InterfacePolicy| entry.is_pattern() && fits(&entry.name, interface);
        full.or_else(|| self.interfaces.iter().filter(|_| interface != "lo").find(fits))
    }

    /// The policy of a host with the interfaces `present`: an entry with a pattern becomes one for each
    /// interface that it holds for. Full names stay, present or not.
    #[must_use]
    pub fn on(&self, present: &[String]) -> Self {
        let mut interfaces: Vec<InterfacePolicy> = Vec::new();
        for entry in &self.interfaces {
            if !entry.is_pattern() {
                interfaces.push(entry.clone());
                continue;
            }
            let mine = |name: &&String| self.covering(name).is_some_and(|cover| std::ptr::eq(cover, entry));
            let named = |name: &String| InterfacePolicy { name: name.clone(), ..entry.clone() };
            interfaces.extend(present.iter().filter(mine).map(named));
        }
        Self { file: self.file.clone(), interfaces }
    }
}

/// Whether `pattern` fits the whole of `name`.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and how far what it stands for reaches.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, reach)) = star else { return false };
                star = Some((at, reach + 1));
                (p, n) = (at + 1, reach + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    fn policy(names: &[&str]) -> Policy {
        let entries = names.iter().map(|name| format!("[[interface]]\nname = \"{name}\"\n"));
        let text = format!("version = 1\n{}", entries.collect::<String>());
        Policy::parse(&text, "policy.toml", &Catalog::builtin()).expect("valid")
    }

    #[test]
    fn what_the_kernel_takes_for_a_name_is_one() {
        for name in ["eth0", "eth0.10", "a", "wg-lan_7", "...", "fifteen-letters", "größe"] {
            assert!(is_interface_name(name), "{name}");
        }
        for name in
            ["", ".", "..", "a/b", "/", "a b", "a:1", "sixteen-letters-", "a\tb", "a\nb", "a\x0bb", "a\0"]
        {
            assert!(!is_interface_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, name, fit) in [
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("eth*", "wlan0", false),
            ("*", "anything", true),
            ("e?h0", "eth0", true),
            ("eth?", "eth", false),
            ("eth?", "eth10", false),
            ("*.10", "eth0.10", true),
            ("*.10", "eth0.100", false),
            ("e*0*1", "eth0x0y1", true),
            ("e*0*1", "eth0x0y", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn a_full_name_beats_a_pattern_and_the_first_pattern_the_next() {
        let policy = policy(&["e*", "eth*", "eth0"]);
        let covering = |name| policy.covering(name).map(|entry| entry.name.as_str());
        assert_eq!(covering("eth0"), Some("eth0"));
        assert_eq!(covering("eth1"), Some("e*"));
        assert_eq!(covering("wlan0"), None);
    }

    #[test]
    fn no_pattern_covers_what_is_no_name() {
        for name in ["", ".", "..", "a/b"] {
            assert!(policy(&["*", "?", "??"]).covering(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn no_pattern_stands_for_loopback() {
        assert!(policy(&["*"]).covering("lo").is_none());
        assert!(policy(&["lo"]).covering("lo").is_some());
    }

    #[test]
    fn on_a_host_each_interface_has_one_entry_and_full_names_stay() {
        let present = ["eth0", "eth1", "lan0"].map(str::to_owned);
        let names: Vec<String> = policy(&["eth*", "eth0", "wg0", "*"])
            .on(&present)
            .interfaces
            .into_iter()
            .map(|i| i.name)
            .collect();
        assert_eq!(names, ["eth1", "eth0", "wg0", "lan0"]);
    }
}
