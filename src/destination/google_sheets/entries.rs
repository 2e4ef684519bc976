//! Entries of developer metadata: a key, a note, and the part of the spreadsheet that the entry travels with. Pure.

use google_sheets4::api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::requests::dimension;

/// The part of the spreadsheet that an entry stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Spreadsheet,
    Tab(i32),
    /// Tab and position.
    Column(i32, u32),
    /// Tab and position.
    Row(i32, u32),
}

/// An entry that a search found.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: i32,
    key: String,
    value: String,
    pub location: Location,
}

impl Entry {
    /// From the API's answer, which leaves out zeros.
    pub fn read(entry: api::DeveloperMetadata) -> Option<Entry> {
        let location = entry.location.unwrap_or_default();
        let location = match (location.spreadsheet, location.dimension_range) {
            (Some(true), _) => Location::Spreadsheet,
            (_, None) => Location::Tab(location.sheet_id.unwrap_or(0)),
            (_, Some(range)) => {
                let (sheet, at) = (range.sheet_id.unwrap_or(0), range.start_index.unwrap_or(0).max(0) as u32);
                let is_row = range.dimension.as_deref() == Some("ROWS");
                if is_row { Location::Row(sheet, at) } else { Location::Column(sheet, at) }
            }
        };
        Some(Entry { id: entry.metadata_id?, key: entry.metadata_key?, value: entry.metadata_value?, location })
    }

    /// The note, where the entry has this key and the note is one of ours.
    pub fn note<N: DeserializeOwned>(&self, key: &str) -> Option<N> {
        if self.key == key { serde_json::from_str(&self.value).ok() } else { None }
    }

    /// The position of the entry's column or row, where that is on this tab.
    pub fn position_on(&self, sheet: i32) -> Option<u32> {
        match self.location {
            Location::Column(on, at) | Location::Row(on, at) if on == sheet => Some(at),
            _ => None,
        }
    }
}

/// The request that creates an entry.
pub(super) fn create_metadata(key: &str, note: &impl Serialize, id: Option<i32>, location: Location) -> Json {
    let value = serde_json::to_string(note).unwrap_or_default();
    let location = match location {
        Location::Spreadsheet => json!({"spreadsheet": true}),
        Location::Tab(sheet) => json!({"sheetId": sheet}),
        Location::Column(sheet, at) => json!({"dimensionRange": dimension(sheet, "COLUMNS", at, at + 1)}),
        Location::Row(sheet, at) => json!({"dimensionRange": dimension(sheet, "ROWS", at, at + 1)}),
    };
    // Visible to every service account that the owner may change to.
    let mut entry = json!({"metadataKey": key, "metadataValue": value, "visibility": "DOCUMENT", "location": location});
    if let Some(id) = id {
        entry["metadataId"] = id.into();
    }
    json!({"createDeveloperMetadata": {"developerMetadata": entry}})
}

/// The request that gives an entry another note.
pub(super) fn update_metadata(entry: i32, note: &impl Serialize) -> Json {
    let value = serde_json::to_string(note).unwrap_or_default();
    json!({"updateDeveloperMetadata": {
        "dataFilters": [{"developerMetadataLookup": {"metadataId": entry}}],
        "developerMetadata": {"metadataValue": value}, "fields": "metadataValue",
    }})
}
