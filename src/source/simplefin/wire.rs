//! The values of the service's JSON, read leniently where nothing hangs on it and exactly where money does.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::payload;

/// The parts of a transaction that are read.
#[derive(Default, Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    posted: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    pending: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    payee: Option<&'a RawValue>,
    #[serde(borrow)]
    memo: Option<&'a RawValue>,
}

impl<'a> Entry<'a> {
    /// Reads a transaction; `room` holds the mended text where some character in it is broken.
    pub fn read(raw: &'a str, room: &'a mut String) -> Option<Entry<'a>> {
        if let Ok(entry) = serde_json::from_str(raw) {
            return Some(entry);
        }
        match payload::mended(raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(mended) => {
                *room = mended;
                serde_json::from_str(room).ok()
            }
        }
    }

    /// The service's id; `None`: there is none.
    pub fn id(&self) -> Option<String> {
        Some(words(self.id)).filter(|id| !id.is_empty())
    }

    /// True for a transaction that is not booked yet.
    pub fn is_pending(&self) -> bool {
        let flag = self.pending.map_or("", RawValue::get);
        matches!(flag, "true" | "1" | "\"true\"" | "\"1\"") || words(self.posted) == "0"
    }

    /// The instant of booking. The error ends the sentence "… cannot be read: ".
    pub fn posted(&self) -> Result<DateTime<Utc>, String> {
        let text = words(self.posted);
        let time = instant(&text).filter(|_| !text.is_empty());
        time.ok_or_else(|| match text.is_empty() {
            true => "it has no date (`posted`)".into(),
            false => format!("its date (`posted`) `{}` is no number of seconds", short(&text)),
        })
    }

    /// The amount. The error ends the sentence "… cannot be read: ".
    pub fn amount(&self) -> Result<Decimal, String> {
        match money(self.amount) {
            Ok(Some(amount)) => Ok(amount),
            Ok(None) => Err("it has no amount".into()),
            Err(text) => Err(format!("its amount `{text}` is not a plain decimal")),
        }
    }

    /// The texts: description, payee, memo.
    pub fn texts(&self) -> [String; 3] {
        [self.description, self.payee, self.memo].map(words)
    }
}

/// The instant of so many seconds of Unix time; fractions are left out.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = whole.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()))?;
    // Years of four digits: no other day can be written down.
    DateTime::from_timestamp(seconds, 0).filter(|time| (0..=9999).contains(&chrono::Datelike::year(time)))
}

/// A text, outer white space removed; nothing where it is absent or neither text nor a number.
pub(super) fn words(raw: Option<&RawValue>) -> String {
    raw.map(|raw| words_in(raw.get())).unwrap_or_default()
}

/// As [`words`], of the text of a value.
pub(super) fn words_in(raw: &str) -> String {
    match payload::read(raw) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(_)) => raw.trim().to_owned(),
        _ => String::new(),
    }
}

/// A decimal in a text or a number, exactly; `Ok(None)` where it is absent or empty; the error is the text in question.
pub(super) fn money(raw: Option<&RawValue>) -> Result<Option<Decimal>, String> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(None) };
    money_in(raw)
}

/// As [`money`], of the text of a value.
pub(super) fn money_in(raw: &str) -> Result<Option<Decimal>, String> {
    let text = words_in(raw);
    if text.is_empty() {
        return if payload::read(raw) == Some(Value::String(String::new())) { Ok(None) } else { Err(short(raw)) };
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    let decimal = Decimal::from_str_exact(text.strip_prefix('+').unwrap_or(&text)).ok();
    decimal.filter(|_| is_plain).map(Some).ok_or_else(|| short(&text))
}

/// The beginning of a text that is quoted in a message.
pub(super) fn short(text: &str) -> String {
    let text: String = text.chars().filter(|char| crate::printable::is_printable(*char)).collect();
    text.char_indices().nth(40).map_or(text.clone(), |(at, _)| format!("{}…", &text[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<T>(json: &str, look: impl FnOnce(&Entry<'_>) -> T) -> T {
        let mut room = String::new();
        look(&Entry::read(json, &mut room).unwrap())
    }

    #[test]
    fn amounts_are_exact() {
        let amount = |raw: &str| entry(&format!("{{\"amount\":{raw}}}"), |entry| entry.amount());
        for (raw, expected) in [
            (r#""-05.50""#, "-5.50"),
            (r#""1500""#, "1500"),
            (r#""55.0""#, "55.0"),
            (r#"".5""#, "0.5"),
            (r#""+7""#, "7"),
            (r#""-.25""#, "-0.25"),
            (r#"" 12.345 ""#, "12.345"),
            ("0.1", "0.1"),
            ("-33293.43", "-33293.43"),
            (r#""99999999999999999999.99""#, "99999999999999999999.99"),
        ] {
            assert_eq!(amount(raw).unwrap().to_string(), expected, "{raw}");
        }
        for bad in [r#""1,5""#, r#""1e3""#, "1e3", r#""--1""#, r#"".""#, r#""-""#, "[]", "true", r#""1.2.3""#] {
            assert!(amount(bad).unwrap_err().ends_with("is not a plain decimal"), "{bad}");
        }
        for absent in ["null", r#""""#] {
            assert_eq!(amount(absent).unwrap_err(), "it has no amount");
        }
        let exact = format!("\"0.{}\"", "1".repeat(40));
        assert!(amount(&exact).is_err(), "no digit is rounded away in silence");
    }

    #[test]
    fn pending_is_either_sign_of_it() {
        let pending = |json: &str| entry(json, |entry| entry.is_pending());
        assert!(
            pending(r#"{"posted":0}"#) && pending(r#"{"posted":5,"pending":true}"#) && pending(r#"{"posted":"0"}"#)
        );
        assert!(!pending(r#"{"posted":5,"pending":false}"#) && !pending(r#"{"posted":5,"pending":null}"#));
        assert!(!pending(r#"{}"#));
    }

    #[test]
    fn dates_are_seconds() {
        let posted = |raw: &str| entry(&format!("{{\"posted\":{raw}}}"), |entry| entry.posted());
        assert_eq!(posted("1791014400").unwrap().to_string(), "2026-10-03 08:00:00 UTC");
        assert_eq!(posted("\"1791014400\"").unwrap(), posted("1791014400.0").unwrap());
        for bad in ["\"2026-10-03\"", "99999999999999999", "null", "\"\"", "{}"] {
            assert!(posted(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broken_character_breaks_nothing_else() {
        let json = "{\"id\":\"T-1\",\"description\":\"caf\\ud83c\",\"memo\":\"a\tb\"}";
        entry(json, |entry| {
            assert_eq!(entry.id().as_deref(), Some("T-1"));
            assert_eq!(entry.texts(), ["caf\u{fffd}", "", "a\tb"]);
        });
        assert!(Entry::read("[1]", &mut String::new()).is_none());
    }
}
