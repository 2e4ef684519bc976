//! A batch in one transaction: its number in the ledger, one look at the rows that it is about, then the statements.
//!
//! The look replaces every assumption about unique indexes: a row is inserted only where its id was not seen. Nobody
//! else of ours can write in between, because the next batch of the same number waits for this one's end.

use std::collections::HashMap;

use crate::destination::{Batch, Outcome, RowChange, Verdict};
use crate::model::Field;
use crate::remote::{Cause, Error};
use crate::source::aliases;

use super::Postgres;
use super::client::Statement;
use super::errors::Failure;
use super::layout::{Bound, Layout};
use super::ledger::{DUPLICATE, written};
use super::plan::{self, Cells, PlannedRow, Work};

/// Parameters of one statement: half of the protocol's limit.
const PARAMETERS: usize = 32_000;

/// Verdicts, each with the position of its row.
type Placed = Vec<(usize, Verdict)>;

/// The end of a transaction's statements.
enum End {
    Written(Vec<Verdict>),
    /// The number belongs to another batch.
    Taken,
}

/// Rows of one statement for all of them.
struct Insertion<'a> {
    at: usize,
    cells: &'a Cells,
    mark: bool,
}

impl Postgres {
    /// Carries out a batch.
    pub(super) async fn carry_out(&mut self, batch: &Batch, changes: &[RowChange]) -> Result<Outcome, Error> {
        let layout = self.ready().await?;
        let planned =
            self.planned.take().filter(|planned| (planned.number, planned.hash) == (batch.number, batch.hash));
        let rows = match planned {
            Some(planned) => planned.rows,
            None => plan::plan(changes, self.rows.vanished, &layout),
        };
        if plan::is_idle(&rows) {
            return Ok(Outcome::Done(rows.iter().map(without_statement).collect::<Vec<_>>().into()));
        }
        self.session.execute_plain("BEGIN").await?;
        match self.apply(&layout, batch, &rows).await {
            Ok(End::Written(verdicts)) => match self.session.execute_plain("COMMIT").await {
                Ok(()) => Ok(Outcome::Done(verdicts.into())),
                Err(failure) => Err(self.explained(failure, &layout)),
            },
            Ok(End::Taken) => {
                self.session.roll_back().await;
                let hash = self.hash_of(batch.number).await?;
                let gone = || Error::unavailable(self.session.words.say("a batch that was under way has failed"));
                hash.map(|hash| Outcome::Superseded { hash }).ok_or_else(gone)
            }
            Err(failure) => {
                self.session.roll_back().await;
                Err(self.explained(failure, &layout))
            }
        }
    }

    /// The statements between `BEGIN` and `COMMIT`.
    async fn apply(&mut self, layout: &Layout, batch: &Batch, rows: &[PlannedRow]) -> Result<End, Failure> {
        match self.session.execute(&self.entry(batch.number, &written(batch.hash))).await {
            Err(failure) if failure.is(DUPLICATE) => return Ok(End::Taken),
            taken => taken?,
        };
        if let Some(pruning) = self.pruning(batch.number) {
            self.session.execute(&pruning).await?;
        }
        let there = self.look(layout, rows).await?;
        let mut verdicts: Vec<Verdict> = rows.iter().map(without_statement).collect();
        let (mut insertions, mut updates) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let count = there.get(&row.id).copied().unwrap_or_default();
            match &row.work {
                Work::None | Work::Refuse(_) => {}
                Work::Insert { cells, mark, .. } if count == 0 => insertions.push(Insertion { at, cells, mark: *mark }),
                Work::Insert { over: false, .. } => {}
                Work::Insert { cells, .. } => {
                    let bank = |(at, _): &&(usize, Option<String>)| layout.columns[*at].is_bank_owned();
                    let cells: Cells = cells.iter().filter(bank).cloned().collect();
                    updates.extend(self.update(layout, &row.id, &cells, None).map(|update| (at, update)));
                }
                Work::Delete if count == 0 => {}
                Work::Delete => updates.push((at, self.deletion(layout, &row.id))),
                Work::Update { cells, mark } if count > 0 => {
                    updates.extend(self.update(layout, &row.id, cells, *mark).map(|update| (at, update)));
                }
                Work::Fill(cells) if count > 0 => updates.push((at, self.filling(layout, &row.id, cells))),
                Work::Repair(cells) => {
                    let mut names = std::iter::once(row.id.clone()).chain(aliases(&row.id));
                    match names.find(|id| there.contains_key(id)) {
                        Some(found) => {
                            let repairs = self.repair(layout, &row.id, &found, cells, there[&found]);
                            updates.extend(repairs.into_iter().map(|repair| (at, repair)));
                        }
                        None => verdicts[at] = Verdict::Deleted,
                    }
                }
                Work::Update { .. } | Work::Fill(_) => verdicts[at] = Verdict::Deleted,
            }
        }
        let inserted = self.insert(layout, &insertions).await?;
        let changed = self.change(updates).await?;
        for (at, verdict) in inserted.into_iter().chain(changed) {
            verdicts[at] = verdict;
        }
        Ok(End::Written(verdicts))
    }

    /// The number of rows with each id, of those that the batch is about.
    async fn look(&mut self, layout: &Layout, rows: &[PlannedRow]) -> Result<HashMap<String, usize>, Failure> {
        let mut ids: Vec<String> = Vec::with_capacity(rows.len());
        for row in rows {
            if matches!(row.work, Work::None | Work::Refuse(_)) {
                continue;
            }
            ids.push(row.id.clone());
            if matches!(row.work, Work::Repair(_)) {
                ids.extend(aliases(&row.id));
            }
        }
        let mut there: HashMap<String, usize> = HashMap::new();
        for some in ids.chunks(PARAMETERS) {
            let mut look = Statement::new(format!(
                "SELECT {id}::text FROM {table} WHERE {id} IN (",
                id = layout.id(),
                table = self.name()
            ));
            look.bind_list(some.iter().map(String::as_str));
            look.push(")");
            for row in &self.session.query(&look).await? {
                *there.entry(row.get(0)).or_default() += 1;
            }
        }
        Ok(there)
    }

    /// Inserts rows, as many as fit with each statement.
    async fn insert(&mut self, layout: &Layout, rows: &[Insertion<'_>]) -> Result<Placed, Failure> {
        let columns: Vec<&str> = layout.columns.iter().map(|bound| bound.name.as_str()).collect();
        let mark = layout.mark.as_ref().map(|mark| mark.name.as_str());
        let names: Vec<&str> = columns.into_iter().chain(mark).collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", self.name(), names.join(", "));
        let mut statements = Vec::new();
        for some in rows.chunks((PARAMETERS / names.len().max(1)).max(1)) {
            let mut statement = Statement::new(head.as_str());
            for (at, row) in some.iter().enumerate() {
                statement.push(if at == 0 { "(" } else { ", (" });
                for (at, text) in row.cells {
                    statement.push(if *at == 0 { "" } else { ", " });
                    match text {
                        // The owner may want something else than nothing there.
                        None if layout.columns[*at].has_default => statement.push("DEFAULT"),
                        text => statement.bind(text.clone()),
                    }
                }
                if let Some(mark) = &layout.mark {
                    statement.push(", ");
                    statement.push(mark.value(row.mark));
                }
                statement.push(")");
            }
            statements.push(statement);
        }
        self.session.execute_all(&statements).await?;
        Ok(rows.iter().map(|row| (row.at, Verdict::Appended)).collect())
    }

    /// Sends the statements on single rows.
    async fn change(&mut self, updates: Vec<(usize, Statement)>) -> Result<Placed, Failure> {
        let (places, statements): (Vec<usize>, Vec<Statement>) = updates.into_iter().unzip();
        let changed = self.session.execute_all(&statements).await?;
        let verdict = |changed: u64| if changed > 0 { Verdict::Updated } else { Verdict::Unchanged };
        // Of a row with several statements any one that changed it tells.
        let mut placed: HashMap<usize, u64> = HashMap::new();
        places.iter().zip(changed).for_each(|(at, changed)| *placed.entry(*at).or_default() += changed);
        Ok(placed.into_iter().map(|(at, changed)| (at, verdict(changed))).collect())
    }

    /// Writes cells and mark where they differ; `None`: there is nothing to write.
    fn update(&self, layout: &Layout, id: &str, cells: &Cells, mark: Option<bool>) -> Option<Statement> {
        let mut statement = Statement::new(format!("UPDATE {} SET ", self.name()));
        let mut first = true;
        for (at, text) in cells {
            statement.push(if std::mem::take(&mut first) { "" } else { ", " });
            let bound: &Bound = &layout.columns[*at];
            statement.push(&format!("{} = ", bound.name));
            match text {
                None if !bound.nullable && bound.has_default => statement.push("DEFAULT"),
                text => statement.bind(text.clone()),
            }
        }
        if let (Some(column), Some(is_on)) = (&layout.mark, mark) {
            statement.push(if std::mem::take(&mut first) { "" } else { ", " });
            statement.push(&format!("{} = {}", column.name, column.value(is_on)));
        }
        if first {
            return None;
        }
        self.of_row(&mut statement, layout, id);
        // A row that is right already is not touched: the owner's triggers would take it for a change.
        let comparable = cells.iter().all(|(at, _)| layout.columns[*at].is_comparable);
        if comparable {
            statement.push(" AND (FALSE");
            for (at, text) in cells {
                statement.push(&format!(" OR {} IS DISTINCT FROM ", layout.columns[*at].name));
                statement.bind(text.clone());
            }
            if let (Some(column), Some(is_on)) = (&layout.mark, mark) {
                statement.push(&format!(" OR {}", column.differs(is_on)));
            }
            statement.push(")");
        }
        Some(statement)
    }

    /// Writes cells of the owner's columns, those that rules gave nothing so far only where nothing is.
    fn filling(&self, layout: &Layout, id: &str, cells: &[(usize, String, bool)]) -> Statement {
        let mut statement = Statement::new(format!("UPDATE {} SET ", self.name()));
        for (place, (at, text, only_empty)) in cells.iter().enumerate() {
            let name = &layout.columns[*at].name;
            statement.push(if place == 0 { "" } else { ", " });
            statement.push(&format!("{name} = "));
            if *only_empty {
                statement.push(&format!("CASE WHEN {} THEN ", is_empty(name)));
            }
            statement.bind(Some(text.clone()));
            if *only_empty {
                statement.push(&format!(" ELSE {name} END"));
            }
        }
        self.of_row(&mut statement, layout, id);
        if cells.iter().all(|(.., only_empty)| *only_empty) {
            let empty: Vec<String> = cells.iter().map(|(at, ..)| is_empty(&layout.columns[*at].name)).collect();
            statement.push(&format!(" AND ({})", empty.join(" OR ")));
        }
        statement
    }

    /// Sets a row right, under its present id, and removes all rows of the id but the first.
    fn repair(&self, layout: &Layout, id: &str, found: &str, cells: &Cells, count: usize) -> Vec<Statement> {
        let mut cells = cells.clone();
        if found != id {
            let at = layout.columns.iter().position(|bound| bound.field == Field::Id);
            cells.extend(at.map(|at| (at, Some(id.to_owned()))));
        }
        let mut statements: Vec<Statement> = self.update(layout, found, &cells, None).into_iter().collect();
        if count > 1 {
            // Two equal rows differ by their place alone.
            let (table, column) = (self.name(), layout.id());
            let mut surplus = Statement::new(format!("DELETE FROM {table} WHERE {column} = "));
            surplus.bind(Some(id.to_owned()));
            surplus.push(&format!(" AND ctid <> (SELECT ctid FROM {table} WHERE {column} = "));
            surplus.bind(Some(id.to_owned()));
            surplus.push(" ORDER BY ctid LIMIT 1)");
            statements.push(surplus);
        }
        statements
    }

    fn deletion(&self, layout: &Layout, id: &str) -> Statement {
        let mut statement = Statement::new(format!("DELETE FROM {}", self.name()));
        self.of_row(&mut statement, layout, id);
        statement
    }

    fn of_row(&self, statement: &mut Statement, layout: &Layout, id: &str) {
        statement.push(&format!(" WHERE {} = ", layout.id()));
        statement.bind(Some(id.to_owned()));
    }

    /// The error of a failed transaction. A table that turned out to be another is read again by the next try.
    fn explained(&mut self, failure: Failure, layout: &Layout) -> Error {
        if failure.is_stale() {
            self.layout = None;
        }
        // Not null: of a column of the owner's, which no row can fill.
        let owners = |name: &String| !layout.columns.iter().any(|bound| bound.name == super::errors::quoted(name));
        match failure.column.as_ref().filter(|name| failure.is("23502") && owners(name)) {
            Some(name) => {
                let what = format!(
                    "column `{name}` demands a value, and bankfeed has none for it: give it a default (ALTER TABLE {} \
                     ALTER COLUMN {} SET DEFAULT …) or DROP NOT NULL; rows wait until then",
                    self.name(),
                    super::errors::quoted(name)
                );
                Error::attention(Cause::Layout, self.session.words.of_table(&what))
            }
            None => failure.error,
        }
    }
}

fn is_empty(column: &str) -> String {
    format!("({column} IS NULL OR {column}::text = '')")
}

/// The verdict on a row that needs no statement.
fn without_statement(row: &PlannedRow) -> Verdict {
    match &row.work {
        Work::Refuse(why) => Verdict::Rejected(why.clone()),
        _ => Verdict::Unchanged,
    }
}
