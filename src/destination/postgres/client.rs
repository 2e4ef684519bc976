//! The connection: made when it is first needed, statements with their time limit and their count, parameters as text.
//!
//! Each statement goes out with its parameters in one round trip and counts as one request, as does making a
//! connection. Parameters leave in their text form and without a type, so that the server reads them by the column's
//! own type, whatever the owner has chosen.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use crate::remote::{Cause, Counter, Error};

use super::address::Address;
use super::errors::{Failure, Wording};
use super::tls;

/// Longest time that the server may take for a statement.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Statements on their way at once.
const PIPELINED: usize = 64;

/// Settings of a session: dates in the one form that is read here, and a transaction whose client was lost without a
/// word gives its locks back soon.
const SESSION: &str = "SET datestyle TO 'ISO'; SET idle_in_transaction_session_timeout TO 10000";

/// A statement with its parameters.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub sql: String,
    params: Vec<Param>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), params: Vec::new() }
    }

    /// Appends text.
    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Appends a parameter.
    pub(super) fn bind(&mut self, value: Option<String>) {
        self.params.push(Param(value));
        self.sql.push('$');
        self.sql.push_str(&self.params.len().to_string());
    }

    /// Appends parameters, separated by commas.
    pub(super) fn bind_list<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        for (at, value) in values.into_iter().enumerate() {
            self.push(if at == 0 { "" } else { ", " });
            self.bind(Some(value.to_owned()));
        }
    }

    fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect()
    }
}

/// A parameter in its text form.
#[derive(Debug)]
struct Param(Option<String>);

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// The connection to the database.
pub(super) struct Session {
    address: Address,
    pub words: Wording,
    client: Option<Client>,
    requests: Counter,
}

impl Session {
    pub(super) fn new(address: Address, words: Wording, requests: Counter) -> Session {
        Session { address, words, client: None, requests }
    }

    /// Connects unless a connection is there.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        self.client = None;
        let unusable = |why: String| Error::attention(Cause::Machine, self.words.say(&why));
        let connector = tls::connector(&self.address.tls).map_err(unusable)?;
        self.requests.add();
        let config = self.address.config.clone();
        let client = in_time(&self.words, async move {
            // The connection's own task ends with the client.
            match connector {
                None => config.connect(NoTls).await.map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                }),
                Some(tls) => config.connect(tls).await.map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                }),
            }
        });
        let client = client.await.map_err(|failure| failure.error)?;
        self.requests.note_answer();
        self.client = Some(client);
        // Engines that know none of these settings do without.
        match self.execute_plain(SESSION).await {
            Err(failure) if self.client.is_none() => Err(failure.error),
            _ => Ok(()),
        }
    }

    /// The rows of a statement.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let client = self.client()?;
        let rows = in_time(&self.words, client.query_typed(&statement.sql, &statement.typed())).await;
        self.noted(rows)
    }

    /// The number of rows that a statement has changed.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64, Failure> {
        let client = self.client()?;
        let changed = in_time(&self.words, client.execute_typed(&statement.sql, &statement.typed())).await;
        self.noted(changed)
    }

    /// A statement without parameters, or several.
    pub(super) async fn execute_plain(&mut self, sql: &str) -> Result<(), Failure> {
        let client = self.client()?;
        let done = in_time(&self.words, client.batch_execute(sql)).await;
        self.noted(done)
    }

    /// The numbers of rows that statements have changed, sent without waiting for each other.
    pub(super) async fn execute_all(&mut self, statements: &[Statement]) -> Result<Vec<u64>, Failure> {
        let Some(client) = &self.client else { return Err(self.words.cut_off()) };
        let (requests, words) = (&self.requests, &self.words);
        let mut sent: Vec<BoxFuture<'_, Result<u64, Failure>>> = Vec::with_capacity(statements.len());
        for statement in statements {
            sent.push(Box::pin(async move {
                requests.add();
                in_time(words, async { client.execute_typed(&statement.sql, &statement.typed()).await }).await
            }));
        }
        let mut answers = futures_util::stream::iter(sent).buffered(PIPELINED);
        let mut changed = Vec::with_capacity(statements.len());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(rows) => changed.push(rows),
                Err(failure) => {
                    drop(answers);
                    return self.noted(Err(failure));
                }
            }
        }
        drop(answers);
        self.requests.note_answer();
        Ok(changed)
    }

    /// Gives each row of a statement to `take`, without holding them all at once.
    pub(super) async fn each(&mut self, statement: &Statement, mut take: impl FnMut(&Row)) -> Result<(), Failure> {
        let client = self.client()?;
        let params = statement.params.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN));
        let rows = match in_time(&self.words, client.query_typed_raw(&statement.sql, params)).await {
            Ok(rows) => rows,
            Err(failure) => return self.noted(Err(failure)),
        };
        let mut rows = std::pin::pin!(rows);
        loop {
            match in_time(&self.words, async { rows.next().await.transpose() }).await {
                Ok(Some(row)) => take(&row),
                Ok(None) => break,
                Err(failure) => return self.noted(Err(failure)),
            }
        }
        self.requests.note_answer();
        Ok(())
    }

    /// Ends a transaction that has failed; a connection that cannot do so is given up, and the server ends it.
    pub(super) async fn roll_back(&mut self) {
        if self.client.is_some() && self.execute_plain("ROLLBACK").await.is_err() {
            self.client = None;
        }
    }

    /// The connection, for a request that is about to leave.
    fn client(&self) -> Result<&Client, Failure> {
        let client = self.client.as_ref().ok_or_else(|| self.words.cut_off())?;
        self.requests.add();
        Ok(client)
    }

    /// A connection without an answer from the server is of no use any more.
    fn noted<T>(&mut self, answer: Result<T, Failure>) -> Result<T, Failure> {
        match &answer {
            Ok(_) => self.requests.note_answer(),
            Err(failure) if failure.code.is_none() => self.client = None,
            Err(_) if self.client.as_ref().is_some_and(Client::is_closed) => self.client = None,
            Err(_) => {}
        }
        answer
    }
}

/// The answer within the time limit.
async fn in_time<T>(
    words: &Wording,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| words.failure(&error)),
        Err(_) => Err(words.no_answer()),
    }
}
