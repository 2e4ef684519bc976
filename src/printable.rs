//! Text from a bank or a service on its way to a terminal: no character in it may steer the terminal or turn the order
//! of letters around.

use std::borrow::Cow;

/// True if a character is safe on a terminal: no control character (escapes begin with one), no control of direction,
/// no character without width.
pub fn is_printable(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text of one or several lines with U+FFFD in the place of every character that is not [printable](is_printable); ends
/// of lines and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_kept = |char: char| is_printable(char) || matches!(char, '\n' | '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|char| if is_kept(char) { char } else { char::REPLACEMENT_CHARACTER }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        for (text, expected) in [
            ("КАФЕ\tлв\n", "КАФЕ\tлв\n"),
            ("\u{1b}[2Jx", "\u{fffd}[2Jx"),
            ("\u{9b}31mx\u{7f}", "\u{fffd}31mx\u{fffd}"),
            ("a\u{202e}b\u{2066}c\u{200f}\r", "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}"),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert!(matches!(printable("шведска маса"), Cow::Borrowed(_)));
    }
}
