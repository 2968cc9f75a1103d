//! How a command that changes something says what it has done: to people, quietly, or to programs.

use clap::Args;

/// What a command says of what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    /// Everything, to people.
    All,
    /// Only what should not be overlooked.
    Quiet,
    /// Everything, to programs.
    Json,
}

/// The options that all these commands have.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SayingArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing where all is well; warnings and errors are still told
    #[arg(long, short, conflicts_with = "json")]
    pub(super) quiet: bool,
}

impl SayingArgs {
    pub(super) fn saying(self) -> Saying {
        match (self.json, self.quiet) {
            (true, _) => Saying::Json,
            (false, true) => Saying::Quiet,
            (false, false) => Saying::All,
        }
    }
}
