//! Decisions: what a column is, by its header and its cells.
//!
//! In come the words of a header and the contents of its column; out comes a [`Column`]. Invariant: a column is
//! one of ports by its header only if some cell has one, or if none holds anything.

use super::Column;
use super::content::Content;
use super::headers::column_words;
use crate::requirement::fold::Folded;
use crate::requirement::vocabulary::Vocabulary;
use crate::requirement::{Direction, flows};

/// What a column is, by its header and its cells.
pub(super) fn decide(header: &str, found: &[Column], content: &Content) -> Column {
    let has = |word: Column| found.contains(&word);
    let port = has(Column::Ports) || has(Column::SourcePorts) || has(Column::DestinationPorts);
    if found == [Column::Number] || content.running && !port {
        return Column::Number;
    }
    if content.actions > 0 && content.actions == content.filled
        || has(Column::Action) && content.some_actions > 0
    {
        return Column::Action;
    }
    let folded = Folded::new(header);
    let (tcp, udp) = (folded.as_str().contains("tcp"), folded.as_str().contains("udp"));
    if port && (content.some_ports > 0 || content.filled == 0) {
        return match (tcp, udp) {
            _ if has(Column::SourcePorts) || has(Column::Source) && !has(Column::Destination) => {
                Column::SourcePorts
            }
            (true, false) if !has(Column::Protocol) => Column::TcpPorts,
            (false, true) if !has(Column::Protocol) => Column::UdpPorts,
            _ if content.most(content.protocols) && content.numbers == 0 => Column::Protocol,
            _ => Column::Ports,
        };
    }
    if found == [Column::Transport] {
        return match (tcp, udp) {
            (true, false) => Column::TcpPorts,
            (false, true) => Column::UdpPorts,
            _ => Column::Protocol,
        };
    }
    if has(Column::Protocol) {
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

/// Whether ports or protocols would be no surprise below a header with these words.
pub(super) fn may_hold_ports(found: &[Column]) -> bool {
    let speaks = |word: &Column| {
        matches!(
            word,
            Column::Ports
                | Column::SourcePorts
                | Column::DestinationPorts
                | Column::Protocol
                | Column::Transport
                | Column::Default
                | Column::DefaultPort
                | Column::InnerPort
                | Column::Parties
                | Column::TransposedParties
        )
    };
    found.is_empty() || found.iter().any(speaks)
}

/// Beside a column of inbound ports the outbound port is the one that is dialled, and not the one that the
/// conversation comes from, as languages call it that have one word for both.
pub(super) fn oppose(found: &mut [Vec<Column>], directions: &[Option<Direction>]) {
    let inbound = found
        .iter()
        .zip(directions)
        .any(|(words, direction)| *direction == Some(Direction::Inbound) && words.contains(&Column::Ports));
    if !inbound {
        return;
    }
    for (words, _) in
        found.iter_mut().zip(directions).filter(|(_, direction)| **direction == Some(Direction::Outbound))
    {
        for word in words.iter_mut().filter(|word| **word == Column::SourcePorts) {
            *word = Column::Ports;
        }
    }
}

/// `Type | Protocol`: beside a column that says outright that it holds protocols, one that may hold them says what the
/// row is for.
pub(super) fn types(found: &mut [Vec<Column>], headers: &[String], words: &Vocabulary) {
    let (says, may_say): (Vec<usize>, Vec<usize>) = (0..found.len())
        .filter(|&at| found[at] == [Column::Protocol])
        .partition(|&at| says_protocol(&headers[at], words));
    if !says.is_empty() {
        may_say.into_iter().for_each(|at| found[at] = vec![Column::Feature]);
    }
}

/// Whether a header says that its column holds protocols, whatever is in it: `Protocol` does, `Type` does not.
pub(crate) fn says_protocol(header: &str, words: &Vocabulary) -> bool {
    words.columns.find(&Folded::new(header)).iter().any(|found| found.meaning == Column::Protocol)
}

/// Words that stand for two things are the destination right behind a column of sources, if no other is.
pub(super) fn aim(found: &mut [Vec<Column>]) {
    let waits = !found.iter().any(|words| words.contains(&Column::Destination));
    for column in 0..found.len() {
        let behind = column > 0 && found[column - 1].contains(&Column::Source);
        for word in found[column].iter_mut().filter(|word| **word == Column::Aim) {
            *word = if waits && behind { Column::Destination } else { Column::Feature };
        }
    }
}

/// Columns of purposes that are called as roles or ends are elsewhere: `Rôle` behind the ports of a table without
/// another role, and `目的` in a Japanese table, which kana in its headers tell from a Chinese one.
pub(super) fn purposes(columns: &mut [Column], headers: &[String], words: &Vocabulary) {
    let kana = headers.iter().flat_map(|header| header.chars()).any(|c| matches!(c, 'ぁ'..='ヺ' | 'ー'));
    let lone = columns.iter().filter(|&kind| *kind == Column::Role).count() == 1;
    let ports = columns.iter().position(flows::holds_ports);
    for (at, (column, header)) in columns.iter_mut().zip(headers).enumerate() {
        let may_be = match column {
            Column::Role => lone && ports.is_some_and(|ports| ports < at),
            Column::Destination => kana,
            _ => false,
        };
        // Folding takes away the accent that tells the two apart.
        let header = header.split('/').next().unwrap_or_default().trim().to_lowercase();
        if may_be && words.purposes.contains(&header) {
            *column = Column::Feature;
        }
    }
}

/// `Default port` is the default of a setting beside its name or bounds, and a column of ports anywhere else.
pub(super) fn default_ports(found: &mut [Vec<Column>]) {
    let setting = |word: &Column| matches!(word, Column::Parameter | Column::Minimum | Column::Maximum);
    let own = if found.iter().flatten().any(setting) { Column::Default } else { Column::Ports };
    found.iter_mut().flatten().filter(|word| **word == Column::DefaultPort).for_each(|word| *word = own);
}

/// Beside the port that others use, the one that it is mapped to is a note.
pub(super) fn inner_ports(found: &mut [Vec<Column>]) {
    let inner = |words: &Vec<Column>| words.contains(&Column::InnerPort);
    let outer = found.iter().any(|words| words.contains(&Column::Ports) && !inner(words));
    for words in found.iter_mut().filter(|words| inner(words)) {
        *words = vec![if outer { Column::Note } else { Column::Ports }];
    }
}

/// `Source | Port | Destination | Port`: of two columns that are headed alike, the one behind the source holds its
/// ports.
pub(super) fn ends(found: &mut [Vec<Column>]) {
    let behind = |found: &[Vec<Column>], end: Column| {
        found.windows(2).position(|two| two[0] == [end] && two[1] == [Column::Ports]).map(|at| at + 1)
    };
    if let (Some(source), Some(_)) = (behind(found, Column::Source), behind(found, Column::Destination)) {
        found[source] = vec![Column::SourcePorts];
    }
}

/// The column of the first word in the order of what is said least often in passing.
fn by_word(found: &[Column]) -> Column {
    let order = [
        Column::Authentication,
        Column::Direction,
        Column::Minimum,
        Column::Maximum,
        Column::Default,
        Column::Parameter,
        Column::Application,
        Column::Source,
        Column::Destination,
        Column::Peer,
        Column::Role,
        Column::Service,
        Column::Rule,
        Column::Url,
        Column::Feature,
        Column::Required,
        Column::Note,
    ];
    // Without a word that allows or denies, an action is what the row is for.
    let action = || found.contains(&Column::Action).then_some(Column::Feature);
    order.into_iter().find(|word| found.contains(word)).or_else(action).unwrap_or(Column::Other)
}

/// `Role/Protocol/TCP or UDP/Port`: several columns in one.
pub(crate) fn packed(header: &str, words: &Vocabulary) -> Option<Vec<Column>> {
    let parts: Vec<&str> = header.split('/').map(str::trim).collect();
    if parts.len() < 3 {
        return None;
    }
    let kinds: Vec<Column> = parts
        .iter()
        .map(|part| {
            let found = column_words(part, words);
            match found[..] {
                _ if found.contains(&Column::Transport) => Column::Protocol,
                [Column::Ports, ..] => Column::Ports,
                [Column::Protocol, ..] => Column::Application,
                _ => by_word(&found),
            }
        })
        .collect();
    let ports = kinds.iter().filter(|&kind| *kind == Column::Ports).count();
    if ports != 1 || kinds.contains(&Column::Other) {
        return None;
    }
    // Where only one part speaks of protocols, it is the transport.
    let transports = kinds.contains(&Column::Protocol);
    let roles = kinds.contains(&Column::Role);
    let settled = |kind| match kind {
        Column::Application if !transports => Column::Protocol,
        // Nothing else names the row.
        Column::Feature if !roles => Column::Role,
        kind => kind,
    };
    Some(kinds.into_iter().map(settled).collect())
}
