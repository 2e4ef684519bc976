//! The meta API: the token's owner, its bases, their tables and fields, and making more of them.
//!
//! Options are checked as the documentation lists them: a type's required options must be there, and unknown ones are
//! refused. The refusals' types are known from reports only, their texts mostly not.

use serde_json::{Map, Value, json};

use super::call::Call;
use super::model::{Base, EMAIL, Field, Ids, Table, USER, VIEW, computed};
use super::refusal::Refusal;
use super::{Role, State};

/// Bases on one page of the list.
const BASES_A_PAGE: usize = 1000;

/// Types a field can be made with through the API; the others only the owner can make.
const MADE_BY_API: [&str; 20] = [
    "singleLineText",
    "multilineText",
    "richText",
    "email",
    "url",
    "phoneNumber",
    "number",
    "percent",
    "currency",
    "date",
    "dateTime",
    "duration",
    "rating",
    "checkbox",
    "singleSelect",
    "multipleSelects",
    "barcode",
    "multipleAttachments",
    "singleCollaborator",
    "multipleCollaborators",
];

/// Types the first field of a table may have.
const PRIMARY: [&str; 12] = [
    "singleLineText",
    "multilineText",
    "email",
    "url",
    "phoneNumber",
    "number",
    "percent",
    "currency",
    "date",
    "dateTime",
    "duration",
    "barcode",
];

/// Answers the paths under `/v0/meta`.
pub(super) fn answer(state: &mut State, call: &Call, token: usize, rest: &[&str]) -> Result<Value, Refusal> {
    let base = match rest {
        ["bases", base, ..] => Some(state.base(token, base)?),
        _ => None,
    };
    let id = base.map(|base| state.bases[base].id.clone());
    state.limits.admit(id.as_deref(), false)?;
    let reads = |state: &State| match state.permit(token, "schema.bases:read", Role::Read) {
        // Recorded in 2022 for a token without access to the schema.
        Err(_) if state.old_errors => Err(Refusal::silent(404, "NOT_FOUND")),
        other => other,
    };
    let writes = |state: &State| state.permit(token, "schema.bases:write", Role::Create);
    match (call.method.as_str(), rest, base) {
        ("GET", ["whoami"], _) => Ok(whoami(state, token)),
        ("GET", ["bases"], _) => reads(state).and_then(|()| bases(state, call, token)),
        ("POST", ["bases"], _) => writes(state).and_then(|()| create_base(state, call)),
        ("GET", ["bases", _, "tables"], Some(base)) => {
            reads(state)?;
            tables(&state.bases[base], call)
        }
        ("POST", ["bases", _, "tables"], Some(base)) => {
            writes(state)?;
            let base = &mut state.bases[base];
            let mut body = call.object()?;
            let table = create_table(base, &mut body)?;
            refuse_rest(&body)?;
            Ok(shown(&base.tables[table], false))
        }
        ("PATCH", ["bases", _, "tables", table], Some(base)) => {
            writes(state)?;
            patch_table(&mut state.bases[base], call, table)
        }
        ("POST", ["bases", _, "tables", table, "fields"], Some(base)) => {
            writes(state)?;
            let base = &mut state.bases[base];
            let (at, ids) = (find(&base.tables, table)?, &mut base.ids);
            create_field(&mut base.tables[at], ids, call)
        }
        ("PATCH", ["bases", _, "tables", table, "fields", field], Some(base)) => {
            writes(state)?;
            let base = &mut state.bases[base];
            let at = find(&base.tables, table)?;
            patch_field(&mut base.tables[at], call, field)
        }
        _ => Err(Refusal::not_found()),
    }
}

/// Scopes come for OAuth tokens only, and these are personal ones.
fn whoami(state: &State, token: usize) -> Value {
    let mut me = json!({ "id": USER });
    if state.tokens[token].scopes.iter().any(|scope| scope == "user.email:read") {
        me["email"] = json!(EMAIL);
    }
    me
}

fn bases(state: &State, call: &Call, token: usize) -> Result<Value, Refusal> {
    let token = &state.tokens[token];
    let listed = |base: &&Base| token.bases.as_ref().is_none_or(|list| list.contains(&base.id));
    let all: Vec<&Base> = state.bases.iter().filter(listed).collect();
    let offset = call.query.iter().find(|(key, _)| key == "offset").map(|(_, value)| value.as_str());
    let bad = || Refusal::new(422, "INVALID_OFFSET_VALUE", "The value of offset is invalid");
    let start = offset.map_or(Ok(0), |offset| offset.trim_start_matches("itr").parse::<usize>().map_err(|_| bad()))?;
    let end = all.len().min(start.saturating_add(BASES_A_PAGE));
    let level = match token.role {
        Role::Read => "read",
        Role::Comment => "comment",
        Role::Edit => "edit",
        Role::Create => "create",
    };
    let page = all.get(start..end).ok_or_else(bad)?;
    let page: Vec<Value> =
        page.iter().map(|base| json!({"id": base.id, "name": base.name, "permissionLevel": level})).collect();
    let mut answer = json!({ "bases": page });
    if end < all.len() {
        answer["offset"] = json!(format!("itr{end}"));
    }
    Ok(answer)
}

fn create_base(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let mut body = call.object()?;
    let name = take_name(&mut body)?;
    body.remove("workspaceId").filter(Value::is_string).ok_or_else(Refusal::invalid_request)?;
    let mut base = Base::new(&state.ids.make("app"), &name);
    let tables = body.remove("tables");
    let tables = tables.as_ref().and_then(Value::as_array).filter(|tables| !tables.is_empty());
    for table in tables.ok_or_else(Refusal::invalid_request)? {
        let mut table = table.as_object().ok_or_else(Refusal::invalid_request)?.clone();
        create_table(&mut base, &mut table)?;
        refuse_rest(&table)?;
    }
    refuse_rest(&body)?;
    let tables: Vec<Value> = base.tables.iter().map(|table| shown(table, false)).collect();
    let answer = json!({"id": base.id, "tables": tables});
    state.bases.push(base);
    Ok(answer)
}

fn tables(base: &Base, call: &Call) -> Result<Value, Refusal> {
    let mut with_visible = false;
    for (key, value) in &call.query {
        if key.trim_end_matches("[]") != "include" || value != "visibleFieldIds" {
            return Err(Refusal::invalid_request());
        }
        with_visible = true;
    }
    let tables: Vec<Value> = base.tables.iter().map(|table| shown(table, with_visible)).collect();
    Ok(json!({ "tables": tables }))
}

fn create_table(base: &mut Base, body: &mut Map<String, Value>) -> Result<usize, Refusal> {
    let name = take_name(body)?;
    unique_table(base, &name)?;
    let description = take_description(body)?;
    let wanted = body.remove("fields");
    let wanted = wanted.as_ref().and_then(Value::as_array).filter(|fields| !fields.is_empty());
    let mut fields: Vec<Field> = Vec::new();
    for field in wanted.ok_or_else(Refusal::invalid_request)? {
        let field = made(&mut base.ids, field)?;
        unique_field(&fields, &field.name)?;
        fields.push(field);
    }
    if !PRIMARY.contains(&fields[0].kind.as_str()) {
        return Err(options_refused(&fields[0].name, "type cannot be that of a primary field"));
    }
    base.push_table(&name, description, fields);
    Ok(base.tables.len() - 1)
}

fn patch_table(base: &mut Base, call: &Call, table: &str) -> Result<Value, Refusal> {
    let at = find(&base.tables, table)?;
    let mut body = call.object()?;
    if body.contains_key("name") {
        let name = take_name(&mut body)?;
        if !name.eq_ignore_ascii_case(&base.tables[at].name) {
            unique_table(base, &name)?;
        }
        base.tables[at].name = name;
    }
    if body.contains_key("description") {
        base.tables[at].description = take_description(&mut body)?;
    }
    refuse_rest(&body)?;
    Ok(shown(&base.tables[at], false))
}

fn create_field(table: &mut Table, ids: &mut Ids, call: &Call) -> Result<Value, Refusal> {
    let field = made(ids, &Value::Object(call.object()?))?;
    unique_field(&table.fields, &field.name)?;
    let answer = shown_field(&field);
    table.fields.push(field);
    Ok(answer)
}

/// Name and description only: a type can be changed by the owner, not through the API.
fn patch_field(table: &mut Table, call: &Call, id: &str) -> Result<Value, Refusal> {
    let at = table.fields.iter().position(|field| field.id == id);
    let at = at.ok_or_else(Refusal::forbidden_or_missing)?;
    let mut body = call.object()?;
    let mut field = table.fields[at].clone();
    if body.contains_key("name") {
        field.name = take_name(&mut body)?;
        let others: Vec<Field> = table.fields.iter().filter(|other| other.id != id).cloned().collect();
        unique_field(&others, &field.name)?;
    }
    if body.contains_key("description") {
        field.description = take_description(&mut body)?;
    }
    refuse_rest(&body)?;
    table.fields[at] = field;
    Ok(shown_field(&table.fields[at]))
}

fn find(tables: &[Table], name: &str) -> Result<usize, Refusal> {
    tables.iter().position(|table| table.is(name)).ok_or_else(Refusal::forbidden_or_missing)
}

fn shown(table: &Table, with_visible: bool) -> Value {
    let fields: Vec<Value> = table.fields.iter().map(shown_field).collect();
    let mut view = json!({"id": table.view, "name": VIEW, "type": "grid"});
    if with_visible {
        view["visibleFieldIds"] = table.fields.iter().map(|field| json!(field.id)).collect();
    }
    let mut shown = json!({
        "id": table.id,
        "name": table.name,
        "primaryFieldId": table.primary,
        "fields": fields,
        "views": [view],
    });
    if let Some(description) = &table.description {
        shown["description"] = json!(description);
    }
    shown
}

fn shown_field(field: &Field) -> Value {
    let mut shown = json!({"type": field.kind, "id": field.id, "name": field.name});
    if let Some(options) = &field.options {
        shown["options"] = options.clone();
    }
    if let Some(description) = &field.description {
        shown["description"] = json!(description);
    }
    shown
}

fn refuse_rest(body: &Map<String, Value>) -> Result<(), Refusal> {
    if body.is_empty() { Ok(()) } else { Err(Refusal::invalid_request()) }
}

fn take_name(body: &mut Map<String, Value>) -> Result<String, Refusal> {
    match body.remove("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name),
        _ => Err(Refusal::invalid_request()),
    }
}

fn take_description(body: &mut Map<String, Value>) -> Result<Option<String>, Refusal> {
    match body.remove("description") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= 20_000 => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(_) => Err(Refusal::invalid_request()),
    }
}

fn unique_table(base: &Base, name: &str) -> Result<(), Refusal> {
    let same = |table: &Table| table.name.to_lowercase() == name.to_lowercase();
    if base.tables.iter().any(same) {
        let text = format!("A table named \"{name}\" already exists in this base");
        return Err(Refusal::new(422, "DUPLICATE_TABLE_NAME", text));
    }
    Ok(())
}

fn unique_field(fields: &[Field], name: &str) -> Result<(), Refusal> {
    if fields.iter().any(|field| field.name.to_lowercase() == name.to_lowercase()) {
        let text = format!("A field named \"{name}\" already exists in this table");
        return Err(Refusal::new(422, "DUPLICATE_OR_EMPTY_FIELD_NAME", text));
    }
    Ok(())
}

fn options_refused(field: &str, why: &str) -> Refusal {
    Refusal::new(422, "INVALID_FIELD_TYPE_OPTIONS_FOR_CREATE", format!("Failed schema validation: {field}.{why}"))
}

/// A field as the API makes it from its description.
fn made(ids: &mut Ids, wanted: &Value) -> Result<Field, Refusal> {
    let mut body = wanted.as_object().ok_or_else(Refusal::invalid_request)?.clone();
    let name = take_name(&mut body)?;
    let description = take_description(&mut body)?;
    let Some(Value::String(kind)) = body.remove("type") else { return Err(Refusal::invalid_request()) };
    if !MADE_BY_API.contains(&kind.as_str()) && !computed(&kind) {
        return Err(Refusal::invalid_request());
    }
    if computed(&kind) {
        let text = format!("Creating {kind} fields is not supported at this time");
        return Err(Refusal::new(422, "UNSUPPORTED_FIELD_TYPE_FOR_CREATE", text));
    }
    let given = body.remove("options");
    refuse_rest(&body)?;
    let given = match given {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map),
        Some(_) => return Err(Refusal::invalid_request()),
    };
    let options = options(ids, &kind, given).map_err(|why| options_refused(&name, &why))?;
    Ok(Field { id: ids.make("fld"), name, kind, options, description, constant: None, fixed: false })
}

/// Checks the options of a type and completes them as the service does; the error names the mistake.
fn options(ids: &mut Ids, kind: &str, given: Option<Map<String, Value>>) -> Result<Option<Value>, String> {
    let Some(mut given) = given else {
        return if TEXTS.contains(&kind) { Ok(None) } else { Err("options is missing".to_owned()) };
    };
    let mut made = Map::new();
    let mut keep = |key: &str, value: Value| made.insert(key.to_owned(), value);
    match kind {
        "number" | "percent" => drop(keep("precision", precision(&mut given, 8)?)),
        "currency" => {
            keep("precision", precision(&mut given, 7)?);
            keep("symbol", word(&mut given, "symbol")?);
        }
        "date" => drop(keep("dateFormat", format(&mut given, "dateFormat", &DATES)?)),
        "dateTime" => {
            keep("timeZone", zone(&mut given)?);
            keep("dateFormat", format(&mut given, "dateFormat", &DATES)?);
            keep("timeFormat", format(&mut given, "timeFormat", &TIMES)?);
        }
        "singleSelect" | "multipleSelects" => drop(keep("choices", choices(ids, &mut given)?)),
        "checkbox" => {
            keep("icon", word(&mut given, "icon")?);
            keep("color", word(&mut given, "color")?);
        }
        "rating" => {
            keep("icon", word(&mut given, "icon")?);
            keep("color", word(&mut given, "color")?);
            let most = given.remove("max").filter(|max| max.as_u64().is_some_and(|max| (1..=10).contains(&max)));
            keep("max", most.ok_or("max must be from 1 to 10")?);
        }
        "duration" => drop(keep("durationFormat", word(&mut given, "durationFormat")?)),
        _ => {}
    }
    match given.keys().next() {
        Some(key) => Err(format!("unknown option {key}")),
        None if made.is_empty() => Ok(None),
        None => Ok(Some(Value::Object(made))),
    }
}

/// Types that need no options.
const TEXTS: [&str; 10] = [
    "singleLineText",
    "multilineText",
    "richText",
    "email",
    "url",
    "phoneNumber",
    "barcode",
    "multipleAttachments",
    "singleCollaborator",
    "multipleCollaborators",
];

/// Names of date formats with their patterns.
const DATES: [(&str, &str); 5] =
    [("local", "l"), ("friendly", "LL"), ("us", "M/D/YYYY"), ("european", "D/M/YYYY"), ("iso", "YYYY-MM-DD")];

/// Names of time formats with their patterns.
const TIMES: [(&str, &str); 2] = [("12hour", "h:mma"), ("24hour", "HH:mm")];

fn precision(given: &mut Map<String, Value>, most: u64) -> Result<Value, String> {
    let digits = given.remove("precision").filter(|digits| digits.as_u64().is_some_and(|digits| digits <= most));
    digits.ok_or_else(|| format!("precision must be from 0 to {most}"))
}

fn word(given: &mut Map<String, Value>, key: &str) -> Result<Value, String> {
    given.remove(key).filter(Value::is_string).ok_or_else(|| format!("{key} must be a string"))
}

fn zone(given: &mut Map<String, Value>) -> Result<Value, String> {
    let zone = word(given, "timeZone")?;
    let name = zone.as_str().unwrap_or_default();
    let known = matches!(name, "utc" | "client") || name.parse::<chrono_tz::Tz>().is_ok();
    known.then_some(zone.clone()).ok_or_else(|| format!("unknown time zone {name}"))
}

fn format(given: &mut Map<String, Value>, key: &str, known: &[(&str, &str)]) -> Result<Value, String> {
    let wanted = given.remove(key).ok_or_else(|| format!("{key} is missing"))?;
    let object = wanted.as_object().ok_or_else(|| format!("{key} must be an object"))?;
    let found = known.iter().find(|(name, _)| object.get("name").is_some_and(|wanted| wanted == name));
    let (name, pattern) = found.ok_or_else(|| format!("unknown {key}"))?;
    if object.get("format").is_some_and(|given| given != pattern) || object.keys().any(|k| k != "name" && k != "format")
    {
        return Err(format!("{key} does not match its name"));
    }
    Ok(json!({"name": name, "format": pattern}))
}

fn choices(ids: &mut Ids, given: &mut Map<String, Value>) -> Result<Value, String> {
    let wanted = given.remove("choices");
    let wanted = wanted.as_ref().and_then(Value::as_array).ok_or("choices must be an array")?;
    let mut made: Vec<Value> = Vec::new();
    for choice in wanted {
        let name = choice["name"].as_str().filter(|name| !name.is_empty()).ok_or("a choice needs a name")?;
        let strange = |keys: &Map<String, Value>| keys.keys().any(|key| key != "name" && key != "color");
        if choice.as_object().is_some_and(strange) || made.iter().any(|known| known["name"] == name) {
            return Err(format!("choice {name} is doubled or has unknown keys"));
        }
        let color = choice["color"].as_str().unwrap_or("blueLight2");
        made.push(json!({"id": ids.make("sel"), "name": name, "color": color}));
    }
    Ok(Value::Array(made))
}
