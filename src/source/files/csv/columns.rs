//! The places of a layout's columns in a file.

use std::fmt;

use super::super::layouts::{Column, Layout};
use super::records::plain;

/// The places of a layout's columns, counted from 0.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) date: usize,
    pub(super) amount: Option<usize>,
    pub(super) debit: Option<usize>,
    pub(super) credit: Option<usize>,
    pub(super) direction: Option<usize>,
    pub(super) fee: Option<usize>,
    pub(super) value_date: Option<usize>,
    pub(super) balance: Option<usize>,
    /// `None` also where the layout names the currency itself.
    pub(super) currency: Option<usize>,
    pub(super) account: Option<usize>,
    pub(super) counterparty: Option<usize>,
    pub(super) payer: Option<usize>,
    pub(super) payee: Option<usize>,
    pub(super) counterparty_account: Option<usize>,
    pub(super) reference: Option<usize>,
    pub(super) id: Option<usize>,
    pub(super) kind: Option<usize>,
    pub(super) description: Vec<usize>,
    /// Column and texts of `only`.
    pub(super) only: Vec<(usize, Vec<String>)>,
    /// Column and texts of `leave_out`.
    pub(super) leave_out: Vec<(usize, Vec<String>)>,
}

/// Headers of a layout that a record does not have.
pub(super) struct Missing {
    names: Vec<String>,
    of: usize,
}

impl Missing {
    /// Most columns are there: the bank has renamed some.
    pub(super) fn few(&self) -> bool {
        self.of >= 3 && self.names.len() * 2 < self.of
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        out.write_str(&names.join(", "))
    }
}

/// A header without blanks, case and the comma that some exports leave at the end of the line.
pub(super) fn key(header: &str) -> String {
    tidy(header).to_lowercase()
}

/// A header as it is shown.
pub(super) fn tidy(header: &str) -> String {
    let words: Vec<&str> = plain(header).trim_end_matches(',').split_whitespace().collect();
    words.join(" ")
}

impl Columns {
    /// The places by a record that may be the header; `keys` are its texts as headers are compared.
    pub(super) fn by_header(layout: &Layout, keys: &[String]) -> Result<Columns, Missing> {
        let mut missing = Missing { names: Vec::new(), of: 0 };
        for name in &layout.has {
            missing.of += 1;
            if !keys.contains(&key(name)) {
                missing.names.push(name.clone());
            }
        }
        let columns = Columns::place(layout, |column| {
            missing.of += 1;
            let found = match column {
                Column::Number(number) => number.checked_sub(1).filter(|at| *at < keys.len()),
                Column::Name(name) => {
                    let name = key(name);
                    keys.iter().position(|candidate| *candidate == name)
                }
            };
            if found.is_none() {
                missing.names.push(match column {
                    Column::Number(number) => format!("column {number}"),
                    Column::Name(name) => name.clone(),
                });
            }
            found
        });
        match columns {
            Some(columns) if missing.names.is_empty() => Ok(columns),
            _ => Err(missing),
        }
    }

    /// The places of a layout without a header.
    pub(super) fn by_number(layout: &Layout) -> Option<Columns> {
        let mut named = false;
        let columns = Columns::place(layout, |column| match column {
            Column::Number(number) => number.checked_sub(1),
            Column::Name(_) => {
                named = true;
                None
            }
        });
        columns.filter(|_| !named)
    }

    fn place(layout: &Layout, mut at: impl FnMut(&Column) -> Option<usize>) -> Option<Columns> {
        let date = at(&layout.date);
        let mut place = |column: &Option<Column>| column.as_ref().and_then(&mut at);
        let mut columns = Columns {
            date: date.unwrap_or_default(),
            amount: place(&layout.amount),
            debit: place(&layout.debit),
            credit: place(&layout.credit),
            direction: place(&layout.direction.as_ref().map(|direction| direction.column.clone())),
            fee: place(&layout.fee),
            value_date: place(&layout.value_date),
            balance: place(&layout.balance),
            currency: place(&layout.currency.clone().filter(|column| !is_currency(column))),
            account: place(&layout.account),
            counterparty: place(&layout.counterparty),
            payer: place(&layout.payer),
            payee: place(&layout.payee),
            counterparty_account: place(&layout.counterparty_account),
            reference: place(&layout.reference),
            id: place(&layout.id),
            kind: place(&layout.kind),
            ..Columns::default()
        };
        columns.description = layout.description.iter().filter_map(&mut at).collect();
        for (from, to) in [(&layout.only, &mut columns.only), (&layout.leave_out, &mut columns.leave_out)] {
            for (name, texts) in from {
                let column = match name.parse() {
                    Ok(number) => Column::Number(number),
                    Err(_) => Column::Name(name.clone()),
                };
                if let Some(place) = at(&column) {
                    to.push((place, texts.clone()));
                }
            }
        }
        date.map(|_| columns)
    }
}

/// The layout names a currency instead of a column.
fn is_currency(column: &Column) -> bool {
    matches!(column, Column::Name(name) if name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_uppercase()))
}
