//! Rows that are kept apart: each may be the same as a row of another source, and nothing decides. No destination gets
//! them before the owner or later evidence has decided.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Result, Store, Writer, codec};
use crate::model::{Row, id_hash};

/// A row that is kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtfulRow {
    /// Number of the record of the account and the source that gave the row.
    pub feed: u16,
    /// The row as it came.
    pub row: Row,
    /// Ids of the transactions of which one may be the same.
    pub candidates: Vec<String>,
    /// When the row came first.
    pub since: DateTime<Utc>,
}

impl DoubtfulRow {
    fn key(&self) -> Vec<u8> {
        [&b"u"[..], &self.feed.to_be_bytes(), &id_hash(&self.row.id).to_be_bytes()].concat()
    }
}

impl Store {
    /// The rows that are kept apart, by date.
    pub fn doubtful(&self) -> Result<Vec<DoubtfulRow>> {
        let rows = self.db.prefix(b"u").map(|entry| Ok(codec::decode_json::<DoubtfulRow>(&entry?.1)?));
        let mut rows = rows.collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|doubtful| (doubtful.row.date, doubtful.row.time));
        Ok(rows)
    }
}

impl Writer<'_> {
    /// Keeps a row apart.
    pub fn put_doubtful(&mut self, doubtful: &DoubtfulRow) -> Result<()> {
        self.batch.insert(doubtful.key(), codec::encode_json(doubtful)?);
        Ok(())
    }

    /// Forgets a row that was kept apart.
    pub fn remove_doubtful(&mut self, doubtful: &DoubtfulRow) -> Result<()> {
        self.batch.remove(doubtful.key());
        Ok(())
    }
}
