//! Copies that an owner makes in the page: of a tab, and of the whole file.
//!
//! No documentation or recording shows if developer metadata is copied along with a tab, or if the entries of a copied
//! file keep their ids. A client must cope with any answer, so a test chooses one.

use serde_json::Value;

use super::Google;
use super::model::{Location, Spreadsheet};

/// The fate of developer metadata in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Metadata is left behind.
    No,
    /// Metadata comes along, under ids of its own.
    NewIds,
    /// Metadata comes along unchanged; ids are unique within one spreadsheet, so a copied tab's entries get new ones
    /// all the same.
    Yes,
}

impl Spreadsheet {
    /// Duplicates a tab as "Copy of …" and gives the copy's title.
    pub fn duplicate_tab(&mut self, title: &str, metadata: Copied) -> String {
        let Some(mut copy) = self.tab(title).cloned() else { panic!("no tab with the title {title}") };
        let (old, new) = (copy.id, self.next_id());
        let titles = (1..).map(|n| if n == 1 { format!("Copy of {title}") } else { format!("Copy {n} of {title}") });
        let free = titles.into_iter().find(|title| self.tab(title).is_none());
        copy.title = free.unwrap_or_default();
        copy.id = new;
        copy.filter.iter_mut().for_each(|(area, _)| area.sheet = new);
        copy.merges.iter_mut().for_each(|area| area.sheet = new);
        for table in &mut copy.tables {
            (table.id, table.area.sheet) = (self.next_id().to_string(), new);
        }
        for view in &mut copy.filter_views {
            (view.id, view.area.sheet) = (self.next_id(), new);
        }
        for range in &mut copy.protected {
            (range.id, range.area.sheet) = (self.next_id(), new);
        }
        let objects = copy.charts.iter_mut().chain(&mut copy.slicers).chain(&mut copy.conditional_formats);
        for object in objects {
            point_to(object, old, new);
            for id in ["chartId", "slicerId"] {
                if object.get(id).is_some() {
                    object[id] = self.next_id().into();
                }
            }
        }
        let at = self.sheets.iter().position(|sheet| sheet.id == old).map_or(0, |at| at + 1);
        let copied_title = copy.title.clone();
        self.sheets.insert(at, copy);
        self.copy_names(old, new, &copied_title);
        if metadata != Copied::No {
            self.copy_metadata(old, new);
        }
        copied_title
    }

    /// Names that mean the tab get a namesake that means the copy and bears its title.
    fn copy_names(&mut self, old: i64, new: i64, title: &str) {
        for mut range in self.named_ranges.clone().into_iter().filter(|range| range.area.sheet == old) {
            range.id = self.next_id().to_string();
            (range.name, range.area.sheet) = (format!("'{title}'!{}", range.name), new);
            self.named_ranges.push(range);
        }
    }

    fn copy_metadata(&mut self, old: i64, new: i64) {
        for mut entry in self.metadata.clone().into_iter().filter(|entry| entry.location.sheet() == Some(old)) {
            entry.id = self.next_id();
            entry.location = match entry.location {
                Location::Row(_, row) => Location::Row(new, row),
                Location::Column(_, column) => Location::Column(new, column),
                Location::Spreadsheet | Location::Sheet(_) => Location::Sheet(new),
            };
            self.metadata.push(entry);
        }
    }
}

impl Google {
    /// Copies a whole spreadsheet as a file of its own, shared with the service account, and gives its id. Ids of tabs
    /// stay as they are. Panics where there is no such spreadsheet.
    pub fn copy_spreadsheet(&self, id: &str, metadata: Copied) -> String {
        let mut copy = self.read(id, Spreadsheet::clone);
        let mut state = self.state();
        copy.id = state.new_id();
        copy.title = format!("Copy of {}", copy.title);
        match metadata {
            Copied::Yes => {}
            Copied::No => copy.metadata.clear(),
            Copied::NewIds => {
                for at in 0..copy.metadata.len() {
                    copy.metadata[at].id = copy.next_id();
                }
            }
        }
        let id = copy.id.clone();
        state.hold(copy, false);
        id
    }
}

/// Replaces references to one sheet by references to another.
fn point_to(object: &mut Value, old: i64, new: i64) {
    match object {
        Value::Object(fields) => {
            // A sheet with the id 0 is not named.
            let names = |fields: &serde_json::Map<String, Value>| {
                fields.contains_key("startRowIndex") || fields.contains_key("rowIndex")
            };
            let said = fields.get("sheetId").and_then(Value::as_i64).or_else(|| names(fields).then_some(0));
            if said == Some(old) {
                fields.insert("sheetId".to_owned(), new.into());
            }
            fields.values_mut().for_each(|inner| point_to(inner, old, new));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| point_to(inner, old, new)),
        _ => {}
    }
}
