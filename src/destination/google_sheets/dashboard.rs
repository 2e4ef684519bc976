//! The tab with charts, made once and then the owner's: debit and credit by month, categories, counterparties, fees, the
//! balance over time, a pivot and a slicer.
//!
//! Pure. Everything is fed by formulas that refer to whole columns of the transactions' tab, so Sheets itself carries the
//! references along when the owner moves columns or renames the tab. Parts whose columns are not configured are left out.
//! Transfers between own accounts and rows the bank took back stand among the rows and are no part of any sum: their amounts
//! are taken off by a table beside the charts (`left_out`). Charts, pivots and slicers were never recorded; they rest on Google's description of its API.

use serde_json::{Value, json};

use super::balances::Balances;
use super::drawing::Drawing;
use super::entries::{Location, create_metadata};
use super::formulas::{Sums, formula, whole_column};
use super::layout::{Layout, letters};
use super::left_out::{self, LEFT_OUT_COLUMNS, LeftOutColumn, LeftOutTable};
use super::metadata::{DASHBOARD_KEY, DashboardNote};
use super::requests::{add_sheet, width};
use crate::destination::LeftOut;
use crate::destination::figures::Figure;
use crate::model::{Field, Language};

/// Months shown.
const MONTHS: usize = 24;
/// Categories shown; the others go together.
const CATEGORIES: usize = 20;
/// Counterparties shown.
const COUNTERPARTIES: usize = 12;
/// The part that the bank's words for a fee have in common. The word stands in a cell of the tab, so the owner may change it.
const FEE_WORD: &str = "такс";

/// Words that stand in more than one place, in English and in Bulgarian.
const DEBIT: [&str; 2] = ["Debit", "Дебит"];
const CREDIT: [&str; 2] = ["Credit", "Кредит"];
const COUNTERPARTY: [&str; 2] = ["Counterparty", "Контрагент"];

/// First rows of the parts, counted from 0.
const MONTHS_AT: usize = 3;
const CATEGORIES_AT: usize = 30;
const COUNTERPARTIES_AT: usize = 54;
const SLICER_AT: usize = 69;
const PIVOT_AT: usize = 72;
/// The column of the list of all categories, out of sight behind the charts.
const HELPER: usize = 20;
/// The first column of the left-out amounts.
const LEFT_OUT_AT: usize = HELPER + 3;
/// Rows of the tab at least.
const ROWS: u32 = 200;

/// The table of left-out amounts on a dashboard.
pub(super) fn left_out_table(sheet: i32, destination: &str) -> LeftOutTable {
    LeftOutTable::new(sheet, destination, MONTHS_AT as u32, LEFT_OUT_AT as u32)
}

/// Everything a dashboard is made from.
pub(super) struct DashboardPlan<'a> {
    pub drawing: Drawing,
    pub title: &'a str,
    /// The title that was configured.
    pub wanted: &'a str,
    pub destination: &'a str,
    pub layout: &'a Layout,
    pub sums: Sums<'a>,
    /// The tab of balances and its title.
    pub balances: Option<(&'a Balances, String)>,
    pub language: Language,
    pub currency: String,
    pub left_out: &'a [LeftOut],
    /// With pivot and slicer.
    pub whole: bool,
}

impl DashboardPlan<'_> {
    /// The requests of one all-or-nothing batch.
    pub fn requests(&self) -> Vec<Value> {
        let sheet = self.drawing.sheet;
        let table = &self.sums.table;
        let rows = table.grid(self.left_out).max(ROWS);
        let columns = (LEFT_OUT_AT + LEFT_OUT_COLUMNS.len()) as u32;
        let mut requests = vec![
            add_sheet(sheet, self.title, rows, columns, 0),
            self.drawing.cells(
                0,
                0,
                &[vec![
                    self.label(["Currency", "Валута"]),
                    text(&self.currency),
                    self.label(["A fee's type contains", "Видът на такса съдържа"]),
                    text(FEE_WORD),
                ]],
            ),
            self.drawing.cells(
                1,
                0,
                &[vec![self.label([
                    "bankfeed made this tab once. It is yours now: change or delete what you like.",
                    "bankfeed направи този лист веднъж. Сега е Ваш: променяйте и трийте каквото искате.",
                ])]],
            ),
            width(sheet, 0, 1, 240),
        ];
        self.leave_out(table, rows, &mut requests);
        self.months(&mut requests);
        self.categories(&mut requests);
        self.counterparties(&mut requests);
        if self.whole {
            self.slicer(&mut requests);
            self.pivot(&mut requests);
        }
        let made = DashboardNote { destination: self.destination.to_owned(), title: self.wanted.to_owned() };
        requests.push(create_metadata(DASHBOARD_KEY, &made, None, Location::Spreadsheet));
        requests
    }

    /// Adds the table of amounts that the sums leave out.
    fn leave_out(&self, table: &LeftOutTable, rows: u32, requests: &mut Vec<Value>) {
        let headers = LEFT_OUT_COLUMNS.map(|(_, _, en, bg)| text(if self.language == Language::En { en } else { bg }));
        let above = vec![text(left_out::title(self.language))];
        requests.push(self.drawing.cells(MONTHS_AT - 1, LEFT_OUT_AT, &[above, headers.to_vec()]));
        let mut cells = b"[".to_vec();
        table.cells(&mut cells, self.left_out);
        cells.pop();
        cells.push(b']');
        requests.extend(serde_json::from_slice::<Vec<Value>>(&cells).unwrap_or_default());
        let rows_below = (MONTHS_AT + 1, rows as usize);
        let place = |part: LeftOutColumn| table.column(part).unwrap_or_default() as usize;
        let (month, debit, credit) =
            (place(LeftOutColumn::Month), place(LeftOutColumn::Debit), place(LeftOutColumn::Credit));
        requests.push(self.drawing.format(rows_below, (month, month + 1), "DATE", "yyyy-mm"));
        requests.push(self.drawing.format(rows_below, (debit, credit + 1), "NUMBER", "#,##0.00"));
        requests.extend(table.notes(self.left_out, rows));
    }

    /// Debit, credit, fees and balance by month, and their charts.
    fn months(&self, requests: &mut Vec<Value>) {
        let (Some(date), Some(amount)) = (self.sums.column(&Field::Date), self.sums.amounts()) else {
            return;
        };
        let kind = self.sums.column(&Field::Type);
        let opening = self.opening();
        let mut headers = vec![self.label(["Month", "Месец"]), self.label(DEBIT), self.label(CREDIT)];
        headers.extend(kind.as_ref().map(|_| self.label(["Fees", "Такси"])));
        headers.extend(opening.as_ref().map(|_| self.label(["Balance", "Салдо"])));
        let mut rows = vec![headers];
        rows.extend((0..MONTHS).map(|at| self.month(at, &date, &amount, kind.as_deref(), opening.as_deref())));
        let width = rows[0].len();
        requests.push(self.drawing.cells(MONTHS_AT, 0, &rows));
        requests.push(self.drawing.bold(MONTHS_AT, width));
        let (top, bottom) = (MONTHS_AT + 1, MONTHS_AT + 1 + MONTHS);
        requests.push(self.drawing.format((top, bottom), (0, 1), "DATE", "yyyy-mm"));
        requests.push(self.drawing.format((top, bottom), (1, width), "NUMBER", "#,##0.00"));
        let series = |columns: &[usize]| -> Vec<(usize, usize, usize)> {
            columns.iter().map(|at| (MONTHS_AT, bottom, *at)).collect()
        };
        let chart = |kind, title, columns: &[usize], at| self.drawing.chart(kind, title, &series(columns), at);
        requests.push(chart(
            "COLUMN",
            self.text(["Debit and credit by month", "Дебит и кредит по месеци"]),
            &[1, 2],
            (MONTHS_AT, 6),
        ));
        let fees = kind.map(|_| 3);
        let balance = opening.map(|_| width - 1);
        requests.extend(balance.map(|at| {
            chart(
                "LINE",
                self.text(["Balance at the end of the month", "Салдо в края на месеца"]),
                &[at],
                (MONTHS_AT, 13),
            )
        }));
        requests
            .extend(fees.map(|at| chart("COLUMN", self.text(["Fees by month", "Такси по месеци"]), &[at], (21, 13))));
    }

    /// The row of a month, the first being the earliest.
    fn month(&self, at: usize, date: &str, amount: &str, kind: Option<&str>, opening: Option<&str>) -> Vec<Value> {
        let (sums, row) = (&self.sums, MONTHS_AT + 2 + at);
        let first_day = match at {
            0 => {
                let first = sums.call("DATE", &["YEAR(TODAY())", "MONTH(TODAY())", "1"]);
                sums.call("EDATE", &[&first, &format!("-{}", MONTHS - 1)])
            }
            _ => sums.call("EDATE", &[&format!("A{}", row - 1), "1"]),
        };
        let next = sums.call("EDATE", &[&format!("$A{row}"), "1"]);
        let (from, until) = (format!("\">=\"&$A{row}"), format!("\"<\"&{next}"));
        let days = [date, from.as_str(), date, until.as_str()];
        let sum = |more: &[&str]| sums.sum(amount, &[&days, more].concat());
        let month = sums.left(LeftOutColumn::Month);
        let within = [month.as_str(), from.as_str(), month.as_str(), until.as_str()];
        let left = |part: LeftOutColumn, more: &[&str]| sums.left_sum(part, &[&within, more].concat());
        let mut cells = vec![
            formula(&first_day),
            sums.rounded(&format!("-{}-{}", sum(&[amount, "\"<0\""]), left(LeftOutColumn::Debit, &[]))),
            sums.rounded(&format!("{}-{}", sum(&[amount, "\">0\""]), left(LeftOutColumn::Credit, &[]))),
        ];
        if let Some(kind) = kind {
            let fee = "\"*\"&$D$1&\"*\"";
            let (fees, kinds) = (sum(&[kind, fee, amount, "\"<0\""]), sums.left(LeftOutColumn::Type));
            cells.push(sums.rounded(&format!("-{fees}-{}", left(LeftOutColumn::Debit, &[&kinds, fee]))));
        }
        if let Some(opening) = opening {
            cells.push(formula(&format!("{opening}+{}", sums.sum(amount, &[date, &until]))));
        }
        cells
    }

    /// Debit and credit by category: names by formula, so that new ones appear by themselves.
    fn categories(&self, requests: &mut Vec<Value>) {
        let (Some(category), Some(amount)) = (self.sums.column(&Field::Category), self.sums.amounts()) else {
            return;
        };
        let (helper, first) = (letters(HELPER as u32), CATEGORIES_AT + 3);
        let last = first + CATEGORIES - 1;
        let named = self.sums.call("FILTER", &[&category, &format!("{category}<>\"\""), &format!("ROW({category})>1")]);
        let names = self.sums.call("IFERROR", &[&format!("SORT(UNIQUE({named}))"), "\"\""]);
        let list = [vec![self.label(["All categories", "Всички категории"])], vec![formula(&names)]];
        requests.push(self.drawing.cells(MONTHS_AT, HELPER, &list));
        let rest = |sign: &str, minus: &str, column: &str, part: LeftOutColumn| {
            let (all, left) = (self.sums.sum(&amount, &[&amount, sign]), self.sums.left_sum(part, &[]));
            self.sums.rounded(&format!("{minus}{all}-{left}-SUM({column}{first}:{column}{last})"))
        };
        let mut rows = vec![
            vec![self.label(["Category", "Категория"]), self.label(DEBIT), self.label(CREDIT)],
            vec![
                self.label(["(none or further ones)", "(без или други)"]),
                rest("\"<0\"", "-", "B", LeftOutColumn::Debit),
                rest("\">0\"", "", "C", LeftOutColumn::Credit),
            ],
        ];
        for at in 0..CATEGORIES {
            let row = first + at;
            // Behind an equals sign every name is only a name, one like `>5` too.
            let own = format!("\"=\"&$A{row}");
            let sum = |sign: &str| self.sums.sum(&amount, &[&category, &own, &amount, sign]);
            let left =
                |part: LeftOutColumn| self.sums.left_sum(part, &[&self.sums.left(LeftOutColumn::Category), &own]);
            let cents = |sum: String| self.sums.call("ROUND", &[&sum, "2"]);
            let filled = |sum: String| self.sums.call("IF", &[&format!("$A{row}=\"\""), "\"\"", &sum]);
            rows.push(vec![
                formula(&format!("{helper}{}&\"\"", MONTHS_AT + 2 + at)),
                formula(&filled(cents(format!("-{}-{}", sum("\"<0\""), left(LeftOutColumn::Debit))))),
                formula(&filled(cents(format!("{}-{}", sum("\">0\""), left(LeftOutColumn::Credit))))),
            ]);
        }
        requests.push(self.drawing.cells(CATEGORIES_AT, 0, &rows));
        requests.push(self.drawing.bold(CATEGORIES_AT, 3));
        let bottom = CATEGORIES_AT + 2 + CATEGORIES;
        requests.push(self.drawing.format((CATEGORIES_AT + 1, bottom), (1, 3), "NUMBER", "#,##0.00"));
        requests.push(self.drawing.chart(
            "BAR",
            self.text(["Debit by category", "Дебит по категории"]),
            &[(CATEGORIES_AT, bottom, 1)],
            (21, 6),
        ));
    }

    /// The counterparties that most money went to.
    fn counterparties(&self, requests: &mut Vec<Value>) {
        let columns = [Field::Counterparty, Field::Amount, Field::Currency].map(|field| self.sums.column(&field));
        let [Some(counterparty), Some(amount), Some(currency)] = &columns else {
            return;
        };
        let table = self.sums.call("HSTACK", &[counterparty, &format!("-{amount}"), currency]);
        let out = self.sums.call("FILTER", &[&table, &format!("ISNUMBER({amount})"), &format!("{amount}<0")]);
        let [party, debit, unit] = [LeftOutColumn::Counterparty, LeftOutColumn::Debit, LeftOutColumn::Currency]
            .map(|part| self.sums.left(part));
        let left = self.sums.call("HSTACK", &[&party, &format!("-{debit}"), &unit]);
        let left = self.sums.call("FILTER", &[&left, &format!("ISNUMBER({debit})")]);
        let all = self.sums.call("VSTACK", &[&out, &left]);
        let question = format!(
            "\"select Col1, sum(Col2) where Col1 <> '' and Col3 = '\"&$B$1&\"' group by Col1 label Col1 '{}', sum(Col2) '{}'\"",
            self.text(COUNTERPARTY),
            self.text(DEBIT)
        );
        let sums = self.sums.call("QUERY", &[&all, &question, "0"]);
        // Counterparties that got only transfers between own accounts are left with zero.
        let largest = format!("\"select Col1, Col2 where Col2 >= 0.005 order by Col2 desc limit {COUNTERPARTIES}\"");
        let query = self.sums.call("IFERROR", &[&self.sums.call("QUERY", &[&sums, &largest, "1"]), "\"\""]);
        requests.push(self.drawing.cells(COUNTERPARTIES_AT, 0, &[vec![formula(&query)]]));
        requests.push(self.drawing.bold(COUNTERPARTIES_AT, 2));
        let bottom = COUNTERPARTIES_AT + 1 + COUNTERPARTIES;
        requests.push(self.drawing.format((COUNTERPARTIES_AT + 1, bottom), (1, 2), "NUMBER", "#,##0.00"));
        requests.push(self.drawing.chart(
            "BAR",
            self.text(["Counterparties most money went to", "Контрагенти с най-много плащания"]),
            &[(COUNTERPARTIES_AT, bottom, 1)],
            (39, 6),
        ));
    }

    /// Picks accounts, for the pivot below it.
    fn slicer(&self, requests: &mut Vec<Value>) {
        let Some(account) = self.sums.place(&Field::Account) else {
            return;
        };
        let spec = json!({
            "dataRange": self.transactions(), "columnIndex": account, "title": self.text(["Account", "Сметка"]),
            "applyToPivotTables": true,
        });
        requests.push(json!({"addSlicer": {"slicer": {"spec": spec, "position": self.drawing.anchor(SLICER_AT, 0)}}}));
    }

    /// Money out by counterparty and month.
    fn pivot(&self, requests: &mut Vec<Value>) {
        let places = [Field::Counterparty, Field::Date, Field::Amount].map(|field| self.sums.place(&field));
        let [Some(counterparty), Some(date), Some(amount)] = places else {
            return;
        };
        if self.sums.amounts().is_none() {
            return;
        }
        let transfer = self.sums.place(&Field::Transfer);
        let only = |column: u32, kind: &str, value: &str| {
            let condition = json!({"type": kind, "values": [{"userEnteredValue": value}]});
            json!({"columnOffsetIndex": column, "filterCriteria": {"condition": condition}})
        };
        let mut filters = vec![only(amount, "NUMBER_LESS", "0")];
        filters.extend(self.sums.place(&Field::Currency).map(|currency| only(currency, "TEXT_EQ", &self.currency)));
        filters.extend(transfer.map(|transfer| {
            let condition = json!({"type": "BLANK"});
            json!({"columnOffsetIndex": transfer, "filterCriteria": {"condition": condition}})
        }));
        // A pivot sees rows alone: without a column that tells transfers the label says so.
        let label = if transfer.is_some() {
            self.text(COUNTERPARTY)
        } else {
            self.text(["Counterparty (own transfers included)", "Контрагент (с преводите между собствени сметки)"])
        };
        let pivot = json!({
            "source": self.transactions(),
            "rows": [{"sourceColumnOffset": counterparty, "showTotals": true, "sortOrder": "ASCENDING",
                      "valueBucket": {"valuesIndex": 0}, "label": label}],
            "columns": [{"sourceColumnOffset": date, "showTotals": true, "sortOrder": "ASCENDING",
                         "groupRule": {"dateTimeRule": {"type": "YEAR_MONTH"}}}],
            "values": [{"sourceColumnOffset": amount, "summarizeFunction": "SUM", "name": self.text(["Sum", "Сбор"])}],
            "valueLayout": "HORIZONTAL",
            "filterSpecs": filters,
        });
        let start = json!({"sheetId": self.drawing.sheet, "rowIndex": PIVOT_AT, "columnIndex": 0});
        requests.push(json!({"updateCells": {
            "start": start, "fields": "pivotTable", "rows": [{"values": [{"pivotTable": pivot}]}],
        }}));
    }

    /// The amount that all accounts in the chosen currency held before their first rows.
    fn opening(&self) -> Option<String> {
        let (balances, tab) = self.balances.as_ref()?;
        let column = |figure| balances.column(figure).map(|at| whole_column(tab, at));
        let (opening, currency) = (column(Figure::Opening)?, column(Figure::Currency)?);
        Some(self.sums.call("SUMIFS", &[&opening, &currency, "$B$1"]))
    }

    /// A text in the owner's language.
    fn text(&self, [english, bulgarian]: [&'static str; 2]) -> &'static str {
        if self.language == Language::En { english } else { bulgarian }
    }

    fn label(&self, words: [&'static str; 2]) -> Value {
        text(self.text(words))
    }

    /// The rows of the transactions, open below.
    fn transactions(&self) -> Value {
        let header = self.layout.header.unwrap_or_default();
        json!({"sheetId": self.layout.sheet, "startRowIndex": header, "startColumnIndex": 0,
               "endColumnIndex": self.layout.width()})
    }
}

fn text(text: &str) -> Value {
    json!({"stringValue": text})
}
