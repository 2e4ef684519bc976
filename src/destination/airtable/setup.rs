//! Gets the layout right: reads the base once, binds columns, makes what is missing, and says what only the owner can
//! mend.
//!
//! Making is safe to repeat: every attempt begins with reading, so what an earlier one made before its answer was lost
//! is found by name. A table or field that was bound once and is gone is never made anew: the owner took it away, and
//! rows arrive without that field. Only the id's is needed: it is made again, and the owner is told what that means.

use crate::destination::policy::Column;
use crate::model::Field;
use crate::remote::{Cause, Error, Kind};

use super::Airtable;
use super::cells::{definition, tick_definition};
use super::errors::{Purpose, Refusal, in_all};
use super::layout::{Binding, Bound, Layout, Table};
use super::layout::{bind, bind_vanished, find_table, oddness, vanished, vanished_names};

impl Airtable {
    /// The layout, from memory where it is complete and trusted, else from the base.
    pub(super) async fn make_ready(&mut self) -> Result<Layout, Error> {
        if let Some(layout) = self.remembered() {
            self.layout = Some(layout.clone());
            return Ok(layout);
        }
        let (backoff, shutdown) = (self.backoff.clone(), self.client.shutdown.clone());
        backoff.retry(&shutdown, self, |base| Box::pin(base.arrange())).await
    }

    /// Reads the layout once more after the service refused a request made by it. Returns true if the layout has
    /// changed, and false also if it had been read in this cycle already.
    pub(super) async fn refresh(&mut self) -> Result<bool, Error> {
        if self.fresh {
            return Ok(false);
        }
        let before = self.layout.clone();
        let now = self.arrange().await?;
        Ok(before.as_ref() != Some(&now))
    }

    /// The tick field for vanished rows, made where there is none. The inner error says why there can be none: that is
    /// no reason to keep other rows waiting.
    pub(super) async fn tick_field(&mut self) -> Result<Result<Bound, String>, Error> {
        let Some(layout) = self.layout.clone() else { return Ok(Err("the table is not known yet".into())) };
        if let Some(bound) = layout.vanished {
            return Ok(Ok(bound));
        }
        // Read first: an earlier attempt may have made it and lost the answer.
        let tables = self.client.tables().await?;
        let Some(table) = tables.iter().find(|table| table.id == layout.table) else {
            return Ok(Err("the table is gone".into()));
        };
        let bound = match bind_vanished(table, None) {
            Ok(Some(bound)) => bound,
            Ok(None) => match self.make_tick_field(&layout.table).await {
                Ok(bound) => bound,
                Err(error) if matches!(error.kind, Kind::Attention(Cause::NotPermitted | Cause::Layout)) => {
                    let name = vanished_names(self.rows.language)[0];
                    return Ok(Err(format!("add a checkbox field `{name}` to the table: {error}")));
                }
                Err(error) => return Err(error),
            },
            Err(why) => return Ok(Err(why)),
        };
        self.layout = Some(Layout { vanished: Some(bound.clone()), ..layout });
        Ok(Ok(bound))
    }

    /// Everything `check` says: what is there, what will be made, and what the token may do. Writes nothing.
    pub(super) async fn inspect(&mut self) -> Result<Vec<String>, Error> {
        let tables = self.client.tables().await?;
        let (base, asked) = (self.client.wording.base.clone(), self.client.wording.table.clone());
        let known = self.layout.clone();
        let mut lines = Vec::new();
        let missing = match find_table(&tables, &asked, known.as_ref().map(|layout| layout.table.as_str())) {
            Some(table) => {
                lines.push(format!("base `{base}`, table `{}` found", table.name));
                self.inspect_columns(table, known.as_ref(), &mut lines)?
            }
            None => {
                self.may_make_table(known.as_ref())?;
                lines.push(format!("base `{base}` found; table `{asked}` will be created"));
                true
            }
        };
        lines.extend(self.inspect_token(missing).await?);
        self.inspect_reading(&tables, known.as_ref()).await?;
        if let Some(limit) = self.client.monthly_requests {
            lines.push(format!("{} of this month's {limit} requests are spent", self.client.sent_this_month()));
        }
        Ok(lines)
    }

    fn remembered(&self) -> Option<Layout> {
        let layout = self.layout.as_ref().filter(|layout| !layout.stale)?;
        Some(Layout { columns: layout.aligned(&self.rows.columns)?, ..layout.clone() })
    }

    /// Reads, binds, makes what is missing, and remembers.
    async fn arrange(&mut self) -> Result<Layout, Error> {
        let arranged = self.arrange_once().await;
        match &arranged {
            Ok(layout) => {
                self.layout = Some(layout.clone());
                self.fresh = true;
            }
            // The ids stay known: they tell a field that was taken away from one that never was.
            Err(Error { kind: Kind::Attention(_), .. }) => {
                if let Some(layout) = &mut self.layout {
                    layout.stale = true;
                }
            }
            Err(_) => {}
        }
        arranged
    }

    async fn arrange_once(&mut self) -> Result<Layout, Error> {
        let known = self.layout.clone();
        let tables = self.client.tables().await?;
        let table =
            match find_table(&tables, &self.client.wording.table, known.as_ref().map(|layout| layout.table.as_str())) {
                Some(table) => table.clone(),
                None => {
                    self.may_make_table(known.as_ref())?;
                    let table = self.make_table().await?;
                    (self.made, self.records) = (true, Some(0));
                    table
                }
            };
        let binding = self.bind_columns(&table, known.as_ref())?;
        self.id_made_again |= binding.id_lost;
        let columns = binding.columns;
        let mut bound = Vec::with_capacity(columns.len());
        for (at, found) in columns.into_iter().enumerate() {
            match found {
                Some(found) => bound.push(found),
                None => {
                    bound.push(self.make_field(&table.id, at).await?);
                    self.note_late(&self.rows.columns[at].field.clone(), known.as_ref(), &table);
                }
            }
        }
        let tick = known.as_ref().filter(|known| known.table == table.id).and_then(|known| known.vanished.as_ref());
        // A tick field of another type is told when a row has to be ticked, not before.
        let vanished = bind_vanished(&table, tick).unwrap_or_default();
        let (base, asked) = (self.client.wording.base.clone(), self.client.wording.table.clone());
        Ok(Layout { base, asked, table: table.id, columns: bound, vanished, stale: false })
    }

    /// A field that rules fill and that rows were written without waits for `rules apply`.
    fn note_late(&mut self, field: &Field, known: Option<&Layout>, table: &Table) {
        let key = field.key().into_owned();
        let late = field.belongs_to_owner() && known.is_some_and(|known| known.table == table.id);
        if late && !self.unfilled.contains(&key) {
            self.unfilled.push(key);
        }
    }

    /// The columns of `table`, or what only the owner can mend about them.
    pub(super) fn bind_columns(&self, table: &Table, known: Option<&Layout>) -> Result<Binding, Error> {
        let known = known.filter(|known| known.table == table.id);
        let binding = bind(&self.rows.columns, table, known.map_or(&[], |known| &known.columns));
        let service = self.service();
        if !binding.unsuitable.is_empty() {
            return Err(Error::attention(
                Cause::Layout,
                format!(
                    "{service}: table `{}`: {}: change its type, rename it, or give the column another header",
                    table.name,
                    binding.unsuitable.join("; ")
                ),
            ));
        }
        Ok(binding)
    }

    /// Checks that a missing table may be made: a table that was there before is not made again, and no table is made
    /// by id.
    pub(super) fn may_make_table(&self, known: Option<&Layout>) -> Result<(), Error> {
        let (service, table, base) = (self.service(), &self.client.wording.table, &self.client.wording.base);
        let is_id =
            table.starts_with("tbl") && table.len() == 17 && table.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if known.is_none() && !is_id {
            return Ok(());
        }
        Err(Error::attention(
            Cause::NotFound,
            format!("{service}: table `{table}` is not in base `{base}`: restore it, or name another one in `table`"),
        ))
    }

    async fn make_table(&mut self) -> Result<Table, Error> {
        let columns = &self.rows.columns;
        // The first field becomes the primary one: the only one that must stay.
        let (id, others): (Vec<_>, Vec<_>) = columns.iter().partition(|column| column.field == Field::Id);
        let fields = id.into_iter().chain(others).map(definition).collect();
        let name = self.client.wording.table.clone();
        tracing::info!("{}: making table `{name}` in base `{}`", self.service(), self.client.wording.base);
        Ok(self.client.create_table(&name, fields).await?)
    }

    async fn make_field(&mut self, table: &str, at: usize) -> Result<Bound, Error> {
        let column: Column = self.rows.columns[at].clone();
        tracing::info!("{}: making field `{}`", self.service(), column.header);
        let field = self.client.create_field(table, &definition(&column)).await?;
        let shape = super::cells::Shape::of(&column.field, &field.kind).ok_or_else(|| {
            let (service, header, kind) = (self.service(), &column.header, &field.kind);
            Error::malformed(format!("{service}: field `{header}` was made as `{kind}`"))
        })?;
        let (key, kind) = (column.field.key().into_owned(), field.kind);
        Ok(Bound { key, id: field.id, name: field.name, shape, kind, gone: false })
    }

    async fn make_tick_field(&mut self, table: &str) -> Result<Bound, Error> {
        let name = vanished_names(self.rows.language)[0];
        Ok(vanished(&self.client.create_field(table, &tick_definition(name)).await?))
    }

    /// Says which columns are there and which will be made; whether any will be.
    fn inspect_columns(&self, table: &Table, known: Option<&Layout>, lines: &mut Vec<String>) -> Result<bool, Error> {
        let bound = self.bind_columns(table, known)?.columns;
        let mut missing = Vec::new();
        for (column, bound) in self.rows.columns.iter().zip(&bound) {
            match bound {
                Some(bound) if bound.gone => {
                    lines.push(format!(
                        "column `{}`: its field `{}` was deleted and stays away",
                        column.field, bound.name
                    ));
                }
                Some(bound) => {
                    lines.push(format!("column `{}`: field `{}` found", column.field, bound.name));
                    lines.extend(oddness(bound));
                }
                None => missing.push(format!("column `{}`: field `{}` will be created", column.field, column.header)),
            }
        }
        let any = !missing.is_empty();
        lines.extend(missing);
        Ok(any)
    }

    /// The notes about the token's rights, as far as the service tells them: the two questions are optional, and a
    /// refusal of them proves nothing.
    async fn inspect_token(&mut self, creates: bool) -> Result<Vec<String>, Error> {
        let scopes = optional(self.client.whoami().await)?.and_then(|answer| answer.scopes);
        let permission = optional(self.client.permission().await)?.flatten();
        let mut needed = vec![Purpose::ReadRows, Purpose::WriteRows];
        needed.extend(creates.then_some(Purpose::CreateLayout));
        let scopes = scopes.filter(|scopes| !scopes.is_empty());
        let lacking: Vec<_> = needed
            .into_iter()
            .map(Purpose::scope)
            .filter(|scope| scopes.as_ref().is_some_and(|scopes| !scopes.iter().any(|given| given == scope)))
            .collect();
        let (service, base) = (self.service(), &self.client.wording.base);
        if !lacking.is_empty() {
            let message = format!(
                "{service}: the token lacks the scope {}: add it at airtable.com/create/tokens; {}",
                lacking.join(" and "),
                in_all()
            );
            return Err(Error::attention(Cause::NotPermitted, message));
        }
        let role = match permission.as_deref() {
            Some("none" | "read" | "comment") => Some("editor"),
            Some("edit") if creates => Some("creator"),
            _ => None,
        };
        if let Some(role) = role {
            let message = format!("{service}: the token's user needs the role {role} in base `{base}`");
            return Err(Error::attention(Cause::NotPermitted, message));
        }
        Ok(vec![match scopes {
            Some(_) => "the token has the scopes it needs".into(),
            None => format!(
                "airtable does not tell which scopes this token has: only a write shows whether {} is among them",
                Purpose::WriteRows.scope()
            ),
        }])
    }

    /// Proves that rows may be read by asking for one: a listed table proves nothing about its rows. If the table is
    /// still to be made, any other of the base will do. Writing has no such proof: the service's order of checking the
    /// token and the content of a write is not known, so that a write that cannot apply would prove nothing.
    async fn inspect_reading(&mut self, tables: &[Table], known: Option<&Layout>) -> Result<(), Error> {
        let own = find_table(tables, &self.client.wording.table, known.map(|layout| layout.table.as_str()));
        let Some(table) = own.or(tables.first()) else { return Ok(()) };
        let Err(refusal) = self.client.probe(&table.id).await else { return Ok(()) };
        if !matches!(refusal.error.kind, Kind::Attention(Cause::NotPermitted | Cause::NotFound)) {
            return Err(refusal.error);
        }
        // The base and the table have just been listed for this token.
        let message = format!(
            "{}: the token may not read the rows of table `{}` in base `{}`: give it the scope {} at \
             airtable.com/create/tokens; {}",
            self.service(),
            table.name,
            self.client.wording.base,
            Purpose::ReadRows.scope(),
            in_all()
        );
        Err(Error::attention(Cause::NotPermitted, message))
    }
}

/// The answer to a question that not every token may ask.
fn optional<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Refusal { error, .. }) => match error.kind {
            Kind::Attention(Cause::Token | Cause::Quota) | Kind::Stopped => Err(error),
            _ if error.is_transient() => Err(error),
            _ => Ok(None),
        },
    }
}
