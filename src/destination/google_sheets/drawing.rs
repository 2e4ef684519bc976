//! Requests that fill, format and illustrate a tab: cells, number formats, charts. Pure, without decisions.

use serde_json::{Value, json};

/// A tab to draw on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawing {
    pub sheet: i32,
}

impl Drawing {
    pub fn cells(&self, row: usize, column: usize, rows: &[Vec<Value>]) -> Value {
        let rows: Vec<Value> = rows
            .iter()
            .map(|cells| {
                let cells: Vec<Value> = cells.iter().map(|value| json!({"userEnteredValue": value})).collect();
                json!({"values": cells})
            })
            .collect();
        let start = json!({"sheetId": self.sheet, "rowIndex": row, "columnIndex": column});
        json!({"updateCells": {"start": start, "fields": "userEnteredValue", "rows": rows}})
    }

    pub fn range(&self, rows: (usize, usize), columns: (usize, usize)) -> Value {
        json!({"sheetId": self.sheet, "startRowIndex": rows.0, "endRowIndex": rows.1,
               "startColumnIndex": columns.0, "endColumnIndex": columns.1})
    }

    pub fn bold(&self, row: usize, width: usize) -> Value {
        json!({"repeatCell": {
            "range": self.range((row, row + 1), (0, width)),
            "cell": {"userEnteredFormat": {"textFormat": {"bold": true}}},
            "fields": "userEnteredFormat.textFormat.bold",
        }})
    }

    pub fn format(&self, rows: (usize, usize), columns: (usize, usize), kind: &str, pattern: &str) -> Value {
        json!({"repeatCell": {
            "range": self.range(rows, columns),
            "cell": {"userEnteredFormat": {"numberFormat": {"type": kind, "pattern": pattern}}},
            "fields": "userEnteredFormat.numberFormat",
        }})
    }

    pub fn anchor(&self, row: usize, column: usize) -> Value {
        let cell = json!({"sheetId": self.sheet, "rowIndex": row, "columnIndex": column});
        json!({"overlayPosition": {"anchorCell": cell, "widthPixels": 640, "heightPixels": 340}})
    }

    /// A chart over the first column and some others of a table with a header. `series`: header row, row after the last,
    /// column.
    pub fn chart(&self, kind: &str, title: &str, series: &[(usize, usize, usize)], at: (usize, usize)) -> Value {
        let source = |(top, bottom, column): (usize, usize, usize)| {
            let range = self.range((top, bottom), (column, column + 1));
            json!({"sourceRange": {"sources": [range]}})
        };
        // In a bar chart the values run along the bottom.
        let values = if kind == "BAR" { "BOTTOM_AXIS" } else { "LEFT_AXIS" };
        let lines: Vec<Value> =
            series.iter().map(|one| json!({"series": source(*one), "targetAxis": values})).collect();
        let domains: Vec<Value> =
            series.iter().take(1).map(|(top, bottom, _)| json!({"domain": source((*top, *bottom, 0))})).collect();
        let legend = if series.len() > 1 { "BOTTOM_LEGEND" } else { "NO_LEGEND" };
        json!({"addChart": {"chart": {
            "spec": {"title": title, "basicChart": {
                "chartType": kind, "legendPosition": legend, "headerCount": 1, "domains": domains, "series": lines,
            }},
            "position": self.anchor(at.0, at.1),
        }}})
    }
}
