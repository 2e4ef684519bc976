//! The API crate's requests that set-up is made of, each from the few things that vary. Pure, and without decisions.

use google_sheets4::{FieldMask, api};

use super::layout::Format;
use crate::destination::policy::Column;

/// Adds a tab with frozen rows at its top.
pub(super) fn add_sheet(sheet: i32, title: &str, rows: u32, columns: u32, frozen: u32) -> api::Request {
    let grid = api::GridProperties {
        row_count: Some(rows as i32),
        column_count: Some(columns as i32),
        frozen_row_count: Some(frozen as i32),
        ..Default::default()
    };
    let properties = api::SheetProperties {
        sheet_id: Some(sheet),
        title: Some(title.to_owned()),
        grid_properties: Some(grid),
        ..Default::default()
    };
    api::Request { add_sheet: Some(api::AddSheetRequest { properties: Some(properties) }), ..Default::default() }
}

/// Names the first cell of a tab; the name is also the id.
pub(super) fn add_named_range(sheet: i32, name: &str) -> api::Request {
    let range = Some(grid(sheet, Some((0, 1)), Some((0, 1))));
    let named = api::NamedRange { name: Some(name.to_owned()), named_range_id: Some(name.to_owned()), range };
    api::Request { add_named_range: Some(api::AddNamedRangeRequest { named_range: Some(named) }), ..Default::default() }
}

/// Takes a name away.
pub(super) fn delete_named_range(id: &str) -> api::Request {
    api::Request {
        delete_named_range: Some(api::DeleteNamedRangeRequest { named_range_id: Some(id.to_owned()) }),
        ..Default::default()
    }
}

/// Inserts empty columns.
pub(super) fn insert_columns(sheet: i32, from: u32, to: u32) -> api::Request {
    api::Request {
        insert_dimension: Some(api::InsertDimensionRequest {
            inherit_from_before: Some(false),
            range: Some(dimension(sheet, "COLUMNS", from, to)),
        }),
        ..Default::default()
    }
}

/// The place of a note on a tab.
pub(super) fn on_sheet(sheet: i32) -> api::DeveloperMetadataLocation {
    api::DeveloperMetadataLocation { sheet_id: Some(sheet), ..Default::default() }
}

/// Creates a note.
pub(super) fn create(
    key: &str,
    value: &str,
    id: Option<i32>,
    location: api::DeveloperMetadataLocation,
) -> api::Request {
    let developer_metadata = Some(api::DeveloperMetadata {
        metadata_id: id,
        metadata_key: Some(key.to_owned()),
        metadata_value: Some(value.to_owned()),
        location: Some(location),
        // Visible to whatever service account the owner changes to.
        visibility: Some("DOCUMENT".into()),
    });
    api::Request {
        create_developer_metadata: Some(api::CreateDeveloperMetadataRequest { developer_metadata }),
        ..Default::default()
    }
}

/// Gives a note another value.
pub(super) fn update_note(entry: i32, value: &str) -> api::Request {
    let lookup = api::DeveloperMetadataLookup { metadata_id: Some(entry), ..Default::default() };
    let filter = api::DataFilter { developer_metadata_lookup: Some(lookup), ..Default::default() };
    api::Request {
        update_developer_metadata: Some(api::UpdateDeveloperMetadataRequest {
            data_filters: Some(vec![filter]),
            developer_metadata: Some(api::DeveloperMetadata {
                metadata_value: Some(value.to_owned()),
                ..Default::default()
            }),
            fields: Some(FieldMask::new(&["metadataValue"])),
        }),
        ..Default::default()
    }
}

/// Writes headers into a row from a column on, bold, as text.
pub(super) fn header<'a>(sheet: i32, row: u32, first: u32, columns: impl Iterator<Item = &'a Column>) -> api::Request {
    let headers: Vec<&str> = columns.map(|column| column.header.as_str()).collect();
    label_cells(sheet, row, first, &headers)
}

/// Writes bold texts into a row from a column on.
pub(super) fn label_cells(sheet: i32, row: u32, first: u32, labels: &[&str]) -> api::Request {
    let cell = |label: &&str| api::CellData {
        user_entered_value: Some(api::ExtendedValue { string_value: Some((*label).to_owned()), ..Default::default() }),
        user_entered_format: Some(api::CellFormat {
            text_format: Some(api::TextFormat { bold: Some(true), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let cells = api::RowData { values: Some(labels.iter().map(cell).collect()) };
    api::Request {
        update_cells: Some(api::UpdateCellsRequest {
            fields: Some(FieldMask::new(&["userEnteredValue", "userEnteredFormat.textFormat.bold"])),
            rows: Some(vec![cells]),
            start: Some(api::GridCoordinate {
                sheet_id: Some(sheet),
                row_index: Some(row as i32),
                column_index: Some(first as i32),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Formats columns from a row down.
pub(super) fn number_format(sheet: i32, first_row: u32, from: u32, to: u32, format: Format) -> api::Request {
    let (kind, pattern) = format.type_and_pattern();
    let number_format = api::NumberFormat { type_: Some(kind.to_owned()), pattern: Some(pattern.to_owned()) };
    let mut range = grid(sheet, None, Some((from, to)));
    range.start_row_index = Some(first_row as i32);
    api::Request {
        repeat_cell: Some(api::RepeatCellRequest {
            cell: Some(api::CellData {
                user_entered_format: Some(api::CellFormat { number_format: Some(number_format), ..Default::default() }),
                ..Default::default()
            }),
            fields: Some(FieldMask::new(&["userEnteredFormat.numberFormat"])),
            range: Some(range),
        }),
        ..Default::default()
    }
}

/// Makes columns this wide.
pub(super) fn width(sheet: i32, from: u32, to: u32, pixels: i32) -> api::Request {
    api::Request {
        update_dimension_properties: Some(api::UpdateDimensionPropertiesRequest {
            range: Some(dimension(sheet, "COLUMNS", from, to)),
            properties: Some(api::DimensionProperties { pixel_size: Some(pixels), ..Default::default() }),
            fields: Some(FieldMask::new(&["pixelSize"])),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Keeps the header in sight.
pub(super) fn freeze_header(sheet: i32) -> api::Request {
    api::Request {
        update_sheet_properties: Some(api::UpdateSheetPropertiesRequest {
            fields: Some(FieldMask::new(&["gridProperties.frozenRowCount"])),
            properties: Some(api::SheetProperties {
                sheet_id: Some(sheet),
                grid_properties: Some(api::GridProperties { frozen_row_count: Some(1), ..Default::default() }),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

/// Puts the filter buttons on the header.
pub(super) fn basic_filter(sheet: i32) -> api::Request {
    // Open below, so that rows to come are covered, and at the side: whoever sorts by a button sorts what the filter
    // covers, and what the owner writes beside our columns must go along with its row.
    let mut range = grid(sheet, None, None);
    (range.start_row_index, range.start_column_index) = (Some(0), Some(0));
    let filter = Some(api::BasicFilter { range: Some(range), ..Default::default() });
    api::Request { set_basic_filter: Some(api::SetBasicFilterRequest { filter }), ..Default::default() }
}

/// Adds rows or columns at the end of the grid.
pub(super) fn append_dimension(sheet: i32, dimension: &str, length: u32) -> api::Request {
    api::Request {
        append_dimension: Some(api::AppendDimensionRequest {
            dimension: Some(dimension.to_owned()),
            length: Some(length as i32),
            sheet_id: Some(sheet),
        }),
        ..Default::default()
    }
}

/// A span of rows or columns.
pub(super) fn dimension(sheet: i32, dimension: &str, from: u32, to: u32) -> api::DimensionRange {
    api::DimensionRange {
        dimension: Some(dimension.to_owned()),
        sheet_id: Some(sheet),
        start_index: Some(from as i32),
        end_index: Some(to as i32),
    }
}

/// A span of cells; what is not given is open.
fn grid(sheet: i32, rows: Option<(u32, u32)>, columns: Option<(u32, u32)>) -> api::GridRange {
    let index = |value: u32| Some(value as i32);
    api::GridRange {
        sheet_id: Some(sheet),
        start_row_index: rows.and_then(|(from, _)| index(from)),
        end_row_index: rows.and_then(|(_, to)| index(to)),
        start_column_index: columns.and_then(|(from, _)| index(from)),
        end_column_index: columns.and_then(|(_, to)| index(to)),
    }
}
