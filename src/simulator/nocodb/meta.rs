//! Tables and fields: listed, made, renamed and deleted.

use axum::http::Method;
use serde_json::{Value, json};

use super::model::{Base, Field, Ids, Table};
use super::refusal::Refusal;
use super::{Call, Role, permit, unknown};

/// Types that a field can be made with here.
const TYPES: [&str; 16] = [
    "SingleLineText",
    "LongText",
    "Email",
    "URL",
    "PhoneNumber",
    "Decimal",
    "Currency",
    "Percent",
    "Number",
    "Date",
    "DateTime",
    "Checkbox",
    "SingleSelect",
    "MultiSelect",
    "Duration",
    "JSON",
];

/// Answers the paths under a base's address.
pub(super) fn answer(base: &mut Base, ids: &mut Ids, call: &Call, role: Role, rest: &[&str]) -> Result<Value, Refusal> {
    match (&call.method, rest) {
        (&Method::GET, []) => {
            permit(role, Role::Viewer, "view base details")?;
            Ok(json!({ "id": base.id, "title": base.title }))
        }
        (&Method::GET, ["tables"]) => {
            permit(role, Role::Viewer, "view list of tables")?;
            let tables =
                base.tables.iter().map(|table| json!({ "id": table.id, "title": table.title, "base_id": base.id }));
            Ok(json!({ "list": tables.collect::<Vec<_>>() }))
        }
        (&Method::POST, ["tables"]) => {
            permit(role, Role::Creator, "perform the action \"tableCreate\"")?;
            make_table(base, ids, &call.json()?)
        }
        (&Method::GET, ["tables", table]) => {
            permit(role, Role::Viewer, "view table details")?;
            let at = table_at(base, table)?;
            Ok(described(&base.id, &base.tables[at]))
        }
        (&Method::DELETE, ["tables", table]) => {
            permit(role, Role::Creator, "perform the action \"tableDelete\"")?;
            let at = table_at(base, table)?;
            base.tables.remove(at);
            Ok(json!({}))
        }
        (&Method::POST, ["tables", table, "fields"]) => {
            permit(role, Role::Creator, "perform the action \"columnAdd\"")?;
            let at = table_at(base, table)?;
            let field = make_field(&base.id, &base.tables[at], ids, &call.json()?)?;
            let shown = field_shown(&base.tables[at].id, &field);
            base.tables[at].fields.push(field);
            Ok(shown)
        }
        (&Method::PATCH | &Method::DELETE, ["fields", field]) => {
            permit(role, Role::Creator, "perform the action \"columnUpdate\"")?;
            let has = |table: &&mut Table| table.fields.iter().any(|known| known.id == *field);
            let table = base.tables.iter_mut().find(has);
            let missing = || Refusal::new(422, "ERR_FIELD_NOT_FOUND", format!("Field '{field}' not found"));
            let table = table.ok_or_else(missing)?;
            if call.method == Method::PATCH {
                change_field(table, field, &call.json()?)
            } else {
                delete_field(table, field)
            }
        }
        _ => Err(unknown(call)),
    }
}

pub(super) fn table_at(base: &Base, id: &str) -> Result<usize, Refusal> {
    let at = base.tables.iter().position(|table| table.id == id);
    at.ok_or_else(|| Refusal::new(422, "ERR_TABLE_NOT_FOUND", format!("Table '{id}' not found")))
}

fn make_table(base: &mut Base, ids: &mut Ids, wanted: &Value) -> Result<Value, Refusal> {
    let title = text(wanted, "title")?;
    if base.tables.iter().any(|table| table.title == title) {
        let what = format!("Duplicate table alias '{title}' at base '{}'", base.id);
        return Err(Refusal::new(422, "ERR_DUPLICATE_IN_ALIAS", what));
    }
    let mut table = Table {
        id: ids.make("m"),
        title,
        fields: Vec::new(),
        records: Vec::new(),
        id_field: ids.make("c"),
        last_id: 0,
    };
    for wanted in wanted["fields"].as_array().into_iter().flatten() {
        let field = make_field(&base.id, &table, ids, wanted)?;
        table.fields.push(field);
    }
    let shown = described(&base.id, &table);
    base.tables.push(table);
    Ok(shown)
}

fn make_field(base: &str, table: &Table, ids: &mut Ids, wanted: &Value) -> Result<Field, Refusal> {
    let (title, kind) = (text(wanted, "title")?, text(wanted, "type")?);
    if title == "Id" || table.fields.iter().any(|field| field.title == title) {
        let what = format!("Duplicate column alias '{title}' at table '{}', base '{base}'", table.id);
        return Err(Refusal::new(422, "ERR_DUPLICATE_IN_ALIAS", what));
    }
    if !TYPES.contains(&kind.as_str()) {
        return Err(Refusal::new(400, "ERR_INVALID_REQUEST_BODY", format!("Invalid request body: type '{kind}'")));
    }
    let unique = wanted["unique"] == json!(true);
    let options = wanted.get("options").cloned().unwrap_or_default();
    Ok(Field { id: ids.make("c"), first_title: title.clone(), title, kind, unique, options })
}

fn change_field(table: &mut Table, id: &str, wanted: &Value) -> Result<Value, Refusal> {
    let table_id = table.id.clone();
    let Some(field) = table.fields.iter_mut().find(|field| field.id == id) else {
        return Err(Refusal::new(422, "ERR_FIELD_NOT_FOUND", format!("Field '{id}' not found")));
    };
    if let Some(title) = wanted["title"].as_str() {
        field.title = title.to_owned();
    }
    if let Some(kind) = wanted["type"].as_str() {
        field.kind = kind.to_owned();
    }
    if let Some(unique) = wanted["unique"].as_bool() {
        field.unique = unique;
    }
    Ok(field_shown(&table_id, field))
}

fn delete_field(table: &mut Table, id: &str) -> Result<Value, Refusal> {
    table.fields.retain(|field| field.id != id);
    table.records.iter_mut().for_each(|record| drop(record.cells.remove(id)));
    Ok(json!({}))
}

fn described(base: &str, table: &Table) -> Value {
    let id = json!({ "id": table.id_field, "table_id": table.id, "title": "Id", "type": "ID", "system": false });
    let fields = table.fields.iter().map(|field| field_shown(&table.id, field));
    json!({
        "id": table.id,
        "title": table.title,
        "base_id": base,
        "display_field_id": table.fields.first().map(|field| &field.id),
        "fields": std::iter::once(id).chain(fields).collect::<Vec<_>>(),
    })
}

fn field_shown(table: &str, field: &Field) -> Value {
    let mut shown = json!({ "id": field.id, "table_id": table, "title": field.title, "type": field.kind });
    if field.unique {
        shown["unique"] = true.into();
    }
    if !field.options.is_null() {
        shown["options"] = field.options.clone();
    }
    shown
}

fn text(value: &Value, key: &str) -> Result<String, Refusal> {
    let found = value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    found.ok_or_else(|| Refusal::new(400, "ERR_INVALID_REQUEST_BODY", format!("Property '{key}' is required")))
}
