//! The form of a value in a cell: the types of Airtable field that can show a field of a transaction, the type of a
//! field that is made, and the JSON that goes out.
//!
//! Pure. Money leaves as a JSON number spelled by the decimal itself, so that 20.34 is 20.34 on the wire; Airtable
//! turns it into a double, which the connector cannot prevent.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::destination::policy::Column;
use crate::destination::readback::Cell;
use crate::model::{Field, Transaction, Value};

use super::layout::Bound;

/// Most characters a text field holds.
pub(super) const MOST_CHARACTERS: usize = 100_000;

/// Cells of one row by field id. Raw JSON, because a number that went through a double might not come back as it was.
pub(super) type Cells = BTreeMap<String, Box<RawValue>>;

/// The form of a cell, decided by the Airtable field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shape {
    /// A string, whatever the value is.
    Text,
    /// A string that has to become a choice: Airtable is asked to make it (`typecast`).
    Choice,
    /// Several choices.
    Choices,
    /// A number.
    Number,
    /// A calendar date.
    Date,
    /// A calendar date in a field for instants.
    Day,
    /// An instant.
    Time,
    /// A tick.
    Tick,
}

impl Shape {
    /// The form of `field` in an Airtable field of type `kind`; `None` if the type cannot hold it.
    pub(super) fn of(field: &Field, kind: &str) -> Option<Shape> {
        use Shape::*;
        let shape = match kind {
            "singleLineText" | "multilineText" => Text,
            // Rewritten by the service in ways nobody can predict, so never for the id, but an owner may like it.
            "richText" | "email" | "url" | "phoneNumber" => Text,
            "singleSelect" => Choice,
            "multipleSelects" => Choices,
            // The two last hold the same number and only show it otherwise.
            "number" | "currency" | "percent" | "duration" => Number,
            "date" => Date,
            "dateTime" if Nature::of(field) == Nature::Date => Day,
            "dateTime" => Time,
            "checkbox" => Tick,
            _ => return None,
        };
        let suits = match (Nature::of(field), shape) {
            (Nature::Id, Text) => matches!(kind, "singleLineText" | "multilineText"),
            (Nature::Id, _) => false,
            (Nature::Text, Text | Choice) => true,
            (Nature::Text, Choices) => *field == Field::Tags,
            (Nature::Money, Text | Number) => true,
            (Nature::Date, Text | Date | Day) => true,
            (Nature::Time, Text | Time | Date) => true,
            _ => false,
        };
        suits.then_some(shape)
    }

    /// True if Airtable must be asked to turn strings into choices.
    pub(super) fn needs_typecast(self) -> bool {
        matches!(self, Shape::Choice | Shape::Choices)
    }

    /// The cell, or `None` for an empty one.
    pub(super) fn cell(self, value: &Value) -> Option<Box<RawValue>> {
        let text = match value {
            Value::Empty => return None,
            Value::Text(text) => text.to_string(),
            // At noon by UTC it is that day almost everywhere, whatever zone the field shows.
            Value::Date(date) if self == Shape::Day => format!("{date}T12:00:00.000Z"),
            Value::Date(date) => date.to_string(),
            Value::Time(time) if self == Shape::Date => time.date_naive().to_string(),
            // With the zone spelled out: a field with a zone of its own would read a bare time as its own.
            Value::Time(time) if self == Shape::Time => {
                time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Millis, true)
            }
            Value::Time(time) => time.to_rfc3339_opts(SecondsFormat::Secs, false),
            Value::Money(amount) if self == Shape::Number => return RawValue::from_string(amount.to_string()).ok(),
            Value::Money(amount) => amount.to_string(),
        };
        match self {
            Shape::Choices => raw(&text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect::<Vec<_>>()),
            _ => raw(&text),
        }
    }
}

/// The kind of value in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    Id,
    Text,
    Money,
    Date,
    Time,
}

impl Nature {
    fn of(field: &Field) -> Nature {
        match field {
            Field::Id => Nature::Id,
            Field::Time => Nature::Time,
            Field::Date | Field::ValueDate => Nature::Date,
            field if field.is_money() => Nature::Money,
            _ => Nature::Text,
        }
    }
}

/// The definition of a new Airtable field for a column.
///
/// Words that would make good choices (currency, type, category) become plain text: a select would need every choice
/// made beforehand or a token that may make them, and the owner can turn the field into one in two clicks.
pub(super) fn definition(column: &Column) -> Json {
    let (kind, options) = match Nature::of(&column.field) {
        Nature::Text if matches!(column.field, Field::Description | Field::Note) => ("multilineText", Json::Null),
        Nature::Id | Nature::Text => ("singleLineText", Json::Null),
        Nature::Money => ("number", json!({ "precision": 2 })),
        Nature::Date => ("date", json!({ "dateFormat": { "name": "iso" } })),
        Nature::Time => (
            "dateTime",
            json!({ "timeZone": "utc", "dateFormat": { "name": "iso" }, "timeFormat": { "name": "24hour" } }),
        ),
    };
    define(&column.header, kind, options)
}

/// The definition of the field that ticks rows the bank took back.
pub(super) fn tick_definition(name: &str) -> Json {
    define(name, "checkbox", json!({ "icon": "check", "color": "redBright" }))
}

fn define(name: &str, kind: &str, options: Json) -> Json {
    let mut definition = json!({ "name": name, "type": kind });
    if !options.is_null() {
        definition["options"] = options;
    }
    definition
}

/// Columns with their fields, but for fields that the owner has deleted.
fn pairs<'a>(columns: &'a [Column], bound: &'a [Bound]) -> impl Iterator<Item = (&'a Column, &'a Bound)> {
    columns.iter().zip(bound).filter(|(_, bound)| !bound.gone)
}

/// The cells of a new row. Empty ones of the bank are null, because the row may be there from an earlier try with another
/// version; empty ones of the owner are left out, so that nothing he or his automation has filled is cleared.
pub(super) fn row(columns: &[Column], bound: &[Bound], transaction: &Transaction) -> Cells {
    let cells = pairs(columns, bound);
    let value = |column: &Column, bound: &Bound| match cell(column, bound, transaction) {
        None if is_bank_owned(column) => raw(&Json::Null),
        filled => filled,
    };
    cells.filter_map(|(column, bound)| Some((bound.id.clone(), value(column, bound)?))).collect()
}

/// The cell a bound column should show.
pub(super) fn expected(field: &Field, bound: &Bound, transaction: &Transaction) -> Cell {
    bound.shape.cell(&field.value(transaction)).map_or(Cell::Empty, |cell| read(&cell))
}

/// A raw cell as it would be read back.
pub(super) fn read(cell: &RawValue) -> Cell {
    // The cell is JSON already, so reading it cannot fail.
    Cell::from_json(&serde_json::from_str(cell.get()).unwrap_or_default())
}

/// The cells that the bank owns and has changed, empty ones as null: what a correction writes over a row that is there.
pub(super) fn corrected(columns: &[Column], bound: &[Bound], before: Option<&Transaction>, now: &Transaction) -> Cells {
    let same = |field: &Field| before.is_some_and(|before| field.value(before) == field.value(now));
    let kept: Vec<&String> =
        columns.iter().zip(bound).filter(|(column, _)| same(&column.field)).map(|(_, bound)| &bound.id).collect();
    let mut cells = bank_owned(columns, bound, now);
    cells.retain(|id, _| !kept.contains(&id));
    cells
}

/// The cells that the bank owns, empty ones as null.
pub(super) fn bank_owned(columns: &[Column], bound: &[Bound], transaction: &Transaction) -> Cells {
    let cells = pairs(columns, bound).filter(|(column, _)| is_bank_owned(column));
    cells
        .filter_map(|(column, bound)| {
            Some((bound.id.clone(), cell(column, bound, transaction).or_else(|| raw(&Json::Null))?))
        })
        .collect()
}

/// The cells of the owner's columns that rules give something else than before: those they gave nothing, and the others.
pub(super) fn enriched(
    columns: &[Column],
    bound: &[Bound],
    before: Option<&Transaction>,
    now: &Transaction,
) -> (Cells, Cells) {
    let (mut empty, mut over) = (Cells::new(), Cells::new());
    for (column, bound) in pairs(columns, bound).filter(|(column, _)| column.field.belongs_to_owner()) {
        let former = before.map_or(Value::Empty, |before| column.field.value(before));
        if former != column.field.value(now)
            && let Some(cell) = cell(column, bound, now)
        {
            let cells = if former == Value::Empty { &mut empty } else { &mut over };
            cells.insert(bound.id.clone(), cell);
        }
    }
    (empty, over)
}

/// The field whose text no Airtable field holds, if one of these cells has such a text. Counted in UTF-16, the larger of
/// the two ways the service may count.
pub(super) fn too_long(cells: &Cells) -> Option<&String> {
    let is_long = |cell: &RawValue| {
        let text: Option<String> = serde_json::from_str(cell.get()).ok();
        text.is_some_and(|text| text.encode_utf16().count() > MOST_CHARACTERS)
    };
    cells.iter().find(|(_, cell)| cell.get().len() > MOST_CHARACTERS && is_long(cell)).map(|(id, _)| id)
}

/// Any serialisable value as a raw cell. `None` cannot happen for what is passed here: text, lists of text, booleans.
pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

fn cell(column: &Column, bound: &Bound, transaction: &Transaction) -> Option<Box<RawValue>> {
    bound.shape.cell(&column.field.value(transaction))
}

/// The id never changes, and writing it again might break a merge.
fn is_bank_owned(column: &Column) -> bool {
    column.field != Field::Id && !column.field.belongs_to_owner()
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn written(shape: Shape, value: Value) -> String {
        shape.cell(&value).map_or_else(String::new, |cell| cell.get().to_owned())
    }

    fn money(text: &str) -> Value<'static> {
        Value::Money(text.parse::<Decimal>().unwrap())
    }

    #[test]
    fn money_is_spelled_by_the_decimal() {
        for text in ["20.34", "-0.10", "100", "0.3", "12345678901234.56", "-1234567.89"] {
            assert_eq!(written(Shape::Number, money(text)), text);
            assert_eq!(written(Shape::Text, money(text)), format!("\"{text}\""));
        }
    }

    #[test]
    fn dates_and_times_follow_the_shape_of_the_field() {
        let time = Value::Time("2026-01-05T00:30:15+02:00".parse().unwrap());
        assert_eq!(written(Shape::Time, time.clone()), "\"2026-01-04T22:30:15.000Z\"");
        assert_eq!(written(Shape::Date, time.clone()), "\"2026-01-05\"");
        assert_eq!(written(Shape::Text, time), "\"2026-01-05T00:30:15+02:00\"");
        assert_eq!(written(Shape::Date, Value::Date("2026-01-05".parse().unwrap())), "\"2026-01-05\"");
    }

    #[test]
    fn text_stays_text_and_nothing_stays_nothing() {
        let payee = "=IMPORTXML(\"x\") \\ 'Ъ' 🦀\n2";
        let cell = written(Shape::Text, Value::Text(payee.into()));
        assert_eq!(serde_json::from_str::<String>(&cell).unwrap(), payee);
        assert_eq!(written(Shape::Text, Value::Empty), "");
        assert_eq!(written(Shape::Choices, Value::Text("food, home,".into())), r#"["food","home"]"#);
    }

    #[test]
    fn only_fields_that_can_hold_a_value_are_accepted() {
        use Field::*;
        assert_eq!(Shape::of(&Amount, "number"), Some(Shape::Number));
        assert_eq!(Shape::of(&Amount, "currency"), Some(Shape::Number));
        assert_eq!(Shape::of(&Amount, "percent"), Some(Shape::Number));
        assert_eq!(Shape::of(&Date, "dateTime"), Some(Shape::Day));
        assert_eq!(Shape::of(&Amount, "singleLineText"), Some(Shape::Text));
        assert_eq!(Shape::of(&Currency, "singleSelect"), Some(Shape::Choice));
        assert_eq!(Shape::of(&Tags, "multipleSelects"), Some(Shape::Choices));
        assert_eq!(Shape::of(&Time, "dateTime"), Some(Shape::Time));
        for (field, kind) in [
            (Amount, "rating"),
            (Amount, "formula"),
            (Amount, "date"),
            (Date, "createdTime"),
            (Id, "autoNumber"),
            (Id, "singleSelect"),
            (Id, "richText"),
            (Category, "multipleSelects"),
            (Counterparty, "multipleRecordLinks"),
            (Counterparty, "number"),
        ] {
            assert_eq!(Shape::of(&field, kind), None, "{field} in {kind}");
        }
    }
}
