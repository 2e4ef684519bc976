//! The tab that proves the rows: per account the bank's balance, the sum of the rows by formula, and the difference.
//!
//! Pure: from how things stand, and where tab and columns are now, to the requests that write it. The tab is made once;
//! the owner may move and rename it, its columns and the transactions' columns. Values are written anew each time,
//! formulas only when what they refer to has moved: Sheets itself carries references along, and a formula once accepted
//! outlives a change of the spreadsheet's locale, while a new one would need other separators.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::cells::{VALUE_ONLY, push, runs, write_cell, write_string};
use super::entries::{Entry, Location, create_metadata};
use super::formulas::Formulas;
use super::layout::{Format, Layout, letters};
use super::requests::{add_sheet, label_cells, number_format, width};
use crate::destination::figures::{FIGURES, Figure, left_out, status_text, text, words};
use crate::destination::{AccountSummary, Summary};
use crate::model::{Field, Language};

/// Key of the metadata entry on the tab.
pub(super) const BALANCES_KEY: &str = "bankfeed.balances";
/// Key of the entries on its columns, its header row and its status row.
pub(super) const PART_KEY: &str = "bankfeed.balances.part";

/// Rows of the tab when it is made.
const NEW_ROWS: u32 = 100;
/// Columns for the owner beside ours.
const SPARE_COLUMNS: u32 = 3;

/// Value of the entry on the tab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TabState {
    /// The destination it belongs to.
    pub destination: String,
    /// The tab it was written on: a duplicated tab copies the entry, and is not ours.
    pub sheet: i32,
    /// Rows of accounts written last.
    #[serde(default)]
    pub rows: u32,
    /// Rows of the grid as far as we know.
    #[serde(default)]
    pub grid: u32,
    /// Fingerprint of what the formulas refer to.
    #[serde(default)]
    pub print: String,
    /// The day it was written last, and a fingerprint of what the owner had to do then.
    #[serde(default)]
    pub told: String,
    /// The tab says that the spreadsheet is nearly full.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nearly_full: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Value of the other entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartNote {
    destination: String,
    /// Key of a column, or `header` or `status` on rows.
    part: String,
}

/// The tab as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Balances {
    /// Id of the entry on the tab.
    pub entry: i32,
    /// The value of that entry.
    pub state: TabState,
    /// The title, where it is known.
    pub title: Option<String>,
    columns: Vec<(Figure, u32)>,
    header: Option<u32>,
    status: Option<u32>,
}

impl Balances {
    /// Finds the tab among entries of developer metadata.
    pub fn find(entries: &[Entry], destination: &str) -> Option<Balances> {
        let mut found = entries.iter().find_map(|entry| {
            let state: TabState = entry.note(BALANCES_KEY)?;
            let is_ours = state.destination == destination && entry.location == Location::Tab(state.sheet);
            is_ours.then(|| Balances { entry: entry.id, state, ..Balances::default() })
        })?;
        for entry in entries {
            let part: Option<PartNote> = entry.note(PART_KEY).filter(|part: &PartNote| part.destination == destination);
            let (Some(part), Some(at)) = (part, entry.position_on(found.state.sheet)) else { continue };
            match part.part.as_str() {
                "header" => found.header = Some(at),
                "status" => found.status = Some(at),
                key => found.columns.extend(Figure::by_key(key).map(|figure| (figure, at))),
            }
        }
        found.columns.sort_by_key(|(_, at)| *at);
        found.columns.dedup_by_key(|(figure, _)| *figure);
        Some(found)
    }

    /// The requests that make it, and where everything is then.
    pub fn create(sheet: i32, entry: i32, title: &str, destination: &str, language: Language) -> (Vec<Json>, Balances) {
        let count = FIGURES.len() as u32;
        let state = TabState { destination: destination.to_owned(), sheet, grid: NEW_ROWS, ..TabState::default() };
        let headers = FIGURES.map(|(_, _, en, bg)| if language == Language::En { en } else { bg });
        let mut requests = vec![
            add_sheet(sheet, title, NEW_ROWS, count + SPARE_COLUMNS, 2),
            label_cells(sheet, 1, 0, headers.into_iter()),
        ];
        for ((figure, ..), at) in FIGURES.iter().zip(0..) {
            requests.extend(format(*figure).map(|format| number_format(sheet, 2, at, at + 1, format)));
            requests.push(width(sheet, at, at + 1, width_of(*figure)));
        }
        requests.push(create_metadata(BALANCES_KEY, &state, Some(entry), Location::Tab(sheet)));
        let columns = FIGURES.iter().zip(0..).map(|((_, key, ..), at)| (*key, Location::Column(sheet, at)));
        let rows = [("status", Location::Row(sheet, 0)), ("header", Location::Row(sheet, 1))];
        for (part, location) in columns.chain(rows) {
            let part = PartNote { destination: destination.to_owned(), part: part.to_owned() };
            requests.push(create_metadata(PART_KEY, &part, None, location));
        }
        let columns = FIGURES.iter().zip(0..).map(|((figure, ..), at)| (*figure, at)).collect();
        let title = Some(title.to_owned());
        (requests, Balances { entry, state, title, columns, header: Some(1), status: Some(0) })
    }

    /// The column of a figure, unless the owner deleted it.
    pub fn column(&self, figure: Figure) -> Option<u32> {
        self.columns.iter().find(|(known, _)| *known == figure).map(|(_, at)| *at)
    }

    /// The first row of an account, counted from 0.
    fn first_row(&self) -> u32 {
        self.header.unwrap_or(1) + 1
    }
}

/// The day of a summary and a fingerprint of what the owner must do: the sheet itself remembers it, so that a lost store is
/// no reason to write the same again.
pub(super) fn told(summary: &Summary) -> String {
    format!("{} {:016x}", summary.at.date_naive(), xxh3_64(summary.attention.join("\0").as_bytes()))
}

/// The tab about to be written.
pub(super) struct BalancesPage<'a> {
    pub balances: &'a Balances,
    pub summary: &'a Summary,
    pub layout: &'a Layout,
    pub language: Language,
    /// The thing that the owner should do soon about the spreadsheet itself.
    pub warning: Option<String>,
}

impl BalancesPage<'_> {
    /// The state of the tab once it is written.
    pub fn next_state(&self) -> TabState {
        let (balances, rows) = (self.balances, self.summary.accounts.len() as u32);
        let needed = balances.first_row() + rows;
        let grid = if needed > balances.state.grid { needed + NEW_ROWS / 4 } else { balances.state.grid };
        let (print, told, nearly_full) = (self.print(), told(self.summary), self.warning.is_some());
        TabState { rows, grid, print, told, nearly_full, ..balances.state.clone() }
    }

    /// True where formulas have to be written.
    pub fn needs_formulas(&self) -> bool {
        self.print() != self.balances.state.print
    }

    /// The requests joined by commas. Formulas are left as they are where `formulas` is not given.
    pub fn requests(&self, formulas: Option<&Formulas>) -> Vec<u8> {
        let (balances, next) = (self.balances, self.next_state());
        let (sheet, mut out) = (balances.state.sheet, Vec::new());
        if next.grid > balances.state.grid {
            let length = next.grid - balances.state.grid;
            push(
                &mut out,
                format_args!(r#"{{"appendDimension":{{"sheetId":{sheet},"dimension":"ROWS","length":{length}}}}},"#),
            );
        }
        self.status(&mut out);
        let is_formula = |figure: Figure| matches!(figure, Figure::Sum | Figure::Difference);
        let written = balances.columns.iter().filter(|(figure, _)| formulas.is_some() || !is_formula(*figure));
        for (from, to) in runs(written.map(|(_, at)| *at)) {
            self.block(&mut out, from, to, formulas);
        }
        if next != balances.state {
            let entry = balances.entry;
            push(
                &mut out,
                format_args!(
                    r#"{{"updateDeveloperMetadata":{{"dataFilters":[{{"developerMetadataLookup":{{"metadataId":{entry}}}}}],"developerMetadata":{{"metadataValue":"#
                ),
            );
            write_string(&mut out, &serde_json::to_string(&next).unwrap_or_default());
            out.extend_from_slice(br#"},"fields":"metadataValue"}},"#);
        }
        out.pop();
        out
    }

    /// Fingerprint of everything that formulas depend on. With another fingerprint all formulas are written anew.
    fn print(&self) -> String {
        let kinds: Vec<(Option<String>, Option<String>)> =
            self.summary.accounts.iter().map(|account| (self.no_sum(account), self.no_difference(account))).collect();
        let own: Vec<u32> = [Figure::Account, Figure::Currency, Figure::Balance, Figure::Opening, Figure::Sum]
            .into_iter()
            .chain([Figure::TakenBack, Figure::Difference])
            .map(|figure| self.balances.column(figure).unwrap_or(u32::MAX))
            .collect();
        let theirs: Vec<Option<u32>> =
            [Field::Amount, Field::Account, Field::Currency].iter().map(|field| self.place(field)).collect();
        let sheet = self.layout.sheet;
        let text = format!("{kinds:?} {own:?} {theirs:?} {sheet} {}", self.balances.first_row());
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }

    fn place(&self, field: &Field) -> Option<u32> {
        self.layout.places.iter().find(|place| place.field == *field).map(|place| place.index)
    }

    fn status(&self, out: &mut Vec<u8>) {
        let (Some(row), Some((_, column))) = (self.balances.status, self.balances.columns.first()) else { return };
        let sheet = self.balances.state.sheet;
        push(
            out,
            format_args!(
                r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{row},"columnIndex":{column}}},"fields":"{VALUE_ONLY}","rows":[{{"values":["#
            ),
        );
        let well = status_text(self.language, self.summary);
        // First, where it is seen in a narrow column, and so with a capital.
        let status = match self.warning.as_deref().map(str::chars) {
            Some(mut rest) => rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect::<String>(),
            None => String::new(),
        };
        let status = if status.is_empty() { well } else { format!("{status}. {well}") };
        write_cell(out, &Field::Note, &text(status), false);
        out.extend_from_slice(b"]}]}},");
    }

    /// The cells of all accounts in neighbouring columns.
    fn block(&self, out: &mut Vec<u8>, from: u32, to: u32, formulas: Option<&Formulas>) {
        let (sheet, top) = (self.balances.state.sheet, self.balances.first_row());
        push(
            out,
            format_args!(
                r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{top},"columnIndex":{from}}},"fields":"{VALUE_ONLY}","rows":["#
            ),
        );
        let columns = || self.balances.columns.iter().filter(|(_, at)| (from..to).contains(at));
        let rows = self.summary.accounts.len().max(self.balances.state.rows as usize).max(1);
        for at in 0..rows {
            out.extend_from_slice(if at > 0 { b",{\"values\":[" } else { b"{\"values\":[" });
            for (figure, column) in columns() {
                if *column > from {
                    out.push(b',');
                }
                // Accounts that are no longer shown leave empty cells.
                match self.summary.accounts.get(at) {
                    None => out.extend_from_slice(b"{}"),
                    Some(account) => self.cell(out, *figure, account, top + at as u32 + 1, formulas),
                }
            }
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"]}},");
    }

    fn cell(&self, out: &mut Vec<u8>, figure: Figure, account: &AccountSummary, row: u32, formulas: Option<&Formulas>) {
        let formula = match (figure, formulas) {
            (Figure::Sum, Some(formulas)) => Some(self.sum(account, row, formulas)),
            (Figure::Difference, Some(formulas)) => Some(self.difference(account, row, formulas)),
            _ => None,
        };
        match formula {
            Some(Ok(formula)) => {
                out.extend_from_slice(br#"{"userEnteredValue":{"formulaValue":"#);
                write_string(out, &formula);
                out.extend_from_slice(b"}}");
            }
            Some(Err(why)) => write_cell(out, &Field::Note, &text(why), false),
            None => write_cell(out, &Field::Note, &figure.value(self.language, self.summary, account), false),
        }
    }

    /// The sum of the account's rows, whatever their order and wherever their columns.
    fn sum(&self, account: &AccountSummary, row: u32, formulas: &Formulas) -> Result<String, String> {
        if let Some(why) = self.no_sum(account) {
            return Err(why);
        }
        let column = |field: &Field| self.place(field).map(|at| formulas.column(at));
        let own = |figure: Figure| self.balances.column(figure).map(|at| format!("${}{row}", letters(at)));
        let mut arguments = vec![column(&Field::Amount), column(&Field::Account), own(Figure::Account)];
        if self.place(&Field::Currency).is_some() && self.balances.column(Figure::Currency).is_some() {
            arguments.extend([column(&Field::Currency), own(Figure::Currency)]);
        }
        let arguments: Vec<String> = arguments.into_iter().flatten().collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(format!("={}", formulas.call("SUMIFS", &arguments)))
    }

    fn difference(&self, account: &AccountSummary, row: u32, formulas: &Formulas) -> Result<String, String> {
        if let Some(why) = self.no_difference(account) {
            return Err(why);
        }
        let own = |figure: Figure, sign: &str| {
            self.balances.column(figure).map_or(String::new(), |at| format!("{sign}{}{row}", letters(at)))
        };
        let (balance, opening) = (own(Figure::Balance, ""), own(Figure::Opening, "-"));
        let (sum, back) = (own(Figure::Sum, "-"), own(Figure::TakenBack, "+"));
        // Cells are doubles: without rounding a difference of nothing shows as -0.00.
        Ok(format!("=ROUND({balance}{opening}{sum}{back}{}2)", formulas.separator))
    }

    /// The reason for a missing sum.
    fn no_sum(&self, account: &AccountSummary) -> Option<String> {
        let words = words(self.language);
        let missing = [Field::Amount, Field::Account].iter().any(|field| self.place(field).is_none());
        let mixed = account.mixed && self.place(&Field::Currency).is_none();
        (missing || mixed || self.balances.column(Figure::Account).is_none()).then(|| words.no_columns.to_owned())
    }

    /// The reason for a missing difference.
    fn no_difference(&self, account: &AccountSummary) -> Option<String> {
        let words = words(self.language);
        let missing =
            [Figure::Balance, Figure::Opening, Figure::Sum].iter().any(|one| self.balances.column(*one).is_none());
        if self.no_sum(account).is_some() || missing {
            return Some(words.no_columns.to_owned());
        }
        left_out(self.language, account)
    }
}

fn format(figure: Figure) -> Option<Format> {
    match figure {
        Figure::Balance | Figure::Opening | Figure::Sum | Figure::TakenBack | Figure::Difference => Some(Format::Money),
        Figure::First | Figure::Last => Some(Format::Date),
        Figure::LastSuccess | Figure::NextRun => Some(Format::Time),
        _ => None,
    }
}

/// Width of its column; IBANs, names and sentences need more than the usual hundred pixels.
fn width_of(figure: Figure) -> i32 {
    match figure {
        Figure::Account => 200,
        Figure::Remark => 420,
        Figure::Currency | Figure::Complete => 80,
        Figure::First | Figure::Last => 100,
        Figure::Name | Figure::Customer | Figure::TakenBack | Figure::LastSuccess | Figure::NextRun => 170,
        Figure::Balance | Figure::Opening | Figure::Sum | Figure::Difference => 120,
    }
}
