//! `cargo xtask soak`: the tests of endurance for longer than a change is kept waiting.

use anyhow::Result;

use crate::commands::{setup, test};
use crate::journal::Journal;
use crate::workspace::Workspace;

/// Environment variable that makes the tests of endurance long.
const SOAK_VARIABLE: &str = "PORTCULLIS_SOAK";

/// Runs the tests of endurance one after the other, and lets them print their figures.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut journal = Journal::new("soak");
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, false)
    })?;
    let mut tests = test::as_root(workspace)?;
    tests.args(["--test", "endurance", "--", "--nocapture", "--test-threads=1"]).env(SOAK_VARIABLE, "1");
    let advice =
        "the message above names what was lost, and when; without PORTCULLIS_SOAK the same test is short";
    journal.run("endurance", &mut tests, advice)?;
    journal.close();
    Ok(())
}
