//! Paths for whoever drives the simulator from outside, such as the scripts that check it. No part of the real API: they
//! need no key, and exist on loopback only.
//!
//! - `POST /simulator/state` with any of `{"version": 18 | 19, "today": "2026-11-30" | null, "databases": {NAME: BOOKS}}`
//!   replaces those parts of the state. BOOKS has the fields of [`Books`]: users, companies, currencies, journals, lines
//!   by id, external ids as `{"module.name": [MODEL, ID]}`.
//! - `POST /simulator/books` with `{"database": NAME}` returns the books of a database.
//! - `POST /simulator/lines` with `{"database": NAME, "lines": [LINE], "external_ids": {…}}` puts lines in, each instead of
//!   one with the same id.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::books::{Books, Line};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    version: Option<u32>,
    #[serde(default)]
    today: Option<NaiveDate>,
    databases: Option<BTreeMap<String, Books>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    database: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    database: String,
    lines: Vec<Line>,
    #[serde(default)]
    external_ids: BTreeMap<String, (String, i64)>,
}

pub(super) fn answer(state: &mut State, what: &str, body: &[u8]) -> Result<Value, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    match what {
        "state" => {
            let parts: Parts = serde_json::from_slice(body).map_err(wrong)?;
            state.version = parts.version.unwrap_or(state.version);
            state.fixed_day = parts.today;
            if let Some(databases) = parts.databases {
                state.databases = databases;
            }
            for books in state.databases.values_mut() {
                books.last_line = books.last_line.max(books.lines.keys().next_back().copied().unwrap_or_default());
            }
            Ok(json!({}))
        }
        "books" => {
            let named: Named = serde_json::from_slice(body).map_err(wrong)?;
            let books = state.databases.get(&named.database).ok_or("there is no such database")?;
            serde_json::to_value(books).map_err(wrong)
        }
        "lines" => {
            let parts: Lines = serde_json::from_slice(body).map_err(wrong)?;
            let books = state.databases.get_mut(&parts.database).ok_or("there is no such database")?;
            for line in parts.lines {
                books.last_line = books.last_line.max(line.id);
                books.lines.insert(line.id, line);
            }
            books.external_ids.extend(parts.external_ids);
            Ok(json!({}))
        }
        _ => Err("there is no such path".to_owned()),
    }
}
