//! The sources -> the tests that say in their documentation which promises they hold.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use syn::visit::{Visit, visit_item_fn};
use syn::{Attribute, Expr, ExprLit, ItemFn, Lit, Meta};

use crate::commands::check::sources;
use crate::workspace::Workspace;

/// How the line begins.
const MARK: &str = "Holds: ";

/// A test that holds promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its file, relative to the workspace.
    pub(crate) file: String,
    pub(crate) test: String,
    /// Names of promises.
    pub(crate) holds: Vec<String>,
}

/// Finds them all. What is no test is a fault.
pub(crate) fn holders(workspace: &Workspace, faults: &mut Vec<String>) -> Result<Vec<Holder>> {
    let mut files = Vec::new();
    for folder in ["agent", "common", "tests", "xtask/tests"] {
        sources(&workspace.root.join(folder), &mut files)?;
    }
    files.sort();
    let mut holders = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if text.contains(&format!("/// {MARK}")) {
            of_file(workspace.relative(&file), &text, &mut holders, faults)?;
        }
    }
    Ok(holders)
}

fn of_file(file: &Path, text: &str, holders: &mut Vec<Holder>, faults: &mut Vec<String>) -> Result<()> {
    let file = file.display().to_string();
    let tree = syn::parse_file(text).with_context(|| format!("cannot read {file}"))?;
    let mut found = Found { file: file.clone(), holders, faults, marks: 0 };
    found.visit_file(&tree);
    let marks = found.marks;
    // Such a line inside of a macro, or on what is no function, would be overlooked.
    let written = text.lines().filter(|line| line.trim().starts_with(&format!("/// {MARK}"))).count();
    if marks != written {
        faults.push(format!("{file}: {} lines `{MARK}` are on no function", written.abs_diff(marks)));
    }
    Ok(())
}

struct Found<'a> {
    file: String,
    holders: &'a mut Vec<Holder>,
    faults: &'a mut Vec<String>,
    marks: usize,
}

impl Visit<'_> for Found<'_> {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        let lines: Vec<String> = function.attrs.iter().filter_map(documentation).collect();
        let marks: Vec<&str> = lines.iter().filter_map(|line| line.trim().strip_prefix(MARK)).collect();
        if !marks.is_empty() {
            self.marks += marks.len();
            let test = function.sig.ident.to_string();
            if is_run(&function.attrs) {
                let names = marks.iter().flat_map(|mark| mark.trim_end_matches('.').split(','));
                let holds = names.map(|name| name.trim().to_owned()).collect();
                self.holders.push(Holder { file: self.file.clone(), test, holds });
            } else {
                self.faults.push(format!("{}: {test} holds promises and is no test", self.file));
            }
        }
        visit_item_fn(self, function);
    }
}

/// A line of documentation.
fn documentation(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether these attributes make a test that runs: one that is ignored holds nothing.
fn is_run(attributes: &[Attribute]) -> bool {
    let has = |name: &str| {
        let ends =
            |attribute: &Attribute| attribute.path().segments.last().is_some_and(|last| last.ident == name);
        attributes.iter().any(ends)
    };
    has("test") && !has("ignore")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Holder>, Vec<String>) {
        let (mut holders, mut faults) = (Vec::new(), Vec::new());
        of_file(Path::new("a.rs"), text, &mut holders, &mut faults).expect("it is Rust");
        (holders, faults)
    }

    #[test]
    fn a_test_names_what_it_holds() {
        let text = "mod inner {\n/// It is so.\n///\n/// Holds: policy 1, security closed.\n#[test]\nfn so() {}\n}\n";
        let (holders, faults) = read(text);
        assert_eq!(holders[0].holds, ["policy 1", "security closed"]);
        assert_eq!((holders[0].test.as_str(), faults.len()), ("so", 0));
    }

    #[test]
    fn what_is_no_test_holds_nothing() {
        for text in
            ["/// Holds: policy 1.\nfn so() {}\n", "/// Holds: policy 1.\n#[test]\n#[ignore]\nfn so() {}\n"]
        {
            assert_eq!(read(text).1, ["a.rs: so holds promises and is no test"]);
        }
        let (holders, faults) = read("proptest! {\n/// Holds: policy 1.\n#[test]\nfn so() {}\n}\n");
        assert_eq!((holders.len(), faults.len()), (0, 1), "{faults:?}");
    }
}
