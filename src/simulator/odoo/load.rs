//! `load`: rows of text by external id, all of them or none.

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::books::{Books, FIELDS, LINE};
use super::lines::Caller;
use super::refusal::Refusal;

/// Errors of rows that the model refuses, after which the rest is not tried.
const ERRORS_AT_MOST: usize = 10;

/// A row made ready: its external id and its values by field.
struct Row {
    id: Option<String>,
    values: Map<String, Value>,
}

impl Books {
    /// Takes rows in, or says of each why not.
    pub(super) fn load(&mut self, caller: &Caller<'_>, fields: &[String], data: &[Value]) -> Result<Value, Refusal> {
        let columns = self.columns(fields)?;
        let (mut rows, mut messages) = (Vec::new(), Vec::new());
        for (at, cells) in data.iter().enumerate() {
            rows.push(self.convert(&columns, cells, at, &mut messages));
        }
        if !messages.is_empty() {
            return Ok(refused(messages));
        }
        if self.collisions > 0 && !data.is_empty() {
            self.collisions -= 1;
            let text = "could not serialize access due to concurrent update\n";
            let messages = (0..data.len().min(ERRORS_AT_MOST)).map(|at| message(at, text));
            return Ok(refused(interrupted(messages.collect(), data.len())));
        }
        let before = self.clone();
        let mut ids = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match self.take(caller, row) {
                Ok(id) => ids.push(id),
                Err(refusal) => {
                    messages.push(row_message(at, &refusal));
                    if messages.len() >= ERRORS_AT_MOST && messages.len() * 10 >= at {
                        messages = interrupted(messages, usize::MAX);
                        break;
                    }
                }
            }
        }
        if messages.is_empty() {
            return Ok(json!({"ids": ids, "messages": [], "nextrow": 0}));
        }
        *self = before;
        Ok(refused(messages))
    }

    /// The field of each column; `None`: the external id.
    fn columns(&self, fields: &[String]) -> Result<Vec<Option<(String, &'static str)>>, Refusal> {
        let column = |name: &String| {
            if name == "id" {
                return Ok(None);
            }
            let bare = name.strip_suffix("/.id").unwrap_or(name);
            let known = FIELDS.iter().find(|field| field.0 == bare).map(|field| field.1);
            let known = known.or((self.unique_import_id && bare == "unique_import_id").then_some("char"));
            let known = known.ok_or_else(|| Refusal::value(format!("Invalid field name '{name}'")))?;
            Ok(Some((bare.to_owned(), known)))
        };
        fields.iter().map(column).collect()
    }

    fn convert(
        &self,
        columns: &[Option<(String, &'static str)>],
        cells: &Value,
        at: usize,
        messages: &mut Vec<Value>,
    ) -> Row {
        let mut row = Row { id: None, values: Map::new() };
        for (place, column) in columns.iter().enumerate() {
            // A shorter row is accepted, and what it lacks is empty.
            let cell = match cells.get(place) {
                Some(Value::String(text)) if text.is_empty() => Value::Bool(false),
                Some(cell) => cell.clone(),
                None => Value::Bool(false),
            };
            let Some((field, kind)) = column else {
                row.id = cell.as_str().map(|id| if id.contains('.') { id.into() } else { format!("__import__.{id}") });
                continue;
            };
            match self.cell(field, kind, &cell) {
                Ok(value) => drop(row.values.insert(field.clone(), value)),
                Err(mut why) => {
                    why["rows"] = json!({"from": at, "to": at});
                    why["record"] = json!(at);
                    messages.push(why);
                }
            }
        }
        row
    }

    /// The value of a cell, or the message about it.
    fn cell(&self, field: &str, kind: &str, cell: &Value) -> Result<Value, Value> {
        let title = FIELDS.iter().find(|known| known.0 == field).map_or(field, |known| known.2);
        let wrong = |text: String| json!({"type": "error", "field": field, "message": text, "field_name": title});
        let shown = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        match kind {
            "monetary" if *cell == json!(false) => Ok(json!(false)),
            "monetary" => match cell.as_f64().or_else(|| shown.parse::<f64>().ok()) {
                Some(number) => Ok(json!(number)),
                None => Err(wrong(format!("'{shown}' does not seem to be a number for field '{title}'"))),
            },
            "date" if *cell == json!(false) => Ok(json!(false)),
            "date" => match NaiveDate::parse_from_str(&shown, "%Y-%m-%d") {
                Ok(date) => Ok(json!(date.to_string())),
                Err(_) => {
                    let mut why = wrong(format!("'{shown}' does not seem to be a valid date for field '{title}'"));
                    why["moreinfo"] = json!("Use the format '2012-12-31'");
                    Err(why)
                }
            },
            "many2one" if *cell == json!(false) => Ok(json!(false)),
            "many2one" => {
                let id = shown.parse::<i64>().ok();
                let is_known = |id: &i64| match field {
                    "journal_id" => self.journal(*id).is_some(),
                    _ => self.currencies.iter().any(|currency| currency.id == *id),
                };
                id.filter(is_known).map(|id| json!(id)).ok_or_else(|| {
                    let relation = if field == "journal_id" { "account.journal" } else { "res.currency" };
                    let mut why =
                        wrong(format!("No matching record found for database id '{shown}' in field '{title}'"));
                    why["moreinfo"] = json!({
                        "name": "Possible Values", "type": "ir.actions.act_window", "target": "new",
                        "view_mode": "list,form", "views": [[false, "list"], [false, "form"]],
                        "context": {"create": false}, "help": "See all possible values",
                        "res_model": "ir.model.data", "domain": [["model", "=", relation]],
                    });
                    why
                })
            }
            _ => Ok(cell.clone()),
        }
    }

    /// Makes the line of a row, or changes the line that has its external id.
    fn take(&mut self, caller: &Caller<'_>, row: &Row) -> Result<i64, Refusal> {
        let known = row.id.as_ref().and_then(|id| self.external_ids.get(id)).cloned();
        match (&row.id, known) {
            (Some(id), Some((model, record))) if model != LINE => Err(Refusal::value(format!(
                "For external id {id} when trying to create/update a record of model {LINE} found record of different model {model} ({record})"
            ))),
            (_, Some((_, record))) => {
                self.write(caller, &[record], &row.values)?;
                Ok(record)
            }
            (id, None) => {
                let line = self.create(caller, &row.values)?;
                if let Some(id) = id {
                    self.external_ids.insert(id.clone(), (LINE.to_owned(), line));
                }
                Ok(line)
            }
        }
    }
}

fn refused(messages: Vec<Value>) -> Value {
    json!({"ids": false, "messages": messages, "nextrow": 0})
}

fn message(at: usize, text: &str) -> Value {
    json!({"rows": {"from": at, "to": at}, "record": at, "type": "error", "message": text})
}

/// A unique constraint is told without its prefix, and with its field.
fn row_message(at: usize, refusal: &Refusal) -> Value {
    match refusal.message.strip_prefix("The operation cannot be completed: ") {
        Some(rest) => {
            let mut told = message(at, rest);
            told["field"] = json!("unique_import_id");
            told
        }
        None => message(at, &refusal.message),
    }
}

fn interrupted(mut messages: Vec<Value>, rows: usize) -> Vec<Value> {
    if rows > ERRORS_AT_MOST {
        let text = "Found more than 10 errors and more than one error per 10 records, interrupted to avoid showing too \
                    many errors.";
        messages.push(json!({"type": "warning", "message": text}));
    }
    messages
}
