//! Slugs: titles of any script to names that people can type.
//!
//! In comes a title; out come lower-case Latin letters, digits and single hyphens. Invariant: a slug has
//! at most 48 characters and neither begins nor ends with a hyphen.

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

#[cfg(test)]
mod tests {
    use super::slug;

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
