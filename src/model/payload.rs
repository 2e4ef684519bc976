//! A bank's payload as JSON that every reader takes.
//!
//! The payload is kept exactly as received, and services write strings that strict readers refuse whole: half an emoji as
//! an escape, an escape that does not exist, a line break as it is. Here such a string loses the broken character alone.
//! Pure: no service and no field is known.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;

/// The payload as a value; `None` where more is broken than characters.
pub fn read(raw: &str) -> Option<Value> {
    serde_json::from_str(raw).or_else(|_| serde_json::from_str(&mended(raw))).ok()
}

/// The text with U+FFFD in place of broken characters in its strings, and control characters escaped; borrowed where
/// everything is in order.
pub fn mended(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let (mut copied, mut at, mut is_quoted) = (0, 0, false);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => {
                let (length, is_whole) = escape(&text.as_bytes()[at..]);
                if !is_whole {
                    mended.push_str(&text[copied..at]);
                    mended.push_str("\\ufffd");
                    copied = at + length;
                }
                at += length;
                continue;
            }
            0..0x20 if is_quoted => {
                mended.push_str(&text[copied..at]);
                let _ = write!(mended, "\\u{byte:04x}");
                copied = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[copied..]);
    Cow::Owned(mended)
}

/// The length of the escape at the beginning, with true if it stands for a character.
fn escape(text: &[u8]) -> (usize, bool) {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => (2, true),
        Some(b'u') => match (unit(text), text.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (12, true),
            (Some(0xd800..0xe000), _) => (6, false),
            (Some(_), _) => (6, true),
            (None, _) => (2, false),
        },
        _ => (1, false),
    }
}

/// The UTF-16 unit that the escape at the beginning holds.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_broken_changes() {
        for whole in [r#"{"a":"x \ud83c\udf89 \u0000 \"\\\/\b\f\n\r\t","b":[1,null]}"#, "", "\"я\"", "\n{\t}"] {
            assert!(matches!(mended(whole), Cow::Borrowed(text) if text == whole), "{whole}");
        }
        for (broken, shown) in [
            (r#""x \ud83c""#, "x \u{fffd}"),
            (r#""\ud83c\ud83c\udf89""#, "\u{fffd}\u{1f389}"),
            (r#""\udf89x""#, "\u{fffd}x"),
            (r#""\ud83c\n""#, "\u{fffd}\n"),
            (r#""\ud83cя""#, "\u{fffd}я"),
            (r#""\x41""#, "\u{fffd}x41"),
            (r#""\u12g4""#, "\u{fffd}12g4"),
            (r#""\я""#, "\u{fffd}я"),
            ("\"a\tb\nc\u{1}\"", "a\tb\nc\u{1}"),
        ] {
            assert!(serde_json::from_str::<String>(broken).is_err(), "{broken}");
            assert_eq!(read(broken), Some(Value::from(shown)), "{broken}");
        }
        assert_eq!(read(r#"{"\ud83c":1}"#).unwrap()["\u{fffd}"], 1);
    }

    #[test]
    fn what_ends_too_early_is_no_payload() {
        for cut in ["\"\\", "\"\\u", "\"\\ud83c\\u", "\"x", "{", "NaN"] {
            assert_eq!(read(cut), None, "{cut}");
        }
    }
}
