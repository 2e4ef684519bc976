//! Listing the whole table: for a read-back, and for the adoption of existing rows. A listing neither writes rows nor
//! makes fields.
//!
//! Pages are cut by position. A table of several pages is therefore read from the last page to the first: a row that is
//! deleted meanwhile moves others to pages that are still to be read, so that some are seen twice and none is missed.

use std::collections::HashSet;

use super::Nocodb;
use super::cells;
use super::client::{Page, Record};
use super::errors::Reaction;
use super::layout::{Bound, Layout};
use super::look::is_compared;
use crate::destination::readback::{FoundRow, Reader, Shown, id_text};
use crate::model::Field;
use crate::remote::{Cause, Error};

/// Rows asked for at once: the most that NocoDB gives, where only ids are read.
const IDS_PER_PAGE: u32 = 1000;
const ROWS_PER_PAGE: u32 = 250;

/// Most pages of a listing.
const PAGES: u64 = 100_000;

/// The table as it is, of what a read-back needs.
struct View {
    table: String,
    id: Bound,
    columns: Vec<(Field, Bound)>,
}

impl Nocodb {
    /// Reads every record's id and bank-owned cells.
    pub(super) async fn read_all(&mut self, reader: &mut dyn Reader) -> Result<(), Error> {
        let Some(View { table, id, columns }) = self.view().await? else {
            reader.begin(Shown::nothing());
            return Ok(());
        };
        let fields: Vec<&str> =
            std::iter::once(id.listed_as()).chain(columns.iter().map(|(_, bound)| bound.listed_as())).collect();
        reader.begin(shown(&columns));
        let mut is_whole = true;
        let tell = |record: &Record| {
            is_whole &= record.fields.contains_key(&id.title);
            found(record, &id, &columns).into_iter().for_each(|row| reader.row(row));
        };
        self.list(&table, &fields, ROWS_PER_PAGE, tell).await?;
        if is_whole { Ok(()) } else { Err(self.shows_no_id()) }
    }

    /// The id field's content of every record.
    pub(super) async fn listed_ids(&mut self, layout: &Layout) -> Result<Vec<String>, Error> {
        let Some(column) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let (mut ids, mut is_whole) = (Vec::new(), true);
        let tell = |record: &Record| {
            is_whole &= record.fields.contains_key(&column.title);
            ids.extend(record.fields.get(&column.title).and_then(id_text));
        };
        self.list(&layout.table, &[column.listed_as()], IDS_PER_PAGE, tell).await?;
        if is_whole { Ok(ids) } else { Err(self.shows_no_id()) }
    }

    /// The table and its columns as they are now. `None`: there is no such table, and there never was.
    async fn view(&mut self) -> Result<Option<View>, Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.client.shutdown.clone());
        let Some(table) = backoff.retry(&shutdown, self, |base| Box::pin(base.find())).await? else { return Ok(None) };
        let known = self.layout.clone();
        let binding = self.bind_columns(&table, known.as_ref());
        let now = |bound: &Bound| binding.iter().flat_map(|binding| &binding.columns).flatten().any(|now| now == bound);
        if known.as_ref().is_some_and(|known| !known.columns.iter().all(now)) {
            // The next write is planned by what is there.
            self.distrust();
        }
        let (mut id, mut columns) = (None, Vec::new());
        for (column, bound) in self.rows.columns.iter().zip(binding?.columns) {
            let Some(bound) = bound else {
                let (service, table, header) = (self.service(), &table.title, &column.header);
                let remedy = "the next delivery, or `bankfeed verify --repair`, makes it";
                let message = format!("{service}: table `{table}` has no field `{header}` yet: {remedy}");
                return Err(Error::attention(Cause::Layout, message));
            };
            match column.field {
                Field::Id => id = Some(bound),
                ref field if is_compared(field, &bound) => columns.push((field.clone(), bound)),
                _ => {}
            }
        }
        let id = id.ok_or_else(|| Error::malformed(format!("{}: no column shows the id", self.service())))?;
        Ok(Some(View { table: table.id, id, columns }))
    }

    /// Tells every record of the table once.
    async fn list(
        &mut self,
        table: &str,
        fields: &[&str],
        size: u32,
        mut tell: impl FnMut(&Record),
    ) -> Result<(), Error> {
        let first = self.page_patiently(table, fields, size, 1).await?;
        if first.next.is_none() {
            first.records.iter().for_each(tell);
            return Ok(());
        }
        // A server may give fewer rows at once than it was asked for.
        let (got, count) = (first.records.len().max(1) as u64, self.count_patiently(table).await?);
        let pages = count.div_ceil(got);
        if pages > PAGES {
            let remedy = "look at the table in a browser";
            return Err(Error::malformed(format!("{}: the table holds {count} rows; {remedy}", self.service())));
        }
        let mut seen = HashSet::new();
        for number in (1..=u32::try_from(pages).unwrap_or(u32::MAX)).rev() {
            let page = self.page_patiently(table, fields, size, number).await?;
            page.records.iter().filter(|record| seen.insert(record.place())).for_each(&mut tell);
        }
        Ok(())
    }

    /// A page, asked for again after a lost answer. A page beyond the last row is empty.
    async fn page_patiently(&mut self, table: &str, fields: &[&str], size: u32, number: u32) -> Result<Page, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.client.page(table, None, fields, size, number).await {
                Ok(page) => return Ok(page),
                Err(refusal) if refusal.reaction == Reaction::Beyond => {
                    return Ok(Page { records: Vec::new(), next: None });
                }
                Err(refusal) => {
                    if refusal.reaction == Reaction::Stale {
                        self.distrust();
                    }
                    self.backoff.wait(&self.client.shutdown, tried, refusal.error).await?;
                }
            }
        }
    }

    async fn count_patiently(&mut self, table: &str) -> Result<u64, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.client.count(table).await {
                Ok(count) => return Ok(count),
                Err(refusal) => self.backoff.wait(&self.client.shutdown, tried, refusal.error).await?,
            }
        }
    }
}

fn shown(columns: &[(Field, Bound)]) -> Shown {
    let fields = columns.iter().map(|(field, _)| field.clone()).collect();
    let columns = columns.to_vec();
    Shown::new(fields, Box::new(move |at, transaction| cells::expected(&columns[at].0, &columns[at].1, transaction)))
}

fn found(record: &Record, id: &Bound, columns: &[(Field, Bound)]) -> Option<FoundRow> {
    let cell = |bound: &Bound| cells::found(bound.shape, record.fields.get(&bound.title));
    Some(FoundRow {
        id: record.fields.get(&id.title).and_then(id_text)?,
        place: record.place(),
        cells: columns.iter().map(|(_, bound)| cell(bound)).collect(),
        is_marked: false,
    })
}
