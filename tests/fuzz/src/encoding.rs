//! Encodings: text arrives as it was written, whatever bytes carried it.

use portcullis::document::encoding::decode;

use crate::cost::bounded;
use crate::document;

/// Any bytes; where they are UTF-8, their text in other encodings too.
pub fn encoding(bytes: &[u8]) {
    match bounded(bytes.len(), || decode(bytes).map(|(text, name)| (text.into_owned(), name))) {
        Ok((text, name)) => {
            let marked = encoding_mark(bytes);
            let guessed = !marked && name != "UTF-8" && !name.starts_with("UTF-16");
            assert!(
                !guessed || !text.contains(char::REPLACEMENT_CHARACTER),
                "a guess broke characters: {name}"
            );
        }
        Err(error) => document::sentence(&error.to_string()),
    }
    document::check(bytes, "document.txt");
    if let Ok(text) = std::str::from_utf8(bytes)
        && !encoding_mark(bytes)
    {
        for (marked, name) in marked_forms(text) {
            let (read, found) = decode(&marked).expect("a byte order mark decides");
            assert_eq!((&*read, found), (text, name));
        }
    }
}

/// A text with the byte order marks that can stand before it.
fn marked_forms(text: &str) -> [(Vec<u8>, &'static str); 3] {
    let marked = format!("\u{feff}{text}");
    [
        (marked.clone().into_bytes(), "UTF-8"),
        (marked.encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16LE"),
        (marked.encode_utf16().flat_map(u16::to_be_bytes).collect(), "UTF-16BE"),
    ]
}

fn encoding_mark(bytes: &[u8]) -> bool {
    [&b"\xEF\xBB\xBF"[..], b"\xFF\xFE", b"\xFE\xFF"].iter().any(|mark| bytes.starts_with(mark))
}
