//! `GET /metrics`: numbers for Prometheus. No account number and no amount is among them.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State as Of;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;

use super::error::ApiError;
use super::{State, stream};
use crate::commands::status::{ServiceStatus, Status};
use crate::sync::Report;

/// Answers in the text format.
pub(super) async fn metrics(Of(state): Of<Arc<State>>) -> Result<Response, ApiError> {
    let look = |state: &State| {
        let status = Status::now(&state.service).map_err(ApiError::failed)?;
        let store = &state.service.engine.store;
        let last: Vec<Report> = store.runs(1).map_err(ApiError::failed)?;
        Ok(text(&status, store.meta().runs, last.first()))
    };
    let text = stream::read(&state, look).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn text(status: &Status, cycles: u64, last: Option<&Report>) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, i64)]| {
        if samples.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP bankfeed_{name} {help}\n# TYPE bankfeed_{name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(text, "bankfeed_{name}{labels} {value}");
        }
    };
    let alone = |value: u64| vec![(String::new(), i64::try_from(value).unwrap_or(i64::MAX))];
    let services = || status.services().map(|service| (labels(&service), service));
    metric("transactions", "gauge", "Transactions in the store.", &alone(status.transactions));
    metric("accounts", "gauge", "Accounts in the store.", &alone(status.accounts.len() as u64));
    let incomplete = status.accounts.iter().filter(|account| !account.complete).count();
    metric("accounts_incomplete", "gauge", "Accounts whose history has a gap.", &alone(incomplete as u64));
    let succeeded: Vec<_> =
        services().filter_map(|(labels, service)| Some((labels, seconds(service.last_success?)?))).collect();
    metric("last_success_timestamp_seconds", "gauge", "When it last went through.", &succeeded);
    let attention: Vec<_> =
        services().map(|(labels, service)| (labels, i64::from(service.attention.is_some()))).collect();
    metric("attention", "gauge", "1 while only the owner can end what stands in the way.", &attention);
    let failing: Vec<_> = services().map(|(labels, service)| (labels, i64::from(service.error.is_some()))).collect();
    metric("failing", "gauge", "1 while the last try failed and will be repeated.", &failing);
    let of_destinations = |count: fn(&ServiceStatus<'_>) -> u64| -> Vec<_> {
        let destinations = services().filter(|(_, service)| !service.is_source);
        destinations.map(|(labels, service)| (labels, i64::try_from(count(&service)).unwrap_or(i64::MAX))).collect()
    };
    metric("waiting", "gauge", "Changes not delivered yet.", &of_destinations(|service| service.waiting));
    metric("rejected", "gauge", "Rows the service refuses.", &of_destinations(|service| service.rejected));
    metric("cycles_total", "counter", "Cycles recorded.", &alone(cycles));
    if let Some(last) = last {
        let finished: Vec<_> = seconds(&last.finished).map(|at| (String::new(), at)).into_iter().collect();
        metric("last_cycle_timestamp_seconds", "gauge", "When the last cycle ended.", &finished);
        let status = alone(last.exit_status().into());
        metric("last_cycle_status", "gauge", "Its exit status: 0 done, 1 failed, 3 attention.", &status);
    }
    let next: Vec<_> = status.next_run.as_deref().and_then(seconds).map(|at| (String::new(), at)).into_iter().collect();
    metric("next_run_timestamp_seconds", "gauge", "When the next scheduled cycle begins.", &next);
    text
}

fn labels(service: &ServiceStatus<'_>) -> String {
    let kind = if service.is_source { "source" } else { "destination" };
    let name = service.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{kind=\"{kind}\",name=\"{name}\"}}")
}

fn seconds(time: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp())
}
