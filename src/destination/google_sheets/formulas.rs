//! Formulas: how functions are called under the spreadsheet's locale, and how columns are referred to. Pure.

use serde_json::{Value, json};

use super::layout::{Layout, letters};
use super::left_out::{LeftOutColumn, LeftOutTable};
use crate::model::Field;

/// The facts of the spreadsheet that formulas depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Formulas {
    /// Title of the tab with the transactions.
    pub tab: String,
    /// The character between the arguments of a function.
    pub separator: char,
}

impl Formulas {
    /// A call of a function.
    pub fn call(&self, function: &str, arguments: &[&str]) -> String {
        format!("{function}({})", arguments.join(&self.separator.to_string()))
    }

    /// A reference to a whole column of the transactions.
    pub fn column(&self, column: u32) -> String {
        whole_column(&self.tab, column)
    }
}

/// The character between the arguments of a function. A locale whose decimals have a point takes a comma; the others a
/// semicolon, which is also the safer guess, for it means nothing else anywhere.
pub(super) fn separator(locale: &str) -> char {
    let (language, region) = locale.split_once('_').unwrap_or((locale, ""));
    let point = matches!(language, "en" | "zh" | "ja" | "ko" | "th" | "iw" | "he" | "hi" | "cy" | "ga" | "fil")
        && region != "ZA"
        || (language == "es" && region == "MX");
    if point { ',' } else { ';' }
}

/// A reference to a whole column of a tab: whatever rows come and go, the reference means all of them.
pub(super) fn whole_column(tab: &str, column: u32) -> String {
    let name = letters(column);
    format!("'{}'!${name}:${name}", tab.replace('\'', "''"))
}

/// Sums over the transactions in the currency that cell B1 names, without the left-out amounts.
pub(super) struct Sums<'a> {
    pub layout: &'a Layout,
    pub formulas: &'a Formulas,
    /// The table of left-out amounts.
    pub table: LeftOutTable,
    /// Accounts are kept in several currencies, whose amounts are never added.
    pub is_mixed: bool,
}

impl Sums<'_> {
    /// The whole column of a part of what is left out.
    pub fn left(&self, part: LeftOutColumn) -> String {
        let name = letters(self.table.column(part).unwrap_or_default());
        format!("${name}:${name}")
    }

    /// The sum that is left out under conditions, in the chosen currency.
    pub fn left_sum(&self, part: LeftOutColumn, conditions: &[&str]) -> String {
        let (sum, currency) = (self.left(part), self.left(LeftOutColumn::Currency));
        let mut arguments = vec![sum.as_str()];
        arguments.extend(conditions);
        if self.place(&Field::Currency).is_some() {
            arguments.extend([currency.as_str(), "$B$1"]);
        }
        if arguments.len() == 1 {
            return self.call("SUM", &arguments);
        }
        self.call("SUMIFS", &arguments)
    }

    /// A sum of amounts under conditions, in the chosen currency.
    pub fn sum(&self, amount: &str, conditions: &[&str]) -> String {
        let currency = self.column(&Field::Currency);
        let mut arguments = vec![amount];
        arguments.extend(conditions);
        arguments.extend(currency.iter().flat_map(|currency| [currency.as_str(), "$B$1"]));
        self.call("SUMIFS", &arguments)
    }

    pub fn call(&self, function: &str, arguments: &[&str]) -> String {
        self.formulas.call(function, arguments)
    }

    pub fn place(&self, field: &Field) -> Option<u32> {
        self.layout.places.iter().find(|place| place.field == *field).map(|place| place.index)
    }

    pub fn column(&self, field: &Field) -> Option<String> {
        self.place(field).map(|at| self.formulas.column(at))
    }

    /// A formula rounded to the cent: cells are doubles, and a sum without its own parts must be zero.
    pub fn rounded(&self, sum: &str) -> Value {
        formula(&self.call("ROUND", &[sum, "2"]))
    }

    /// The column of the amounts; none where they are of several currencies and no column says of which.
    pub fn amounts(&self) -> Option<String> {
        self.column(&Field::Amount).filter(|_| !self.is_mixed || self.place(&Field::Currency).is_some())
    }
}

/// The value of a cell with a formula.
pub(super) fn formula(formula: &str) -> Value {
    json!({"formulaValue": format!("={formula}")})
}
