//! The grammar of request bodies: every name, type and enum value of the API, from a table.
//!
//! `schema.txt` holds one message a line: its name, then `field=type` pairs taken from the API's discovery document of
//! revision 20261019. A type is `int`, `number`, `bool`, `text`, `mask`, `any`, `A|B|…` for an enum, the name of a
//! message, `[type` for a list and `%type` for a map. Checking happens before a body is interpreted, as in the real
//! service, so that an unknown name at any depth refuses the whole request. A checked body has no nulls left (null is
//! the same as absent), its integers are integers and its numbers are finite.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::refusal::Refusal;

type Message = HashMap<&'static str, &'static str>;

static SCHEMA: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    include_str!("schema.txt")
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            Some((name, words.filter_map(|word| word.split_once('=')).collect()))
        })
        .collect()
});

/// Messages of which at most one field may be set, with the name of that choice.
const CHOICES: &[(&str, &str)] = &[("Request", "kind"), ("ExtendedValue", "value"), ("DataFilter", "filter")];

/// The type of a field; `None` if the message has no such field.
pub(super) fn field_type(message: &str, field: &str) -> Option<&'static str> {
    SCHEMA.get(message)?.get(field).copied()
}

/// The names of a message's fields; `None` if `name` is no message.
pub(super) fn field_names(name: &str) -> Option<impl Iterator<Item = &'static str>> {
    Some(SCHEMA.get(name)?.keys().copied())
}

/// The innermost type of a list or map of it.
pub(super) fn element(mut kind: &'static str) -> &'static str {
    while let Some(inner) = kind.strip_prefix(['[', '%']) {
        kind = inner;
    }
    kind
}

/// Checks a body against a message and brings it into its plain form. `root` is the name errors give to the body
/// itself: empty where the body is the request, `data` where it is a part of it.
pub(super) fn check(message: &str, root: &str, body: Value) -> Result<Value, Refusal> {
    let mut violations = Vec::new();
    let checked = check_type(message, root, body, &mut violations);
    match violations.is_empty() {
        true => Ok(checked),
        false => Err(Refusal::fields(violations)),
    }
}

type Violations = Vec<(String, String)>;

fn check_message(name: &str, fields: &Message, path: &str, value: Value, violations: &mut Violations) -> Value {
    let Value::Object(map) = value else {
        let type_name = format!("type.googleapis.com/google.apps.sheets.v4.{name}");
        return wrong(path, &type_name, value, violations);
    };
    let mut checked = Map::new();
    for (key, value) in map {
        let Some(kind) = fields.get(key.as_str()) else {
            let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
            let text = format!("Invalid JSON payload received. Unknown name \"{key}\"{place}: Cannot find field.");
            violations.push((path.to_owned(), text));
            continue;
        };
        if value.is_null() {
            continue;
        }
        let inner = join(path, &snake_case(&key));
        if let Some((_, choice)) = CHOICES.iter().find(|(message, _)| *message == name)
            && !checked.is_empty()
        {
            let text =
                format!("Invalid value at '{path}' (oneof), oneof field '{choice}' is already set. Cannot set '{key}'");
            violations.push((path.to_owned(), text));
        }
        checked.insert(key, check_type(kind, &inner, value, violations));
    }
    Value::Object(checked)
}

fn check_type(kind: &str, path: &str, value: Value, violations: &mut Violations) -> Value {
    if let Some(inner) = kind.strip_prefix('[') {
        return check_list(inner, path, value, violations);
    }
    if let Some(inner) = kind.strip_prefix('%') {
        let Value::Object(map) = value else { return wrong(path, "map", value, violations) };
        return map
            .into_iter()
            .map(|(key, value)| {
                let inner_path = format!("{path}[{key}]");
                (key, check_type(inner, &inner_path, value, violations))
            })
            .collect::<Map<_, _>>()
            .into();
    }
    match kind {
        "any" => value,
        "int" => check_integer(path, value, violations),
        "number" => match as_number(&value) {
            Some(number) => super::number(number),
            None => wrong(path, "TYPE_DOUBLE", value, violations),
        },
        "bool" if value.is_boolean() => value,
        "bool" => wrong(path, "TYPE_BOOL", value, violations),
        "text" | "mask" if value.is_string() => value,
        "text" => wrong(path, "TYPE_STRING", value, violations),
        "mask" => wrong(path, "type.googleapis.com/google.protobuf.FieldMask", value, violations),
        _ if kind.contains('|') => {
            let known = value.as_str().is_some_and(|text| kind.split('|').any(|one| one == text && !one.is_empty()));
            // The real text has the enum's own name, which the discovery document does not give.
            let name = path.rsplit('.').next().unwrap_or(path);
            match known {
                true => value,
                false => wrong(path, &format!("type.googleapis.com/google.apps.sheets.v4.{name}"), value, violations),
            }
        }
        name => match SCHEMA.get(name) {
            Some(fields) => check_message(name, fields, path, value, violations),
            None => wrong(path, "unknown message", value, violations),
        },
    }
}

fn check_list(inner: &str, path: &str, value: Value, violations: &mut Violations) -> Value {
    match value {
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| check_type(inner, &format!("{path}[{index}]"), item, violations))
            .collect(),
        // Recorded: a lone scalar where rows of values belong is reported as one bad row.
        _ if inner.starts_with('[') => wrong(path, "type.googleapis.com/google.protobuf.ListValue", value, violations),
        _ => check_type(inner, path, value, violations),
    }
}

fn check_integer(path: &str, value: Value, violations: &mut Violations) -> Value {
    // An integer may come as a number or as text; both are the documented JSON form.
    let number = as_number(&value).filter(|number| number.fract() == 0.0);
    match number.filter(|number| *number >= f64::from(i32::MIN) && *number <= f64::from(i32::MAX)) {
        Some(number) => Value::from(number as i64),
        None => wrong(path, "TYPE_INT32", value, violations),
    }
}

fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn wrong(path: &str, type_name: &str, value: Value, violations: &mut Violations) -> Value {
    let shown = match &value {
        Value::Array(_) | Value::Object(_) => String::new(),
        scalar => format!(", {scalar}"),
    };
    violations.push((path.to_owned(), format!("Invalid value at '{path}' ({type_name}){shown}")));
    Value::Null
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// A name as errors write it.
pub(super) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
