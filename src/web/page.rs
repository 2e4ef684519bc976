//! `GET /`: one page with everything, made on the server, without scripts and without anything from other sites.
//!
//! This file gathers the data of the page; `sections` makes the HTML. Every form and link is an address, so the back
//! button, bookmarks and keyboards work as on any page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State as Of};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{Datelike, Months, NaiveDate};
use url::form_urlencoded::Serializer;

use super::access::Caller;
use super::api::{self, TransactionPage};
use super::error::ApiError;
use super::query::{self, Cursor, SELECTING};
use super::stream;
use super::words::{Words, choose};
use super::{State, sections, sign_in};
use crate::commands::status::Status;
use crate::figures::{Figures, Gather};
use crate::selection::{Selection, SelectionMatcher};
use crate::store::KnownAccount;
use crate::sync::Report;

/// Transactions and runs shown at once.
const ROWS: usize = 50;
const RUNS: usize = 12;

/// Months shown by default.
const USUAL_MONTHS: u32 = 12;

/// The data of the page.
pub(super) struct View {
    pub words: &'static Words,
    pub asked: PageQuery,
    /// Proves that a form was made by this page; empty for a program.
    pub form_proof: String,
    pub status: Status,
    pub accounts: Vec<KnownAccount>,
    pub runs: Vec<Report>,
    pub is_running: bool,
    pub figures: Figures,
    pub rows: TransactionPage,
}

/// The query of the page's address.
#[derive(Clone, Debug, Default)]
pub(super) struct PageQuery {
    pub selection: Selection,
    pub currency: Option<String>,
    /// The language, if the address names one.
    pub language: Option<String>,
    pub cursor: Option<Cursor>,
    /// True if a part of the query makes no sense.
    pub misread: bool,
}

impl PageQuery {
    fn read(query: &str, today: NaiveDate) -> PageQuery {
        let parameter = |name| query::parameter(query, name).filter(|value: &String| !value.is_empty());
        let cursor = parameter("cursor").map(|cursor| Cursor::from_cursor(&cursor));
        let mut asked = PageQuery {
            currency: parameter("currency"),
            language: parameter("lang").filter(|language| language == "bg" || language == "en"),
            misread: matches!(cursor, Some(Err(_))),
            cursor: cursor.and_then(Result::ok),
            ..PageQuery::default()
        };
        // The parameters are read one by one, so that a mistake in one leaves the other filters.
        for name in SELECTING.into_iter().filter(|name| *name != "limit") {
            let Some(value) = query::parameter(query, name) else { continue };
            let alone = Serializer::new(String::new()).append_pair(name, &value).finish();
            match query::selection(&alone, &SELECTING, today) {
                Ok(Selection { since, until, account, search, .. }) => {
                    let all = &mut asked.selection;
                    (all.since, all.until) = (all.since.or(since), all.until.or(until));
                    all.account = all.account.take().or(account);
                    all.search = all.search.take().or(search);
                }
                Err(_) => asked.misread = true,
            }
        }
        if asked.selection.contradiction().is_some() {
            (asked.selection.until, asked.misread) = (None, true);
        }
        // An empty date asks for the whole history, a missing one for the usual months.
        if query::parameter(query, "since").is_none() {
            let first = today.with_day(1).and_then(|first| first.checked_sub_months(Months::new(USUAL_MONTHS - 1)));
            asked.selection.since = first;
        }
        asked
    }

    /// The matcher of the selection; an unknown account is left out.
    fn matcher(&mut self, accounts: &[KnownAccount]) -> SelectionMatcher {
        SelectionMatcher::new(&self.selection, accounts).unwrap_or_else(|_| {
            (self.selection.account, self.misread) = (None, true);
            SelectionMatcher::new(&self.selection, accounts).unwrap_or_default()
        })
    }

    /// The address of this page with these parameters changed; `None` leaves a parameter out.
    pub(super) fn address(&self, changes: &[(&str, Option<&str>)]) -> String {
        let Selection { since, until, account, search, .. } = &self.selection;
        let date = |date: &Option<NaiveDate>| date.map(|date| date.to_string());
        let parameters = [
            ("since", Some(date(since).unwrap_or_default())),
            ("until", date(until)),
            ("account", account.clone()),
            ("search", search.clone()),
            ("currency", self.currency.clone()),
            ("lang", self.language.clone()),
        ];
        let mut address = Serializer::new(String::new());
        for (name, value) in &parameters {
            if !changes.iter().any(|(changed, _)| changed == name)
                && let Some(value) = value
            {
                address.append_pair(name, value);
            }
        }
        for (name, value) in changes {
            value.iter().for_each(|value| {
                address.append_pair(name, value);
            });
        }
        format!("/?{}", address.finish())
    }
}

/// Shows the page.
pub(super) async fn page(
    Of(state): Of<Arc<State>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let today = api::today(&state);
    let asked = PageQuery::read(&query.unwrap_or_default(), today);
    let words = choose(asked.language.as_deref(), &headers);
    let form_proof = match caller {
        Caller::Session { form_proof } => form_proof,
        Caller::Token => String::new(),
    };
    let looked = stream::read(&state, move |state| {
        let view = look(state, words, asked, form_proof)?;
        Ok((view.is_running, sections::page(&view)))
    });
    let (is_running, body) = looked.await?;
    let head = if is_running { "<meta http-equiv=\"refresh\" content=\"5\">" } else { "" };
    Ok(sign_in::document(StatusCode::OK, words, head, &body))
}

fn look(state: &State, words: &'static Words, mut asked: PageQuery, form_proof: String) -> Result<View, ApiError> {
    let store = &state.service.engine.store;
    let accounts = store.accounts();
    let matcher = asked.matcher(&accounts);
    let mut gather = Gather::default();
    let selection = &asked.selection;
    let of_accounts = matcher.of_accounts();
    for found in store.by_date(selection.since, selection.until).with_transfers() {
        let (_, transaction) = found.map_err(ApiError::failed)?;
        if matcher.matches(&transaction) {
            gather.add(&transaction);
        }
        // The searched text does not limit the balances.
        if of_accounts.matches(&transaction) {
            gather.add_balance(&transaction);
        }
    }
    Ok(View {
        words,
        form_proof,
        status: Status::now(&state.service).map_err(ApiError::failed)?,
        accounts,
        runs: store.runs(RUNS).map_err(ApiError::failed)?,
        is_running: state.cycle.available_permits() == 0,
        figures: gather.finish(asked.currency.as_deref()),
        rows: api::page(store, selection, &matcher, asked.cursor, ROWS).map_err(ApiError::failed)?,
        asked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_months_are_shown_unless_something_else_is_asked() {
        let today: NaiveDate = "2026-11-22".parse().unwrap();
        let since = |query: &str| PageQuery::read(query, today).selection.since.map(|date| date.to_string());
        assert_eq!(since("").as_deref(), Some("2025-12-01"));
        assert_eq!(since("since="), None);
        assert_eq!(since("since=2024-02-03&until=").as_deref(), Some("2024-02-03"));
        let slip = PageQuery::read("since=2024-99-03&search=хляб&limit=x", today);
        assert!(slip.misread && slip.selection.search.as_deref() == Some("хляб"));
    }

    #[test]
    fn an_address_keeps_what_is_asked_and_changes_what_is_said() {
        let today: NaiveDate = "2026-11-22".parse().unwrap();
        let asked = PageQuery::read("since=&search=%22%3E&lang=bg", today);
        assert_eq!(asked.address(&[("lang", Some("en"))]), "/?since=&search=%22%3E&lang=en");
        assert_eq!(asked.address(&[("search", None), ("cursor", Some("x"))]), "/?since=&lang=bg&cursor=x");
    }
}
