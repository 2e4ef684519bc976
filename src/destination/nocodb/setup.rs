//! Gets the layout right: reads the base once, binds columns, makes what is missing, and says what only the owner can
//! mend.
//!
//! Making is safe to repeat: every attempt begins with reading, so what an earlier one made before its answer was lost
//! is found by title. A table or field that was bound once and is gone is never made anew: the owner took it away, and
//! rows arrive without that field. Only the id's is needed: it is made again, and the owner is told what that means.

use super::Nocodb;
use super::cells::{definition, tick_definition};
use super::layout::{Binding, Bound, Layout, Table};
use super::layout::{bind, bind_vanished, bound, find_table, is_table_id, oddness, vanished, vanished_titles};
use crate::destination::policy::Column;
use crate::model::Field;
use crate::remote::{Cause, Error, Kind};

impl Nocodb {
    /// The layout, from memory where it is complete and trusted, else from the base.
    pub(super) async fn make_ready(&mut self) -> Result<Layout, Error> {
        if let Some(layout) = self.remembered() {
            self.layout = Some(layout.clone());
            return Ok(layout);
        }
        let (backoff, shutdown) = (self.backoff.clone(), self.client.shutdown.clone());
        backoff.retry(&shutdown, self, |base| Box::pin(base.arrange())).await
    }

    /// Reads the layout once more. Returns true if the layout has changed, and false also if it had been read in this cycle
    /// already.
    pub(super) async fn refresh(&mut self) -> Result<bool, Error> {
        if self.fresh {
            return Ok(false);
        }
        let before = self.layout.clone();
        let now = self.arrange().await?;
        Ok(before.as_ref() != Some(&now))
    }

    /// Makes the tick field for vanished rows where there is none. The inner error says why there can be none: that is no
    /// reason to keep other rows waiting.
    pub(super) async fn tick_field(&mut self) -> Result<Result<(), String>, Error> {
        let layout = self.make_ready().await?;
        if layout.vanished.is_some() {
            return Ok(Ok(()));
        }
        // Read first: an earlier attempt may have made it and lost the answer.
        let table = self.client.table(&layout.table).await?;
        let bound = match bind_vanished(&table, None) {
            Ok(Some(bound)) => bound,
            Ok(None) => {
                let title = vanished_titles(self.rows.language)[0];
                match self.client.create_field(&layout.table, &tick_definition(title)).await.map_err(Error::from) {
                    Ok(field) => vanished(&field),
                    Err(error) if matches!(error.kind, Kind::Attention(Cause::NotPermitted | Cause::Layout)) => {
                        return Ok(Err(format!("add a checkbox field `{title}` to the table: {error}")));
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(why) => return Ok(Err(why)),
        };
        self.layout = Some(Layout { vanished: Some(bound), ..layout });
        Ok(Ok(()))
    }

    /// Everything `check` says: what is there and what will be made. Writes nothing.
    pub(super) async fn inspect(&mut self) -> Result<Vec<String>, Error> {
        let (base, asked) = (self.client.wording.base.clone(), self.client.wording.table.clone());
        let Some(table) = self.find().await? else {
            let found = format!("base `{base}` found; table `{asked}` will be created");
            return Ok(vec![found, self.inspect_rights(true).await?]);
        };
        let mut lines = vec![format!("base `{base}`, table `{}` found", table.title)];
        let known = self.layout.clone();
        let columns = self.bind_columns(&table, known.as_ref())?.columns;
        let mut missing = Vec::new();
        for (column, bound) in self.rows.columns.iter().zip(&columns) {
            match bound {
                Some(bound) if bound.gone => {
                    lines.push(format!(
                        "column `{}`: its field `{}` was deleted and stays away",
                        column.field, bound.title
                    ));
                }
                Some(bound) => {
                    lines.push(format!("column `{}`: field `{}` found", column.field, bound.title));
                    lines.extend(oddness(bound));
                }
                None => missing.push(format!("column `{}`: field `{}` will be created", column.field, column.header)),
            }
        }
        let is_loose = |bound: &&Bound| {
            bound.key == Field::Id.key() && table.fields.iter().any(|it| it.id == bound.id && it.unique != true)
        };
        if let Some(bound) = columns.iter().flatten().find(is_loose) {
            let remedy = "switch that on in the field's menu, and no row that arrives late can be doubled";
            lines.push(format!("field `{}` takes the same value twice: {remedy}", bound.title));
        }
        let creates = !missing.is_empty();
        lines.extend(missing);
        if let Some(id) = columns.iter().flatten().next() {
            self.client.page(&table.id, None, &[id.listed_as()], 1, 1).await?;
            lines.push("the token may read its rows".into());
        }
        lines.push(self.inspect_rights(creates).await?);
        Ok(lines)
    }

    /// The note about the rights of the token's user. The question is not part of the documented API: a refusal of it
    /// proves nothing.
    async fn inspect_rights(&mut self, creates: bool) -> Result<String, Error> {
        let role = if creates { "creator" } else { "editor" };
        let roles = match self.client.roles().await.map_err(Error::from) {
            Ok(roles) => roles.filter(|roles| !roles.is_empty()),
            Err(error) if error.is_transient() || error.cause() == Some(Cause::Token) => return Err(error),
            Err(_) => None,
        };
        let Some(roles) = roles else {
            return Ok(format!(
                "nocodb does not tell what this token may do: only a write shows whether its user is {role}"
            ));
        };
        let enough: &[&str] = if creates { &["owner", "creator"] } else { &["owner", "creator", "editor"] };
        if roles.iter().any(|role| enough.contains(&role.as_str())) {
            return Ok(format!("the token's user is {} of the base", roles.join(" and ")));
        }
        let (service, base, has) = (self.service(), &self.client.wording.base, roles.join(" and "));
        let message =
            format!("{service}: the token's user needs the role {role} in base `{base}` and has the role {has}");
        Err(Error::attention(Cause::NotPermitted, message))
    }

    /// The table as it is. `None`: there is none, and there never was.
    pub(super) async fn find(&mut self) -> Result<Option<Table>, Error> {
        let id = match &self.layout {
            Some(layout) => layout.table.clone(),
            None => {
                let (tables, asked) = (self.client.tables().await?, &self.client.wording.table);
                match find_table(&tables, asked) {
                    Some(table) => table.id.clone(),
                    None if is_table_id(asked) => return Err(self.client.wording.table_missing("")),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(self.client.table(&id).await?))
    }

    fn remembered(&self) -> Option<Layout> {
        let layout = self.layout.as_ref().filter(|layout| !layout.stale)?;
        layout.id_column()?;
        Some(Layout { columns: layout.aligned(&self.rows.columns)?, ..layout.clone() })
    }

    /// Reads, binds, makes what is missing, and remembers.
    pub(super) async fn arrange(&mut self) -> Result<Layout, Error> {
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
        let table = match self.find().await? {
            Some(table) => table,
            None => {
                let table = self.make_table().await?;
                self.made = true;
                table
            }
        };
        let binding = self.bind_columns(&table, known.as_ref())?;
        self.id_made_again |= binding.id_lost;
        let mut columns = Vec::with_capacity(binding.columns.len());
        for (at, found) in binding.columns.into_iter().enumerate() {
            match found {
                Some(found) => columns.push(found),
                None => {
                    columns.push(self.make_field(&table.id, at).await?);
                    self.note_late(&self.rows.columns[at].field.clone(), known.as_ref());
                }
            }
        }
        let tick = known.as_ref().and_then(|known| known.vanished.as_ref());
        // A tick field of another type is told when a row has to be ticked, not before.
        let vanished = bind_vanished(&table, tick).unwrap_or_default();
        let (base, asked) = (self.client.wording.base.clone(), self.client.wording.table.clone());
        Ok(Layout { base, asked, table: table.id, columns, vanished, stale: false })
    }

    /// A field that rules fill and that rows were written without waits for `rules apply`.
    fn note_late(&mut self, field: &Field, known: Option<&Layout>) {
        let key = field.key().into_owned();
        if field.belongs_to_owner() && known.is_some() && !self.unfilled.contains(&key) {
            self.unfilled.push(key);
        }
    }

    /// The columns of `table`, or what only the owner can mend about them.
    pub(super) fn bind_columns(&self, table: &Table, known: Option<&Layout>) -> Result<Binding, Error> {
        let binding = bind(&self.rows.columns, table, known.map_or(&[], |known| &known.columns));
        if !binding.unsuitable.is_empty() {
            let (service, what) = (self.service(), binding.unsuitable.join("; "));
            let remedy = "change its type, rename it, or give the column another header";
            let message = format!("{service}: table `{}`: {what}: {remedy}", table.title);
            return Err(Error::attention(Cause::Layout, message));
        }
        Ok(binding)
    }

    async fn make_table(&mut self) -> Result<Table, Error> {
        let columns = &self.rows.columns;
        // The first field is the one that NocoDB shows for a row.
        let (id, others): (Vec<_>, Vec<_>) = columns.iter().partition(|column| column.field == Field::Id);
        let fields = id.into_iter().chain(others).map(definition).collect();
        let title = self.client.wording.table.clone();
        tracing::info!("{}: making table `{title}` in base `{}`", self.service(), self.client.wording.base);
        Ok(self.client.create_table(&title, fields).await?)
    }

    async fn make_field(&mut self, table: &str, at: usize) -> Result<Bound, Error> {
        let column: Column = self.rows.columns[at].clone();
        tracing::info!("{}: making field `{}`", self.service(), column.header);
        let field = self.client.create_field(table, &definition(&column)).await?;
        bound(&column, &field).ok_or_else(|| {
            let (service, header, kind) = (self.service(), &column.header, &field.kind);
            Error::malformed(format!("{service}: field `{header}` was made as `{kind}`"))
        })
    }

    /// The layout is read again before the next delivery.
    pub(super) fn distrust(&mut self) {
        if let Some(layout) = &mut self.layout {
            layout.stale = true;
        }
    }
}
