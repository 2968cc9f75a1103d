//! Lists of prefixes -> address classes.
//!
//! Two addresses have the same class if exactly the same rules' lists hold them. The class of an
//! address is that of the longest prefix that covers it: every list that holds a covering prefix
//! holds the longest one too.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use super::{CompileError, trie};
use crate::tables::{FamilyTries, Tries};

/// Which versions of IP an address class has addresses of.
const V4: u8 = 1;
const V6: u8 = 2;

/// The classes of addresses that a rule set tells apart.
pub(super) struct Grouping {
    /// For each rule the number of its list; `None` where it is not limited.
    list_of_rule: Vec<Option<usize>>,
    /// For each list the classes of its addresses, ascending.
    classes_of_list: Vec<Vec<u32>>,
    /// For each class the versions of IP of its addresses. Class 0 is in no list.
    versions_of_class: Vec<u8>,
    /// Every prefix of every list, with its class.
    class_of_prefix: BTreeMap<IpNet, u32>,
}

impl Grouping {
    /// Groups addresses by the lists, one for each rule; an empty list holds every address.
    pub(super) fn new<'a>(rules: impl Iterator<Item = &'a [IpNet]>) -> Self {
        let mut numbers: HashMap<Vec<IpNet>, usize> = HashMap::new();
        let mut holders: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
        let mut list_of_rule = Vec::new();
        for prefixes in rules {
            if prefixes.is_empty() {
                list_of_rule.push(None);
                continue;
            }
            let mut list: Vec<IpNet> = prefixes.iter().map(IpNet::trunc).collect();
            list.sort_unstable();
            list.dedup();
            let next = numbers.len();
            let number = *numbers.entry(list.clone()).or_insert(next);
            if number == next {
                for prefix in list {
                    holders.entry(prefix).or_default().push(number);
                }
            }
            list_of_rule.push(Some(number));
        }
        let mut grouping = Self {
            list_of_rule,
            classes_of_list: vec![Vec::new(); numbers.len()],
            versions_of_class: vec![V4 | V6],
            class_of_prefix: BTreeMap::new(),
        };
        grouping.number_classes(holders);
        grouping
    }

    /// Gives each prefix the class of the lists that hold it or a prefix around it.
    fn number_classes(&mut self, holders: BTreeMap<IpNet, Vec<usize>>) {
        let mut known: HashMap<Vec<usize>, u32> = HashMap::new();
        // Prefixes in ascending order: those around the current one are the open ones.
        let mut open: Vec<(IpNet, Vec<usize>)> = Vec::new();
        for (prefix, mut lists) in holders {
            while open.last().is_some_and(|(around, _)| !around.contains(&prefix)) {
                open.pop();
            }
            if let Some((_, inherited)) = open.last() {
                lists.extend(inherited);
                lists.sort_unstable();
                lists.dedup();
            }
            let class = *known.entry(lists.clone()).or_insert_with(|| {
                let next = number(self.versions_of_class.len());
                self.versions_of_class.push(0);
                for &list in &lists {
                    self.classes_of_list[list].push(next);
                }
                next
            });
            self.versions_of_class[class as usize] |= if prefix.addr().is_ipv4() { V4 } else { V6 };
            self.class_of_prefix.insert(prefix, class);
            open.push((prefix, lists));
        }
    }

    /// Number of classes, class 0 included.
    pub(super) fn count(&self) -> u32 {
        number(self.versions_of_class.len())
    }

    /// Whether a rule applies to some addresses only.
    pub(super) fn limits(&self, rule: usize) -> bool {
        self.list_of_rule[rule].is_some()
    }

    /// The classes of the addresses that a rule applies to.
    pub(super) fn classes_of(&self, rule: usize) -> impl Iterator<Item = u32> {
        let (listed, all) = match self.list_of_rule[rule] {
            Some(list) => (self.classes_of_list[list].as_slice(), 0),
            None => (&[][..], self.count()),
        };
        listed.iter().copied().chain(0..all)
    }

    /// Whether one packet can have an address of `class` and one of `other`'s class.
    pub(super) fn meet(&self, class: u32, other: &Self, other_class: u32) -> bool {
        self.versions_of_class[class as usize] & other.versions_of_class[other_class as usize] != 0
    }

    /// Adds what the kernel looks the classes up in.
    pub(super) fn tries(&self, tries: &mut Tries) -> Result<FamilyTries, CompileError> {
        let of = |v4: bool| {
            let own = self.class_of_prefix.iter().filter(move |(prefix, _)| prefix.addr().is_ipv4() == v4);
            own.map(|(prefix, class)| (prefix, *class))
        };
        Ok(FamilyTries { v4: trie::add(tries, of(true))?, v6: trie::add(tries, of(false))? })
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer classes than prefixes fit into memory")
}
