//! Cron text to instants, with the meaning of crontab(5) in the owner's time zone. Pure: `now` is an argument.
//!
//! The `cron` crate finds the next match, but it counts days of the week from 1, demands day, month and weekday at
//! once, and goes wrong where clocks change. Therefore the fields are read here, handed to the crate as plain lists of
//! numbers, and evaluated on naive local time. Clock changes follow cron(8): a fixed time inside the gap runs right
//! after the gap, and a fixed time that comes twice runs the first time. A schedule whose hours are `*` or `*/n`
//! follows elapsed time instead: every time that the clock shows counts, and a time shown twice counts twice.

use std::str::FromStr;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

mod fields;

/// A single line of a crontab.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    /// Two lines if day of month and weekday are given, because either is enough for a match.
    lines: Vec<cron::Schedule>,
    /// The hours are `*` or `*/n`.
    follows_elapsed_time: bool,
}

impl Schedule {
    /// Parses five fields (six: seconds first) or `@daily` and friends. The error names the expected form.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let fields = fields::parse(text)?;
        let mut lines = Vec::new();
        for line in fields.lines() {
            lines.push(cron::Schedule::from_str(&line).map_err(|error| format!("not a schedule: {error}"))?);
        }
        // Any fixed day will do: a schedule that fires at all fires before the crate's last year.
        let fires = lines.iter().any(|line| line.after(&DateTime::<Utc>::UNIX_EPOCH).next().is_some());
        if !fires {
            return Err("never fires, because there is no such day".into());
        }
        Ok(Schedule { text: text.trim().to_owned(), lines, follows_elapsed_time: fields.every_hour })
    }

    /// The schedule as the owner wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first run strictly after `now`.
    pub fn next_after(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let next = if self.follows_elapsed_time { self.next_shown(now) } else { self.next_fixed(now) };
        next.filter(|next| *next > now)
    }

    /// The next run of a schedule with fixed hours: every matching local time happens exactly once.
    fn next_fixed(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let zone = now.timezone();
        let mut local = now.naive_local();
        // On the second pass of an overlap the matches ahead have already run; they lie in the past and are skipped.
        loop {
            local = self.next_local(local)?;
            let instant = happening(zone, local)?;
            if instant > now {
                return Some(instant);
            }
        }
    }

    /// The next run of a schedule with `*` hours: the next instant at which the clock on the wall shows a match.
    fn next_shown(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let (zone, mut from) = (now.timezone(), now);
        let mut local = now.naive_local();
        // A round crosses one change of the clock; no day has more than a few.
        for _ in 0..8 {
            let offset = from.offset().fix();
            let guess = zone.from_utc_datetime(&(self.next_local(local)? - offset));
            if guess.offset().fix() == offset {
                return Some(guess);
            }
            from = clock_change(from, guess);
            // The instant of the change itself may match.
            local = from.naive_local() - Duration::seconds(1);
        }
        None
    }

    /// The first matching time strictly after `local`, on a clock that never changes.
    fn next_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let whole = local.with_nanosecond(0)?.and_utc();
        self.lines.iter().filter_map(|line| line.after(&whole).next()).map(|next| next.naive_utc()).min()
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        Schedule::parse(text)
    }
}

/// The first run of any of these schedules strictly after `now`.
pub fn next_run(schedules: &[Schedule], now: DateTime<Tz>) -> Option<DateTime<Tz>> {
    schedules.iter().filter_map(|schedule| schedule.next_after(now)).min()
}

/// True if a run was due after `last_run` and up to `now`; `catch_up` makes up for it.
pub fn missed(schedules: &[Schedule], last_run: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> bool {
    next_run(schedules, last_run.with_timezone(&zone)).is_some_and(|due| due <= now)
}

/// The one instant at which a local time happens: the first of two, or the end of the gap that swallows it.
fn happening(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Tz>> {
    let mut candidate = local;
    // Clocks change at whole minutes; the longest gap ever was a day (Samoa crossing the date line).
    for _ in 0..=2 * 24 * 60 {
        match zone.from_local_datetime(&candidate) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => return Some(instant),
            LocalResult::None => candidate = candidate.with_second(0)?.with_nanosecond(0)? + Duration::minutes(1),
        }
    }
    None
}

/// A change of the clock between two instants whose offsets differ: its first second.
fn clock_change(before: DateTime<Tz>, after: DateTime<Tz>) -> DateTime<Tz> {
    let zone = before.timezone();
    let at = |seconds: i64| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().with_timezone(&zone);
    let (mut low, mut high) = (before.timestamp(), after.timestamp());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle).offset().fix() == before.offset().fix() { low = middle } else { high = middle }
    }
    at(high)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono_tz::Europe::{Berlin, Sofia};

    use super::*;

    /// `2026-03-29 04:00 EEST` and so on: the next `count` runs after an instant given in UTC.
    fn runs(schedule: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule).unwrap();
        let mut now = utc(after).with_timezone(&zone);
        let mut found = Vec::new();
        for _ in 0..count {
            now = schedule.next_after(now).unwrap();
            found.push(now.format("%a %d %b %H:%M %Z").to_string());
        }
        found
    }

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
    }

    const SUNDAY_NOON: &str = "2026-11-22 12:00";

    #[test]
    fn weekdays_are_those_of_crontab() {
        let at_six = |weekday: &str, count| {
            let runs = runs(&format!("0 6 * * {weekday}"), Sofia, SUNDAY_NOON, count);
            runs.iter().map(|run| run.strip_suffix(" 06:00 EET").unwrap().to_owned()).collect::<Vec<_>>()
        };
        for sunday in ["0", "7", "sun", "SUN", "Sunday"] {
            assert_eq!(at_six(sunday, 1), ["Sun 29 Nov"], "{sunday}");
        }
        assert_eq!(
            at_six("1-5", 6),
            ["Mon 23 Nov", "Tue 24 Nov", "Wed 25 Nov", "Thu 26 Nov", "Fri 27 Nov", "Mon 30 Nov"]
        );
        for wrapping in ["5-1", "fri-mon", "Fri-MON"] {
            assert_eq!(at_six(wrapping, 4), ["Mon 23 Nov", "Fri 27 Nov", "Sat 28 Nov", "Sun 29 Nov"], "{wrapping}");
        }
        assert_eq!(at_six("*/2", 4), ["Tue 24 Nov", "Thu 26 Nov", "Sat 28 Nov", "Sun 29 Nov"]);
        assert_eq!(at_six("5-1/2", 3), ["Fri 27 Nov", "Sun 29 Nov", "Fri 04 Dec"]);
        assert_eq!(at_six("5-7", 3), ["Fri 27 Nov", "Sat 28 Nov", "Sun 29 Nov"]);
        assert_eq!(at_six("7-2", 3), ["Mon 23 Nov", "Tue 24 Nov", "Sun 29 Nov"]);
        assert_eq!(at_six("mon,wed", 2), ["Mon 23 Nov", "Wed 25 Nov"]);
        assert_eq!(at_six("0-7", 2), ["Mon 23 Nov", "Tue 24 Nov"]);
    }

    #[test]
    fn day_of_month_or_weekday_is_enough_where_both_are_given() {
        assert_eq!(
            runs("0 6 13 * 5", Sofia, SUNDAY_NOON, 4),
            ["Fri 27 Nov 06:00 EET", "Fri 04 Dec 06:00 EET", "Fri 11 Dec 06:00 EET", "Sun 13 Dec 06:00 EET"]
        );
        // A field that starts with `*` restricts no day in cron's eyes, so the other field must hold as well: odd days
        // that are Mondays.
        assert_eq!(runs("0 6 */2 * 1", Sofia, SUNDAY_NOON, 2), ["Mon 23 Nov 06:00 EET", "Mon 07 Dec 06:00 EET"]);
        // The weekdays of February save a day that does not exist.
        assert_eq!(runs("0 0 31 2 1", Sofia, SUNDAY_NOON, 1), ["Mon 01 Feb 00:00 EET"]);
    }

    #[test]
    fn a_fixed_time_runs_once_a_day_whatever_the_clock_does() {
        assert_eq!(
            runs("30 3 * * *", Sofia, "2026-03-28 00:00", 3),
            ["Sat 28 Mar 03:30 EET", "Sun 29 Mar 04:00 EEST", "Mon 30 Mar 03:30 EEST"]
        );
        assert_eq!(
            runs("30 3 * * *", Sofia, "2026-10-24 00:00", 4),
            ["Sat 24 Oct 03:30 EEST", "Sun 25 Oct 03:30 EEST", "Mon 26 Oct 03:30 EET", "Tue 27 Oct 03:30 EET"]
        );
        // From within the second pass (03:15 EET) the day's run is over.
        assert_eq!(runs("30 3 * * *", Sofia, "2026-10-25 01:15", 1), ["Mon 26 Oct 03:30 EET"]);
        // Two times inside the gap are one run after it.
        assert_eq!(
            runs("0,30 3,4 * * *", Sofia, "2026-03-29 00:00", 3),
            ["Sun 29 Mar 04:00 EEST", "Sun 29 Mar 04:30 EEST", "Mon 30 Mar 03:00 EEST"]
        );
        // Every half hour of one given hour is a fixed time too: the gap swallows no run of the day.
        assert_eq!(runs("*/30 3 * * *", Sofia, "2026-03-29 00:00", 1), ["Sun 29 Mar 04:00 EEST"]);
    }

    #[test]
    fn star_hours_follow_elapsed_time() {
        assert_eq!(
            runs("*/30 * * * *", Sofia, "2026-10-24 23:59", 6),
            [
                "Sun 25 Oct 03:00 EEST",
                "Sun 25 Oct 03:30 EEST",
                "Sun 25 Oct 03:00 EET",
                "Sun 25 Oct 03:30 EET",
                "Sun 25 Oct 04:00 EET",
                "Sun 25 Oct 04:30 EET"
            ]
        );
        assert_eq!(
            runs("@hourly", Sofia, "2026-03-28 23:59", 3),
            ["Sun 29 Mar 02:00 EET", "Sun 29 Mar 04:00 EEST", "Sun 29 Mar 05:00 EEST"]
        );
        // Berlin has no 02:00 that night, and two of them in autumn.
        assert_eq!(
            runs("0 */2 * * *", Berlin, "2026-03-28 22:30", 2),
            ["Sun 29 Mar 00:00 CET", "Sun 29 Mar 04:00 CEST"]
        );
        assert_eq!(
            runs("0 */2 * * *", Berlin, "2026-10-24 21:30", 4),
            ["Sun 25 Oct 00:00 CEST", "Sun 25 Oct 02:00 CEST", "Sun 25 Oct 02:00 CET", "Sun 25 Oct 04:00 CET"]
        );
    }

    #[test]
    fn words_and_seconds() {
        assert_eq!(runs("@daily", Sofia, SUNDAY_NOON, 1), ["Mon 23 Nov 00:00 EET"]);
        assert_eq!(runs("@midnight", Sofia, SUNDAY_NOON, 1), ["Mon 23 Nov 00:00 EET"]);
        assert_eq!(runs("@weekly", Sofia, SUNDAY_NOON, 1), ["Sun 29 Nov 00:00 EET"]);
        assert_eq!(runs("@monthly", Sofia, SUNDAY_NOON, 1), ["Tue 01 Dec 00:00 EET"]);
        assert_eq!(runs("@yearly", Sofia, SUNDAY_NOON, 1), ["Fri 01 Jan 00:00 EET"]);
        assert_eq!(runs("@annually", Sofia, SUNDAY_NOON, 1), ["Fri 01 Jan 00:00 EET"]);
        assert_eq!(runs("@Hourly", Sofia, SUNDAY_NOON, 1), ["Sun 22 Nov 15:00 EET"]);
        let every_ten = Schedule::parse("*/10 * * * * *").unwrap();
        let now = utc(SUNDAY_NOON).with_timezone(&Sofia) + Duration::milliseconds(9_500);
        assert_eq!(every_ten.next_after(now).unwrap() - now, Duration::milliseconds(500));
        assert_eq!(every_ten.text(), "*/10 * * * * *");
        assert_eq!(runs("15 6 29 2 *", Sofia, SUNDAY_NOON, 1), ["Tue 29 Feb 06:15 EET"]);
        assert_eq!(runs("0 9-17/4 * jan-mar mon-fri", Sofia, "2027-01-01 08:00", 2).len(), 2);
        assert_eq!(runs("20/15 6 * * *", Sofia, SUNDAY_NOON, 3)[1..], ["Mon 23 Nov 06:35 EET", "Mon 23 Nov 06:50 EET"]);
    }

    #[test]
    fn what_cron_would_refuse_is_refused_with_the_reason() {
        let refused = |text: &str| Schedule::parse(text).unwrap_err();
        assert_eq!(refused("0 0 31 2 *"), "never fires, because there is no such day");
        assert_eq!(refused("0 0 30,31 2 *"), "never fires, because there is no such day");
        let fields = "expected five fields (minute, hour, day of month, month, weekday), six with seconds first, or a word like @daily";
        assert_eq!(refused("0 3 * *"), format!("{fields}; found 4 fields"));
        assert_eq!(refused("0 0 3 * * * 2026"), format!("{fields}; found 7 fields"));
        assert_eq!(refused("  "), format!("{fields}; found nothing"));
        assert_eq!(
            refused("@reboot"),
            "`@reboot` is not supported, expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"
        );
        assert_eq!(refused("0 24 * * *"), "hour: `24` is not between 0 and 23");
        assert_eq!(refused("60 3 * * *"), "minute: `60` is not between 0 and 59");
        assert_eq!(refused("0 3 0 * *"), "day of month: `0` is not between 1 and 31");
        assert_eq!(refused("0 3 * 13 *"), "month: `13` is not between 1 and 12");
        assert_eq!(refused("0 3 * * 8"), "weekday: `8` is not between 0 and 7 (0 and 7 are Sunday)");
        assert_eq!(refused("61 0 3 * * *"), "second: `61` is not between 0 and 59");
        assert_eq!(refused("0 22-4 * * *"), "hour: the range `22-4` runs backwards, write `22-23,0-4`");
        assert_eq!(refused("0 3 * nov-feb *"), "month: the range `nov-feb` runs backwards, write `nov-12,1-feb`");
        assert_eq!(refused("*/0 3 * * *"), "minute: `*/0` has no step, expected a number from 1 to 60 after the slash");
        assert_eq!(
            refused("*/90 * * * *"),
            "minute: `*/90` has no step, expected a number from 1 to 60 after the slash"
        );
        assert_eq!(refused("0 3 * * mo"), "weekday: `mo` is neither a number nor a name such as mon");
        assert_eq!(refused("0 L * * *"), "hour: `L` is not a number");
        assert_eq!(refused("0 3, * * *"), "hour: a value is missing next to a comma");
        assert_eq!(refused("0 3 ? * *"), "day of month: `?` is not a number");
        assert_eq!(refused("0 +3 * * *"), "hour: `+3` is not a number");
        assert_eq!(refused("0 1-2-3 * * *"), "hour: `2-3` is not a number");
        assert_eq!(refused("TZ=UTC 0 3 * * *"), "second: `TZ=UTC` is not a number");
    }

    #[test]
    fn missed_runs_are_noticed() {
        let schedules = [Schedule::parse("0 3 * * *").unwrap(), Schedule::parse("0 18 * * *").unwrap()];
        let missed = |last, now| missed(&schedules, utc(last), utc(now), Sofia);
        assert!(!missed("2026-11-22 01:00", "2026-11-22 15:59"));
        assert!(missed("2026-11-22 01:00", "2026-11-22 16:00"));
        assert!(missed("2026-10-01 01:00", "2026-11-22 12:00"));
        assert!(!missed("2026-11-22 16:00", "2026-11-22 12:00"), "a clock that was set back misses nothing");
        let now = utc(SUNDAY_NOON).with_timezone(&Sofia);
        assert_eq!(next_run(&schedules, now), Some(utc("2026-11-22 16:00").with_timezone(&Sofia)));
        assert_eq!(next_run(&[], now), None);
    }

    /// Runs over two years, from many starting points, always lie after now, never go back, and leave no run out.
    #[test]
    fn every_starting_point_leads_forward() {
        let schedules =
            ["30 3 * * *", "*/30 * * * *", "0 */2 * * *", "15 0,1,2,3,4 * * *", "0 6 13 * 5", "5 4 1 */3 *"];
        for zone in [Sofia, Berlin, chrono_tz::Australia::Lord_Howe, chrono_tz::America::Havana] {
            for text in schedules {
                let schedule = Schedule::parse(text).unwrap();
                let (mut now, end) = (utc("2025-12-31 22:07"), utc("2027-12-31 22:00"));
                let mut previous = None;
                while now < end {
                    let next = schedule.next_after(now.with_timezone(&zone)).unwrap();
                    assert!(next > now, "{text} in {zone} after {now}: {next}");
                    assert!(previous <= Some(next), "{text} in {zone} after {now}: went back to {next}");
                    if let Some(skipped) = previous.filter(|previous| *previous > now) {
                        assert_eq!(skipped, next, "{text} in {zone} after {now}: a run was left out");
                    }
                    previous = Some(next);
                    now += Duration::minutes(7 * 60 + 43);
                }
            }
        }
    }

    /// Minute by minute through both changes of the clock: star hours are exactly the minutes the wall shows.
    #[test]
    fn star_hours_are_what_the_wall_shows() {
        for zone in [Sofia, Berlin, chrono_tz::Australia::Lord_Howe] {
            for (text, step) in [("*/20 * * * *", 1), ("20 */3 * * *", 3)] {
                let schedule = Schedule::parse(text).unwrap();
                for start in ["2026-03-28 12:00", "2026-04-04 06:00", "2026-10-03 06:00", "2026-10-24 12:00"] {
                    let shown = |minute: &DateTime<Tz>| {
                        let matching =
                            if step == 1 { minute.minute().is_multiple_of(20) } else { minute.minute() == 20 };
                        matching && minute.hour().is_multiple_of(step)
                    };
                    let start = utc(start).with_timezone(&zone);
                    let expected: Vec<_> = (1..24 * 60).map(|n| start + Duration::minutes(n)).filter(shown).collect();
                    let mut now = start;
                    for expected in expected {
                        now = schedule.next_after(now).unwrap();
                        assert_eq!(now, expected, "{text}");
                    }
                }
            }
        }
    }
}
