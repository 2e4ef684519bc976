//! When something is to be done: asks for cycles when the schedule says so, and for what is to be said before the next
//! one. It wakes at those instants and for nothing else, and notes them, so that a rest lasts no longer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Job, Owner, alarm, next_text, notify};
use crate::config::Config;
use crate::notify::Teller;
use crate::schedule;
use crate::sync::{Engine, Report, Request, Watcher};

/// What the clock has noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The next run that the schedule asks for.
    pub asked: Option<DateTime<Utc>>,
    /// When it happens, the random delay included.
    pub run: Option<DateTime<Utc>>,
    /// When something is to be said before that.
    pub notice: Option<DateTime<Utc>>,
    /// What was due until then has been said.
    pub looked: Option<DateTime<Utc>>,
    /// How far the wall clock was ahead of the machine's own time; another value says that it has been set.
    pub offset: Option<i64>,
}

impl Clock {
    /// When something is to be done next.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.run.into_iter().chain(self.notice).min()
    }

    /// What is left of it once the clock was set: a run that is due, or whose random delay is all it waits for. All else
    /// is worked out anew.
    fn after_setting(self, now: DateTime<Utc>, jitter: Duration) -> Clock {
        let is_asked = self.asked.is_some_and(|asked| asked <= now);
        let is_near = self.run.is_some_and(|run| run <= now || (is_asked && run - now <= delta(jitter)));
        let kept = if is_near { self } else { Clock::default() };
        Clock {
            asked: kept.asked,
            run: kept.run,
            looked: self.looked.map(|looked| looked.min(now)),
            ..Clock::default()
        }
    }

    /// Works the next run out where none is noted, and anew where the clock was set since the last look. Returns whether
    /// it was.
    fn plan(&mut self, config: &Config, now: DateTime<Utc>, offset: i64) -> bool {
        let was_set = self.offset.is_some_and(|known| alarm::was_set(known, offset));
        if was_set {
            *self = self.after_setting(now, config.jitter);
        }
        self.offset = Some(offset);
        if self.run.is_none() {
            self.asked =
                schedule::next_run(&config.schedule, now.with_timezone(&config.timezone)).map(|at| at.to_utc());
            self.run = self.asked.map(|at| at + delta(config.jitter.mul_f64(fastrand::f64())));
        }
        was_set
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// What is noted, for whoever wants to rest.
pub type Noted = Arc<Mutex<Clock>>;

/// What stands there now.
pub fn note(noted: &Noted) -> MutexGuard<'_, Clock> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs until the stop signal. A daemon that has just started looks whether a run was missed; after a rest it goes on
/// with what was noted.
pub async fn run(owner: Owner, is_new: bool) {
    let (Engine { config, store, shutdown, .. }, noted) = (&*owner.engine, &owner.noted);
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
            note(noted).looked = Some(now);
            cycle(&owner).await;
        }
    }
    while !shutdown.requested() {
        plan(&owner);
        let next = owner.next_run();
        let status = next.map_or("no schedule: cycles run when asked for".to_owned(), |_| next_text(&owner));
        notify(&[sd_notify::NotifyState::Status(&status)]);
        match sleep(&owner).await {
            Woken::Stop => return,
            Woken::Set => {}
            Woken::Run => cycle(&owner).await,
        }
    }
}

/// Why the clock is awake.
enum Woken {
    /// It is time for a run.
    Run,
    /// It was set: what comes next is another matter now.
    Set,
    /// Everything ends.
    Stop,
}

/// Works out when the next run is, where that is not known or not true any more. Returns whether the clock was set.
fn plan(owner: &Owner) -> bool {
    let was_set = note(&owner.noted).plan(&owner.engine.config, Utc::now(), alarm::offset());
    if was_set {
        tracing::info!("the clock was set: {}", next_text(owner));
    }
    was_set
}

/// When the next run is, for whoever asks. Where that has to be worked out anew, the clock is told.
pub fn next_run(owner: &Owner) -> Option<DateTime<Utc>> {
    let now = Utc::now();
    let is_running = note(&owner.noted).run.is_none_or(|run| run <= now);
    let config = &owner.engine.config;
    if is_running {
        return schedule::next_run(&config.schedule, now.with_timezone(&config.timezone)).map(|next| next.to_utc());
    }
    if plan(owner) {
        owner.set.notify_one();
    }
    note(&owner.noted).run
}

/// Sleeps until the next run, or for ever, and says on the way what becomes due.
async fn sleep(owner: &Owner) -> Woken {
    let noted = &owner.noted;
    loop {
        let clock = {
            let mut clock = note(noted);
            clock.notice = owner.engine.next_notice(clock.looked.unwrap_or(DateTime::<Utc>::MIN_UTC));
            *clock
        };
        let time = async {
            match clock.due() {
                Some(due) => alarm::wait(due, clock.offset).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = owner.set.notified() => return Woken::Set,
            () = owner.engine.shutdown.wait() => return Woken::Stop,
            // Another session, with another end.
            () = owner.kept.notified() => {
                note(noted).looked = None;
                continue;
            }
        }
        if plan(owner) {
            return Woken::Set;
        }
        let now = Utc::now();
        if clock.run.is_some_and(|run| run <= now) {
            note(noted).looked = Some(now);
            // The cycle says it.
            return Woken::Run;
        }
        if clock.notice.is_none_or(|notice| notice > now) {
            continue;
        }
        note(noted).looked = Some(now);
        let (reply, said) = oneshot::channel();
        if owner.jobs.send(Job::Remind(reply)).await.is_ok() {
            drop(said.await);
        }
    }
}

async fn cycle(owner: &Owner) {
    notify(&[sd_notify::NotifyState::Status("a cycle is running")]);
    let (reply, answer) = oneshot::channel();
    let watcher: Watcher = Arc::new(|_| {});
    if owner.jobs.send(Job::Cycle(Request::default(), watcher, reply)).await.is_ok() {
        // From here on it happens, whatever becomes of the clock.
        {
            let mut clock = note(&owner.noted);
            (clock.asked, clock.run) = (None, None);
        }
        // The worker logs how it went.
        drop(answer.await);
    }
}

/// Says what is due, in the log and to the notifiers.
pub async fn remind(engine: &Engine, teller: &mut Teller) {
    let now = Utc::now();
    for source in &engine.config.sources {
        if let Some(note) = engine.session_note(source, now) {
            tracing::warn!("{}: {note}", source.name);
        }
    }
    teller.remind(now).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_with;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(&format!("2026-11-22T{text}Z")).unwrap().to_utc()
    }

    fn config(jitter: &str) -> Config {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("config.toml");
        let text = format!(
            "data_dir = \"data\"\ntimezone = \"UTC\"\nschedule = \"0 3,18 * * *\"\njitter = \"{jitter}\"\n\
             [[source]]\nname = \"fibank\"\nkind = \"fibank\"\nusername = \"ivan\"\npassword = \"hush\"\n"
        );
        std::fs::write(&path, text).unwrap();
        load_with(Path::new(&path), &[("HOME", "/nowhere")].into_iter().collect()).unwrap()
    }

    /// What a daemon that started at the first time promises at the second, by clocks so many hours ahead.
    fn promised(started: (&str, i64), now: (&str, i64)) -> (bool, DateTime<Utc>) {
        let (config, hour) = (config("0"), 3_600_000);
        let mut clock = Clock::default();
        assert!(!clock.plan(&config, utc(started.0), started.1 * hour));
        let was_set = clock.plan(&config, utc(now.0), now.1 * hour);
        (was_set, clock.run.unwrap())
    }

    #[test]
    fn the_next_run_is_worked_out_anew_when_the_clock_was_set_either_way() {
        assert_eq!(promised(("02:59:50", 0), ("02:59:55", 0)), (false, utc("03:00:00")));
        assert_eq!(promised(("05:59:50", 3), ("02:59:55", 0)), (true, utc("03:00:00")), "set back by three hours");
        assert_eq!(promised(("19:00:00", 16), ("03:00:01", 0)), (true, utc("18:00:00")), "set back by sixteen");
        assert_eq!(promised(("01:00:00", 0), ("02:00:00", 1)), (true, utc("03:00:00")), "set ahead, nothing was due");
        // What a clock leaps over is due.
        assert_eq!(promised(("01:00:00", 0), ("05:00:00", 4)), (true, utc("03:00:00")));
        assert_eq!(promised(("01:00:00", 0), ("01:00:01", 0)), (false, utc("03:00:00")));
    }

    #[test]
    fn a_run_that_waits_for_its_random_delay_is_not_lost() {
        let mut clock = Clock {
            asked: Some(utc("03:00:00")),
            run: Some(utc("03:04:00")),
            looked: Some(utc("03:02:00")),
            offset: Some(0),
            ..Clock::default()
        };
        assert!(clock.plan(&config("5m"), utc("03:01:00"), 2_000));
        assert_eq!((clock.run, clock.looked), (Some(utc("03:04:00")), Some(utc("03:01:00"))));
        assert!(clock.plan(&config("5m"), utc("00:01:00"), -3 * 3_600_000));
        let run = clock.run.unwrap();
        assert!(run >= utc("03:00:00") && run <= utc("03:05:00"), "{run}");
        assert_eq!(clock.asked, Some(utc("03:00:00")));
    }
}
