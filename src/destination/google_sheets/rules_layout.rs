//! The tab with the owner's rules: the metadata entries that find it again, and the requests that make it. Pure.

use google_sheets4::api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::requests::{Location, add_sheet, create_metadata, width};
use super::rule_lines::{PARTS, Part, header};
use crate::model::Language;

/// Key of the entries on the spreadsheet and on the tab.
pub(super) const RULES_KEY: &str = "bankfeed.rules";
/// Key of the entry on the column for the status.
pub(super) const STATUS_KEY: &str = "bankfeed.rules.status";

/// Rows of the tab when it is made.
const NEW_ROWS: u32 = 200;

/// Value of all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The destination it belongs to.
    pub destination: String,
    /// The configured title. Another title asks for another tab.
    pub title: String,
    /// The tab it was made as: a duplicated tab copies the entry, and is not ours.
    pub sheet: i32,
}

/// The entries of all tabs with rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulesTabs {
    /// The notes, with the id of the entry where a note stands on the tab itself.
    tabs: Vec<(Note, Option<i32>)>,
    /// Entries on columns for the status: the tab they are in, and their ids.
    columns: Vec<(i32, i32)>,
}

/// The entries of the tab that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulesTab {
    /// The tab was made once.
    pub made: bool,
    /// The id of the tab and that of its entry, while the tab is there.
    pub there: Option<(i32, i32)>,
    /// The id of the entry on its column for the status.
    pub status: Option<i32>,
}

impl RulesTabs {
    /// Finds the tabs of a destination among entries of developer metadata.
    pub fn find(entries: &[api::DeveloperMetadata], destination: &str) -> RulesTabs {
        let ours = entries.iter().filter(|entry| entry.metadata_key.as_deref() == Some(RULES_KEY));
        let notes = ours.filter_map(|entry| {
            let note: Note = serde_json::from_str(entry.metadata_value.as_deref()?).ok()?;
            let on_a_tab = entry.location.as_ref().filter(|location| location.spreadsheet != Some(true));
            // Zeros are left out of answers.
            let here = on_a_tab.is_some_and(|location| location.sheet_id.unwrap_or(0) == note.sheet);
            Some((note, entry.metadata_id.filter(|_| here)))
        });
        let statuses = entries.iter().filter(|entry| entry.metadata_key.as_deref() == Some(STATUS_KEY));
        let columns = statuses.filter_map(|entry| {
            let note: Note = serde_json::from_str(entry.metadata_value.as_deref()?).ok()?;
            let range = entry.location.as_ref()?.dimension_range.as_ref()?;
            let ours = note.destination == destination && range.sheet_id.unwrap_or(0) == note.sheet;
            Some((note.sheet, entry.metadata_id?)).filter(|_| ours)
        });
        let tabs = notes.filter(|(note, _)| note.destination == destination).collect();
        RulesTabs { tabs, columns: columns.collect() }
    }

    /// The tab that was made for this configured title.
    pub fn titled(&self, title: &str) -> RulesTab {
        let notes = || self.tabs.iter().filter(|(note, _)| note.title == title);
        let there = notes().find_map(|(note, entry)| Some((note.sheet, (*entry)?)));
        let status = there.and_then(|(tab, _)| self.columns.iter().find(|(sheet, _)| *sheet == tab));
        RulesTab { made: notes().next().is_some(), there, status: status.map(|(_, entry)| *entry) }
    }

    /// True where a tab was made for this configured title.
    pub fn is_made(&self, title: &str) -> bool {
        self.titled(title).made
    }
}

/// The requests of one all-or-nothing batch that makes the tab.
pub(super) fn creation(note: &Note, title: &str, language: Language) -> Vec<Value> {
    let (sheet, count) = (note.sheet, PARTS.len() as u32);
    let text = |text: &str| json!({"userEnteredValue": {"stringValue": text}});
    let headers: Vec<Value> = PARTS
        .iter()
        .map(|part| {
            let mut cell = text(header(*part, language));
            cell["userEnteredFormat"] = json!({"textFormat": {"bold": true}});
            cell
        })
        .collect();
    let example: Vec<Value> = PARTS.iter().map(|part| text(example(part.0, language))).collect();
    let start = json!({"sheetId": sheet, "rowIndex": 0, "columnIndex": 0});
    let mut requests = vec![
        add_sheet(sheet, title, NEW_ROWS, count + 2, 1),
        json!({"updateCells": {
            "start": start, "fields": "userEnteredValue,userEnteredFormat.textFormat.bold",
            "rows": [{"values": headers}, {"values": example}],
        }}),
    ];
    // Words typed there are text, also words that look like a number or a formula.
    for (at, part) in PARTS.iter().enumerate() {
        if !matches!(part.0, Part::From | Part::To | Part::Off) {
            requests.push(json!({"repeatCell": {
                "range": {"sheetId": sheet, "startRowIndex": 1, "startColumnIndex": at, "endColumnIndex": at + 1},
                "cell": {"userEnteredFormat": {"numberFormat": {"type": "TEXT"}}},
                "fields": "userEnteredFormat.numberFormat",
            }}));
        }
    }
    requests.push(width(sheet, count - 1, count, 360));
    for location in [Location::Spreadsheet, Location::Tab(sheet)] {
        requests.push(create_metadata(RULES_KEY, note, None, location));
    }
    requests.push(status_entry(note, count - 1));
    requests
}

/// The request that puts an entry on a column, by which the status is written into it.
pub(super) fn status_entry(note: &Note, column: u32) -> Value {
    create_metadata(STATUS_KEY, note, None, Location::Column(note.sheet, column))
}

/// A line that shows how it is done and does nothing, being marked as off.
fn example(part: Part, language: Language) -> &'static str {
    let (english, bulgarian) = match part {
        Part::Counterparty => ("lidl|kaufland|billa", "lidl|kaufland|billa"),
        Part::Direction => ("debit", "дебит"),
        Part::Category => ("Groceries", "Храна"),
        Part::Off => ("x", "x"),
        Part::Status => ("off", "изключено"),
        _ => ("", ""),
    };
    if language == Language::En { english } else { bulgarian }
}
