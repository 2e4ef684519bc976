//! Paths for whoever drives the simulator from outside, such as the scripts that check it. No part of the protocol: they
//! need no credentials, count against no quota, and exist on loopback only.
//!
//! - `POST /simulator/tokens` makes a setup token: `{"token"}`.
//! - `POST /simulator/settings` with any of `{"old","oldWords","complaints":[{"code","words","connection","account"}],
//!   "missing":[id],"unpaid","revoked","exhausted","cutsSilently","quota"}` changes the ways of the service.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Complaint, Refusal, Refused, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    old: Option<bool>,
    old_words: Option<bool>,
    complaints: Option<Vec<Said>>,
    missing: Option<Vec<String>>,
    unpaid: Option<bool>,
    revoked: Option<bool>,
    exhausted: Option<bool>,
    cuts_silently: Option<bool>,
    quota: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    code: String,
    words: String,
    connection: Option<String>,
    account: Option<String>,
}

/// Answers a request from outside.
pub(super) fn answer(state: &mut State, path: &str, body: &Bytes) -> Refused<Value> {
    match path {
        "/simulator/tokens" => Ok(json!({"token": state.setup_token()})),
        "/simulator/settings" => {
            let settings: Settings =
                serde_json::from_slice(body).map_err(|error| Refusal::text(400, &error.to_string()))?;
            change(state, settings);
            Ok(json!({}))
        }
        _ => Err(Refusal::text(404, "Not Found")),
    }
}

fn change(state: &mut State, settings: Settings) {
    let switches = &mut state.switches;
    let flags = [
        (&mut switches.is_old, settings.old),
        (&mut switches.old_words, settings.old_words),
        (&mut switches.is_unpaid, settings.unpaid),
        (&mut switches.is_revoked, settings.revoked),
        (&mut switches.is_exhausted, settings.exhausted),
        (&mut switches.cuts_silently, settings.cuts_silently),
    ];
    for (flag, wanted) in flags {
        *flag = wanted.unwrap_or(*flag);
    }
    switches.quota = settings.quota.or(switches.quota);
    if let Some(missing) = settings.missing {
        switches.missing = missing;
    }
    if let Some(said) = settings.complaints {
        let complaint = |said: Said| {
            let Said { code, words, connection, account } = said;
            Complaint { code, words, connection, account }
        };
        switches.complaints = said.into_iter().map(complaint).collect();
    }
}
