//! A private key as text, however the text came here: line breaks lost, doubled or made blanks, or all of it in base64.
//!
//! Pure. The meaning of the key is not known here, and no error shows a part of it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Longest line of a PEM.
const LINE: usize = 64;

/// A PEM block.
#[derive(PartialEq, Eq)]
pub struct Pem {
    /// The words behind BEGIN, e.g. `PRIVATE KEY`.
    pub label: String,
    /// The content in base64, without white space.
    body: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pem({}, …)", self.label)
    }
}

impl Pem {
    /// The content.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.body).ok()
    }

    /// The text as it ought to be.
    pub fn to_text(&self) -> String {
        let label = &self.label;
        let mut out = format!("-----BEGIN {label}-----\n");
        for (at, letter) in self.body.char_indices() {
            if at > 0 && at % LINE == 0 {
                out.push('\n');
            }
            out.push(letter);
        }
        out + &format!("\n-----END {label}-----\n")
    }
}

/// The first PEM block in a text; `None`: the text holds none that is whole.
pub fn read(text: &str) -> Option<Pem> {
    let text = if text.contains("-----BEGIN") { text.to_owned() } else { decoded(text)? };
    // A PEM has no backslash: each is of an escape.
    let text = text.replace("\\r", "").replace("\\n", "\n").replace('\\', "");
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    let is_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    if body.is_empty() || !body.chars().all(is_base64) {
        return None;
    }
    Some(Pem { label: label.to_owned(), body })
}

/// The text that a text of base64 stands for.
pub fn decoded(text: &str) -> Option<String> {
    let bare: String = text.split_whitespace().collect();
    let bytes = STANDARD.decode(&bare).or_else(|_| URL_SAFE.decode(&bare)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nAAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHAAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH\nAAAA/+==\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_key_is_mended_or_known_to_be_none() {
        let one_line = PEM.replace('\n', " ");
        for text in [
            PEM,
            &one_line,
            &one_line
                .replace(' ', "\\n")
                .replace("PRIVATE\\nKEY", "PRIVATE KEY")
                .replace("BEGIN\\n", "BEGIN ")
                .replace("END\\n", "END "),
            &STANDARD.encode(PEM),
        ] {
            assert_eq!(read(text).unwrap().to_text(), PEM, "{text}");
        }
        for text in [
            "",
            "hunter2",
            "-----BEGIN PRIVATE KEY-----\nAAAA",
            "-----BEGIN PRIVATE KEY-----\nä\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
