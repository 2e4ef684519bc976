//! Set-up before rows can be written: the tab, its header, our notes on tab and columns, the ledger.
//!
//! [`plan`] turns metadata, spreadsheet and values into the requests of one all-or-nothing batch and the layout that the
//! batch leads to. The plan may be carried out again after a lost answer, because the caller reads again first, and because
//! a batch that arrives late runs into the tab's id and title, or into its own guard. Pure.

use serde_json::Value as Json;

use super::entries::{Location, create_metadata, update_metadata};
use super::errors::MessageContext;
use super::header_row::{HeaderRow, Top};
use super::layout::{Layout, Place, width_of};
use super::ledger::{Guards, LEDGER_KEY, Ledger};
use super::metadata::{Bound, COLUMN_KEY, ColumnNote, HEADER_KEY, HeaderNote, Metadata, TAB_KEY, TabNote};
use super::requests::{
    add_named_range, add_sheet, append_dimension, basic_filter, delete_named_range, freeze_header, insert_columns,
    label_cells, number_format, width,
};
use super::spreadsheet::{Spreadsheet, Tab};
use crate::destination::policy::Column;
use crate::model::Field;
use crate::remote::{Cause, Error};

/// Rows of a tab we create.
pub(super) const NEW_ROWS: u32 = 1_000;
/// Columns for the owner beside ours in a tab we create; every empty cell counts against the limit of 10 million.
pub(super) const SPARE_COLUMNS: u32 = 4;

/// Everything a plan is made from.
pub(super) struct Wanted<'a> {
    pub names: &'a MessageContext,
    pub guards: &'a Guards,
    pub title: &'a str,
    pub columns: &'a [Column],
    /// A number no later batch may have: what was known of the ledger should it be lost.
    pub floor: u64,
    /// Number of refusals so far. After a refusal ids that may stand in the way are chosen anew.
    pub attempt: u32,
}

/// The requests of set-up and the layout that they lead to.
#[derive(Debug)]
pub(super) struct LayoutPlan {
    pub requests: Vec<Json>,
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
    /// The things that will be created, for people.
    pub news: Vec<String>,
}

/// Plans what is missing.
pub(super) fn plan(
    wanted: &Wanted<'_>,
    found: &Metadata,
    spreadsheet: &Spreadsheet,
    top: Top<'_>,
) -> Result<LayoutPlan, Error> {
    match spreadsheet.ours(found, wanted.title) {
        None => match &spreadsheet.duplicates(found, wanted.title)[..] {
            [] => Ok(new_tab(wanted, found, spreadsheet)),
            many => {
                let titles: Vec<String> = many.iter().map(|tab| format!("`{}`", tab.title)).collect();
                let (title, titles) = (wanted.title, titles.join(", "));
                let what = format!(
                    "the tab `{title}` was deleted and has several duplicates ({titles}): rename the one to go on with to `{title}`"
                );
                Err(Error::attention(Cause::Layout, wanted.names.say(what)))
            }
        },
        Some(tab) => Ok(ExistingTab::new(wanted, found, spreadsheet, tab, top)?.plan()),
    }
}

fn new_tab(wanted: &Wanted<'_>, found: &Metadata, spreadsheet: &Spreadsheet) -> LayoutPlan {
    // The id depends on the ledger, so that a tab made anew after the owner deleted one gets another id; and two
    // deliveries of this very batch ask for the same id, of which Google grants one.
    let seq = found.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq);
    let seed = format!("{}\0{seq}\0{}", wanted.guards.name(0), wanted.attempt);
    let sheet = spreadsheet.free_id(&seed);
    let count = wanted.columns.len() as u32;
    let mut requests = vec![add_sheet(sheet, wanted.title, NEW_ROWS, count + SPARE_COLUMNS, 1)];
    let places: Vec<Place> =
        (0..count).zip(wanted.columns).map(|(index, column)| Place { field: column.field.clone(), index }).collect();
    let mut layout = Layout::new(sheet, places.clone(), None);
    (layout.header, layout.first_blank, layout.fresh) = (Some(0), Some(1), true);
    requests.push(label_cells(sheet, 0, 0, wanted.columns.iter().map(|column| column.header.as_str())));
    requests.extend(layout.formats().into_iter().map(|(from, to, format)| number_format(sheet, 1, from, to, format)));
    requests.push(basic_filter(sheet));
    requests.extend(widths(sheet, &places));
    requests.extend(places.iter().map(|place| column_note(wanted, sheet, place)));
    requests.push(header_note(wanted, sheet, 0));
    let fields = places.iter().map(|place| place.field.key().into_owned()).collect();
    requests.push(create_metadata(TAB_KEY, &tab_note(wanted, sheet, fields), None, Location::Tab(sheet)));
    let (ledger, entry, creating) = ledger(wanted, found, spreadsheet);
    requests.extend(creating);
    let news = vec![format!("tab `{}` will be created with {count} columns", wanted.title)];
    // A note on another tab means that another title is configured since.
    let tab_again = found.tab.is_none() && ledger.rows > 0;
    let (gone, unfilled, id_again) = (Vec::new(), Vec::new(), false);
    LayoutPlan { requests, layout, ledger, ledger_entry: entry, gone, unfilled, id_again, tab_again, news }
}

/// Makes columns as wide as the texts that they usually hold.
fn widths(sheet: i32, places: &[Place]) -> impl Iterator<Item = Json> {
    places.iter().map(move |place| width(sheet, place.index, place.index + 1, width_of(&place.field)))
}

/// The ledger there is, or the request for one.
fn ledger(wanted: &Wanted<'_>, found: &Metadata, spreadsheet: &Spreadsheet) -> (Ledger, i32, Option<Json>) {
    if let Some((entry, ledger)) = &found.ledger {
        return (ledger.clone(), *entry, None);
    }
    // A lost ledger must not bring used numbers back: guards that still stand, and our own memory, know the highest.
    let standing = spreadsheet.named.iter().filter_map(|(_, name)| wanted.guards.number(name)).max().unwrap_or(0);
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
    let creating = create_metadata(LEDGER_KEY, &ledger, Some(entry), Location::Spreadsheet);
    (ledger, entry, Some(creating))
}

/// Work on a tab that exists.
struct ExistingTab<'a> {
    wanted: &'a Wanted<'a>,
    found: &'a Metadata,
    spreadsheet: &'a Spreadsheet,
    tab: &'a Tab,
    top: Top<'a>,
    header: HeaderRow<'a>,
    /// Columns that are ours by their notes.
    kept: Vec<Place>,
    /// Columns that become ours by their headers.
    matched: Vec<Place>,
    /// Columns to create.
    missing: Vec<&'a Column>,
    /// Keys of fields whose columns the owner has deleted.
    gone: Vec<String>,
}

impl<'a> ExistingTab<'a> {
    fn new(
        wanted: &'a Wanted<'a>,
        found: &'a Metadata,
        spreadsheet: &'a Spreadsheet,
        tab: &'a Tab,
        top: Top<'a>,
    ) -> Result<ExistingTab<'a>, Error> {
        let header = HeaderRow::find(wanted.columns, top, found.header(tab.id), tab.frozen);
        let kept = wanted.columns.iter().filter_map(|column| {
            let bound = found.column(tab.id, &column.field)?;
            Some(Place { field: column.field.clone(), index: bound.index })
        });
        let kept: Vec<Place> = kept.collect();
        let (matched, missing, gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut existing = ExistingTab { wanted, found, spreadsheet, tab, top, header, kept, matched, missing, gone };
        existing.bind()?;
        Ok(existing)
    }

    fn bind(&mut self) -> Result<(), Error> {
        if !self.is_empty() {
            if let Some(problem) = self.header.problem(&self.kept) {
                let message = self.wanted.names.say(format!("tab `{}` {problem}", self.tab.title));
                return Err(Error::attention(Cause::Layout, message));
            }
            let taken: Vec<u32> = self.bound_here().map(|bound| bound.index).collect();
            self.matched = self.header.bind(&self.kept, &taken);
        }
        for column in self.wanted.columns {
            if self.kept.iter().chain(&self.matched).any(|place| place.field == column.field) {
                continue;
            }
            if column.field != Field::Id && self.created_before(&column.field) {
                self.gone.push(column.field.key().into_owned());
            } else {
                self.missing.push(column);
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.top.is_blank()
    }

    fn bound_here(&self) -> impl Iterator<Item = &Bound> {
        self.found.columns.iter().filter(|bound| bound.sheet == self.tab.id)
    }

    fn created_before(&self, field: &Field) -> bool {
        let note = self.found.note_on(self.tab.id);
        note.is_some_and(|(_, note)| note.fields.iter().any(|known| *known == field.key()))
    }

    fn plan(self) -> LayoutPlan {
        let first_new = self.first_new_column();
        let added: Vec<Place> = (first_new..)
            .zip(&self.missing)
            .map(|(index, column)| Place { field: column.field.clone(), index })
            .collect();
        let (ledger, ledger_entry, creating) = ledger(self.wanted, self.found, self.spreadsheet);
        let mut requests = vec![self.guard()];
        requests.extend(self.new_columns(first_new, &added));
        requests.extend(self.notes(&added));
        requests.extend(creating);
        requests.extend(self.old_guards());
        if requests.len() == 1 {
            // A guard alone guards no request.
            requests.clear();
        }
        let (layout, news) = (self.layout(&added), self.news(&added));
        let has_rows = ledger.rows > 0;
        let is_missing = |field: Field| self.missing.iter().any(|column| column.field == field);
        let id_again = has_rows && is_missing(Field::Id) && self.created_before(&Field::Id);
        let late = self.missing.iter().filter(|column| column.field.belongs_to_owner() && has_rows);
        let unfilled = late.map(|column| column.field.key().into_owned()).collect();
        let (gone, tab_again) = (self.gone, false);
        LayoutPlan { requests, layout, ledger, ledger_entry, gone, unfilled, id_again, tab_again, news }
    }

    /// The row below all values that were read.
    fn used_rows(&self) -> u32 {
        (self.top.first + self.top.cells.len() as u32).max(self.header.row_or_first() + 1)
    }

    /// The requests that make room for columns, write their headers, and format them.
    fn new_columns(&self, first_new: u32, added: &[Place]) -> Vec<Json> {
        let (sheet, rows, header_row) = (self.tab.id, self.tab.rows, self.header.row_or_first());
        let mut requests = Vec::new();
        if !self.missing.is_empty() {
            requests.extend(self.make_room(first_new));
        }
        let needed_rows = header_row + 2;
        if rows < needed_rows {
            requests.push(append_dimension(sheet, "ROWS", needed_rows - rows));
        }
        if !added.is_empty() {
            let headers = self.missing.iter().map(|column| column.header.as_str());
            requests.push(label_cells(sheet, header_row, first_new, headers));
        }
        let formats = |places: &[Place], first_row: u32| {
            let formats = Layout::new(sheet, places.to_vec(), None).formats().into_iter();
            formats.map(move |(from, to, format)| number_format(sheet, first_row, from, to, format))
        };
        requests.extend(formats(added, header_row + 1));
        // The owner's rows keep their look; rows below them get ours.
        if self.used_rows() < rows.max(needed_rows) {
            requests.extend(formats(&self.matched, self.used_rows()));
        }
        if self.is_empty() {
            requests.push(freeze_header(sheet));
            requests.extend(widths(sheet, added));
            requests.extend((!self.tab.filtered).then(|| basic_filter(sheet)));
        }
        requests
    }

    /// The requests that note columns, headers and tab as ours.
    fn notes(&self, added: &[Place]) -> Vec<Json> {
        let (wanted, sheet) = (self.wanted, self.tab.id);
        let bound_now: Vec<&Place> = self.matched.iter().chain(added).collect();
        let columns = bound_now.iter().map(|place| column_note(wanted, sheet, place));
        let header = self.header.row.filter(|_| self.found.header(sheet).is_none());
        let header = header.map(|row| header_note(wanted, sheet, row));
        columns.chain(header).chain(self.note_tab(&bound_now)).collect()
    }

    fn layout(&self, added: &[Place]) -> Layout {
        let sheet = self.tab.id;
        let id_entry = self.found.column(sheet, &Field::Id).map(|bound| bound.entry);
        let places = self.kept.iter().chain(&self.matched).chain(added).cloned().collect();
        Layout {
            header: self.header.row,
            // Below the headers only a tab that was not ours yet was read.
            first_blank: self.kept.is_empty().then_some(self.used_rows().into()),
            fresh: self.is_empty(),
            ..Layout::new(sheet, places, id_entry)
        }
    }

    fn news(&self, added: &[Place]) -> Vec<String> {
        let mut news = Vec::new();
        for (places, what) in [(&self.matched[..], "found by header"), (added, "will be added")] {
            if !places.is_empty() {
                let keys: Vec<String> = places.iter().map(|place| place.field.key().into_owned()).collect();
                news.push(format!("columns {what}: {}", keys.join(", ")));
            }
        }
        news
    }

    /// The first new column: behind the last header and the last column of ours, and behind all values that are known.
    fn first_new_column(&self) -> u32 {
        if self.is_empty() {
            return 0;
        }
        let ours = self.bound_here().map(|bound| bound.index + 1).max();
        ours.unwrap_or(0).max(self.top.width()).min(self.tab.columns)
    }

    /// Makes sure that the new columns exist and are empty.
    fn make_room(&self, first_new: u32) -> Option<Json> {
        let (sheet, count) = (self.tab.id, self.missing.len() as u32);
        let room = self.tab.columns - first_new;
        // The whole tab was read where no column is ours yet.
        if self.kept.is_empty() {
            return (count > room).then(|| append_dimension(sheet, "COLUMNS", count - room));
        }
        if room == 0 {
            return Some(append_dimension(sheet, "COLUMNS", count));
        }
        // Only the first row was read: below it the owner may have written something. New columns overwrite nothing.
        Some(insert_columns(sheet, first_new, first_new + count))
    }

    fn setup_guards(&self) -> impl Iterator<Item = (u64, &'a String)> {
        let named = self.spreadsheet.named.iter();
        named.filter_map(|(id, name)| Some((self.wanted.guards.setup_number(name)?, id)))
    }

    /// Should this batch arrive twice, the second is refused.
    fn guard(&self) -> Json {
        let last = self.setup_guards().map(|(number, _)| number).max().unwrap_or(0);
        let name = self.wanted.guards.setup_name(last + 1);
        add_named_range(self.tab.id, &name)
    }

    /// Guards of earlier layout changes, but for the latest; and those of the spreadsheet that this one is a copy of, which
    /// guard nothing here.
    fn old_guards(&self) -> Vec<Json> {
        let last = self.setup_guards().map(|(number, _)| number).max().unwrap_or(0);
        let old = self.setup_guards().filter(|(number, _)| *number < last).map(|(_, id)| id);
        let former = self.found.former.as_ref().filter(|_| self.found.ledger.is_none());
        let theirs = former.map(|ledger| Guards::new(&ledger.spreadsheet, &ledger.destination));
        let is_theirs = |name: &str| {
            theirs.as_ref().is_some_and(|them| them.number(name).or_else(|| them.setup_number(name)).is_some())
        };
        let copied = self.spreadsheet.named.iter().filter(|(_, name)| is_theirs(name)).map(|(id, _)| id);
        old.chain(copied).map(|id| delete_named_range(id)).collect()
    }

    fn note_tab(&self, bound_now: &[&Place]) -> Option<Json> {
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
            Some((entry, _)) => Some(update_metadata(entry, &tab_note(self.wanted, sheet, fields))),
            None => Some(create_metadata(TAB_KEY, &tab_note(self.wanted, sheet, fields), None, Location::Tab(sheet))),
        }
    }
}

fn tab_note(wanted: &Wanted<'_>, sheet: i32, fields: Vec<String>) -> TabNote {
    let (destination, title) = (wanted.names.destination.clone(), wanted.title.to_owned());
    TabNote { destination, sheet, title, fields, header: true }
}

fn column_note(wanted: &Wanted<'_>, sheet: i32, place: &Place) -> Json {
    let note = ColumnNote { field: place.field.key().into_owned(), destination: wanted.names.destination.clone() };
    create_metadata(COLUMN_KEY, &note, None, Location::Column(sheet, place.index))
}

fn header_note(wanted: &Wanted<'_>, sheet: i32, row: u32) -> Json {
    let note = HeaderNote { destination: wanted.names.destination.clone() };
    create_metadata(HEADER_KEY, &note, None, Location::Row(sheet, row))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names() -> MessageContext {
        MessageContext { destination: "home".into(), spreadsheet: "1AbC".into(), account: "bot@p.example".into() }
    }

    fn column(field: Field, header: &str) -> Column {
        Column { field, header: header.into() }
    }

    fn columns() -> Vec<Column> {
        vec![column(Field::Date, "Date"), column(Field::Amount, "Amount"), column(Field::Id, "Transaction ID")]
    }

    fn book(tabs: &[(i32, &str)]) -> Spreadsheet {
        let tab = |(id, title): &(i32, &str)| Tab {
            id: *id,
            title: (*title).to_owned(),
            rows: 100,
            columns: 5,
            ..Tab::default()
        };
        Spreadsheet { title: "Money".into(), tabs: tabs.iter().map(tab).collect(), ..Spreadsheet::default() }
    }

    fn planned(
        found: &Metadata,
        book: &Spreadsheet,
        columns: &[Column],
        cells: &[Vec<Value>],
    ) -> Result<LayoutPlan, Error> {
        let (names, guards) = (names(), Guards::new("1AbC", "home"));
        let (title, floor, attempt) = ("Transactions", 0, 0);
        plan(
            &Wanted { names: &names, guards: &guards, title, columns, floor, attempt },
            found,
            book,
            Top { first: 0, cells },
        )
    }

    fn sent(plan: &LayoutPlan) -> Vec<Value> {
        plan.requests.clone()
    }

    fn kinds(plan: &LayoutPlan) -> Vec<String> {
        sent(plan).iter().map(|request| request.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    fn bound(fields: &[(&str, u32)], noted: &[&str]) -> Metadata {
        let columns = fields.iter().zip(10..).map(|((field, index), entry)| Bound {
            field: (*field).to_owned(),
            sheet: 7,
            index: *index,
            entry,
        });
        let fields = noted.iter().map(|field| (*field).to_owned()).collect();
        Metadata {
            ledger: Some((9, Ledger { seq: 3, ..Ledger::default() })),
            tab: Some((
                8,
                TabNote { destination: "home".into(), sheet: 7, title: "Transactions".into(), fields, header: true },
            )),
            columns: columns.collect(),
            headers: vec![(7, 0)],
            ..Metadata::default()
        }
    }

    #[test]
    fn a_missing_tab_is_made_whole_in_one_batch() {
        let plan = planned(&Metadata::default(), &book(&[(0, "Sheet1")]), &columns(), &[]).unwrap();
        assert_eq!(
            kinds(&plan),
            [
                "addSheet",
                "updateCells",
                "repeatCell",
                "repeatCell",
                "setBasicFilter",
                "updateDimensionProperties",
                "updateDimensionProperties",
                "updateDimensionProperties",
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
        let ledger = &requests[13]["createDeveloperMetadata"]["developerMetadata"];
        assert_eq!(ledger["visibility"], "DOCUMENT");
        assert_eq!(ledger["location"], json!({"spreadsheet": true}));
        assert!(ledger["metadataValue"].as_str().unwrap().contains(r#""spreadsheetId":"1AbC""#));
        assert_eq!(plan.layout.width(), 3);
        assert!(plan.layout.fresh);
        // Asked again, the same ids are asked for: a batch that arrives twice cannot make two tabs.
        let again = planned(&Metadata::default(), &book(&[(0, "Sheet1")]), &columns(), &[]).unwrap();
        assert_eq!(sent(&again), requests);
    }

    #[test]
    fn an_empty_tab_gets_the_header() {
        let plan =
            planned(&Metadata::default(), &book(&[(7, "transactions")]), &columns(), &[vec![json!("")]]).unwrap();
        let kinds = kinds(&plan);
        assert_eq!(kinds[..3], ["addNamedRange", "updateCells", "repeatCell"]);
        assert!(kinds.contains(&"setBasicFilter".to_owned()) && kinds.contains(&"updateSheetProperties".to_owned()));
        assert_eq!(plan.layout.places.iter().map(|place| place.index).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_tab_made_by_hand_is_bound_by_its_header_and_completed() {
        let header = vec![json!("Notes"), json!(" СУМА "), json!("date"), json!("Total"), json!("x")];
        let cells = vec![header, vec![json!("mine"), json!(5), json!(46000)]];
        let plan = planned(&Metadata::default(), &book(&[(7, "Transactions")]), &columns(), &cells).unwrap();
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
        let plan = planned(&Metadata::default(), &book(&[(7, "Transactions")]), &columns, &cells).unwrap();
        let at = |field: Field| plan.layout.places.iter().find(|place| place.field == field).unwrap().index;
        assert_eq!([at(Field::CounterpartyAccount), at(Field::Account), at(Field::Id)], [0, 1, 2]);
    }

    #[test]
    fn what_cannot_be_followed_is_one_clear_message() {
        let tab = book(&[(7, "Transactions")]);
        let trouble = |cells: &[Vec<Value>]| planned(&Metadata::default(), &tab, &columns(), cells).unwrap_err();
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
        let plan = planned(&Metadata::default(), &book, &columns(), &[]).unwrap();
        assert_eq!(plan.ledger.seq, 41);
        let requests = sent(&plan);
        assert_eq!(requests[0]["addNamedRange"]["namedRange"]["name"], guards.setup_name(3));
        assert_eq!(requests.last().unwrap()["deleteNamedRange"]["namedRangeId"], "z");
    }
}
