//! What has to be created before rows can be written: the tab, its header, our notes on tab and columns, the ledger.
//!
//! [`plan`] is pure: from what was found to the requests of one all-or-nothing batch and the layout it leads to. It is
//! safe to repeat after a lost answer, because the caller reads again first, and because a batch that arrives late runs
//! into the tab's id and title, or into its own guard.

use google_sheets4::api;

use super::errors::Names;
use super::layout::{COLUMN_KEY, ColumnNote, Found, HEADER_KEY, HeaderNote, Layout, Place, TAB_KEY, TabNote, letters};
use super::ledger::{Guards, LEDGER_KEY, Ledger};
use super::requests::{
    add_named_range, add_sheet, append_dimension, basic_filter, create, delete_named_range, dimension, freeze_header,
    header, insert_columns, number_format, on_sheet, update_note,
};
use crate::destination::policy::Column;
use crate::destination::readback::is_id;
use crate::model::{Field, Language};
use crate::remote::{Cause, Error};

/// What set-up needs to know of the spreadsheet.
pub(super) const BOOK_FIELDS: &str = "properties(title,locale),namedRanges(namedRangeId,name),sheets(properties(sheetId,title,gridProperties(rowCount,columnCount,frozenRowCount)),basicFilter.range,tables(tableId,range))";

/// Rows of a tab we create.
pub(super) const NEW_ROWS: u32 = 1_000;
/// Columns for the owner beside ours in a tab we create; every empty cell counts against the limit of 10 million.
pub(super) const SPARE_COLUMNS: u32 = 4;

/// Most rows at the top of a tab among which the one with the headers is looked for.
pub(super) const MOST_ABOVE: usize = 200;

/// Cells a spreadsheet may have.
const MOST_CELLS: u64 = 10_000_000;

/// Whether so little is left of the cells a spreadsheet may have that the owner should make room.
pub(super) fn is_nearly_full(cells: u64) -> bool {
    cells >= MOST_CELLS / 10 * 9
}

/// What to do about it. In per cent, so that it is news only now and then.
pub(super) fn fullness(cells: u64, language: Language) -> String {
    let part = cells * 100 / MOST_CELLS;
    match language {
        Language::En => format!(
            "the spreadsheet has {part} % of the {MOST_CELLS} cells that Google allows, empty ones included: delete empty rows, columns and tabs, or move older rows into another spreadsheet and set `since`; once it is full, new rows wait"
        ),
        Language::Bg => format!(
            "таблицата има {part} % от {MOST_CELLS} клетки, които Google допуска, заедно с празните: изтрийте празни редове, колони и листове или преместете по-стари редове в друга таблица и задайте `since`; щом се напълни, новите редове чакат"
        ),
    }
}

/// A tab of the spreadsheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tab {
    pub id: i32,
    pub title: String,
    pub rows: u32,
    pub columns: u32,
    pub filtered: bool,
    /// How many rows at its top are frozen.
    pub frozen: u32,
    /// It holds a table of Google's.
    pub has_tables: bool,
}

/// What the spreadsheet consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub title: String,
    /// Such as `bg_BG`.
    pub locale: String,
    pub tabs: Vec<Tab>,
    /// Named ranges: id and name.
    pub named: Vec<(String, String)>,
}

impl Book {
    /// From the API's answer to [`BOOK_FIELDS`].
    pub fn read(answer: api::Spreadsheet) -> Book {
        let tabs = answer.sheets.unwrap_or_default().into_iter().filter_map(|sheet| {
            let properties = sheet.properties?;
            // Tabs that are a single chart have no grid.
            let grid = properties.grid_properties?;
            Some(Tab {
                id: properties.sheet_id.unwrap_or(0),
                title: properties.title.unwrap_or_default(),
                rows: grid.row_count.unwrap_or(0).max(0) as u32,
                columns: grid.column_count.unwrap_or(0).max(0) as u32,
                filtered: sheet.basic_filter.is_some(),
                frozen: grid.frozen_row_count.unwrap_or(0).max(0) as u32,
                has_tables: sheet.tables.is_some_and(|tables| !tables.is_empty()),
            })
        });
        let named = answer.named_ranges.unwrap_or_default().into_iter();
        let properties = answer.properties.unwrap_or_default();
        Book {
            title: properties.title.unwrap_or_default(),
            locale: properties.locale.unwrap_or_default(),
            tabs: tabs.collect(),
            named: named.filter_map(|range| Some((range.named_range_id?, range.name?))).collect(),
        }
    }

    /// How many cells there are; empty ones count.
    pub fn cells(&self) -> u64 {
        self.tabs.iter().map(|tab| u64::from(tab.rows) * u64::from(tab.columns)).sum()
    }

    /// A title for a tab of ours that no other tab has.
    pub fn free_title(&self, title: &str, destination: &str) -> String {
        let taken = |title: &String| self.tabs.iter().any(|tab| tab.title.to_lowercase() == title.to_lowercase());
        let numbered = (2..).map(|n| format!("{title} ({destination} {n})"));
        let mut titles = [title.to_owned(), format!("{title} ({destination})")].into_iter().chain(numbered);
        titles.find(|title| !taken(title)).unwrap_or_else(|| title.to_owned())
    }

    /// An id for a tab that no other tab has: the same for the same seed.
    pub fn free_id(&self, seed: &str) -> i32 {
        let mut id = (xxhash_rust::xxh3::xxh3_64(seed.as_bytes()) & 0x7fff_ffff) as i32;
        while self.tabs.iter().any(|tab| tab.id == id) {
            id = id.wrapping_add(1) & 0x7fff_ffff;
        }
        id
    }

    /// Our tab: where our note is, unless another title is configured since; else the one with the configured title; else,
    /// where the owner went on with a duplicate and deleted what it was made from, that one.
    pub fn ours(&self, found: &Found, title: &str) -> Option<&Tab> {
        let note = found.tab.as_ref().filter(|(_, note)| note.title == title);
        let noted = note.and_then(|(_, note)| self.tabs.iter().find(|tab| tab.id == note.sheet));
        let same = || self.tabs.iter().find(|tab| tab.title == title);
        // Google does not tell titles apart by case alone.
        let alike = || self.tabs.iter().find(|tab| tab.title.to_lowercase() == title.to_lowercase());
        let duplicate = || match self.duplicates(found, title)[..] {
            [one] => Some(one),
            _ => None,
        };
        noted.or_else(same).or_else(alike).or_else(duplicate)
    }

    /// Duplicates of the tab that was ours under this title.
    fn duplicates(&self, found: &Found, title: &str) -> Vec<&Tab> {
        let is_copy = |tab: &&Tab| found.copies.iter().any(|(_, here, note)| *here == tab.id && note.title == title);
        self.tabs.iter().filter(is_copy).collect()
    }
}

/// Everything a plan is made from.
pub(super) struct Wanted<'a> {
    pub names: &'a Names,
    pub guards: &'a Guards,
    pub title: &'a str,
    pub columns: &'a [Column],
    /// A number no later batch may have: what was known of the ledger should it be lost.
    pub floor: u64,
    /// How often this was refused already; ids that may stand in the way are then chosen anew.
    pub attempt: u32,
}

/// What to send and where it leads.
#[derive(Debug)]
pub(super) struct Plan {
    pub requests: Vec<api::Request>,
    pub layout: Layout,
    pub ledger: Ledger,
    pub ledger_entry: i32,
    /// Fields whose columns the owner has deleted.
    pub gone: Vec<String>,
    /// Keys of fields set by rules whose columns come late: rows are there already.
    pub unfilled: Vec<String>,
    /// The id column is made again below which rows have stood.
    pub id_again: bool,
    /// The tab is made again in which rows have stood.
    pub tab_again: bool,
    /// For people: what will be created.
    pub news: Vec<String>,
}

/// Values of our tab: all of them, or, where our columns are known, those of the row with the headers (or, where that is
/// not, of the rows among which it must be).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Top<'a> {
    /// Where they begin.
    pub first: u32,
    pub cells: &'a [Vec<serde_json::Value>],
}

/// Plans what is missing.
pub(super) fn plan(wanted: &Wanted<'_>, found: &Found, book: &Book, top: Top<'_>) -> Result<Plan, Error> {
    match book.ours(found, wanted.title) {
        None => match &book.duplicates(found, wanted.title)[..] {
            [] => Ok(new_tab(wanted, found, book)),
            many => {
                let titles: Vec<String> = many.iter().map(|tab| format!("`{}`", tab.title)).collect();
                let (title, titles) = (wanted.title, titles.join(", "));
                let what = format!(
                    "the tab `{title}` was deleted and has several duplicates ({titles}): rename the one to go on with to `{title}`"
                );
                Err(Error::attention(Cause::Layout, wanted.names.say(what)))
            }
        },
        Some(tab) => Draft::new(wanted, found, book, tab, top).finish(),
    }
}

fn new_tab(wanted: &Wanted<'_>, found: &Found, book: &Book) -> Plan {
    // The id depends on the ledger, so that a tab made anew after the owner deleted one gets another id; and two
    // deliveries of this very batch ask for the same id, of which Google grants one.
    let seq = found.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq);
    let seed = format!("{}\0{seq}\0{}", wanted.guards.name(0), wanted.attempt);
    let sheet = book.free_id(&seed);
    let count = wanted.columns.len() as u32;
    let mut requests = vec![add_sheet(sheet, wanted.title, NEW_ROWS, count + SPARE_COLUMNS, 1)];
    let places: Vec<Place> =
        (0..count).zip(wanted.columns).map(|(index, column)| Place { field: column.field.clone(), index }).collect();
    let mut layout = Layout::new(sheet, places.clone(), None);
    (layout.header, layout.first_blank, layout.fresh) = (Some(0), Some(1), true);
    requests.push(header(sheet, 0, 0, wanted.columns.iter()));
    requests.extend(layout.formats().into_iter().map(|(from, to, format)| number_format(sheet, 1, from, to, format)));
    requests.push(basic_filter(sheet));
    requests.extend(places.iter().map(|place| column_note(wanted, sheet, place)));
    requests.push(header_note(wanted, sheet, 0));
    let fields = places.iter().map(|place| place.field.key().into_owned()).collect();
    requests.push(create(TAB_KEY, &tab_note(wanted, sheet, fields), None, on_sheet(sheet)));
    let (ledger, entry, creating) = ledger(wanted, found, book);
    requests.extend(creating);
    let news = vec![format!("tab `{}` will be created with {count} columns", wanted.title)];
    // A note on another tab means that another title is configured since.
    let tab_again = found.tab.is_none() && ledger.rows > 0;
    let (gone, unfilled, id_again) = (Vec::new(), Vec::new(), false);
    Plan { requests, layout, ledger, ledger_entry: entry, gone, unfilled, id_again, tab_again, news }
}

/// The ledger there is, or the request for one.
fn ledger(wanted: &Wanted<'_>, found: &Found, book: &Book) -> (Ledger, i32, Option<api::Request>) {
    if let Some((entry, ledger)) = &found.ledger {
        return (ledger.clone(), *entry, None);
    }
    // A lost ledger must not bring used numbers back: guards that still stand, and our own memory, know the highest.
    let standing = book.named.iter().filter_map(|(_, name)| wanted.guards.number(name)).max().unwrap_or(0);
    // In a copy of a spreadsheet stand the rows that were written into the one it was made from.
    let former = found.former.clone().unwrap_or_default();
    let ledger = Ledger {
        spreadsheet: wanted.names.spreadsheet.clone(),
        destination: wanted.names.destination.clone(),
        seq: standing.max(wanted.floor),
        rows: former.rows,
        ids: former.ids,
        through: former.through,
        ..Ledger::default()
    };
    let entry = wanted.guards.metadata_id() + wanted.attempt as i32;
    let place = api::DeveloperMetadataLocation { spreadsheet: Some(true), ..Default::default() };
    let creating = create(LEDGER_KEY, &ledger.to_json(), Some(entry), place);
    (ledger, entry, Some(creating))
}

/// Work on a tab that exists.
struct Draft<'a> {
    wanted: &'a Wanted<'a>,
    found: &'a Found,
    book: &'a Book,
    tab: &'a Tab,
    top: Top<'a>,
    /// The row that holds the headers.
    header: Option<u32>,
    /// Columns that are ours by their notes.
    kept: Vec<Place>,
    /// Columns that become ours by their header.
    matched: Vec<Place>,
    /// Columns to create.
    missing: Vec<&'a Column>,
    gone: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(wanted: &'a Wanted<'a>, found: &'a Found, book: &'a Book, tab: &'a Tab, top: Top<'a>) -> Draft<'a> {
        let kept = wanted.columns.iter().filter_map(|column| {
            let bound = found.column(tab.id, &column.field)?;
            Some(Place { field: column.field.clone(), index: bound.index })
        });
        let kept = kept.collect();
        let mut draft =
            Draft { wanted, found, book, tab, top, header: None, kept, matched: vec![], missing: vec![], gone: vec![] };
        draft.header = draft.find_header();
        draft
    }

    /// The row that holds the headers: the one with our note, else the one above all ids that names the id or else most of
    /// our fields, else the last that is frozen, else the first.
    fn find_header(&self) -> Option<u32> {
        if let Some(known) = self.found.header(self.tab.id) {
            return Some(known);
        }
        let has_id = |row: &Vec<serde_json::Value>| row.iter().any(|cell| cell.as_str().is_some_and(is_id));
        let above = self.top.cells.iter().position(has_id);
        let candidates = &self.top.cells[..above.unwrap_or(self.top.cells.len()).min(MOST_ABOVE)];
        let frozen = |row: u32| row + 1 == self.tab.frozen;
        let scores = (self.top.first..).zip(candidates).map(|(row, cells)| (self.fields_named_in(cells), row));
        // Of several alike the frozen one, else the topmost.
        let best = scores.max_by_key(|(score, row)| (*score, frozen(*row), std::cmp::Reverse(*row)));
        if let Some((_, row)) = best.filter(|((_, score), _)| *score > 0) {
            return Some(row);
        }
        let has_text = |row: u32| {
            let cells = row.checked_sub(self.top.first).and_then(|at| candidates.get(at as usize));
            cells.is_some_and(|cells| !cells.iter().all(is_blank))
        };
        let last_frozen = self.tab.frozen.checked_sub(1).filter(|row| has_text(*row));
        match above {
            Some(0) => None,
            Some(above) if last_frozen.is_none() => Some(self.top.first + above as u32 - 1),
            _ => last_frozen.or(Some(self.top.first)),
        }
    }

    /// Whether a row's cells name the id, and how many of our fields they name.
    fn fields_named_in(&self, cells: &[serde_json::Value]) -> (bool, usize) {
        let headers: Vec<String> = cells.iter().map(normal).filter(|header| !header.is_empty()).collect();
        let is_named = |column: &&Column| headers.iter().any(|header| self.names(&column.field, header));
        let names_id = headers.iter().any(|header| self.names(&Field::Id, header));
        (names_id, self.wanted.columns.iter().filter(is_named).count())
    }

    /// The row with the headers; where the owner has deleted it, the first.
    fn header_row(&self) -> u32 {
        self.header.unwrap_or_default()
    }

    fn header_cells(&self) -> &'a [serde_json::Value] {
        let at = self.header_row().checked_sub(self.top.first);
        at.and_then(|at| self.top.cells.get(at as usize)).map_or(&[][..], Vec::as_slice)
    }

    fn finish(mut self) -> Result<Plan, Error> {
        let empty = self.kept.is_empty() && self.top.cells.iter().flatten().all(is_blank);
        if !empty {
            self.check_header()?;
            self.match_by_header()?;
        }
        for column in self.wanted.columns {
            let known = |places: &[Place]| places.iter().any(|place| place.field == column.field);
            if known(&self.kept) || known(&self.matched) {
                continue;
            }
            if column.field != Field::Id && self.created_before(&column.field) {
                self.gone.push(column.field.key().into_owned());
            } else {
                self.missing.push(column);
            }
        }
        Ok(self.plan(empty))
    }

    fn created_before(&self, field: &Field) -> bool {
        let note = self.found.note_on(self.tab.id);
        note.is_some_and(|(_, note)| note.fields.iter().any(|known| *known == field.key()))
    }

    fn headers(&self) -> impl Iterator<Item = (u32, String)> {
        (0..).zip(self.header_cells()).map(|(index, cell)| (index, normal(cell)))
    }

    fn check_header(&self) -> Result<(), Error> {
        let by_note = self.kept.iter().any(|place| place.field == Field::Id);
        if self.kept.is_empty() && self.headers().all(|(_, header)| header.is_empty()) {
            return Err(self.trouble("has rows but no header in its first row: write one, or configure another tab"));
        }
        let ids: Vec<u32> =
            self.headers().filter(|(_, header)| self.names(&Field::Id, header)).map(|(index, _)| index).collect();
        if by_note || ids.len() == 1 {
            return Ok(());
        }
        let header = self.id_header();
        if let [first, second, ..] = ids[..] {
            let (first, second) = (letters(first), letters(second));
            return Err(self.trouble(&format!("has two columns headed `{header}` ({first} and {second}): rename one")));
        }
        let width = self.top.cells.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let nameless = (0..width).find(|index| self.is_nameless_id(*index));
        match nameless {
            None => Ok(()),
            Some(index) => Err(self.trouble(&format!(
                "has ids in column {} but no header above them: write `{header}` there",
                letters(index)
            ))),
        }
    }

    /// Whether a column without a header holds what looks like our ids. A second id column beside it would make every
    /// row in the tab look unknown.
    fn is_nameless_id(&self, index: u32) -> bool {
        let cell = |row: &'a Vec<serde_json::Value>| row.get(index as usize);
        let is_id = |value: &serde_json::Value| value.as_str().is_some_and(is_id);
        let header_blank = self.header_cells().get(index as usize).is_none_or(is_blank);
        header_blank && self.top.cells.iter().filter_map(cell).any(is_id)
    }

    fn match_by_header(&mut self) -> Result<(), Error> {
        let headers: Vec<(u32, String)> = self.headers().filter(|(_, header)| !header.is_empty()).collect();
        let ours =
            |index: u32| self.found.columns.iter().any(|bound| bound.sheet == self.tab.id && bound.index == index);
        let mut free: Vec<(u32, String)> = headers.into_iter().filter(|(index, _)| !ours(*index)).collect();
        // The configured header first: it may be another field's default.
        let names = |column: &Column, header: &str, configured: bool| {
            if configured { normal_text(&column.header) == header } else { self.names(&column.field, header) }
        };
        let mut matched: Vec<Place> = Vec::new();
        for configured in [true, false] {
            for column in self.wanted.columns {
                if self.kept.iter().chain(&matched).any(|place| place.field == column.field) {
                    continue;
                }
                let Some(at) = free.iter().position(|(_, header)| names(column, header, configured)) else { continue };
                matched.push(Place { field: column.field.clone(), index: free.remove(at).0 });
            }
        }
        self.matched = matched;
        Ok(())
    }

    /// Whether a header, as normalised, names the field.
    fn names(&self, field: &Field, header: &str) -> bool {
        let configured = self.wanted.columns.iter().find(|column| column.field == *field);
        let mut known = vec![field.key().into_owned(), field.header(Language::En), field.header(Language::Bg)];
        known.extend(configured.map(|column| column.header.clone()));
        known.iter().any(|name| normal_text(name) == header)
    }

    fn id_header(&self) -> String {
        let column = self.wanted.columns.iter().find(|column| column.field == Field::Id);
        column.map_or_else(|| Field::Id.header(Language::En), |column| column.header.clone())
    }

    fn trouble(&self, what: &str) -> Error {
        Error::attention(Cause::Layout, self.wanted.names.say(format!("tab `{}` {what}", self.tab.title)))
    }

    fn plan(self, empty: bool) -> Plan {
        let Draft { wanted, found, book, tab, .. } = &self;
        let sheet = tab.id;
        let mut requests = vec![self.guard()];
        let header_row = self.header_row();
        let used_rows = (self.top.first + self.top.cells.len() as u32).max(header_row + 1);
        let first_new = self.first_new_column(empty);
        if !self.missing.is_empty() {
            requests.extend(self.make_room(empty, first_new));
        }
        let needed_rows = header_row + 2;
        if tab.rows < needed_rows {
            requests.push(append_dimension(sheet, "ROWS", needed_rows - tab.rows));
        }
        let added: Vec<Place> = (first_new..)
            .zip(&self.missing)
            .map(|(index, column)| Place { field: column.field.clone(), index })
            .collect();
        if !added.is_empty() {
            requests.push(header(sheet, header_row, first_new, self.missing.iter().copied()));
        }
        let layout_of = |places: Vec<Place>| Layout::new(sheet, places, None);
        for (from, to, format) in layout_of(added.clone()).formats() {
            requests.push(number_format(sheet, header_row + 1, from, to, format));
        }
        // The owner's rows keep their look; what comes below them gets ours.
        if used_rows < tab.rows.max(needed_rows) {
            for (from, to, format) in layout_of(self.matched.clone()).formats() {
                requests.push(number_format(sheet, used_rows, from, to, format));
            }
        }
        if empty {
            requests.push(freeze_header(sheet));
            if !tab.filtered {
                requests.push(basic_filter(sheet));
            }
        }
        let bound_now: Vec<&Place> = self.matched.iter().chain(&added).collect();
        requests.extend(bound_now.iter().map(|place| column_note(wanted, sheet, place)));
        if let Some(row) = self.header.filter(|_| found.header(sheet).is_none()) {
            requests.push(header_note(wanted, sheet, row));
        }
        requests.extend(self.note_tab(&bound_now));
        let (ledger, ledger_entry, creating) = ledger(wanted, found, book);
        requests.extend(creating);
        requests.extend(self.old_guards());
        if requests.len() == 1 {
            // Nothing but the guard: nothing to do.
            requests.clear();
        }
        let mut news = Vec::new();
        for (places, what) in [(&self.matched, "found by header"), (&added, "will be added")] {
            if !places.is_empty() {
                let keys: Vec<String> = places.iter().map(|place| place.field.key().into_owned()).collect();
                news.push(format!("columns {what}: {}", keys.join(", ")));
            }
        }
        let id_entry = found.column(sheet, &Field::Id).map(|bound| bound.entry);
        let places = self.kept.iter().chain(bound_now).cloned().collect();
        let mut layout = Layout::new(sheet, places, id_entry);
        // Of a tab that is ours already, only the first row was read.
        layout.header = self.header;
        layout.first_blank = self.kept.is_empty().then_some(used_rows.into());
        layout.fresh = empty;
        let id_again = self.missing.iter().any(|column| column.field == Field::Id)
            && self.created_before(&Field::Id)
            && ledger.rows > 0;
        let late = self.missing.iter().filter(|column| column.field.belongs_to_owner() && ledger.rows > 0);
        let unfilled = late.map(|column| column.field.key().into_owned()).collect();
        let (gone, tab_again) = (self.gone, false);
        Plan { requests, layout, ledger, ledger_entry, gone, unfilled, id_again, tab_again, news }
    }

    /// Where new columns begin: behind the last header and the last column of ours, and behind all values if all are known.
    fn first_new_column(&self, empty: bool) -> u32 {
        if empty {
            return 0;
        }
        let width = self.top.cells.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let ours = self.found.columns.iter().filter(|bound| bound.sheet == self.tab.id).map(|bound| bound.index + 1);
        ours.max().unwrap_or(0).max(width).min(self.tab.columns)
    }

    /// Makes sure that the new columns exist and are empty.
    fn make_room(&self, empty: bool, first_new: u32) -> Option<api::Request> {
        let (sheet, count) = (self.tab.id, self.missing.len() as u32);
        let room = self.tab.columns - first_new;
        let all_seen = empty || self.kept.is_empty();
        if all_seen {
            return (count > room).then(|| append_dimension(sheet, "COLUMNS", count - room));
        }
        if room == 0 {
            return Some(append_dimension(sheet, "COLUMNS", count));
        }
        // Only the first row was read: below it the owner may have written something. New columns overwrite nothing.
        Some(insert_columns(sheet, first_new, first_new + count))
    }

    fn setup_guards(&self) -> impl Iterator<Item = (u64, &'a String)> {
        let named = self.book.named.iter();
        named.filter_map(|(id, name)| Some((self.wanted.guards.setup_number(name)?, id)))
    }

    /// Should this batch arrive twice, the second is refused.
    fn guard(&self) -> api::Request {
        let last = self.setup_guards().map(|(number, _)| number).max().unwrap_or(0);
        let name = self.wanted.guards.setup_name(last + 1);
        add_named_range(self.tab.id, &name)
    }

    /// Guards of earlier layout changes, but for the latest; and those of the spreadsheet that this one is a copy of, which
    /// guard nothing here.
    fn old_guards(&self) -> Vec<api::Request> {
        let last = self.setup_guards().map(|(number, _)| number).max().unwrap_or(0);
        let old = self.setup_guards().filter(|(number, _)| *number < last).map(|(_, id)| id);
        let former = self.found.former.as_ref().filter(|_| self.found.ledger.is_none());
        let theirs = former.map(|ledger| Guards::new(&ledger.spreadsheet, &ledger.destination));
        let is_theirs = |name: &str| {
            theirs.as_ref().is_some_and(|them| them.number(name).or_else(|| them.setup_number(name)).is_some())
        };
        let copied = self.book.named.iter().filter(|(_, name)| is_theirs(name)).map(|(id, _)| id);
        old.chain(copied).map(|id| delete_named_range(id)).collect()
    }

    fn note_tab(&self, bound_now: &[&Place]) -> Option<api::Request> {
        let sheet = self.tab.id;
        let known = self.found.note_on(sheet);
        let mut fields = known.map(|(_, note)| note.fields.clone()).unwrap_or_default();
        for place in self.kept.iter().chain(bound_now.iter().copied()) {
            let key = place.field.key().into_owned();
            if !fields.contains(&key) {
                fields.push(key);
            }
        }
        match known {
            Some((_, note))
                if (&note.fields, &*note.title, note.sheet, note.header)
                    == (&fields, self.wanted.title, sheet, true) =>
            {
                None
            }
            Some((entry, _)) => Some(update_note(entry, &tab_note(self.wanted, sheet, fields))),
            None => Some(create(TAB_KEY, &tab_note(self.wanted, sheet, fields), None, on_sheet(sheet))),
        }
    }
}

fn is_blank(cell: &serde_json::Value) -> bool {
    cell.is_null() || cell.as_str().is_some_and(|text| text.trim().is_empty())
}

fn normal(cell: &serde_json::Value) -> String {
    cell.as_str().map_or_else(|| if cell.is_null() { String::new() } else { cell.to_string() }, normal_text)
}

fn normal_text(text: &str) -> String {
    text.trim().to_lowercase()
}

fn tab_note(wanted: &Wanted<'_>, sheet: i32, fields: Vec<String>) -> String {
    let (destination, title) = (wanted.names.destination.clone(), wanted.title.to_owned());
    let note = TabNote { destination, sheet, title, fields, header: true };
    serde_json::to_string(&note).unwrap_or_default()
}

fn column_note(wanted: &Wanted<'_>, sheet: i32, place: &Place) -> api::Request {
    let note = ColumnNote { field: place.field.key().into_owned(), destination: wanted.names.destination.clone() };
    let at = api::DeveloperMetadataLocation {
        dimension_range: Some(dimension(sheet, "COLUMNS", place.index, place.index + 1)),
        ..Default::default()
    };
    create(COLUMN_KEY, &serde_json::to_string(&note).unwrap_or_default(), None, at)
}

fn header_note(wanted: &Wanted<'_>, sheet: i32, row: u32) -> api::Request {
    let note = HeaderNote { destination: wanted.names.destination.clone() };
    let at = api::DeveloperMetadataLocation {
        dimension_range: Some(dimension(sheet, "ROWS", row, row + 1)),
        ..Default::default()
    };
    create(HEADER_KEY, &serde_json::to_string(&note).unwrap_or_default(), None, at)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::destination::google_sheets::layout::Bound;

    fn names() -> Names {
        Names { destination: "home".into(), spreadsheet: "1AbC".into(), account: "bot@p.example".into() }
    }

    fn column(field: Field, header: &str) -> Column {
        Column { field, header: header.into() }
    }

    fn columns() -> Vec<Column> {
        vec![column(Field::Date, "Date"), column(Field::Amount, "Amount"), column(Field::Id, "Transaction ID")]
    }

    fn book(tabs: &[(i32, &str)]) -> Book {
        let tab = |(id, title): &(i32, &str)| Tab {
            id: *id,
            title: (*title).to_owned(),
            rows: 100,
            columns: 5,
            ..Tab::default()
        };
        Book { title: "Money".into(), tabs: tabs.iter().map(tab).collect(), ..Book::default() }
    }

    fn planned(found: &Found, book: &Book, columns: &[Column], cells: &[Vec<Value>]) -> Result<Plan, Error> {
        let (names, guards) = (names(), Guards::new("1AbC", "home"));
        let (title, floor, attempt) = ("Transactions", 0, 0);
        plan(
            &Wanted { names: &names, guards: &guards, title, columns, floor, attempt },
            found,
            book,
            Top { first: 0, cells },
        )
    }

    /// The requests as they will be sent.
    fn sent(plan: &Plan) -> Vec<Value> {
        let mut value = serde_json::to_value(&plan.requests).unwrap();
        google_sheets4::common::remove_json_null_values(&mut value);
        value.as_array().unwrap().clone()
    }

    fn kinds(plan: &Plan) -> Vec<String> {
        sent(plan).iter().map(|request| request.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    fn bound(fields: &[(&str, u32)], noted: &[&str]) -> Found {
        let columns = fields.iter().zip(10..).map(|((field, index), entry)| Bound {
            field: (*field).to_owned(),
            sheet: 7,
            index: *index,
            entry,
        });
        let fields = noted.iter().map(|field| (*field).to_owned()).collect();
        Found {
            ledger: Some((9, Ledger { seq: 3, ..Ledger::default() })),
            tab: Some((
                8,
                TabNote { destination: "home".into(), sheet: 7, title: "Transactions".into(), fields, header: true },
            )),
            columns: columns.collect(),
            headers: vec![(7, 0)],
            ..Found::default()
        }
    }

    #[test]
    fn a_missing_tab_is_made_whole_in_one_batch() {
        let plan = planned(&Found::default(), &book(&[(0, "Sheet1")]), &columns(), &[]).unwrap();
        assert_eq!(
            kinds(&plan),
            [
                "addSheet",
                "updateCells",
                "repeatCell",
                "repeatCell",
                "setBasicFilter",
                "createDeveloperMetadata",
                "createDeveloperMetadata",
                "createDeveloperMetadata",
                "createDeveloperMetadata",
                "createDeveloperMetadata",
                "createDeveloperMetadata"
            ]
        );
        let requests = sent(&plan);
        assert_eq!(requests[0]["addSheet"]["properties"]["gridProperties"]["frozenRowCount"], 1);
        assert_eq!(requests[0]["addSheet"]["properties"]["sheetId"], plan.layout.sheet);
        assert_eq!(
            requests[1]["updateCells"]["rows"][0]["values"][2]["userEnteredValue"]["stringValue"],
            "Transaction ID"
        );
        assert_eq!(requests[1]["updateCells"]["fields"], "userEnteredValue,userEnteredFormat.textFormat.bold");
        let ledger = &requests[10]["createDeveloperMetadata"]["developerMetadata"];
        assert_eq!(ledger["visibility"], "DOCUMENT");
        assert_eq!(ledger["location"], json!({"spreadsheet": true}));
        assert!(ledger["metadataValue"].as_str().unwrap().contains(r#""spreadsheetId":"1AbC""#));
        assert_eq!(plan.layout.width(), 3);
        assert!(plan.layout.fresh);
        // Asked again, the same ids are asked for: a batch that arrives twice cannot make two tabs.
        let again = planned(&Found::default(), &book(&[(0, "Sheet1")]), &columns(), &[]).unwrap();
        assert_eq!(sent(&again), requests);
    }

    #[test]
    fn an_empty_tab_gets_the_header() {
        let plan = planned(&Found::default(), &book(&[(7, "transactions")]), &columns(), &[vec![json!("")]]).unwrap();
        let kinds = kinds(&plan);
        assert_eq!(kinds[..3], ["addNamedRange", "updateCells", "repeatCell"]);
        assert!(kinds.contains(&"setBasicFilter".to_owned()) && kinds.contains(&"updateSheetProperties".to_owned()));
        assert_eq!(plan.layout.places.iter().map(|place| place.index).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_tab_made_by_hand_is_bound_by_its_header_and_completed() {
        let header = vec![json!("Notes"), json!(" СУМА "), json!("date"), json!("Total"), json!("x")];
        let cells = vec![header, vec![json!("mine"), json!(5), json!(46000)]];
        let plan = planned(&Found::default(), &book(&[(7, "Transactions")]), &columns(), &cells).unwrap();
        let place = |field: Field| plan.layout.places.iter().find(|place| place.field == field).unwrap().index;
        assert_eq!([place(Field::Amount), place(Field::Date), place(Field::Id)], [1, 2, 5]);
        let requests = sent(&plan);
        assert_eq!(requests[1]["appendDimension"], json!({"sheetId": 7, "dimension": "COLUMNS", "length": 1}));
        assert_eq!(requests[2]["updateCells"]["start"], json!({"sheetId": 7, "rowIndex": 0, "columnIndex": 5}));
        // The owner's rows keep their formats; the blank ones below get ours.
        assert_eq!(requests[3]["repeatCell"]["range"]["startRowIndex"], 2);
        assert_eq!(plan.layout.first_blank, Some(2));
    }

    #[test]
    fn a_configured_header_beats_another_fields_usual_one() {
        let columns =
            [column(Field::CounterpartyAccount, "Account"), column(Field::Account, "Own"), column(Field::Id, "ID")];
        let cells = vec![vec![json!("account"), json!("own"), json!("id")]];
        let plan = planned(&Found::default(), &book(&[(7, "Transactions")]), &columns, &cells).unwrap();
        let at = |field: Field| plan.layout.places.iter().find(|place| place.field == field).unwrap().index;
        assert_eq!([at(Field::CounterpartyAccount), at(Field::Account), at(Field::Id)], [0, 1, 2]);
    }

    #[test]
    fn what_cannot_be_followed_is_one_clear_message() {
        let tab = book(&[(7, "Transactions")]);
        let trouble = |cells: &[Vec<Value>]| planned(&Found::default(), &tab, &columns(), cells).unwrap_err();
        let doubled = trouble(&[vec![json!("Transaction ID"), json!("Date"), json!("id")]]);
        assert_eq!(doubled.cause(), Some(Cause::Layout));
        assert!(doubled.message.ends_with("two columns headed `Transaction ID` (A and C): rename one"), "{doubled}");
        let row = vec![json!(46000), json!("fibank:BG32FINV91501000000001:1")];
        let blank = trouble(&[vec![json!("Date")], row.clone()]);
        assert!(
            blank.message.ends_with("in column B but no header above them: write `Transaction ID` there"),
            "{blank}"
        );
        let none = trouble(&[vec![], row]);
        assert!(none.message.contains("no header in its first row"), "{none}");
    }

    #[test]
    fn a_deleted_column_is_not_made_again_but_the_id_is() {
        let found = bound(&[("amount", 0)], &["date", "amount", "id"]);
        let plan =
            planned(&found, &book(&[(7, "renamed")]), &columns(), &[vec![json!("Amount"), json!("Mine")]]).unwrap();
        assert_eq!(plan.gone, ["date"]);
        assert_eq!(kinds(&plan), ["addNamedRange", "insertDimension", "updateCells", "createDeveloperMetadata"]);
        let range = &sent(&plan)[1]["insertDimension"]["range"];
        assert_eq!(*range, json!({"sheetId": 7, "dimension": "COLUMNS", "startIndex": 2, "endIndex": 3}));
    }

    #[test]
    fn a_column_that_was_cut_and_pasted_is_found_by_its_header() {
        let found = bound(&[("amount", 0), ("id", 1)], &["date", "amount", "id"]);
        let cells = [vec![json!("Amount"), json!("Transaction ID"), json!("Date")]];
        let plan = planned(&found, &book(&[(7, "Transactions")]), &columns(), &cells).unwrap();
        assert!(plan.gone.is_empty());
        assert_eq!(kinds(&plan), ["addNamedRange", "repeatCell", "createDeveloperMetadata"]);
        assert_eq!(plan.layout.id_entry, Some(11));
    }

    #[test]
    fn only_a_deletion_to_remember_sends_nothing() {
        let found = bound(&[("amount", 0), ("id", 1)], &["date", "amount", "id"]);
        let cells = [vec![json!("Amount"), json!("Transaction ID")]];
        let plan = planned(&found, &book(&[(7, "Transactions")]), &columns(), &cells).unwrap();
        assert!(plan.requests.is_empty() && plan.gone == ["date"]);
    }

    #[test]
    fn a_column_configured_later_is_added_and_noted() {
        let found = bound(&[("amount", 0), ("id", 1)], &["amount", "id"]);
        let cells = [vec![json!("Amount"), json!("Transaction ID")]];
        let plan = planned(&found, &book(&[(7, "Transactions")]), &columns(), &cells).unwrap();
        let last = sent(&plan).pop().unwrap();
        assert_eq!(last["updateDeveloperMetadata"]["fields"], "metadataValue");
        let value = last["updateDeveloperMetadata"]["developerMetadata"]["metadataValue"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<TabNote>(value).unwrap().fields, ["amount", "id", "date"]);
        assert_eq!((plan.ledger.seq, plan.ledger_entry), (3, 9));
    }

    #[test]
    fn a_lost_ledger_never_brings_a_number_back() {
        let mut book = book(&[(7, "Transactions")]);
        let guards = Guards::new("1AbC", "home");
        book.named = vec![
            ("x".into(), guards.name(41)),
            ("y".into(), "owner_range".into()),
            ("z".into(), guards.setup_name(1)),
            ("w".into(), guards.setup_name(2)),
        ];
        let plan = planned(&Found::default(), &book, &columns(), &[]).unwrap();
        assert_eq!(plan.ledger.seq, 41);
        let requests = sent(&plan);
        assert_eq!(requests[0]["addNamedRange"]["namedRange"]["name"], guards.setup_name(3));
        assert_eq!(requests.last().unwrap()["deleteNamedRange"]["namedRangeId"], "z");
    }
}
