//! How everything stands, as `status --json` says it: the page and the metrics read that, so that no two places count in
//! two ways. What the page needs beside it comes from the store.

use serde::Deserialize;

use super::State;
use super::reading::say;
use super::refused::Refused;
use crate::control::Command;

/// The parts of `status --json` that are shown here.
#[derive(Debug, Deserialize)]
pub(super) struct Standing {
    pub next_run: Option<String>,
    pub transactions: u64,
    pub accounts: Vec<Account>,
    pub sources: Vec<Party>,
    pub destinations: Vec<Party>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub account: String,
    pub currency: String,
    pub balance: Option<String>,
    pub complete: bool,
    pub problem: Option<String>,
}

/// A source or a destination.
#[derive(Debug, Deserialize)]
pub(super) struct Party {
    pub name: String,
    #[serde(default)]
    pub waiting: u64,
    #[serde(default)]
    pub rejected: Vec<serde::de::IgnoredAny>,
    pub last_success: Option<String>,
    pub attention: Option<String>,
    pub error: Option<String>,
}

/// Asks now.
pub(super) fn ask(state: &State) -> Result<Standing, Refused> {
    let text = say(state, &Command::Status { json: true, exit_code: false })?;
    serde_json::from_str(&text).map_err(Refused::failed)
}
