//! Cells of text side by side, told apart by what comes again.
//!
//! In come the texts that rows have in the same columns of text; out comes where each parts into its cells. Names come
//! again in other rows, alone or beside others: `Console Media Server` and `Media Server Gateway` tell each other.
//! Invariant: a text is parted only where one place alone is the best.

use foldhash::{HashMap, HashMapExt as _};

use super::boundaries::boundaries;

/// Most places of a text that are compared.
const PLACES: usize = 40;

/// Most words of a name between two other cells.
const NAME: usize = 5;

/// Where a cell may begin behind another one: behind white space, or if cells are `glued`, where the writing changes
/// without any.
fn places(text: &str, glued: bool) -> Vec<usize> {
    let spaced = |at: usize| text[..at].ends_with(char::is_whitespace);
    let adjoins =
        |at: usize| text[..at].ends_with(char::is_alphanumeric) || text[..at].ends_with([')', '）']);
    let begins = |at: &usize| *at > 0 && if glued { adjoins(*at) } else { spaced(*at) };
    let words = text.char_indices().filter(|&(at, c)| spaced(at) && !c.is_whitespace()).map(|(at, _)| at);
    if glued { boundaries(text).into_iter().filter(begins).collect() } else { words.filter(begins).collect() }
}

/// The beginnings and the ends of a text that can be a cell, and all of it.
fn ends<'a>(text: &'a str, places: &'a [usize]) -> impl Iterator<Item = &'a str> {
    places.iter().flat_map(|&at| [text[..at].trim(), text[at..].trim()]).chain([text.trim()])
}

/// The runs of few words inside of a text.
fn inner<'a>(text: &'a str, places: &'a [usize]) -> impl Iterator<Item = &'a str> {
    pairs(places).map(|(from, to)| text[from..to].trim())
}

/// Each two of `places`, in order, no further apart than a name.
fn pairs(places: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    (0..places.len()).flat_map(move |from| {
        let last = places.len().min(from + NAME + 1);
        (from + 1..last).map(move |to| (places[from], places[to]))
    })
}

/// The cells of each of `texts`, which stand in as many `columns`; `None` where several places are as good.
pub(super) fn part(texts: &[&str], columns: usize, glued: bool) -> Vec<Option<Vec<String>>> {
    let found: Vec<Vec<usize>> = texts.iter().map(|text| places(text, glued)).collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (text, places) in texts.iter().zip(&found).filter(|(_, places)| places.len() < PLACES) {
        let mut cells: Vec<&str> = ends(text, places).collect();
        if columns > 2 {
            cells.extend(inner(text, places));
        }
        cells.sort_unstable();
        cells.dedup();
        cells.into_iter().for_each(|cell| *seen.entry(cell).or_default() += 1);
    }
    let again = |cell: &str| {
        let others = seen.get(cell).map_or(0, |rows| rows - 1);
        others * cell.split_whitespace().count().max(1)
    };
    let cells = |text: &str, places: &[usize]| -> Vec<String> {
        let starts = std::iter::once(0).chain(places.iter().copied());
        let ends = places.iter().copied().chain([text.len()]);
        starts.zip(ends).map(|(from, to)| text[from..to].trim().to_owned()).collect()
    };
    // One cut into two cells, or two cuts into three of which the last is what somebody wrote for this row alone.
    let best = |text: &str, places: &[usize]| -> Option<Vec<usize>> {
        let cuts: Vec<(usize, Vec<usize>)> = match columns {
            2 => places
                .iter()
                .map(|&at| (again(text[..at].trim()) + again(text[at..].trim()), vec![at]))
                .collect(),
            _ => pairs(places)
                .map(|(at, next)| {
                    let (one, other) = (again(text[..at].trim()), again(text[at..next].trim()));
                    (if one > 0 && other > 0 { one + other } else { 0 }, vec![at, next])
                })
                .collect(),
        };
        let most = cuts.iter().map(|(weight, _)| *weight).max().filter(|&most| most > 0)?;
        let mut best = cuts.into_iter().filter(|(weight, _)| *weight == most).map(|(_, cut)| cut);
        best.next().filter(|_| best.next().is_none())
    };
    let part = |(text, places): (&&str, &Vec<usize>)| match places.len() + 1 {
        // One word leaves the other columns blank.
        1 => Some(vec![(*text).to_owned()]),
        count if count == columns => Some(cells(text, places)),
        count if count > columns && columns <= 3 && count <= PLACES => {
            best(text, places).map(|cuts| cells(text, &cuts))
        }
        _ => None,
    };
    texts.iter().zip(&found).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parted(texts: &[&str], columns: usize, glued: bool) -> Vec<String> {
        let shown =
            |cells: Option<Vec<String>>| cells.map_or_else(|| "?".to_owned(), |cells| cells.join("|"));
        part(texts, columns, glued).into_iter().map(shown).collect()
    }

    #[test]
    fn names_that_come_again_tell_cells_apart() {
        let texts = [
            "Console Media Server",
            "Media Server Gateway",
            "Media Server Record Store",
            "Gateway Record Store",
            "Sensor Hub Pump Room Relay",
            "Console",
        ];
        let expected = [
            "Console|Media Server",
            "Media Server|Gateway",
            "Media Server|Record Store",
            "Gateway|Record Store",
            "?",
            "Console",
        ];
        assert_eq!(parted(&texts, 2, false), expected);
    }

    #[test]
    fn as_many_words_as_columns_are_a_cell_each() {
        assert_eq!(parted(&["Console Server", "a b c"], 2, false), ["Console|Server", "?"]);
        assert_eq!(parted(&["Console Server Link"], 3, false), ["Console|Server|Link"]);
        assert_eq!(
            parted(&["Media ServerRecord Store", "ConsoleHub"], 2, true),
            ["Media Server|Record Store", "Console|Hub"]
        );
    }
}
