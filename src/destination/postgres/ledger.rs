//! The ledger: a row for each batch that was applied, written in the batch's own transaction.
//!
//! Two batches of one number exclude each other by the table's key, even while the first is still under way: the second
//! waits for its end. A batch whose answer was lost is therefore either in the ledger, or can be sent again.

use crate::remote::Error;

use super::Postgres;
use super::client::Statement;
use super::errors::{Failure, ledger_name, quoted_name};

/// Name of the table, in the schema of the rows.
pub(super) const TABLE: &str = "bankfeed_batches";

/// Batches that stay in the ledger. An answer that is still sought after so many others is sought in vain.
const KEPT: u64 = 1000;

/// The hash of a number that was taken by no batch.
pub(super) const FENCE: u64 = 0;

/// A duplicate key.
pub(super) const DUPLICATE: &str = "23505";

impl Postgres {
    pub(super) fn ledger(&self) -> String {
        quoted_name(&ledger_name(&self.table))
    }

    /// The statements that make the ledger.
    pub(super) fn ledger_definition(&self) -> String {
        format!(
            "CREATE TABLE {} (place text, number bigint, hash text NOT NULL, PRIMARY KEY (place, number))",
            self.ledger()
        )
    }

    /// The number of the last batch. Number 0 holds a mark by which this place is known again.
    pub(super) async fn last_batch(&mut self) -> Result<u64, Error> {
        let ledger = self.ledger();
        let mut look = Statement::new(format!("SELECT number::text, hash FROM {ledger} WHERE place = "));
        look.bind(Some(self.table.clone()));
        look.push(&format!(" AND (number = 0 OR number = (SELECT max(number) FROM {ledger} WHERE place = "));
        look.bind(Some(self.table.clone()));
        look.push("))");
        let rows = match self.session.query(&look).await {
            Err(failure) if failure.is("42P01") => {
                self.session.execute_plain(&self.ledger_definition()).await?;
                Vec::new()
            }
            rows => rows?,
        };
        let (mut last, mut identity) = (0, None);
        for row in &rows {
            let number: u64 = row.get::<_, String>(0).parse().unwrap_or_default();
            last = last.max(number);
            if number == 0 {
                identity = Some(row.get::<_, String>(1));
            }
        }
        match identity {
            Some(identity) => self.recognise(identity)?,
            None => {
                let identity = self.memory.identity.clone().unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
                self.session.execute(&self.entry(0, &identity)).await?;
                self.memory.identity = Some(identity);
            }
        }
        Ok(last)
    }

    /// The place must be the one that was delivered to before.
    fn recognise(&mut self, identity: String) -> Result<(), Error> {
        if self.memory.identity.as_ref().is_some_and(|known| *known != identity) {
            let what = "is another table than the one delivered to so far: name the former database or table again, or \
                        give this entry a new name, so that the table is filled from the beginning";
            return Err(Error::attention(crate::remote::Cause::NotFound, self.session.words.of_table(what)));
        }
        self.memory.identity = Some(identity);
        Ok(())
    }

    /// The statement that takes a number.
    pub(super) fn entry(&self, number: u64, hash: &str) -> Statement {
        let mut entry = Statement::new(format!("INSERT INTO {} (place, number, hash) VALUES (", self.ledger()));
        entry.bind_list([self.table.as_str(), &number.to_string(), hash]);
        entry.push(")");
        entry
    }

    /// The statement that forgets old batches, where it is time for it.
    pub(super) fn pruning(&self, number: u64) -> Option<Statement> {
        let until = number.checked_sub(KEPT).filter(|_| number.is_multiple_of(KEPT / 4))?;
        let mut pruning = Statement::new(format!("DELETE FROM {} WHERE number > 0 AND place = ", self.ledger()));
        pruning.bind(Some(self.table.clone()));
        pruning.push(" AND number <= ");
        pruning.bind(Some(until.to_string()));
        Some(pruning)
    }

    /// The hash of the batch with this number.
    pub(super) async fn hash_of(&mut self, number: u64) -> Result<Option<u64>, Failure> {
        let mut look = Statement::new(format!("SELECT hash FROM {} WHERE place = ", self.ledger()));
        look.bind(Some(self.table.clone()));
        look.push(" AND number = ");
        look.bind(Some(number.to_string()));
        let rows = self.session.query(&look).await?;
        Ok(rows.first().map(|row| u64::from_str_radix(row.get::<_, &str>(0), 16).unwrap_or(FENCE)))
    }
}

/// A hash as the ledger holds it.
pub(super) fn written(hash: u64) -> String {
    format!("{hash:016x}")
}
