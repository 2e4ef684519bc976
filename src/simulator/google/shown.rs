//! Numbers and dates as a cell shows them, and text as a cell takes it when a person types it in.
//!
//! Only `en_US` is modelled. A client that reads shown texts, or lets text be parsed, gets the results of that locale.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, Timelike};
use serde_json::{Value, json};

use super::model::CellValue;

/// Day 0 of serial numbers.
fn epoch() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(1899, 12, 30).unwrap_or_default().and_time(chrono::NaiveTime::MIN)
}

/// A number under a format's type and pattern; an empty pattern is the locale's usual one.
pub(super) fn number(number: f64, kind: &str, pattern: &str) -> String {
    let usual = match kind {
        "DATE" => "m/d/yyyy",
        "TIME" => "h:mm:ss am/pm",
        "DATE_TIME" => "m/d/yyyy h:mm:ss",
        "NUMBER" => "#,##0.00",
        "PERCENT" => "0.00%",
        "CURRENCY" => "$#,##0.00",
        "SCIENTIFIC" => "0.00E+00",
        _ => return plain(number),
    };
    let pattern = if pattern.is_empty() { usual } else { pattern };
    match kind {
        "DATE" | "TIME" | "DATE_TIME" => date(number, pattern),
        _ => patterned(number, pattern),
    }
}

/// A number without a format: up to ten digits, as a cell of usual width shows it.
pub(super) fn plain(number: f64) -> String {
    let shown = format!("{number:.9}");
    let shown = shown.trim_end_matches('0').trim_end_matches('.');
    if shown.is_empty() || shown == "-" || shown == "-0" { "0".to_owned() } else { shown.to_owned() }
}

fn date(serial: f64, pattern: &str) -> String {
    let seconds = (serial * 86_400.0).round();
    let moment = epoch().checked_add_signed(Duration::seconds(seconds as i64)).unwrap_or_else(epoch);
    let lower = pattern.to_ascii_lowercase();
    let (afternoon, twelve) = (moment.hour() >= 12, lower.contains("am/pm"));
    let hour = if twelve { moment.hour12().1 } else { moment.hour() };
    let mut out = String::new();
    let mut rest = lower.as_str();
    let mut after_hour = false;
    while let Some(letter) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("am/pm") {
            out.push_str(if afternoon { "PM" } else { "AM" });
            rest = behind;
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(letter).len();
        let minute = letter == 'm' && (after_hour || rest[run..].trim_start_matches(':').starts_with('s'));
        match (letter, run) {
            ('y', 3..) => out.push_str(&moment.year().to_string()),
            ('y', _) => out.push_str(&format!("{:02}", moment.year() % 100)),
            ('m', 2) if minute => out.push_str(&format!("{:02}", moment.minute())),
            ('m', 1) if minute => out.push_str(&moment.minute().to_string()),
            ('m', 1) => out.push_str(&moment.month().to_string()),
            ('m', 2) => out.push_str(&format!("{:02}", moment.month())),
            ('m', 3) => out.push_str(&moment.format("%b").to_string()),
            ('m', _) => out.push_str(&moment.format("%B").to_string()),
            ('d', 1) => out.push_str(&moment.day().to_string()),
            ('d', 2) => out.push_str(&format!("{:02}", moment.day())),
            ('d', 3) => out.push_str(&moment.format("%a").to_string()),
            ('d', _) => out.push_str(&moment.format("%A").to_string()),
            ('h', 1) => out.push_str(&hour.to_string()),
            ('h', _) => out.push_str(&format!("{hour:02}")),
            ('s', 1) => out.push_str(&moment.second().to_string()),
            ('s', _) => out.push_str(&format!("{:02}", moment.second())),
            ('"', _) => {}
            _ => (0..run).for_each(|_| out.push(letter)),
        }
        after_hour = letter == 'h' || (after_hour && !letter.is_ascii_alphabetic());
        rest = &rest[run * letter.len_utf8()..];
    }
    out
}

fn patterned(number: f64, pattern: &str) -> String {
    let sections: Vec<&str> = pattern.split(';').collect();
    let (section, signed) = match sections.as_slice() {
        [_, negative, ..] if number < 0.0 => (*negative, false),
        [_, _, zero, ..] if number == 0.0 => (*zero, true),
        [first, ..] => (*first, true),
        [] => ("", true),
    };
    let section = bracketed(section);
    let digit = |letter: char| matches!(letter, '0' | '#' | '?' | ',' | '.');
    let Some(first) = section.find(digit) else { return section.replace(['"', '\\'], "") };
    let body: &str = &section[first..];
    let length = body.find(|letter: char| !digit(letter)).unwrap_or(body.len());
    let (prefix, core, suffix) = (&section[..first], &body[..length], &body[length..]);
    let scaled = if suffix.contains('%') { number * 100.0 } else { number };
    let decimals = core.split_once('.').map_or(0, |(_, places)| places.len());
    let mut digits = format!("{:.decimals$}", scaled.abs());
    if core.contains(',') {
        digits = grouped(&digits);
    }
    let sign = if signed && number < 0.0 { "-" } else { "" };
    format!("{sign}{}{digits}{}", prefix.replace(['"', '\\'], ""), suffix.replace(['"', '\\'], ""))
}

/// Drops `[Red]` and the like; keeps the sign of `[$€]`.
fn bracketed(section: &str) -> String {
    let mut out = String::new();
    let mut rest = section;
    while let Some((before, behind)) = rest.split_once('[') {
        let (inside, after) = behind.split_once(']').unwrap_or((behind, ""));
        out.push_str(before);
        if let Some(sign) = inside.strip_prefix('$') {
            out.push_str(sign.split('-').next().unwrap_or(""));
        }
        rest = after;
    }
    out + rest
}

fn grouped(digits: &str) -> String {
    let (whole, places) = digits.split_once('.').map_or((digits, None), |(whole, places)| (whole, Some(places)));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    match places {
        Some(places) => format!("{out}.{places}"),
        None => out,
    }
}

/// The value that a person's typing becomes, with the format it brings along.
pub(super) fn typed(text: &str) -> (CellValue, Option<Value>) {
    if text.len() > 1 && text.starts_with('=') {
        return (CellValue::Formula(text.to_owned()), None);
    }
    if let Some(literal) = text.strip_prefix('\'') {
        return (CellValue::Text(literal.to_owned()), None);
    }
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false") {
        return (CellValue::Bool(trimmed.eq_ignore_ascii_case("true")), None);
    }
    typed_number(trimmed).or_else(|| typed_date(trimmed)).map_or_else(
        || (CellValue::Text(text.to_owned()), None),
        |(number, format)| (CellValue::Number(number), format),
    )
}

fn typed_number(text: &str) -> Option<(f64, Option<Value>)> {
    let format = |kind: &str, pattern: &str| Some(json!({ "type": kind, "pattern": pattern }));
    let (bare, format, scale) = if let Some(bare) = text.strip_suffix('%') {
        (bare, format("PERCENT", "0.00%"), 0.01)
    } else if let Some(bare) = text.strip_prefix('$') {
        (bare, format("CURRENCY", "\"$\"#,##0.00"), 1.0)
    } else if text.contains(',') {
        (text, format("NUMBER", "#,##0.00"), 1.0)
    } else {
        (text, None, 1.0)
    };
    let digits = bare.trim_start_matches(['-', '+']);
    let shaped = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '.' | ',' | 'e' | 'E' | '+' | '-'))
        && digits.split(',').skip(1).all(|group| group.split('.').next().is_some_and(|group| group.len() == 3));
    if !shaped {
        return None;
    }
    Some((bare.replace(',', "").parse::<f64>().ok()? * scale, format))
}

fn typed_date(text: &str) -> Option<(f64, Option<Value>)> {
    let day = |text: &str, pattern: &str| NaiveDate::parse_from_str(text, pattern).ok();
    let serial = |date: NaiveDate| (date.and_time(chrono::NaiveTime::MIN) - epoch()).num_days() as f64;
    for (shape, pattern) in [("%Y-%m-%d", "yyyy-mm-dd"), ("%m/%d/%Y", "m/d/yyyy")] {
        if let Some(date) = day(text, shape).filter(|date| date.year() > 1000) {
            return Some((serial(date), Some(json!({ "type": "DATE", "pattern": pattern }))));
        }
    }
    let moment = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    let seconds = f64::from(moment.num_seconds_from_midnight());
    let format = json!({ "type": "DATE_TIME", "pattern": "yyyy-mm-dd h:mm:ss" });
    Some((serial(moment.date()) + seconds / 86_400.0, Some(format)))
}
