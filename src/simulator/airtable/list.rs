//! Reading records: one by its id, or a list in pages with filter, sort and choice of fields.
//!
//! A list is fixed when its first page is asked for; the offset names the list and the next row. A row deleted in
//! between is left out, one changed in between is shown as it is then.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::State;
use super::call::Call;
use super::formula::{Formula, text_of};
use super::model::{Field, Record, Table, VIEW, iso};
use super::refusal::Refusal;
use super::well_formed;

/// A list whose pages are still being asked for.
#[derive(Clone)]
pub(super) struct Iterator {
    id: String,
    table: String,
    records: Arc<[String]>,
}

/// Lists kept open; the oldest expires when there are more.
const OPEN_LISTS: usize = 1000;

/// The form in which records are shown.
#[derive(Default)]
struct Shape {
    /// Ids of the fields to show; `None`: all fields.
    fields: Option<Vec<String>>,
    by_id: bool,
    as_text: bool,
    with_comment_count: bool,
}

/// The parameters of a list call.
struct Wanted {
    shape: Shape,
    page_size: usize,
    max_records: usize,
    offset: Option<String>,
    sort: Vec<(String, bool)>,
    formula: Option<Formula>,
    has_view: bool,
}

/// `GET /{base}/{table}` and `POST /{base}/{table}/listRecords`.
pub(super) fn list(state: &mut State, call: &Call, base: usize, table: usize) -> Result<Value, Refusal> {
    let table = &state.bases[base].tables[table];
    let wanted = Wanted::read(&parameters(call)?, table)?;
    let (iterator, start) = match &wanted.offset {
        Some(offset) => resume(&state.iterators, table, offset)?,
        None => {
            let records = select(table, &wanted, state.shuffled).into();
            (Iterator { id: state.ids.make("itr"), table: table.id.clone(), records }, 0)
        }
    };
    let end = iterator.records.len().min(start + wanted.page_size);
    let records = page(table, &iterator.records[start..end], &wanted.shape);
    let mut answer = json!({ "records": records });
    if let Some(next) = iterator.records.get(end) {
        answer["offset"] = json!(format!("{}/{next}", iterator.id));
        state.iterators.retain(|known| known.id != iterator.id);
        state.iterators.push_back(iterator);
        if state.iterators.len() > OPEN_LISTS {
            state.iterators.pop_front();
        }
    }
    Ok(answer)
}

/// The rows of a page that still exist, found in one walk through the table.
fn page(table: &Table, ids: &[String], shape: &Shape) -> Vec<Value> {
    let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let mut rows = vec![None; ids.len()];
    for record in &table.records {
        if let Some(at) = places.get(record.id.as_str()) {
            rows[*at] = Some(shape.show(table, record));
        }
    }
    rows.into_iter().flatten().collect()
}

/// `GET /{base}/{table}/{record}`.
pub(super) fn one(state: &State, call: &Call, base: usize, table: usize, record: &str) -> Result<Value, Refusal> {
    let table = &state.bases[base].tables[table];
    let mut given = parameters(call)?;
    let shape = Shape::read(&mut given, table)?;
    refuse_rest(&given)?;
    match table.record(record) {
        Some(found) => Ok(shape.show(table, found)),
        None => Err(missing(record)),
    }
}

/// The refusal of a path that names a missing record. A text that is no record id at all makes a bad path.
pub(super) fn missing(record: &str) -> Refusal {
    if well_formed(record, "rec") {
        Refusal::new(404, "MODEL_ID_NOT_FOUND", "Record not found")
    } else {
        Refusal::not_found()
    }
}

/// A record as a write answers it.
pub(super) fn shown(table: &Table, record: &Record, by_id: bool) -> Value {
    Shape { by_id, ..Shape::default() }.show(table, record)
}

/// The parameters of the query in the form they have in a body, or the body with the query's additions.
fn parameters(call: &Call) -> Result<Map<String, Value>, Refusal> {
    let mut given = if call.method == Method::GET { Map::new() } else { call.object()? };
    for (key, value) in &call.query {
        let name = key.split('[').next().unwrap_or_default();
        match name {
            "fields" | "recordMetadata" => {
                if let Value::Array(items) = given.entry(name).or_insert_with(|| json!([])) {
                    items.push(json!(value));
                }
            }
            "sort" => sort_parameter(&mut given, key, value)?,
            "pageSize" | "maxRecords" => {
                let number: u64 = value.parse().map_err(|_| Refusal::invalid(format!("{name} is no number")))?;
                given.insert(name.to_owned(), json!(number));
            }
            "returnFieldsByFieldId" => {
                given.insert(name.to_owned(), json!(matches!(value.as_str(), "1" | "true")));
            }
            _ => {
                given.insert(key.clone(), json!(value));
            }
        }
    }
    Ok(given)
}

/// `sort[0][field]` and `sort[0][direction]`, in any order.
fn sort_parameter(given: &mut Map<String, Value>, key: &str, value: &str) -> Result<(), Refusal> {
    let bad = || Refusal::invalid(format!("{key} is not understood"));
    let mut parts = key.split(['[', ']']).filter(|part| !part.is_empty()).skip(1);
    let at: usize = parts.next().and_then(|part| part.parse().ok()).filter(|at| *at < 50).ok_or_else(bad)?;
    let name = parts.next().ok_or_else(bad)?;
    if let Value::Array(items) = given.entry("sort").or_insert_with(|| json!([])) {
        while items.len() <= at {
            items.push(json!({}));
        }
        items[at][name] = json!(value);
    }
    Ok(())
}

/// Refuses unknown parameters: the documentation's "parameter validation failed".
fn refuse_rest(given: &Map<String, Value>) -> Result<(), Refusal> {
    match given.keys().next() {
        Some(key) => Err(Refusal::invalid(format!("unknown parameter {key}"))),
        None => Ok(()),
    }
}

fn text(given: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(format!("{name} must be a string"))),
    }
}

fn texts(given: &mut Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let Some(value) = given.remove(name) else { return Ok(None) };
    let bad = || Refusal::invalid(format!("{name} must be an array of strings"));
    let items = value.as_array().ok_or_else(bad)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Result<_, _>>().map(Some)
}

fn count(given: &mut Map<String, Value>, name: &str, most: u64) -> Result<Option<usize>, Refusal> {
    match given.remove(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if (1..=most).contains(&number) => Ok(Some(number as usize)),
            _ => Err(Refusal::invalid(format!("{name} must be from 1 to {most}"))),
        },
    }
}

fn known<'a>(table: &'a Table, name: &str) -> Result<&'a Field, Refusal> {
    table.field(name).ok_or_else(|| Refusal::unknown_field(name))
}

impl Shape {
    fn read(given: &mut Map<String, Value>, table: &Table) -> Result<Shape, Refusal> {
        let fields = match texts(given, "fields")? {
            None => None,
            Some(names) => {
                let ids = names.iter().map(|name| known(table, name).map(|field| field.id.clone()));
                Some(ids.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let by_id = match given.remove("returnFieldsByFieldId") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(Refusal::invalid_request)?,
        };
        let (zone, locale) = (text(given, "timeZone")?, text(given, "userLocale")?);
        let as_text = match text(given, "cellFormat")?.as_deref() {
            None | Some("json") => false,
            Some("string") if zone.is_some() && locale.is_some() => true,
            Some(_) => return Err(Refusal::invalid("cellFormat string needs timeZone and userLocale")),
        };
        let metadata = texts(given, "recordMetadata")?.unwrap_or_default();
        if metadata.iter().any(|name| name != "commentCount") {
            return Err(Refusal::invalid("recordMetadata knows commentCount only"));
        }
        Ok(Shape { fields, by_id, as_text, with_comment_count: !metadata.is_empty() })
    }

    fn show(&self, table: &Table, record: &Record) -> Value {
        let mut cells = Map::new();
        for field in &table.fields {
            if self.fields.as_ref().is_some_and(|wanted| !wanted.contains(&field.id)) {
                continue;
            }
            if let Some(value) = table.shown(record, field) {
                let key = if self.by_id { &field.id } else { &field.name };
                cells.insert(key.clone(), if self.as_text { json!(text_of(&value)) } else { value });
            }
        }
        let mut shown = json!({"id": record.id, "createdTime": iso(record.created), "fields": cells});
        if self.with_comment_count {
            shown["commentCount"] = json!(0);
        }
        shown
    }
}

impl Wanted {
    fn read(given: &Map<String, Value>, table: &Table) -> Result<Wanted, Refusal> {
        let mut given = given.clone();
        let shape = Shape::read(&mut given, table)?;
        let page_size = count(&mut given, "pageSize", 100)?.unwrap_or(100);
        let max_records = count(&mut given, "maxRecords", u64::MAX)?.unwrap_or(usize::MAX);
        let offset = text(&mut given, "offset")?;
        let mut sort = Vec::new();
        for wish in given.remove("sort").as_ref().and_then(Value::as_array).unwrap_or(&Vec::new()) {
            let field = wish["field"].as_str().ok_or_else(|| Refusal::invalid("sort needs a field"))?;
            let descending = match wish.get("direction").and_then(Value::as_str) {
                None | Some("asc") => false,
                Some("desc") => true,
                Some(_) => return Err(Refusal::invalid("direction must be asc or desc")),
            };
            sort.push((known(table, field)?.id.clone(), descending));
        }
        let formula = text(&mut given, "filterByFormula")?.filter(|text| !text.trim().is_empty());
        let formula = formula.map(|text| Formula::parse(&text, table)).transpose()?;
        let view = text(&mut given, "view")?;
        if let Some(view) = view.as_ref().filter(|view| *view != VIEW && **view != table.view) {
            // Type and text are a guess.
            return Err(Refusal::new(422, "VIEW_NAME_NOT_FOUND", format!("View name '{view}' not found")));
        }
        refuse_rest(&given)?;
        Ok(Wanted { shape, page_size, max_records, offset, sort, formula, has_view: view.is_some() })
    }
}

/// Ids of the records a new list has, in its order.
fn select(table: &Table, wanted: &Wanted, shuffled: bool) -> Vec<String> {
    let passes = |record: &&Record| wanted.formula.as_ref().is_none_or(|formula| formula.accepts(table, record));
    let mut records: Vec<&Record> = table.records.iter().filter(passes).collect();
    if shuffled && !wanted.has_view {
        records.sort_by_key(|record| xxhash_rust::xxh3::xxh3_64(record.id.as_bytes()));
    }
    records.sort_by(|a, b| {
        let order = |(id, descending): &(String, bool)| {
            let field = table.field(id)?;
            let order = compare(field, table.shown(a, field), table.shown(b, field));
            Some(if *descending { order.reverse() } else { order })
        };
        wanted.sort.iter().filter_map(order).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    records.iter().take(wanted.max_records).map(|record| record.id.clone()).collect()
}

/// Empty cells first, numbers by size, choices in the order of the column, other things as text.
fn compare(field: &Field, left: Option<Value>, right: Option<Value>) -> Ordering {
    let (Some(left), Some(right)) = (&left, &right) else { return left.is_some().cmp(&right.is_some()) };
    if let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) {
        return left.total_cmp(&right);
    }
    let (left, right) = (text_of(left), text_of(right));
    let place = |text: &String| field.choices().iter().position(|choice| choice == text);
    place(&left).cmp(&place(&right)).then_with(|| left.to_lowercase().cmp(&right.to_lowercase()))
}

/// The list an offset names and the place to go on from.
fn resume(open: &VecDeque<Iterator>, table: &Table, offset: &str) -> Result<(Iterator, usize), Refusal> {
    let mangled = || Refusal::new(422, "INVALID_OFFSET_VALUE", format!("The value of offset {offset} is invalid"));
    let (list, record) = offset.split_once('/').ok_or_else(mangled)?;
    if !well_formed(list, "itr") {
        return Err(mangled());
    }
    let expired = || Refusal::silent(422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE");
    let found = open.iter().find(|known| known.id == list).ok_or_else(expired)?;
    let start = found.records.iter().position(|known| known == record).filter(|_| found.table == table.id);
    Ok((found.clone(), start.ok_or_else(mangled)?))
}
