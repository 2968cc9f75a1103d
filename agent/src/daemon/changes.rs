//! The interfaces that were protected and those that are there now -> what became of them.

use super::links::Present;

/// What became of interfaces that were protected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Old and new name of those that have another name now, in an order in which each new name is free
    /// when its turn comes, unless names were exchanged.
    pub(super) renamed: Vec<(String, String)>,
    /// Those that are gone; another interface may have their name now.
    pub(super) vanished: Vec<String>,
}

/// Compares the interfaces that were protected with those that are there.
pub(super) fn changes(protected: &Present, present: &Present) -> Changes {
    let mut changes = Changes::default();
    let mut moved = Vec::new();
    for (name, identity) in protected {
        if present.get(name) == Some(identity) {
            continue;
        }
        match present.iter().find(|(_, now)| *now == identity) {
            Some((to, _)) => moved.push((name.clone(), to.clone())),
            None => changes.vanished.push(name.clone()),
        }
    }
    while !moved.is_empty() {
        let free = |(_, to): &(String, String)| !moved.iter().any(|(from, _)| from == to);
        let next = moved.iter().position(free).unwrap_or(0);
        changes.renamed.push(moved.remove(next));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::links::Identity;

    fn table(links: &[(&str, u32)]) -> Present {
        links.iter().map(|(name, index)| ((*name).to_owned(), Identity::for_tests(*index))).collect()
    }

    fn compare(protected: &[(&str, u32)], present: &[(&str, u32)]) -> (Vec<String>, Vec<String>) {
        let Changes { renamed, vanished } = changes(&table(protected), &table(present));
        (renamed.into_iter().map(|(from, to)| format!("{from}>{to}")).collect(), vanished)
    }

    #[test]
    fn what_stays_is_no_change() {
        assert_eq!(compare(&[("eth0", 2)], &[("eth0", 2), ("eth1", 3)]), (vec![], vec![]));
    }

    #[test]
    fn an_interface_that_was_made_anew_has_vanished_before() {
        assert_eq!(compare(&[("eth0", 2)], &[("eth0", 9)]), (vec![], vec!["eth0".to_owned()]));
    }

    #[test]
    fn names_that_move_up_are_freed_before_they_are_taken() {
        let (renamed, vanished) =
            compare(&[("eth0", 2), ("eth1", 3), ("eth2", 4)], &[("eth1", 2), ("eth2", 3), ("eth3", 4)]);
        assert_eq!(renamed, ["eth2>eth3", "eth1>eth2", "eth0>eth1"]);
        assert!(vanished.is_empty());
    }

    #[test]
    fn names_that_were_exchanged_are_told() {
        let (renamed, _) = compare(&[("eth0", 2), ("eth1", 3)], &[("eth1", 2), ("eth0", 3)]);
        assert_eq!(renamed, ["eth0>eth1", "eth1>eth0"]);
    }
}
