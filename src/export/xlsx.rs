//! The store as an Excel workbook: a sheet of transactions, one of accounts, one of charts, and one of the figures the
//! charts show, all formulas over the transactions. No other module names `rust_xlsxwriter`.
//!
//! Cells are typed: dates are dates, amounts are numbers, and text is never a formula. Transactions go to a temporary file
//! as they come, so a large store needs little memory. Formulas carry their results, for programs that do not
//! calculate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::dump::{Account, Builder, Line, Row};
use crate::model::{Field, Language, is_in_bounds};

mod charts;
mod truncate;

use charts::{ChartFigures, Ranges};
use truncate::{Truncations, fitting};

/// Rows of a sheet, the header among them.
const MOST_ROWS: u32 = 1_048_576;

/// Excel counts days from here.
const EPOCH: NaiveDate = match NaiveDate::from_ymd_opt(1899, 12, 30) {
    Some(epoch) => epoch,
    None => NaiveDate::MIN,
};

const TRANSACTIONS: &str = "Transactions";

/// A workbook being filled.
pub struct WorkbookBuilder {
    workbook: Workbook,
    transactions: Worksheet,
    formats: Formats,
    /// The field of each column, with its position in a line of the dump.
    columns: Vec<(usize, Field)>,
    rows: u32,
    accounts: Vec<Account>,
    figures: ChartFigures,
    truncations: Truncations,
}

/// The formats of cells.
struct Formats {
    head: Format,
    date: Format,
    time: Format,
    money: Format,
    signed_money: Format,
}

impl WorkbookBuilder {
    /// An empty workbook.
    pub fn new() -> io::Result<WorkbookBuilder> {
        let mut workbook = Workbook::new();
        let transactions = workbook.new_worksheet_with_constant_memory().map_err(failed)?;
        let formats = Formats {
            head: Format::new().set_bold(),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            money: Format::new().set_num_format("#,##0.00"),
            signed_money: Format::new().set_num_format("[Color10]#,##0.00;[Red]-#,##0.00;#,##0.00"),
        };
        let all: Vec<Field> = Field::all().collect();
        let usual = Field::default_columns();
        let rest = all.iter().filter(|field| !usual.contains(field)).cloned();
        let ordered = usual.iter().cloned().chain(rest);
        let columns =
            ordered.filter_map(|field| Some((all.iter().position(|known| *known == field)?, field))).collect();
        let (figures, truncations) = (ChartFigures::default(), Truncations::default());
        let mut book = WorkbookBuilder {
            workbook,
            transactions,
            formats,
            columns,
            rows: 0,
            accounts: Vec::new(),
            figures,
            truncations,
        };
        book.begin().map_err(failed)?;
        Ok(book)
    }

    fn begin(&mut self) -> Result<(), XlsxError> {
        let taken_back = self.taken_back();
        let sheet = &mut self.transactions;
        sheet.set_name(TRANSACTIONS)?.set_freeze_panes(1, 0)?;
        for (at, (_, field)) in (0..).zip(&self.columns) {
            let width = match field {
                Field::Id => 9.0,
                Field::Description => 50.0,
                Field::Counterparty => 34.0,
                Field::Account | Field::CounterpartyAccount => 25.0,
                Field::Time => 19.0,
                _ => 13.0,
            };
            sheet.set_column_width(at, width)?;
            sheet.write_string_with_format(0, at, field.header(Language::En), &self.formats.head)?;
        }
        sheet.write_string_with_format(0, taken_back, "Taken back", &self.formats.head)?;
        Ok(())
    }

    /// The column that tells which rows the bank took back.
    fn taken_back(&self) -> u16 {
        u16::try_from(self.columns.len()).unwrap_or(u16::MAX)
    }

    fn add(&mut self, row: &Row) -> io::Result<()> {
        self.rows += 1;
        if self.rows >= MOST_ROWS {
            let why = "a sheet of Excel holds no more than 1,048,575 transactions; narrow them down with --since and --until, or use --format sqlite";
            return Err(io::Error::other(why));
        }
        self.write(row).map_err(failed)?;
        self.figures.add(row);
        Ok(())
    }

    fn write(&mut self, row: &Row) -> Result<(), XlsxError> {
        let (at_row, taken_back) = (self.rows, self.taken_back());
        let (sheet, formats) = (&mut self.transactions, &self.formats);
        for (at, (place, field)) in (0..).zip(&self.columns) {
            let Some(text) = row.fields.get(*place).and_then(Option::as_deref) else { continue };
            match typed(field, text) {
                Typed::Money(amount) => {
                    let is_signed = matches!(field, Field::Amount | Field::AmountEur);
                    let format = if is_signed { &formats.signed_money } else { &formats.money };
                    sheet.write_number_with_format(at_row, at, amount, format)?
                }
                Typed::Date(serial) => sheet.write_number_with_format(at_row, at, serial, &formats.date)?,
                Typed::Time(serial) => sheet.write_number_with_format(at_row, at, serial, &formats.time)?,
                Typed::Text(text) => {
                    let fitting = fitting(text);
                    if matches!(fitting, Cow::Owned(_)) {
                        self.truncations.add(id(row));
                    }
                    sheet.write_string(at_row, at, fitting)?
                }
            };
        }
        if row.vanished {
            sheet.write_string(at_row, taken_back, "yes")?;
        }
        Ok(())
    }

    /// A note on texts that were truncated and amounts that are in no sum; `None`: the workbook holds everything.
    pub fn note(&self) -> Option<String> {
        let notes: Vec<String> = [self.truncations.note(), self.figures.note()].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }

    /// Writes the workbook into this file.
    pub fn save(mut self, file: File) -> io::Result<()> {
        self.end().map_err(failed)?;
        self.workbook.save_to_writer(file).map_err(failed)
    }

    fn end(&mut self) -> Result<(), XlsxError> {
        let last = self.rows.max(1);
        self.transactions.autofilter(0, 0, last, self.taken_back())?;
        let place = |field: Field| {
            let at = self.columns.iter().position(|(_, known)| *known == field).unwrap_or_default();
            letters(at)
        };
        let range = |letter: String| format!("{TRANSACTIONS}!${letter}$2:${letter}${}", last + 1);
        let ranges = Ranges {
            date: range(place(Field::Date)),
            amount: range(place(Field::Amount)),
            currency: range(place(Field::Currency)),
            amount_eur: range(place(Field::AmountEur)),
            debit: range(place(Field::Debit)),
            credit: range(place(Field::Credit)),
            transfer: range(place(Field::Transfer)),
            kind: range(place(Field::Type)),
            category: range(place(Field::Category)),
            counterparty: range(place(Field::Counterparty)),
            taken_back: range(letters(self.columns.len())),
        };
        let (figures, charts) = self.figures.sheets(&ranges, &self.formats.head, &self.formats.money)?;
        let accounts = self.accounts_sheet()?;
        let transactions = std::mem::take(&mut self.transactions);
        [transactions, charts, figures, accounts].into_iter().for_each(|sheet| self.workbook.push_worksheet(sheet));
        Ok(())
    }

    fn accounts_sheet(&self) -> Result<Worksheet, XlsxError> {
        let mut sheet = Worksheet::new();
        sheet.set_name("Accounts")?.set_freeze_panes(1, 0)?;
        let heads = ["Account", "Account name", "Customer", "Currency", "Balance", "Complete", "Problem"];
        for (at, head) in (0..).zip(heads) {
            sheet.write_string_with_format(0, at, head, &self.formats.head)?;
            sheet.set_column_width(at, if at == 0 { 25.0 } else { 16.0 })?;
        }
        for (at, account) in (1..).zip(&self.accounts) {
            sheet.write_string(at, 0, &account.account)?;
            sheet.write_string(at, 1, fitting(&account.account_name))?;
            sheet.write_string(at, 2, fitting(&account.customer))?;
            sheet.write_string(at, 3, &account.currency)?;
            match account.balance.as_deref().map(|balance| (balance, money(balance))) {
                Some((_, Some(balance))) => sheet.write_number_with_format(at, 4, balance, &self.formats.money)?,
                Some((text, None)) => sheet.write_string(at, 4, text)?,
                None => &mut sheet,
            };
            sheet.write_string(at, 5, if account.complete { "yes" } else { "no" })?;
            sheet.write_string(at, 6, fitting(account.problem.as_deref().unwrap_or_default()))?;
        }
        Ok(sheet)
    }
}

impl Builder for WorkbookBuilder {
    fn take(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Fields(_) | Line::Destination(_) => Ok(()),
            Line::Account(account) => {
                self.accounts.push(account.clone());
                Ok(())
            }
            Line::Row(row) => self.add(row),
        }
    }
}

/// A cell by its type.
enum Typed<'a> {
    Money(f64),
    Date(f64),
    Time(f64),
    Text(&'a str),
}

fn typed<'a>(field: &Field, text: &'a str) -> Typed<'a> {
    let found = match field {
        Field::Amount | Field::Debit | Field::Credit | Field::AmountEur | Field::Balance => {
            money(text).map(Typed::Money)
        }
        Field::Date | Field::ValueDate => text.parse().ok().map(|day| Typed::Date(serial(day))),
        // A sheet has no time zones, so the time is that of the bank's clock.
        Field::Time => DateTime::parse_from_rfc3339(text).ok().map(|time| Typed::Time(instant(time.naive_local()))),
        _ => None,
    };
    found.unwrap_or(Typed::Text(text))
}

fn id(row: &Row) -> &str {
    let at = Field::all().position(|field| field == Field::Id);
    at.and_then(|at| row.fields.get(at)?.as_deref()).unwrap_or_default()
}

/// An amount as a number; `None`: the amount has more digits than a number holds and stays text.
fn money(text: &str) -> Option<f64> {
    text.parse::<Decimal>().ok().filter(|amount| is_in_bounds(*amount))?.to_f64()
}

fn serial(day: NaiveDate) -> f64 {
    f64::from(day.num_days_from_ce() - EPOCH.num_days_from_ce())
}

fn instant(time: NaiveDateTime) -> f64 {
    let seconds = time.signed_duration_since(time.date().and_time(chrono::NaiveTime::MIN)).num_seconds();
    serial(time.date()) + seconds as f64 / 86_400.0
}

/// The letters of a column: A to ZZ.
fn letters(at: usize) -> String {
    let letter = |at: usize| char::from(b'A' + u8::try_from(at % 26).unwrap_or_default());
    if at < 26 { letter(at).to_string() } else { format!("{}{}", letter(at / 26 - 1), letter(at)) }
}

fn failed(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Sums by a name or a month.
type Sums<K> = BTreeMap<K, Decimal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters_and_days_have_numbers() {
        assert_eq!([0, 25, 26, 51, 52].map(letters), ["A", "Z", "AA", "AZ", "BA"]);
        let day: NaiveDate = "2026-01-01".parse().unwrap();
        assert_eq!((serial(day), instant(day.and_hms_opt(12, 0, 0).unwrap())), (46_023.0, 46_023.5));
    }
}
