//! The kind of a file by its content; names and extensions prove nothing.

use super::Refusal;

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Zip,
    Mt940,
    Camt,
    Ofx,
    Csv,
}

/// Says what a file is, or refuses what is certainly no statement.
pub fn kind(bytes: &[u8]) -> Result<Kind, Refusal> {
    let foreign: [(&[u8], &str); 6] = [
        (b"%PDF", "a PDF: ask the bank for MT940, CAMT, OFX or CSV"),
        (b"\xD0\xCF\x11\xE0", "an old Excel workbook: save it as CSV first"),
        (b"{\\rtf", "a rich text document"),
        (b"\x1F\x8B", "packed with gzip: unpack it first"),
        (b"Rar!", "a RAR archive: unpack it first"),
        (b"7z\xBC\xAF", "a 7-Zip archive: unpack it first"),
    ];
    if let Some((_, what)) = foreign.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(Refusal::whole(format!("no statement: this is {what}")));
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Kind::Zip);
    }
    let head = head(bytes);
    if head.trim().is_empty() {
        return Err(Refusal::whole("no statement: the file is empty"));
    }
    if let Some(kind) = marked_up(&head)? {
        return Ok(kind);
    }
    if has_swift_tags(&head) {
        return Ok(Kind::Mt940);
    }
    let binary = head.chars().filter(|char| char.is_control() && !matches!(char, '\t' | '\r' | '\n')).count();
    if binary > 8 + head.len() / 100 {
        return Err(Refusal::whole("no statement: the file is not text"));
    }
    Ok(Kind::Csv)
}

/// OFX and XML files.
fn marked_up(head: &str) -> Result<Option<Kind>, Refusal> {
    let upper = head.to_ascii_uppercase();
    if upper.contains("<OFX") || upper.trim_start().starts_with("OFXHEADER") {
        return Ok(Some(Kind::Ofx));
    }
    if upper.contains("BKTOCSTMR") {
        return Ok(Some(Kind::Camt));
    }
    if !upper.trim_start().starts_with('<') {
        return Ok(None);
    }
    if upper.contains("<!DOCTYPE") && !upper.contains("<HTML") {
        return Err(Refusal::whole("the XML declares a document type, which no statement needs"));
    }
    let root = head.split('<').find_map(|part| {
        let end = part.find(|char: char| !(char.is_alphanumeric() || matches!(char, ':' | '_' | '-' | '.')));
        let name = &part[..end.unwrap_or(part.len())];
        (!name.is_empty()).then(|| super::charset::shown(name))
    });
    let root = root.unwrap_or_default();
    Err(Refusal::whole(format!("no statement: `<{root}>` is neither CAMT.052, .053 or .054 nor OFX")))
}

/// A line that begins a message, and another that tells of an account, a balance or an entry.
fn has_swift_tags(head: &str) -> bool {
    let mut first = false;
    let mut second = false;
    for line in head.lines() {
        let line = line.trim_start();
        let line = line.split_once("4:").map_or(line, |(before, rest)| {
            let swift = before.ends_with(['{', 'Ä', 'ä', '(']) || before.is_empty();
            if swift && rest.starts_with(':') { rest } else { line }
        });
        first |= line.starts_with(":20:");
        second |= [":25:", ":25P:", ":28:", ":28C:", ":60F:", ":60M:", ":61:", ":62F:", ":62M:"]
            .iter()
            .any(|tag| line.starts_with(tag));
    }
    second && (first || head.contains("\n:61:"))
}

/// The beginning of the file as text, for a look.
fn head(bytes: &[u8]) -> String {
    let part = &bytes[..bytes.len().min(64 << 10)];
    match encoding_rs::Encoding::for_bom(part) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&part[mark..]).0.into_owned(),
        None => String::from_utf8_lossy(part).into_owned(),
    }
}
