//! The days that are asked for. Pure.
//!
//! The whole history comes only within an hour of a consent; later a bank gives some 90 days, and some banks a little less.
//! Banks may filter by another date than the booking date, so a week more is asked for than is believed.

use chrono::{NaiveDate, TimeDelta};

use super::memory::Known;

/// Days back that are asked for without a fresh consent: a span of 91 is refused by some banks.
const DAYS: i64 = 89;

/// Days back for banks that refuse the usual number.
const FEWER: [i64; 2] = [88, 30];

/// Days at the beginning of a listing whose rows may be missing because the bank filters by another date.
const MARGIN: i64 = 7;

/// Days between two looks at as much as the bank gives: rows were seen to be filled in two months late.
const SWEEP: i64 = 30;

/// The days of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The first day asked for; `None`: the beginning.
    pub asked: Option<NaiveDate>,
    /// The first day whose rows are taken; `None`: the beginning.
    pub taken: Option<NaiveDate>,
    /// The service looks for the earliest date itself.
    pub is_longest: bool,
    /// As much is asked for as the bank gives without a fresh consent, or more.
    pub is_sweep: bool,
}

/// The facts that decide on a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The first day that the engine wants; `None`: the beginning.
    pub from: Option<NaiveDate>,
    /// The first day that the owner wants.
    pub history_from: Option<NaiveDate>,
    pub known: &'a Known,
    pub is_fresh: bool,
    /// Today, as the service counts days.
    pub today: NaiveDate,
    /// Days back that the bank is known to give.
    pub most_days: Option<u32>,
}

impl Window {
    /// The first window to try.
    pub fn first(facts: &Facts<'_>) -> Window {
        if facts.is_fresh && !facts.known.has_history {
            let from = facts.history_from;
            return Window { asked: from, taken: from, is_longest: true, is_sweep: true };
        }
        if facts.is_fresh && facts.from.is_none_or(|from| from < facts.limit()) {
            let from = facts.from;
            return Window { asked: from, taken: from, is_longest: true, is_sweep: true };
        }
        let limit = facts.limit();
        let is_due = facts.known.swept.is_none_or(|day| facts.today - day >= TimeDelta::days(SWEEP));
        let wanted = facts.from.filter(|_| !is_due).unwrap_or(limit).max(limit);
        facts.window(wanted)
    }

    /// A smaller window, where this one is refused; `allowed` is the first day that the refusal names.
    pub fn smaller(&self, facts: &Facts<'_>, allowed: Option<NaiveDate>) -> Option<Window> {
        let is_later = |day: &NaiveDate| self.asked.is_none_or(|asked| asked < *day) && *day <= facts.today;
        let days = [DAYS].into_iter().chain(FEWER).map(|days| facts.today - TimeDelta::days(days));
        let asked = allowed.into_iter().chain(days).find(is_later)?;
        Some(Window { is_sweep: true, ..facts.narrowed(asked) })
    }

    /// The days back that this window asks for.
    pub fn days(&self, today: NaiveDate) -> Option<u32> {
        u32::try_from((today - self.asked?).num_days()).ok()
    }

    /// The first of the days that the engine wants and this window leaves out.
    pub fn left_out(&self, from: Option<NaiveDate>) -> Option<NaiveDate> {
        from.filter(|from| self.taken.is_some_and(|taken| *from < taken) && !self.is_longest)
    }
}

impl Facts<'_> {
    /// The first day that the bank gives without a fresh consent.
    fn limit(&self) -> NaiveDate {
        let days = self.most_days.map_or(DAYS, |days| i64::from(days).min(DAYS));
        let limit = self.today - TimeDelta::days(days);
        self.history_from.map_or(limit, |first| first.max(limit))
    }

    /// The window whose rows are wanted from this day on.
    fn window(&self, wanted: NaiveDate) -> Window {
        let limit = self.limit();
        let asked = (wanted - TimeDelta::days(MARGIN)).max(limit);
        Window { is_sweep: wanted <= limit, taken: Some(self.taken(asked).max(wanted)), ..self.narrowed(asked) }
    }

    fn narrowed(&self, asked: NaiveDate) -> Window {
        Window { asked: Some(asked), taken: Some(self.taken(asked)), is_longest: false, is_sweep: false }
    }

    /// The first day of a listing from which on every row is sure to be there. Nothing is missed where nothing is known.
    fn taken(&self, asked: NaiveDate) -> NaiveDate {
        let is_first = !self.known.is_listed || self.history_from.is_some_and(|first| first == asked);
        if is_first { asked } else { asked + TimeDelta::days(MARGIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn known(is_listed: bool, has_history: bool, swept: &str) -> Known {
        Known { is_listed, has_history, swept: swept.parse().ok(), ..Known::default() }
    }

    fn facts(known: &Known, from: Option<&str>, is_fresh: bool) -> (Option<NaiveDate>, Option<NaiveDate>, bool) {
        let (from, today) = (from.map(day), day("2026-12-01"));
        let window = Window::first(&Facts { from, history_from: None, known, is_fresh, today, most_days: None });
        (window.asked, window.taken, window.is_longest)
    }

    #[test]
    fn everything_is_asked_for_once_and_later_what_the_bank_gives() {
        let (new, old, swept) = (known(false, false, ""), known(true, true, ""), known(true, true, "2026-11-20"));
        let limit = Some(day("2026-09-03"));
        assert_eq!(facts(&new, None, true), (None, None, true));
        assert_eq!(facts(&new, None, false), (limit, limit, false));
        // A week more is asked for than is believed.
        let recent = (Some(day("2026-11-10")), Some(day("2026-11-17")), false);
        assert_eq!(facts(&swept, Some("2026-11-17"), false), recent);
        assert_eq!(facts(&swept, Some("2026-11-17"), true), recent);
        assert_eq!(facts(&old, Some("2026-11-17"), false), (limit, Some(day("2026-09-10")), false));
        // A gap is closed by a fresh consent alone.
        assert_eq!(facts(&swept, Some("2026-01-01"), false), (limit, Some(day("2026-09-10")), false));
        assert_eq!(facts(&swept, Some("2026-01-01"), true), (Some(day("2026-01-01")), Some(day("2026-01-01")), true));
    }

    #[test]
    fn a_refused_window_shrinks_to_the_named_day_or_by_steps() {
        let known = known(true, true, "2026-11-20");
        let today = day("2026-12-01");
        let facts = Facts { from: None, history_from: None, known: &known, is_fresh: true, today, most_days: None };
        let mut window = Window { asked: None, taken: None, is_longest: true, is_sweep: true };
        let named = window.smaller(&facts, Some(day("2026-08-01"))).unwrap();
        assert_eq!((named.asked, named.taken), (Some(day("2026-08-01")), Some(day("2026-08-08"))));
        let mut days = Vec::new();
        while let Some(smaller) = window.smaller(&facts, None) {
            assert!(!smaller.is_longest && smaller.is_sweep);
            days.extend(smaller.days(today));
            window = smaller;
        }
        assert_eq!(days, [89, 88, 30]);
        assert_eq!(window.left_out(Some(day("2026-09-03"))), Some(day("2026-09-03")));
        assert_eq!(window.left_out(None), None);
    }

    #[test]
    fn no_day_before_the_history_that_is_wanted_is_asked_for() {
        let known = known(true, true, "2026-11-20");
        let (today, first) = (day("2026-12-01"), Some(day("2026-11-15")));
        let (from, most_days) = (first, Some(88));
        let window =
            Window::first(&Facts { from, history_from: first, known: &known, is_fresh: false, today, most_days });
        assert_eq!((window.asked, window.taken), (first, first));
    }
}
