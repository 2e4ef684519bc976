//! The table of accounts: a row per account with the bank's balance, the sum of its rows and the difference.
//!
//! The table exists if the configuration names it, and is written after the rows, by upsert on the account, one request
//! per ten. It must never cost a row: if the token may not make the table, or little of the month's budget is left, it
//! is left out until another day.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::cells::{Cells, Shape, definition, raw};
use super::client::Outgoing;
use super::errors::{Reaction, Refusal};
use super::layout::{Table, find_table};
use super::{Airtable, BATCH_LIMIT};
use crate::destination::figures::{FIGURES, Figure, left_out, status_text};
use crate::destination::policy::Column;
use crate::destination::{AccountSummary, Summary};
use crate::model::{Field, Language, Value, minus};
use crate::remote::{Cause, Error, Kind};

/// The remembered table of accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    /// The name that was configured.
    asked: String,
    /// `tbl…`
    table: String,
    /// Keys of figures with the ids and shapes of their fields.
    fields: Vec<(String, String, Shape)>,
}

/// The field every line of which says how everything stands.
const STATUS: (&str, &str, &str) = ("status", "Status", "Състояние");

/// The consequence of a refused try.
enum Try {
    /// The table cannot be had: left out.
    Without,
    /// The layout has changed: once more.
    Again,
    Failed(Error),
}

impl Airtable {
    /// Writes the accounts, if they are asked for and were not written in this cycle.
    pub(super) async fn publish_accounts(&mut self) -> Result<(), Error> {
        let (Some(summary), Some(name)) = (self.summary.take(), self.accounts_table.clone()) else { return Ok(()) };
        // Up to four requests where the table has to be found or made.
        let needed = summary.accounts.len().div_ceil(BATCH_LIMIT) as u32 + 4;
        if !self.client.can_spare(needed) {
            tracing::info!("{}: little of the month's budget is left; `{name}` waits", self.service());
            return Ok(());
        }
        let mut tried = 0;
        let mut looked_again = false;
        loop {
            tried += 1;
            match self.write_accounts(&summary, &name).await {
                Ok(()) => return Ok(()),
                Err(Try::Without) => return Ok(()),
                Err(Try::Again) if !looked_again => {
                    looked_again = true;
                    self.accounts = None;
                }
                Err(Try::Again) => {
                    let message = format!("{}: the table `{name}` is refused; the rows are written", self.service());
                    return Err(Error::attention(Cause::Layout, message));
                }
                Err(Try::Failed(error)) => self.backoff.wait(&self.client.shutdown, tried, error).await?,
            }
        }
    }

    async fn write_accounts(&mut self, summary: &Summary, name: &str) -> Result<(), Try> {
        let accounts = match self.accounts.clone().filter(|known| known.asked == name) {
            Some(known) => known,
            None => self.find_accounts(name).await?,
        };
        self.accounts = Some(accounts.clone());
        let key = accounts.fields.iter().find(|(key, ..)| key == "account").map(|(_, id, _)| id.clone());
        let Some(key) = key else { return Err(Try::Without) };
        let rows = rows(&accounts, summary, self.rows.language);
        let typecast = accounts.fields.iter().any(|(_, _, shape)| shape.needs_typecast());
        for ten in rows.chunks(BATCH_LIMIT) {
            self.client.upsert(&accounts.table, &key, ten, typecast).await.map_err(judge)?;
        }
        Ok(())
    }

    /// The table by its name, made if it is missing. Fields are matched by name and made if they are missing.
    async fn find_accounts(&mut self, name: &str) -> Result<Accounts, Try> {
        let language = self.rows.language;
        let columns = columns(language);
        let tables = self.client.tables().await.map_err(judge)?;
        let known = self.accounts.as_ref().filter(|known| known.asked == name).map(|known| known.table.clone());
        let table = match find_table(&tables, name, known.as_deref()) {
            Some(table) => table.clone(),
            None => {
                tracing::info!("{}: making table `{name}`", self.service());
                let fields = columns.iter().map(|(_, column)| definition(column)).collect();
                self.client.create_table(name, fields).await.map_err(judge)?
            }
        };
        Ok(Accounts { asked: name.to_owned(), table: table.id.clone(), fields: bind(&columns, &table) })
    }
}

/// Decides the consequence of a refusal.
fn judge(refusal: Refusal) -> Try {
    match (refusal.reaction, &refusal.error.kind) {
        (_, Kind::Attention(Cause::NotPermitted | Cause::NotFound)) => Try::Without,
        (Reaction::Stale | Reaction::Value | Reaction::Choice, _) | (_, Kind::Unexplained) => Try::Again,
        _ => Try::Failed(refusal.error),
    }
}

/// The figures with the fields they would be made as, the account first: the first field becomes the primary one.
fn columns(language: Language) -> Vec<(&'static str, Column)> {
    let header = |en: &str, bg: &str| if language == Language::En { en.to_owned() } else { bg.to_owned() };
    let figures = FIGURES.iter().map(|(figure, key, en, bg)| {
        let field = match figure {
            Figure::Balance | Figure::Opening | Figure::Sum | Figure::TakenBack | Figure::Difference => Field::Amount,
            Figure::First | Figure::Last => Field::Date,
            Figure::LastSuccess | Figure::NextRun => Field::Time,
            Figure::Remark | Figure::Complete => Field::Note,
            _ => Field::Account,
        };
        (*key, Column { field, header: header(en, bg) })
    });
    let status = (STATUS.0, Column { field: Field::Note, header: header(STATUS.1, STATUS.2) });
    figures.chain([status]).collect()
}

/// The fields of a table that show figures. Fields that the owner took away or gave another type stay out.
fn bind(columns: &[(&'static str, Column)], table: &Table) -> Vec<(String, String, Shape)> {
    let bound = columns.iter().filter_map(|(key, column)| {
        let same = |name: &str| name.trim().to_lowercase() == column.header.to_lowercase();
        let field = table.fields.iter().find(|field| same(&field.name))?;
        Some(((*key).to_owned(), field.id.clone(), Shape::of(&column.field, &field.kind)?))
    });
    bound.collect()
}

fn rows(accounts: &Accounts, summary: &Summary, language: Language) -> Vec<Outgoing> {
    let mut seen: Vec<&str> = Vec::new();
    let lines = summary.accounts.iter().map(|account| {
        // A former currency is a line of its own, and so needs a key of its own.
        let former = seen.contains(&account.account.as_str());
        seen.push(&account.account);
        let fields = accounts.fields.iter().filter_map(|(key, id, shape)| {
            let cell = shape.cell(&value(key, account, summary, language, former)).or_else(|| raw(&Json::Null))?;
            Some((id.clone(), cell))
        });
        Outgoing { id: None, fields: fields.collect::<Cells>() }
    });
    lines.collect()
}

fn value<'a>(key: &str, account: &'a AccountSummary, summary: &Summary, language: Language, former: bool) -> Value<'a> {
    let difference = || {
        let rows = minus(account.sum?, account.taken_back);
        account.balance?.checked_sub(account.opening?)?.checked_sub(rows)
    };
    let money = |amount: Option<rust_decimal::Decimal>| amount.map_or(Value::Empty, Value::Money);
    let why = left_out(language, account);
    match Figure::by_key(key) {
        None => Value::Text(status_text(language, summary).into()),
        Some(Figure::Account) if former => Value::Text(format!("{} {}", account.account, account.currency).into()),
        Some(Figure::Sum) => money(account.sum),
        Some(Figure::Difference) => money(difference().filter(|_| why.is_none())),
        // A field for times takes no words.
        Some(Figure::NextRun) => summary.next_run.map_or(Value::Empty, Value::Time),
        Some(Figure::Remark) => match (Figure::Remark.value(language, summary, account), why) {
            (Value::Text(remark), Some(why)) if !remark.is_empty() => Value::Text(format!("{why}; {remark}").into()),
            (_, Some(why)) => Value::Text(why.into()),
            (Value::Text(remark), None) if remark.is_empty() => Value::Empty,
            (remark, None) => remark,
        },
        Some(figure) => match figure.value(language, summary, account) {
            Value::Text(text) if text.is_empty() => Value::Empty,
            value => value,
        },
    }
}
