//! The bank's JSON as it arrives: field names, and the three kinds of scalar that need care (text that may come as a
//! number, money that must never pass through a double, times with any form of offset).
//!
//! Everything borrows from the reply's body. The *meaning* of a value is decided elsewhere.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::model::{is_in_bounds, payload};

/// The parts of a row that are needed before it is read whole: they tell transactions from other rows, and their place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    pub trn_type: Option<&'a RawValue>,
    #[serde(borrow)]
    pub ac_entry_sr_no: Option<&'a RawValue>,
    #[serde(borrow)]
    pub date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    pub amount: Option<&'a RawValue>,
    #[serde(borrow)]
    pub ac_bal: Option<&'a RawValue>,
}

/// A row that is a transaction.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
    #[serde(borrow, default)]
    pub trn_type: Text<'a>,
    #[serde(borrow, default)]
    pub trn_code: Text<'a>,
    #[serde(borrow, default)]
    pub trname: Text<'a>,
    #[serde(borrow, default)]
    pub dtkt: Text<'a>,
    #[serde(borrow)]
    pub amount: Option<&'a RawValue>,
    #[serde(borrow)]
    pub ac_bal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub value_dt: Text<'a>,
    #[serde(borrow, default)]
    pub reference: Text<'a>,
    #[serde(borrow, default)]
    pub contragent: Text<'a>,
    #[serde(borrow, default)]
    pub ben_order_party: Text<'a>,
    #[serde(borrow, default)]
    pub trn_account: Text<'a>,
    #[serde(borrow, default)]
    pub rem_i: Text<'a>,
    #[serde(borrow, default)]
    pub rem_ii: Text<'a>,
    #[serde(borrow, default)]
    pub rem_iii: Text<'a>,
}

/// Text, outer white space removed; absent, `null` and empty are the same. A number or a boolean is taken as its text,
/// since no real reply has been seen and codes and references may well be numbers.
#[derive(Default)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub fn get(&self) -> &str {
        self.0.trim()
    }

    pub fn is_empty(&self) -> bool {
        self.get().is_empty()
    }

    pub fn owned(&self) -> String {
        self.get().to_owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(flag.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
}

/// The depth of the lists and objects in a text of JSON.
pub(super) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads JSON. Broken characters in its strings become U+FFFD; `room` is for the text without them.
pub(super) fn parse<'a, T: Deserialize<'a>>(raw: &'a str, room: &'a mut String) -> serde_json::Result<T> {
    serde_json::from_str(raw).or_else(move |_| {
        *room = payload::mended(raw).into_owned();
        serde_json::from_str(room)
    })
}

/// The text of a value, nothing where it is absent; `None` where it is no scalar.
pub(super) fn words<'a>(token: Option<&'a RawValue>) -> Option<Text<'a>> {
    let Some(token) = token else { return Some(Text::default()) };
    let inner = token.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(plain) = inner.filter(|text| !text.contains('\\')) {
        return Some(Text(Cow::Borrowed(plain)));
    }
    let mut room = String::new();
    parse::<Text<'_>>(token.get(), &mut room).ok().map(|text| Text(Cow::Owned(text.owned())))
}

/// The JSON token of a scalar without its quotes; `None` where it is absent, `null`, an empty string, or holds an
/// escape (no number does).
fn bare(token: Option<&RawValue>) -> Option<&str> {
    let token = token?.get();
    let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = inner.unwrap_or(token).trim();
    (!text.is_empty() && token != "null").then_some(text)
}

/// A sum of money: a JSON number, or a string holding a plain decimal. `Ok(None)` where nothing is given.
///
/// Big doubles are printed with an exponent by the libraries banks use (`1.23456789E7`), so a JSON number may have one;
/// a string with blanks, commas or a currency is refused, because guessing at separators is how a sum gets lost.
pub(super) fn money(token: Option<&RawValue>) -> Result<Option<Decimal>, String> {
    let Some(text) = bare(token) else { return Ok(None) };
    let quoted = token.is_some_and(|token| token.get().starts_with('"'));
    let refuse = || format!("`{}` is not a plain decimal", short(text));
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain {
        return bounded(Decimal::from_str_exact(text).map_err(|_| refuse())?, text).map(Some);
    }
    let number = !quoted && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !number {
        return Err(refuse());
    }
    bounded(Decimal::from_scientific(text).map_err(|_| refuse())?, text).map(Some)
}

/// The amount, where it has at most fifteen digits before the point; a zero without a sign.
fn bounded(amount: Decimal, text: &str) -> Result<Decimal, String> {
    match is_in_bounds(amount) {
        true => Ok(if amount.is_zero() { amount.abs() } else { amount }),
        false => Err(format!("`{}` has more than fifteen digits before the point", short(text))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// An entry's serial number, the same whether it comes as a number or as a string. `Ok(None)` where nothing is given.
pub(super) fn serial(token: Option<&RawValue>) -> Result<Option<u64>, String> {
    let Some(text) = bare(token) else { return Ok(None) };
    let refuse = || format!("acEntrySrNo `{}` is not a whole number", short(text));
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    text.parse().map(Some).map_err(|_| refuse())
}

/// Years in which an entry can have been booked; a date outside of them stands for something else.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;

/// An instant in any of the forms a Java service prints: date, or date and time with or without fraction, with `Z`,
/// `+0200`, `+02:00`, `+02`, or no offset (then the bank's own zone). The answer has the offset Sofia had then.
pub(super) fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    let date = text.get(..10)?;
    let bytes = date.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(digits(&date[..4])? as i32, digits(&date[5..7])?, digits(&date[8..])?)?;
    if !YEARS.contains(&date.year()) {
        return None;
    }
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(in_sofia(date.and_time(NaiveTime::MIN)));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let clock_end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(clock_end);
    let local = date.and_time(clock_time(clock)?);
    if offset.is_empty() {
        return Some(in_sofia(local));
    }
    let offset = offset_of(offset)?;
    Some(offset.from_local_datetime(&local).single()?.with_timezone(&Sofia).fixed_offset())
}

/// A wall clock reading in Sofia as an instant: the earlier one where the clock shows it twice, and read as winter time
/// where it skips it.
pub(super) fn in_sofia(local: NaiveDateTime) -> DateTime<FixedOffset> {
    match Sofia.from_local_datetime(&local).earliest() {
        Some(time) => time.fixed_offset(),
        None => (local - chrono::TimeDelta::hours(2)).and_utc().with_timezone(&Sofia).fixed_offset(),
    }
}

/// The last second of a day in Sofia: of two readings the later one, so that no hour of the day is left out.
pub(super) fn end_of_day(day: NaiveDate) -> DateTime<FixedOffset> {
    let next = in_sofia(day.succ_opt().unwrap_or(day).and_time(NaiveTime::MIN));
    (next - chrono::TimeDelta::seconds(1)).with_timezone(&Sofia).fixed_offset()
}

/// As the bank's own page writes it: no milliseconds, offset without a colon.
pub(super) fn stamp(time: DateTime<FixedOffset>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%z").to_string()
}

/// Now, as a clock in Sofia shows it.
pub(super) fn now() -> DateTime<FixedOffset> {
    chrono::Utc::now().with_timezone(&Sofia).fixed_offset()
}

fn clock_time(text: &str) -> Option<NaiveTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milli = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
    NaiveTime::from_hms_milli_opt(hour, minute, second, milli)
}

fn offset_of(text: &str) -> Option<FixedOffset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(chrono::Utc.fix());
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let text = &text[1..];
    let (hours, minutes) = match text.len() {
        2 => (text, "00"),
        4 if text.is_ascii() => text.split_at(2),
        5 => text.split_once(':')?,
        _ => return None,
    };
    FixedOffset::east_opt(sign * (digits(hours)? as i32 * 3600 + digits(minutes)? as i32 * 60))
}

fn digits(text: &str) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.bytes().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_json_counts_no_bracket_of_a_text() {
        for (json, deep) in [("1", 0), (r#"{"a":"[[\"[","b":[{}]}"#, 3), (r#"{"\\":[]}"#, 2), ("[[],[[]]]", 3)] {
            assert_eq!(depth(json), deep, "{json}");
        }
        assert_eq!(depth(&"[".repeat(100_000)), 100_000);
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn money_is_exact_from_numbers_and_plain_strings() {
        let cases = [
            ("100", "100"),
            ("100.5", "100.5"),
            ("-0.07", "-0.07"),
            ("0.1", "0.1"),
            ("\"1234.56\"", "1234.56"),
            ("\" -5 \"", "-5"),
            ("1.23456789E7", "12345678.9"),
            ("1E2", "100"),
            ("5e-2", "0.05"),
            ("999999999.99", "999999999.99"),
        ];
        for (token, expected) in cases {
            let found = money(Some(&raw(token))).unwrap().unwrap();
            assert_eq!(found, expected.parse().unwrap(), "{token}");
        }
    }

    #[test]
    fn money_that_needs_guessing_is_refused() {
        let cases =
            ["\"1 234,56\"", "\"1,234.56\"", "\"12 BGN\"", "\"1e2\"", "\"--5\"", "true", "[1]", "\"1_0\"", "\".5\""];
        for token in cases {
            assert!(money(Some(&raw(token))).is_err(), "{token}");
        }
        for token in ["null", "\"\"", "\"  \""] {
            assert_eq!(money(Some(&raw(token))), Ok(None), "{token}");
        }
        assert_eq!(money(None), Ok(None));
    }

    #[test]
    fn money_that_no_sum_can_hold_is_refused_by_name() {
        for token in ["79228162514264337593543950335", "\"1000000000000000\"", "-1e15", "1E28", "-1000000000000000.00"]
        {
            let why = money(Some(&raw(token))).unwrap_err();
            assert!(why.ends_with("has more than fifteen digits before the point"), "{token}: {why}");
        }
        for token in ["1e400", "1e-300", "79228162514264337593543950336", "\"NaN\"", "\"Infinity\"", "1e999999999999"] {
            assert!(money(Some(&raw(token))).unwrap_err().ends_with("is not a plain decimal"), "{token}");
        }
        assert!(money(Some(&raw("0.12345678901234567890123456789"))).is_err(), "twenty-nine decimals");
        assert_eq!(money(Some(&raw("-999999999999999.99"))).unwrap().unwrap().to_string(), "-999999999999999.99");
        for token in ["-0", "-0.00", "\"-0.0\"", "-0e5"] {
            assert!(!money(Some(&raw(token))).unwrap().unwrap().to_string().contains('-'), "{token}");
        }
    }

    #[test]
    fn a_serial_number_is_the_same_as_number_and_as_string() {
        assert_eq!(serial(Some(&raw("900000001"))), Ok(Some(900_000_001)));
        assert_eq!(serial(Some(&raw("\"900000001\""))), Ok(Some(900_000_001)));
        assert_eq!(serial(Some(&raw("18446744073709551615"))), Ok(Some(u64::MAX)));
        for token in ["-1", "1.5", "\"12a\"", "1E9", "99999999999999999999"] {
            assert!(serial(Some(&raw(token))).is_err(), "{token}");
        }
    }

    #[test]
    fn any_form_of_offset_gives_the_instant_in_sofia() {
        let winter = "2026-02-03T10:11:12+02:00";
        for text in [
            "2026-02-03T10:11:12+0200",
            "2026-02-03T10:11:12+02:00",
            "2026-02-03T10:11:12+02",
            "2026-02-03T08:11:12Z",
            "2026-02-03T10:11:12",
            "2026-02-03 10:11:12.000",
            "2026-02-03T03:11:12-0500",
        ] {
            assert_eq!(time(text).map(|time| time.to_rfc3339()).as_deref(), Some(winter), "{text}");
        }
        let midnight = |text| time(text).map(|time| time.to_rfc3339());
        assert_eq!(midnight("2026-07-01").as_deref(), Some("2026-07-01T00:00:00+03:00"));
        assert_eq!(midnight("2026-07-01T23:30:00+0200").as_deref(), Some("2026-07-02T00:30:00+03:00"));
        assert_eq!(midnight("2026-06-30T21:00:00Z").as_deref(), Some("2026-07-01T00:00:00+03:00"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "0001-01-01",
            "9999-12-31T00:00:00Z",
            "03/02/2026",
            "2026-02-30",
            "2026-02-03T25:00:00",
            "2026-02-03T10:11:12+2",
            "1770105600000",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(time("2026-02-03T10:11:12+02\u{441}"), None);
        assert_eq!(time("2026-02-0\u{441}"), None);
    }

    #[test]
    fn days_begin_and_end_with_the_offset_of_their_date() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let ends = |text| {
            let day = day(text);
            (stamp(in_sofia(day.and_time(NaiveTime::MIN))), stamp(end_of_day(day)))
        };
        let pair = |from: &str, until: &str| (from.to_owned(), until.to_owned());
        assert_eq!(ends("2026-03-29"), pair("2026-03-29T00:00:00+0200", "2026-03-29T23:59:59+0300"));
        assert_eq!(ends("2026-10-25"), pair("2026-10-25T00:00:00+0300", "2026-10-25T23:59:59+0200"));
        // In the early nineties the clock changed at midnight: a day can begin at one, and end twice.
        assert_eq!(ends("1993-03-28").0, "1993-03-28T01:00:00+0300");
        assert_eq!(ends("1993-09-25").1, "1993-09-25T23:59:59+0200");
    }
}
