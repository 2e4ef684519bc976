//! GoogleSheets.

use async_trait::async_trait;

use super::{Batch, Destination, Item, Outcome, Settled};
use crate::config;
use crate::remote::{Context, Error};

/// The connector.
pub struct GoogleSheets {}

impl GoogleSheets {
    /// Prepares the connector; nothing is sent.
    pub fn new(
        name: &str,
        config: &config::GoogleSheets,
        context: Context,
        memory: &[u8],
    ) -> Result<GoogleSheets, Error> {
        let _ = (name, config, context, memory);
        Ok(GoogleSheets {})
    }
}

#[async_trait]
impl Destination for GoogleSheets {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        Err(Error::malformed("not built"))
    }
    async fn open(&mut self) -> Result<u64, Error> {
        Err(Error::malformed("not built"))
    }
    async fn existing_ids(&mut self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
    fn batch_limit(&self) -> usize {
        10
    }
    async fn prepare(&mut self, _number: u64, _items: &[Item]) -> Result<Batch, Error> {
        Err(Error::malformed("not built"))
    }
    async fn deliver(&mut self, _batch: &Batch, _items: &[Item]) -> Result<Outcome, Error> {
        Err(Error::malformed("not built"))
    }
    async fn settle(&mut self, _number: u64, _hash: u64) -> Result<Settled, Error> {
        Err(Error::malformed("not built"))
    }
    fn memory(&self) -> Vec<u8> {
        Vec::new()
    }
}
