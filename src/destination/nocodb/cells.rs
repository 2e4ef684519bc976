//! The form of a value in a cell: the types of NocoDB field that can show a field of a transaction, the type of a field
//! that is made, and the JSON that goes out.
//!
//! Pure. Money leaves as text spelled by the decimal itself, which the database keeps to the last digit; on the way back
//! NocoDB makes a double of it, which the connector cannot prevent.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::layout::Bound;
use crate::destination::policy::Column;
use crate::destination::readback::Cell;
use crate::model::{Field, Transaction, Value};

/// Most characters a text field holds, counted in UTF-16 as the service does.
pub(super) const MOST_CHARACTERS: usize = 100_000;

/// Cells of one row by field id.
pub(super) type Cells = BTreeMap<String, Json>;

/// The form of a cell, decided by the NocoDB field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shape {
    /// A string, whatever the value is.
    Text,
    /// A string that has to be one of the field's choices.
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
    /// The form of `field` in a NocoDB field of type `kind`; `None` if the type cannot hold it.
    pub(super) fn of(field: &Field, kind: &str) -> Option<Shape> {
        use Shape::*;
        let shape = match kind {
            "SingleLineText" | "LongText" | "Email" | "URL" | "PhoneNumber" => Text,
            "SingleSelect" => Choice,
            "MultiSelect" => Choices,
            // `Number` holds whole numbers only, and `Duration` reads any number as hours.
            "Decimal" | "Currency" | "Percent" => Number,
            "Date" => Date,
            "DateTime" if Nature::of(field) == Nature::Date => Day,
            "DateTime" => Time,
            "Checkbox" => Tick,
            _ => return None,
        };
        let suits = match (Nature::of(field), shape) {
            (Nature::Id, Text) => matches!(kind, "SingleLineText" | "LongText"),
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

    /// The cell, or `None` for an empty one.
    pub(super) fn cell(self, value: &Value) -> Option<Json> {
        let text = match value {
            Value::Empty => return None,
            // PostgreSQL keeps every character but this one.
            Value::Text(text) => text.replace('\0', "\u{fffd}"),
            // At noon by UTC it is that day almost everywhere, whatever zone the field shows.
            Value::Date(date) if self == Shape::Day => format!("{date}T12:00:00Z"),
            Value::Date(date) => date.to_string(),
            Value::Time(time) if self == Shape::Date => time.date_naive().to_string(),
            Value::Time(time) if self == Shape::Time => {
                time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true)
            }
            Value::Time(time) => time.to_rfc3339_opts(SecondsFormat::Secs, false),
            Value::Money(amount) => amount.to_string(),
        };
        Some(match self {
            Shape::Choices => text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect(),
            _ => text.into(),
        })
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

/// The definition of a new NocoDB field for a column. The id is unique, which a store on PostgreSQL enforces.
///
/// Words that would make good choices (currency, type, category) become plain text: a select refuses every value that
/// is not among its choices, and the owner can turn the field into one in two clicks.
pub(super) fn definition(column: &Column) -> Json {
    let title = &column.header;
    match Nature::of(&column.field) {
        Nature::Id => json!({ "title": title, "type": "SingleLineText", "unique": true }),
        Nature::Text if matches!(column.field, Field::Description | Field::Note) => {
            json!({ "title": title, "type": "LongText" })
        }
        Nature::Text => json!({ "title": title, "type": "SingleLineText" }),
        Nature::Money => json!({ "title": title, "type": "Decimal", "options": { "precision": 2 } }),
        Nature::Date => json!({ "title": title, "type": "Date", "options": { "date_format": "YYYY-MM-DD" } }),
        Nature::Time => json!({ "title": title, "type": "DateTime" }),
    }
}

/// The definition of the field that ticks rows the bank took back.
pub(super) fn tick_definition(title: &str) -> Json {
    json!({ "title": title, "type": "Checkbox" })
}

/// Columns with their fields, but for fields that the owner has deleted.
fn pairs<'a>(columns: &'a [Column], bound: &'a [Bound]) -> impl Iterator<Item = (&'a Column, &'a Bound)> {
    columns.iter().zip(bound).filter(|(_, bound)| !bound.gone)
}

/// The cells of a new row that are not empty.
pub(super) fn row(columns: &[Column], bound: &[Bound], transaction: &Transaction) -> Cells {
    pairs(columns, bound)
        .filter_map(|(column, bound)| Some((bound.id.clone(), cell(column, bound, transaction)?)))
        .collect()
}

/// The cell that a bound column should show.
pub(super) fn expected(field: &Field, bound: &Bound, transaction: &Transaction) -> Cell {
    let cell = bound.shape.cell(&field.value(transaction));
    cell.map_or(Cell::Empty, |cell| shown(bound.shape, &cell))
}

/// A cell as it would be read back.
pub(super) fn shown(shape: Shape, cell: &Json) -> Cell {
    match (shape, cell) {
        (Shape::Number, Json::String(text)) => text.parse().map_or(Cell::Empty, Cell::Number),
        _ => Cell::from_json(cell),
    }
}

/// A cell as it was read back. A number may come as text: some stores keep more digits than a double holds.
pub(super) fn found(shape: Shape, cell: Option<&Json>) -> Cell {
    cell.map_or(Cell::Empty, |cell| shown(shape, cell))
}

/// The cells that the bank owns and has changed, empty ones as null: what a correction writes over a row that is there.
pub(super) fn corrected(columns: &[Column], bound: &[Bound], before: Option<&Transaction>, now: &Transaction) -> Cells {
    let same = |field: &Field| before.is_some_and(|before| field.value(before) == field.value(now));
    let changed = pairs(columns, bound).filter(|(column, _)| is_bank_owned(&column.field) && !same(&column.field));
    changed.map(|(column, bound)| (bound.id.clone(), cell(column, bound, now).unwrap_or_default())).collect()
}

/// The cells that the bank owns, empty ones as null.
pub(super) fn bank_owned(columns: &[Column], bound: &[Bound], transaction: &Transaction) -> Cells {
    corrected(columns, bound, None, transaction)
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

/// The field whose text no NocoDB field holds, if one of these cells has such a text.
pub(super) fn too_long(cells: &Cells) -> Option<&String> {
    let is_long = |cell: &Json| {
        let text = cell.as_str().unwrap_or_default();
        text.len() > MOST_CHARACTERS && text.encode_utf16().count() > MOST_CHARACTERS
    };
    cells.iter().find(|(_, cell)| is_long(cell)).map(|(id, _)| id)
}

fn cell(column: &Column, bound: &Bound, transaction: &Transaction) -> Option<Json> {
    bound.shape.cell(&column.field.value(transaction))
}

/// The id never changes.
pub(super) fn is_bank_owned(field: &Field) -> bool {
    *field != Field::Id && !field.belongs_to_owner()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::destination::readback::agrees;

    fn written(shape: Shape, value: Value) -> Json {
        shape.cell(&value).unwrap_or_default()
    }

    #[test]
    fn money_is_spelled_by_the_decimal() {
        for text in ["20.34", "-0.10", "100", "12345678901234.56", "999999999999999.99"] {
            let money = Value::Money(text.parse::<Decimal>().unwrap());
            assert_eq!(written(Shape::Number, money.clone()), text);
            let read = Cell::Number(text.parse().unwrap());
            assert!(agrees(&Field::Amount, &shown(Shape::Number, &text.into()), &read), "{text}");
        }
    }

    #[test]
    fn dates_and_times_follow_the_shape_of_the_field() {
        let time = Value::Time("2026-01-05T00:30:15+02:00".parse().unwrap());
        assert_eq!(written(Shape::Time, time.clone()), "2026-01-04T22:30:15Z");
        assert_eq!(written(Shape::Date, time.clone()), "2026-01-05");
        assert_eq!(written(Shape::Text, time), "2026-01-05T00:30:15+02:00");
        let day = written(Shape::Day, Value::Date("2026-01-05".parse().unwrap()));
        assert_eq!(day, "2026-01-05T12:00:00Z");
        // As the service writes instants.
        let text = |text: &str| Cell::Text(text.into());
        assert!(agrees(&Field::Time, &text("2026-01-04T22:30:15Z"), &text("2026-01-04 22:30:15+00:00")));
        assert!(agrees(&Field::Date, &text("2026-01-05T12:00:00Z"), &text("2026-01-05 12:00:00+00:00")));
    }

    #[test]
    fn text_stays_text_but_for_the_one_character_that_cannot() {
        let payee = "=IMPORTXML(\"x\") \\ 'Ъ' 🦀\n2";
        assert_eq!(written(Shape::Text, Value::Text(payee.into())), payee);
        assert_eq!(written(Shape::Text, Value::Text("a\0b".into())), "a\u{fffd}b");
        assert_eq!(written(Shape::Choices, Value::Text("food, home,".into())), json!(["food", "home"]));
    }

    #[test]
    fn only_fields_that_can_hold_a_value_are_accepted() {
        use Field::*;
        for (field, kind, shape) in [
            (Amount, "Decimal", Shape::Number),
            (Amount, "Currency", Shape::Number),
            (Amount, "SingleLineText", Shape::Text),
            (Date, "DateTime", Shape::Day),
            (Currency, "SingleSelect", Shape::Choice),
            (Tags, "MultiSelect", Shape::Choices),
            (Time, "DateTime", Shape::Time),
        ] {
            assert_eq!(Shape::of(&field, kind), Some(shape), "{field} in {kind}");
        }
        for (field, kind) in [
            (Amount, "Number"),
            (Amount, "Duration"),
            (Amount, "Formula"),
            (Amount, "Date"),
            (Date, "CreatedTime"),
            (Id, "SingleSelect"),
            (Id, "Email"),
            (Category, "MultiSelect"),
            (Counterparty, "Links"),
            (Counterparty, "JSON"),
        ] {
            assert_eq!(Shape::of(&field, kind), None, "{field} in {kind}");
        }
    }

    #[test]
    fn a_text_longer_than_a_field_is_known_beforehand() {
        let cells = |text: String| Cells::from([("c1".to_owned(), Json::from(text))]);
        assert_eq!(too_long(&cells("х".repeat(MOST_CHARACTERS))), None);
        assert_eq!(too_long(&cells("🦀".repeat(MOST_CHARACTERS / 2 + 1))).map(String::as_str), Some("c1"));
    }
}
