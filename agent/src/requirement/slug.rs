//! Slugs: titles of any script to names that people can type.
//!
//! In comes a title; out come lower-case Latin letters, digits and single hyphens. Invariant: a slug has
//! at most 48 characters and neither begins nor ends with a hyphen.

use std::collections::{HashMap, HashSet};

/// Longest slug.
const LONGEST: usize = 48;

/// The slug of `title`; empty if no letter or digit is in it.
#[must_use]
pub fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in deunicode::deunicode(title).chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    if slug.len() > LONGEST {
        // At a word's end, if there is one.
        let end = slug[..=LONGEST].rfind('-').filter(|&end| end > LONGEST / 2).unwrap_or(LONGEST);
        slug.truncate(end);
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// Names that are given once each.
#[derive(Clone, Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
    /// The last number that each name was given with, so that thousands alike cost no search.
    last: HashMap<String, u32>,
}

impl Names {
    /// `wanted`, or `wanted-2` and so on where it is taken.
    pub fn free(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.taken.insert(name.clone()) {
            let last = self.last.entry(wanted.to_owned()).or_insert(1);
            *last += 1;
            name = format!("{wanted}-{last}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, slug};

    #[test]
    fn names_are_given_once() {
        let mut names = Names::default();
        let given = ["ports", "ports-2", "ports", "ports", "ports"].map(|wanted| names.free(wanted));
        assert_eq!(given, ["ports", "ports-2", "ports-3", "ports-4", "ports-5"]);
    }

    #[test]
    fn titles_become_names() {
        for (title, name) in [
            ("Front End Server", "front-end-server"),
            ("Öffnung (TCP/UDP)", "offnung-tcp-udp"),
            ("…", ""),
            (
                "A title that is much too long to be typed by anybody at all",
                "a-title-that-is-much-too-long-to-be-typed-by",
            ),
        ] {
            assert_eq!(slug(title), name);
        }
        assert!(slug("フロントエンド サーバー").is_ascii());
    }
}
