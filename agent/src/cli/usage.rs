//! Command lines that are not understood -> complaints that name what was typed, and nothing else.
//!
//! clap shows, beside what was typed, every option that has a value, also one that the environment gave it, and
//! blames the option for what a variable says.

use std::{env, ffi::OsString, process::ExitCode};

use clap::{
    Command, CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Cli, output::tell};
use crate::{problem::Complaint, terminal::one_line};

/// Tells what is wrong with the command line of this process, or shows the help that it asks for.
pub(super) fn told(error: clap::Error) -> ExitCode {
    // Help that was asked for is no error.
    let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A reader who has gone needs no help.
        let _ = error.print();
    } else {
        // Mistakes are told in the words that were typed, or that a pattern of file names found; clap leaves out
        // what a terminal acts on.
        let words = env::args_os().map(|word| one_line(&word.to_string_lossy()));
        let error = Cli::try_parse_from(words).err().unwrap_or(error);
        let typed: Vec<OsString> = env::args_os().skip(1).collect();
        let to_program = typed.iter().take_while(|word| *word != "--").any(|word| word == "--json");
        tell(&[complaint(error, &typed)], to_program);
    }
    code
}

fn complaint(mut error: clap::Error, typed: &[OsString]) -> Complaint {
    let (name, command) = asked(typed);
    // An option that was not typed has its value from a variable.
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(long) = option.split(' ').next().and_then(|word| word.strip_prefix("--"))
        && !is_typed(long, typed)
        && let Some(variable) = variable(&command, long)
    {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    let help = help(&error).unwrap_or_else(|| format!("`{name} --help` shows what can be written"));
    for kind in [
        ContextKind::Usage,
        ContextKind::ValidValue,
        ContextKind::ValidSubcommand,
        ContextKind::Suggested,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ] {
        error.remove(kind);
    }
    let text = error.to_string();
    let message = text.strip_prefix("error: ").unwrap_or(&text);
    let message = message.split("\n\n").next().unwrap_or(message);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    Complaint::new(message, Some(help))
}

/// What would be right.
fn help(error: &clap::Error) -> Option<String> {
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
        let near = match error.get(kind) {
            Some(ContextValue::String(near)) => near,
            Some(ContextValue::Strings(near)) => near.first()?,
            _ => continue,
        };
        return Some(format!("did you mean `{near}`?"));
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("it may be one of {}", values.join(", ")))
        }
        _ => None,
    }
}

/// The command that was asked for, with its name.
fn asked(typed: &[OsString]) -> (String, Command) {
    let mut command = Cli::command();
    let mut name = command.get_name().to_owned();
    for word in typed.iter().filter_map(|word| word.to_str()) {
        if let Some(found) = command.find_subcommand(word).cloned() {
            name = format!("{name} {word}");
            command = found;
        }
    }
    (name, command)
}

fn is_typed(long: &str, typed: &[OsString]) -> bool {
    let same = |word: &str| word.split('=').next() == Some(&format!("--{long}"));
    typed.iter().filter_map(|word| word.to_str()).any(same)
}

/// The variable that an option takes its value from.
fn variable(command: &Command, long: &str) -> Option<String> {
    let root = Cli::command();
    let mut options = command.get_arguments().chain(root.get_arguments());
    let option = options.find(|option| option.get_long() == Some(long))?;
    Some(option.get_env()?.to_str()?.to_owned())
}
