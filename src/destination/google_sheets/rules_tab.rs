//! The tab with rules that the owner writes: made once, found again by its id, read after the rows are written.
//!
//! Two entries of metadata bear one key. The entry on the spreadsheet says that the tab was made, so that a deleted tab
//! stays deleted; the entry on the tab itself goes with the tab, and says that the tab is still there under whatever title.
//! The owner owns every cell but those below the header for the status. A third entry stands on that column: the status is
//! written through the entry, so that no column of the owner's is written into while he moves columns; and the status is
//! read again, because he may have sorted the lines meanwhile.

use serde_json::{Value, json};

use super::GoogleSheets;
use super::client::Failure;
use super::rule_lines::Lines;
use super::rules_layout::{RulesNote, creation, status_entry};
use crate::destination::OwnRules;
use crate::model::Language;
use crate::remote::Error;

/// Number of times that making the tab is tried while it is refused.
const TRIES: u32 = 3;

/// Number of times that the tab is read to see that each line has its status.
const LOOKS: u32 = 4;

impl GoogleSheets {
    /// Makes the tab where it was never made, reads the rules, and writes the status of each line.
    pub(super) async fn rules_of_the_owner(&mut self) -> Result<Option<OwnRules>, Error> {
        let Some(wanted) = self.config.rules_tab.clone() else { return Ok(None) };
        if !self.beside.rules.made {
            // A tab just made holds no rule.
            return self.make_rules_tab(&wanted).await.map(Some);
        }
        let Some((sheet, entry)) = self.beside.rules.there else { return Ok(Some(OwnRules::default())) };
        for look in 1.. {
            let entries: Vec<i32> = [entry].into_iter().chain(self.beside.rules.status).collect();
            let read = self.client().await?.columns_by_entry(&entries, "UNFORMATTED_VALUE").await?;
            // Deleted since it was looked for.
            let Some(cells) = read.get(&entry) else { break };
            let Lines { mut own, status } = Lines::read(cells, &wanted, self.config.rows.language);
            let Some(status) = status.filter(|_| look < LOOKS) else { return Ok(Some(own)) };
            let bound = self.beside.rules.status.filter(|entry| is_column(cells, status.0, read.get(entry)));
            let written = match bound {
                Some(entry) => self.client().await?.write_column(entry, status.1, &status.2).await,
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

    /// Puts an entry on the column for the status. Columns that the owner has moved meanwhile are noticed when the tab is
    /// read by that entry.
    async fn bind_status(&mut self, sheet: i32, column: u32, wanted: &str) -> Result<(), Failure> {
        let note = RulesNote { destination: self.names.destination.clone(), title: wanted.to_owned(), sheet };
        let old = self.beside.rules.status.map(|entry| {
            json!({"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataId": entry}}}})
        });
        let requests: Vec<Value> = old.into_iter().chain([status_entry(&note, column)]).collect();
        self.send_body(json!({ "requests": requests }).to_string().into()).await?;
        let found = self.find().await?;
        self.beside.take(&found, &self.config);
        Ok(())
    }

    async fn make_rules_tab(&mut self, wanted: &str) -> Result<OwnRules, Error> {
        let (mut tried, mut refused) = (0, 0);
        loop {
            tried += 1;
            let spreadsheet = self.read_spreadsheet().await?;
            let title = spreadsheet.free_title(wanted, &self.names.destination);
            let sheet = spreadsheet.free_id(&format!("{}\0rules\0{wanted}", self.guards.name(0)));
            let note = RulesNote { destination: self.names.destination.clone(), title: wanted.to_owned(), sheet };
            let body = json!({ "requests": creation(&note, &title, self.config.rows.language) }).to_string();
            let error = match self.send_body(body.into()).await {
                Ok(()) => return Ok(OwnRules::default()),
                Err(Failure { error, refused: Some(_) }) => {
                    refused += 1;
                    error
                }
                Err(Failure { error, .. }) => {
                    self.pause(tried, error.clone()).await?;
                    error
                }
            };
            // An earlier try may have arrived after all.
            let found = self.find().await?;
            self.beside.take(&found, &self.config);
            if self.beside.rules.made {
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

/// True where the cells read by an entry, in the same instant, are this column of the tab.
fn is_column(cells: &[Vec<Value>], column: u32, read: Option<&Vec<Vec<Value>>>) -> bool {
    let Some(read) = read else { return false };
    let blank = |cell: &&Value| cell.as_str() != Some("");
    let here = cells.iter().map(|row| row.get(column as usize).filter(blank));
    let there = read.iter().map(|row| row.first().filter(blank)).chain(std::iter::repeat(None));
    read.len() <= cells.len() && here.zip(there).all(|(here, there)| here == there)
}
