//! Tables: the rows of one table to requirements, by the table's shape.
//!
//! In come a table, its layout's shape and its surroundings; out come what its rows require. This module
//! takes out the rows that are no rows (repeated headers, section labels, footnotes) and hands the rest
//! to the reader of the shape. Invariant: each other row ends in the import or in its diagnostics.

use super::columns::{Column, Layout, Shape, spanning};
use super::fold::Folded;
use super::footnotes::Footnotes;
use super::import::Import;
use super::names::{self, Name};
use super::outcome::{Outcome, RowOutcome};
use super::reading::Readings;
use super::subject::Subject;
use super::surroundings::Scope;
use super::title::{self, Parties};
use super::{Diagnostic, action, ipsec, matrix, rows, settings};
use crate::document::{Cell, Row, Table};

/// A table on the way to its requirements.
pub(crate) struct Context<'a> {
    pub(crate) name: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) scope: &'a Scope,
    pub(crate) footnotes: &'a Footnotes,
    pub(crate) readings: &'a Readings,
}

/// A label inside of a table, which holds for the rows below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub(crate) role: Option<String>,
    pub(crate) direction: Option<super::Direction>,
    pub(crate) parties: Option<Parties>,
    /// Whether it says that its ports are blocked, if it speaks of that.
    pub(crate) blocked: Option<bool>,
}

/// Reads a table; tells how its columns were understood.
pub(crate) fn read(
    table: &Table,
    name: &str,
    scope: &Scope,
    mut footnotes: Footnotes,
    readings: &Readings,
    import: &mut Import,
) -> Option<String> {
    let speaks_of_ipsec =
        scope.titles.iter().take(2).any(|title| !readings.words.ipsec.find(&Folded::new(title)).is_empty());
    let headed = scope.titles.first().is_some_and(|title| {
        title::names_subject(title, readings.words) || title::is_name(title, readings.words)
    });
    let layout = Layout::of(table, speaks_of_ipsec, headed, readings)?;
    let mut scope = scope.clone();
    for title in &layout.titles {
        // A title row heads the table as a caption does.
        scope.direction = title::direction(title, readings.words).or(scope.direction);
        scope.parties = title::parties(title, readings.words).or(scope.parties);
        if scope.parties.is_none() {
            scope.captioned_role = title::role(title, readings.words).or(scope.captioned_role);
        }
        scope.blocked = action::stance(title, readings.words).unwrap_or(scope.blocked);
        scope.titles.insert(0, title.clone());
    }
    scope.blocked |= action::gives_reasons(&layout, readings.words);
    let body = &table.rows[layout.header_rows..];
    let notes: Vec<bool> =
        body.iter().map(|row| layout.columns.len() > 1 && footnotes.row(row, readings.words)).collect();
    let sections = sections(body, &notes, readings);
    let context = Context { name, layout: &layout, scope: &scope, footnotes: &footnotes, readings };
    let subject = Subject::of(body, &layout, readings);
    let mut section = Section::default();
    let mut carried = rows::Carried::default();
    let heads = &table.rows[..layout.header_rows];
    import.rows.extend(heads.iter().map(|row| RowOutcome { line: row.line, outcome: Outcome::Header }));
    for (at, row) in body.iter().enumerate() {
        let aside = if row.cells.iter().all(Cell::is_empty) {
            Some(Outcome::Blank)
        } else if notes[at] {
            Some(Outcome::Footnote)
        } else if layout.repeats_header(row) {
            Some(Outcome::Repeated)
        } else {
            sections[at].then_some(Outcome::Label)
        };
        if let Some(outcome) = aside {
            if outcome == Outcome::Label {
                section = label(&spanning(row).unwrap_or_default(), readings);
                carried = rows::Carried::default();
            }
            import.rows.push(RowOutcome { line: row.line, outcome });
            continue;
        }
        let (before, reported) = (import.found(), import.diagnostics.len());
        match layout.shape {
            Shape::Ports | Shape::Matrix { .. } | Shape::Settings | Shape::Names
                if section.blocked.unwrap_or(scope.blocked) =>
            {
                import.diagnostics.push(Diagnostic::new(row.line, &shown(row), action::FORBIDS));
            }
            Shape::Ports => rows::read(row, &context, &section, &subject, &mut carried, import),
            Shape::Matrix { transposed, parties } => matrix::read(row, &context, transposed, parties, import),
            Shape::Settings => settings::read(row, &context, import),
            Shape::Ipsec => match ipsec::exception(row, &layout, readings) {
                Some(exception) => import.ipsec_exceptions.push(exception),
                None => import.diagnostics.push(Diagnostic::new(
                    row.line,
                    &shown(row),
                    "the row names neither rule nor ends: complete it",
                )),
            },
            Shape::Names => name_row(row, &layout, import),
        }
        let outcome = if import.found() != before {
            Outcome::Read
        } else if import.diagnostics.len() > reported {
            Outcome::Reported
        } else {
            Outcome::Nothing
        };
        import.rows.push(RowOutcome { line: row.line, outcome });
    }
    Some(layout.describe())
}

/// The text of a row, for diagnostics.
pub(crate) fn shown(row: &Row) -> String {
    let cells: Vec<String> = row.cells.iter().filter(|cell| !cell.from_left).map(Cell::one_line).collect();
    cells.join(" | ")
}

/// Which rows are labels for those below them.
fn sections(body: &[Row], notes: &[bool], readings: &Readings) -> Vec<bool> {
    let alone: Vec<bool> = body
        .iter()
        .zip(notes)
        .map(|(row, &note)| {
            !note
                && row.cells.len() > 1
                && spanning(row).is_some_and(|text| {
                    !readings.complete(&text).is_some_and(|expression| expression.has_numbers())
                })
        })
        .collect();
    let several = alone.iter().filter(|&&alone| alone).count() >= 2;
    let is_section = |at: usize| {
        // A label is followed by a row of its own; a lone row without ports is a broken one.
        let Some(next) =
            body.get(at + 1).filter(|next| !alone[at + 1] && !next.cells.iter().all(Cell::is_empty))
        else {
            return false;
        };
        let wide = body[at].cells.iter().any(|cell| cell.from_left);
        let indented = next.cells.first().is_some_and(Cell::is_empty);
        let text = spanning(&body[at]).unwrap_or_default();
        let telling = || {
            title::direction(&text, readings.words).is_some()
                || title::parties(&text, readings.words).is_some()
        };
        wide || several || indented || text.ends_with([':', '：']) || telling()
    };
    (0..body.len()).map(|at| alone[at] && is_section(at)).collect()
}

fn label(text: &str, readings: &Readings) -> Section {
    let text = text.trim_end_matches([':', '：']).trim();
    Section {
        role: title::role(text, readings.words),
        direction: title::direction(text, readings.words),
        parties: title::parties(text, readings.words),
        blocked: action::stance(text, readings.words),
    }
}

/// A row of a table of addresses.
fn name_row(row: &Row, layout: &Layout, import: &mut Import) {
    let at = layout
        .position(Column::Url)
        .or_else(|| row.cells.iter().position(|cell| names::is_address(&cell.text)));
    let cell = at.and_then(|at| row.cells.get(at));
    let purpose: Vec<String> = row
        .cells
        .iter()
        .enumerate()
        .filter(|(column, cell)| Some(*column) != at && !cell.is_empty() && !cell.from_left)
        .map(|(_, cell)| cell.one_line())
        .collect();
    let addresses = cell.map(|cell| names::addresses(&cell.text)).unwrap_or_default();
    if addresses.is_empty() {
        import.diagnostics.push(Diagnostic::new(
            row.line,
            &shown(row),
            "no address can be read here: write it as `https://host` or `*.host`",
        ));
    }
    for address in addresses {
        import.names.push(Name::new(row.line, address, purpose.join(" – ")));
    }
}

#[cfg(test)]
mod tests {
    use crate::requirement::import::Import;
    use crate::requirement::{Direction, Requirement};

    fn row(text: &str) -> Requirement {
        let import = Import::read(text.as_bytes(), "ports.md").expect("a document");
        assert_eq!(import.requirements.len(), 1, "{import:?}");
        import.requirements.into_iter().next().expect("a requirement")
    }

    #[test]
    fn purposes_are_no_roles_and_no_ends() {
        for header in ["| Port | Protocole | Rôle |", "| Port | Protocole | Rôle / Description |"] {
            let row = row(&format!("{header}\n|---|---|---|\n| 443 | TCP | portail |\n"));
            assert_eq!((row.role.as_str(), row.service.as_str()), ("", "portail"), "{header}");
        }
        let before = row("| Rôle | Port | Protocole |\n|---|---|---|\n| relais | 443 | TCP |\n");
        assert_eq!(before.role, "relais");
        let japanese =
            row("| ポート | プロトコル | 送信元 | 目的 |\n|---|---|---|---|\n| 443 | TCP | 端末 | 監視 |\n");
        assert_eq!((japanese.destination.as_str(), japanese.service.as_str()), ("", "監視"));
        let chinese = row("| 端口 | 协议 | 源 | 目的 |\n|---|---|---|---|\n| 443 | TCP | 终端 | 网关 |\n");
        assert_eq!(chinese.destination, "网关");
        for header in ["| Puerto | Protocolo | Objetivo |", "| Porta | Protocollo | Obiettivo |"] {
            let row = row(&format!("{header}\n|---|---|---|\n| 443 | TCP | panel |\n"));
            assert_eq!((row.destination.as_str(), row.service.as_str()), ("", "panel"), "{header}");
        }
    }

    #[test]
    fn a_direction_alone_in_a_cell_is_the_direction_of_its_row() {
        use Direction::{Both, Inbound, Outbound};
        for (header, cell, expected) in [
            ("Descrição", "Saída", Outbound),
            ("Descrição", "Entrada", Inbound),
            ("Descripción", "Salida", Outbound),
            ("Descrizione", "Uscita", Outbound),
            ("Descrizione", "Entrata", Inbound),
            ("Description", "Sortie", Outbound),
            ("Beschreibung", "Ausgang", Outbound),
            ("Hinweis", "Eingang", Inbound),
            ("Notes", "Listening", Inbound),
            ("Notes", "Listening and outbound", Both),
            ("説明", "待機", Inbound),
            ("説明", "待機およびアウトバウンド", Both),
            ("接続方向", "送信", Outbound),
            ("通過方向", "受信", Inbound),
        ] {
            let text = format!(
                "| Service | Port | Protocol | {header} |\n|---|---|---|---|\n| web | 443 | TCP | {cell} |\n"
            );
            assert_eq!(row(&text).direction, expected, "{header}: {cell}");
        }
    }
}
