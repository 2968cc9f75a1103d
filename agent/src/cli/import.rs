//! `portcullis import`: documents to a catalog file or to JSON.

use std::io::{Read as _, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{Outcome as Exit, output::json_line};
use crate::catalog::System;
use crate::document::limits::MAX_BYTES;
use crate::files;
use crate::requirement::slug::slug;
use crate::requirement::{Import, Outcome};
use crate::terminal::{Escaped, shown};

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
    /// Exit with 1 where anything could not be read; the output is the same.
    #[arg(long)]
    strict: bool,
    /// Tell how this line of the document was read, instead of printing requirements.
    #[arg(long, value_name = "LINE")]
    explain: Option<u32>,
}

impl ImportArgs {
    pub(super) fn prints_json(&self) -> bool {
        self.format == Format::Json
    }
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
pub(super) fn run(args: &ImportArgs, out: &mut Escaped<impl Write>) -> anyhow::Result<Exit> {
    let mut imports = vec![];
    for path in &args.documents {
        let import = import(path)?;
        for diagnostic in &import.diagnostics {
            complain!("{}:{}: {}: {}", path.display(), diagnostic.line, diagnostic.message, diagnostic.text);
        }
        if args.explain.is_none() {
            complain!("{}: {}", path.display(), summary(&import));
        }
        imports.push(import);
    }
    if let Some(line) = args.explain {
        for import in &imports {
            explain(import, line, out)?;
        }
        return Ok(Exit::Done);
    }
    let found = imports.iter().any(|import| !import.diagnostics.is_empty());
    match args.format {
        Format::Json => {
            // One line a document, so that several can be read one by one.
            for import in &imports {
                json_line(out, import)?;
            }
        }
        Format::Toml => {
            let title =
                imports.first().map(|import| slug(&import.document.title)).filter(|name| !name.is_empty());
            let name = args.system.clone().or(title).unwrap_or_else(|| "system".to_owned());
            // The process ends behind this: to take a large system apart first would only take time.
            let system = ManuallyDrop::new(System::draft(&name, imports));
            write!(out.as_is(), "{}", system.file())?;
        }
    }
    Ok(if found && args.strict { Exit::Failed } else { Exit::Done })
}

/// How much was read, for a person who wonders whether that is all.
fn summary(import: &Import) -> String {
    let number = |count: usize, one: &str, many: &str| {
        if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
    };
    if import.requirements.is_empty() && import.names.is_empty() && import.ipsec_exceptions.is_empty() {
        return "no ports or addresses found: `--help` tells which formats are read".to_owned();
    }
    let mut parts = vec![
        number(import.requirements.len(), "requirement", "requirements"),
        format!("from {}", number(import.tables.len(), "table", "tables")),
    ];
    if !import.names.is_empty() {
        parts.insert(1, number(import.names.len(), "address", "addresses"));
    }
    if !import.ipsec_exceptions.is_empty() {
        parts.insert(1, number(import.ipsec_exceptions.len(), "IPsec exception", "IPsec exceptions"));
    }
    let unread = import.count(Outcome::Reported);
    if unread > 0 {
        parts.push(format!("{} not read, see above", number(unread, "row", "rows")));
    }
    parts.join(", ").replacen(", from", " from", 1)
}

/// Tells how a line was read: its table, its columns, and what came of it.
fn explain(import: &Import, line: u32, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}:{line}", shown(&import.document.file))?;
    let row = import.rows.iter().find(|row| row.line == line);
    let table = row.and_then(|_| import.tables.iter().rfind(|table| table.line <= line));
    if let (Some(row), Some(table)) = (row, table) {
        writeln!(
            out,
            "  {} of table {} (line {}) {}",
            row.outcome.describe(),
            shown(&table.name),
            table.line,
            shown(&table.title)
        )?;
        for column in table.columns.split("; ").filter(|column| !column.is_empty()) {
            writeln!(out, "    column {}", shown(column))?;
        }
    }
    let mut silent = row.is_none();
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
        writeln!(out, "  unread: {} ({})", shown(&diagnostic.message), shown(&diagnostic.text))?;
    }
    if silent {
        let before = import.rows.iter().rev().find(|row| row.line < line);
        let behind = import.rows.iter().find(|row| row.line > line);
        let near: Vec<String> =
            before.into_iter().chain(behind).map(|row| format!("line {}", row.line)).collect();
        writeln!(out, "  nothing: no row with ports or addresses begins on this line")?;
        if !near.is_empty() {
            writeln!(out, "  the nearest rows begin on {}", near.join(" and "))?;
        }
    }
    Ok(())
}

/// Imports the document at `path`.
///
/// # Errors
///
/// Where the file cannot be read, or is no document.
pub(super) fn import(path: &Path) -> anyhow::Result<Import> {
    let limit = MAX_BYTES as u64;
    let bytes = if path == Path::new("-") {
        let mut bytes = vec![];
        // One more, so that more than may be read is noticed.
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes).context("standard input")?;
        bytes
    } else {
        files::read(path, limit)?
    };
    Import::read(&bytes, &path.to_string_lossy()).with_context(|| path.display().to_string())
}
