//! The guarded request: guard first, rows and extras in the middle, the ledger after them, removals of old guards last,
//! all or nothing.
//!
//! The request is kept as parts. Parts that a refusal shows to stand in the way are taken out, and encoding comes last.
//! Pure.

use hyper::body::Bytes;

use super::cells::{push, write_string};
use super::ledger::{Guards, Ledger};

/// Room kept for everything but rows: guard, ledger, formats, removals.
pub(super) const ENVELOPE_BYTES: usize = 32 * 1024;

/// A guarded request in its parts. The larger parts are written once and shared by every copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuardedRequest {
    /// Name of the guard: the first request of this name wins, every later one is refused whole.
    pub guard: String,
    /// Id of the tab that the guard's range is on.
    pub sheet: i32,
    /// Requests that write rows, joined by commas.
    pub rows: Bytes,
    /// Requests that rows never wait for, joined by commas.
    pub extras: Bytes,
    /// Metadata id of the ledger.
    pub ledger_entry: i32,
    /// The ledger as it is once the request is applied.
    pub ledger: String,
    /// Names of the old guards that go.
    pub removals: Vec<String>,
    /// The parts of the spreadsheet that the answer shows.
    pub response: ResponseDetail,
}

/// The parts of the spreadsheet that the answer to a write shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResponseDetail {
    /// No part.
    Nothing,
    /// The size of each tab. Only the last batch asks for it, because no batch before reads the size.
    Size,
    /// The ids in this column from this row on.
    Ids { column: u32, first: u32 },
    /// The ids in these rows of this column, the tab's tables, and the sizes of all tabs. The titles are those of the
    /// other tabs.
    Placement { column: u32, rows: (u32, Option<u32>), others: Vec<String> },
}

impl ResponseDetail {
    /// True where the answer shows ids.
    pub fn shows_ids(&self) -> bool {
        matches!(self, ResponseDetail::Ids { .. } | ResponseDetail::Placement { .. })
    }

    /// The query that reduces the answer to these parts.
    pub fn query(&self) -> &'static str {
        match self {
            ResponseDetail::Nothing | ResponseDetail::Size => {
                "alt=json&fields=replies,updatedSpreadsheet.sheets(properties(sheetId,title,gridProperties(rowCount,columnCount)),tables(tableId,range))"
            }
            ResponseDetail::Ids { .. } => {
                "alt=json&prettyPrint=false&fields=replies,updatedSpreadsheet.sheets.data(startRow,rowData.values.effectiveValue(stringValue,numberValue))"
            }
            ResponseDetail::Placement { .. } => {
                "alt=json&prettyPrint=false&fields=replies,updatedSpreadsheet.sheets(properties(sheetId,title,gridProperties(rowCount,columnCount)),tables(tableId,range),data(startRow,rowData.values.effectiveValue(stringValue,numberValue)))"
            }
        }
    }

    /// The options of the request, each followed by a comma. Ranges of an answer go by names, and the owner may have
    /// renamed the tab: the guard's own name stands for the range that is asked for.
    fn options(&self, guard: &str) -> String {
        match self {
            ResponseDetail::Nothing => String::new(),
            ResponseDetail::Size => r#""includeSpreadsheetInResponse":true,"#.to_owned(),
            ResponseDetail::Ids { .. } | ResponseDetail::Placement { .. } => {
                let others: &[String] = match self {
                    ResponseDetail::Placement { others, .. } => others,
                    _ => &[],
                };
                let others = others.iter().map(|title| format!("'{}'!A1", title.replace('\'', "''")));
                let ranges = serde_json::json!(std::iter::once(guard.to_owned()).chain(others).collect::<Vec<_>>());
                format!(
                    r#""includeSpreadsheetInResponse":true,"responseIncludeGridData":true,"responseRanges":{ranges},"#
                )
            }
        }
    }

    /// The range that the guard names: open below, so that it lies in the grid however many rows are left.
    fn range(&self) -> String {
        let (column, first, end) = match self {
            ResponseDetail::Nothing | ResponseDetail::Size => (0, 0, Some(1)),
            ResponseDetail::Ids { column, first } => (*column, *first, None),
            ResponseDetail::Placement { column, rows: (first, end), .. } => (*column, *first, *end),
        };
        let end = end.map_or_else(String::new, |end| format!(r#""endRowIndex":{end},"#));
        format!(r#""startRowIndex":{first},{end}"startColumnIndex":{column},"endColumnIndex":{}"#, column + 1)
    }
}

impl GuardedRequest {
    /// The request of batch `number` without rows and extras. `removed` are the numbers of old guards that go.
    pub fn new(
        guards: &Guards,
        number: u64,
        sheet: i32,
        ledger_entry: i32,
        ledger: &Ledger,
        removed: &[u64],
    ) -> GuardedRequest {
        GuardedRequest {
            guard: guards.name(number),
            sheet,
            rows: Bytes::new(),
            extras: Bytes::new(),
            ledger_entry,
            ledger: ledger.to_json(),
            removals: removed.iter().map(|number| guards.name(*number)).collect(),
            response: ResponseDetail::Nothing,
        }
    }

    /// The body to send.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.rows.len() + self.extras.len() + ENVELOPE_BYTES);
        // Names of guards are letters, digits and underscores: no character needs escaping.
        let GuardedRequest { guard, sheet, ledger_entry, response, .. } = self;
        let (options, range) = (response.options(guard), response.range());
        push(
            &mut out,
            format_args!(
                r#"{{{options}"requests":[{{"addNamedRange":{{"namedRange":{{"namedRangeId":"{guard}","name":"{guard}","range":{{"sheetId":{sheet},{range}}}}}}}}}"#
            ),
        );
        for part in [&self.rows, &self.extras] {
            if !part.is_empty() {
                out.push(b',');
                out.extend_from_slice(part);
            }
        }
        // Google documents no error for an update that matches no entry. Should the update pass although the owner has
        // removed the ledger meanwhile, the next opening makes the ledger anew with the number that the guard tells.
        push(
            &mut out,
            format_args!(
                r#",{{"updateDeveloperMetadata":{{"dataFilters":[{{"developerMetadataLookup":{{"metadataId":{ledger_entry}}}}}],"developerMetadata":{{"metadataValue":"#
            ),
        );
        write_string(&mut out, &self.ledger);
        out.extend_from_slice(br#"},"fields":"metadataValue"}}"#);
        for name in &self.removals {
            push(&mut out, format_args!(r#",{{"deleteNamedRange":{{"namedRangeId":"{name}"}}}}"#));
        }
        out.extend_from_slice(b"]}");
        out.into()
    }
}
