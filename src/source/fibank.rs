//! My Fibank.

use async_trait::async_trait;

use super::{Session, Source};
use crate::config;
use crate::remote::{Context, Error};

/// The connector.
pub struct Fibank {}

impl Fibank {
    /// Prepares the connector; nothing is sent.
    pub fn new(name: &str, config: &config::Fibank, context: Context) -> Result<Fibank, Error> {
        let _ = (name, config, context);
        Ok(Fibank {})
    }
}

#[async_trait]
impl Source for Fibank {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        Err(Error::malformed("not built"))
    }
}
