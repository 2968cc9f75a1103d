//! Columns: what each column of a table holds.
//!
//! In comes a table; out comes its [`Layout`]: which rows are headers, what every column is, and which
//! shape the table has. A header word proposes, the cells below it decide, since vendors head a column
//! `Service port` that holds services, and leave others without a header. Invariant: a table has ports
//! only if one of its cells says so in full.

mod content;
mod decide;
mod headers;
mod shape;
mod transposed;

use serde::Deserialize;

use self::content::Content;
pub(crate) use self::decide::{packed, says_protocol};
pub(crate) use self::headers::spanning;
pub(crate) use self::shape::Shape;
pub(crate) use self::transposed::upright;
use super::fold::Folded;
use super::reading::Readings;
use super::vocabulary::Vocabulary;
use super::{Direction, action, split_ranges, title};
use crate::document::{Cell, Row, Table};

/// What a column holds, and what a word of its header says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Column {
    Role,
    Feature,
    Service,
    #[serde(rename = "port")]
    Ports,
    #[serde(rename = "source_port")]
    SourcePorts,
    /// Only a word: the ports of a destination are what a column of ports holds.
    #[serde(rename = "destination_port")]
    DestinationPorts,
    #[serde(skip)]
    TcpPorts,
    #[serde(skip)]
    UdpPorts,
    /// The last port of a range whose first one stands in the column to the left.
    #[serde(skip)]
    LastPort,
    Protocol,
    /// Only a word: `TCP` or `UDP`, or both.
    #[serde(skip)]
    Transport,
    Application,
    Source,
    Destination,
    /// The other end: the source of what is inbound, the destination of what is outbound.
    Peer,
    Direction,
    Note,
    Parameter,
    Default,
    /// Only a word: the default of a setting beside its name or bounds, a column of ports anywhere else.
    DefaultPort,
    /// Only a word: the port inside of a container or behind a translation, which nobody else uses; a column of ports
    /// where no other is.
    InnerPort,
    Minimum,
    Maximum,
    Url,
    Authentication,
    Rule,
    Required,
    /// What a rule does with the traffic: allow or deny it.
    Action,
    /// The numbers of the rows.
    Number,
    /// Only a word: a destination right behind a column of sources, a purpose anywhere else, as `назначение`.
    Aim,
    /// Only a word: a column of hardware, whose table is about sockets and not about ports.
    Hardware,
    /// Only a word: `From / To`, the corner of a matrix.
    Parties,
    /// Only a word: `To / From`, the corner of a matrix with its sources across.
    TransposedParties,
    /// Several columns in one, parted by slashes: [`Layout::packed`].
    #[serde(skip)]
    Packed,
    /// Nothing of all this; as a word, that numbers in the column are no ports: versions, amounts, times.
    Other,
}

impl Column {
    /// Whether a header with this word heads ports that listen.
    pub(crate) fn heads_ports(self) -> bool {
        matches!(self, Self::Ports | Self::DestinationPorts)
    }
}

/// How a table is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// Rows above the first one with content.
    pub(crate) header_rows: usize,
    pub(crate) columns: Vec<Column>,
    /// What each column packs, in the order of its parts; nothing where it is one column.
    pub(crate) packed: Vec<Vec<Column>>,
    pub(crate) headers: Vec<String>,
    /// Whether the header of each column allows or denies: `Allowed`, with yes or no below it.
    pub(crate) actions: Vec<Option<bool>>,
    /// The column of notes that says what its rows are for.
    pub(crate) purpose: Option<usize>,
    /// Titles that stand in the table's first rows.
    pub(crate) titles: Vec<String>,
    /// The direction that a column's header states for its ports.
    pub(crate) directions: Vec<Option<Direction>>,
}

impl Layout {
    /// How to read `table`, whose surroundings speak of IPsec exceptions if `ipsec`, and say whose ports it has if
    /// `headed`; `None` if it has neither ports nor addresses.
    pub(crate) fn of(table: &Table, ipsec: bool, headed: bool, readings: &Readings) -> Option<Self> {
        let words = readings.words;
        let titles = headers::titles(table, readings);
        let titled = titles.len();
        let header_rows = titled + headers::headers(table, titled, readings);
        let width = table.rows.iter().map(|row| row.cells.len()).max()?;
        let headers: Vec<String> =
            (0..width).map(|column| headers::header_text(&table.rows[titled..header_rows], column)).collect();
        let body = &table.rows[header_rows..];
        let lowest = &table.rows[header_rows.saturating_sub(1).max(titled)..header_rows];
        let mut found: Vec<Vec<Column>> = headers
            .iter()
            .enumerate()
            .map(|(column, header)| match headers::column_words(header, words) {
                // `Endpoints` over `From` and `To`: what stands right above the cells says what they are.
                found if found.is_empty() => {
                    headers::column_words(&headers::header_text(lowest, column), words)
                }
                found => found,
            })
            .collect();
        let contents: Vec<Content> = (0..width)
            .map(|column| Content::of(body, column, decide::may_hold_ports(&found[column]), readings))
            .collect();
        let stated: Vec<Option<Direction>> =
            headers.iter().map(|header| stated_direction(header, words)).collect();
        decide::oppose(&mut found, &stated);
        decide::aim(&mut found);
        decide::types(&mut found, &headers, words);
        decide::default_ports(&mut found);
        decide::inner_ports(&mut found);
        decide::ends(&mut found);
        let packed: Vec<Vec<Column>> =
            headers.iter().map(|header| packed(header, words).unwrap_or_default()).collect();
        let mut columns: Vec<Column> = (0..width)
            .map(|column| match packed[column][..] {
                [] => decide::decide(&headers[column], &found[column], &contents[column]),
                _ => Column::Packed,
            })
            .collect();
        let hardware = found.iter().flatten().any(|&word| word == Column::Hardware)
            && !columns.contains(&Column::Protocol);
        if hardware && !contents.iter().any(|content| content.transported > 0) {
            return None;
        }
        split_ranges::pair(&mut columns, &headers, body, readings);
        shape::fill_from_flow(&mut columns, &stated, &contents);
        shape::fill_from_content(&mut columns, &found, &contents, header_rows > titled);
        let directions: Vec<Option<Direction>> =
            headers.iter().map(|header| title::direction(header, words)).collect();
        shape::fill_from_direction(&mut columns, &directions, &contents);
        let shape = shape::shape(&columns, &found, &headers, &contents, ipsec)?;
        if shape != Shape::Settings {
            decide::purposes(&mut columns, &headers, words);
            shape::settle(
                &mut columns,
                &headers,
                headed || packed.iter().any(|kinds| kinds.contains(&Column::Role)),
            );
        }
        let actions = headers.iter().map(|header| action::of(header, words)).collect();
        let purpose = purpose(&columns);
        Some(Self { shape, header_rows, columns, packed, headers, actions, purpose, titles, directions })
    }

    /// The first column that holds `kind`.
    pub(crate) fn position(&self, kind: Column) -> Option<usize> {
        self.columns.iter().position(|&column| column == kind)
    }

    /// How the columns were understood, for people.
    pub(crate) fn describe(&self) -> String {
        let column = |(header, column): (&String, &Column)| format!("{header} = {column:?}");
        self.headers.iter().zip(&self.columns).map(column).collect::<Vec<_>>().join("; ")
    }

    /// Whether `row` repeats the header.
    pub(crate) fn repeats_header(&self, row: &Row) -> bool {
        let same = |(cell, header): (&Cell, &String)| cell.one_line() == *header;
        self.headers.iter().any(|header| !header.is_empty())
            && row.cells.len() == self.headers.len()
            && row.cells.iter().zip(&self.headers).all(same)
    }
}

/// The only column with text, where it holds notes and no end names its rows.
fn purpose(columns: &[Column]) -> Option<usize> {
    let tells = |kind: &Column| {
        matches!(
            kind,
            Column::Role
                | Column::Source
                | Column::Destination
                | Column::Peer
                | Column::Service
                | Column::Feature
                | Column::Application
                | Column::Packed
                | Column::Rule
        )
    };
    let mut notes = (0..columns.len()).filter(|&at| columns[at] == Column::Note);
    let note = notes.next().filter(|_| notes.next().is_none())?;
    (!columns.iter().any(tells)).then_some(note)
}

/// The direction that a header states; `In` and `Out` do where they are all of it.
fn stated_direction(header: &str, words: &Vocabulary) -> Option<Direction> {
    title::direction(header, words)
        .or_else(|| title::direction_in(words.flow_cells.whole(Folded::new(header).as_str())))
}
