//! The table as the server's catalogue describes it, and the columns that are ours in it.
//!
//! A column is known by its name, and by its number once it was known: an owner who renames a column keeps its number.
//! A column of ours that the owner has dropped stays away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::destination::policy::{Column, Rows, Vanished};
use crate::model::Field;
use crate::remote::{Cause, Error};

use super::Postgres;
use super::cells::{self, ColumnType, Shape};
use super::client::Statement;
use super::errors::{quoted, quoted_name};

/// The key and the name of the column that marks rows which the bank took back.
const MARK: &str = "vanished";

/// The table, bound to the columns of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The columns that are there, in the order of the configuration.
    pub columns: Vec<Bound>,
    /// The column that marks rows which the bank took back.
    pub mark: Option<Mark>,
}

/// A column of the configuration with the table's column that shows it.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub field: Field,
    /// The column's name in its quotes.
    pub name: String,
    pub shape: Shape,
    pub nullable: bool,
    pub has_default: bool,
    /// The server can tell whether two values of the type differ.
    pub is_comparable: bool,
}

impl Bound {
    /// True for a column whose cells follow the bank. The id never changes.
    pub(super) fn is_bank_owned(&self) -> bool {
        self.field != Field::Id && !self.field.belongs_to_owner()
    }
}

/// The column of marks.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// The column's name in its quotes.
    pub name: String,
    /// The column holds the time of the mark.
    is_time: bool,
}

impl Mark {
    /// The content of a marked or unmarked cell.
    pub(super) fn value(&self, is_on: bool) -> &'static str {
        match (self.is_time, is_on) {
            (true, true) => "now()",
            (true, false) => "NULL",
            (false, true) => "TRUE",
            (false, false) => "FALSE",
        }
    }

    /// The condition of a row whose mark is another.
    pub(super) fn differs(&self, is_on: bool) -> String {
        let name = &self.name;
        match (self.is_time, is_on) {
            (true, true) => format!("{name} IS NULL"),
            (true, false) => format!("{name} IS NOT NULL"),
            (false, true) => format!("{name} IS NOT TRUE"),
            (false, false) => format!("{name} IS NOT FALSE"),
        }
    }

    /// The condition of a marked row, as text.
    pub(super) fn selected(&self) -> String {
        let name = &self.name;
        if self.is_time { format!("({name} IS NOT NULL)::text") } else { format!("coalesce({name}, FALSE)::text") }
    }
}

impl Layout {
    /// The column of ids in its quotes.
    pub(super) fn id(&self) -> &str {
        self.columns.iter().find(|bound| bound.field == Field::Id).map_or("\"id\"", |bound| &bound.name)
    }
}

/// A column as the catalogue describes it.
#[derive(Clone, Debug)]
struct Found {
    name: String,
    number: u32,
    kind: ColumnType,
    nullable: bool,
    has_default: bool,
    is_written: bool,
}

/// What is remembered of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// Our columns by key: name and number.
    columns: BTreeMap<String, (String, u32)>,
    /// Names of all columns.
    names: Vec<String>,
}

/// The place of a column of the configuration.
enum Place<'a> {
    Here(&'a Found),
    /// The owner has dropped it.
    Dropped,
    /// It was never there.
    Missing,
}

impl Known {
    fn find<'a>(&self, key: &str, name: &str, table: &'a [Found]) -> Place<'a> {
        if let Some(found) = table.iter().find(|found| found.name == name) {
            return Place::Here(found);
        }
        let Some((_, number)) = self.columns.get(key) else { return Place::Missing };
        // A column under a name that was there before is another one, as in a table that was made anew.
        let renamed = table.iter().find(|found| found.number == *number && !self.names.contains(&found.name));
        match renamed {
            Some(found) => Place::Here(found),
            // Kept under the name of an earlier look.
            None => match table.iter().find(|found| self.columns.get(key).is_some_and(|(name, _)| *name == found.name))
            {
                Some(found) => Place::Here(found),
                None => Place::Dropped,
            },
        }
    }
}

impl Postgres {
    /// The columns of the table; none where there is no table.
    async fn catalogue(&mut self) -> Result<Vec<Found>, Error> {
        let mut look = Statement::new(
            "SELECT c.column_name::text, c.ordinal_position::text, c.data_type::text, \
             c.character_maximum_length::text, c.numeric_precision::text, c.numeric_scale::text, \
             c.is_nullable::text, (c.column_default IS NOT NULL)::text, c.is_generated::text, t.table_type::text \
             FROM information_schema.columns c JOIN information_schema.tables t \
             ON t.table_schema = c.table_schema AND t.table_name = c.table_name WHERE c.table_name = ",
        );
        let (schema, name) = match self.table.split_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
            None => (None, self.table.clone()),
        };
        look.bind(Some(name));
        look.push(" AND c.table_schema = ");
        match schema {
            Some(schema) => look.bind(Some(schema)),
            None => look.push("current_schema()"),
        }
        look.push(" ORDER BY c.ordinal_position");
        let rows = self.session.query(&look).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let text = |at: usize| row.get::<_, Option<&str>>(at).unwrap_or_default();
            if text(9) == "VIEW" {
                let what = "is a view: name the table behind it, or another name for a new table";
                return Err(Error::attention(Cause::Layout, self.session.words.of_table(what)));
            }
            found.push(Found {
                name: text(0).to_owned(),
                number: text(1).parse().unwrap_or_default(),
                kind: ColumnType {
                    name: text(2).to_owned(),
                    length: text(3).parse().ok(),
                    precision: text(4).parse().ok(),
                    scale: text(5).parse().ok(),
                },
                nullable: text(6) != "NO",
                has_default: text(7) == "true",
                is_written: text(8) != "ALWAYS",
            });
        }
        Ok(found)
    }

    /// Reads the table, makes what is missing, and remembers.
    pub(super) async fn arrange(&mut self) -> Result<Layout, Error> {
        let mut table = self.catalogue().await?;
        if table.is_empty() {
            self.may_make_table()?;
            self.make_table().await?;
            table = self.catalogue().await?;
            if table.is_empty() {
                let what = "exists and its columns cannot be seen: run as its owner GRANT SELECT, INSERT, UPDATE, \
                            DELETE on it to this user";
                return Err(Error::attention(Cause::NotPermitted, self.session.words.of_table(what)));
            }
        } else if self.make_columns(&table).await? {
            table = self.catalogue().await?;
        }
        let layout = self.bind(&table)?;
        self.remember(&layout, &table);
        Ok(layout)
    }

    /// Reads the table and makes nothing. `None`: there is no table, and there never was.
    pub(super) async fn view(&mut self) -> Result<Option<Layout>, Error> {
        let table = self.catalogue().await?;
        if table.is_empty() {
            self.may_make_table()?;
            return Ok(None);
        }
        self.bind(&table).map(Some)
    }

    /// A table that rows were delivered to and that is gone is not made again: its rows would not come back.
    fn may_make_table(&self) -> Result<(), Error> {
        if self.memory.known.columns.is_empty() {
            return Ok(());
        }
        let what = "is gone: bring it back from a backup, or give this entry a new name, so that a new table is made \
                    and filled from the beginning";
        Err(Error::attention(Cause::NotFound, self.session.words.of_table(what)))
    }

    /// The columns of the configuration that the table has, with their types judged.
    fn bind(&self, table: &[Found]) -> Result<Layout, Error> {
        let mut columns = Vec::new();
        for column in &self.rows.columns {
            let key = column.field.key();
            match self.memory.known.find(&key, &column.header, table) {
                Place::Here(found) => columns.push(self.bound(column, found)?),
                Place::Dropped if column.field == Field::Id => {
                    let add = format!("ALTER TABLE {} ADD COLUMN {} text", self.name(), quoted(&column.header));
                    let what = format!(
                        "the column with the transaction ids, `{}`, was dropped: bring it back with its ids from a \
                         backup, or make an empty one ({add}); rows without an id get no corrections",
                        column.header
                    );
                    return Err(Error::attention(Cause::Layout, self.session.words.of_table(&what)));
                }
                Place::Dropped => {}
                Place::Missing => {
                    let what = format!(
                        "has no column `{}` yet: the next delivery, or `bankfeed verify --repair`, makes it",
                        column.header
                    );
                    return Err(Error::attention(Cause::Layout, self.session.words.of_table(&what)));
                }
            }
        }
        Ok(Layout { columns, mark: self.mark(table) })
    }

    fn bound(&self, column: &Column, found: &Found) -> Result<Bound, Error> {
        let shape = Shape::of(&column.field, &found.kind).filter(|_| found.is_written);
        let shape = shape.ok_or_else(|| {
            let kind = cells::definition(&column.field).trim_end_matches(" PRIMARY KEY");
            let why = match found.is_written {
                true => format!("is of type {}, which cannot hold `{}`", found.kind.name, column.field),
                false => "is computed by the server and cannot be written".to_owned(),
            };
            let what = format!(
                "column `{name}` {why}: run ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {kind}, or give the field \
                 another column with {{ field = \"{field}\", header = \"…\" }} in columns",
                name = found.name,
                table = self.name(),
                quoted = quoted(&found.name),
                field = column.field,
            );
            Error::attention(Cause::Layout, self.session.words.of_table(&what))
        })?;
        Ok(Bound {
            field: column.field.clone(),
            name: quoted(&found.name),
            shape,
            nullable: found.nullable,
            has_default: found.has_default,
            is_comparable: found.kind.name != "json",
        })
    }

    /// The column of marks, where rows are marked and the column can hold a mark.
    fn mark(&self, table: &[Found]) -> Option<Mark> {
        let Place::Here(found) = self.memory.known.find(MARK, MARK, table) else { return None };
        let is_time = match found.kind.name.as_str() {
            "boolean" => false,
            "timestamp with time zone" | "timestamp without time zone" => true,
            _ => return None,
        };
        Some(Mark { name: quoted(&found.name), is_time })
    }

    /// Makes the table with all its columns, the view of monthly figures and the ledger, all or nothing.
    async fn make_table(&mut self) -> Result<(), Error> {
        let own = self.rows.columns.iter();
        let columns = own.map(|column| format!("{} {}", quoted(&column.header), cells::definition(&column.field)));
        let mark = self.marks().then(|| format!("{MARK} boolean NOT NULL DEFAULT FALSE"));
        let columns: Vec<String> = columns.chain(mark).collect();
        let table = format!("CREATE TABLE {} ({})", self.name(), columns.join(", "));
        let mut failure = None;
        // A view that cannot be made must not keep rows waiting, and neither must a schema that is there.
        for (with_schema, with_view) in [(false, true), (true, true), (true, false), (false, false)] {
            let schema = self.table.split_once('.').filter(|_| with_schema).map(|(schema, _)| schema);
            if with_schema && schema.is_none() {
                continue;
            }
            let schema = schema.map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {}; ", quoted(schema)));
            let view = with_view.then(|| self.monthly_view()).flatten().map(|view| format!("; {view}"));
            let made = format!("BEGIN; {}{table}{}; COMMIT", schema.unwrap_or_default(), view.unwrap_or_default());
            match self.session.execute_plain(&made).await {
                Ok(()) => return Ok(()),
                Err(error) if error.code.is_none() => return Err(error.error),
                // Another process was first, or the table cannot be seen: the next look tells.
                Err(error) => {
                    self.session.roll_back().await;
                    if error.is("42P07") && !with_view {
                        return Ok(());
                    }
                    // That the schema is missing is known by then; why it cannot be made says more.
                    if !error.is("3F000") || failure.is_none() {
                        failure = Some(error.error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::unavailable(self.session.words.of_table("cannot be made"))))
    }

    /// Makes columns that were never there; returns true if there were any.
    async fn make_columns(&mut self, table: &[Found]) -> Result<bool, Error> {
        let missing = |key: &str, name: &str| matches!(self.memory.known.find(key, name, table), Place::Missing);
        let fields = self.rows.columns.iter().filter(|column| missing(&column.field.key(), &column.header));
        let late: Vec<String> = fields
            .clone()
            .filter(|column| column.field.belongs_to_owner())
            .map(|column| column.field.key().into_owned())
            .collect();
        let mut made: Vec<String> = fields
            .map(|column| {
                // Rows of the owner's may be there: the column of ids cannot be their key.
                let kind = cells::definition(&column.field).trim_end_matches(" PRIMARY KEY");
                format!("{} {kind}", quoted(&column.header))
            })
            .collect();
        if self.marks() && missing(MARK, MARK) {
            made.push(format!("{MARK} boolean DEFAULT FALSE"));
        }
        if made.is_empty() {
            return Ok(false);
        }
        let additions: Vec<String> = made.iter().map(|column| format!("ADD COLUMN {column}")).collect();
        let statement = format!("ALTER TABLE {} {}", self.name(), additions.join(", "));
        match self.session.execute_plain(&statement).await {
            Ok(()) => {}
            Err(failure) if failure.is("42501") => {
                let what = format!("lacks columns, and this user may not add them: run as its owner {statement}");
                return Err(Error::attention(Cause::NotPermitted, self.session.words.of_table(&what)));
            }
            Err(failure) => return Err(failure.error),
        }
        self.memory.unfilled.extend(late);
        Ok(true)
    }

    fn marks(&self) -> bool {
        self.rows.vanished == Vanished::Mark
    }

    /// The view of monthly figures by the rule of page and workbook: money between the owner's own accounts is neither
    /// spent nor earned, rows that the bank took back do not count, and leva are euros. `None`: a column is not shown.
    fn monthly_view(&self) -> Option<String> {
        let column = |field: Field| {
            self.rows.columns.iter().find(|column| column.field == field).map(|column| quoted(&column.header))
        };
        let (date, amount, currency) = (column(Field::Date)?, column(Field::Amount)?, column(Field::Currency)?);
        let (transfer, eur) = (column(Field::Transfer)?, column(Field::AmountEur)?);
        let mark = if self.marks() { format!(" AND NOT {MARK}") } else { String::new() };
        Some(format!(
            "CREATE VIEW {view} AS SELECT month, currency, \
             -sum(CASE WHEN amount < 0 THEN amount ELSE 0 END) AS spent, \
             sum(CASE WHEN amount > 0 THEN amount ELSE 0 END) AS earned, sum(amount) AS net, count(*) AS entries FROM \
             (SELECT date_trunc('month', {date})::date AS month, \
             CASE WHEN {eur} IS NULL THEN {currency} ELSE 'EUR' END AS currency, \
             coalesce({eur}, {amount}) AS amount FROM {table} WHERE {transfer} IS NULL{mark}) AS counted \
             GROUP BY month, currency",
            view = quoted_name(&format!("{}_monthly", self.table)),
            table = self.name(),
        ))
    }

    fn remember(&mut self, layout: &Layout, table: &[Found]) {
        let number = |name: &str| table.iter().find(|found| quoted(&found.name) == *name);
        let known = &mut self.memory.known;
        for bound in &layout.columns {
            if let Some(found) = number(&bound.name) {
                known.columns.insert(bound.field.key().into_owned(), (found.name.clone(), found.number));
            }
        }
        if let Some(found) = layout.mark.as_ref().and_then(|mark| number(&mark.name)) {
            known.columns.insert(MARK.to_owned(), (found.name.clone(), found.number));
        }
        known.names = table.iter().map(|found| found.name.clone()).collect();
    }

    /// The table's name as SQL writes it.
    pub(super) fn name(&self) -> String {
        quoted_name(&self.table)
    }
}

/// Checks that no two columns have one name, which the table could not have, and that none is that of the marks.
pub(super) fn clash(rows: &Rows) -> Option<String> {
    let is_mark = |column: &&Column| column.header == MARK && rows.vanished == Vanished::Mark;
    let column = rows.columns.iter().find(is_mark)?;
    Some(format!(
        "the column of `{}` is called `{MARK}`, which is the column that marks rows the bank took back: choose another \
         header",
        column.field
    ))
}
