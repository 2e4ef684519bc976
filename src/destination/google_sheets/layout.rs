//! The positions of tab, columns and headers as they are now, and the number formats of columns. Pure.
//!
//! The owner may move, rename and delete all of them between cycles, so positions are read anew each time (`metadata`).

use crate::destination::readback::{id_text, is_id};
use crate::model::Field;

/// A column of ours and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The field that the column shows.
    pub field: Field,
    /// The position, from 0.
    pub index: u32,
}

/// The tab and its columns as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The tab's id.
    pub sheet: i32,
    /// Our columns from left to right.
    pub places: Vec<Place>,
    /// The row that holds the headers; none where the owner has deleted it.
    pub header: Option<u32>,
    /// Metadata id of the id column; unknown right after set-up.
    pub id_entry: Option<i32>,
    /// The row from which on there is none of ours, where that is known.
    pub first_blank: Option<u64>,
    /// The tab was created in this very cycle: no id is in the tab yet.
    pub fresh: bool,
}

impl Layout {
    /// A layout with these columns.
    pub fn new(sheet: i32, mut places: Vec<Place>, id_entry: Option<i32>) -> Layout {
        places.sort_by_key(|place| place.index);
        Layout { sheet, places, header: None, id_entry, first_blank: None, fresh: false }
    }

    /// The first row below the headers.
    pub fn top(&self) -> u32 {
        self.header.map_or(0, |header| header + 1)
    }

    /// Number of cells that a whole row of ours spans, from column A.
    pub fn width(&self) -> u32 {
        self.places.last().map_or(0, |last| last.index + 1)
    }

    /// The position of the id column.
    pub fn id_index(&self) -> u32 {
        self.places.iter().find(|place| place.field == Field::Id).map_or(0, |place| place.index)
    }

    /// True where a column of the owner stands among or before ours.
    pub fn interleaved(&self) -> bool {
        self.width() as usize != self.places.len()
    }

    /// Runs of neighbouring columns with one number format: first column, column after the last, format.
    pub fn formats(&self) -> Vec<(u32, u32, Format)> {
        let mut runs: Vec<(u32, u32, Format)> = Vec::new();
        for place in &self.places {
            let Some(format) = Format::of(&place.field) else { continue };
            match runs.last_mut() {
                Some((_, end, same)) if *end == place.index && *same == format => *end += 1,
                _ => runs.push((place.index, place.index + 1, format)),
            }
        }
        runs
    }
}

/// A number format of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A calendar date.
    Date,
    /// A date and a time of day.
    Time,
    /// An amount.
    Money,
    /// An amount with a direction: money in is green, money out is red.
    SignedMoney,
}

/// Colours are named as Google's guide to number formats names them; 10 is a dark green.
const SIGNED_MONEY: &str = "[Color10]#,##0.00;[Red]-#,##0.00;#,##0.00";

/// Width of a field's column in a tab that is made: texts need more than the usual hundred pixels, and the id, which no
/// person reads, needs less.
pub(super) fn width_of(field: &Field) -> i32 {
    match field {
        Field::Id => 60,
        Field::Currency => 75,
        Field::Date | Field::ValueDate => 95,
        Field::Description => 380,
        Field::Counterparty | Field::Customer | Field::Note => 220,
        Field::Account | Field::CounterpartyAccount | Field::AccountName | Field::Type => 190,
        Field::Time | Field::Category | Field::Vendor | Field::Tags | Field::Reference => 140,
        _ => 110,
    }
}

impl Format {
    /// The format of a field's column; text has none.
    pub fn of(field: &Field) -> Option<Format> {
        match field {
            Field::Date | Field::ValueDate => Some(Format::Date),
            Field::Time => Some(Format::Time),
            Field::Amount | Field::AmountEur => Some(Format::SignedMoney),
            Field::Debit | Field::Credit | Field::Balance => Some(Format::Money),
            _ => None,
        }
    }

    /// Google's type and pattern.
    pub fn type_and_pattern(self) -> (&'static str, &'static str) {
        match self {
            Format::Date => ("DATE", "yyyy-mm-dd"),
            Format::Time => ("DATE_TIME", "yyyy-mm-dd hh:mm:ss"),
            Format::Money => ("NUMBER", "#,##0.00"),
            Format::SignedMoney => ("NUMBER", SIGNED_MONEY),
        }
    }
}

/// Tells rows of data from titles and headers above them. A row that was written above the headers by mistake is known by
/// its id, and so is a first row of data where the owner has deleted the headers.
pub(super) fn is_data(header: Option<u32>, row: u32, id: &str) -> bool {
    match header {
        Some(header) if row == header => false,
        Some(header) => row > header || is_id(id),
        None => row > 0 || is_id(id),
    }
}

/// The ids in the id column.
pub(super) fn ids(header: Option<u32>, column: &[Vec<serde_json::Value>]) -> Vec<String> {
    let cells = (0..).zip(column).filter_map(|(row, cells)| Some((row, id_text(cells.first()?)?)));
    cells.filter(|(row, id)| is_data(header, *row, id)).map(|(_, id)| id).collect()
}

/// The letters of a column, for messages: 0 is A.
pub(super) fn letters(index: u32) -> String {
    let (mut rest, mut name) = (index + 1, Vec::new());
    while rest > 0 {
        name.push((b'A' + ((rest - 1) % 26) as u8) as char);
        rest = (rest - 1) / 26;
    }
    name.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        assert_eq!([0, 25, 26, 701, 702].map(letters), ["A", "Z", "AA", "ZZ", "AAA"]);
    }
}
