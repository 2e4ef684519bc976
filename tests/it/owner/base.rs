//! The owner at work in the base, and the checks of the base after a cycle.

use std::collections::{BTreeMap, BTreeSet};

use bankfeed::destination::policy::Vanished;
use bankfeed::simulator::airtable::Base;
use serde_json::{Value, json};

use super::bank::Said;
use super::life::{Life, bank};
use super::model::{Cells, Column, Spot};

/// The bank's value as a cell of the base holds it.
pub fn words(said: &Said) -> String {
    match said {
        Said::Text(text) => text.clone(),
        Said::Date(date) => date.to_string(),
        Said::Money(amount) => format!("#{amount:.2}"),
    }
}

fn show(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Number(number) => format!("#{:.2}", number.as_f64().unwrap()),
        other => other.to_string(),
    }
}

/// A record: its id, and its cells by the names of the fields.
type Record = (String, BTreeMap<String, Value>);

impl Life<'_> {
    fn table(&self) -> Option<String> {
        self.world.airtable.read(&self.world.base, |base| base.tables.first().map(|table| table.id.clone()))
    }

    fn records(&self, table: &str) -> Vec<Record> {
        let read = |base: &Base| base.record_ids(table).into_iter().zip(base.records(table)).collect();
        self.world.airtable.read(&self.world.base, read)
    }

    fn in_base(&self, what: String, change: impl FnOnce(&mut Base)) {
        self.say(format!("owner in the base: {what}"));
        self.world.airtable.edit(&self.world.base, change);
    }

    /// A column by the present name of its field.
    fn column_called(&self, name: &str) -> Column {
        let key = self.names.iter().find(|(_, known)| *known == name).map(|(key, _)| bank(key));
        key.unwrap_or_else(|| Column::Own(name.to_owned()))
    }

    fn id_of(&self, cells: &BTreeMap<String, Value>) -> Option<String> {
        let id = cells.get(&self.names["id"])?.as_str()?;
        id.starts_with("fibank:").then(|| id.to_owned())
    }

    pub fn owner_in_base(&mut self) {
        let Some(table) = self.table() else { return };
        let records = self.records(&table);
        let word = self.word();
        let fields = self.world.airtable.read(&self.world.base, |base| base.fields(&table));
        let (name, kind) = {
            let (_, name, kind) = &fields[self.rng.usize(..fields.len())];
            (name.clone(), kind.clone())
        };
        let column = self.column_called(&name);
        match self.rng.u8(..16) {
            0..2 => {
                let Column::Bank(key) = column else { return };
                self.names.insert(key, word.clone());
                self.in_base(format!("calls {name} {word}"), |base| base.rename_field(&table, &name, &word));
            }
            2 => self.in_base(format!("calls the table {word}"), |base| base.rename_table(&table, &word)),
            3 => self.in_base(format!("makes the field {word}"), |base| {
                base.add_field(&table, &word, "singleLineText");
            }),
            4 => self.in_base("turns the order".into(), |base| base.reverse_records(&table)),
            5 => {
                let own = fields.iter().find(|(_, name, _)| name.starts_with("мое ") && !self.is_ours(name));
                let Some((_, own, _)) = own.cloned() else { return };
                self.base.words.insert(word.clone(), Spot { beside: None, column: Column::Own(own.clone()) });
                self.in_base(format!("adds a row `{word}` in {own}"), |base| {
                    base.add_record(&table, &[(&own, json!(word))]);
                });
            }
            6..9 => {
                let Some((record, cells)) = self.rng.choice(records) else { return };
                match self.id_of(&cells) {
                    Some(id) => self.base.delete(&id),
                    None => cells.values().for_each(|cell| drop(self.base.words.remove(&show(cell)))),
                }
                self.in_base(format!("deletes {:?}", self.id_of(&cells)), |base| base.delete_record(&table, &record));
            }
            9..13 => {
                let Some((record, cells)) = self.rng.choice(records) else { return };
                let value = match kind.as_str() {
                    _ if column == bank("id") => return,
                    "number" => json!(f64::from(self.words) + 100_000.0),
                    "date" => json!("1999-12-31"),
                    "singleLineText" | "multilineText" => json!(word),
                    _ => return,
                };
                let spot = Spot { beside: self.id_of(&cells), column };
                if spot.beside.is_none() && kind != "singleLineText" && kind != "multilineText" {
                    return;
                }
                cells.get(&name).map(|cell| self.base.words.remove(&show(cell)));
                self.base.write(spot.clone(), Some(&show(&value)));
                self.in_base(format!("writes {value} at {spot:?}"), |base| {
                    base.set_cell(&table, &record, &name, value)
                });
            }
            13 => {
                let Some((record, cells)) = self.rng.choice(records) else { return };
                if column == bank("id") || kind == "checkbox" {
                    return;
                }
                cells.get(&name).map(|cell| self.base.words.remove(&show(cell)));
                self.base.write(Spot { beside: self.id_of(&cells), column: column.clone() }, None);
                self.in_base(format!("empties {column:?} of {:?}", self.id_of(&cells)), |base| {
                    base.set_cell(&table, &record, &name, Value::Null);
                });
            }
            14 => self.delete_field(&table, &name, column),
            _ => {}
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        self.names.values().any(|known| known == name)
    }

    fn delete_field(&mut self, table: &str, name: &str, column: Column) {
        match &column {
            Column::Bank(field) if field == "id" || self.rng.bool() => return,
            Column::Bank(field) => {
                self.base.rows.values_mut().for_each(|cells| drop(cells.remove(field)));
                self.base.gone.insert(field.clone());
                self.names.remove(field);
            }
            Column::Own(own) if !own.starts_with("мое ") => return,
            Column::Own(_) => {}
        }
        self.base.forget_column(&column);
        self.in_base(format!("deletes the field {name}"), |base| base.delete_field(table, name));
    }

    /// Looks at everything in the table.
    pub fn check_base(&mut self) -> Result<(), String> {
        let Some(table) = self.table() else {
            return if self.base.rows.is_empty() { Ok(()) } else { Err("there is no table".into()) };
        };
        let (mut seen, mut words) = (BTreeSet::new(), BTreeMap::new());
        let mut loose = Vec::new();
        for (_, cells) in self.records(&table) {
            let id = self.id_of(&cells);
            let (mut ours, mut ticked) = (Cells::new(), false);
            for (name, cell) in cells {
                match (self.column_called(&name), &id) {
                    (Column::Bank(field), Some(_)) => drop(ours.insert(field, show(&cell))),
                    // The tick of rows that the bank took back.
                    (Column::Own(own), Some(_)) if ["Vanished", "Изчезнал"].contains(&own.as_str()) => {
                        ticked = cell == true;
                    }
                    (column, beside) => {
                        let spot = Spot { beside: beside.clone(), column };
                        if words.insert(show(&cell), spot).is_some() {
                            return Err(format!("{cell} is in the base twice"));
                        }
                    }
                }
            }
            let Some(id) = id else { continue };
            let marks = self.engine.config.destinations[1].rows().vanished == Vanished::Mark;
            if ticked != (marks && self.base.vanished.contains(&id)) {
                return Err(format!("{id} is ticked as taken back: {ticked}"));
            }
            if !seen.insert(id.clone()) {
                return Err(format!("{id} is in the base twice"));
            }
            match self.base.rows.get(&id) {
                Some(wanted) if shown(wanted, &self.base.gone) == ours => {}
                Some(wanted) => return Err(format!("{id} is {ours:?} and should be {wanted:?}")),
                // Airtable has no ledger: a row that the bank took back and that the owner had deleted before was, for
                // all that can be known, deleted as taken back.
                None if self.base.loose.contains(&id) => loose.push((id, ours)),
                None => return Err(format!("{id} is in the base and should not be")),
            }
        }
        for (id, ours) in loose {
            self.base.deleted.remove(&id);
            self.base.rows.insert(id, ours);
        }
        if let Some(id) = self.base.rows.keys().find(|id| !seen.contains(*id)) {
            return Err(format!("{id} is not in the base"));
        }
        match words == self.base.words {
            true => Ok(()),
            false => Err(format!("the owner's words in the base are {words:?} and should be {:?}", self.base.words)),
        }
    }
}

/// The cells of a row in the fields that are still there.
fn shown(cells: &Cells, gone: &BTreeSet<String>) -> Cells {
    cells
        .iter()
        .filter(|(field, _)| !gone.contains(*field))
        .map(|(field, cell)| (field.clone(), cell.clone()))
        .collect()
}
