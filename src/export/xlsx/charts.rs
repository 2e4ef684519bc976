//! The charts of the workbook and their figures: debit, credit, fees and balance by month, debit by category and by
//! counterparty. Figures are gathered row by row and written as formulas with their results.

use chrono::{Datelike, Months, NaiveDate};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use rust_xlsxwriter::{Chart, ChartType, Format, Formula, Worksheet, XlsxError};
use std::collections::{BTreeMap, BTreeSet};

use super::{Sums, serial};
use crate::export::dump::Row;
use crate::figures::{Standing, standing};
use crate::model::{Field, is_in_bounds, plus, total};

/// Months shown, the latest ones.
const MOST_MONTHS: usize = 120;

/// Names shown, those with the largest sums.
const MOST_NAMES: usize = 15;

/// Letters of a name that a condition may hold.
const LONGEST_NAME: usize = 200;

/// The part that all names of fees at the bank have in common. The owner may change it in its cell.
const FEE_WORD: &str = "такс";

const SHEET: &str = "Figures";

/// Row of the headers of all tables, counted from 0.
const HEAD: u32 = 4;

/// First columns of the tables.
const OPENINGS: u16 = 6;
const CATEGORIES: u16 = 10;
const COUNTERPARTIES: u16 = 13;

/// The cell ranges of the columns of transactions.
pub(super) struct Ranges {
    pub date: String,
    pub amount: String,
    pub amount_eur: String,
    pub currency: String,
    pub debit: String,
    pub credit: String,
    pub transfer: String,
    pub kind: String,
    pub category: String,
    pub counterparty: String,
    pub taken_back: String,
}

/// Debit and credit in one unit: leva and euros are one, as on the page.
#[derive(Default)]
struct Flow {
    rows: u64,
    debit: Sums<NaiveDate>,
    credit: Sums<NaiveDate>,
    fees: Sums<NaiveDate>,
    categories: Sums<String>,
    counterparties: Sums<String>,
}

/// The balances of the accounts in one currency.
#[derive(Default)]
struct Held {
    /// Day of an account's first row and the balance before it.
    openings: BTreeMap<String, (NaiveDate, Decimal)>,
    /// Sums of all rows of a month, with transfers.
    moved: Sums<NaiveDate>,
}

/// Everything gathered.
#[derive(Default)]
pub(super) struct ChartFigures {
    flows: BTreeMap<String, Flow>,
    held: BTreeMap<String, Held>,
    /// Id of the first row with an amount that no sum can hold, and the number of such rows.
    impossible: Option<(String, u64)>,
}

/// A row as far as sums look at it.
struct Told<'a> {
    row: &'a Row,
    currency: &'a str,
    amount: Decimal,
    day: NaiveDate,
}

impl<'a> Told<'a> {
    fn of(row: &'a Row) -> Option<Told<'a>> {
        let text = |field| text(row, field);
        let (currency, amount) = (text(Field::Currency)?, text(Field::Amount)?.parse().ok()?);
        Some(Told { row, currency, amount, day: text(Field::Date)?.parse().ok()? })
    }

    fn decimal(&self, field: Field) -> Option<Decimal> {
        text(self.row, field)?.parse().ok()
    }

    fn name(&self, field: Field) -> String {
        text(self.row, field).unwrap_or_default().to_owned()
    }
}

fn text(row: &Row, field: Field) -> Option<&str> {
    let at = Field::all().position(|known| known == field)?;
    row.fields.get(at)?.as_deref()
}

fn add<K: Ord>(sums: &mut Sums<K>, key: K, amount: Decimal) {
    let sum = sums.entry(key).or_default();
    *sum = plus(*sum, amount);
}

impl ChartFigures {
    /// Counts a row in; oldest first.
    pub fn add(&mut self, row: &Row) {
        let Some(told) = Told::of(row) else { return };
        let standing = standing(row.vanished, text(row, Field::Transfer).is_some(), told.amount);
        if standing == Standing::TakenBack {
            return;
        }
        if !is_in_bounds(told.amount) {
            self.impossible.get_or_insert_with(|| (told.name(Field::Id), 0)).1 += 1;
            return;
        }
        self.held.entry(told.currency.to_owned()).or_default().add(&told);
        let (unit, amount) = match told.decimal(Field::AmountEur) {
            Some(euros) => ("EUR", euros),
            None => (told.currency, told.amount),
        };
        let flow = self.flows.entry(unit.to_owned()).or_default();
        flow.rows += 1;
        if standing == Standing::Counted {
            flow.add(&told, amount);
        }
    }

    /// A note on amounts that are in no sum; `None`: the sums hold all amounts.
    pub fn note(&self) -> Option<String> {
        let (first, count) = self.impossible.as_ref()?;
        let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        Some(format!(
            "the amount of {first}{more} has more than fifteen digits before the point: it is text in the workbook, and in no sum"
        ))
    }

    /// The sheet with the figures, and the one with the charts.
    pub fn sheets(&self, ranges: &Ranges, head: &Format, money: &Format) -> Result<(Worksheet, Worksheet), XlsxError> {
        let most = self.flows.iter().max_by_key(|(_, flow)| flow.rows);
        let currency = most.map_or("EUR", |(currency, _)| currency.as_str());
        let (nothing, none, mut sheet) = (Held::default(), Flow::default(), Worksheet::new());
        let flow = most.map_or(&none, |(_, flow)| flow);
        let held = self.held.get(currency).unwrap_or(&nothing);
        sheet.set_name(SHEET)?.set_landscape().set_print_fit_to_pages(1, 0);
        sheet.write_string_with_format(0, 0, "Currency", head)?.write_string(0, 1, currency)?;
        sheet.write_string_with_format(1, 0, "Fees have", head)?.write_string(1, 1, FEE_WORD)?;
        sheet.write_string(2, 0, "Formulas over the sheet Transactions, without transfers between own accounts. Currency and word may be changed.")?;
        let mut tables = Tables { sheet: &mut sheet, ranges, head, money };
        let openings = tables.openings(&self.held)?;
        let months = flow.months();
        tables.months(&months, flow, held, openings)?;
        let categories = tables.names(CATEGORIES, "Category", &ranges.category, &flow.categories)?;
        let counterparties =
            tables.names(COUNTERPARTIES, "Counterparty", &ranges.counterparty, &flow.counterparties)?;
        let months = u32::try_from(months.len()).unwrap_or_default();
        Ok((sheet, charts(currency, months, categories, counterparties)?))
    }
}

impl Flow {
    fn add(&mut self, told: &Told<'_>, amount: Decimal) {
        let month = first_of(told.day);
        if told.decimal(Field::Debit).is_none() {
            return add(&mut self.credit, month, amount);
        }
        let debit = amount.abs();
        add(&mut self.debit, month, debit);
        if text(told.row, Field::Type).is_some_and(|kind| kind.to_lowercase().contains(FEE_WORD)) {
            add(&mut self.fees, month, debit);
        }
        add(&mut self.categories, told.name(Field::Category), debit);
        add(&mut self.counterparties, told.name(Field::Counterparty), debit);
    }

    /// Every month from the first to the last, as far as they are shown.
    fn months(&self) -> Vec<NaiveDate> {
        let seen: BTreeSet<NaiveDate> = self.debit.keys().chain(self.credit.keys()).copied().collect();
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return Vec::new() };
        let mut months = vec![*last];
        while let Some(month) = months[months.len() - 1].checked_sub_months(Months::new(1)) {
            if month < *first || months.len() == MOST_MONTHS {
                break;
            }
            months.push(month);
        }
        months.reverse();
        months
    }
}

impl Held {
    fn add(&mut self, told: &Told<'_>) {
        add(&mut self.moved, first_of(told.day), told.amount);
        let before = told.decimal(Field::Balance).and_then(|balance| balance.checked_sub(told.amount));
        if let (Some(before), Some(account)) = (before, text(told.row, Field::Account)) {
            self.openings.entry(account.to_owned()).or_insert((told.day, before));
        }
    }

    /// The balance of all accounts together at the end of a month.
    fn balance(&self, month: NaiveDate) -> Decimal {
        let end = month.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        let openings = self.openings.values().filter(|(day, _)| *day < end).map(|(_, sum)| *sum);
        total(openings.chain(self.moved.range(..=month).map(|(_, sum)| *sum)))
    }
}

/// The tables being written.
struct Tables<'a> {
    sheet: &'a mut Worksheet,
    ranges: &'a Ranges,
    head: &'a Format,
    money: &'a Format,
}

impl Tables<'_> {
    /// Writes the balances of accounts before their first rows, in every currency. Returns their number.
    fn openings(&mut self, held: &BTreeMap<String, Held>) -> Result<u32, XlsxError> {
        self.heads(OPENINGS, &["Before", "Currency", "Balance"])?;
        let all = held.iter().flat_map(|(currency, held)| held.openings.values().map(move |found| (currency, *found)));
        let (mut at, date) = (HEAD, date_format());
        for (currency, (day, sum)) in all {
            at += 1;
            self.sheet.write_number_with_format(at, OPENINGS, serial(day), &date)?;
            self.sheet.write_string(at, OPENINGS + 1, currency)?;
            self.sheet.write_number_with_format(at, OPENINGS + 2, float(sum), self.money)?;
        }
        Ok(at - HEAD)
    }

    fn months(&mut self, months: &[NaiveDate], flow: &Flow, held: &Held, openings: u32) -> Result<(), XlsxError> {
        self.heads(0, &["Month", "Debit", "Credit", "Fees", "Balance"])?;
        self.sheet.set_column_width(0, 12)?;
        let format = Format::new().set_num_format("yyyy-mm");
        let last = HEAD + 1 + openings.max(1);
        let Ranges { date, amount, currency, kind, taken_back, .. } = self.ranges;
        for (at, month) in (HEAD + 1..).zip(months) {
            let cell = format!("$A{}", at + 1);
            self.sheet.write_number_with_format(at, 0, serial(*month), &format)?;
            let within = format!("{date},\">=\"&{cell},{date},\"<\"&EDATE({cell},1)");
            let of = |sums: &Sums<NaiveDate>| sums.get(month).copied().unwrap_or_default();
            self.formula(at, 1, &self.spent(&within), of(&flow.debit))?;
            self.formula(at, 2, &self.earned(&within), of(&flow.credit))?;
            self.formula(at, 3, &self.spent(&format!("{within},{kind},\"*\"&$B$2&\"*\"")), of(&flow.fees))?;
            let before = format!(
                "SUMIFS($I${0}:$I${last},$H${0}:$H${last},$B$1,$G${0}:$G${last},\"<\"&EDATE({cell},1))",
                HEAD + 2
            );
            let since = format!("SUMIFS({amount},{currency},$B$1,{taken_back},\"=\",{date},\"<\"&EDATE({cell},1))");
            self.formula(at, 4, &format!("{before}+{since}"), held.balance(*month))?;
        }
        Ok(())
    }

    /// The formula of debit under conditions, without rows taken back and without transfers. Debit in euros includes leva at
    /// the fixed rate.
    fn spent(&self, conditions: &str) -> String {
        let Ranges { amount_eur, debit, currency, taken_back, transfer, .. } = self.ranges;
        let counted = format!("{taken_back},\"=\",{transfer},\"=\",{conditions}");
        format!(
            "IF($B$1=\"EUR\",-SUMIFS({amount_eur},{amount_eur},\"<0\",{counted}),SUMIFS({debit},{currency},$B$1,{counted}))"
        )
    }

    /// The formula of credit under conditions, like that of debit.
    fn earned(&self, conditions: &str) -> String {
        let Ranges { amount_eur, credit, currency, taken_back, transfer, .. } = self.ranges;
        let counted = format!("{taken_back},\"=\",{transfer},\"=\",{conditions}");
        format!(
            "IF($B$1=\"EUR\",SUMIFS({amount_eur},{amount_eur},\">0\",{counted}),SUMIFS({credit},{currency},$B$1,{counted}))"
        )
    }

    /// The largest sums by name. Returns how many there are.
    fn names(&mut self, column: u16, head: &str, range: &str, sums: &Sums<String>) -> Result<u32, XlsxError> {
        self.heads(column, &[head, "Debit"])?;
        self.sheet.set_column_width(column, 30)?;
        let mut largest: Vec<(&String, &Decimal)> =
            sums.iter().filter(|(name, _)| name.chars().count() <= LONGEST_NAME).collect();
        largest.sort_by_key(|(name, sum)| (-**sum, (*name).clone()));
        largest.truncate(MOST_NAMES);
        let letter = super::letters(column.into());
        for (at, (name, sum)) in (HEAD + 1..).zip(&largest) {
            let shown = if name.is_empty() { "(none)" } else { name.as_str() };
            self.sheet.write_string(at, column, shown)?;
            // A name is compared as it stands, whatever signs are in it.
            let cell = format!("${letter}{}", at + 1);
            let condition = match name.is_empty() {
                true => "\"=\"".to_owned(),
                false => {
                    format!("\"=\"&SUBSTITUTE(SUBSTITUTE(SUBSTITUTE({cell},\"~\",\"~~\"),\"*\",\"~*\"),\"?\",\"~?\")")
                }
            };
            let formula = self.spent(&format!("{range},{condition}"));
            self.formula(at, column + 1, &formula, **sum)?;
        }
        Ok(u32::try_from(largest.len()).unwrap_or_default())
    }

    fn heads(&mut self, column: u16, heads: &[&str]) -> Result<(), XlsxError> {
        for (at, head) in (column..).zip(heads) {
            self.sheet.set_column_width(at, 14)?;
            self.sheet.write_string_with_format(HEAD, at, *head, self.head)?;
        }
        Ok(())
    }

    fn formula(&mut self, row: u32, column: u16, formula: &str, result: Decimal) -> Result<(), XlsxError> {
        let formula = Formula::new(format!("={formula}")).set_result(result.normalize().to_string());
        self.sheet.write_formula_with_format(row, column, formula, self.money)?;
        Ok(())
    }
}

/// The sheet with the charts, all fed by the figures.
fn charts(currency: &str, months: u32, categories: u32, counterparties: u32) -> Result<Worksheet, XlsxError> {
    let mut sheet = Worksheet::new();
    sheet.set_name("Dashboard")?.set_screen_gridlines(false).set_landscape().set_print_fit_to_pages(1, 1);
    let title = format!("Debit and credit by month, {currency}");
    sheet.insert_chart(0, 0, &chart(ChartType::Column, &title, 0, &[(1, "Debit"), (2, "Credit")], months))?;
    let title = format!("Balance at the end of the month, {currency}");
    sheet.insert_chart(0, 11, &chart(ChartType::Line, &title, 0, &[(4, "Balance")], months))?;
    let title = format!("Debit by category, {currency}");
    sheet.insert_chart(20, 0, &chart(ChartType::Bar, &title, CATEGORIES, &[(CATEGORIES + 1, "Debit")], categories))?;
    let title = format!("Debit by counterparty, {currency}");
    let series = [(COUNTERPARTIES + 1, "Debit")];
    sheet.insert_chart(20, 11, &chart(ChartType::Bar, &title, COUNTERPARTIES, &series, counterparties))?;
    let title = format!("Fees by month, {currency}");
    sheet.insert_chart(40, 0, &chart(ChartType::Column, &title, 0, &[(3, "Fees")], months))?;
    Ok(sheet)
}

fn chart(kind: ChartType, title: &str, names: u16, series: &[(u16, &str)], rows: u32) -> Chart {
    let mut chart = Chart::new(kind);
    chart.title().set_name(title);
    chart.set_width(700).set_height(380);
    let (first, last) = (HEAD + 1, HEAD + rows.max(1));
    for (column, name) in series {
        let added = chart.add_series().set_name(*name);
        added.set_categories((SHEET, first, names, last, names)).set_values((SHEET, first, *column, last, *column));
    }
    if series.len() == 1 {
        chart.legend().set_hidden();
    }
    if kind == ChartType::Bar {
        // The largest on top; names stand at the side here, amounts below.
        chart.y_axis().set_reverse();
        chart.x_axis().set_num_format("#,##0");
    } else {
        chart.x_axis().set_date_axis(false).set_text_axis(true).set_num_format("yyyy-mm");
        chart.y_axis().set_num_format("#,##0");
    }
    if kind == ChartType::Column {
        // Sums without their sign: a bar is as long as it is large.
        chart.y_axis().set_min(0);
    }
    chart
}

fn first_of(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

fn date_format() -> Format {
    Format::new().set_num_format("yyyy-mm-dd")
}

fn float(sum: Decimal) -> f64 {
    sum.to_f64().unwrap_or_default()
}
