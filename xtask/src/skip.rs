//! Tests that do not run: said where they run, and written down for `cargo xtask test`.
//!
//! A test that returns early passes, for the test harness. So it says what it needs, on standard error and in the
//! file that [`VARIABLE`] names. `cargo xtask test` lists all of them when it is done, and fails where the machine
//! has what a test says it lacks.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

/// Environment variable with the file in which skipped tests are written down, a line each.
pub const VARIABLE: &str = "PORTCULLIS_SKIPPED";

/// What a test needs and does not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be root.
    Root,
    /// A program, by its name.
    Program(String),
    /// Something that not every kernel has.
    Kernel,
    /// The vendors' documents, which are not part of this project.
    Documents,
    /// A compiler for the kernel programs.
    Compiler,
}

/// A test that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, as the test harness knows it.
    pub test: String,
    /// What it lacks.
    pub need: Need,
    /// One sentence for whoever wants it to run.
    pub reason: String,
}

impl Need {
    fn print(&self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::Program(name) => format!("program {name}"),
            Self::Kernel => "kernel".to_owned(),
            Self::Documents => "documents".to_owned(),
            Self::Compiler => "compiler".to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "root" => Self::Root,
            "kernel" => Self::Kernel,
            "documents" => Self::Documents,
            "compiler" => Self::Compiler,
            _ => Self::Program(text.strip_prefix("program ")?.to_owned()),
        })
    }
}

/// Says that the calling test is skipped; the test then returns.
///
/// # Panics
///
/// Where `cargo xtask test` asks for a line in a file, and it cannot be written.
pub fn skip(need: Need, reason: &str) {
    eprintln!("skipped: {reason}");
    let Some(path) = env::var_os(VARIABLE) else { return };
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = Skipped { test, need, reason: reason.to_owned() }.print();
    // One write, so that lines of tests that run at the same time stay whole.
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

impl Skipped {
    fn print(&self) -> String {
        format!("{}\t{}\t{}\n", self.need.print(), self.test, self.reason.replace(['\n', '\t'], " "))
    }

    /// Reads the lines of a file that tests wrote to.
    ///
    /// # Errors
    ///
    /// On a line that no test writes.
    pub fn parse(text: &str) -> anyhow::Result<Vec<Self>> {
        let line = |line: &str| {
            let mut parts = line.splitn(3, '\t');
            let need = Need::parse(parts.next()?)?;
            Some(Self { need, test: parts.next()?.to_owned(), reason: parts.next()?.to_owned() })
        };
        text.lines()
            .map(|text| line(text).ok_or_else(|| anyhow::anyhow!("`{text}` is no skipped test")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_back() {
        let needs =
            [Need::Root, Need::Program("sipp".to_owned()), Need::Kernel, Need::Documents, Need::Compiler];
        let all: Vec<Skipped> = needs
            .into_iter()
            .map(|need| Skipped { need, test: "a::test".to_owned(), reason: "it lacks something".to_owned() })
            .collect();
        let text: String = all.iter().map(Skipped::print).collect();
        assert_eq!(Skipped::parse(&text).expect("lines"), all);
        assert!(Skipped::parse("sipp\ta::test\treason").is_err());
    }
}
