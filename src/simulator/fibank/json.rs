//! JSON, written by hand because the spelling of a value matters: `9.5`, `9.50` and `"9.50"` are the same amount, and
//! the bank's own spelling is not known.

use chrono::{DateTime, FixedOffset, NaiveDate};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;

use super::options::{Absent, Amounts, Offsets, Options};
use crate::simulator::world;

/// A JSON object being written.
pub(super) struct Object<'a> {
    members: Vec<(String, String)>,
    options: &'a Options,
}

impl<'a> Object<'a> {
    pub(super) fn new(options: &'a Options) -> Object<'a> {
        Object { members: Vec::with_capacity(20), options }
    }

    /// A member whose value is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) -> &mut Object<'a> {
        self.members.push((key.to_owned(), json.to_owned()));
        self
    }

    pub(super) fn text(&mut self, key: &str, text: &str) -> &mut Object<'a> {
        self.members.push((key.to_owned(), quote(text)));
        self
    }

    /// A member that has no value where the text is empty.
    pub(super) fn optional(&mut self, key: &str, text: &str) -> &mut Object<'a> {
        match self.options.absent {
            Absent::Missing if text.is_empty() => self,
            Absent::Null if text.is_empty() => self.raw(key, "null"),
            _ => self.text(key, text),
        }
    }

    pub(super) fn amount(&mut self, key: &str, amount: Decimal) -> &mut Object<'a> {
        self.members.push((key.to_owned(), write_amount(amount, self.options.amounts)));
        self
    }

    /// Adds members, replacing those of the same name; `null` removes.
    pub(super) fn overlay(&mut self, extra: &serde_json::Map<String, serde_json::Value>) {
        for (key, value) in extra {
            let at = self.members.iter().position(|(name, _)| name == key);
            match (at, value.is_null()) {
                (Some(at), true) => drop(self.members.remove(at)),
                (Some(at), false) => self.members[at].1 = value.to_string(),
                (None, true) => {}
                (None, false) => self.members.push((key.clone(), value.to_string())),
            }
        }
    }

    pub(super) fn finish(&mut self) -> String {
        if self.options.unknown_keys {
            self.raw("sgRev", "17").raw("flags", r#"{"new":[],"x":null}"#).text("описание", "„ново“");
        }
        let mut text = String::with_capacity(self.members.len() * 32);
        for (at, (key, value)) in self.members.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(&quote(key));
            text.push(':');
            text.push_str(value);
        }
        text.push_str(if self.members.is_empty() { "{}" } else { "}" });
        text
    }
}

pub(super) fn write_time(time: DateTime<FixedOffset>, offsets: Offsets) -> String {
    let local = time.with_timezone(&Sofia);
    match offsets {
        Offsets::Winter => time.with_timezone(&winter()).format("%Y-%m-%dT%H:%M:%S%z").to_string(),
        Offsets::Sofia => local.format("%Y-%m-%dT%H:%M:%S%z").to_string(),
        Offsets::WallClock => local.format("%Y-%m-%dT%H:%M:%S+0200").to_string(),
        Offsets::Colon => local.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Offsets::Utc => time.naive_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// A value date is midnight by the clock that is shown, or it would fall on the day before.
pub(super) fn write_date(date: NaiveDate, offsets: Offsets) -> String {
    let midnight = world::sofia(date, 0, 0, 0);
    match offsets {
        Offsets::Winter | Offsets::WallClock => date.format("%Y-%m-%dT00:00:00+0200").to_string(),
        Offsets::Sofia | Offsets::Colon | Offsets::Utc => write_time(midnight, offsets),
    }
}

/// Bulgarian winter time.
fn winter() -> FixedOffset {
    world::euro_day().timezone()
}

pub(super) fn write_amount(amount: Decimal, amounts: Amounts) -> String {
    let shortest = amount.normalize();
    match amounts {
        Amounts::Shortest => shortest.to_string(),
        Amounts::TwoPlaces => format!("{amount:.2}"),
        Amounts::Text => format!("\"{amount:.2}\""),
        Amounts::Double if shortest.abs() >= Decimal::from(10_000_000) => format!("{:E}", Exponent(shortest)),
        Amounts::Double if shortest.scale() == 0 => format!("{shortest}.0"),
        Amounts::Double => shortest.to_string(),
    }
}

/// Java's notation of a large double: one digit, a point, at least one more, `E`, the power of ten.
struct Exponent(Decimal);

impl std::fmt::UpperExp for Exponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.mantissa().unsigned_abs().to_string();
        let power = digits.len() - 1 - self.0.scale() as usize;
        let rest = digits[1..].trim_end_matches('0');
        let sign = if self.0.is_sign_negative() { "-" } else { "" };
        write!(f, "{sign}{}.{}E{power}", &digits[..1], if rest.is_empty() { "0" } else { rest })
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
