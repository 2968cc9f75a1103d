//! Columns: what each column of a table holds.
//!
//! In comes a table; out comes its [`Layout`]: which rows are headers, what every column is, and which
//! shape the table has. A header word proposes, the cells below it decide, since vendors head a column
//! `Service port` that holds services, and leave others without a header. Invariant: a table has ports
//! only if one of its cells says so in full.

use super::fold::Folded;
use super::reading::Readings;
use super::vocabulary::{ColumnWord, Vocabulary};
use super::{Direction, names, split_ranges, surroundings};
use crate::document::{Cell, Row, Table};

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Role,
    Feature,
    Service,
    Ports,
    TcpPorts,
    UdpPorts,
    SourcePorts,
    /// The last port of a range whose first one stands in the column to the left.
    LastPort,
    Protocol,
    Application,
    Source,
    Destination,
    Direction,
    Note,
    Parameter,
    Default,
    Minimum,
    Maximum,
    Url,
    Authentication,
    Rule,
    Required,
    /// Several columns in one, parted by slashes.
    Packed(Vec<Column>),
    Other,
}

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One requirement a row.
    Ports,
    /// Sources down, destinations across, or the other way round.
    Matrix { transposed: bool, parties: bool },
    /// Settings that move ports.
    Settings,
    /// Addresses to reach.
    Names,
    /// Traffic that IPsec leaves alone.
    Ipsec,
}

/// How a table is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// Rows above the first one with content.
    pub(crate) header_rows: usize,
    pub(crate) columns: Vec<Column>,
    pub(crate) headers: Vec<String>,
    /// A title that stands in the table's first rows.
    pub(crate) title: Option<String>,
    /// The direction that a column's header states for its ports.
    pub(crate) directions: Vec<Option<Direction>>,
}

/// Body rows looked at to tell what a column holds.
const SAMPLE: usize = 60;

impl Layout {
    /// How to read `table`, whose surroundings speak of IPsec exceptions if `ipsec`; `None` if it has
    /// neither ports nor addresses.
    pub(crate) fn of(table: &Table, ipsec: bool, readings: &Readings) -> Option<Self> {
        let words = readings.words;
        let (title, titled) = title(table);
        let header_rows = titled + headers(table, titled, readings);
        let width = table.rows.iter().map(|row| row.cells.len()).max()?;
        let headers: Vec<String> =
            (0..width).map(|column| header_text(&table.rows[titled..header_rows], column)).collect();
        let body = &table.rows[header_rows..];
        let contents: Vec<Content> = (0..width).map(|column| Content::of(body, column, readings)).collect();
        let found: Vec<Vec<ColumnWord>> = headers.iter().map(|header| column_words(header, words)).collect();
        let mut columns: Vec<Column> = (0..width)
            .map(|column| decide(&headers[column], &found[column], &contents[column], words))
            .collect();
        let hardware = found.iter().flatten().any(|&word| word == ColumnWord::Hardware)
            && !columns.contains(&Column::Protocol);
        if hardware && !contents.iter().any(|content| content.transported > 0) {
            return None;
        }
        let directions: Vec<Option<Direction>> =
            headers.iter().map(|header| stated_direction(header, words)).collect();
        split_ranges::pair(&mut columns, &headers, body, readings);
        fill_from_flow(&mut columns, &directions, &contents);
        fill_from_content(&mut columns, &contents, header_rows > titled);
        let directions: Vec<Option<Direction>> =
            headers.iter().map(|header| surroundings::direction(header, words)).collect();
        for (column, content) in columns.iter_mut().zip(&contents).zip(&directions).filter_map(
            // `Inbound | Outbound`: a direction heads the ports that go that way.
            |((column, content), direction)| direction.map(|_| (column, content)),
        ) {
            if *column == Column::Other && content.filled > 0 && content.transported * 3 >= content.filled * 2
            {
                *column = Column::Ports;
            }
        }
        let shape = shape(&columns, &found, &headers, &contents, ipsec)?;
        if shape != Shape::Settings {
            settle(&mut columns);
        }
        Some(Self { shape, header_rows, columns, headers, title, directions })
    }

    /// The first column that holds `kind`.
    pub(crate) fn position(&self, kind: &Column) -> Option<usize> {
        self.columns.iter().position(|column| column == kind)
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

/// The title that fills the first row of a table, and the rows that it takes.
fn title(table: &Table) -> (Option<String>, usize) {
    let Some(first) = table.rows.first() else { return (None, 0) };
    match spanning(first) {
        Some(text) if table.rows.len() > 2 && first.cells.len() > 1 => (Some(text), 1),
        _ => (None, 0),
    }
}

/// The text of a row that has only one: a cell over the whole width, or all others empty.
pub(crate) fn spanning(row: &Row) -> Option<String> {
    let mut filled = row.cells.iter().filter(|cell| !cell.is_empty());
    let first = filled.next()?;
    let same = filled.all(|cell| cell.from_left && cell.text == first.text);
    let leads = row.cells.first().is_some_and(|cell| !cell.is_empty());
    (same && leads).then(|| first.one_line())
}

/// How many rows from `start` on are headers.
fn headers(table: &Table, start: usize, readings: &Readings) -> usize {
    if let Some(declared) = table.header_rows.filter(|&rows| rows > start) {
        let declared = declared.min(table.rows.len()) - start;
        return declared + below_header(table, start + declared);
    }
    let Some(row) = table.rows.get(start) else { return 0 };
    let mut known = 0;
    let mut filled = 0;
    for cell in row.cells.iter().filter(|cell| !cell.is_empty() && !cell.from_left) {
        let expression = readings.ports(&cell.text);
        if expression.is_complete() && expression.has_numbers() {
            return 0;
        }
        filled += 1;
        known += usize::from(!column_words(&cell.text, readings.words).is_empty());
    }
    let enough = known >= 2 || known == 1 && filled <= 2 || known * 2 >= filled.max(1) && known > 0;
    if enough { 1 + below_header(table, start + 1) } else { 0 }
}

/// Rows below a header whose cells hang down belong to it.
fn below_header(table: &Table, at: usize) -> usize {
    let hangs = |row: &Row| {
        row.cells.iter().any(|cell| cell.from_above)
            && table.rows[at - 1].cells.iter().any(|cell| cell.from_left)
    };
    usize::from(at > 0 && table.rows.get(at).is_some_and(hangs))
}

/// The header of a column: the texts of all header rows, each once.
fn header_text(rows: &[Row], column: usize) -> String {
    let mut text = String::new();
    for cell in rows.iter().filter_map(|row| row.cells.get(column)) {
        let line = cell.one_line();
        if !line.is_empty() && !cell.from_above {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&line);
        }
    }
    text
}

/// What a header says about its column.
fn column_words(header: &str, words: &Vocabulary) -> Vec<ColumnWord> {
    let folded = Folded::new(header);
    if let Some(word) = words.whole_columns.whole(folded.as_str()) {
        return vec![word];
    }
    let mut found: Vec<ColumnWord> = vec![];
    for phrase in words.columns.find(&folded) {
        if !found.contains(&phrase.meaning) {
            found.push(phrase.meaning);
        }
    }
    found
}

/// What the cells of a column hold: how many of each kind, of those that hold anything.
#[derive(Clone, Debug, Default)]
struct Content {
    filled: usize,
    /// Ports in full, numbers or words.
    ports: usize,
    /// Numbers that could be ports.
    numbers: usize,
    /// Numbers with a transport.
    transported: usize,
    /// Protocols without ports.
    protocols: usize,
    /// Addresses.
    urls: usize,
    /// Directions.
    flows: usize,
    /// Some port language among other text.
    some_ports: usize,
}

impl Content {
    fn of(body: &[Row], column: usize, readings: &Readings) -> Self {
        let mut content = Self::default();
        let cells = body.iter().filter_map(|row| row.cells.get(column));
        for cell in cells.filter(|cell| !cell.is_empty() && !cell.from_left).take(SAMPLE) {
            content.filled += 1;
            let expression = readings.ports(&cell.text);
            let complete = expression.is_complete();
            if complete && expression.has_ports() {
                content.ports += 1;
                content.numbers += usize::from(expression.has_numbers());
                content.transported +=
                    usize::from(expression.has_numbers() && !expression.protocols().is_empty());
            } else if complete && expression.has_protocols() {
                content.protocols += 1;
            } else if expression.has_protocols() && !expression.has_numbers() {
                content.protocols += usize::from(cell.text.chars().count() < 40);
            }
            content.some_ports += usize::from(expression.has_ports());
            content.urls += usize::from(names::is_address(&cell.text));
            content.flows +=
                usize::from(readings.words.flow_cells.whole(Folded::new(&cell.text).as_str()).is_some());
        }
        content
    }

    fn most(&self, count: usize) -> bool {
        self.filled > 0 && count * 2 >= self.filled
    }
}

/// What a column is, by its header and its cells.
fn decide(header: &str, found: &[ColumnWord], content: &Content, words: &Vocabulary) -> Column {
    use ColumnWord as W;
    let has = |word: W| found.contains(&word);
    if let Some(packed) = packed(header, words) {
        return packed;
    }
    let port = has(W::Port) || has(W::SourcePort) || has(W::DestinationPort);
    if port && (content.some_ports > 0 || content.filled == 0) {
        let folded = Folded::new(header);
        let (tcp, udp) = (folded.as_str().contains("tcp"), folded.as_str().contains("udp"));
        return match (tcp, udp) {
            _ if has(W::SourcePort) || has(W::Source) && !has(W::Destination) => Column::SourcePorts,
            (true, false) if !has(W::Protocol) => Column::TcpPorts,
            (false, true) if !has(W::Protocol) => Column::UdpPorts,
            _ if content.most(content.protocols) && content.numbers == 0 => Column::Protocol,
            _ => Column::Ports,
        };
    }
    if has(W::Transport) && !has(W::Protocol) && found.len() == 1 {
        let folded = Folded::new(header);
        return match (folded.as_str().contains("tcp"), folded.as_str().contains("udp")) {
            (true, false) => Column::TcpPorts,
            (false, true) => Column::UdpPorts,
            _ => Column::Protocol,
        };
    }
    if has(W::Protocol) {
        if content.most(content.transported) {
            return Column::Ports;
        }
        if content.protocols * 3 >= content.filled || content.ports > 0 {
            return Column::Protocol;
        }
        return if found.len() == 1 { Column::Application } else { by_word(found) };
    }
    by_word(found)
}

/// The column of the first word in the order of what is said least often in passing.
fn by_word(found: &[ColumnWord]) -> Column {
    use ColumnWord as W;
    let order = [
        (W::Authentication, Column::Authentication),
        (W::Direction, Column::Direction),
        (W::Minimum, Column::Minimum),
        (W::Maximum, Column::Maximum),
        (W::Default, Column::Default),
        (W::Parameter, Column::Parameter),
        (W::Application, Column::Application),
        (W::Source, Column::Source),
        (W::Destination, Column::Destination),
        (W::Role, Column::Role),
        (W::Service, Column::Service),
        (W::Rule, Column::Rule),
        (W::Url, Column::Url),
        (W::Feature, Column::Feature),
        (W::Required, Column::Required),
        (W::Note, Column::Note),
    ];
    order.into_iter().find(|(word, _)| found.contains(word)).map_or(Column::Other, |(_, column)| column)
}

/// `Role/Protocol/TCP or UDP/Port`: several columns in one.
fn packed(header: &str, words: &Vocabulary) -> Option<Column> {
    let parts: Vec<&str> = header.split('/').map(str::trim).collect();
    if parts.len() < 3 {
        return None;
    }
    let kinds: Vec<Column> = parts
        .iter()
        .map(|part| {
            let found = column_words(part, words);
            match found[..] {
                _ if found.contains(&ColumnWord::Transport) => Column::Protocol,
                [ColumnWord::Port, ..] => Column::Ports,
                [ColumnWord::Protocol, ..] => Column::Application,
                _ => by_word(&found),
            }
        })
        .collect();
    let ports = kinds.iter().filter(|&kind| *kind == Column::Ports).count();
    (ports == 1 && !kinds.contains(&Column::Other)).then(|| {
        // Where only one part speaks of protocols, it is the transport.
        let transports = kinds.contains(&Column::Protocol);
        Column::Packed(
            kinds
                .into_iter()
                .map(|kind| if kind == Column::Application && !transports { Column::Protocol } else { kind })
                .collect(),
        )
    })
}

/// The direction that a header states; `In` and `Out` do where they are all of it.
fn stated_direction(header: &str, words: &Vocabulary) -> Option<Direction> {
    surroundings::direction(header, words)
        .or_else(|| surroundings::direction_in(words.flow_cells.whole(Folded::new(header).as_str())))
}

/// Ports below `Inbound` or `Outbound` alone, beside a column of protocols or with their own.
fn fill_from_flow(columns: &mut [Column], directions: &[Option<Direction>], contents: &[Content]) {
    let transports = columns.contains(&Column::Protocol);
    for ((column, direction), content) in columns.iter_mut().zip(directions).zip(contents) {
        let one_way = matches!(direction, Some(Direction::Inbound | Direction::Outbound));
        if one_way
            && matches!(column, Column::Other | Column::Direction)
            && content.most(content.ports)
            && content.numbers > 0
            && (transports || content.transported > 0)
        {
            *column = Column::Ports;
        }
    }
}

/// Gives columns without a telling header the kind of their cells.
fn fill_from_content(columns: &mut [Column], contents: &[Content], headed: bool) {
    let has = |columns: &[Column], kind: &Column| columns.contains(kind);
    let has_ports = |columns: &[Column]| {
        columns.iter().any(|column| {
            matches!(
                column,
                Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Packed(_) | Column::Default
            )
        })
    };
    for at in 0..columns.len() {
        let (content, free) = (&contents[at], matches!(columns[at], Column::Other));
        if free && content.most(content.protocols) && !has(columns, &Column::Protocol) && content.urls == 0 {
            columns[at] = Column::Protocol;
        } else if free && content.most(content.flows) && !has(columns, &Column::Direction) {
            columns[at] = Column::Direction;
        } else if free && content.most(content.urls) && !has(columns, &Column::Url) {
            columns[at] = Column::Url;
        }
    }
    if has_ports(columns) {
        return;
    }
    let proven = |at: usize, content: &Content, columns: &[Column]| {
        let free = matches!(
            columns[at],
            Column::Other
                | Column::Service
                | Column::Feature
                | Column::Note
                | Column::Application
                | Column::Protocol
        );
        free && content.filled > 0 && content.transported * 3 >= content.filled * 2
    };
    if let Some(at) = (0..columns.len()).find(|&at| proven(at, &contents[at], columns)) {
        columns[at] = Column::Ports;
        return;
    }
    // Bare numbers are ports only beside a column of protocols.
    if has(columns, &Column::Protocol) || !headed {
        let numbers = (0..columns.len()).find(|&at| {
            let content = &contents[at];
            let free = matches!(columns[at], Column::Other);
            free && content.filled > 0
                && content.numbers * 3 >= content.filled * 2
                && (has(columns, &Column::Protocol) || content.transported > 0)
        });
        if let Some(at) = numbers {
            columns[at] = Column::Ports;
        }
    }
}

/// The shape of a table with these columns.
fn shape(
    columns: &[Column],
    found: &[Vec<ColumnWord>],
    headers: &[String],
    contents: &[Content],
    ipsec: bool,
) -> Option<Shape> {
    let has = |kind: &Column| columns.contains(kind);
    let ends = has(&Column::Source) && has(&Column::Destination);
    if ends && (has(&Column::Authentication) || ipsec) && (has(&Column::Rule) || has(&Column::Authentication))
    {
        return Some(Shape::Ipsec);
    }
    if let Some(matrix) = matrix(columns, found, contents) {
        return Some(matrix);
    }
    let bounds = has(&Column::Minimum) || has(&Column::Maximum);
    if has(&Column::Default) && (bounds || has(&Column::Parameter)) {
        return Some(Shape::Settings);
    }
    let holds_ports = |at: usize| {
        let content = &contents[at];
        match &columns[at] {
            Column::Ports | Column::TcpPorts | Column::UdpPorts => {
                content.some_ports > 0 || has(&Column::Protocol) && content.filled == 0
            }
            Column::Packed(_) => content.filled > 0,
            _ => false,
        }
    };
    let portless = has(&Column::Protocol)
        && headers.len() > 1
        && found.iter().flatten().any(|word| *word == ColumnWord::Port);
    let flagged =
        columns.iter().filter(|column| matches!(column, Column::TcpPorts | Column::UdpPorts)).count() == 2
            && has(&Column::Ports);
    if (0..columns.len()).any(holds_ports) || portless || flagged {
        return Some(Shape::Ports);
    }
    let addresses = (0..columns.len()).any(|at| {
        contents[at].most(contents[at].urls)
            && matches!(columns[at], Column::Url | Column::Other | Column::Destination | Column::Service)
    });
    addresses.then_some(Shape::Names)
}

/// Ports below several columns that are no ports by their headers: a matrix.
fn matrix(columns: &[Column], found: &[Vec<ColumnWord>], contents: &[Content]) -> Option<Shape> {
    use ColumnWord as W;
    let corner = found.first()?;
    let sources_across = corner.contains(&W::TransposedParties);
    let parties = corner.contains(&W::Parties) || sources_across;
    let known = columns.iter().skip(1).any(|column| {
        matches!(
            column,
            Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Protocol | Column::Packed(_)
        )
    });
    let full = |content: &Content| content.filled > 0 && content.transported * 2 >= content.filled;
    let across = contents.iter().skip(1).filter(|content| full(content)).count();
    (parties && across >= 1 || !known && across >= 2 || across >= 3 && across * 2 >= contents.len())
        .then_some(Shape::Matrix { transposed: sources_across, parties })
}

/// Settles what only the whole table tells: what names a row, and where its ports are.
fn settle(columns: &mut [Column]) {
    let count = |columns: &[Column], kind: &Column| columns.iter().filter(|&column| column == kind).count();
    let named = count(columns, &Column::Role) > 0
        || columns
            .iter()
            .any(|column| matches!(column, Column::Packed(kinds) if kinds.contains(&Column::Role)));
    let first = columns.iter().position(|column| !matches!(column, Column::Required | Column::Direction));
    if let (false, Some(first)) = (named, first)
        && columns[first] == Column::Feature
    {
        columns[first] = Column::Role;
    }
    // The leftmost text column names the row where no header does.
    let text =
        count(columns, &Column::Role) + count(columns, &Column::Service) + count(columns, &Column::Feature)
            > 0;
    if let (false, false, Some(first)) = (named, text, first)
        && columns[first] == Column::Other
    {
        columns[first] = Column::Service;
    }
    if count(columns, &Column::Service) == 0
        && let Some(feature) = columns.iter().position(|column| *column == Column::Feature)
    {
        columns[feature] = Column::Service;
    }
    for column in columns.iter_mut().filter(|column| **column == Column::Feature) {
        *column = Column::Note;
    }
}
