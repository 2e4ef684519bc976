//! Bases, tables, fields and records, and the owner's acts on them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A base.
#[derive(Clone, Debug)]
pub struct Base {
    /// `p…`
    pub id: String,
    /// The title.
    pub title: String,
    /// The tables in the order of their making.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// `m…`
    pub id: String,
    /// The title.
    pub title: String,
    /// The fields, `Id` not among them.
    pub fields: Vec<Field>,
    /// The records in the order of their ids.
    pub records: Vec<Record>,
    pub(super) id_field: String,
    pub(super) last_id: u64,
}

/// A field of a table.
#[derive(Clone, Debug)]
pub struct Field {
    /// `c…`
    pub id: String,
    /// The title.
    pub title: String,
    /// The first title: records may name the field by it for ever.
    pub first_title: String,
    /// The type, such as `SingleLineText`.
    pub kind: String,
    /// No two records may have the same value, if the store enforces that.
    pub unique: bool,
    /// The options as they were given; choices in `choices`.
    pub options: Value,
}

/// A record.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number.
    pub id: u64,
    /// Values by field id; empty ones are absent.
    pub cells: BTreeMap<String, Value>,
    pub(super) created: String,
    pub(super) updated: Option<String>,
}

/// Ids that no other thing has.
#[derive(Debug, Default)]
pub(super) struct Ids(u64);

impl Ids {
    /// A new id: the prefix and fourteen letters or digits.
    pub fn make(&mut self, prefix: &str) -> String {
        self.0 += 1;
        // Ids of the service look random: nothing may depend on their order.
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{prefix}{:014x}", mixed & 0x00ff_ffff_ffff_ffff)
    }
}

impl Base {
    /// The table with this title. Panics where there is none.
    pub fn table(&self, title: &str) -> &Table {
        self.tables.iter().find(|table| table.title == title).unwrap_or_else(|| panic!("no simulated table {title}"))
    }

    /// [`Base::table`], to be changed.
    pub fn table_mut(&mut self, title: &str) -> &mut Table {
        let found = self.tables.iter_mut().find(|table| table.title == title);
        found.unwrap_or_else(|| panic!("no simulated table {title}"))
    }
}

impl Table {
    /// The records as their owner sees them: values by title.
    pub fn rows(&self) -> Vec<BTreeMap<String, Value>> {
        let row = |record: &Record| {
            let cells = self
                .fields
                .iter()
                .filter_map(|field| Some((field.title.clone(), record.cells.get(&field.id)?.clone())));
            cells.collect()
        };
        self.records.iter().map(row).collect()
    }

    /// Numbers of the records that show this value in the field with this title.
    pub fn find(&self, title: &str, value: &str) -> Vec<u64> {
        let Some(field) = self.field(title) else { return Vec::new() };
        let shows = |record: &&Record| record.cells.get(&field.id).and_then(Value::as_str) == Some(value);
        self.records.iter().filter(shows).map(|record| record.id).collect()
    }

    /// The owner deletes a record.
    pub fn delete(&mut self, id: u64) {
        self.records.retain(|record| record.id != id);
    }

    /// The owner writes into a cell; null empties it.
    pub fn write(&mut self, id: u64, title: &str, value: Value) {
        let Some(field) = self.field(title).map(|field| field.id.clone()) else { return };
        for record in self.records.iter_mut().filter(|record| record.id == id) {
            record.set(&field, value.clone());
        }
    }

    /// The owner adds a record with these values by title.
    pub fn add(&mut self, values: &[(&str, Value)]) -> u64 {
        let id = self.push(BTreeMap::new());
        values.iter().for_each(|(title, value)| self.write(id, title, value.clone()));
        id
    }

    /// The owner renames a field.
    pub fn rename(&mut self, title: &str, new: &str) {
        self.fields.iter_mut().filter(|field| field.title == title).for_each(|field| field.title = new.to_owned());
    }

    /// The owner deletes a field with everything in it.
    pub fn delete_field(&mut self, title: &str) {
        let Some(id) = self.field(title).map(|field| field.id.clone()) else { return };
        self.fields.retain(|field| field.id != id);
        self.records.iter_mut().for_each(|record| drop(record.cells.remove(&id)));
    }

    /// A field by id, title or first title.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        let by = |suits: &dyn Fn(&Field) -> bool| self.fields.iter().find(|field| suits(field));
        by(&|field| field.id == name)
            .or_else(|| by(&|field| field.title == name))
            .or_else(|| by(&|field| field.first_title == name))
    }

    pub(super) fn push(&mut self, cells: BTreeMap<String, Value>) -> u64 {
        self.last_id += 1;
        self.records.push(Record { id: self.last_id, cells, created: now(), updated: None });
        self.last_id
    }

    /// A record as it goes over the wire, with these fields or all.
    pub(super) fn shown(&self, record: &Record, fields: Option<&[&Field]>) -> Value {
        let mut shown = serde_json::Map::new();
        if fields.is_none() {
            shown.insert("CreatedAt".into(), record.created.clone().into());
            shown.insert("UpdatedAt".into(), record.updated.clone().into());
        }
        let all: Vec<&Field> = self.fields.iter().collect();
        for field in fields.unwrap_or(&all) {
            let empty = if field.kind == "Checkbox" { Value::Bool(false) } else { Value::Null };
            let cell = record.cells.get(&field.id).cloned().unwrap_or(empty);
            shown.insert(field.title.clone(), super::cells::shown(field, cell));
        }
        json!({ "id": record.id, "fields": shown })
    }
}

impl Record {
    pub(super) fn set(&mut self, field: &str, value: Value) {
        match value {
            Value::Null => drop(self.cells.remove(field)),
            value => drop(self.cells.insert(field.to_owned(), value)),
        }
    }
}

/// The present instant in the service's own form.
pub(super) fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%d %H:%M:%S+00:00").to_string()
}
