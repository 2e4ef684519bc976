//! Listing the whole table, a hundred records a request: for a read-back, and for the adoption of existing rows.
//!
//! A listing neither writes rows nor makes fields. A listing whose place has expired begins again, and its reader is
//! told.

use crate::destination::readback::{Cell, FoundRow, Reader, Shown, id_text};
use crate::model::Field;
use crate::remote::{Cause, Error};

use super::Airtable;
use super::cells;
use super::client::{Listing, Record};
use super::errors::Reaction;
use super::layout::{Bound, Layout, find_table};

/// Number of times that a listing may begin again.
const BEGINNINGS: u32 = 3;

/// Most pages of a listing: twice what the largest base holds.
const PAGES: usize = 10_000;

/// The progress of a listing.
#[derive(Default)]
struct Cursor {
    /// The beginning of the next page; `None` at the start.
    offset: Option<String>,
    /// Number of times that the listing has begun.
    beginnings: u32,
    /// Pages since it began.
    pages: usize,
    done: bool,
}

/// A page of a listing.
struct Page {
    /// True for the first page: earlier pages are void.
    begins: bool,
    records: Vec<Record>,
}

/// The table as it is, of what a read-back needs.
struct View {
    table: String,
    id: Bound,
    columns: Vec<(Field, Bound)>,
}

impl Airtable {
    /// Reads every record's id and bank-owned cells.
    pub(super) async fn read_all(&mut self, reader: &mut dyn Reader) -> Result<(), Error> {
        let Some(View { table, id, columns }) = self.view().await? else {
            reader.begin(Shown::nothing());
            return Ok(());
        };
        let fields: Vec<&str> =
            std::iter::once(id.id.as_str()).chain(columns.iter().map(|(_, bound)| bound.id.as_str())).collect();
        let (mut cursor, mut records) = (Cursor::default(), 0);
        while let Some(page) = self.next_page(&table, &fields, &mut cursor).await? {
            if page.begins {
                records = 0;
                reader.begin(shown(&columns));
            }
            records += page.records.len() as u64;
            page.records.iter().filter_map(|record| found(record, &id, &columns)).for_each(|row| reader.row(row));
        }
        self.records = Some(records);
        Ok(())
    }

    /// The id field's content of every record.
    pub(super) async fn listed_ids(&mut self, layout: &Layout) -> Result<Vec<String>, Error> {
        let Some(column) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let (mut ids, mut cursor, mut records) = (Vec::new(), Cursor::default(), 0);
        while let Some(page) = self.next_page(&layout.table, &[&column.id], &mut cursor).await? {
            if page.begins {
                (records, ids) = (0, Vec::new());
            }
            records += page.records.len() as u64;
            ids.extend(page.records.iter().filter_map(|record| record.fields.get(&column.id).and_then(id_text)));
        }
        self.records = Some(records);
        Ok(ids)
    }

    /// The table and its columns as the base lists them now. `None`: there is no such table, and there never was.
    async fn view(&mut self) -> Result<Option<View>, Error> {
        let mut tried = 0;
        let tables = loop {
            tried += 1;
            match self.client.tables().await {
                Ok(tables) => break tables,
                Err(refusal) => self.backoff.wait(&self.client.shutdown, tried, refusal.error).await?,
            }
        };
        let known = self.layout.clone();
        let bound_before = known.as_ref().map(|layout| layout.table.as_str());
        let Some(table) = find_table(&tables, &self.client.wording.table, bound_before) else {
            self.may_make_table(known.as_ref())?;
            return Ok(None);
        };
        let binding = self.bind_columns(table, known.as_ref()).map(|binding| binding.columns);
        // A field that was deleted and is back, or is of another type by now: the next write is planned by what is there.
        let differs = |bound: &Bound| {
            let mut there = binding.iter().flatten().flatten().filter(|now| now.key == bound.key && !now.gone);
            let same = |now: &Bound| now.id == bound.id && now.kind == bound.kind;
            if bound.gone { there.next().is_some() } else { !there.any(same) }
        };
        if known.as_ref().is_some_and(|known| known.columns.iter().any(differs))
            && let Some(layout) = &mut self.layout
        {
            layout.stale = true;
        }
        let binding = binding?;
        let (mut id, mut columns) = (None, Vec::new());
        for (column, bound) in self.rows.columns.iter().zip(binding) {
            let Some(bound) = bound else {
                let (service, header) = (self.service(), &column.header);
                return Err(Error::attention(
                    Cause::Layout,
                    format!(
                        "{service}: table `{}` has no field `{header}` yet: the next delivery, or `bankfeed verify --repair`, makes it",
                        table.name
                    ),
                ));
            };
            if bound.gone {
                continue;
            }
            // The service rewrites rich text as it likes: comparing it would never settle.
            let rich = table.fields.iter().any(|field| field.id == bound.id && field.kind == "richText");
            match column.field {
                Field::Id => id = id.or(Some(bound)),
                ref field if !field.belongs_to_owner() && !rich => columns.push((field.clone(), bound)),
                _ => {}
            }
        }
        let id = id.ok_or_else(|| Error::malformed(format!("{}: no column shows the id", self.service())))?;
        Ok(Some(View { table: table.id.clone(), id, columns }))
    }

    /// The next page of the whole table; `None` after the last. A page whose answer was lost is asked for again; only
    /// an expired place makes the listing begin anew.
    async fn next_page(&mut self, table: &str, fields: &[&str], cursor: &mut Cursor) -> Result<Option<Page>, Error> {
        if cursor.done {
            return Ok(None);
        }
        let mut tried = 0;
        loop {
            tried += 1;
            match self.client.page(table, None, fields, cursor.offset.as_deref()).await {
                Ok(Listing { records, offset }) => {
                    let begins = cursor.offset.is_none();
                    cursor.pages = if begins { 1 } else { cursor.pages + 1 };
                    if cursor.pages > PAGES || offset.is_some() && offset == cursor.offset {
                        let service = &self.client.wording.service;
                        let remedy = "try again later, and if it stays so, look at the table in a browser";
                        return Err(Error::malformed(format!(
                            "{service}: the listing of the table has no end; {remedy}"
                        )));
                    }
                    cursor.done = offset.is_none();
                    cursor.offset = offset;
                    return Ok(Some(Page { begins, records }));
                }
                Err(refusal) if refusal.reaction == Reaction::Expired && cursor.beginnings < BEGINNINGS => {
                    (cursor.offset, cursor.beginnings) = (None, cursor.beginnings + 1);
                }
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
    let cell = |bound: &Bound| record.fields.get(&bound.id).map_or(Cell::Empty, Cell::from_json);
    Some(FoundRow {
        id: record.fields.get(&id.id).and_then(id_text)?,
        // The oldest comes first.
        place: format!("{} {}", record.created, record.id),
        cells: columns.iter().map(|(_, bound)| cell(bound)).collect(),
        is_marked: false,
    })
}
