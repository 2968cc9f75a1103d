//! Encodings: bytes of a file to text.
//!
//! In come bytes; out comes a string without byte order mark, and the name of the encoding. A byte
//! order mark decides, then UTF-8 if it is valid, then the shape of UTF-16, then what an HTML or
//! XML head declares, then the statistics of the legacy encodings. Invariant: text that was
//! guessed contains no replacement character.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

use super::ReadError;

/// The name of an encoding as the WHATWG standard writes it: `UTF-8`, `Shift_JIS`, `windows-1252`.
pub type Encoding = &'static str;

/// Bytes looked at for declarations and for the shape of UTF-16.
const HEAD: usize = 1024;

/// Decodes `bytes` by the first encoding that explains all of them.
///
/// # Errors
///
/// [`ReadError::Encoding`] where none does.
pub fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Encoding), ReadError> {
    if let Some((encoding, length)) = encoding_rs::Encoding::for_bom(bytes) {
        // A byte order mark is a declaration: single broken characters become U+FFFD.
        let (text, _) = encoding.decode_without_bom_handling(&bytes[length..]);
        return Ok((text, encoding.name()));
    }
    let broken_at = match std::str::from_utf8(bytes) {
        Ok(text) if !looks_like_utf16(bytes) => return Ok((Cow::Borrowed(text), UTF_8.name())),
        Ok(_) => 0,
        Err(error) => error.valid_up_to(),
    };
    if looks_like_utf16(bytes) {
        let little = zeros(bytes, 1) > zeros(bytes, 0);
        let encoding = if little { UTF_16LE } else { UTF_16BE };
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        return Ok((text, encoding.name()));
    }
    let guessed = {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
        detector.feed(bytes, true);
        detector.guess(None, Utf8Detection::Deny)
    };
    if is_binary(bytes) {
        return Err(ReadError::Binary("a binary file"));
    }
    for encoding in declared(bytes).into_iter().chain([guessed]) {
        if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            return Ok((text, encoding.name()));
        }
    }
    // A UTF-8 file with a few damaged characters is still a UTF-8 file.
    let text = String::from_utf8_lossy(bytes);
    let damaged = text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count();
    let foreign = text.chars().filter(|c| !c.is_ascii()).count();
    if damaged * 4 <= foreign { Ok((text, UTF_8.name())) } else { Err(ReadError::Encoding(broken_at)) }
}

/// Control characters that no text has, in a share that no damage explains.
fn is_binary(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD * 8)];
    let text = |byte: u8| byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    head.iter().filter(|&&byte| !text(byte)).count() * 50 > head.len()
}

/// The encoding that an HTML `charset`, an XML declaration or a reST coding line names.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    ["charset", "encoding", "coding"].iter().find_map(|key| {
        let after = &head[head.find(key)? + key.len()..];
        let name: String = after
            .chars()
            .skip_while(|c| matches!(c, '=' | ':' | ' ' | '"' | '\''))
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            .collect();
        encoding_rs::Encoding::for_label(name.as_bytes())
    })
}

/// Text in a Latin, Greek or Cyrillic script as UTF-16 has a zero or small byte in every other place;
/// its line ends and digits have a zero there in every script.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    let head = bytes.len().min(HEAD) / 2;
    let (even, odd) = (zeros(bytes, 0), zeros(bytes, 1));
    head >= 4 && even.max(odd) * 10 >= head && even.min(odd) * 20 <= even.max(odd)
}

/// Zero bytes in the head of `bytes` whose offset is `parity` modulo 2.
fn zeros(bytes: &[u8], parity: usize) -> usize {
    bytes[..bytes.len().min(HEAD)].iter().skip(parity).step_by(2).filter(|&&byte| byte == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same table row in every encoding that vendors still publish in.
    #[test]
    fn reads_every_supported_encoding() {
        let cases: &[(&str, &str)] = &[
            ("UTF-8", "Rôle | Port | Protocole\nServeur de secours | 443 | TCP\n"),
            (
                "Shift_JIS",
                "サーバーの役割 | ポート | プロトコル\n予備のサーバー | 443 | TCP\n監視サーバー | 161 | UDP\n",
            ),
            (
                "windows-1252",
                "Rolle | Port | Protokoll\nÜbergangsserver für Gäste | 443 | TCP\nPrüfgerät außen | 161 | UDP\n",
            ),
            (
                "windows-1251",
                "Роль | Порт | Протокол\nРезервный сервер | 443 | TCP\nСервер наблюдения | 161 | UDP\n",
            ),
            (
                "windows-1250",
                "Funkcja | Port | Protokół\nSerwer zapasowy dla gości | 443 | TCP\nUrządzenie końcowe żółte łącze | 161 | UDP\n",
            ),
            (
                "windows-1253",
                "Ρόλος | Θύρα | Πρωτόκολλο\nΕφεδρικός διακομιστής | 443 | TCP\nΔιακομιστής ελέγχου | 161 | UDP\n",
            ),
            (
                "windows-1254",
                "Görev | Bağlantı noktası | Protokol\nYedek sunucu için geçiş | 443 | TCP\nİzleme sunucusu ışığı | 161 | UDP\n",
            ),
        ];
        for (label, text) in cases {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).expect("a known label");
            let (bytes, _, lossy) = encoding.encode(text);
            assert!(!lossy, "{label} cannot hold its own sample");
            let (decoded, _) = decode(&bytes).expect(label);
            assert_eq!(&decoded, text, "{label}");
        }
    }

    #[test]
    fn reads_utf16_with_and_without_a_mark() {
        let text = "Dienst;Port\nÜberwachung;161\n";
        for (big, mark) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut bytes = Vec::new();
            let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
            for unit in units {
                bytes.extend(if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
            }
            let (decoded, name) = decode(&bytes).expect("UTF-16");
            assert_eq!((&*decoded, name), (text, if big { "UTF-16BE" } else { "UTF-16LE" }));
        }
    }

    #[test]
    fn noise_is_no_text() {
        let noise: Vec<u8> =
            (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        assert!(matches!(decode(&noise), Err(ReadError::Binary(_))));
    }

    #[test]
    fn drops_the_mark_of_utf8() {
        let (decoded, _) = decode(b"\xEF\xBB\xBF| Port |\n").expect("UTF-8");
        assert_eq!(decoded, "| Port |\n");
    }

    #[test]
    fn a_declaration_beats_the_statistics() {
        let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode("<meta charset=\"windows-1252\"><td>é</td>");
        let (decoded, name) = decode(&bytes).expect("declared");
        assert_eq!((decoded.ends_with("<td>é</td>"), name), (true, "windows-1252"));
    }
}
