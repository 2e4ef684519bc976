//! The daemon's next run and next notice, worked out from the schedule and the wall clock. Pure but for the random delay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::wall_clock;
use crate::config::Config;
use crate::schedule;

/// The times that the daemon waits for. The timer keeps them over an idle time, so that the daemon wakes for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timetable {
    /// The next run that the schedule asks for.
    pub asked: Option<DateTime<Utc>>,
    /// The time of that run, the random delay included.
    pub run: Option<DateTime<Utc>>,
    /// The time of a notice that is due before the run.
    pub notice: Option<DateTime<Utc>>,
    /// The time up to which all due notices were given.
    pub looked: Option<DateTime<Utc>>,
    /// Milliseconds by which the wall clock was ahead of the machine's own time; another value means that the clock was set.
    pub offset: Option<i64>,
}

impl Timetable {
    /// The next time that the daemon has to be active.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.run.into_iter().chain(self.notice).min()
    }

    /// The times that stay once the clock was set: those of a run that is due or that only waits for its random delay.
    /// The rest is worked out anew.
    fn after_setting(self, now: DateTime<Utc>, jitter: Duration) -> Timetable {
        let is_asked = self.asked.is_some_and(|asked| asked <= now);
        let is_near = self.run.is_some_and(|run| run <= now || (is_asked && run - now <= delta(jitter)));
        let kept = if is_near { self } else { Timetable::default() };
        Timetable {
            asked: kept.asked,
            run: kept.run,
            looked: self.looked.map(|looked| looked.min(now)),
            ..Timetable::default()
        }
    }

    /// Works out the next run where none is noted, and anew where the clock was set since the last call. Returns whether
    /// the clock was set.
    pub(super) fn plan(&mut self, config: &Config, now: DateTime<Utc>, offset: i64) -> bool {
        let was_set = self.offset.is_some_and(|known| wall_clock::was_set(known, offset));
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

/// The timetable of timer, page and commands.
#[derive(Clone, Debug, Default)]
pub struct SharedTimetable(Arc<Mutex<Timetable>>);

impl SharedTimetable {
    /// Shares this timetable.
    pub fn new(timetable: Timetable) -> SharedTimetable {
        SharedTimetable(Arc::new(Mutex::new(timetable)))
    }

    /// The timetable, to be read or changed.
    pub fn lock(&self) -> MutexGuard<'_, Timetable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// The next run at the second time of a daemon that started at the first, with clocks so many hours ahead.
    fn promised(started: (&str, i64), now: (&str, i64)) -> (bool, DateTime<Utc>) {
        let (config, hour) = (config("0"), 3_600_000);
        let mut timetable = Timetable::default();
        assert!(!timetable.plan(&config, utc(started.0), started.1 * hour));
        let was_set = timetable.plan(&config, utc(now.0), now.1 * hour);
        (was_set, timetable.run.unwrap())
    }

    #[test]
    fn the_next_run_is_worked_out_anew_when_the_clock_was_set_either_way() {
        assert_eq!(promised(("02:59:50", 0), ("02:59:55", 0)), (false, utc("03:00:00")));
        assert_eq!(promised(("05:59:50", 3), ("02:59:55", 0)), (true, utc("03:00:00")), "set back by three hours");
        assert_eq!(promised(("19:00:00", 16), ("03:00:01", 0)), (true, utc("18:00:00")), "set back by sixteen");
        assert_eq!(promised(("01:00:00", 0), ("02:00:00", 1)), (true, utc("03:00:00")), "set ahead, nothing was due");
        // A run that the clock leaps over is due.
        assert_eq!(promised(("01:00:00", 0), ("05:00:00", 4)), (true, utc("03:00:00")));
        assert_eq!(promised(("01:00:00", 0), ("01:00:01", 0)), (false, utc("03:00:00")));
    }

    #[test]
    fn a_run_that_waits_for_its_random_delay_is_not_lost() {
        let mut timetable = Timetable {
            asked: Some(utc("03:00:00")),
            run: Some(utc("03:04:00")),
            looked: Some(utc("03:02:00")),
            offset: Some(0),
            ..Timetable::default()
        };
        assert!(timetable.plan(&config("5m"), utc("03:01:00"), 2_000));
        assert_eq!((timetable.run, timetable.looked), (Some(utc("03:04:00")), Some(utc("03:01:00"))));
        assert!(timetable.plan(&config("5m"), utc("00:01:00"), -3 * 3_600_000));
        let run = timetable.run.unwrap();
        assert!(run >= utc("03:00:00") && run <= utc("03:05:00"), "{run}");
        assert_eq!(timetable.asked, Some(utc("03:00:00")));
    }
}
