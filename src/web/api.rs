//! The API: the answers of the commands over HTTP. Accounts, status and CSV are the commands' own output; transactions come
//! in pages, newest first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State as Of};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{NaiveDate, Utc};
use serde_json::value::RawValue;

use super::access::{Caller, is_on_purpose};
use super::error::ApiError;
use super::query::{self, Cursor, SELECTING};
use super::stream::{self, json as as_json, say};
use super::{State, sign_in};
use crate::control::{Command, Output};
use crate::export::Format;
use crate::export::json::TransactionJson;
use crate::model::Transaction;
use crate::selection::{Selection, SelectionMatcher};
use crate::store::{self, Store};
use crate::sync::Request as Cycle;
use crate::threads;

/// Transactions in a page: the default and the maximum.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Longest time that the page's button waits for a cycle before the page is shown again.
const BUTTON_PATIENCE: Duration = Duration::from_secs(20);

/// `GET /api/accounts`
pub(super) async fn accounts(Of(state): Of<Arc<State>>) -> Result<Response, ApiError> {
    spoken(&state, Command::Accounts { json: true }).await
}

/// `GET /api/status`
pub(super) async fn status(Of(state): Of<Arc<State>>) -> Result<Response, ApiError> {
    spoken(&state, Command::Status { json: true, exit_code: false }).await
}

async fn spoken(state: &Arc<State>, command: Command) -> Result<Response, ApiError> {
    stream::read(state, move |state| say(state, &command)).await.map(as_json)
}

/// `GET /api/transactions`: `{"transactions":[…],"next_cursor":…}`.
pub(super) async fn transactions(Of(state): Of<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let query = query.unwrap_or_default();
    let allowed: Vec<&str> = SELECTING.into_iter().chain(["cursor"]).collect();
    let selection = query::selection(&query, &allowed, today(&state)).map_err(ApiError::bad)?;
    let cursor = query::parameter(&query, "cursor").filter(|cursor| !cursor.is_empty());
    let after = cursor.map(|cursor| Cursor::from_cursor(&cursor)).transpose().map_err(ApiError::bad)?;
    let look = move |state: &State| page_as_json(&state.service.engine.store, &selection, after);
    stream::read(&state, look).await.map(as_json)
}

fn page_as_json(store: &Store, selection: &Selection, after: Option<Cursor>) -> Result<String, ApiError> {
    let most = selection.limit.unwrap_or(PAGE).min(LONGEST_PAGE);
    let matcher = SelectionMatcher::new(selection, &store.accounts()).map_err(ApiError::bad)?;
    let page = page(store, selection, &matcher, after, most).map_err(ApiError::failed)?;
    let shown: HashSet<u64> = page.rows.iter().map(|(number, _)| *number).collect();
    let history = store.history_of(|number| shown.contains(&number)).map_err(ApiError::failed)?;
    let objects = page.rows.iter().map(|(number, transaction)| {
        let history = history.get(number).map_or(&[][..], Vec::as_slice);
        serde_json::value::to_raw_value(&TransactionJson { transaction, history })
    });
    let objects: Result<Vec<Box<RawValue>>, _> = objects.collect();
    let body = TransactionsBody { transactions: objects.map_err(ApiError::failed)?, next_cursor: page.next };
    let mut text = serde_json::to_string(&body).map_err(ApiError::failed)?;
    text.push('\n');
    Ok(text)
}

#[derive(serde::Serialize)]
struct TransactionsBody {
    transactions: Vec<Box<RawValue>>,
    /// The cursor of the next page; null: this page is the last.
    next_cursor: Option<String>,
}

/// A page of transactions, newest first, and the cursor of the next page.
pub(super) struct TransactionPage {
    pub rows: Vec<(u64, Transaction)>,
    pub next: Option<String>,
}

/// The `most` newest selected transactions behind the cursor `after`.
pub(super) fn page(
    store: &Store,
    selection: &Selection,
    matcher: &SelectionMatcher,
    after: Option<Cursor>,
    most: usize,
) -> Result<TransactionPage, store::Error> {
    let until = [selection.until, after.map(|place| place.date())].into_iter().flatten().min();
    let mut rows: Vec<(u64, Transaction)> = Vec::new();
    for found in store.by_date(selection.since, until).newest_first().with_transfers() {
        let (number, transaction) = found?;
        if after.is_some_and(|after| Cursor::of(number, &transaction) >= after) || !matcher.matches(&transaction) {
            continue;
        }
        if rows.len() == most {
            let next = rows.last().map(|(number, last)| Cursor::of(*number, last).to_cursor());
            return Ok(TransactionPage { rows, next });
        }
        rows.push((number, transaction));
    }
    Ok(TransactionPage { rows, next: None })
}

/// The owner's day.
pub(super) fn today(state: &State) -> NaiveDate {
    Utc::now().with_timezone(&state.service.engine.config.timezone).date_naive()
}

/// `GET /api/transactions.csv`: the output of `export --format csv`.
pub(super) async fn csv(Of(state): Of<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let allowed: Vec<&str> = SELECTING.into_iter().chain(["token"]).collect();
    let selection = query::selection(&query.unwrap_or_default(), &allowed, today(&state)).map_err(ApiError::bad)?;
    SelectionMatcher::new(&selection, &state.service.engine.store.accounts()).map_err(ApiError::bad)?;
    let command = Command::Export { selection, format: Format::Csv, ending: None };
    let write = move |state: &State, output: &mut dyn Output| stream::say_into(state, &command, output);
    let mut answer = stream::stream(&state, "text/csv; charset=utf-8", write).await?;
    let name = HeaderValue::from_static("attachment; filename=\"transactions.csv\"");
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(answer)
}

/// `POST /api/sync`: runs a cycle. A program gets the report; the page's button leads back to the page. `retry=true`, in the
/// address or the body, says that the owner has acted; without it a source that needs the owner is left alone.
pub(super) async fn sync(
    Of(state): Of<Arc<State>>,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let form = sign_in::read_form(body).await?;
    let by_button = form.contains_key("form_proof");
    let by_hand = says_retry(parts.uri.query().unwrap_or_default(), &form).map_err(ApiError::bad)?;
    if !is_on_purpose(&caller, &parts.headers, form.get("form_proof").map(String::as_str)) {
        return Err(ApiError::foreign());
    }
    // Two requests at once get one cycle. A request waits for a scheduled cycle, because the caller wants a cycle that begins
    // after the request.
    let turn = match state.cycle.clone().try_acquire_owned() {
        Ok(turn) => turn,
        Err(_) if by_button => return Ok(back(&form)),
        Err(_) => return Err(ApiError::new(StatusCode::CONFLICT, "a cycle is running already")),
    };
    let running = state.clone();
    // The cycle goes on if the caller goes away.
    let cycle = threads::run("cycle", move || {
        let request = Cycle { by_hand, ..Cycle::default() };
        let report = say(&running, &Command::Sync { request, json: true });
        drop(turn);
        report
    });
    let cycle = cycle.map_err(|error| ApiError::failed(error).for_now(5))?;
    if by_button {
        // The page shows the result of the cycle, or that the cycle still runs.
        drop(tokio::time::timeout(BUTTON_PATIENCE, cycle).await);
        return Ok(back(&form));
    }
    cycle.await.unwrap_or_else(|_| Err(ApiError::failed("the cycle ended without a report"))).map(as_json)
}

/// True if the caller says that the owner has acted.
fn says_retry(query: &str, form: &HashMap<String, String>) -> Result<bool, String> {
    let said = query::parameter(query, "retry").or_else(|| form.get("retry").cloned());
    match said.as_deref() {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("retry: expected true or false".into()),
    }
}

/// Back to the page in its language.
fn back(form: &HashMap<String, String>) -> Response {
    match form.get("lang").map(String::as_str) {
        Some("bg") => Redirect::to("/?lang=bg#runs").into_response(),
        Some("en") => Redirect::to("/?lang=en#runs").into_response(),
        _ => Redirect::to("/#runs").into_response(),
    }
}

/// The answer at an address that does not exist.
pub(super) async fn nowhere() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// The answer to a method that an address does not know.
pub(super) async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this address is asked with another method")
}
