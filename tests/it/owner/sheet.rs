//! The owner at work in the sheet, and the checks of the sheet after a cycle.

use std::collections::{BTreeMap, BTreeSet};

use bankfeed::destination::google_sheets::settings::Order;
use bankfeed::destination::policy::Vanished;
use bankfeed::simulator::google::{Area, CellValue, Copied, Location, Sheet, Spreadsheet};
use chrono::NaiveDate;

use super::bank::Said;
use super::life::{Life, bank};
use super::model::{Cells, Column, Spot};

/// Number of the owner's possible actions. Titles above the headers, cells filled in below and tables of Google's are
/// tried together with the other actions only if BANKFEED_OWNER_TABLES is set: about one such life in a hundred still
/// ends with a row below its table until the next new rows come, or with a cell out of its place.
fn repertoire() -> u8 {
    if std::env::var_os("BANKFEED_OWNER_TABLES").is_some() { 33 } else { 30 }
}

/// Fields whose cells are the owner's once they are written.
const OWNERS: [&str; 4] = ["category", "vendor", "tags", "note"];

/// The bank's value as a cell of the sheet holds it: dates and amounts are numbers.
pub fn words(said: &Said) -> String {
    match said {
        Said::Text(text) => text.clone(),
        Said::Date(date) => format!("#{}", serial(*date)),
        Said::Money(amount) => format!("#{:.2}", amount),
    }
}

fn serial(date: NaiveDate) -> String {
    let days = (date - NaiveDate::from_ymd_opt(1899, 12, 30).unwrap()).num_days();
    format!("{days}.00")
}

/// The tab with our rows, as its owner sees it.
pub struct View {
    title: String,
    tab: Sheet,
    /// Positions of our columns by field.
    places: BTreeMap<String, usize>,
    /// Columns of one field beyond the first.
    doubled: Vec<String>,
    /// The row with the headers.
    header: usize,
}

/// The tab with our rows: the one that the note on it names, else the duplicate that took its place.
fn ours(book: &Spreadsheet) -> Option<i64> {
    notes(book).into_iter().max_by_key(|(is_original, _)| *is_original).map(|(_, sheet)| sheet)
}

/// Tabs with a note of this kind, with true if the note names that very tab.
fn notes(book: &Spreadsheet) -> Vec<(bool, i64)> {
    let notes = book.metadata().iter().filter(|entry| entry.key == "bankfeed.tab").filter_map(|entry| {
        let note: serde_json::Value = serde_json::from_str(entry.value.as_deref().unwrap_or_default()).ok()?;
        let here = entry.location.sheet()?;
        Some((note["sheet"].as_i64() == Some(here), here))
    });
    notes.collect()
}

/// The owner's settings on the tab as a whole.
#[derive(Debug, PartialEq)]
pub struct Frame {
    title: String,
    hidden: bool,
    headers: Vec<String>,
    hidden_columns: Vec<usize>,
    filtered: bool,
    views: Vec<String>,
}

impl View {
    fn new(book: &Spreadsheet) -> Option<View> {
        let (mut places, mut doubled, tab) = (BTreeMap::new(), Vec::new(), ours(book)?);
        for entry in book.metadata().iter().filter(|entry| entry.key == "bankfeed.column") {
            let note: serde_json::Value = serde_json::from_str(entry.value.as_deref().unwrap_or_default()).unwrap();
            let Location::Column(_, index) = entry.location else { continue };
            if entry.location.sheet() != Some(tab) {
                continue;
            }
            let field = note["field"].as_str().unwrap().to_owned();
            if places.insert(field.clone(), index).is_some() {
                doubled.push(field);
            }
        }
        let header = book.metadata().iter().find_map(|entry| match entry.location {
            Location::Row(sheet, row) if entry.key == "bankfeed.header" && sheet == tab => Some(row),
            _ => None,
        });
        let tab = book.sheet(tab)?.clone();
        Some(View { title: tab.title.clone(), tab, places, doubled, header: header.unwrap_or_default() })
    }

    fn text(&self, row: usize, column: usize) -> String {
        show(self.tab.value(row, column))
    }

    fn id(&self, row: usize) -> Option<String> {
        let id = self.text(row, self.places["id"]);
        (row > self.header && id.starts_with("fibank:")).then_some(id)
    }

    fn column(&self, at: usize) -> Option<Column> {
        let field = self.places.iter().find(|(_, place)| **place == at).map(|(field, _)| bank(field));
        let own = || Some(self.text(self.header, at)).filter(|header| !header.is_empty()).map(Column::Own);
        field.or_else(own)
    }

    fn spot(&self, row: usize, column: usize) -> Option<Spot> {
        Some(Spot { beside: self.id(row), column: self.column(column)? })
    }

    fn frame(&self) -> Frame {
        let hidden = self.tab.columns.iter().filter(|(_, line)| line.hidden()).map(|(at, _)| *at);
        Frame {
            title: self.title.clone(),
            hidden: self.tab.hidden,
            headers: (0..self.tab.column_count).map(|at| self.text(self.header, at)).collect(),
            hidden_columns: hidden.collect(),
            filtered: self.tab.filter_area().is_some(),
            views: self.tab.filter_views.iter().map(|view| view.title().to_owned()).collect(),
        }
    }
}

/// The owner moves rows. The id of one that he deletes.
pub fn haste(book: &mut Spreadsheet, deed: u8, at: usize, to: usize) -> Option<String> {
    let view = View::new(book)?;
    let used = view.tab.used_rows();
    let top = view.header + 1;
    if used < top + 1 {
        return None;
    }
    let (tab, row, other) = (view.title.as_str(), top + at % (used - top), top + to % (used - top));
    match deed {
        0 => book.sort_from(tab, top, view.places["id"], at.is_multiple_of(2)),
        1 => book.sort_from(tab, top, to % view.tab.column_count, at.is_multiple_of(2)),
        2 => book.insert_row(tab, row),
        3 => book.move_row(tab, row, other),
        _ => {
            book.delete_row(tab, row);
            return view.id(row);
        }
    }
    None
}

fn show(cell: &CellValue) -> String {
    match cell {
        CellValue::Empty => String::new(),
        CellValue::Text(text) => text.clone(),
        CellValue::Number(number) => format!("#{number:.2}"),
        CellValue::Formula(formula) => formula.clone(),
        CellValue::Bool(value) => format!("{value}"),
    }
}

impl Life<'_> {
    fn view(&self) -> Option<View> {
        self.world.google.read(&self.world.spreadsheet, View::new)
    }

    pub fn frame(&self) -> Option<Frame> {
        self.view().map(|view| view.frame())
    }

    fn in_page(&self, what: String, change: impl FnOnce(&mut Spreadsheet)) {
        self.say(format!("owner: {what}"));
        self.world.google.edit(&self.world.spreadsheet, change);
    }

    pub fn owner_in_sheet(&mut self) {
        let Some(view) = self.view() else { return };
        let (tab, used, width) = (view.title.clone(), view.tab.used_rows(), view.tab.column_count);
        let header = view.header;
        let row = header + self.rng.usize(..used.saturating_sub(header).max(2));
        let (column, other) = (self.rng.usize(..width), self.rng.usize(..width));
        let fields: Vec<String> = view.places.keys().cloned().collect();
        let field = fields[self.rng.usize(..fields.len())].clone();
        let place = view.places[&field];
        let word = self.word();
        match self.rng.u8(..repertoire()) {
            // Content beside a row that is deleted by mistake is lost.
            14..16 | 21..27 if self.hasty => {}
            0..3 => {
                let down = self.rng.bool();
                self.in_page(format!("sorts by {column}, {down}"), |book| {
                    book.sort_from(&tab, header + 1, column, down);
                });
            }
            3..5 => {
                self.in_page(format!("moves column {column} to {other}"), |book| book.move_column(&tab, column, other));
            }
            5 => {
                // A new header, an empty one, or the name of another column.
                let name = [word, String::new(), view.text(header, view.places["id"])][self.rng.usize(..3)].clone();
                let cell = if name.is_empty() { CellValue::Empty } else { CellValue::Text(name.clone()) };
                self.in_page(format!("calls {field} `{name}`"), |book| book.set_cell(&tab, header, place, cell));
            }
            6..8 => self.in_page(format!("makes column `{word}` at {column}"), |book| {
                book.insert_column(&tab, column);
                book.set_cell(&tab, header, column, CellValue::Text(word.clone()));
            }),
            8 => self.in_page(format!("hides {field}"), |book| book.hide_column(&tab, place)),
            9 => {
                let hidden = self.rng.bool();
                self.in_page(format!("hides the tab: {hidden}"), |book| book.hide_tab(&tab, hidden));
            }
            10..13 => self.delete_row(&view, row),
            13 => match view.tab.filter_area() {
                Some(_) if row.is_multiple_of(2) => {
                    self.in_page("takes the filter off".into(), |book| book.clear_filter(&tab))
                }
                _ => {
                    self.in_page(format!("filters by {field}"), |book| book.set_filter(&tab, place, &["КАФЕ", "EUR"]));
                }
            },
            14..16 => self.write(&view, used + row % 6, column, &word),
            16 => {
                let row = row.max(header + 1);
                self.in_page(format!("inserts a row at {row}"), |book| book.insert_row(&tab, row));
            }
            30 => {
                self.sheet.write(Spot { beside: None, column: bank(&field) }, Some(&word));
                self.in_page(format!("writes `{word}` above the headers"), |book| {
                    book.insert_row(&tab, 0);
                    book.set_cell(&tab, 0, place, CellValue::Text(word.clone()));
                });
            }
            31 if !self.hasty => (0..4).for_each(|at| {
                let word = self.word();
                self.write(&view, used + at, column, &word);
            }),
            32 => self.convert(&view, used),
            17 => self.in_page(format!("calls the tab `{word}`"), |book| book.rename_tab(&tab, &word)),
            18 => self.delete_column(&view, column),
            19 => match row {
                0 => self.in_page("deletes the ledger".into(), |book| book.delete_metadata("bankfeed.ledger")),
                _ => self.in_page("tidies up the named ranges".into(), |book| {
                    let names: Vec<String> = book.named_ranges().iter().map(|range| range.name.clone()).collect();
                    names.iter().for_each(|name| book.delete_named_range(name));
                }),
            },
            20 if row % 3 == 2 => self.duplicate(&tab, column),
            20 => self.in_page("cuts the grid to what is used".into(), |book| book.trim(&tab)),
            21..24 => self.write(&view, row.max(header + 1), column, &word),
            24 => self.empty(&view, row.max(header + 1), column),
            25 => self.colour(&view, row.max(header + 1), column),
            26 => {
                let Some(spot) = view.spot(row.max(header + 1), column) else { return };
                let before = view.tab.cell(row.max(header + 1), column).and_then(|cell| cell.note().map(str::to_owned));
                before.map(|before| self.sheet.marks.remove(&before));
                self.sheet.marks.insert(word.clone(), spot);
                self.in_page(format!("notes `{word}` on {row} {column}"), |book| {
                    book.set_note(&tab, row.max(header + 1), column, &word);
                });
            }
            27 => self.view_or_not(&view, place, row),
            // Cells outside the filter stay in place: an owner who sorts so leaves his own words behind.
            28 => match view.tab.filter_area().filter(|area| (area.left, area.right) == (0, width)) {
                Some(_) => self.in_page(format!("sorts by {field} through the filter"), |book| {
                    book.sort_by_filter(&tab, place, row.is_multiple_of(2));
                }),
                None => self.in_page("takes the filter off".into(), |book| book.clear_filter(&tab)),
            },
            29 => {
                let area = Area { bottom: row.max(2), ..view.tab.whole() };
                self.in_page(format!("filters {} rows by {field}", area.bottom), |book| {
                    book.set_filter_over(&tab, area, place, &["КАФЕ", "EUR", "debit"]);
                });
            }
            _ => {}
        }
    }

    /// Makes a table of our columns, with types, or a plain range of it again.
    fn convert(&mut self, view: &View, used: usize) {
        let tab = view.title.as_str();
        if !view.tab.tables.is_empty() {
            return self.in_page("reverts the table".into(), |book| book.unmake_tables(tab));
        }
        let places = || view.places.values().copied();
        let (left, right) = (places().min().unwrap_or_default(), places().max().unwrap_or_default() + 1);
        let bottom = used.max(view.header + 2).min(view.tab.row_count);
        if bottom < view.header + 2 {
            return;
        }
        let area = Area { top: view.header, bottom, left, right, ..view.tab.whole() };
        let types: Vec<(usize, &str)> = view.places.get("reference").map(|at| (*at, "TEXT")).into_iter().collect();
        self.in_page(format!("makes a table of {area:?}"), |book| drop(book.make_table(tab, area, &types)));
    }

    /// Duplicates the tab, with its metadata or without, and may go on with the duplicate instead.
    fn duplicate(&mut self, tab: &str, column: usize) {
        let notes = self.world.google.read(&self.world.spreadsheet, notes);
        // A second one of a duplicate that has not been taken over would leave it open which is meant.
        let is_original = notes.iter().any(|(is_original, _)| *is_original);
        let copied = if column.is_multiple_of(2) && is_original { Copied::NewIds } else { Copied::No };
        let instead = copied == Copied::NewIds && notes.len() == 1 && column.is_multiple_of(4);
        self.in_page(format!("duplicates the tab, {copied:?}, goes on with it: {instead}"), |book| {
            book.duplicate_tab(tab, copied);
            if instead {
                book.delete_tab(tab);
            }
        });
    }

    /// Makes a filter view of one of three names, changes it, or deletes it.
    fn view_or_not(&mut self, view: &View, column: usize, row: usize) {
        let (tab, name) = (view.title.as_str(), ["само моето", "Само EUR", "x"][row % 3]);
        let whole = view.tab.whole();
        let part = Area { top: row / 2, bottom: row / 2 + 3, left: column, right: column + 1, ..whole };
        let area = if part.bottom <= whole.bottom && row.is_multiple_of(2) { part } else { whole };
        let is_there = view.tab.filter_views.iter().any(|view| view.title() == name);
        if is_there && column.is_multiple_of(2) {
            return self.in_page(format!("deletes the view {name}"), |book| book.delete_filter_view(tab, name));
        }
        self.in_page(format!("looks through {name} at {area:?}"), |book| {
            book.set_filter_view(tab, name, area, column, &["КАФЕ", "EUR"]);
        });
    }

    /// Writes a word into a cell without an owner's word: an earlier word there would be lost.
    fn write(&mut self, view: &View, row: usize, column: usize, word: &str) {
        let Some(spot) = view.spot(row, column).filter(|spot| spot.column != bank("id") || spot.beside.is_none())
        else {
            return;
        };
        self.sheet.words.remove(&view.text(row, column));
        let (word, cell) = match self.rng.u8(..4) {
            0 if spot.column != bank("id") => {
                let formula = format!("=\"{word}\"");
                (formula.clone(), CellValue::Formula(formula))
            }
            _ => (word.to_owned(), CellValue::Text(word.to_owned())),
        };
        self.sheet.write(spot.clone(), Some(&word));
        self.in_page(format!("writes `{word}` at {row} {column}: {spot:?}"), |book| {
            book.set_cell(&view.title, row, column, cell);
        });
    }

    fn empty(&mut self, view: &View, row: usize, column: usize) {
        let Some(spot) = view.spot(row, column).filter(|spot| spot.column != bank("id")) else { return };
        self.sheet.words.remove(&view.text(row, column));
        self.sheet.write(spot.clone(), None);
        self.in_page(format!("empties {row} {column}: {spot:?}"), |book| {
            book.set_cell(&view.title, row, column, CellValue::Empty);
        });
    }

    fn colour(&mut self, view: &View, row: usize, column: usize) {
        let Some(spot) = view.spot(row, column) else { return };
        // A row that is inserted takes over the look of its neighbour, as it does in the page.
        if self.order() == Order::NewestFirst {
            return;
        }
        if view.tab.cell(row, column).and_then(|cell| colour(cell.format()?)).is_some() {
            return;
        }
        self.words += 1;
        let shade = f64::from(self.words) / 10_000.0;
        self.sheet.marks.insert(shade.to_string(), spot.clone());
        self.in_page(format!("colours {row} {column} with {shade}: {spot:?}"), |book| {
            book.colour(&view.title, row, column, shade);
        });
    }

    fn delete_row(&mut self, view: &View, row: usize) {
        if row <= view.header {
            return;
        }
        for column in 0..view.tab.column_count {
            let Some(cell) = view.tab.cell(row, column) else { continue };
            let marks = [cell.note().map(str::to_owned), cell.format().and_then(colour)];
            marks.into_iter().flatten().for_each(|mark| drop(self.sheet.marks.remove(&mark)));
            self.sheet.words.remove(&show(&cell.value));
        }
        if let Some(id) = view.id(row) {
            self.sheet.delete(&id);
        }
        self.in_page(format!("deletes row {row}, {:?}", view.id(row)), |book| book.delete_row(&view.title, row));
    }

    fn delete_column(&mut self, view: &View, at: usize) {
        match view.column(at) {
            Some(Column::Bank(field)) if field == "id" || self.rng.bool() => return,
            Some(Column::Bank(field)) => self.sheet.rows.values_mut().for_each(|cells| drop(cells.remove(&field))),
            _ => {}
        }
        if let Some(column) = view.column(at) {
            self.sheet.forget_column(&column);
        }
        self.in_page(format!("deletes column {at}, {:?}", view.column(at)), |book| {
            book.delete_column(&view.title, at);
        });
    }

    /// Looks at everything in the tab.
    pub fn check_sheet(&mut self, before: Option<Frame>) -> Result<(), String> {
        let Some(view) = self.view() else {
            return if self.sheet.rows.is_empty() { Ok(()) } else { Err("there is no tab".into()) };
        };
        if !view.doubled.is_empty() {
            return Err(format!("columns doubled: {:?}", view.doubled));
        }
        if let Some(before) = before.filter(|before| *before != view.frame()) {
            return Err(format!("the tab was {before:?} and is {:?}", view.frame()));
        }
        self.attach(&view);
        self.check_rows(&view)?;
        self.check_order(&view)?;
        self.check_marks(&view)
    }

    /// Moves the owner's words below our rows to the rows that have come beside them since.
    fn attach(&mut self, view: &View) {
        for row in 0..view.tab.used_rows() {
            let Some(id) = view.id(row).filter(|id| self.sheet.fresh.contains(id)) else { continue };
            for column in 0..view.tab.column_count {
                let text = view.text(row, column);
                let is_loose =
                    self.sheet.words.get(&text).is_some_and(|spot| {
                        spot.beside.is_none() && Some(&spot.column) == view.column(column).as_ref()
                    });
                if !is_loose {
                    continue;
                }
                match view.column(column) {
                    Some(Column::Bank(field)) if OWNERS.contains(&field.as_str()) => {
                        self.sheet.words.remove(&text);
                        let cells = self.sheet.rows.get_mut(&id);
                        cells.map(|cells| cells.insert(field, text));
                    }
                    Some(column @ Column::Own(_)) => {
                        self.sheet.words.insert(text, Spot { beside: Some(id.clone()), column });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Checks that every cell is the header's, a bank's cell with the expected content, or the owner's in its place.
    fn check_rows(&self, view: &View) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut words = BTreeMap::new();
        for row in (0..view.tab.used_rows()).filter(|row| *row != view.header) {
            let id = view.id(row);
            let mut cells = Cells::new();
            for column in 0..view.tab.column_count {
                let text = view.text(row, column);
                let spot = view.spot(row, column);
                match (&id, spot) {
                    _ if text.is_empty() => {}
                    (Some(_), Some(Spot { column: Column::Bank(field), .. })) => drop(cells.insert(field, text)),
                    (_, Some(spot)) => {
                        if words.insert(text.clone(), spot).is_some() {
                            return Err(format!("`{text}` is there twice"));
                        }
                    }
                    (_, None) => return Err(format!("`{text}` stands at {row} {column} under no header")),
                }
            }
            let Some(id) = id else { continue };
            if !seen.insert(id.clone()) {
                return Err(format!("{id} is there twice"));
            }
            let wanted = self.sheet.rows.get(&id).ok_or_else(|| format!("{id} is there and should not be"))?;
            let wanted: Cells = wanted.iter().filter(|(key, _)| view.places.contains_key(*key)).map(owned).collect();
            if cells != wanted {
                return Err(format!("{id} is {cells:?} and should be {wanted:?}"));
            }
            self.check_formats(view, row, &id)?;
            self.check_strike(view, row, &id)?;
        }
        if let Some(id) = self.sheet.rows.keys().find(|id| !seen.contains(*id)) {
            return Err(format!("{id} is not there"));
        }
        match words == self.sheet.words {
            true => Ok(()),
            false => Err(format!("the owner's words are {words:?} and should be {:?}", self.sheet.words)),
        }
    }

    fn check_formats(&self, view: &View, row: usize, id: &str) -> Result<(), String> {
        for (field, kind) in [("date", "DATE"), ("value_date", "DATE"), ("amount", "NUMBER"), ("balance", "NUMBER")] {
            let Some(column) = view.places.get(field) else { continue };
            let format = view.tab.cell(row, *column).and_then(|cell| cell.number_format()).map(|(kind, _)| kind);
            if format != Some(kind) && matches!(view.tab.value(row, *column), CellValue::Number(_)) {
                return Err(format!("{field} of {id} in row {row} has the format {format:?}"));
            }
        }
        Ok(())
    }

    /// Checks that the rows taken back by the bank, and no others, are struck through.
    fn check_strike(&self, view: &View, row: usize, id: &str) -> Result<(), String> {
        let marks = self.engine.config.destinations[0].rows().vanished == Vanished::Mark;
        let wanted = marks && self.sheet.vanished.contains(id);
        for (field, column) in
            view.places.iter().filter(|(field, _)| ["date", "id", "balance"].contains(&field.as_str()))
        {
            let format = view.tab.cell(row, *column).and_then(|cell| cell.format());
            let struck = format.is_some_and(|format| format["textFormat"]["strikethrough"] == true);
            if struck != wanted {
                return Err(format!("{field} of {id} is struck through: {struck}"));
            }
        }
        Ok(())
    }

    /// Checks that new rows stand together: right below the last of ours and the owner's content in the same columns,
    /// or right under the headers; and inside the table that holds those.
    fn check_order(&self, view: &View) -> Result<(), String> {
        if !self.sheet.back.is_empty() || self.sheet.fresh.is_empty() || self.hasty {
            return Ok(());
        }
        let used = view.tab.used_rows();
        let at = |id: &String| (0..used).find(|row| view.id(*row).as_ref() == Some(id));
        let rows: BTreeSet<usize> = self.sheet.fresh.iter().filter_map(at).collect();
        let (first, last) = (*rows.first().unwrap(), *rows.last().unwrap());
        let is_used = |row: usize| {
            let bank = view.places.iter().filter(|(field, _)| !OWNERS.contains(&field.as_str()));
            bank.into_iter().any(|(_, at)| !view.text(row, *at).is_empty())
        };
        let before = (0..first).rev().find(|row| view.id(*row).is_some()).unwrap_or(view.header);
        let good = last - first + 1 == rows.len()
            && match self.order() {
                Order::NewestFirst => first == view.header + 1,
                Order::OldestFirst => {
                    (last + 1..used).all(|row| view.id(row).is_none()) && (before + 1..first).all(is_used)
                }
            };
        let covers = |column: &usize| view.tab.tables.iter().any(|table| table.area.contains(view.header, *column));
        let table = view.tab.tables.first().filter(|_| view.places.values().any(covers));
        if let Some(table) = table.filter(|table| last >= table.area.bottom) {
            return Err(format!("new rows are in rows {rows:?}, outside of {:?}", table.area));
        }
        if good { Ok(()) } else { Err(format!("new rows are in rows {rows:?}")) }
    }

    /// Notes and colours are where the owner put them. A row or column that he inserts takes over its neighbour's
    /// colours.
    fn check_marks(&self, view: &View) -> Result<(), String> {
        let mut marks = BTreeSet::new();
        for (row, line) in view.tab.rows.iter().enumerate().skip(view.header + 1) {
            for (column, cell) in line.cells.iter().enumerate() {
                let found = [cell.note().map(str::to_owned), cell.format().and_then(colour)];
                for mark in found.into_iter().flatten() {
                    marks.extend(view.spot(row, column).map(|spot| (mark, spot)));
                }
            }
        }
        // An empty row that was coloured may have become one of ours.
        let same = |spot: &Spot, found: &Spot| {
            spot.column == found.column && (spot.beside == found.beside || spot.beside.is_none())
        };
        let is_there = |mark: &String, spot: &Spot| marks.iter().any(|(other, at)| other == mark && same(spot, at));
        match self.sheet.marks.iter().find(|(mark, spot)| !is_there(mark, spot)) {
            None => Ok(()),
            Some(lost) => Err(format!("of notes and colours {lost:?} is not among {marks:?}")),
        }
    }
}

fn owned((key, cell): (&String, &String)) -> (String, String) {
    (key.clone(), cell.clone())
}

fn colour(format: &serde_json::Value) -> Option<String> {
    format["backgroundColor"]["red"].as_f64().map(|shade| shade.to_string())
}
