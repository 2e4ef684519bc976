//! The tab with the owner's rules: the metadata entries that find it again, and the requests that make it. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entries::{Entry, Location, create_metadata};
use super::requests::{add_sheet, width};
use super::rule_lines::{RULE_COLUMNS, RuleColumn, header};
use crate::model::Language;

/// Key of the entries on the spreadsheet and on the tab.
pub(super) const RULES_KEY: &str = "bankfeed.rules";
/// Key of the entry on the column for the status.
pub(super) const STATUS_KEY: &str = "bankfeed.rules.status";

/// Rows of the tab when it is made.
const NEW_ROWS: u32 = 200;

/// Value of all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RulesNote {
    /// The destination it belongs to.
    pub destination: String,
    /// The configured title. A changed title asks for a further tab.
    pub title: String,
    /// The tab it was made as: a duplicated tab copies the entry, and is not ours.
    pub sheet: i32,
}

/// The entries of all tabs with rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulesTabs {
    /// The notes, with the id of the entry where a note stands on the tab itself.
    tabs: Vec<(RulesNote, Option<i32>)>,
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
    pub fn find(entries: &[Entry], destination: &str) -> RulesTabs {
        let notes = |key| {
            let notes = entries.iter().filter_map(move |entry| Some((entry, entry.note::<RulesNote>(key)?)));
            notes.filter(|(_, note)| note.destination == destination)
        };
        let tabs = notes(RULES_KEY).map(|(entry, note)| {
            let is_here = entry.location == Location::Tab(note.sheet);
            (note, is_here.then_some(entry.id))
        });
        let columns = notes(STATUS_KEY).filter(|(entry, note)| entry.position_on(note.sheet).is_some());
        RulesTabs { tabs: tabs.collect(), columns: columns.map(|(entry, note)| (note.sheet, entry.id)).collect() }
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
pub(super) fn creation(note: &RulesNote, title: &str, language: Language) -> Vec<Value> {
    let (sheet, count) = (note.sheet, RULE_COLUMNS.len() as u32);
    let text = |text: &str| json!({"userEnteredValue": {"stringValue": text}});
    let headers: Vec<Value> = RULE_COLUMNS
        .iter()
        .map(|part| {
            let mut cell = text(header(*part, language));
            cell["userEnteredFormat"] = json!({"textFormat": {"bold": true}});
            cell
        })
        .collect();
    let example: Vec<Value> = RULE_COLUMNS.iter().map(|part| text(example(part.0, language))).collect();
    let start = json!({"sheetId": sheet, "rowIndex": 0, "columnIndex": 0});
    let mut requests = vec![
        add_sheet(sheet, title, NEW_ROWS, count + 2, 1),
        json!({"updateCells": {
            "start": start, "fields": "userEnteredValue,userEnteredFormat.textFormat.bold",
            "rows": [{"values": headers}, {"values": example}],
        }}),
    ];
    // Words typed there are text, also words that look like a number or a formula.
    for (at, part) in RULE_COLUMNS.iter().enumerate() {
        if !matches!(part.0, RuleColumn::From | RuleColumn::To | RuleColumn::Off) {
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
pub(super) fn status_entry(note: &RulesNote, column: u32) -> Value {
    create_metadata(STATUS_KEY, note, None, Location::Column(note.sheet, column))
}

/// A line that shows how it is done and does nothing, being marked as off.
fn example(part: RuleColumn, language: Language) -> &'static str {
    let (english, bulgarian) = match part {
        RuleColumn::Counterparty => ("lidl|kaufland|billa", "lidl|kaufland|billa"),
        RuleColumn::Direction => ("debit", "дебит"),
        RuleColumn::Category => ("Groceries", "Храна"),
        RuleColumn::Off => ("x", "x"),
        RuleColumn::Status => ("off", "изключено"),
        _ => ("", ""),
    };
    if language == Language::En { english } else { bulgarian }
}
