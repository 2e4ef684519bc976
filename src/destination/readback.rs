//! The cells that a destination shows when it is read back, in a form that needs no knowledge of the service: typed
//! cells, with the expected value of each. Pure.
//!
//! Only the bank's cells are compared: the owner's (category, vendor, tags, note) are his alone once they have been
//! written.

use chrono::{DateTime, Duration, NaiveDate};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;

use crate::model::{Field, Transaction, money_text};

/// A cell as a service gives it back.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// An empty cell.
    Empty,
    /// Text.
    Text(String),
    /// A number; a date where the service counts days.
    Number(f64),
    /// A tick.
    Bool(bool),
}

/// A row as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRow {
    /// The content of the id cell; empty for an empty cell.
    pub id: String,
    /// The row's place, in the service's own form. The lesser place of two rows with one id is the one that stays.
    pub place: String,
    /// The cells of the row, in the order of [`Shown::fields`].
    pub cells: Vec<Cell>,
    /// The row is marked as taken back by the bank; known only where marks are read.
    pub is_marked: bool,
}

impl FoundRow {
    /// True if the row holds none of our cells.
    pub fn is_blank(&self) -> bool {
        self.id.is_empty() && self.cells.iter().all(|cell| *cell == Cell::Empty)
    }
}

/// The expected value of a field's cell.
pub type Expect = Box<dyn Fn(usize, &Transaction) -> Cell + Send + Sync>;

/// The fields that the cells of a found row show, and their expected values.
pub struct Shown {
    /// Bank-owned fields without the id.
    pub fields: Vec<Field>,
    expect: Expect,
}

/// Whoever listens to a read-back. A read of ids only begins with no fields.
pub trait Reader: Send {
    /// The rows follow, from the beginning: what was told before is void.
    fn begin(&mut self, shown: Shown);

    /// A row.
    fn row(&mut self, found: FoundRow);
}

impl Shown {
    /// `expect` is asked by position in `fields`.
    pub fn new(fields: Vec<Field>, expect: Expect) -> Shown {
        Shown { fields, expect }
    }

    /// The expected value of the cell at this position.
    pub fn expected(&self, at: usize, transaction: &Transaction) -> Cell {
        (self.expect)(at, transaction)
    }

    /// The positions of cells that do not hold what they should.
    pub fn differences(&self, transaction: &Transaction, cells: &[Cell]) -> Vec<usize> {
        let differs = |at: &usize| {
            let found = cells.get(*at).unwrap_or(&Cell::Empty);
            !agrees(&self.fields[*at], &self.expected(*at, transaction), found)
        };
        (0..self.fields.len()).filter(differs).collect()
    }
}

/// Collects ids, and nothing else.
#[derive(Default)]
pub struct Ids(pub Vec<String>);

impl Reader for Ids {
    fn begin(&mut self, _shown: Shown) {
        self.0.clear();
    }

    fn row(&mut self, found: FoundRow) {
        self.0.push(found.id);
    }
}

impl Shown {
    /// No field is shown: a read of ids only.
    pub fn nothing() -> Shown {
        Shown::new(Vec::new(), Box::new(|_, _| Cell::Empty))
    }
}

impl FoundRow {
    /// A row of which only the id is read.
    pub fn id_only(id: String) -> FoundRow {
        FoundRow { id, place: String::new(), cells: Vec::new(), is_marked: false }
    }
}

impl Cell {
    /// From JSON as services write cells: empty text is no text.
    pub fn from_json(value: &serde_json::Value) -> Cell {
        match value {
            serde_json::Value::String(text) if text.is_empty() => Cell::Empty,
            serde_json::Value::String(text) => Cell::Text(text.clone()),
            serde_json::Value::Number(number) => number.as_f64().map_or(Cell::Empty, Cell::Number),
            serde_json::Value::Bool(value) => Cell::Bool(*value),
            serde_json::Value::Null => Cell::Empty,
            other => Cell::Text(other.to_string()),
        }
    }
}

/// True for an id of ours rather than, say, a header.
pub fn is_id(text: &str) -> bool {
    text.is_ascii() && !text.contains(' ') && text.matches(':').count() >= 2
}

/// The id that a cell holds; a bare number, as people's imports leave it, counts as its digits.
pub fn id_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(id) if !id.trim().is_empty() => Some(id.clone()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Some(whole.to_string()),
            // A double holds whole numbers exactly up to here.
            (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Some(format!("{number:.0}")),
            _ => None,
        },
        _ => None,
    }
}

/// True if a cell holds the expected value: money to the cent, times to the second, dates to the day, text to the
/// letter.
pub fn agrees(field: &Field, expected: &Cell, found: &Cell) -> bool {
    match (expected, found) {
        // A day has 86,400 seconds.
        (Cell::Number(expected), Cell::Number(found)) if *field == Field::Time => (expected - found).abs() < 1e-5,
        // A double holds some fifteen digits: what is further apart than it can tell is another number.
        (Cell::Number(expected), Cell::Number(found)) => {
            (expected - found).abs() < expected.abs().mul_add(4.0 * f64::EPSILON, 0.005)
        }
        (Cell::Text(expected), Cell::Text(found)) if *field == Field::Time => {
            let instant = |text: &str| DateTime::parse_from_rfc3339(text).ok();
            expected == found || (instant(expected).is_some() && instant(expected) == instant(found))
        }
        (Cell::Text(expected), Cell::Text(found)) if matches!(field, Field::Date | Field::ValueDate) => {
            expected == found || same_day(expected, found)
        }
        // An amount in a field for text, as it came there when the owner changed its type.
        (Cell::Text(expected), Cell::Text(found)) if field.is_money() => {
            expected == found
                || (written_amount(expected).is_some() && written_amount(expected) == written_amount(found))
        }
        (expected, found) => expected == found,
    }
}

/// True if an instant is of the expected day in one of the world's zones: a field for instants has a zone of its own,
/// and a day that was made an instant is midnight there.
fn same_day(expected: &str, found: &str) -> bool {
    let day = expected.get(..10).and_then(|day| day.parse::<NaiveDate>().ok()).and_then(|day| day.and_hms_opt(0, 0, 0));
    let instant = DateTime::parse_from_rfc3339(found).ok().map(|instant| instant.naive_utc());
    let apart = day.zip(instant).map(|(day, instant)| (instant - day).num_minutes());
    expected.get(..10) == Some(found) || apart.is_some_and(|minutes| (-14 * 60..=12 * 60).contains(&minutes))
}

/// The amount that a text shows, with or without a currency's sign and separators of thousands; none where it says more.
fn written_amount(text: &str) -> Option<Decimal> {
    if text.chars().any(char::is_alphabetic) {
        return None;
    }
    let bare: String = text.chars().filter(|c| c.is_ascii_digit() || ['-', '.'].contains(c)).collect();
    bare.parse().ok()
}

/// A cell in words, dates and money as everywhere else; `None`: nothing in it.
pub fn in_words(field: &Field, cell: &Cell) -> Option<String> {
    let number = match cell {
        Cell::Empty => return None,
        Cell::Text(text) => return Some(text.clone()),
        Cell::Bool(value) => return Some(value.to_string()),
        Cell::Number(number) => *number,
    };
    let day = |days: i64| {
        NaiveDate::from_ymd_opt(1899, 12, 30).and_then(|epoch| epoch.checked_add_signed(Duration::try_days(days)?))
    };
    let said = match field {
        Field::Date | Field::ValueDate if number.fract() == 0.0 => day(number as i64).map(|day| day.to_string()),
        Field::Time => {
            let seconds = Duration::try_seconds(((number - number.floor()) * 86_400.0).round() as i64);
            let midnight = day(number.floor() as i64).and_then(|day| day.and_hms_opt(0, 0, 0));
            midnight.zip(seconds).and_then(|(midnight, seconds)| midnight.checked_add_signed(seconds)).map(|time| {
                // A spreadsheet keeps no zone.
                time.format("%Y-%m-%dT%H:%M:%S").to_string()
            })
        }
        _ => Decimal::from_f64(number).map(|amount| money_text(amount.normalize())),
    };
    Some(said.unwrap_or_else(|| number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn cells_agree_to_the_cent_the_second_and_the_letter() {
        let number = Cell::Number;
        assert!(agrees(&Field::Amount, &number(0.3), &number(0.1 + 0.2)));
        assert!(!agrees(&Field::Amount, &number(12.3), &number(12.31)));
        assert!(!agrees(&Field::Amount, &number(12_345_678_901.3), &number(12_345_678_901.31)));
        assert!(agrees(&Field::Balance, &number(123_556_789_013_343.7), &number(123_556_789_013_343.69)));
        assert!(!agrees(&Field::Amount, &number(12.3), &text("12.3")));
        assert!(!agrees(&Field::Amount, &number(0.0), &Cell::Empty));
        assert!(agrees(&Field::Time, &number(46027.43090277778), &number(46027.430902777)));
        assert!(!agrees(&Field::Time, &number(46027.430902), &number(46027.430944)));
        assert!(agrees(&Field::Time, &text("2026-01-05T00:30:15+02:00"), &text("2026-01-04T22:30:15.000Z")));
        for found in ["2026-01-05", "2026-01-05T12:00:00.000Z", "2026-01-04T22:00:00.000Z", "2026-01-05T05:00:00.000Z"]
        {
            assert!(agrees(&Field::Date, &text("2026-01-05T12:00:00.000Z"), &text(found)), "{found}");
        }
        for found in ["2026-01-06", "2026-01-06T00:00:00.000Z", "2026-01-04T00:00:00.000Z", "soon", ""] {
            assert!(!agrees(&Field::Date, &text("2026-01-05T12:00:00.000Z"), &text(found)), "{found}");
        }
        for (found, same) in [("-1234.5", true), ("-€1,234.50", true), ("-1234.51", false), ("-1234.50 or so", false)]
        {
            assert_eq!(agrees(&Field::Amount, &text("-1234.50"), &text(found)), same, "{found}");
        }
        assert!(!agrees(&Field::Counterparty, &text("12.50"), &text("12.5")));
        assert!(!agrees(&Field::Counterparty, &text("Лидл"), &text("Лидл ")));
        assert!(!agrees(&Field::Reference, &text("0012"), &number(12.0)));
    }

    #[test]
    fn cells_are_said_as_everywhere_else() {
        let said = |field: Field, number: f64| in_words(&field, &Cell::Number(number)).unwrap();
        assert_eq!(said(Field::Date, 46027.0), "2026-01-05");
        assert_eq!(said(Field::Date, 46027.5), "46027.50");
        assert_eq!(said(Field::Amount, -12.3), "-12.30");
        assert_eq!(said(Field::Time, 46027.43090277778), "2026-01-05T10:20:30");
        assert_eq!(in_words(&Field::Amount, &Cell::Empty), None);
    }

    #[test]
    fn ids_may_have_been_imported_as_numbers() {
        let id = |value: serde_json::Value| id_text(&value);
        assert_eq!(id(serde_json::json!("fibank:X:1")).as_deref(), Some("fibank:X:1"));
        assert_eq!(id(serde_json::json!(900000001)).as_deref(), Some("900000001"));
        assert_eq!(id(serde_json::json!(900000001.0)).as_deref(), Some("900000001"));
        assert_eq!(
            [id(serde_json::json!(1.5)), id(serde_json::json!(" ")), id(serde_json::Value::Null)],
            [None, None, None]
        );
    }
}
