//! Paths for whoever drives the simulator from outside, such as the scripts that check it. No part of the real API:
//! they need no token, count against no limit, and exist on loopback only.
//!
//! - `POST /simulator/bases` with `{"bases":[{"id","name","tables":[{"id","name","fields":[…],"records":[…]}]}]}` puts
//!   bases in place, each instead of one with the same id. A table may have `primaryFieldId` and `numbered` (the last
//!   autoNumber given out). A field has `name` and `type` and may have `id`, `options` (null: none; absent: the usual
//!   ones) and `constant` (what a computed column shows by default). A record may have `id`, `createdTime`, `number`
//!   and `fields`, those of columns that the simulator does not compute among them; missing choices of a select come
//!   into being.
//! - `POST /simulator/settings` with any of `{"perSecond","penaltySeconds","monthlyCalls","recordCap","oldErrors",
//!   "shuffle","expireOffsets","startMonth"}`; null takes a limit away. The answer is how the lasting ones stood
//!   before, in a form that can be sent back.
//! - `POST /simulator/tokens` with `{"scopes":[…],"role":"read|comment|edit|create","bases":[…]}` makes a token;
//!   `DELETE /simulator/tokens/{token}` revokes it.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::model::{Base, Field, Table};
use super::refusal::Refusal;
use super::{Role, SCOPES, State, Token, cells};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bases {
    bases: Vec<BaseState>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseState {
    id: String,
    name: String,
    #[serde(default)]
    tables: Vec<TableState>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TableState {
    id: Option<String>,
    name: String,
    description: Option<String>,
    primary_field_id: Option<String>,
    numbered: Option<u64>,
    fields: Vec<FieldState>,
    #[serde(default)]
    records: Vec<RecordState>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldState {
    id: Option<String>,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "usual")]
    options: Value,
    description: Option<String>,
    constant: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RecordState {
    id: Option<String>,
    created_time: Option<DateTime<Utc>>,
    number: Option<u64>,
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenState {
    scopes: Option<Vec<String>>,
    role: Option<String>,
    bases: Option<Vec<String>>,
}

/// Stands for options that were not given.
fn usual() -> Value {
    json!("usual")
}

/// Answers the paths under `/simulator`.
pub(super) fn answer(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["simulator", "bases"]) => bases(state, call),
        ("POST", ["simulator", "settings"]) => settings(state, call),
        ("POST", ["simulator", "tokens"]) => token(state, call),
        ("DELETE", ["simulator", "tokens", secret]) => {
            state.tokens.retain(|token| token.secret != *secret);
            Ok(json!({}))
        }
        _ => Err(Refusal::not_found()),
    }
}

fn read<T: serde::de::DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(call.object()?)).map_err(Refusal::invalid)
}

fn bases(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let wanted: Bases = read(call)?;
    for wanted in wanted.bases {
        let mut base = Base::new(&wanted.id, &wanted.name);
        for table in wanted.tables {
            put_table(&mut base, table)?;
        }
        state.bases.retain(|known| known.id != base.id);
        state.bases.push(base);
    }
    Ok(json!({}))
}

fn put_table(base: &mut Base, wanted: TableState) -> Result<(), Refusal> {
    let mut fields = Vec::new();
    for field in wanted.fields {
        let mut made = Field::usual(&mut base.ids, &field.name, &field.kind);
        made.id = field.id.unwrap_or(made.id);
        if field.options != usual() {
            made.options = Some(field.options).filter(|options| !options.is_null());
        }
        (made.description, made.constant) = (field.description, field.constant);
        fields.push(made);
    }
    base.push_table(&wanted.name, wanted.description, fields);
    let (tables, ids) = (&mut base.tables, &mut base.ids);
    let Some(table) = tables.last_mut() else { return Ok(()) };
    table.id = wanted.id.unwrap_or_else(|| table.id.clone());
    table.primary = wanted.primary_field_id.unwrap_or_else(|| table.primary.clone());
    for record in wanted.records {
        let id = record.id.clone().unwrap_or_else(|| ids.make("rec"));
        put_record(table, ids, id, record)?;
    }
    table.numbered = wanted.numbered.unwrap_or(table.numbered);
    Ok(())
}

fn put_record(table: &mut Table, ids: &mut super::Ids, id: String, wanted: RecordState) -> Result<(), Refusal> {
    let at = table.push_record(id);
    for (name, value) in wanted.fields {
        let field = table.field(&name).ok_or_else(|| Refusal::unknown_field(&name))?;
        if field.computed() {
            let id = field.id.clone();
            table.records[at].cells.insert(id, value);
            continue;
        }
        let (field_id, taken) = (field.id.clone(), cells::take(field, &value, true)?);
        table.add_choices(ids, &field_id, &taken.choices);
        if let Some(value) = taken.value {
            table.records[at].cells.insert(field_id, value);
        }
    }
    let record = &mut table.records[at];
    record.created = wanted.created_time.unwrap_or(record.created).trunc_subsecs(3);
    record.modified = record.created;
    record.number = wanted.number.unwrap_or(record.number);
    table.numbered = table.numbered.max(record.number);
    Ok(())
}

fn settings(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let wanted = call.object()?;
    let (per_second, penalty) = state.limits.rate();
    let before = json!({
        "perSecond": per_second,
        "penaltySeconds": penalty.as_secs_f64(),
        "monthlyCalls": state.limits.monthly,
        "recordCap": state.limits.records,
        "oldErrors": state.old_errors,
        "shuffle": state.shuffled,
    });
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let penalty = wanted.get("penaltySeconds").and_then(Value::as_f64).unwrap_or(30.0);
    let penalty = Duration::try_from_secs_f64(penalty).map_err(Refusal::invalid)?;
    for (key, value) in &wanted {
        match key.as_str() {
            "perSecond" => state.limits.set_rate(number(value), penalty),
            "penaltySeconds" if wanted.contains_key("perSecond") => {}
            "monthlyCalls" => state.limits.monthly = number(value),
            "recordCap" => state.limits.records = number(value).map(|cap| cap as usize),
            "oldErrors" => state.old_errors = value == &json!(true),
            "shuffle" => state.shuffled = value == &json!(true),
            "expireOffsets" => state.iterators.clear(),
            "startMonth" => state.limits.spent = 0,
            _ => return Err(Refusal::invalid(format!("unknown setting {key}"))),
        }
    }
    Ok(before)
}

fn token(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let wanted: TokenState = read(call)?;
    let role = match wanted.role.as_deref() {
        None | Some("create") => Role::Create,
        Some("edit") => Role::Edit,
        Some("comment") => Role::Comment,
        Some("read") => Role::Read,
        Some(other) => return Err(Refusal::invalid(format!("unknown role {other}"))),
    };
    let secret = format!("{}.simulated", state.ids.make("pat"));
    let scopes = wanted.scopes.unwrap_or_else(|| SCOPES.iter().map(|&scope| scope.to_owned()).collect());
    state.tokens.push(Token { secret: secret.clone(), scopes, role, bases: wanted.bases });
    Ok(json!({ "token": secret }))
}
