//! The command line: one module a subcommand.
//!
//! In come arguments; out come an [`Outcome`] and text for people or programs. Invariant: the exit status
//! means the same for every command.

pub mod catalog;
pub mod diff;
pub mod import;
mod table;

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// It could not be done.
    Failed,
    /// The command or its input is wrong.
    BadInput,
    /// Done, and something was found.
    Found,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::BadInput => 2,
            Outcome::Found => 3,
        })
    }
}
