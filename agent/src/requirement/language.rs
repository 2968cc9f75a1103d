//! Languages: which one a document is written in.
//!
//! In comes a document; out comes the ISO 639-1 code of the language whose small words it uses most, or
//! nothing. It informs people; no rule of the importer depends on it.

use crate::document::{Block, Document};

/// Words that every text of a language has and others seldom do.
const SMALL_WORDS: [(&str, &[&str]); 7] = [
    ("en", &["the", "and", "for", "is", "are", "with", "this", "you", "to", "of", "by", "from", "used"]),
    (
        "de",
        &["der", "die", "das", "und", "für", "ist", "werden", "mit", "von", "auf", "den", "oder", "nicht"],
    ),
    ("fr", &["les", "des", "pour", "est", "dans", "sur", "une", "le", "vers", "du", "et", "aux", "par"]),
    (
        "es",
        &["los", "las", "para", "que", "con", "una", "del", "por", "el", "y", "puertos", "puerto", "desde"],
    ),
    ("pt", &["os", "as", "para", "uma", "do", "da", "com", "não", "que", "em", "e", "porta", "portas"]),
    ("it", &["il", "di", "per", "che", "della", "gli", "una", "con", "del", "è", "porte", "porta", "dei"]),
    ("ru", &["и", "в", "на", "для", "с", "по", "не", "порт", "порты"]),
];
/// Characters that decide.
const ENOUGH: usize = 20_000;

/// The language of `document`; empty if no word tells.
pub(crate) fn of(document: &Document) -> &'static str {
    let text = sample(document);
    let (mut kana, mut han) = (0, 0);
    for c in text.chars() {
        kana += usize::from(matches!(c, '\u{3041}'..='\u{30ff}'));
        han += usize::from(matches!(c, '\u{4e00}'..='\u{9fff}'));
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count().max(1);
    if kana * 20 > letters {
        return "ja";
    }
    if han * 10 > letters {
        return "zh";
    }
    let lower = text.to_lowercase();
    let mut counts = [0_usize; SMALL_WORDS.len()];
    for word in lower.split(|c: char| !c.is_alphabetic()) {
        for (count, (_, words)) in counts.iter_mut().zip(SMALL_WORDS) {
            *count += usize::from(words.contains(&word));
        }
    }
    let best = counts.iter().enumerate().max_by_key(|&(index, count)| (*count, std::cmp::Reverse(index)));
    best.filter(|(_, count)| **count > 0).map_or("", |(index, _)| SMALL_WORDS[index].0)
}

fn sample(document: &Document) -> String {
    let mut text = String::new();
    for block in &document.blocks {
        let mut add = |piece: &str| {
            text.push_str(piece);
            text.push(' ');
        };
        match block {
            Block::Heading(heading) => add(&heading.text),
            Block::Paragraph(paragraph) => paragraph.lines.iter().for_each(|line| add(&line.text)),
            Block::List(items) => items.iter().for_each(|item| add(&item.text)),
            Block::Table(table) => {
                table.rows.iter().take(50).flat_map(|row| &row.cells).for_each(|cell| add(&cell.text));
            }
        }
        if text.len() > ENOUGH {
            break;
        }
    }
    text
}
