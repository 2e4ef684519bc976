//! Writing records: create, update, replace, upsert, delete, each of up to ten at once and all of them or none.
//!
//! A call is planned whole before the first cell changes, so that a refusal leaves no trace: no record, no choice of a
//! select, no number of an autoNumber field.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::model::{Base, Field, Table};
use super::refusal::Refusal;
use super::{cells, list};

/// Records in one call.
const MOST: usize = 10;

/// Types a record may be recognised by.
const MERGEABLE: [&str; 6] = ["number", "singleLineText", "multilineText", "singleSelect", "multipleSelects", "date"];

/// The change of one record.
struct Change {
    /// The position of the record; `None` creates a record.
    at: Option<usize>,
    cells: Vec<(String, Option<Value>)>,
    choices: Vec<(String, Vec<String>)>,
}

/// The options of a call for the values it sends and the answer it gets.
struct Manner {
    typecast: bool,
    by_id: bool,
}

/// Answers everything that changes records.
pub(super) fn answer(
    base: &mut Base,
    call: &Call,
    table: usize,
    rest: &[&str],
    cap: Option<usize>,
) -> Result<Value, Refusal> {
    match (call.method.as_str(), rest) {
        ("POST", []) => create(base, call, table, cap),
        ("PATCH", []) => update_many(base, call, table, false, cap),
        ("PUT", []) => update_many(base, call, table, true, cap),
        ("DELETE", []) => delete_many(&mut base.tables[table], call),
        ("PATCH", [record]) => update_one(base, call, table, record, false),
        ("PUT", [record]) => update_one(base, call, table, record, true),
        ("DELETE", [record]) => delete_one(&mut base.tables[table], record),
        _ => Err(Refusal::not_found()),
    }
}

fn create(base: &mut Base, call: &Call, table: usize, cap: Option<usize>) -> Result<Value, Refusal> {
    let mut body = call.object()?;
    let manner = Manner::take(&mut body)?;
    if let Some(fields) = body.remove("fields") {
        refuse_rest(&body)?;
        let change = plan(&base.tables[table], &fields, None, manner.typecast)?;
        let at = apply(base, table, vec![change], false, cap)?;
        return Ok(show(&base.tables[table], at[0], &manner));
    }
    let records = take_records(&mut body)?;
    refuse_rest(&body)?;
    if records.len() > MOST {
        let text =
            format!("A maximum of {MOST} records can be created per request but you have provided {}.", records.len());
        return Err(Refusal::new(422, "INVALID_RECORDS", text));
    }
    let mut changes = Vec::new();
    for record in &records {
        let (id, fields) = parts(record)?;
        if id.is_some() {
            return Err(Refusal::invalid("a record to create must not have an id"));
        }
        changes.push(plan(&base.tables[table], fields, None, manner.typecast)?);
    }
    let places = apply(base, table, changes, false, cap)?;
    Ok(json!({ "records": show_all(&base.tables[table], &places, &manner) }))
}

fn update_one(base: &mut Base, call: &Call, table: usize, record: &str, replace: bool) -> Result<Value, Refusal> {
    let mut body = call.object()?;
    let manner = Manner::take(&mut body)?;
    let fields = body.remove("fields").ok_or_else(missing_fields)?;
    refuse_rest(&body)?;
    let at = base.tables[table].position(record).ok_or_else(|| list::missing(record))?;
    let change = plan(&base.tables[table], &fields, Some(at), manner.typecast)?;
    let places = apply(base, table, vec![change], replace, None)?;
    Ok(show(&base.tables[table], places[0], &manner))
}

fn update_many(
    base: &mut Base,
    call: &Call,
    table: usize,
    replace: bool,
    cap: Option<usize>,
) -> Result<Value, Refusal> {
    let mut body = call.object()?;
    let manner = Manner::take(&mut body)?;
    let upsert = body.remove("performUpsert");
    let records = take_records(&mut body)?;
    refuse_rest(&body)?;
    if records.len() > MOST {
        return Err(Refusal::records_shape());
    }
    let within = &base.tables[table];
    let keys = upsert.as_ref().map(|upsert| merge_fields(within, upsert)).transpose()?;
    let mut changes: Vec<Change> = Vec::new();
    for record in &records {
        let (id, fields) = parts(record)?;
        let mut change = plan(within, fields, None, manner.typecast)?;
        change.at = match id {
            Some(id) => Some(within.position(id).ok_or_else(|| Refusal::row_missing(id))?),
            None if keys.is_some() => None,
            None => return Err(Refusal::records_shape()),
        };
        changes.push(change);
    }
    if let Some(keys) = &keys {
        place_by_key(within, &mut changes, keys)?;
    }
    let twice = |at: usize| changes[at].at.is_some() && changes[..at].iter().any(|other| other.at == changes[at].at);
    if (0..changes.len()).any(twice) {
        // A guess: a record cannot be changed twice in one call.
        return Err(Refusal::new(422, "INVALID_RECORDS", "You cannot update the same record multiple times."));
    }
    let upserting = keys.is_some();
    let created: Vec<bool> = changes.iter().map(|change| change.at.is_none()).collect();
    let places = apply(base, table, changes, replace, cap)?;
    let within = &base.tables[table];
    let mut answer = json!({ "records": show_all(within, &places, &manner) });
    if upserting {
        let ids = |wanted: bool| -> Vec<&str> {
            let made = places.iter().zip(&created).filter(|(_, made)| **made == wanted);
            made.map(|(at, _)| within.records[*at].id.as_str()).collect()
        };
        answer["createdRecords"] = json!(ids(true));
        answer["updatedRecords"] = json!(ids(false));
    }
    Ok(answer)
}

fn delete_many(table: &mut Table, call: &Call) -> Result<Value, Refusal> {
    let named = |key: &str| key.split('[').next() == Some("records");
    if call.query.iter().any(|(key, _)| !named(key)) {
        return Err(Refusal::invalid_request());
    }
    let ids: Vec<&String> = call.query.iter().map(|(_, id)| id).collect();
    if ids.is_empty() || ids.len() > MOST {
        return Err(Refusal::records_shape());
    }
    for (at, id) in ids.iter().enumerate() {
        if table.record(id).is_none() || ids[..at].contains(id) {
            return Err(Refusal::row_missing(id));
        }
    }
    table.records.retain(|record| !ids.contains(&&record.id));
    let gone: Vec<Value> = ids.iter().map(|id| json!({"id": id, "deleted": true})).collect();
    Ok(json!({ "records": gone }))
}

fn delete_one(table: &mut Table, record: &str) -> Result<Value, Refusal> {
    let at = table.position(record).ok_or_else(|| list::missing(record))?;
    table.records.remove(at);
    Ok(json!({"id": record, "deleted": true}))
}

impl Manner {
    fn take(body: &mut Map<String, Value>) -> Result<Manner, Refusal> {
        let mut flag = |name: &str| match body.remove(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| Refusal::invalid(format!("{name} must be a boolean"))),
        };
        Ok(Manner { typecast: flag("typecast")?, by_id: flag("returnFieldsByFieldId")? })
    }
}

fn missing_fields() -> Refusal {
    // The refusal is known only from memory of clients' reports.
    Refusal::new(422, "INVALID_REQUEST_MISSING_FIELDS", "Could not find field \"fields\" in the request body")
}

fn take_records(body: &mut Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    match body.remove("records") {
        None => Err(missing_fields()),
        Some(Value::Array(records)) if !records.is_empty() => Ok(records),
        Some(_) => Err(Refusal::records_shape()),
    }
}

fn refuse_rest(body: &Map<String, Value>) -> Result<(), Refusal> {
    if body.is_empty() { Ok(()) } else { Err(Refusal::invalid_request()) }
}

/// Id and cells of a record in a body.
fn parts(record: &Value) -> Result<(Option<&str>, &Value), Refusal> {
    let object = record.as_object().ok_or_else(Refusal::records_shape)?;
    let fields = object.get("fields").filter(|fields| fields.is_object()).ok_or_else(Refusal::records_shape)?;
    let id = match object.get("id") {
        None => None,
        Some(id) => Some(id.as_str().ok_or_else(Refusal::records_shape)?),
    };
    let known = 1 + usize::from(id.is_some());
    if object.len() == known { Ok((id, fields)) } else { Err(Refusal::invalid_request()) }
}

/// Checks the cells of one record against the columns.
fn plan(table: &Table, fields: &Value, at: Option<usize>, typecast: bool) -> Result<Change, Refusal> {
    let fields = fields.as_object().ok_or_else(Refusal::invalid_request)?;
    let mut change = Change { at, cells: Vec::new(), choices: Vec::new() };
    for (name, value) in fields {
        let field = table.field(name).ok_or_else(|| Refusal::unknown_field(name))?;
        if change.cells.iter().any(|(known, _)| *known == field.id) {
            return Err(Refusal::invalid(format!("field {} comes by name and by id", field.name)));
        }
        let taken = cells::take(field, value, typecast)?;
        change.cells.push((field.id.clone(), taken.value));
        if !taken.choices.is_empty() {
            change.choices.push((field.id.clone(), taken.choices));
        }
    }
    Ok(change)
}

/// The columns an upsert recognises records by.
fn merge_fields<'a>(table: &'a Table, upsert: &Value) -> Result<Vec<&'a Field>, Refusal> {
    let object = upsert.as_object().filter(|object| object.len() == 1).ok_or_else(Refusal::invalid_request)?;
    let names = object.get("fieldsToMergeOn").and_then(Value::as_array).ok_or_else(Refusal::invalid_request)?;
    if !(1..=3).contains(&names.len()) {
        return Err(Refusal::invalid("fieldsToMergeOn takes one to three fields"));
    }
    let mut fields = Vec::new();
    for name in names {
        let name = name.as_str().ok_or_else(Refusal::invalid_request)?;
        let field = table.field(name).ok_or_else(|| Refusal::unknown_field(name))?;
        if !MERGEABLE.contains(&field.kind.as_str()) {
            return Err(Refusal::invalid(format!("records cannot be merged on a field of type {}", field.kind)));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// Finds the one record with the key of each change that has no place yet. An empty value in the key matches no record,
/// not even one with an empty cell, so that each such record is created. Letters and spaces are compared as they stand.
/// The real service may be laxer, and its treatment of one new key twice in a call is unknown; here two records are
/// created, the reading a client must fear most.
fn place_by_key(table: &Table, changes: &mut [Change], keys: &[&Field]) -> Result<(), Refusal> {
    let mut wanted: HashMap<Vec<&Value>, Vec<usize>> = HashMap::new();
    for (at, change) in changes.iter().enumerate().filter(|(_, change)| change.at.is_none()) {
        let values = keys.iter().map(|key| key_value(change, key));
        if let Some(key) = values.collect::<Result<Option<Vec<&Value>>, Refusal>>()? {
            wanted.entry(key).or_default().push(at);
        }
    }
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (place, record) in table.records.iter().enumerate() {
        let key: Option<Vec<&Value>> = keys.iter().map(|key| record.cells.get(&key.id)).collect();
        for at in key.and_then(|key| wanted.get(&key)).into_iter().flatten() {
            if found.iter().any(|(known, _)| known == at) {
                return Err(Refusal::many_rows());
            }
            found.push((*at, place));
        }
    }
    for (at, place) in found {
        changes[at].at = Some(place);
    }
    Ok(())
}

/// The value that a change writes into a field to merge on; `None` for an empty value.
fn key_value<'a>(change: &'a Change, key: &Field) -> Result<Option<&'a Value>, Refusal> {
    let cell = change.cells.iter().find(|(id, _)| *id == key.id);
    let why = || format!("every record must have a value for the field to merge on \"{}\"", key.name);
    cell.map(|(_, value)| value.as_ref()).ok_or_else(|| Refusal::invalid(why()))
}

/// Carries out a plan; the places of the records in request order.
fn apply(
    base: &mut Base,
    table: usize,
    changes: Vec<Change>,
    replace: bool,
    cap: Option<usize>,
) -> Result<Vec<usize>, Refusal> {
    let fresh = changes.iter().filter(|change| change.at.is_none()).count();
    if let Some(cap) = cap.filter(|cap| fresh > 0 && base.record_count() + fresh > *cap) {
        return Err(Refusal::base_full(cap));
    }
    let (tables, ids) = (&mut base.tables, &mut base.ids);
    let table = &mut tables[table];
    let computed: Vec<String> = table.fields.iter().filter(|f| f.computed()).map(|f| f.id.clone()).collect();
    let mut places = Vec::new();
    for change in changes {
        for (field, names) in &change.choices {
            table.add_choices(ids, field, names);
        }
        let at = change.at.unwrap_or_else(|| table.push_record(ids.make("rec")));
        let record = &mut table.records[at];
        record.modified = chrono::SubsecRound::trunc_subsecs(chrono::Utc::now(), 0);
        if replace {
            record.cells.retain(|id, _| computed.contains(id));
        }
        for (field, value) in change.cells {
            match value {
                Some(value) => record.cells.insert(field, value),
                None => record.cells.remove(&field),
            };
        }
        places.push(at);
    }
    Ok(places)
}

fn show(table: &Table, at: usize, manner: &Manner) -> Value {
    list::shown(table, &table.records[at], manner.by_id)
}

fn show_all(table: &Table, places: &[usize], manner: &Manner) -> Vec<Value> {
    places.iter().map(|at| show(table, *at, manner)).collect()
}
