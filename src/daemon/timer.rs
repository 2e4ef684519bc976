//! The timer of the daemon: asks for a cycle when the schedule says so and for notices that are due before it. The
//! timer wakes at these instants only and keeps them in the [`Timetable`](crate::service::timetable::Timetable), so that
//! an idle daemon wakes for them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::notify;
use crate::notify::Teller;
use crate::schedule;
use crate::service::{StoreService, WorkerRequest, wall_clock};
use crate::sync::{Engine, Report, Request, Watcher};

/// Runs until the stop signal. A daemon that has just started catches up on a missed run; after an idle time the timer
/// goes on with the timetable as it is.
pub async fn run(service: StoreService, is_new: bool) {
    let (Engine { config, store, shutdown, .. }, timetable) = (&*service.engine, &service.timetable);
    if is_new && config.catch_up {
        let last: Option<DateTime<Utc>> = match store.runs::<Report>(1) {
            Ok(runs) => {
                runs.first().and_then(|run| DateTime::parse_from_rfc3339(&run.started).ok()).map(|time| time.to_utc())
            }
            Err(error) => return tracing::error!("{error}"),
        };
        let now = Utc::now();
        // A store that has never seen a run has missed none.
        if last.is_some_and(|last| schedule::missed(&config.schedule, last, now, config.timezone)) {
            timetable.lock().looked = Some(now);
            cycle(&service).await;
        }
    }
    while !shutdown.requested() {
        service.plan_run();
        let next = service.next_run();
        let status = next.map_or("no schedule: cycles run when asked for".to_owned(), |_| service.next_run_text());
        notify(&[sd_notify::NotifyState::Status(&status)]);
        match sleep(&service).await {
            Woken::Stop => return,
            Woken::ClockSet => {}
            Woken::Run => cycle(&service).await,
        }
    }
}

/// Why the timer woke.
enum Woken {
    /// The time of a run has come.
    Run,
    /// The wall clock was set: the next run has to be worked out anew.
    ClockSet,
    /// The process stops.
    Stop,
}

/// Sleeps until the next run, or for ever, and asks for notices that become due before it.
async fn sleep(service: &StoreService) -> Woken {
    let timetable = &service.timetable;
    loop {
        let times = {
            let mut times = timetable.lock();
            times.notice = service.engine.next_notice(times.looked.unwrap_or(DateTime::<Utc>::MIN_UTC));
            *times
        };
        let time = async {
            match times.due() {
                Some(due) => wall_clock::wait(due, times.offset).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = service.clock_set.notified() => return Woken::ClockSet,
            () = service.engine.shutdown.wait() => return Woken::Stop,
            // The new session ends at another time, so its notice is due at another time.
            () = service.session_kept.notified() => {
                timetable.lock().looked = None;
                continue;
            }
        }
        if service.plan_run() {
            return Woken::ClockSet;
        }
        let now = Utc::now();
        if times.run.is_some_and(|run| run <= now) {
            timetable.lock().looked = Some(now);
            // The cycle itself gives the notices.
            return Woken::Run;
        }
        if times.notice.is_none_or(|notice| notice > now) {
            continue;
        }
        timetable.lock().looked = Some(now);
        let (reply, said) = oneshot::channel();
        if service.requests.send(WorkerRequest::Remind(reply)).await.is_ok() {
            drop(said.await);
        }
    }
}

async fn cycle(service: &StoreService) {
    notify(&[sd_notify::NotifyState::Status("a cycle is running")]);
    let (reply, answer) = oneshot::channel();
    let watcher: Watcher = Arc::new(|_| {});
    if service.requests.send(WorkerRequest::Cycle(Request::default(), watcher, reply)).await.is_ok() {
        // The worker has the request: the run happens even if the timer is ended.
        {
            let mut times = service.timetable.lock();
            (times.asked, times.run) = (None, None);
        }
        // The worker logs the result.
        drop(answer.await);
    }
}

/// Gives the notices that are due, in the log and to the notifiers.
pub async fn remind(engine: &Engine, teller: &mut Teller) {
    let now = Utc::now();
    for source in &engine.config.sources {
        if let Some(note) = engine.session_note(source, now) {
            tracing::warn!("{}: {note}", source.name);
        }
    }
    teller.remind(now).await;
}
