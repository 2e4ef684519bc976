//! The expected state of one destination: its rows, the bank's cells, and the owner's cells in their places. The model
//! knows neither sheets nor bases.

use std::collections::{BTreeMap, BTreeSet};

use bankfeed::destination::policy::{Rows, Updates, Vanished};

/// The cells of a row by the key of the field, in the destination's own words; empty cells are absent.
pub type Cells = BTreeMap<String, String>;

/// The place of the owner's content: its column, and the transaction beside it, if any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub beside: Option<String>,
    pub column: Column,
}

/// A column, by the name that it keeps when it is moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// A column of ours, by the key of its field.
    Bank(String),
    /// A column of the owner's, by its header, which is unique.
    Own(String),
}

/// The expected state of a destination.
#[derive(Default)]
pub struct Model {
    /// Expected rows with their expected cells.
    pub rows: BTreeMap<String, Cells>,
    /// The bank's data of each row at the last cycle.
    bank: BTreeMap<String, Cells>,
    /// Rows the owner deleted.
    pub deleted: BTreeSet<String>,
    /// Rows the bank has taken back.
    pub vanished: BTreeSet<String>,
    /// Deleted rows whose deleter the destination cannot know.
    pub loose: BTreeSet<String>,
    /// Fields whose columns the owner has deleted.
    pub gone: BTreeSet<String>,
    /// Rows the last cycle should have added.
    pub fresh: BTreeSet<String>,
    /// Rows of `fresh` that had been there before.
    pub back: BTreeSet<String>,
    /// Words that the owner wrote into cells outside the bank's rows; every word is unique.
    pub words: BTreeMap<String, Spot>,
    /// Notes on cells, and colours.
    pub marks: BTreeMap<String, Spot>,
}

impl Model {
    /// Applies the expected effect of a cycle in which the bank shows `now`. `filled` are the cells that rules give a
    /// new row.
    pub fn cycle(&mut self, now: BTreeMap<String, Cells>, rules: &Rows, filled: impl Fn(&Cells) -> Cells) {
        (self.fresh, self.back) = Default::default();
        for (id, cells) in &now {
            let whole = || cells.clone().into_iter().chain(filled(cells)).collect::<Cells>();
            let before = self.bank.get(id).cloned();
            let returns = self.vanished.remove(id);
            if self.deleted.contains(id) {
                continue;
            }
            match before {
                None => drop((self.rows.insert(id.clone(), whole()), self.fresh.insert(id.clone()))),
                Some(_) if returns && rules.vanished == Vanished::Delete => {
                    self.rows.insert(id.clone(), whole());
                    self.fresh.insert(id.clone());
                    self.back.insert(id.clone());
                }
                Some(before) if rules.updates == Updates::Apply => self.correct(id, &before, cells),
                Some(_) => {}
            }
        }
        let gone: Vec<String> = self.bank.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        for id in gone.into_iter().filter(|id| !self.vanished.contains(id)).collect::<Vec<_>>() {
            self.vanished.insert(id.clone());
            if rules.vanished == Vanished::Delete {
                if self.deleted.contains(&id) {
                    self.loose.insert(id.clone());
                }
                self.forget_row(&id);
            }
        }
        self.bank.extend(now);
    }

    /// Expects the bank's changed cells to be written over the owner's contents.
    fn correct(&mut self, id: &str, before: &Cells, now: &Cells) {
        let Some(row) = self.rows.get_mut(id) else { return };
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        for key in keys.into_iter().filter(|key| before.get(*key) != now.get(*key)) {
            match now.get(key) {
                Some(cell) => drop(row.insert(key.clone(), cell.clone())),
                None => drop(row.remove(key)),
            }
        }
    }

    /// Forgets a deleted row, and the owner's content beside it.
    pub fn forget_row(&mut self, id: &str) {
        self.rows.remove(id);
        self.words.retain(|_, spot| spot.beside.as_deref() != Some(id));
        self.marks.retain(|_, spot| spot.beside.as_deref() != Some(id));
    }

    /// Forgets a deleted column, and the owner's content in it.
    pub fn forget_column(&mut self, column: &Column) {
        self.words.retain(|_, spot| spot.column != *column);
        self.marks.retain(|_, spot| spot.column != *column);
    }

    /// The owner deletes a row.
    pub fn delete(&mut self, id: &str) {
        self.forget_row(id);
        self.deleted.insert(id.to_owned());
    }

    /// The owner writes into a cell, or empties it.
    pub fn write(&mut self, spot: Spot, word: Option<&str>) {
        if let (Some(row), Column::Bank(field)) =
            (spot.beside.as_ref().and_then(|id| self.rows.get_mut(id)), &spot.column)
        {
            match word {
                Some(word) => drop(row.insert(field.clone(), word.to_owned())),
                None => drop(row.remove(field)),
            }
        } else if let Some(word) = word {
            self.words.insert(word.to_owned(), spot);
        }
    }
}
