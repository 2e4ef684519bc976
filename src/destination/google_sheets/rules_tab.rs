//! The tab with rules that the owner writes: made once, found again by its id, read after the rows are written.
//!
//! Two entries of metadata bear one key. The one on the spreadsheet says that the tab was made, so that a deleted one
//! stays deleted; the one on the tab itself goes with it, and says that it is still there, whatever it is called now. All
//! cells are the owner's but those below the header for the status. A third entry stands on that column: the status is
//! written through it, so that no column of the owner's is written into while he moves columns; and what was written is
//! read again, because he may have sorted the lines meanwhile.

use google_sheets4::api;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::GoogleSheets;
use super::rule_lines::{Lines, PARTS, Part, header};
use super::setup::{BOOK_FIELDS, Book};
use super::transport::Failure;
use crate::destination::OwnRules;
use crate::model::Language;
use crate::remote::Error;

/// Key of the entries on the spreadsheet and on the tab.
pub(super) const RULES_KEY: &str = "bankfeed.rules";
/// Key of the entry on the column for the status.
pub(super) const STATUS_KEY: &str = "bankfeed.rules.status";

/// Rows of the tab when it is made.
const NEW_ROWS: usize = 200;

/// How often it is tried to make it after a refusal.
const TRIES: u32 = 3;

/// How often the tab is read to see that each line has its status.
const LOOKS: u32 = 4;

/// Value of all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The destination it belongs to.
    destination: String,
    /// The title that was configured. Another one asks for another tab.
    title: String,
    /// The tab it was made as: a duplicated tab copies the entry, and is not ours.
    sheet: i32,
}

/// What metadata says of such tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulesTabs {
    /// Each note, with the id of its entry where it stands on the tab itself.
    tabs: Vec<(Note, Option<i32>)>,
    /// Entries on columns for the status: the tab they are in, and their ids.
    columns: Vec<(i32, i32)>,
}

/// What metadata says of the tab that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulesTab {
    /// It was made once.
    made: bool,
    /// Its id and that of its own entry, while it is there.
    there: Option<(i32, i32)>,
    /// The id of the entry on its column for the status.
    status: Option<i32>,
}

impl RulesTabs {
    /// Finds those of a destination among entries of developer metadata.
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

    /// The one that was made for this configured title.
    pub fn titled(&self, title: &str) -> RulesTab {
        let notes = || self.tabs.iter().filter(|(note, _)| note.title == title);
        let there = notes().find_map(|(note, entry)| Some((note.sheet, (*entry)?)));
        let status = there.and_then(|(tab, _)| self.columns.iter().find(|(sheet, _)| *sheet == tab));
        RulesTab { made: notes().next().is_some(), there, status: status.map(|(_, entry)| *entry) }
    }

    /// Whether one was made for this configured title.
    pub fn is_made(&self, title: &str) -> bool {
        self.titled(title).made
    }
}

impl GoogleSheets {
    /// Makes the tab where it was never made, reads it where it is, and writes what each line came to.
    pub(super) async fn rules_of_the_owner(&mut self) -> Result<Option<OwnRules>, Error> {
        let Some(wanted) = self.config.rules_tab.clone() else { return Ok(None) };
        if !self.rules_tab.made {
            // What a tab just made holds is known: nothing that counts.
            return self.make_rules_tab(&wanted).await.map(Some);
        }
        let Some((sheet, entry)) = self.rules_tab.there else { return Ok(Some(OwnRules::default())) };
        for look in 1.. {
            let entries: Vec<i32> = [entry].into_iter().chain(self.rules_tab.status).collect();
            let read = self.transport().await?.columns_by_entry(&entries, "UNFORMATTED_VALUE").await?;
            // Deleted since it was looked for.
            let Some(cells) = read.get(&entry) else { break };
            let Lines { mut own, status } = Lines::read(cells, &wanted, self.config.rows.language);
            let Some(status) = status.filter(|_| look < LOOKS) else { return Ok(Some(own)) };
            let bound = self.rules_tab.status.filter(|entry| is_column(cells, status.0, read.get(entry)));
            let written = match bound {
                Some(entry) => self.transport().await?.write_column(entry, status.1, &status.2).await,
                None => self.bind_status(sheet, status.0, &wanted).await,
            };
            match written {
                Ok(()) => {}
                // The rules are read all the same: the owner may have protected the tab.
                Err(Failure { error, refused: Some(_) }) => {
                    own.notes.push(match self.config.rows.language {
                        Language::En => format!("tab `{wanted}`: its status cannot be written: {}", error.message),
                        Language::Bg => {
                            format!("лист `{wanted}`: състоянието не може да се запише: {}", error.message)
                        }
                    });
                    return Ok(Some(own));
                }
                Err(failure) => return Err(failure.error),
            }
        }
        Ok(Some(OwnRules::default()))
    }

    /// Puts an entry on the column for the status. Whether the owner has moved columns meanwhile is seen when the tab is
    /// read with it.
    async fn bind_status(&mut self, sheet: i32, column: u32, wanted: &str) -> Result<(), Failure> {
        let note = Note { destination: self.names.destination.clone(), title: wanted.to_owned(), sheet };
        let old = self.rules_tab.status.map(|entry| {
            json!({"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataId": entry}}}})
        });
        let requests: Vec<Value> = old.into_iter().chain([status_entry(&note, column)]).collect();
        self.transport().await?.send(Bytes::from(json!({ "requests": requests }).to_string())).await?;
        let found = self.find().await?;
        self.take_tabs(&found);
        Ok(())
    }

    async fn make_rules_tab(&mut self, wanted: &str) -> Result<OwnRules, Error> {
        let (mut tried, mut refused) = (0, 0);
        loop {
            tried += 1;
            let book = Book::read(self.transport().await?.spreadsheet(BOOK_FIELDS).await?);
            let title = book.free_title(wanted, &self.names.destination);
            let sheet = book.free_id(&format!("{}\0rules\0{wanted}", self.guards.name(0)));
            let note = Note { destination: self.names.destination.clone(), title: wanted.to_owned(), sheet };
            let body = json!({ "requests": creation(&note, &title, self.config.rows.language) }).to_string();
            let error = match self.transport().await?.send(Bytes::from(body)).await {
                Ok(_) => return Ok(OwnRules::default()),
                Err(Failure { error, refused: Some(_) }) => {
                    refused += 1;
                    error
                }
                Err(Failure { error, .. }) => {
                    self.pause(tried, error.clone()).await?;
                    error
                }
            };
            // It may be that an earlier try arrived after all.
            let found = self.find().await?;
            self.take_tabs(&found);
            if self.rules_tab.made {
                return Ok(OwnRules::default());
            }
            if refused == TRIES {
                let notes = vec![match self.config.rows.language {
                    Language::En => format!("tab `{wanted}` cannot be made: {}", error.message),
                    Language::Bg => format!("лист `{wanted}` не може да се направи: {}", error.message),
                }];
                return Ok(OwnRules { notes, ..OwnRules::default() });
            }
        }
    }
}

/// The requests of one all-or-nothing batch that makes the tab.
fn creation(note: &Note, title: &str, language: Language) -> Vec<Value> {
    let sheet = note.sheet;
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
    let grid = json!({"rowCount": NEW_ROWS, "columnCount": PARTS.len() + 2, "frozenRowCount": 1});
    let start = json!({"sheetId": sheet, "rowIndex": 0, "columnIndex": 0});
    let value = serde_json::to_string(note).unwrap_or_default();
    let entry = |location: Value| {
        json!({"createDeveloperMetadata": {"developerMetadata": {
            "metadataKey": RULES_KEY, "metadataValue": value, "visibility": "DOCUMENT", "location": location,
        }}})
    };
    let mut requests = vec![
        json!({"addSheet": {"properties": {"sheetId": sheet, "title": title, "gridProperties": grid}}}),
        json!({"updateCells": {
            "start": start, "fields": "userEnteredValue,userEnteredFormat.textFormat.bold",
            "rows": [{"values": headers}, {"values": example}],
        }}),
    ];
    // What is typed there is text, one that looks like a number or a formula too.
    for (at, part) in PARTS.iter().enumerate() {
        if !matches!(part.0, Part::From | Part::To | Part::Off) {
            requests.push(json!({"repeatCell": {
                "range": {"sheetId": sheet, "startRowIndex": 1, "startColumnIndex": at, "endColumnIndex": at + 1},
                "cell": {"userEnteredFormat": {"numberFormat": {"type": "TEXT"}}},
                "fields": "userEnteredFormat.numberFormat",
            }}));
        }
    }
    requests.push(json!({"updateDimensionProperties": {
        "range": {"sheetId": sheet, "dimension": "COLUMNS", "startIndex": PARTS.len() - 1, "endIndex": PARTS.len()},
        "properties": {"pixelSize": 360}, "fields": "pixelSize",
    }}));
    requests.extend([entry(json!({"spreadsheet": true})), entry(json!({"sheetId": sheet}))]);
    requests.push(status_entry(note, PARTS.len() as u32 - 1));
    requests
}

/// The request that puts an entry on a column, by which the status is written into it.
fn status_entry(note: &Note, column: u32) -> Value {
    let range = json!({
        "sheetId": note.sheet, "dimension": "COLUMNS", "startIndex": column, "endIndex": column + 1,
    });
    json!({"createDeveloperMetadata": {"developerMetadata": {
        "metadataKey": STATUS_KEY, "metadataValue": serde_json::to_string(note).unwrap_or_default(),
        "visibility": "DOCUMENT", "location": {"dimensionRange": range},
    }}})
}

/// Whether what was read of a column, in the same instant, is that column of the tab.
fn is_column(cells: &[Vec<Value>], column: u32, read: Option<&Vec<Vec<Value>>>) -> bool {
    let Some(read) = read else { return false };
    let blank = |cell: &&Value| cell.as_str() != Some("");
    let here = cells.iter().map(|row| row.get(column as usize).filter(blank));
    let there = read.iter().map(|row| row.first().filter(blank)).chain(std::iter::repeat(None));
    read.len() <= cells.len() && here.zip(there).all(|(here, there)| here == there)
}

/// A line that shows how it is done and does nothing, being marked as off.
fn example(part: Part, language: Language) -> &'static str {
    let bg = language == Language::Bg;
    match part {
        Part::Counterparty => "lidl|kaufland|billa",
        Part::Direction => {
            if bg {
                "дебит"
            } else {
                "debit"
            }
        }
        Part::Category => {
            if bg {
                "Храна"
            } else {
                "Groceries"
            }
        }
        Part::Off => "x",
        Part::Status => {
            if bg {
                "изключено"
            } else {
                "off"
            }
        }
        _ => "",
    }
}
