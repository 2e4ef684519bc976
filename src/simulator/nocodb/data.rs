//! Records: listed, counted, made, changed and deleted. A request is carried out whole or not at all.

use std::collections::{BTreeMap, HashSet};

use axum::http::Method;
use serde_json::{Value, json};

use super::filter::Filter;
use super::meta::table_at;
use super::model::{Base, Field, Record, Table, now};
use super::refusal::Refusal;
use super::{Call, Options, Role, cells, permit, unknown};

/// Rows on a page where the request names no number.
const USUAL_PAGE: usize = 25;

/// Answers the paths under a table's address.
pub(super) fn answer(
    base: &mut Base,
    options: Options,
    call: &Call,
    role: Role,
    table: &str,
    rest: &[&str],
) -> Result<Value, Refusal> {
    let at = table_at(base, table)?;
    let table = &mut base.tables[at];
    match (&call.method, rest) {
        (&Method::GET, ["records"]) => {
            permit(role, Role::Viewer, "view data")?;
            list(table, options, call)
        }
        (&Method::GET, ["records", id]) => {
            permit(role, Role::Viewer, "view data")?;
            let record = table.records.iter().find(|record| record.id.to_string() == *id);
            let record = record.ok_or_else(|| Refusal::record(id))?;
            Ok(table.shown(record, asked(table, call)?.as_deref()))
        }
        (&Method::GET, ["count"]) => {
            permit(role, Role::Viewer, "view data")?;
            Ok(json!({ "count": table.records.len() }))
        }
        (&Method::POST, ["records"]) => {
            permit(role, Role::Editor, "insert new data")?;
            create(table, options, &rows(call, options)?)
        }
        (&Method::PATCH, ["records"]) => {
            permit(role, Role::Editor, "update data")?;
            update(table, options, &rows(call, options)?)
        }
        (&Method::DELETE, ["records"]) => {
            permit(role, Role::Editor, "delete data")?;
            delete(table, &rows(call, options)?)
        }
        _ => Err(unknown(call)),
    }
}

/// The rows of a request: a list, or one alone.
fn rows(call: &Call, options: Options) -> Result<Vec<Value>, Refusal> {
    let rows = match call.json()? {
        Value::Array(rows) => rows,
        one => vec![one],
    };
    if rows.len() > options.most_rows {
        let text = format!("Maximum {} entities are allowed per request", options.most_rows);
        return Err(Refusal::new(422, "ERR_MAX_PAYLOAD_LIMIT_EXCEEDED", text));
    }
    Ok(rows)
}

/// The fields that a request asks for; `None`: all.
fn asked<'a>(table: &'a Table, call: &Call) -> Result<Option<Vec<&'a Field>>, Refusal> {
    let Some(names) = call.query("fields") else { return Ok(None) };
    let mut fields = Vec::new();
    for name in names.split(',').filter(|name| *name != "Id" && *name != table.id_field) {
        let missing = || {
            let text = format!("Field '{name}' on 'fields' query parameter not found");
            Refusal::new(422, "ERR_FIELD_NOT_FOUND", text)
        };
        fields.push(table.field(name).ok_or_else(missing)?);
    }
    Ok(Some(fields))
}

fn list(table: &Table, options: Options, call: &Call) -> Result<Value, Refusal> {
    let fields = asked(table, call)?;
    let filter = call.query("where").map(|text| Filter::read(text, table)).transpose()?;
    let found: Vec<&Record> =
        table.records.iter().filter(|record| filter.as_ref().is_none_or(|filter| filter.accepts(record))).collect();
    let number = |name| call.query(name).and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
    let size = number("pageSize").unwrap_or(USUAL_PAGE).min(options.most_listed);
    let page = number("page").unwrap_or(1);
    let offset = (page - 1) * size;
    if page > 1 && offset >= found.len() {
        return Err(Refusal::new(422, "ERR_INVALID_OFFSET_VALUE", format!("Offset value '{offset}' is invalid")));
    }
    let records = found.iter().skip(offset).take(size).map(|record| table.shown(record, fields.as_deref()));
    let mut answer = json!({ "records": records.collect::<Vec<_>>(), "nestedNext": null });
    if offset + size < found.len() {
        answer["next"] = page_address(call, page + 1).into();
    }
    if page > 1 {
        answer["prev"] = page_address(call, page - 1).into();
    }
    Ok(answer)
}

fn page_address(call: &Call, page: usize) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(call.query.iter().filter(|(key, _)| key != "page"));
    query.append_pair("page", &page.to_string());
    format!("http://{}/{}?{}", call.host, call.path.join("/"), query.finish())
}

/// The cells of a row by field id. Unknown fields and `Id` are dropped in silence.
fn read_cells(table: &Table, row: &Value) -> Result<BTreeMap<String, Value>, Refusal> {
    let mut taken = BTreeMap::new();
    for (name, value) in row["fields"].as_object().into_iter().flatten() {
        if name == "CreatedAt" || name == "UpdatedAt" {
            return Err(Refusal::msg(400, format!("Column \"{name}\" is auto generated and cannot be updated")));
        }
        if let Some(field) = table.field(name) {
            taken.insert(field.id.clone(), cells::take(field, value)?);
        }
    }
    Ok(taken)
}

/// The field and value of a unique field that another record, or an earlier row of the request, has already.
fn clash(table: &Table, options: Options, row: &BTreeMap<String, Value>, own: Option<u64>) -> Option<Refusal> {
    let unique = table.fields.iter().filter(|field| field.unique && options.enforces_unique);
    unique.filter_map(|field| Some((field, row.get(&field.id).filter(|value| !value.is_null())?))).find_map(
        |(field, value)| {
            let same = |record: &Record| Some(record.id) != own && record.cells.get(&field.id) == Some(value);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.records.iter().any(same).then(|| Refusal::taken(&field.title, &text))
        },
    )
}

fn create(table: &mut Table, options: Options, rows: &[Value]) -> Result<Value, Refusal> {
    let taken: Vec<_> = rows.iter().map(|row| read_cells(table, row)).collect::<Result<_, _>>()?;
    let (before, last_id) = (table.records.len(), table.last_id);
    for mut row in taken {
        if let Some(refusal) = clash(table, options, &row, None) {
            table.records.truncate(before);
            // The numbers of refused rows are lost, as a sequence loses them.
            table.last_id = last_id + rows.len() as u64;
            return Err(refusal);
        }
        row.retain(|_, value| !value.is_null());
        table.push(row);
    }
    let made = table.records[before..].iter().map(|record| table.shown(record, None));
    Ok(json!({ "records": made.collect::<Vec<_>>() }))
}

/// The number of a record in a row of a request.
fn id(row: &Value, at: usize) -> Result<String, Refusal> {
    match &row["id"] {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(Refusal::new(400, "ERR_INVALID_REQUEST_BODY", format!("Property 'id' is required on index {at}"))),
    }
}

/// The positions of the records that a request names.
fn positions(table: &Table, rows: &[Value]) -> Result<Vec<usize>, Refusal> {
    let mut seen = HashSet::new();
    let mut positions = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let id = id(row, at)?;
        if !seen.insert(id.clone()) {
            return Err(Refusal::msg(422, format!("Duplicate record with id {id}")));
        }
        let found = table.records.iter().position(|record| record.id.to_string() == id);
        positions.push(found.ok_or_else(|| Refusal::record(&id))?);
    }
    Ok(positions)
}

fn update(table: &mut Table, options: Options, rows: &[Value]) -> Result<Value, Refusal> {
    let positions = positions(table, rows)?;
    let taken: Vec<_> = rows.iter().map(|row| read_cells(table, row)).collect::<Result<_, _>>()?;
    for (at, row) in positions.iter().zip(taken) {
        // The service says nothing of it: the answer is a 200 with the old row.
        if clash(table, options, &row, Some(table.records[*at].id)).is_some() {
            continue;
        }
        let record = &mut table.records[*at];
        row.into_iter().for_each(|(field, value)| record.set(&field, value));
        record.updated = Some(now());
    }
    let shown = positions.iter().map(|at| table.shown(&table.records[*at], None));
    Ok(json!({ "records": shown.collect::<Vec<_>>() }))
}

fn delete(table: &mut Table, rows: &[Value]) -> Result<Value, Refusal> {
    let positions = positions(table, rows)?;
    let ids: Vec<u64> = positions.iter().map(|at| table.records[*at].id).collect();
    table.records.retain(|record| !ids.contains(&record.id));
    let deleted = ids.iter().map(|id| json!({ "id": id, "deleted": true }));
    Ok(json!({ "records": deleted.collect::<Vec<_>>() }))
}
