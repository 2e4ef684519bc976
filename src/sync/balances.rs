//! The summary for destinations that show more than rows: balances, completeness, the owner's tasks.
//!
//! The summary holds facts only, from the store; words and formulas are the destination's affair. Its time is decided
//! here, too: with rows always, else when an attention begins or ends, else once a day.

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use rust_decimal::Decimal;
use xxhash_rust::xxh3::xxh3_64;

use super::Engine;
use crate::config;
use crate::destination::policy::{Filter, Vanished};
use crate::destination::{AccountSummary, Partial, Summary};
use crate::model::{Row, plus, total};
use crate::schedule;
use crate::store::{self, DestinationState, KnownAccount, Outline, Published};

/// The rows of one account in one currency, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    currency: String,
    opening: Option<Decimal>,
    closing: Option<Decimal>,
    first: NaiveDate,
    last: NaiveDate,
}

impl Engine {
    /// True if a destination without new rows is due for a summary.
    pub(super) fn summary_due(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        now: DateTime<Utc>,
    ) -> Result<bool, store::Error> {
        // Without a known account there is no summary to show yet.
        if !config.shown().balances || self.accounts_for(config).is_empty() {
            return Ok(false);
        }
        Ok(state.published != Some(self.published(now)?))
    }

    /// The mark to remember once the destination has its summary.
    pub(super) fn published(&self, now: DateTime<Utc>) -> Result<Published, store::Error> {
        // A chain that breaks is told with the rows that break it, or the next day: it is no attention.
        let print = xxh3_64(self.attention()?.join("\0").as_bytes());
        let day = now.with_timezone(&self.config.timezone).date_naive();
        Ok(Published { day, attention: print })
    }

    /// The summary for this destination.
    pub(super) fn summary(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        now: DateTime<Utc>,
    ) -> Result<Summary, store::Error> {
        let outlines = self.store.outlines()?;
        let mut accounts = Vec::new();
        for stored in self.accounts_for(config) {
            let outline = Outline::joined(stored.numbers().iter().filter_map(|number| outlines.get(number)));
            accounts.extend(self.account_summaries(config, state, &stored, &outline)?);
        }
        if config.shown().sums {
            self.add_sums(config, state, &mut accounts)?;
        }
        let here = now.with_timezone(&self.config.timezone);
        let mut trouble = Vec::new();
        for source in &self.config.sources {
            trouble.extend(self.store.source(&source.name)?.error);
        }
        Ok(Summary {
            at: here.fixed_offset(),
            next_run: schedule::next_run(&self.config.schedule, here).map(|next| next.fixed_offset()),
            attention: self.attention()?,
            trouble,
            accounts,
            left_out: self.left_out(config, state)?,
        })
    }

    /// The owner's tasks about sources.
    fn attention(&self) -> Result<Vec<String>, store::Error> {
        let mut attention = Vec::new();
        for source in &self.config.sources {
            attention.extend(self.store.source(&source.name)?.attention.map(|attention| attention.message));
        }
        Ok(attention)
    }

    fn accounts_for(&self, config: &config::Destination) -> Vec<KnownAccount> {
        let wanted = |stored: &KnownAccount| {
            let is_fed =
                stored.feeds.iter().any(|feed| self.config.sources.iter().any(|source| source.name == feed.source));
            is_fed && config.filter.accounts.as_ref().is_none_or(|only| only.contains(&stored.account.account))
        };
        self.store.accounts().into_iter().filter(wanted).collect()
    }

    /// An entry for the account, or one per currency if its currency changed.
    fn account_summaries(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        stored: &KnownAccount,
        outline: &Outline,
    ) -> Result<Vec<AccountSummary>, store::Error> {
        let account = &stored.account;
        let last_success: Option<DateTime<FixedOffset>> = self
            .store
            .source(&stored.source)?
            .last_success
            .map(|time| time.with_timezone(&self.config.timezone).fixed_offset());
        let count = |ids: &mut dyn Iterator<Item = &String>| -> u64 {
            let prefixes = || stored.feeds.iter().map(|feed| &feed.id_prefix).filter(|prefix| !prefix.is_empty());
            let own = |id: &&String| prefixes().any(|prefix| id.starts_with(prefix));
            ids.filter(own).count() as u64
        };
        let whole = AccountSummary {
            account: account.account.clone(),
            name: account.name.clone(),
            customer: account.customer.clone(),
            currency: account.currency.clone(),
            balance: account.balance,
            problem: stored.why_incomplete().map(str::to_owned),
            deleted: count(&mut state.rows.deleted()),
            rejected: count(&mut state.rows.rejected().map(|(id, _)| id)),
            last_success,
            ..AccountSummary::default()
        };
        let mut segments = self.segments(&stored.numbers(), outline)?;
        if segments.first().is_none_or(|newest| newest.currency != account.currency) {
            // An account without entries in its present currency begins at the bank's present balance.
            let day = NaiveDate::MAX;
            let (currency, balance) = (account.currency.clone(), account.balance);
            segments.insert(0, Segment { currency, opening: balance, closing: balance, first: day, last: day });
        }
        let mixed = segments.len() > 1;
        let taken_back = self.taken_back(config, state, outline)?;
        let entries = segments.into_iter().enumerate().map(|(at, segment)| {
            let (first, last) = shown(&config.filter, &segment);
            AccountSummary {
                mixed,
                balance: if at == 0 { account.balance } else { segment.closing },
                opening: segment.opening,
                taken_back: total(
                    taken_back.iter().filter(|(currency, _)| *currency == segment.currency).map(|(_, amount)| *amount),
                ),
                partial: partial(&config.filter, segment.first),
                first,
                last,
                currency: segment.currency,
                ..whole.clone()
            }
        });
        Ok(entries.collect())
    }

    /// The rows of an account by currency, newest first.
    fn segments(&self, numbers: &[u16], outline: &Outline) -> Result<Vec<Segment>, store::Error> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut days = &outline.days[..];
        while let Some(last_day) = days.last() {
            // The day of a change may have rows in both currencies.
            let fresh = |row: &Row| segments.iter().all(|known| known.currency != row.currency);
            let mut rows = self.store.rows_of_day(numbers, *last_day)?;
            rows.retain(fresh);
            let Some(last) = tail(&rows) else {
                days = &days[..days.len() - 1];
                continue;
            };
            let (currency, closing, last) = (last.currency.clone(), last.balance, last.date);
            let first_at = self.first_day(numbers, days, &currency)?;
            let mut rows = self.store.rows_of_day(numbers, days[first_at])?;
            let shared = rows.iter().any(|row| fresh(row) && row.currency != currency);
            rows.retain(|row| row.currency == currency);
            let opening = head(&rows).and_then(Row::balance_before);
            let first = days[first_at];
            days = &days[..first_at + usize::from(shared)];
            segments.push(Segment { currency, opening, closing, first, last });
        }
        Ok(segments)
    }

    /// The first of `days` with a row in the currency of the last ones. Currencies change once and for all, so halving
    /// finds it.
    fn first_day(&self, numbers: &[u16], days: &[NaiveDate], currency: &str) -> Result<usize, store::Error> {
        let has = |at: usize| -> Result<bool, store::Error> {
            Ok(self.store.rows_of_day(numbers, days[at])?.iter().any(|row| row.currency == currency))
        };
        if has(0)? {
            return Ok(0);
        }
        let (mut without, mut with) = (0, days.len() - 1);
        while with - without > 1 {
            let middle = without + (with - without) / 2;
            if has(middle)? { with = middle } else { without = middle }
        }
        Ok(with)
    }

    /// Amounts of rows that the bank took back and that still stand in the destination, with their currencies.
    fn taken_back(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        outline: &Outline,
    ) -> Result<Vec<(String, Decimal)>, store::Error> {
        if config.rows().vanished == Vanished::Delete {
            return Ok(Vec::new());
        }
        let mut amounts = Vec::new();
        for number in &outline.vanished {
            let transaction = self.store.transaction(*number)?;
            if config.filter.accepts(&transaction) && stands(state, &transaction.row.id) {
                amounts.push((transaction.row.currency, transaction.row.amount));
            }
        }
        Ok(amounts)
    }

    /// Adds the sums of each account's rows, for a service that cannot add up itself.
    fn add_sums(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        accounts: &mut [AccountSummary],
    ) -> Result<(), store::Error> {
        accounts.iter_mut().for_each(|account| account.sum = Some(account.taken_back));
        for found in self.store.by_date(config.filter.since, None) {
            let (_, transaction) = found?;
            let row = &transaction.row;
            if transaction.vanished || !config.filter.accepts(&transaction) || !stands(state, &row.id) {
                continue;
            }
            let same =
                |entry: &&mut AccountSummary| *entry.account == *transaction.account && entry.currency == row.currency;
            if let Some(sum) = accounts.iter_mut().find(same).and_then(|entry| entry.sum.as_mut()) {
                *sum = plus(*sum, row.amount);
            }
        }
        Ok(())
    }
}

/// True if a row that was offered can be there.
pub(super) fn stands(state: &DestinationState, id: &str) -> bool {
    !state.rows.is_absent(id)
}

/// First and last date of what a destination gets to see.
fn shown(filter: &Filter, segment: &Segment) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let since = filter.since.unwrap_or(NaiveDate::MIN);
    if segment.first == NaiveDate::MAX || segment.last < since {
        return (None, None);
    }
    (Some(segment.first.max(since)), Some(segment.last))
}

/// Why the rows are not all there, if they are not.
fn partial(filter: &Filter, first: NaiveDate) -> Option<Partial> {
    match (filter.since, filter.direction) {
        (Some(since), _) if first < since => Some(Partial::Since(since)),
        (_, Some(direction)) => Some(Partial::Direction(direction)),
        _ if filter.types.is_some() || filter.min_amount.is_some_and(|least| !least.is_zero()) => Some(Partial::Some),
        _ => None,
    }
}

/// The row the others follow: of those of the first instant, the one that follows none of them.
fn head(rows: &[Row]) -> Option<&Row> {
    let first = rows.first()?;
    let instant: Vec<&Row> = rows.iter().take_while(|row| row.time == first.time).collect();
    let leads = |row: &&&Row| !instant.iter().any(|other| other.id != row.id && other.balance == row.balance_before());
    Some(instant.iter().find(leads).copied().unwrap_or(first))
}

/// The row that none follows.
fn tail(rows: &[Row]) -> Option<&Row> {
    let last = rows.last()?;
    let instant: Vec<&Row> = rows.iter().rev().take_while(|row| row.time == last.time).collect();
    let ends = |row: &&&Row| !instant.iter().any(|other| other.id != row.id && other.balance_before() == row.balance);
    Some(instant.iter().find(ends).copied().unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Account;
    use crate::remote::{Backoff, Shutdown};
    use crate::store::Store;

    fn row(number: u32, time: &str, amount: &str, currency: &str, balance: &str) -> Row {
        let time: DateTime<FixedOffset> = time.parse().unwrap();
        Row {
            id: format!("fibank:BG32FINV91501000000001:{number}"),
            time,
            date: time.date_naive(),
            value_date: None,
            amount: amount.parse().unwrap(),
            currency: currency.into(),
            balance: Some(balance.parse().unwrap()),
            counterparty: String::new(),
            counterparty_account: String::new(),
            description: String::new(),
            kind: String::new(),
            kind_code: String::new(),
            reference: String::new(),
            raw: "{}".into(),
        }
    }

    fn engine(rows: &[Row]) -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(
            &file,
            "data_dir = \"data\"\n[[source]]\nkind = \"fibank\"\nusername = \"x\"\npassword = \"y\"\n",
        )
        .unwrap();
        let config = config::load(&file).unwrap();
        let store = Store::open(&config.data_dir).unwrap();
        let mut writer = store.writer();
        let account = Account {
            account: "BG32FINV91501000000001".into(),
            name: String::new(),
            customer: String::new(),
            currency: "EUR".into(),
            balance: None,
        };
        let number = writer.put_account("fibank", &account, |_| {}).unwrap();
        rows.iter().for_each(|row| {
            writer.add(number, row.clone()).unwrap();
        });
        writer.commit().unwrap();
        let (config, store) = (Arc::new(config), Arc::new(store));
        (dir, Engine { config, store, backoff: Backoff::immediate(), shutdown: Shutdown::never() })
    }

    #[test]
    fn an_account_that_changed_its_currency_is_two_even_within_a_day() {
        let (_dir, engine) = engine(&[
            row(1, "2025-12-01T10:00:00+02:00", "100", "BGN", "300"),
            row(2, "2025-12-31T10:00:00+02:00", "-104.417", "BGN", "195.583"),
            row(3, "2025-12-31T23:00:00+02:00", "-10", "EUR", "90"),
            row(4, "2026-01-05T10:00:00+02:00", "5", "EUR", "95"),
            row(5, "2026-02-05T10:00:00+02:00", "5", "EUR", "100"),
        ]);
        let outline = engine.store.outlines().unwrap()[&0].clone();
        let segments = engine.segments(&[0], &outline).unwrap();
        let figures: Vec<_> = segments
            .iter()
            .map(|one| (one.currency.as_str(), one.opening.unwrap().to_string(), one.closing.unwrap().to_string()))
            .collect();
        assert_eq!(figures, [("EUR", "100".into(), "100".into()), ("BGN", "200".into(), "195.583".into())]);
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!((segments[0].first, segments[0].last), (day("2025-12-31"), day("2026-02-05")));
        assert_eq!((segments[1].first, segments[1].last), (day("2025-12-01"), day("2025-12-31")));
    }

    #[test]
    fn rows_of_one_instant_may_stand_in_any_order() {
        let rows = [
            row(1, "2026-01-05T10:00:00+02:00", "-5", "EUR", "85"),
            row(2, "2026-01-05T10:00:00+02:00", "-10", "EUR", "90"),
            row(3, "2026-01-05T10:00:00+02:00", "1", "EUR", "86"),
        ];
        assert_eq!(head(&rows).unwrap().id, rows[1].id);
        assert_eq!(tail(&rows).unwrap().id, rows[2].id);
    }

    #[test]
    fn what_a_filter_leaves_out_is_told_unless_it_leaves_out_nothing() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let since = |text: &str| Filter { since: Some(day(text)), ..Filter::default() };
        assert_eq!(partial(&since("2026-01-01"), day("2025-01-01")), Some(Partial::Since(day("2026-01-01"))));
        assert_eq!(partial(&since("2026-01-01"), day("2026-01-01")), None);
        let debit = Filter { direction: Some(crate::model::Direction::Debit), ..Filter::default() };
        assert!(partial(&debit, day("2026-01-01")).is_some());
    }
}
