//! Lists of prefixes -> address classes.
//!
//! Two addresses have the same class if exactly the same rules' lists hold them. The class of an
//! address is that of the longest prefix that covers it: every list that holds a covering prefix
//! holds the longest one too.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use crate::tables::AddressClasses;

/// The classes of addresses that a rule set tells apart.
pub(super) struct Grouping {
    /// For each rule the number of its list; `None` where it is not limited.
    list_of_rule: Vec<Option<usize>>,
    /// For each class the lists that hold its addresses, ascending. Class 0 is held by none.
    lists_of_class: Vec<Vec<usize>>,
    /// Every prefix of every list, with its class.
    class_of_prefix: BTreeMap<IpNet, usize>,
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
        let mut grouping =
            Self { list_of_rule, lists_of_class: vec![Vec::new()], class_of_prefix: BTreeMap::new() };
        grouping.number_classes(holders);
        grouping
    }

    /// Gives each prefix the class of the lists that hold it or a prefix around it.
    fn number_classes(&mut self, holders: BTreeMap<IpNet, Vec<usize>>) {
        let mut known: HashMap<Vec<usize>, usize> = HashMap::from([(Vec::new(), 0)]);
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
            let next = self.lists_of_class.len();
            let class = *known.entry(lists.clone()).or_insert(next);
            if class == next {
                self.lists_of_class.push(lists.clone());
            }
            self.class_of_prefix.insert(prefix, class);
            open.push((prefix, lists));
        }
    }

    /// Number of classes, class 0 included.
    pub(super) fn count(&self) -> usize {
        self.lists_of_class.len()
    }

    /// Whether a rule applies to the addresses of a class.
    pub(super) fn holds(&self, class: usize, rule: usize) -> bool {
        match self.list_of_rule[rule] {
            None => true,
            Some(list) => self.lists_of_class[class].binary_search(&list).is_ok(),
        }
    }

    /// What the kernel looks up.
    pub(super) fn classes(&self) -> AddressClasses {
        let mut classes = AddressClasses { count: number(self.count()), ..AddressClasses::default() };
        for (prefix, class) in &self.class_of_prefix {
            match prefix {
                IpNet::V4(prefix) => classes.v4.push((*prefix, number(*class))),
                IpNet::V6(prefix) => classes.v6.push((*prefix, number(*class))),
            }
        }
        classes
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer classes than prefixes fit into memory")
}
