//! The owner at work in the page: a person's actions in a sheet that a connector also writes to.
//!
//! Every action works on a tab by its title and panics without it: the actions are for tests, which know their tabs.

use serde_json::{Map, Value, json};

use super::a1::{Area, OPEN};
use super::cells::sort_area;
use super::dimension::{Shift, shift};
use super::filters::{refresh, sorting};
use super::model::{CellValue, FilterView, NamedRange, Protected, Sheet, Spreadsheet};
use super::read::Axis;

impl Spreadsheet {
    /// Inserts an empty column before `at`.
    pub fn insert_column(&mut self, title: &str, at: usize) {
        let id = self.known(title).id;
        shift(self, id, Axis::Columns, Shift::Insert { at, count: 1 }, false);
    }

    /// Inserts an empty row before `at`.
    pub fn insert_row(&mut self, title: &str, at: usize) {
        let id = self.known(title).id;
        shift(self, id, Axis::Rows, Shift::Insert { at, count: 1 }, false);
    }

    /// Drags a column so that it ends up at index `to`.
    pub fn move_column(&mut self, title: &str, from: usize, to: usize) {
        let id = self.known(title).id;
        let to = if to > from { to + 1 } else { to };
        shift(self, id, Axis::Columns, Shift::Move { start: from, end: from + 1, to }, false);
    }

    /// Drags a row so that it ends up at index `to`.
    pub fn move_row(&mut self, title: &str, from: usize, to: usize) {
        let id = self.known(title).id;
        let to = if to > from { to + 1 } else { to };
        shift(self, id, Axis::Rows, Shift::Move { start: from, end: from + 1, to }, false);
    }

    /// Deletes a column.
    pub fn delete_column(&mut self, title: &str, at: usize) {
        let id = self.known(title).id;
        shift(self, id, Axis::Columns, Shift::Delete { start: at, end: at + 1 }, false);
    }

    /// Deletes a row.
    pub fn delete_row(&mut self, title: &str, at: usize) {
        let id = self.known(title).id;
        shift(self, id, Axis::Rows, Shift::Delete { start: at, end: at + 1 }, false);
    }

    /// Sorts everything below the first row by a column.
    pub fn sort_by_column(&mut self, title: &str, column: usize, descending: bool) {
        let area = Area { top: 1, ..self.known(title).whole() };
        sort_area(self, area, &[(column, descending)]);
    }

    /// Sorts everything from a row on by a column.
    pub fn sort_from(&mut self, title: &str, top: usize, column: usize, descending: bool) {
        let area = Area { top, ..self.known(title).whole() };
        if area.top < area.bottom {
            sort_area(self, area, &[(column, descending)]);
        }
    }

    /// Types a value in. The cell's format stays.
    pub fn set_cell(&mut self, title: &str, row: usize, column: usize, value: CellValue) {
        let sheet = self.known_mut(title);
        sheet.row_count = sheet.row_count.max(row + 1);
        sheet.column_count = sheet.column_count.max(column + 1);
        sheet.cell_mut(row, column).value = value;
        refresh(sheet);
    }

    /// Fills a column's cells in rows `top..bottom` with copies of one value: check boxes, a formula dragged down.
    pub fn prefill(&mut self, title: &str, column: usize, top: usize, bottom: usize, value: &CellValue) {
        (top..bottom).for_each(|row| self.set_cell(title, row, column, value.clone()));
    }

    /// Puts a line of text above everything in a tab.
    pub fn put_title_above(&mut self, title: &str, line: &str) {
        self.insert_row(title, 0);
        self.set_cell(title, 0, 0, CellValue::Text(line.to_owned()));
    }

    /// Writes a note on a cell.
    pub fn set_note(&mut self, title: &str, row: usize, column: usize, note: &str) {
        let cell = self.known_mut(title).cell_mut(row, column);
        let mut rest = cell.rest.as_deref().cloned().unwrap_or_default();
        rest.insert("note".to_owned(), json!(note));
        cell.rest = Some(std::sync::Arc::new(rest));
    }

    /// Colours a cell.
    pub fn colour(&mut self, title: &str, row: usize, column: usize, shade: f64) {
        let cell = self.known_mut(title).cell_mut(row, column);
        let mut rest = cell.rest.as_deref().cloned().unwrap_or_default();
        let format = rest.entry("userEnteredFormat").or_insert_with(|| json!({}));
        format["backgroundColor"] = json!({ "red": shade });
        cell.rest = Some(std::sync::Arc::new(rest));
    }

    /// Formats the numbers of a whole column, to the end of the grid.
    pub fn format_column(&mut self, title: &str, column: usize, kind: &str, pattern: &str) {
        let sheet = self.known_mut(title);
        for row in 0..sheet.row_count {
            sheet.cell_mut(row, column).set_number_format(json!({ "type": kind, "pattern": pattern }));
        }
    }

    /// Adds empty rows at the end.
    pub fn add_rows(&mut self, title: &str, count: usize) {
        self.known_mut(title).row_count += count;
    }

    /// Merges `height` by `width` cells from this one on.
    pub fn merge(&mut self, title: &str, row: usize, column: usize, height: usize, width: usize) {
        let sheet = self.known_mut(title);
        let area = Area { sheet: sheet.id, top: row, bottom: row + height, left: column, right: column + width };
        sheet.merges.push(area);
    }

    /// Freezes rows at the top of a tab.
    pub fn freeze(&mut self, title: &str, rows: usize) {
        let grid = self.known_mut(title).properties.entry("gridProperties").or_insert_with(|| json!({}));
        grid["frozenRowCount"] = json!(rows);
    }

    /// Hides a tab, or shows it again.
    pub fn hide_tab(&mut self, title: &str, hidden: bool) {
        self.known_mut(title).hidden = hidden;
    }

    /// Deletes the empty rows at the end, so that the grid is full.
    pub fn trim(&mut self, title: &str) {
        let (id, used, count) =
            (self.known(title).id, self.known(title).used_rows().max(2), self.known(title).row_count);
        if used < count {
            shift(self, id, Axis::Rows, Shift::Delete { start: used, end: count }, false);
        }
    }

    /// Filters the whole tab so that rows showing one of `hidden` in this column are out of sight.
    pub fn set_filter(&mut self, title: &str, column: usize, hidden: &[&str]) {
        let area = self.known(title).whole();
        self.set_filter_over(title, area, column, hidden);
    }

    /// Sets a filter over a part of the tab; the part's first row is the header.
    pub fn set_filter_over(&mut self, title: &str, area: Area, column: usize, hidden: &[&str]) {
        let sheet = self.known_mut(title);
        sheet.filter = Some((area.within(sheet), criteria(column, hidden)));
        refresh(sheet);
    }

    /// Sorts by a column through the buttons of the filter: all rows that it covers, hidden ones too, and no cell
    /// beside it. Panics without a filter.
    pub fn sort_by_filter(&mut self, title: &str, column: usize, descending: bool) {
        let Some((area, rest)) = &mut self.known_mut(title).filter else { panic!("{title} has no filter") };
        rest.insert("sortSpecs".to_owned(), sort_spec(column, descending));
        let (area, keys) = (Area { top: area.top + 1, ..*area }, sorting(rest));
        sort_area(self, area, &keys);
    }

    /// Makes a filter view of this name, or changes the one there is: it leaves out rows showing one of `hidden` in a
    /// column and shows the others ordered by it.
    pub fn set_filter_view(&mut self, title: &str, name: &str, area: Area, column: usize, hidden: &[&str]) {
        let id = self.next_id();
        let sheet = self.known_mut(title);
        let (area, mut rest) = (area.within(sheet), criteria(column, hidden));
        rest.insert("title".to_owned(), json!(name));
        rest.insert("sortSpecs".to_owned(), sort_spec(column, true));
        match sheet.filter_views.iter_mut().find(|view| view.title() == name) {
            Some(view) => (view.area, view.rest) = (area, rest),
            None => sheet.filter_views.push(FilterView { id, area, rest }),
        }
    }

    /// Deletes a filter view by its name.
    pub fn delete_filter_view(&mut self, title: &str, name: &str) {
        self.known_mut(title).filter_views.retain(|view| view.title() != name);
    }

    /// Takes the filter off.
    pub fn clear_filter(&mut self, title: &str) {
        let sheet = self.known_mut(title);
        sheet.filter = None;
        refresh(sheet);
    }

    /// Gives a tab another title.
    pub fn rename_tab(&mut self, title: &str, to: &str) {
        self.known_mut(title).title = to.to_owned();
    }

    /// Deletes a tab with the objects on it.
    pub fn delete_tab(&mut self, title: &str) {
        let id = self.known(title).id;
        self.sheets.retain(|sheet| sheet.id != id);
        self.metadata.retain(|entry| entry.location.sheet() != Some(id));
        self.named_ranges.retain(|range| range.area.sheet != id);
    }

    /// Hides a column.
    pub fn hide_column(&mut self, title: &str, column: usize) {
        self.known_mut(title).columns.entry(column).or_default().hidden_by_user = true;
    }

    /// Protects rows `top..bottom` of a tab against everybody else, the service account too.
    pub fn protect(&mut self, title: &str, top: usize, bottom: usize) {
        let id = self.next_id();
        let sheet = self.known_mut(title);
        let area = Area { sheet: sheet.id, top, bottom, left: 0, right: OPEN };
        let rest = [("editors".to_owned(), Value::Object(Map::new()))].into_iter().collect();
        sheet.protected.push(Protected { id, area, warning_only: false, editable: false, rest });
    }

    /// Protects columns `left..right` of a tab against everybody else, the service account too.
    pub fn protect_columns(&mut self, title: &str, left: usize, right: usize) {
        self.protect(title, 0, OPEN);
        if let Some(protected) = self.known_mut(title).protected.last_mut() {
            (protected.area.left, protected.area.right) = (left, right);
        }
    }

    /// Takes every protection off a tab.
    pub fn unprotect(&mut self, title: &str) {
        self.known_mut(title).protected.clear();
    }

    /// Names the first cell of a tab.
    pub fn name_range(&mut self, title: &str, name: &str) {
        let (sheet, id) = (self.known(title).id, self.next_id().to_string());
        let area = Area { sheet, top: 0, bottom: 1, left: 0, right: 1 };
        self.named_ranges.push(NamedRange { id, name: name.to_owned(), area });
    }

    /// Deletes a named range by its name, as an owner tidying up does.
    pub fn delete_named_range(&mut self, name: &str) {
        self.named_ranges.retain(|range| !range.name.eq_ignore_ascii_case(name));
    }

    /// Changes the values of entries with this key, as another program may.
    pub fn change_metadata(&mut self, key: &str, change: impl Fn(&str) -> String) {
        for entry in self.metadata.iter_mut().filter(|entry| entry.key == key) {
            entry.value = entry.value.as_deref().map(&change);
        }
    }

    /// Deletes all developer metadata with this key (an add-on can).
    pub fn delete_metadata(&mut self, key: &str) {
        self.metadata.retain(|entry| entry.key != key);
    }

    fn known(&self, title: &str) -> &Sheet {
        match self.sheet_by_title(title) {
            Some(sheet) => sheet,
            None => panic!("no tab with the title {title}"),
        }
    }

    fn known_mut(&mut self, title: &str) -> &mut Sheet {
        let id = self.known(title).id;
        match self.sheet_mut(id) {
            Some(sheet) => sheet,
            None => panic!("no tab with the title {title}"),
        }
    }
}

fn criteria(column: usize, hidden: &[&str]) -> Map<String, Value> {
    let criteria = json!({ "hiddenValues": hidden });
    let spec = json!([{ "columnIndex": column, "filterCriteria": criteria }]);
    [("criteria".to_owned(), json!({ column.to_string(): criteria })), ("filterSpecs".to_owned(), spec)]
        .into_iter()
        .collect()
}

fn sort_spec(column: usize, descending: bool) -> Value {
    json!([{ "dimensionIndex": column, "sortOrder": if descending { "DESCENDING" } else { "ASCENDING" } }])
}
