//! The values that a field takes, and their form on the way out.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::model::Field;
use super::refusal::Refusal;

/// Most characters of a text.
const LONGEST: usize = 100_000;

/// The value as it is kept.
pub(super) fn take(field: &Field, value: &Value) -> Result<Value, Refusal> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let wrong = || Refusal::value(&text, &field.kind, &field.title);
    match field.kind.as_str() {
        "SingleLineText" | "LongText" | "Email" | "URL" | "PhoneNumber" => take_text(field, text),
        // Kept as written: the database's numeric type loses no digit.
        "Decimal" | "Currency" | "Percent" => decimal(&text).map(Value::String).ok_or_else(wrong),
        "Number" => decimal(&text).filter(|text| !text.contains('.')).map(Value::String).ok_or_else(wrong),
        "Date" => date(&text).ok_or_else(wrong)?.map(|date| date.to_string().into()),
        "DateTime" => instant(&text).map(|text| text.into()).ok_or_else(wrong),
        "Checkbox" => Ok(Value::Bool(!matches!(text.as_str(), "false" | "0" | ""))),
        "SingleSelect" => take_choices(field, &[text]).map(|mut taken| taken.pop().unwrap_or_default()),
        "MultiSelect" => {
            let choices: Vec<String> = match value {
                Value::Array(items) => items.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect(),
                _ => text.split(',').map(str::to_owned).collect(),
            };
            take_choices(field, &choices).map(Value::Array)
        }
        // Types of which no value is known to be taken.
        _ => Err(wrong()),
    }
}

/// The value as it goes out: numbers come as doubles.
pub(super) fn shown(field: &Field, value: Value) -> Value {
    match (field.kind.as_str(), &value) {
        ("Decimal" | "Currency" | "Percent" | "Number", Value::String(text)) => {
            let double: f64 = text.parse().unwrap_or_default();
            // Whole numbers have no point on the wire.
            if double.fract() == 0.0 && double.abs() < 9e18 {
                return (double as i64).into();
            }
            Number::from_f64(double).map_or(Value::Null, Value::Number)
        }
        _ => value,
    }
}

fn take_text(field: &Field, text: String) -> Result<Value, Refusal> {
    let length = text.encode_utf16().count();
    if length > LONGEST {
        return Err(Refusal::length(length, LONGEST, &field.kind, &field.title));
    }
    if text.contains('\0') {
        return Err(Refusal::database("22021"));
    }
    Ok(text.into())
}

fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let number: Decimal = text.parse().ok().or_else(|| Decimal::from_scientific(text).ok())?;
    Some(number.to_string())
}

/// The day of a date or of an instant; the inner error: the database refuses a day that no calendar has.
fn date(text: &str) -> Option<Result<NaiveDate, Refusal>> {
    let (day, rest) = text.split_at_checked(10)?;
    let is_shape = day
        .bytes()
        .enumerate()
        .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    let is_rest = rest.is_empty() || rest.starts_with(['T', ' ']);
    (is_shape && is_rest).then(|| day.parse().map_err(|_| Refusal::database("22008")))
}

fn instant(text: &str) -> Option<String> {
    let instant = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => instant.with_timezone(&Utc),
        Err(_) => text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc(),
    };
    Some(instant.format("%Y-%m-%d %H:%M:%S+00:00").to_string())
}

fn take_choices(field: &Field, wanted: &[String]) -> Result<Vec<Value>, Refusal> {
    let choices = field.options["choices"].as_array();
    let offers = |text: &str| choices.is_some_and(|all| all.iter().any(|choice| choice["title"] == text));
    match wanted.iter().find(|text| !offers(text)) {
        Some(unknown) => Err(Refusal::choice(unknown, &field.title)),
        None => Ok(wanted.iter().map(|text| Value::String(text.clone())).collect()),
    }
}
