//! The contents of a simulated base, and its owner's actions by hand in the page.
//!
//! The public methods are for tests and for the demonstration: they look at a base as its owner sees it and change it
//! as its owner would. The methods know no tokens and no limits. Owner's actions name things that must exist and panic
//! with the name otherwise, so that a misspelt test fails at the mistake.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde_json::{Value, json};

use super::{cells, formula};

/// A base with its tables.
#[derive(Clone, Debug)]
pub struct Base {
    /// `app…`
    pub id: String,
    /// The base's name as the owner reads it.
    pub name: String,
    /// The tables in the order of the page.
    pub tables: Vec<Table>,
    pub(super) ids: Ids,
}

/// A table: its fields and its records, both in the order of the page.
#[derive(Clone, Debug)]
pub struct Table {
    /// `tbl…`
    pub id: String,
    /// Unique in the base without regard to case.
    pub name: String,
    /// The owner's description of the table.
    pub description: Option<String>,
    /// Id of the primary field.
    pub primary: String,
    /// The columns.
    pub fields: Vec<Field>,
    /// The rows.
    pub records: Vec<Record>,
    /// Id of the one view, `viw…`.
    pub view: String,
    /// The last number an autoNumber field gave out; a refused batch does not move it.
    pub numbered: u64,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Field {
    /// `fld…`
    pub id: String,
    /// Unique in the table.
    pub name: String,
    /// The service's word for the type, such as `singleLineText`.
    pub kind: String,
    /// The field's options as the schema API shows them; absent for types that have none.
    pub options: Option<Value>,
    /// The owner's description of the field.
    pub description: Option<String>,
    /// Default value of a computed field that this simulator does not compute, for rows without a cell of their own.
    pub constant: Option<Value>,
    /// True for a select whose choices only the owner may add.
    pub fixed: bool,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Record {
    /// `rec…`
    pub id: String,
    /// Time of the row's creation.
    pub created: DateTime<Utc>,
    /// Time of the last write to a cell.
    pub modified: DateTime<Utc>,
    /// The row's number for autoNumber fields.
    pub number: u64,
    /// Cells that hold something, by field id; an empty cell is absent.
    pub cells: BTreeMap<String, Value>,
}

/// Makes identifiers of the service's form, the same ones in the same order on every run.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    seed: u64,
    made: u64,
}

/// The name every table's one view has.
pub(super) const VIEW: &str = "Grid view";

impl Base {
    pub(super) fn new(id: &str, name: &str) -> Base {
        Base { id: id.to_owned(), name: name.to_owned(), tables: Vec::new(), ids: Ids::new(id) }
    }

    /// The table of this name or id.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.is(name))
    }

    /// The rows of a table, each with its filled cells by field name; empty for an unknown table.
    pub fn records(&self, table: &str) -> Vec<BTreeMap<String, Value>> {
        let Some(table) = self.table(table) else { return Vec::new() };
        table.records.iter().map(|record| table.cells_by_name(record)).collect()
    }

    /// Ids of a table's rows in order; empty for an unknown table.
    pub fn record_ids(&self, table: &str) -> Vec<String> {
        self.table(table).map_or_else(Vec::new, |table| table.records.iter().map(|row| row.id.clone()).collect())
    }

    /// A table's columns as (id, name, type); empty for an unknown table.
    pub fn fields(&self, table: &str) -> Vec<(String, String, String)> {
        let listed = |table: &Table| {
            table.fields.iter().map(|field| (field.id.clone(), field.name.clone(), field.kind.clone())).collect()
        };
        self.table(table).map_or_else(Vec::new, listed)
    }

    /// The id of the first row whose cell under `field` equals `value`.
    pub fn find(&self, table: &str, field: &str, value: &Value) -> Option<String> {
        let table = self.table(table)?;
        let field = table.field(field)?;
        let row = table.records.iter().find(|row| table.shown(row, field).as_ref() == Some(value))?;
        Some(row.id.clone())
    }

    /// Rows of all tables together, as a plan's cap counts them.
    pub fn record_count(&self) -> usize {
        self.tables.iter().map(|table| table.records.len()).sum()
    }

    /// The owner makes a table of (name, type) columns, the first of them primary, with the page's usual options.
    pub fn add_table(&mut self, name: &str, fields: &[(&str, &str)]) -> String {
        let ids = &mut self.ids;
        let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::usual(ids, name, kind)).collect();
        self.push_table(name, None, fields)
    }

    /// The owner throws a table away.
    pub fn delete_table(&mut self, table: &str) {
        let id = self.owned(table).id.clone();
        self.tables.retain(|table| table.id != id);
    }

    /// The owner gives a table another name; its id stays.
    pub fn rename_table(&mut self, table: &str, name: &str) {
        self.owned(table).name = name.to_owned();
    }

    /// The owner gives a column another name; its id and its cells stay.
    pub fn rename_field(&mut self, table: &str, field: &str, name: &str) {
        self.owned(table).owned_field(field).name = name.to_owned();
    }

    /// The owner adds a column.
    pub fn add_field(&mut self, table: &str, name: &str, kind: &str) -> String {
        let field = Field::usual(&mut self.ids, name, kind);
        let id = field.id.clone();
        self.owned(table).fields.push(field);
        id
    }

    /// The owner adds a formula column.
    pub fn add_formula(&mut self, table: &str, name: &str, formula: &str) -> String {
        let id = self.add_field(table, name, "formula");
        self.owned(table).owned_field(&id).options = Some(json!({ "formula": formula }));
        id
    }

    /// The owner throws a column away, with all its cells.
    pub fn delete_field(&mut self, table: &str, field: &str) {
        let table = self.owned(table);
        let id = table.owned_field(field).id.clone();
        table.fields.retain(|field| field.id != id);
        for record in &mut table.records {
            record.cells.remove(&id);
        }
    }

    /// The owner turns a column into one of another type. Cells are converted, those that cannot be are emptied.
    pub fn change_field(&mut self, table: &str, field: &str, kind: &str) {
        let fresh = Field::usual(&mut self.ids, "", kind);
        let table = self.owned(table);
        let field = table.owned_field(field);
        (field.kind, field.options) = (fresh.kind, fresh.options);
        let id = field.id.clone();
        for at in 0..table.records.len() {
            let Some(value) = table.records[at].cells.remove(&id) else { continue };
            if table.typed(at, &id, &value).is_err() {
                // A value that does not convert as text either leaves its cell empty.
                let _ = table.typed(at, &id, &Value::String(formula::text_of(&value)));
            }
        }
    }

    /// The owner keeps the choices of a select to himself.
    pub fn fix_choices(&mut self, table: &str, field: &str) {
        self.owned(table).owned_field(field).fixed = true;
    }

    /// The owner writes a row by hand; values are converted as the page does.
    pub fn add_record(&mut self, table: &str, cells: &[(&str, Value)]) -> String {
        let id = self.ids.make("rec");
        let table = self.owned(table);
        table.push_record(id.clone());
        for (field, value) in cells {
            table.set(&id, field, value);
        }
        id
    }

    /// The owner throws a row away.
    pub fn delete_record(&mut self, table: &str, record: &str) {
        let table = self.owned(table);
        let at = table.position(record).unwrap_or_else(|| panic!("no record {record} in table {}", table.name));
        table.records.remove(at);
    }

    /// The owner writes into a cell; null empties it, a new choice of a select comes into being.
    pub fn set_cell(&mut self, table: &str, record: &str, field: &str, value: Value) {
        self.owned(table).set(record, field, &value);
    }

    /// The owner drags the rows into the opposite order.
    pub fn reverse_records(&mut self, table: &str) {
        self.owned(table).records.reverse();
    }

    pub(super) fn push_table(&mut self, name: &str, description: Option<String>, fields: Vec<Field>) -> String {
        let id = self.ids.make("tbl");
        let primary = fields.first().map_or_else(String::new, |field| field.id.clone());
        let view = self.ids.make("viw");
        let name = name.to_owned();
        let (records, numbered) = (Vec::new(), 0);
        self.tables.push(Table { id: id.clone(), name, description, primary, fields, records, view, numbered });
        id
    }

    fn owned(&mut self, name: &str) -> &mut Table {
        let base = self.id.clone();
        let table = self.tables.iter_mut().find(|table| table.is(name));
        table.unwrap_or_else(|| panic!("no table {name} in base {base}"))
    }
}

impl Table {
    /// The column of this name or id.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name).or_else(|| self.fields.iter().find(|f| f.id == name))
    }

    /// The row of this id.
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    /// The value that the cell of a row shows; `None` for an empty cell.
    pub fn shown(&self, record: &Record, field: &Field) -> Option<Value> {
        self.shown_at(record, field, 0)
    }

    pub(super) fn shown_at(&self, record: &Record, field: &Field, depth: u8) -> Option<Value> {
        let constant = || record.cells.get(&field.id).or(field.constant.as_ref()).cloned();
        match field.kind.as_str() {
            "autoNumber" => Some(json!(record.number)),
            "createdTime" => Some(json!(iso(record.created))),
            "lastModifiedTime" => Some(json!(iso(record.modified))),
            "createdBy" | "lastModifiedBy" => Some(constant().unwrap_or_else(owner)),
            "formula" => constant().or_else(|| formula::column(self, record, field, depth)),
            _ if field.computed() => constant(),
            _ => record.cells.get(&field.id).cloned(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.id == name || self.name == name
    }

    pub(super) fn position(&self, record: &str) -> Option<usize> {
        self.records.iter().position(|known| known.id == record)
    }

    pub(super) fn push_record(&mut self, id: String) -> usize {
        let now = Utc::now().trunc_subsecs(0);
        self.numbered += 1;
        self.records.push(Record { id, created: now, modified: now, number: self.numbered, cells: BTreeMap::new() });
        self.records.len() - 1
    }

    /// Adds choices to a select column that it does not have yet.
    pub(super) fn add_choices(&mut self, ids: &mut Ids, field: &str, names: &[String]) {
        let Some(field) = self.fields.iter_mut().find(|known| known.id == field) else { return };
        let missing: Vec<&String> = names.iter().filter(|name| !field.choices().contains(&name.as_str())).collect();
        let fresh: Vec<Value> =
            missing.iter().map(|name| json!({"id": ids.make("sel"), "name": name, "color": "blueLight2"})).collect();
        let options = field.options.get_or_insert_with(|| json!({"choices": []}));
        if let Some(choices) = options.get_mut("choices").and_then(Value::as_array_mut) {
            choices.extend(fresh);
        }
    }

    fn cells_by_name(&self, record: &Record) -> BTreeMap<String, Value> {
        let filled = |field: &Field| Some((field.name.clone(), self.shown(record, field)?));
        self.fields.iter().filter_map(filled).collect()
    }

    fn owned_field(&mut self, name: &str) -> &mut Field {
        let table = self.name.clone();
        let field = self.fields.iter_mut().find(|field| field.name == name || field.id == name);
        field.unwrap_or_else(|| panic!("no field {name} in table {table}"))
    }

    fn set(&mut self, record: &str, field: &str, value: &Value) {
        let at = self.position(record).unwrap_or_else(|| panic!("no record {record} in table {}", self.name));
        let id = self.owned_field(field).id.clone();
        if let Err(refusal) = self.typed(at, &id, value) {
            panic!("the owner cannot write {value} into {field}: {refusal:?}");
        }
    }

    /// Puts a value into a cell the way the page does: converted, and with new choices made.
    fn typed(&mut self, at: usize, field: &str, value: &Value) -> Result<(), super::refusal::Refusal> {
        let Some(column) = self.fields.iter().find(|known| known.id == field) else { return Ok(()) };
        let taken = cells::take(column, value, true)?;
        let mut ids = Ids::new(&format!("{field}{}", taken.choices.join(",")));
        self.add_choices(&mut ids, field, &taken.choices);
        let record = &mut self.records[at];
        record.modified = Utc::now().trunc_subsecs(0);
        match taken.value {
            Some(value) => record.cells.insert(field.to_owned(), value),
            None => record.cells.remove(field),
        };
        Ok(())
    }
}

impl Field {
    /// True if the service fills the field and refuses every write.
    pub fn computed(&self) -> bool {
        computed(&self.kind)
    }

    /// Names of the choices of a select column.
    pub fn choices(&self) -> Vec<&str> {
        let listed = self.options.as_ref().and_then(|options| options.get("choices")).and_then(Value::as_array);
        listed.map_or_else(Vec::new, |all| all.iter().filter_map(|choice| choice["name"].as_str()).collect())
    }

    /// A column as the page makes it when only its type is chosen.
    pub(super) fn usual(ids: &mut Ids, name: &str, kind: &str) -> Field {
        let options = match kind {
            "number" | "currency" | "percent" => {
                let mut options = json!({"precision": 2});
                if kind == "currency" {
                    options["symbol"] = json!("€");
                }
                Some(options)
            }
            "date" => Some(json!({"dateFormat": {"name": "iso", "format": "YYYY-MM-DD"}})),
            "dateTime" => Some(json!({
                "timeZone": "utc",
                "dateFormat": {"name": "iso", "format": "YYYY-MM-DD"},
                "timeFormat": {"name": "24hour", "format": "HH:mm"},
            })),
            "singleSelect" | "multipleSelects" => Some(json!({"choices": []})),
            "checkbox" => Some(json!({"icon": "check", "color": "greenBright"})),
            "rating" => Some(json!({"icon": "star", "max": 5, "color": "yellowBright"})),
            "duration" => Some(json!({"durationFormat": "h:mm"})),
            _ => None,
        };
        let (name, kind) = (name.to_owned(), kind.to_owned());
        Field { id: ids.make("fld"), name, kind, options, description: None, constant: None, fixed: false }
    }
}

impl Ids {
    pub fn new(seed: &str) -> Ids {
        Ids { seed: xxhash_rust::xxh3::xxh3_64(seed.as_bytes()), made: 0 }
    }

    /// The next identifier: three letters and fourteen of base 62.
    pub fn make(&mut self, prefix: &str) -> String {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        self.made += 1;
        let mut rest = xxhash_rust::xxh3::xxh3_128_with_seed(&self.made.to_le_bytes(), self.seed);
        let mut id = prefix.to_owned();
        for _ in 0..14 {
            id.push(char::from(DIGITS[(rest % 62) as usize]));
            rest /= 62;
        }
        id
    }
}

/// Types whose cells the service computes.
const COMPUTED: [&str; 14] = [
    "autoNumber",
    "createdTime",
    "lastModifiedTime",
    "createdBy",
    "lastModifiedBy",
    "formula",
    "rollup",
    "count",
    "lookup",
    "multipleLookupValues",
    "button",
    "externalSyncSource",
    "aiText",
    "manualSort",
];

/// True if the service fills the cells of this type.
pub(super) fn computed(kind: &str) -> bool {
    COMPUTED.contains(&kind)
}

/// A time as the service writes it.
pub(super) fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The one person behind every token.
pub(super) fn owner() -> Value {
    json!({"id": USER, "email": EMAIL, "name": "Ivan Petrov"})
}

pub(super) const USER: &str = "usrSimulatedOwner";
pub(super) const EMAIL: &str = "ivan@example.com";
