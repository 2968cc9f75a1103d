//! Steps: says what runs, how long it took, and what to do when it fails.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

/// The steps of one command, in order.
pub(crate) struct Journal {
    command: &'static str,
    started: Instant,
    steps: Vec<Step>,
    /// Tests that were skipped, and why.
    skipped: Vec<(String, String)>,
}

struct Step {
    name: &'static str,
    outcome: Outcome,
}

enum Outcome {
    Done(Duration),
    Skipped(String),
}

impl Journal {
    /// A journal for `cargo xtask COMMAND`.
    pub(crate) fn new(command: &'static str) -> Self {
        Self { command, started: Instant::now(), steps: Vec::new(), skipped: Vec::new() }
    }

    /// Runs a command as a step; its output goes where this process's goes.
    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command, advice: &str) -> Result<()> {
        let line = shown(command);
        self.step(name, &line, advice, || {
            let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
            if status.success() { Ok(()) } else { Err(anyhow!("`{line}` failed ({status})")) }
        })
    }

    /// Runs a piece of this program as a step; `what` is shown in place of a command.
    pub(crate) fn step<T>(
        &mut self,
        name: &'static str,
        what: &str,
        advice: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        println!("\n== {name}: {what}");
        let started = Instant::now();
        let done =
            work().map_err(|error| anyhow!("step `{name}` failed\n{error:#}\nwhat to do: {advice}"))?;
        let took = started.elapsed();
        println!("== {name}: done in {}", seconds(took));
        self.steps.push(Step { name, outcome: Outcome::Done(took) });
        Ok(done)
    }

    /// Notes a step that was left out.
    pub(crate) fn skip(&mut self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        println!("\n== {name}: skipped: {reason}");
        self.steps.push(Step { name, outcome: Outcome::Skipped(reason) });
    }

    /// Notes a single test that was left out.
    pub(crate) fn skip_test(&mut self, test: &str, reason: &str) {
        self.skipped.push((test.to_owned(), reason.to_owned()));
    }

    /// Prints a line for each step and a closing line.
    pub(crate) fn close(self) {
        println!("\n{}", self.summary());
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        let mut skipped = 0;
        for Step { name, outcome } in &self.steps {
            let outcome = match outcome {
                Outcome::Done(took) => seconds(*took),
                Outcome::Skipped(reason) => {
                    skipped += 1;
                    format!("skipped: {reason}")
                }
            };
            let _ = writeln!(text, "  {name:<24} {outcome}");
        }
        for (test, reason) in &self.skipped {
            let _ = writeln!(text, "  skipped test {test}: {reason}");
        }
        let done = self.steps.len() - skipped;
        let tests = match self.skipped.len() {
            0 => String::new(),
            1 => ", 1 test skipped".to_owned(),
            many => format!(", {many} tests skipped"),
        };
        let _ = write!(
            text,
            "cargo xtask {}: {done} steps done, {skipped} skipped{tests}, in {}",
            self.command,
            seconds(self.started.elapsed())
        );
        text
    }
}

/// Runs a command quietly and returns what it printed.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it: the variables that are set for it, the program, its arguments.
pub(crate) fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.display(), quoted(&value?.to_string_lossy())))
    });
    let program = command.get_program().to_string_lossy();
    let program =
        program.rsplit_once('/').filter(|(_, name)| *name == "cargo").map_or(&*program, |(_, name)| name);
    let words = command.get_args().map(|word| quoted(&word.to_string_lossy()));
    variables.chain([program.to_owned()]).chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '"', '$']) { format!("'{word}'") } else { word.to_owned() }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_tells_step_command_and_advice() {
        let error =
            Journal::new("test").run("lint", Command::new("false").arg("a b"), "mend it").expect_err("fails");
        let text = format!("{error:#}");
        assert_eq!(text, "step `lint` failed\n`false 'a b'` failed (exit status: 1)\nwhat to do: mend it");
    }

    #[test]
    fn the_summary_counts_what_was_skipped() {
        let mut journal = Journal::new("check");
        journal.step("one", "nothing", "", || Ok(())).expect("does nothing");
        journal.skip("two", "no tool");
        journal.skip_test("a::test", "no root");
        let summary = journal.summary();
        assert!(summary.contains("  skipped test a::test: no root\n"), "{summary}");
        assert!(summary.contains("  two                      skipped: no tool\n"), "{summary}");
        assert!(
            summary.contains("cargo xtask check: 1 steps done, 1 skipped, 1 test skipped, in "),
            "{summary}"
        );
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.env("FLAGS", "-D warnings").args(["doc", "--no-deps"]);
        assert_eq!(shown(&command), "FLAGS='-D warnings' cargo doc --no-deps");
    }
}
