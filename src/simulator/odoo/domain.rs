//! Searching: domains, order, limit and fields over records of any model.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// A record with all its fields.
pub(super) type Record = Map<String, Value>;

/// The records that a domain lets through.
pub(super) fn filter(model: &str, records: Vec<Record>, domain: &Value) -> Result<Vec<Record>, Refusal> {
    let terms = domain.as_array().ok_or_else(|| Refusal::value(format!("Invalid domain: {domain}")))?;
    let mut kept = Vec::new();
    for record in records {
        if holds(model, &record, terms)? {
            kept.push(record);
        }
    }
    // A domain that names no such field is refused, whether there is a record or not.
    if kept.is_empty() {
        for term in terms.iter().filter_map(Value::as_array) {
            check(model, term)?;
        }
    }
    Ok(kept)
}

/// Evaluates a domain in prefix notation from its end; terms beside each other are joined by and.
fn holds(model: &str, record: &Record, terms: &[Value]) -> Result<bool, Refusal> {
    let mut stack: Vec<bool> = Vec::new();
    for term in terms.iter().rev() {
        let value = match term {
            Value::String(sign) if sign == "&" => pop(&mut stack)? & pop(&mut stack)?,
            Value::String(sign) if sign == "|" => pop(&mut stack)? | pop(&mut stack)?,
            Value::String(sign) if sign == "!" => !pop(&mut stack)?,
            Value::Array(term) => test(model, record, term)?,
            other => return Err(Refusal::value(format!("Invalid domain term: {other}"))),
        };
        stack.push(value);
    }
    Ok(stack.into_iter().all(|value| value))
}

fn pop(stack: &mut Vec<bool>) -> Result<bool, Refusal> {
    stack.pop().ok_or_else(|| Refusal::value("Domain is too short"))
}

/// The parts of a term, and its words in errors.
fn parts(term: &[Value]) -> Result<(&str, &str, &Value, String), Refusal> {
    let [Value::String(field), Value::String(operator), wanted] = term else {
        return Err(Refusal::value(format!("Invalid domain term: {}", json!(term))));
    };
    let shown = match wanted {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    Ok((field, operator, wanted, format!("('{field}', '{operator}', {shown})")))
}

fn check(model: &str, term: &[Value]) -> Result<(), Refusal> {
    let (field, operator, _, shown) = parts(term)?;
    let is_known = match model {
        super::books::LINE => super::books::FIELDS.iter().any(|known| known.0 == field) || field == "unique_import_id",
        _ => true,
    };
    if !is_known {
        return Err(Refusal::value(format!("Invalid field {model}.{field} in condition {shown}")));
    }
    if !["=", "!=", "<", ">", "<=", ">=", "in", "not in", "like", "ilike", "=like", "=ilike"].contains(&operator) {
        return Err(Refusal::value(format!("Invalid operator in condition {shown}")));
    }
    Ok(())
}

fn test(model: &str, record: &Record, term: &[Value]) -> Result<bool, Refusal> {
    let (field, operator, wanted, shown) = parts(term)?;
    let Some(found) = record.get(field) else {
        return Err(Refusal::value(format!("Invalid field {model}.{field} in condition {shown}")));
    };
    // A many2one is compared by its id.
    let found = found.as_array().and_then(|pair| pair.first()).unwrap_or(found);
    let is_in = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|one| same(found, one)));
    let contains = |wanted: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        text(found).contains(&text(wanted))
    };
    Ok(match operator {
        "=" => same(found, wanted),
        "!=" => !same(found, wanted),
        "in" => is_in(wanted),
        "not in" => !is_in(wanted),
        "<" => compare(found, wanted) == Ordering::Less,
        ">" => compare(found, wanted) == Ordering::Greater,
        "<=" => compare(found, wanted) != Ordering::Greater,
        ">=" => compare(found, wanted) != Ordering::Less,
        "ilike" | "like" => contains(wanted),
        _ => return Err(Refusal::value(format!("Invalid operator in condition {shown}"))),
    })
}

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other || (one.is_null() || *one == json!(false)) && (other.is_null() || *other == json!(false)),
    }
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.as_str().unwrap_or_default().cmp(other.as_str().unwrap_or_default()),
    }
}

/// The records in the order that a call asks for, cut to its page.
pub(super) fn page(mut records: Vec<Record>, call: &Record) -> Vec<Record> {
    if let Some(order) = call.get("order").and_then(Value::as_str) {
        let keys: Vec<(String, bool)> = order
            .split(',')
            .map(|part| {
                let mut words = part.split_whitespace();
                (words.next().unwrap_or_default().to_owned(), words.next().is_some_and(|word| word == "desc"))
            })
            .collect();
        records.sort_by(|one, other| {
            let by = keys.iter().map(|(key, is_falling)| {
                let ordering = compare(one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                if *is_falling { ordering.reverse() } else { ordering }
            });
            by.fold(Ordering::Equal, Ordering::then)
        });
    }
    let number = |key: &str| call.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    records.into_iter().skip(number("offset").unwrap_or(0)).take(limit).collect()
}

/// The records cut to these fields and the id; whole where no field is named.
pub(super) fn select(model: &str, records: Vec<Record>, fields: Option<&Value>) -> Result<Value, Refusal> {
    let fields: Vec<&str> = fields.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if fields.is_empty() {
        return Ok(json!(records));
    }
    let mut shown = Vec::new();
    for record in records {
        let mut kept = Record::new();
        kept.extend(record.get("id").map(|id| ("id".to_owned(), id.clone())));
        for field in &fields {
            let Some(value) = record.get(*field) else {
                return Err(Refusal::value(format!("Invalid field '{field}' on '{model}'")));
            };
            kept.insert((*field).to_owned(), value.clone());
        }
        shown.push(Value::Object(kept));
    }
    Ok(json!(shown))
}
