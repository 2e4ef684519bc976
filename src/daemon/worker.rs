//! The one worker of the process that owns the store: it takes requests from the queue and does them one after the other,
//! so that two cycles never overlap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::mpsc;
use tracing::Level;

use super::cycle_log::CycleLog;
use super::reexec::SavedState;
use super::timer;
use crate::commands::{self, with_names};
use crate::config::Config;
use crate::notify::{Teller, Told};
use crate::service::activity::Activity;
use crate::service::{ImportFile, WorkerRequest};
use crate::store;
use crate::sync::{Engine, Report, Step};

/// Does one request after the other, until the stop signal. Returns the state of notices and log.
pub(super) async fn run(
    mut engine: Arc<Engine>,
    mut queue: mpsc::Receiver<WorkerRequest>,
    activity: Activity,
    saved: Option<SavedState>,
) -> (Told, CycleLog) {
    let is_daemon = saved.is_some();
    let SavedState { mut cycle_log, told, .. } = saved.unwrap_or_default();
    let mut teller = Teller::going_on(engine.clone(), told);
    loop {
        let request = tokio::select! {
            request = queue.recv() => request,
            () = engine.shutdown.wait() => None,
        };
        let Some(request) = request else { return (teller.told(), cycle_log) };
        let _busy = activity.begin();
        // The work is done even if the command that asked has gone away.
        match request {
            WorkerRequest::Cycle(cycle, watcher, reply) => {
                teller.begin(&cycle);
                let began = Instant::now();
                let report = engine.cycle(&cycle, &watcher).await;
                // A command that owns the store prints the report itself.
                if is_daemon {
                    log(&mut cycle_log, &report, began.elapsed(), &engine);
                }
                tell(&mut teller, &report, &engine.config).await;
                drop(reply.send(report));
            }
            WorkerRequest::Check(watcher, reply) => {
                let checked = engine.check(&watcher).await;
                drop(reply.send(checked));
            }
            WorkerRequest::Trace(at_terminal, watcher, reply) => {
                let traced = engine.trace(at_terminal, &watcher).await;
                drop(reply.send(traced));
            }
            WorkerRequest::ApplyRules(overwrite, watcher, reply) => {
                let applied = engine.apply_rules(overwrite, &watcher).await;
                drop(reply.send(applied));
            }
            WorkerRequest::Verify(verification, watcher, reply) => {
                let verified = engine.verify(&verification, &watcher).await;
                drop(reply.send(verified));
            }
            WorkerRequest::Restore(destination, ids, watcher, reply) => {
                let restored = engine.restore(&destination, &ids, &watcher).await;
                drop(reply.send(restored));
            }
            WorkerRequest::Match(id, answer, watcher, reply) => {
                drop(reply.send(engine.match_row(&id, &answer)));
                drop(watcher);
            }
            WorkerRequest::Import(import, watcher, reply) => {
                let ImportFile { request, source, name, file } = *import;
                watcher(Step { label: format!("importing {name}"), done: 0, total: 0 });
                let imported = engine.import(&request, &source, &name, file).await;
                drop(reply.send(imported));
            }
            WorkerRequest::Remind(reply) => {
                timer::remind(&engine, &mut teller).await;
                let _ = reply.send(());
            }
            WorkerRequest::Renew(renewed, reply) => {
                teller = Teller::going_on(renewed.clone(), teller.told());
                engine = renewed;
                let _ = reply.send(());
            }
        }
    }
}

/// Gives the notifiers the result of the cycle.
async fn tell(teller: &mut Teller, report: &Result<Report, store::Error>, config: &Config) {
    let why = report.as_ref().map_err(|error| (commands::status_of(error), commands::explain(error, config)));
    let ended = why.as_ref().map(|report| *report).map_err(|(status, why)| (*status, why.as_str()));
    teller.end(ended, Utc::now()).await;
}

/// Logs the result of the cycle.
fn log(cycle_log: &mut CycleLog, report: &Result<Report, store::Error>, took: Duration, engine: &Engine) {
    let (config, accounts) = (&engine.config, engine.store.accounts());
    let why = report.as_ref().map_err(|error| commands::explain(error, config));
    for (level, line) in cycle_log.lines(why.as_ref().map(|report| *report).map_err(String::as_str), took) {
        let line = with_names(&line, &accounts);
        match level {
            Level::ERROR => tracing::error!("{line}"),
            Level::WARN => tracing::warn!("{line}"),
            _ => tracing::info!("{line}"),
        }
    }
}
