//! The values that a cell of each type accepts, without and with `typecast`, and the form in which the service stores
//! them.
//!
//! Pure. Without `typecast` a value must already have the type's JSON form; with it strings are converted as far as
//! possible and missing choices of a select come into being. An empty value means an empty cell.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone, Utc};
use serde_json::{Value, json};

use super::formula::text_of;
use super::model::{Field, iso};
use super::refusal::Refusal;

/// A value as the cell will hold it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// The cell's new value; `None` empties the cell.
    pub value: Option<Value>,
    /// Choices the column must get for it.
    pub choices: Vec<String>,
}

/// Converts `value` to a cell of `field`, or refuses it.
pub(super) fn take(field: &Field, value: &Value, typecast: bool) -> Result<Taken, Refusal> {
    if field.computed() {
        return Err(Refusal::computed(&field.name));
    }
    if field.kind == "richText" && value.is_null() {
        // Recorded: a cleared rich text leaves a newline behind.
        return Ok(filled(json!("\n")));
    }
    if value.is_null() {
        return Ok(Taken::default());
    }
    let refused = || Refusal::value(&field.name);
    let plain = |value: Option<Value>| value.map(filled).ok_or_else(refused);
    let taken = match field.kind.as_str() {
        "singleLineText" | "multilineText" | "email" | "url" | "phoneNumber" => plain(text(value, typecast)),
        "richText" => plain(text(value, typecast).map(|text| json!(rich(&text_of(&text))))),
        "number" | "currency" | "percent" | "duration" => plain(number(field, value, typecast)),
        "rating" => plain(rating(field, value, typecast)),
        "date" => plain(date(field, value, typecast)),
        "dateTime" => plain(date_time(field, value)),
        "checkbox" => plain(checkbox(value, typecast)),
        "singleSelect" => select(field, std::slice::from_ref(value), typecast)
            .map(|(mut names, choices)| Taken { value: names.pop().map(Value::String), choices }),
        "multipleSelects" => selects(field, value, typecast),
        "barcode" => plain(value["text"].is_string().then(|| value.clone())),
        "multipleAttachments" => plain(objects(value, &["url", "id"])),
        "multipleCollaborators" => plain(objects(value, &["id", "email"])),
        "singleCollaborator" => plain(identified(value, &["id", "email"]).then(|| value.clone())),
        "multipleRecordLinks" => plain(links(value)),
        _ => Err(refused()),
    }?;
    Ok(Taken { value: taken.value.filter(|value| !empty(value)), ..taken })
}

/// True if a cell with this value counts as empty and is left out of answers.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn filled(value: Value) -> Taken {
    Taken { value: Some(value), choices: Vec::new() }
}

/// Longest text in characters. The real answer to a longer one is not known.
const LONGEST: usize = 100_000;

fn text(value: &Value, typecast: bool) -> Option<Value> {
    match value {
        Value::String(text) if text.chars().count() > LONGEST => None,
        Value::String(_) => Some(value.clone()),
        Value::Number(_) | Value::Bool(_) if typecast => Some(json!(text_of(value))),
        Value::Array(_) if typecast => Some(json!(text_of(value))),
        _ => None,
    }
}

/// Recorded: bullets become dashes and a newline closes the text.
fn rich(text: &str) -> String {
    let line = |line: &str| line.strip_prefix("* ").map_or_else(|| line.to_owned(), |rest| format!("- {rest}"));
    let mut written: Vec<String> = text.trim_end_matches('\n').split('\n').map(line).collect();
    written.push(String::new());
    written.join("\n")
}

/// Numbers are doubles there: a whole one comes back without a point.
fn number(field: &Field, value: &Value, typecast: bool) -> Option<Value> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) if text.trim().is_empty() && typecast => return Some(Value::Null),
        Value::String(text) if typecast => {
            let kept: String = text.chars().filter(|c| c.is_ascii_digit() || "+-.eE".contains(*c)).collect();
            let parsed: f64 = kept.parse().ok()?;
            if field.kind == "percent" && text.contains('%') { parsed / 100.0 } else { parsed }
        }
        _ => return None,
    };
    whole(number)
}

fn whole(number: f64) -> Option<Value> {
    if !number.is_finite() {
        return None;
    }
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Some(json!(number as i64));
    }
    Some(json!(number))
}

fn rating(field: &Field, value: &Value, typecast: bool) -> Option<Value> {
    let rated = number(field, value, typecast)?;
    let most = field.options.as_ref().and_then(|options| options["max"].as_i64()).unwrap_or(10);
    match rated.as_i64() {
        Some(0) => Some(Value::Null),
        Some(stars) if (1..=most).contains(&stars) => Some(rated),
        _ if rated.is_null() => Some(rated),
        _ => None,
    }
}

fn date(field: &Field, value: &Value, typecast: bool) -> Option<Value> {
    let text = value.as_str()?;
    if text.is_empty() {
        return typecast.then_some(Value::Null);
    }
    let strict = (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten();
    let instant = || {
        let time = typecast.then(|| DateTime::parse_from_rfc3339(text).ok()).flatten()?;
        Some(time.to_utc().date_naive())
    };
    let local = || {
        let name = field.options.as_ref().and_then(|options| options["dateFormat"]["name"].as_str())?;
        let pattern = if name == "european" { "%d/%m/%Y" } else { "%m/%d/%Y" };
        typecast.then(|| NaiveDate::parse_from_str(text, pattern).ok()).flatten()
    };
    let day = strict.or_else(instant).or_else(local)?;
    Some(json!(day.format("%Y-%m-%d").to_string()))
}

/// An instant as text with an offset, or without one in the field's own zone, or as milliseconds since 1970.
fn date_time(field: &Field, value: &Value) -> Option<Value> {
    if let Some(millis) = value.as_i64() {
        return Some(json!(iso(DateTime::from_timestamp_millis(millis)?)));
    }
    let text = value.as_str()?;
    if text.is_empty() {
        return Some(Value::Null);
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(json!(iso(instant.to_utc())));
    }
    let day = |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let read = |pattern| NaiveDateTime::parse_from_str(text, pattern).ok();
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(read)
        .or_else(|| day(text))?;
    let zone = field.options.as_ref().and_then(|options| options["timeZone"].as_str()).unwrap_or("utc");
    let instant = match zone.parse::<chrono_tz::Tz>() {
        Ok(zone) => zone.from_local_datetime(&local).earliest()?.to_utc(),
        Err(_) => Utc.from_utc_datetime(&local),
    };
    Some(json!(iso(instant)))
}

fn checkbox(value: &Value, typecast: bool) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::Number(number) if typecast => Some(json!(number.as_f64() != Some(0.0))),
        Value::String(text) if typecast => match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "1" | "checked" | "x" => Some(json!(true)),
            "" | "false" | "no" | "n" | "0" | "unchecked" => Some(json!(false)),
            _ => None,
        },
        _ => None,
    }
}

/// Names as they will stand in the cell, and those among them that are new to the column.
fn select(field: &Field, values: &[Value], typecast: bool) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let (mut names, mut fresh) = (Vec::new(), Vec::new());
    for value in values {
        let name = match value {
            Value::String(name) => name.clone(),
            Value::Number(_) | Value::Bool(_) if typecast => text_of(value),
            _ => return Err(Refusal::value(&field.name)),
        };
        if name.is_empty() {
            continue;
        }
        if !field.choices().contains(&name.as_str()) {
            if !typecast || field.fixed {
                return Err(Refusal::choice(&name));
            }
            fresh.push(name.clone());
        }
        names.push(name);
    }
    Ok((names, fresh))
}

fn selects(field: &Field, value: &Value, typecast: bool) -> Result<Taken, Refusal> {
    let values = match value {
        Value::Array(values) => values.clone(),
        Value::String(text) if typecast => text.split(',').map(|part| json!(part.trim())).collect(),
        _ => return Err(Refusal::value(&field.name)),
    };
    let (names, choices) = select(field, &values, typecast)?;
    Ok(Taken { value: Some(json!(names)), choices })
}

fn identified(value: &Value, keys: &[&str]) -> bool {
    value.is_object() && keys.iter().any(|key| value[*key].is_string())
}

fn objects(value: &Value, keys: &[&str]) -> Option<Value> {
    let items = value.as_array()?;
    items.iter().all(|item| identified(item, keys)).then(|| value.clone())
}

fn links(value: &Value) -> Option<Value> {
    let items = value.as_array()?;
    items.iter().all(|item| item.as_str().is_some_and(|id| id.starts_with("rec"))).then(|| value.clone())
}
