//! The service's own words in a message: foreign text, made harmless.

use super::access::Access;
use crate::printable::is_printable;

/// Most characters of the service's words in one message.
const LONGEST: usize = 200;

/// The words on one line, cut to a length, without markup, without anything that steers a terminal, and without the
/// credentials.
pub(super) fn said(text: &str, access: &Access) -> String {
    said_without(text, &access.secrets())
}

fn said_without(text: &str, secrets: &[&str]) -> String {
    let bare = if text.trim_start().starts_with('<') { without_markup(text) } else { text.to_owned() };
    let line: String = bare.chars().map(|char| if char.is_whitespace() { ' ' } else { char }).collect();
    let line: String = line.chars().filter(|char| is_printable(*char)).collect();
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        line = line.replace(secret, "…");
    }
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None if line.is_empty() => "nothing".into(),
        None => line,
    }
}

/// The text between the tags of a page.
fn without_markup(page: &str) -> String {
    page.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_harmless_line() {
        assert_eq!(said_without("a\n\tb\u{1b}[31m \u{202e}c", &[]), "a b[31m c");
        assert_eq!(said_without("<h1>Forbidden</h1><p>Access denied</p>", &[]), "Forbidden Access denied");
        assert_eq!(said_without("user demo:s3cret!", &["demo", "s3cret!"]), "user …:…");
        assert_eq!(said_without(&"я".repeat(900), &[]).chars().count(), LONGEST + 1);
        assert_eq!(said_without(" ", &[""]), "nothing");
    }
}
