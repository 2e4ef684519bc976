//! The form of a value in a column: the types that can hold a field, the type of a column that is made, and the text
//! that goes out. Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;

use crate::destination::readback::Cell;
use crate::model::payload;
use crate::model::{Field, Transaction, Value};

use super::layout::Bound;

/// The form of a cell, decided by the column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text as it is; with a greatest length where the type has one.
    Text { longest: Option<usize> },
    /// A number in decimal digits; with precision and scale where the type has them.
    Number { digits: Option<(u32, u32)> },
    /// A calendar date.
    Date,
    /// An instant.
    Instant,
    /// A date and a time of day without a zone.
    Clock,
    /// JSON.
    Json,
}

/// A column's type as the server's catalogue names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ColumnType {
    pub name: String,
    pub length: Option<usize>,
    pub precision: Option<u32>,
    pub scale: Option<u32>,
}

impl Shape {
    /// The form of a field in a column of this type; `None`: the type cannot hold it.
    pub(super) fn of(field: &Field, column: &ColumnType) -> Option<Shape> {
        let shape = match column.name.as_str() {
            "text" | "character varying" => Shape::Text { longest: column.length },
            // Types of the owner's, such as an enumeration.
            "USER-DEFINED" if *field != Field::Id => Shape::Text { longest: None },
            "numeric" => Shape::Number { digits: column.precision.zip(column.scale.or(Some(0))) },
            "double precision" | "real" | "money" => Shape::Number { digits: None },
            "date" => Shape::Date,
            "timestamp with time zone" => Shape::Instant,
            "timestamp without time zone" => Shape::Clock,
            "json" | "jsonb" => Shape::Json,
            _ => return None,
        };
        let suits = match shape {
            Shape::Text { .. } => true,
            Shape::Number { .. } => field.is_money(),
            Shape::Date | Shape::Instant | Shape::Clock => {
                matches!(field, Field::Date | Field::ValueDate | Field::Time)
            }
            Shape::Json => matches!(field, Field::Raw(_)),
        };
        suits.then_some(shape)
    }

    /// The text of a value; `None`: no value.
    pub(super) fn text(self, value: &Value<'_>) -> Option<String> {
        Some(match value {
            Value::Empty => return None,
            Value::Text(text) if self == Shape::Json => json(text),
            Value::Text(text) => storable(text),
            // At noon by UTC it is that day almost everywhere, whatever zone a session has.
            Value::Date(date) if self == Shape::Instant => format!("{date}T12:00:00Z"),
            Value::Date(date) => date.to_string(),
            Value::Time(time) => match self {
                Shape::Date => time.date_naive().to_string(),
                Shape::Clock => time.naive_local().format("%Y-%m-%dT%H:%M:%S").to_string(),
                _ => time.to_rfc3339_opts(SecondsFormat::AutoSi, false),
            },
            Value::Money(amount) => amount.to_string(),
        })
    }

    /// The expected content of a cell, in the form in which [`Shape::read`] gives it back.
    pub(super) fn expected(self, value: &Value<'_>) -> Cell {
        let Some(text) = self.text(value) else { return Cell::Empty };
        match (self, value) {
            (Shape::Clock, Value::Time(_)) => Cell::Text(format!("{text}Z")),
            _ if text.is_empty() => Cell::Empty,
            _ => Cell::Text(text),
        }
    }

    /// The expression that reads a column of this form as text.
    pub(super) fn selected(self, column: &str) -> String {
        match self {
            // Seconds since 1970 depend on no setting of the session.
            Shape::Instant | Shape::Clock => format!("extract(epoch FROM {column})::text"),
            _ => format!("{column}::text"),
        }
    }

    /// A cell as it was read by [`Shape::selected`].
    pub(super) fn read(self, text: Option<&str>) -> Cell {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Cell::Empty };
        if !matches!(self, Shape::Instant | Shape::Clock) {
            return Cell::Text(text.to_owned());
        }
        let instant = text.parse::<Decimal>().ok().and_then(|seconds| {
            use rust_decimal::prelude::ToPrimitive;
            let micros = (seconds * Decimal::from(1_000_000)).round().to_i64()?;
            DateTime::<Utc>::from_timestamp_micros(micros)
        });
        let shown = |instant: DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        Cell::Text(instant.map_or_else(|| text.to_owned(), shown))
    }

    /// Why the column's type cannot hold this text: known beforehand, it keeps no other row waiting.
    pub(super) fn excess(self, text: &str) -> Option<String> {
        match self {
            Shape::Text { longest: Some(longest) } if text.chars().count() > longest => {
                Some(format!("is longer than the {longest} characters that the column holds"))
            }
            Shape::Number { digits: Some((precision, scale)) } => {
                let amount: Decimal = text.parse().ok()?;
                let whole = amount.round_dp(scale).trunc().abs().normalize();
                let digits = if whole.is_zero() { 0 } else { whole.to_string().len() };
                (digits > precision.saturating_sub(scale) as usize)
                    .then(|| format!("is larger than numeric({precision},{scale}) holds"))
            }
            _ => None,
        }
    }
}

/// The type of a column that is made for a field.
pub(super) fn definition(field: &Field) -> &'static str {
    match field {
        Field::Id => "text PRIMARY KEY",
        field if field.is_money() => "numeric",
        Field::Date | Field::ValueDate => "date",
        Field::Time => "timestamptz",
        Field::Raw(path) if path.is_empty() => "jsonb",
        _ => "text",
    }
}

/// The value of a bound column. A column that must hold something gets empty text for none.
pub(super) fn cell(bound: &Bound, transaction: &Transaction) -> Option<String> {
    let text = bound.shape.text(&bound.field.value(transaction));
    let must = !bound.nullable && !bound.has_default && matches!(bound.shape, Shape::Text { .. });
    if must { text.or_else(|| Some(String::new())) } else { text }
}

/// Text that the server stores: it takes every character but NUL.
fn storable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

/// The payload as `jsonb` takes it: broken strings mended, and a text that is no JSON as a JSON string.
fn json(text: &str) -> String {
    let mended = payload::mended(text);
    let mended = if mended.contains("\\u0000") { without_nul(&mended) } else { mended.into_owned() };
    let readable = serde_json::from_str::<serde::de::IgnoredAny>(&mended).is_ok();
    if readable { mended } else { serde_json::Value::String(storable(text)).to_string() }
}

/// JSON with U+FFFD in place of the escape of NUL.
fn without_nul(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let nul = escape.starts_with("\\u0000");
        let length = if nul { 6 } else { 1 + escape.chars().nth(1).map_or(0, char::len_utf8) };
        out.push_str(if nul { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    out + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kind(name: &str) -> ColumnType {
        ColumnType { name: name.into(), ..ColumnType::default() }
    }

    #[test]
    fn only_types_that_can_hold_a_field_are_accepted() {
        use Field::*;
        for (field, name, fits) in [
            (Amount, "numeric", true),
            (Amount, "double precision", true),
            (Amount, "integer", false),
            (Amount, "text", true),
            (Date, "date", true),
            (Date, "timestamp with time zone", true),
            (Time, "date", true),
            (Counterparty, "USER-DEFINED", true),
            (Counterparty, "numeric", false),
            (Id, "text", true),
            (Id, "USER-DEFINED", false),
            (Id, "bigint", false),
            (Raw(String::new()), "jsonb", true),
            (Description, "jsonb", false),
            (Tags, "ARRAY", false),
        ] {
            assert_eq!(Shape::of(&field, &kind(name)).is_some(), fits, "{field} in {name}");
        }
    }

    #[test]
    fn a_value_that_is_too_large_for_its_column_is_known_beforehand() {
        let number = Shape::Number { digits: Some((6, 2)) };
        assert_eq!([number.excess("9999.99"), number.excess("-0.001")], [None, None]);
        assert!(number.excess("-10000").unwrap().contains("numeric(6,2)"));
        assert!(number.excess("9999.995").is_some(), "rounded it is larger");
        let text = Shape::Text { longest: Some(3) };
        assert_eq!(text.excess("абв"), None);
        assert!(text.excess("абвг").is_some());
    }

    #[test]
    fn cells_are_read_as_they_were_written() {
        let time = Value::Time("2026-01-05T00:30:15+02:00".parse().unwrap());
        assert_eq!(Shape::Instant.text(&time).unwrap(), "2026-01-05T00:30:15+02:00");
        assert_eq!(Shape::Instant.read(Some("1767565815.000000")), Cell::Text("2026-01-04T22:30:15Z".into()));
        assert_eq!(Shape::Clock.expected(&time), Cell::Text("2026-01-05T00:30:15Z".into()));
        assert_eq!(Shape::Date.text(&time).unwrap(), "2026-01-05");
        assert_eq!(Shape::Text { longest: None }.read(Some("")), Cell::Empty);
    }

    #[test]
    fn no_payload_is_refused_for_a_character() {
        assert_eq!(storable("а\0б"), "а\u{fffd}б");
        assert_eq!(json(r#"{"a":"\u0000\\u0000 \ud83d"}"#), r#"{"a":"\ufffd\\u0000 \ufffd"}"#);
        assert_eq!(json("no JSON"), "\"no JSON\"");
        assert_eq!(json(r#"{"a":1.10}"#), r#"{"a":1.10}"#);
    }
}
