//! Compares the commands in the documents with the commands that exist.
//!
//! In: the shell blocks (`sh`, `console`) of README.md, CONTRIBUTING.md and docs/, and what
//! `--help` of the built programs prints. Out: nothing, or every line that names a subcommand or an
//! option which does not exist. What the text between the blocks says is not judged.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::journal::output_of;
use crate::workspace::Workspace;

/// Checks every document against the built command `portcullis` and this program.
pub(crate) fn check(workspace: &Workspace, portcullis: &Path) -> Result<()> {
    let own = env::current_exe().context("cannot find this program")?;
    let mut helps: HashMap<(Tool, Vec<String>), String> = HashMap::new();
    let mut help = |tool: Tool, path: &[String]| {
        let key = (tool, path.to_vec());
        if let Some(text) = helps.get(&key) {
            return Ok(text.clone());
        }
        let program = if tool == Tool::Xtask { &own } else { portcullis };
        let text = output_of(Command::new(program).args(path).arg("--help"))?;
        helps.insert(key, text.clone());
        Ok(text)
    };

    let mut wrong = Vec::new();
    let mut judged = 0;
    for document in documents(&workspace.root)? {
        let text =
            fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
        for line in invocations(&text) {
            judged += 1;
            if let Some(fault) = fault(&line, &mut help)? {
                wrong.push(format!("{}:{}: {fault}", workspace.relative(&document).display(), line.number));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("   {judged} documented command lines exist");
    Ok(())
}

/// The documents that people copy commands from.
fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let mut more: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .context("cannot read docs/")?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    more.sort();
    documents.append(&mut more);
    Ok(documents)
}

/// Which program a line calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tool {
    Xtask,
    Portcullis,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Xtask => "cargo xtask",
            Self::Portcullis => "portcullis",
        }
    }
}

/// One call in a document.
#[derive(Debug, PartialEq, Eq)]
struct Invocation {
    number: usize,
    tool: Tool,
    words: Vec<String>,
}

/// The calls in the shell blocks of a Markdown text.
fn invocations(markdown: &str) -> Vec<Invocation> {
    let mut found = Vec::new();
    let mut block = None;
    for (index, line) in markdown.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(info.trim().to_owned()) };
            continue;
        }
        let line = line.trim();
        let command = match block.as_deref() {
            Some("sh" | "bash" | "shell") => line,
            // In a console block everything without a prompt is output.
            Some("console") => match line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
                Some(command) => command,
                None => continue,
            },
            _ => continue,
        };
        let command = command.split(" #").next().unwrap_or_default();
        for part in command.split(['|', ';', '&']) {
            if let Some((tool, words)) = call(part) {
                found.push(Invocation { number: index + 1, tool, words });
            }
        }
    }
    found
}

/// The tool that a simple command calls, and the words after it.
fn call(command: &str) -> Option<(Tool, Vec<String>)> {
    let assigns =
        |word: &OsString| word.to_str().is_some_and(|word| word.contains('=') && !word.starts_with('-'));
    let mut words =
        command.split_whitespace().map(OsString::from).skip_while(|word| *word == "sudo" || assigns(word));
    let program = words.next()?;
    let tool = if program == "cargo" && words.next()? == "xtask" {
        Tool::Xtask
    } else if Path::new(&program).file_name()? == "portcullis" {
        Tool::Portcullis
    } else {
        return None;
    };
    let words = words.map(|word| word.to_string_lossy().trim_matches(['[', ']', '…']).to_owned());
    Some((tool, words.filter(|word| !word.is_empty()).collect()))
}

/// What is wrong with a call, if anything.
fn fault(
    line: &Invocation,
    help: &mut impl FnMut(Tool, &[String]) -> Result<String>,
) -> Result<Option<String>> {
    let mut path: Vec<String> = Vec::new();
    let mut text = help(line.tool, &path)?;
    let mut after_option = false;
    for word in line.words.iter().take_while(|word| *word != "--") {
        let known = subcommands(&text);
        if word.starts_with('-') {
            after_option = true;
        } else if known.contains(word) {
            path.push(word.clone());
            text = help(line.tool, &path)?;
            after_option = false;
        } else if !known.is_empty() && !after_option {
            let command = [&[line.tool.name().to_owned()], path.as_slice()].concat().join(" ");
            return Ok(Some(format!("`{command}` has no command `{word}`; it has: {}", known.join(", "))));
        }
    }
    if path.is_empty() && !line.words.iter().any(|word| word.starts_with('-')) {
        return Ok(Some(format!("`{}` is called without a command", line.tool.name())));
    }
    for word in line.words.iter().take_while(|word| *word != "--").filter(|word| word.starts_with("--")) {
        let option = word.split('=').next().unwrap_or(word);
        if !has_option(&text, option) {
            let command = [&[line.tool.name().to_owned()], path.as_slice()].concat().join(" ");
            return Ok(Some(format!("`{command}` has no option `{option}`")));
        }
    }
    Ok(None)
}

/// The names below `Commands:` in a help text of clap.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

/// Whether a help text of clap documents an option.
fn has_option(help: &str, option: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || ",[]=<".contains(c)).any(|word| word == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKDOWN: &str = "\
Run `cargo xtask nothing`.
```sh
cargo xtask demo   # shows it
sudo portcullis apply policy.toml && X=1 ./target/debug/portcullis status --json | less
```
```console
$ portcullis catalog show a/b
portcullis output that is no command
```
```text
portcullis import
```
";

    #[test]
    fn calls_are_found_in_shell_blocks_and_after_prompts() {
        let found: Vec<_> = invocations(MARKDOWN)
            .into_iter()
            .map(|line| format!("{} {} {}", line.number, line.tool.name(), line.words.join(" ")))
            .collect();
        let expected = [
            "3 cargo xtask demo",
            "4 portcullis apply policy.toml",
            "4 portcullis status --json",
            "7 portcullis catalog show a/b",
        ];
        assert_eq!(found, expected);
    }

    /// Help texts of a command with the commands `apply` and `catalog` (`list`, `show`).
    fn help(_: Tool, path: &[String]) -> Result<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        Ok(match path[..] {
            [] => "Does it.\n\nCommands:\n  apply    Enforce\n  catalog  Look\n           up\n\nOptions:\n  -h, --help\n",
            ["catalog"] => "Commands:\n  list  All\n  show  One\n\nOptions:\n  -h, --help\n",
            _ => "Options:\n      --confirm <DURATION>  Undo\n  -h, --help\n",
        }
        .to_owned())
    }

    #[test]
    fn commands_and_options_have_to_exist() {
        let cases = [
            ("portcullis apply p.toml --confirm 60s", None),
            ("portcullis apply p.toml [--confirm=60s]", None),
            ("portcullis catalog list", None),
            ("portcullis --help", None),
            ("portcullis aply", Some("`portcullis` has no command `aply`; it has: apply, catalog")),
            ("portcullis catalog lst", Some("`portcullis catalog` has no command `lst`; it has: list, show")),
            ("portcullis apply --force", Some("`portcullis apply` has no option `--force`")),
            ("portcullis", Some("`portcullis` is called without a command")),
        ];
        for (command, expected) in cases {
            let (tool, words) = call(command).expect(command);
            let fault = fault(&Invocation { number: 1, tool, words }, &mut help).expect("help is at hand");
            assert_eq!(fault.as_deref(), expected, "{command}");
        }
    }
}
