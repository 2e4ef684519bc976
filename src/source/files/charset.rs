//! From bytes to text. Bytes beat declarations: what is valid UTF-8 is UTF-8, whatever a header says; then what the file
//! declares or its owner has configured counts, and detection comes last.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

use super::Refusal;

/// The text of a file. `declared` is what the file or its owner calls the encoding.
pub fn decode<'a>(bytes: &'a [u8], declared: Option<&str>, notes: &mut Vec<String>) -> Result<Cow<'a, str>, Refusal> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return Ok(encoding.decode_without_bom_handling(&bytes[mark..]).0);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    let known = match declared {
        Some(name) => {
            let encoding = by_name(name);
            if encoding.is_none() {
                notes.push(format!("the encoding `{}` is not known", shown(name)));
            }
            // UTF-8 with damaged bytes is no UTF-8 that somebody wrote on purpose.
            encoding.filter(|encoding| *encoding != encoding_rs::UTF_8 || mostly_utf8(bytes))
        }
        None => None,
    };
    let encoding = known.unwrap_or_else(|| {
        let found = if mostly_utf8(bytes) { encoding_rs::UTF_8 } else { detect(bytes) };
        notes.push(format!("read as {}, by the look of its bytes", found.name()));
        found
    });
    Ok(encoding.decode_without_bom_handling(bytes).0)
}

/// The encoding that a name in a configuration or a file means.
pub fn by_name(name: &str) -> Option<&'static Encoding> {
    let name = name.trim();
    Encoding::for_label(name.as_bytes()).or_else(|| match name.to_ascii_uppercase().as_str() {
        "1252" | "CP1252" | "USASCII" | "ANSI" | "8859-1" | "ISO8859_1" => Some(encoding_rs::WINDOWS_1252),
        "1250" => Some(encoding_rs::WINDOWS_1250),
        "1251" => Some(encoding_rs::WINDOWS_1251),
        "1253" => Some(encoding_rs::WINDOWS_1253),
        "1254" => Some(encoding_rs::WINDOWS_1254),
        "1257" => Some(encoding_rs::WINDOWS_1257),
        "8859-2" => Some(encoding_rs::ISO_8859_2),
        "8859-5" => Some(encoding_rs::ISO_8859_5),
        "8859-15" => Some(encoding_rs::ISO_8859_15),
        "UTF8" | "UNICODE" => Some(encoding_rs::UTF_8),
        "CP866" | "866" => Some(encoding_rs::IBM866),
        _ => None,
    })
}

/// The encoding in an XML prologue.
pub fn xml_declaration(bytes: &[u8]) -> Option<String> {
    let head = head(bytes);
    let head = &head[..head.find("?>")?];
    let value = &head[head.find("encoding")? + "encoding".len()..];
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

/// The encoding in the header of an OFX file of either version.
pub fn ofx_declaration(bytes: &[u8]) -> Option<String> {
    let head = head(bytes);
    let field = |name: &str| {
        let value = head[head.find(name)? + name.len()..].trim_start();
        let end = value.find(|char: char| char.is_whitespace() || char == '<').unwrap_or(value.len());
        Some(value[..end].to_owned()).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("NONE"))
    };
    field("CHARSET:").or_else(|| field("ENCODING:")).or_else(|| xml_declaration(bytes))
}

/// The first bytes as text of one byte a letter.
fn head(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(1024)].iter().map(|byte| char::from(*byte)).collect()
}

/// Far more whole UTF-8 sequences than broken bytes: UTF-8 that was damaged on its way.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut whole, mut broken) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    whole > broken.saturating_mul(8)
}

fn detect(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    // A megabyte shows the language of a statement as well as fifty do.
    detector.feed(&bytes[..bytes.len().min(1 << 20)], true);
    detector.guess(None, Utf8Detection::Deny)
}

/// A name for a message: short and of plain characters.
pub(super) fn shown(text: &str) -> String {
    cut(text, 60)
}

/// A text for a message, of plain characters and at most so many.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}
