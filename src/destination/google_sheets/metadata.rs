//! Our entries of developer metadata: the ledger, the tab, its columns, the row with the headers, and the tabs beside.
//!
//! Developer metadata travels with tabs, columns and rows, so one search tells where the owner has moved them. [`Metadata`]
//! sorts the entries that a search finds and turns them into a [`Layout`], or says that set-up is needed. Pure.

use google_sheets4::api;
use serde::{Deserialize, Serialize};

use super::balances::Balances;
use super::entries::{Entry, Location};
use super::layout::{Layout, Place};
use super::ledger::{LEDGER_KEY, Ledger};
use super::left_out::LeftOutTable;
use super::rules_layout::RulesTabs;
use crate::destination::policy::Column;
use crate::model::Field;

/// Key of the metadata entry on our tab.
pub(super) const TAB_KEY: &str = "bankfeed.tab";
/// Key of the metadata entries on our columns.
pub(super) const COLUMN_KEY: &str = "bankfeed.column";

/// Key of the metadata entry on the row with our headers: it goes along with the row.
pub(super) const HEADER_KEY: &str = "bankfeed.header";

/// Key of the metadata entry that says that a dashboard was made.
pub(super) const DASHBOARD_KEY: &str = "bankfeed.dashboard";

/// Value of the entry on our tab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TabNote {
    /// The destination it belongs to.
    pub destination: String,
    /// The tab it was written on: a duplicated tab copies the entry, and is not ours.
    pub sheet: i32,
    /// The configured title at that time. With another configured title another tab is meant, unless the owner has renamed
    /// this tab alike.
    #[serde(default)]
    pub title: String,
    /// Keys of the fields that have ever had a column here. The owner has deleted the columns that are missing.
    pub fields: Vec<String>,
    /// The row with the headers was given its own entry. The owner has deleted a row whose entry is missing.
    #[serde(default)]
    pub header: bool,
}

/// Value of the entry on the row with our headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeaderNote {
    /// The destination it belongs to.
    pub destination: String,
}

/// Value of the entry on one of our columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnNote {
    /// Key of the field it shows.
    pub field: String,
    /// The destination it belongs to.
    pub destination: String,
}

/// Value of the entry that says that a dashboard was made: on the spreadsheet, so that a deleted dashboard stays deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DashboardNote {
    /// The destination it belongs to.
    pub destination: String,
    /// The configured title. A changed title asks for a further dashboard.
    pub title: String,
}

/// A column found by its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Key of the field it shows.
    pub field: String,
    /// The tab it is in.
    pub sheet: i32,
    /// The position.
    pub index: u32,
    /// Id of the metadata entry.
    pub entry: i32,
}

/// Everything of ours that a search for metadata found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The ledger, with the id of its entry.
    pub ledger: Option<(i32, Ledger)>,
    /// The ledger of the spreadsheet that this one is a copy of.
    pub former: Option<Ledger>,
    /// The note on our tab, with the id of its entry.
    pub tab: Option<(i32, TabNote)>,
    /// The notes on duplicates of our tab: the id of the entry, the tab, the note.
    pub copies: Vec<(i32, i32, TabNote)>,
    /// Our columns, on whatever tab.
    pub columns: Vec<Bound>,
    /// Rows with our headers: their tabs and positions.
    pub headers: Vec<(i32, u32)>,
    /// The tab with balances.
    pub balances: Option<Balances>,
    /// Dashboards made so far.
    pub dashboards: Vec<DashboardNote>,
    /// The tables of amounts that the sums of dashboards leave out.
    pub left_out: Vec<LeftOutTable>,
    /// Tabs for rules made so far.
    pub rules: RulesTabs,
}

impl Metadata {
    /// Sorts the entries of this destination in this spreadsheet.
    pub fn sort(entries: Vec<api::DeveloperMetadata>, spreadsheet: &str, destination: &str, title: &str) -> Metadata {
        let entries: Vec<Entry> = entries.into_iter().filter_map(Entry::read).collect();
        let dashboards = entries.iter().filter_map(|entry| entry.note(DASHBOARD_KEY));
        let mut found = Metadata {
            balances: Balances::find(&entries, destination),
            dashboards: dashboards.filter(|made: &DashboardNote| made.destination == destination).collect(),
            left_out: LeftOutTable::find(&entries, destination),
            rules: RulesTabs::find(&entries, destination),
            ..Metadata::default()
        };
        for entry in &entries {
            found.take_ledger(entry, spreadsheet, destination);
            found.take_tab(entry, destination, title);
            found.take_column(entry, destination);
            found.take_header(entry, destination);
        }
        found
    }

    fn take_ledger(&mut self, entry: &Entry, spreadsheet: &str, destination: &str) {
        let ledger = entry.note(LEDGER_KEY).filter(|ledger: &Ledger| ledger.destination == destination);
        let Some(ledger) = ledger else { return };
        if ledger.spreadsheet != spreadsheet {
            if self.former.as_ref().is_none_or(|known| known.seq < ledger.seq) {
                self.former = Some(ledger);
            }
        } else if self.ledger.as_ref().is_none_or(|(_, known)| known.seq < ledger.seq) {
            self.ledger = Some((entry.id, ledger));
        }
    }

    fn take_tab(&mut self, entry: &Entry, destination: &str, title: &str) {
        let note = entry.note(TAB_KEY).filter(|note: &TabNote| note.destination == destination);
        let (Some(note), Location::Tab(here)) = (note, entry.location) else { return };
        if here != note.sheet {
            self.copies.push((entry.id, here, note));
        } else if self.tab.as_ref().is_none_or(|(_, known)| known.title != title && note.title == title) {
            self.tab = Some((entry.id, note));
        }
    }

    fn take_column(&mut self, entry: &Entry, destination: &str) {
        let note = entry.note(COLUMN_KEY).filter(|note: &ColumnNote| note.destination == destination);
        if let (Some(note), Location::Column(sheet, index)) = (note, entry.location) {
            self.columns.push(Bound { field: note.field, sheet, index, entry: entry.id });
        }
    }

    fn take_header(&mut self, entry: &Entry, destination: &str) {
        let note = entry.note(HEADER_KEY).filter(|note: &HeaderNote| note.destination == destination);
        if let (Some(_), Location::Row(sheet, row)) = (note, entry.location) {
            self.headers.push((sheet, row));
        }
    }

    /// The note on a tab that is ours, or a duplicate of ours, with the id of the entry.
    pub fn note_on(&self, sheet: i32) -> Option<(i32, &TabNote)> {
        let ours = self.tab.iter().filter(|(_, note)| note.sheet == sheet).map(|(entry, note)| (*entry, note));
        let copied = self.copies.iter().filter(|(_, here, _)| *here == sheet).map(|(entry, _, note)| (*entry, note));
        ours.chain(copied).next()
    }

    /// The row with our headers on a tab; the topmost, should a copy of it carry the same note.
    pub fn header(&self, sheet: i32) -> Option<u32> {
        self.headers.iter().filter(|(on, _)| *on == sheet).map(|(_, row)| *row).min()
    }

    /// The column of a field on a tab; the leftmost, should a copy of it carry the same note.
    pub fn column(&self, sheet: i32, field: &Field) -> Option<&Bound> {
        let key = field.key();
        let columns = self.columns.iter().filter(|bound| bound.sheet == sheet && bound.field == key);
        columns.min_by_key(|bound| bound.index)
    }

    /// The layout, if nothing has to be created or looked for. `gone` are fields whose columns are known to have been
    /// deleted by the owner.
    pub fn complete(&self, wanted: &[Column], title: &str, gone: &[String]) -> Option<Layout> {
        self.ledger.as_ref()?;
        let (_, note) = self.tab.as_ref().filter(|(_, note)| note.title == title && note.header)?;
        let mut places = Vec::with_capacity(wanted.len());
        for column in wanted {
            match self.column(note.sheet, &column.field) {
                Some(bound) => places.push(Place { field: column.field.clone(), index: bound.index }),
                None if column.field == Field::Id => return None,
                None if gone.contains(&column.field.key().into_owned()) => {}
                None => return None,
            }
        }
        let id_entry = self.column(note.sheet, &Field::Id)?.entry;
        Some(Layout { header: self.header(note.sheet), ..Layout::new(note.sheet, places, Some(id_entry)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: serde_json::Value) -> api::DeveloperMetadata {
        serde_json::from_value(json).unwrap()
    }

    fn column(id: i32, field: &str, sheet: Option<i32>, index: Option<i32>) -> api::DeveloperMetadata {
        let mut range = serde_json::json!({"dimension": "COLUMNS", "endIndex": index.unwrap_or(0) + 1});
        if let Some(sheet) = sheet {
            range["sheetId"] = sheet.into();
        }
        if let Some(index) = index {
            range["startIndex"] = index.into();
        }
        let value = format!(r#"{{"field":"{field}","destination":"home"}}"#);
        entry(serde_json::json!({"metadataId": id, "metadataKey": COLUMN_KEY, "metadataValue": value,
            "location": {"locationType": "COLUMN", "dimensionRange": range}, "visibility": "DOCUMENT"}))
    }

    fn tab(id: i32, noted: i32, actual: i32) -> api::DeveloperMetadata {
        let value =
            format!(r#"{{"destination":"home","sheet":{noted},"title":"T","fields":["date","id"],"header":true}}"#);
        entry(serde_json::json!({"metadataId": id, "metadataKey": TAB_KEY, "metadataValue": value,
            "location": {"locationType": "SHEET", "sheetId": actual}}))
    }

    fn ledger(spreadsheet: &str, seq: u64) -> api::DeveloperMetadata {
        let ledger = Ledger { spreadsheet: spreadsheet.into(), destination: "home".into(), seq, ..Ledger::default() };
        entry(serde_json::json!({"metadataId": 9, "metadataKey": LEDGER_KEY, "metadataValue": ledger.to_json(),
            "location": {"locationType": "SPREADSHEET", "spreadsheet": true}}))
    }

    fn wanted(fields: &[Field]) -> Vec<Column> {
        fields.iter().map(|field| Column { field: field.clone(), header: String::new() }).collect()
    }

    #[test]
    fn zeros_left_out_of_answers_are_zeros() {
        let found =
            Metadata::sort(vec![column(1, "id", None, None), tab(2, 0, 0), ledger("1AbC", 4)], "1AbC", "home", "T");
        let layout = found.complete(&wanted(&[Field::Id]), "T", &[]).unwrap();
        assert_eq!((layout.sheet, layout.places[0].index, layout.id_entry), (0, 0, Some(1)));
        assert_eq!(found.ledger.unwrap().1.seq, 4);
    }

    #[test]
    fn copies_of_tab_and_spreadsheet_are_not_ours() {
        let copied = vec![
            tab(3, 7, 8),
            tab(2, 7, 7),
            column(4, "id", Some(8), Some(0)),
            column(1, "id", Some(7), Some(5)),
            ledger("other", 99),
        ];
        let found = Metadata::sort(copied, "1AbC", "home", "T");
        assert_eq!(found.ledger, None);
        assert_eq!(found.tab.as_ref().unwrap().1.sheet, 7);
        assert_eq!(found.column(7, &Field::Id).unwrap().index, 5);
        assert_eq!(found.complete(&wanted(&[Field::Id]), "T", &[]), None);
    }

    #[test]
    fn a_deleted_column_stays_away_but_for_the_id() {
        let entries = vec![tab(2, 7, 7), column(1, "id", Some(7), Some(3)), ledger("1AbC", 1)];
        let found = Metadata::sort(entries, "1AbC", "home", "T");
        let both = wanted(&[Field::Date, Field::Id]);
        assert_eq!(found.complete(&both, "T", &[]), None);
        let layout = found.complete(&both, "T", &["date".into()]).unwrap();
        assert!(layout.places.len() == 1 && layout.interleaved());
        let without = Metadata { columns: vec![], ..found };
        assert_eq!(without.complete(&both, "T", &["id".into(), "date".into()]), None);
    }

    #[test]
    fn another_configured_title_is_not_complete() {
        let entries = vec![tab(2, 7, 7), column(1, "id", Some(7), Some(3)), ledger("1AbC", 1)];
        let found = Metadata::sort(entries, "1AbC", "home", "U");
        assert!(found.tab.is_some());
        assert_eq!(found.complete(&wanted(&[Field::Id]), "U", &[]), None);
    }
}
