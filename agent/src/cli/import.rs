//! `portcullis import`: documents to a catalog file or to JSON.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::Outcome;
use crate::catalog::System;
use crate::document::limits::MAX_BYTES;
use crate::requirement::Import;
use crate::requirement::slug::slug;

/// Reads vendors' documents and prints what they require.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Documents: Markdown, HTML, text, CSV, TSV or XLSX; `-` for standard input.
    #[arg(required = true, value_name = "DOC")]
    documents: Vec<PathBuf>,
    /// Name of the system in the catalog file; by default the first document's title.
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
    /// Fail where anything could not be read.
    #[arg(long)]
    strict: bool,
    /// Tell how this line was read, instead of printing requirements.
    #[arg(long, value_name = "LINE")]
    explain: Option<u32>,
}

/// Forms of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A catalog file, for review.
    Toml,
    /// The requirements and everything beside them.
    Json,
}

/// Runs the command.
///
/// # Errors
///
/// Where a document cannot be read or the output not be written.
pub(super) fn run(args: &ImportArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let mut imports = vec![];
    for path in &args.documents {
        let import = import(path)?;
        for diagnostic in &import.diagnostics {
            eprintln!("{}:{}: {}: {}", path.display(), diagnostic.line, diagnostic.message, diagnostic.text);
        }
        imports.push(import);
    }
    if let Some(line) = args.explain {
        for import in &imports {
            explain(import, line, out)?;
        }
        return Ok(Outcome::Done);
    }
    let found = imports.iter().any(|import| !import.diagnostics.is_empty());
    match args.format {
        Format::Json => {
            // One line a document, so that several can be read one by one.
            for import in &imports {
                serde_json::to_writer(&mut *out, import)?;
                writeln!(out)?;
            }
        }
        Format::Toml => {
            let title =
                imports.first().map(|import| slug(&import.document.title)).filter(|name| !name.is_empty());
            let name = args.system.clone().or(title).unwrap_or_else(|| "system".to_owned());
            out.write_all(System::draft(&name, imports).to_toml().as_bytes())?;
        }
    }
    Ok(if found && args.strict { Outcome::Failed } else { Outcome::Done })
}

/// Tells how a line was read: its table, its columns, and what came of it.
fn explain(import: &Import, line: u32, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}:{line}", import.document.file)?;
    if let Some(table) = import.tables.iter().rfind(|table| table.line <= line) {
        writeln!(out, "  table {} (line {}) {}", table.name, table.line, table.title)?;
        for column in table.columns.split("; ").filter(|column| !column.is_empty()) {
            writeln!(out, "    column {column}")?;
        }
    }
    let mut silent = true;
    for requirement in import.requirements.iter().filter(|requirement| requirement.line == line) {
        silent = false;
        writeln!(out, "  requires {}", serde_json::to_string(requirement)?)?;
    }
    for name in import.names.iter().filter(|name| name.line == line) {
        silent = false;
        writeln!(out, "  names {}", serde_json::to_string(name)?)?;
    }
    for exception in import.ipsec_exceptions.iter().filter(|exception| exception.line == line) {
        silent = false;
        writeln!(out, "  excepts {}", serde_json::to_string(exception)?)?;
    }
    for diagnostic in import.diagnostics.iter().filter(|diagnostic| diagnostic.line == line) {
        silent = false;
        writeln!(out, "  unread: {} ({})", diagnostic.message, diagnostic.text)?;
    }
    if silent {
        writeln!(out, "  nothing: no row with ports or addresses begins on this line")?;
    }
    Ok(())
}

/// Imports the document at `path`.
///
/// # Errors
///
/// Where the file cannot be read, or is no document.
pub(super) fn import(path: &Path) -> anyhow::Result<Import> {
    let mut bytes = vec![];
    let limit = MAX_BYTES as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).context("standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        file.take(limit).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    }
    Import::read(&bytes, &path.to_string_lossy()).with_context(|| path.display().to_string())
}
