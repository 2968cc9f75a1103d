//! `cargo xtask promises`: what the documents promise, and the tests that hold each promise.
//!
//! In: docs/policy.md, SECURITY.md, README.md and the sources of all tests. Out: a table, or every promise that no
//! test holds, every sentence that is neither called a promise nor a limit, and every test that names a promise
//! which does not exist. Nothing is listed by hand: a test names what it holds in its documentation, as
//! `/// Holds: policy 7, security control-socket.`

mod document;
mod marker;

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};

use self::document::Promise;
use self::marker::Holder;
use crate::workspace::Workspace;

/// Prints the table, and fails where a promise and a test miss each other.
pub(crate) fn print(workspace: &Workspace) -> Result<()> {
    let (promises, holders, mut faults) = read(workspace)?;
    let held = held(&promises, &holders, &mut faults);
    for promise in &promises {
        println!("{}  {}", promise.name, promise.beginning());
        for holder in held.get(&*promise.name).into_iter().flatten() {
            println!("    {}: {}", holder.file, holder.test);
        }
    }
    ended(&promises, &holders, &faults)
}

/// The same without the table, as a check.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let (promises, holders, mut faults) = read(workspace)?;
    held(&promises, &holders, &mut faults);
    ended(&promises, &holders, &faults)
}

fn ended(promises: &[Promise], holders: &[Holder], faults: &[String]) -> Result<()> {
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("   {} promises, each held by one of {} tests", promises.len(), holders.len());
    Ok(())
}

fn read(workspace: &Workspace) -> Result<(Vec<Promise>, Vec<Holder>, Vec<String>)> {
    let (mut promises, mut faults) = (Vec::new(), Vec::new());
    for document in document::ALL {
        let path = workspace.root.join(document.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match document.promises(&text) {
            Ok(found) => promises.extend(found),
            Err(more) => faults.extend(more),
        }
    }
    let holders = marker::holders(workspace, &mut faults)?;
    Ok((promises, holders, faults))
}

/// The tests of each promise; what misses its counterpart is a fault.
fn held<'a>(
    promises: &'a [Promise],
    holders: &'a [Holder],
    faults: &mut Vec<String>,
) -> BTreeMap<&'a str, Vec<&'a Holder>> {
    let mut held: BTreeMap<&str, Vec<&Holder>> = BTreeMap::new();
    for holder in holders {
        for name in &holder.holds {
            match promises.iter().find(|promise| promise.name == *name) {
                Some(promise) => held.entry(&promise.name).or_default().push(holder),
                None => faults.push(format!(
                    "{}: {} holds `{name}`, which no document promises",
                    holder.file, holder.test
                )),
            }
        }
    }
    for promise in promises.iter().filter(|promise| !held.contains_key(&*promise.name)) {
        faults.push(format!(
            "{}:{}: no test holds `{}`: {}; name it in a test's documentation, `/// Holds: {}.`",
            promise.file,
            promise.line,
            promise.name,
            promise.beginning(),
            promise.name
        ));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(name: &str) -> Promise {
        Promise { name: name.to_owned(), file: "A.md", line: 3, text: "It holds.".to_owned() }
    }

    #[test]
    fn what_misses_its_counterpart_is_named() {
        let promises = [promise("policy 1"), promise("policy 2")];
        let holds = vec!["policy 1".to_owned(), "policy 9".to_owned()];
        let holders = [Holder { file: "tests/a.rs".to_owned(), test: "it_holds".to_owned(), holds }];
        let mut faults = Vec::new();
        let held = held(&promises, &holders, &mut faults);
        assert_eq!(held["policy 1"].len(), 1);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[0], "tests/a.rs: it_holds holds `policy 9`, which no document promises");
        assert!(faults[1].starts_with("A.md:3: no test holds `policy 2`: It holds."), "{}", faults[1]);
    }
}
