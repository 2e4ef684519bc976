//! CSV layouts: which column of a bank's export holds what. The owner's stand in `[[source.csv]]`; those that ship are written
//! in the same form, in `layouts.toml`, so that they can be copied and changed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer};

use super::Refusal;

/// A column: the text in the header, or a number counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// By its number.
    Number(usize),
    /// By its header.
    Name(String),
}

/// A column that says which way the money goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direction {
    /// The column.
    pub column: Column,
    /// The column's texts at money out.
    pub out: Vec<String>,
    /// The column's texts at money in.
    #[serde(rename = "in")]
    pub into: Vec<String>,
}

/// A layout, as it stands in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The owner's name for the layout.
    pub name: String,
    /// The layout ships with the program.
    #[serde(skip)]
    pub(super) ships: bool,
    /// Headers that a file has to have beside those of the columns below, where other layouts have the same columns.
    #[serde(default)]
    pub has: Vec<String>,
    /// The day of booking.
    pub date: Column,
    /// The form of the date; of several forms, the one that reads every row counts.
    #[serde(deserialize_with = "one_or_several")]
    pub date_format: Vec<String>,
    /// The amount; signed, unless `direction` says which way it goes.
    pub amount: Option<Column>,
    /// Money out.
    pub debit: Option<Column>,
    /// Money in.
    pub credit: Option<Column>,
    /// The column that says which way the money goes.
    pub direction: Option<Direction>,
    /// A fee that comes on top of the amount.
    pub fee: Option<Column>,
    /// Money out is positive.
    #[serde(default)]
    pub invert: bool,
    /// The decimal separator; default `.`.
    pub decimal: Option<char>,
    /// The separator of thousands; default none.
    pub thousands: Option<char>,
    /// The separator of columns; default: found out.
    pub delimiter: Option<char>,
    /// Files have a header; default yes.
    pub header: Option<bool>,
    /// Lines before the header.
    #[serde(default)]
    pub skip_lines: usize,
    /// The encoding of files that are not UTF-8.
    pub encoding: Option<String>,
    /// Only rows with one of these texts in a column are transactions.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// Rows with one of these texts in a column are no transactions.
    #[serde(default)]
    pub leave_out: BTreeMap<String, Vec<String>>,
    /// The day that counts for interest.
    pub value_date: Option<Column>,
    /// The form of the value date, where it differs from that of the date.
    pub value_date_format: Option<String>,
    /// The balance after the row.
    pub balance: Option<Column>,
    /// The currency of the row; or a currency itself, where all files of this layout have the same.
    pub currency: Option<Column>,
    /// The account of the row.
    pub account: Option<Column>,
    /// The other side.
    pub counterparty: Option<Column>,
    /// The other side of money in, where it has a column of its own.
    pub payer: Option<Column>,
    /// The other side of money out, where it has a column of its own.
    pub payee: Option<Column>,
    /// The other side's account.
    pub counterparty_account: Option<Column>,
    /// The payer's or payee's reference.
    pub reference: Option<Column>,
    /// The bank's permanent name for the transaction.
    pub id: Option<Column>,
    /// The kind of transaction.
    #[serde(rename = "type")]
    pub kind: Option<Column>,
    /// The remittance text: one column or several, joined.
    #[serde(default, deserialize_with = "one_or_several")]
    pub description: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral<T> {
    One(T),
    Several(Vec<T>),
}

fn one_or_several<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(match OneOrSeveral::deserialize(deserializer)? {
        OneOrSeveral::One(one) => vec![one],
        OneOrSeveral::Several(several) => several,
    })
}

#[derive(Deserialize)]
struct File {
    layout: Vec<Layout>,
}

/// The text of the layouts that ship.
pub const SHIPPED: &str = include_str!("layouts.toml");

/// The layouts that ship, in the order in which they are tried.
pub fn shipped() -> &'static [Layout] {
    static LAYOUTS: OnceLock<Vec<Layout>> = OnceLock::new();
    // A test reads the text: an empty list is never served.
    LAYOUTS.get_or_init(|| {
        let mut layouts = toml::from_str::<File>(SHIPPED).map(|file| file.layout).unwrap_or_default();
        layouts.iter_mut().for_each(|layout| layout.ships = true);
        layouts
    })
}

impl Layout {
    /// The mistake in the layout, for a configuration error.
    pub fn problem(&self) -> Option<String> {
        let amounts = (self.amount.is_some(), self.debit.is_some() || self.credit.is_some());
        let problem = match amounts {
            (false, false) => "`amount`, or `debit` and `credit`, is missing",
            (true, true) => "`amount` and `debit` or `credit` exclude each other",
            (false, true) if self.direction.is_some() => "`direction` goes with `amount`",
            _ if self.date_format.is_empty() => "`date_format` is missing",
            _ if self.decimal.is_some() && self.decimal == self.thousands => "`decimal` and `thousands` are the same",
            _ if self.delimiter.is_some_and(|delimiter| !delimiter.is_ascii()) => "`delimiter` is one plain character",
            _ => return self.unknown_encoding(),
        };
        Some(problem.to_owned())
    }

    fn unknown_encoding(&self) -> Option<String> {
        let name = self.encoding.as_deref()?;
        super::charset::by_name(name).is_none().then(|| format!("the encoding `{name}` is not known"))
    }

    /// Files of this layout have a header.
    pub(super) fn has_header(&self) -> bool {
        self.header.unwrap_or(true)
    }
}

/// The layouts to try, in order: the one that is asked for, else the owner's and then those that ship.
pub(super) fn candidates<'o>(own: &'o [Layout], asked: Option<&str>) -> Result<Vec<&'o Layout>, Refusal> {
    // Names of columns say more than the look of a few rows.
    let with_header = shipped().iter().filter(|layout| layout.has_header());
    let all = own.iter().chain(with_header).chain(shipped().iter().filter(|layout| !layout.has_header()));
    match asked {
        None => Ok(all.collect()),
        Some(name) => {
            let found: Vec<&Layout> = all.filter(|layout| layout.name == name).take(1).collect();
            match found.is_empty() {
                true => Err(Refusal::whole(format!("there is no layout `{name}`"))),
                false => Ok(found),
            }
        }
    }
}
