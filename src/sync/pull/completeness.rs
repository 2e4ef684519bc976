//! Proofs that an account's history is known whole: the chain of its balances, and the meaning of a fetch without rows.

use std::collections::HashSet;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::ingest::AccountIngest;
use crate::config;
use crate::model::{Row, bgn_to_eur, is_near, minus, money_text};
use crate::reconcile::{Break, Chain, worded};
use crate::source::Coverage;
use crate::store::{self, StoredAccount};
use crate::sync::Engine;

/// The note about an account that the bank lists no more.
const UNLISTED: &str = "the bank does not list it any more: it was closed, or this login is not shown it; name the other accounts under `accounts` to leave it out";

impl Engine {
    /// The gaps in the chain of balances, inside the window and at its border to the rows known before. Rows that other
    /// sources have and this one lacks close a gap.
    pub(super) fn breaks(&self, account: &mut AccountIngest) -> Result<Vec<Break>, store::Error> {
        let found = self.breaks_of_chain(account)?;
        let Some(identity) = account.identity.as_ref().filter(|_| !found.is_empty()) else { return Ok(found) };
        let since = self.last_own_day(account)?.or(account.from).unwrap_or(NaiveDate::MIN);
        let mut loose = Vec::new();
        self.store.each_row(identity.others(), since..=NaiveDate::MAX, |number, stored| {
            if !account.reconciler.is_shown(number) {
                loose.push(stored.row);
            }
        })?;
        loose.iter().for_each(|row| account.chain.add_loose(row));
        if loose.is_empty() { Ok(found) } else { self.breaks_of_chain(account) }
    }

    fn last_own_day(&self, account: &AccountIngest) -> Result<Option<NaiveDate>, store::Error> {
        let Some(from) = account.from else { return Ok(None) };
        Ok(self.store.last_before(&account.own_records(), from)?.first().map(|row| row.date))
    }

    fn breaks_of_chain(&self, account: &mut AccountIngest) -> Result<Vec<Break>, store::Error> {
        let mut breaks = Vec::new();
        if let (Some(from), Some(opening), Some(_)) = (account.from, account.opening, &account.known_before) {
            let before = self.store.last_before(&account.own_records(), from)?;
            let carried = |row: &Row| {
                let Some(balance) = row.balance else { return true };
                // The bank may round what it restates in euros otherwise than we do.
                let in_euros = is_near(bgn_to_eur(balance), opening, Decimal::new(1, 2));
                balance == opening || (row.currency == "BGN" && in_euros)
            };
            // Several rows of that day may share its last instant: any of them may be the last.
            if !before.is_empty() && !before.iter().any(carried) {
                let last = before.iter().max_by_key(|row| row.time);
                let gap = last.and_then(|row| Some((row, row.balance?)));
                breaks.extend(gap.and_then(|(row, expected)| {
                    let (missing, leva) = (minus(opening, expected), row.currency == "BGN");
                    let is_explained = account.chain.explain(missing, row.date..=from, leva);
                    (!is_explained).then_some(Break { date: row.date, expected, found: opening })
                }));
            }
        }
        breaks.extend(account.chain.breaks(account.opening, account.closing));
        Ok(breaks)
    }

    /// Looks again at the gaps that other sources of these accounts have left: the rows that have just come may close
    /// them.
    pub(super) fn close_gaps(&self, accounts: &[AccountIngest], notes: &mut Vec<String>) -> Result<(), store::Error> {
        let mut writer = self.store.writer();
        let mut is_closed = false;
        for account in accounts.iter().filter(|account| account.added > 0) {
            let name = &account.account.account;
            let is_other = |feed: &StoredAccount| feed.account.account == *name && feed.number != account.number;
            for feed in self.store.feeds().into_iter().filter(|feed| is_other(feed) && feed.problem.is_some()) {
                let [alone, together] = self.stored_breaks(&feed, &account.records())?;
                // A problem of another kind, such as a closing balance, is left to the next pull of that source.
                if worded(&alone) != feed.problem || alone.len() == together.len() {
                    continue;
                }
                let problem = worded(&together);
                if problem.is_none() {
                    notes.push(format!("{name}: the gap that {} left is closed", feed.source));
                }
                is_closed = true;
                writer.put_account(&feed.source, &feed.account, |stored| stored.shrink_problem(problem))?;
            }
        }
        if is_closed { writer.commit() } else { Ok(()) }
    }

    /// The gaps in the stored rows of a source: with the rows that the source has shown, and with those of all sources.
    fn stored_breaks(&self, feed: &StoredAccount, records: &[u16]) -> Result<[Vec<Break>; 2], store::Error> {
        let days = NaiveDate::MIN..=NaiveDate::MAX;
        let aliases = self.store.aliases_of(&[feed.number], days.clone())?;
        let shown: HashSet<u64> = aliases.values().map(|alias| alias.number).collect();
        let (mut alone, mut lacking) = (Chain::default(), Vec::new());
        self.store.each_row(records, days, |number, stored| {
            if stored.account == feed.number {
                alone.add(&stored.row);
            } else if shown.contains(&number) {
                alone.add_loose(&stored.row);
            } else {
                lacking.push(stored.row);
            }
        })?;
        let mut together = alone.clone();
        lacking.iter().for_each(|row| together.add_loose(row));
        Ok([alone.breaks(None, None), together.breaks(None, None)])
    }

    /// An account that the bank does not list any more gets no rows, and nobody would notice.
    pub(super) fn note_unlisted(
        &self,
        source: &config::Source,
        listed: &[String],
        notes: &mut Vec<String>,
    ) -> Result<(), store::Error> {
        if listed.is_empty() {
            notes.push("the bank lists no account for this login".into());
        }
        let mut writer = self.store.writer();
        let mut noted = false;
        for known in self.store.feeds().into_iter().filter(|known| known.source == source.name) {
            let name = &known.account.account;
            if listed.contains(name) {
                continue;
            }
            let doubt = source.scope.wants(name).then(|| UNLISTED.to_owned());
            notes.extend(doubt.iter().map(|doubt| format!("{name}: {doubt}")));
            if known.doubt != doubt {
                noted = true;
                writer.put_account(&source.name, &known.account, |stored| stored.doubt = doubt)?;
            }
        }
        if noted { writer.commit() } else { Ok(()) }
    }

    /// Why a fetch without a list of rows may hide some; `None`: nothing speaks against there being none.
    pub(super) fn coverage_note(&self, account: &AccountIngest) -> Result<Option<String>, store::Error> {
        Ok(match account.coverage {
            Coverage::Rows => account.unlisted.map(|day| {
                format!("the bank's reply has no list of rows for days from {day} on; they are asked for again")
            }),
            Coverage::NoAccount => Some("the bank's reply does not hold it; nothing is known of its rows".into()),
            Coverage::Nothing => self.doubt_without_list(account)?,
        })
    }

    /// A reply without a list proves nothing of a history that was never read. For a history that was
    /// read, the balance may say that nothing was added.
    fn doubt_without_list(&self, account: &AccountIngest) -> Result<Option<String>, store::Error> {
        let Some(balance) = account.account.balance else {
            return Ok(Some("the bank's reply has neither a list of rows nor a balance".into()));
        };
        let known = account.known_before.as_ref().filter(|known| known.fetched_until.is_some());
        let unmoved = known.is_some_and(|known| known.is_complete() && known.account.balance == Some(balance));
        let rows = self.store.last_before(&account.own_records(), account.until.succ_opt().unwrap_or(account.until))?;
        let follows = |row: &Row| {
            row.balance.is_none_or(|last| last == balance || (row.currency == "BGN" && bgn_to_eur(last) == balance))
        };
        if unmoved || (known.is_some() && rows.iter().any(follows)) {
            return Ok(None);
        }
        Ok(Some(if rows.is_empty() && balance.is_zero() {
            "the bank's reply has no list of rows; that there are none is not known before it has one".into()
        } else {
            let (balance, currency) = (money_text(balance), &account.account.currency);
            format!(
                "the bank's reply has no list of rows, and its balance of {balance} {currency} does not follow from the rows known"
            )
        }))
    }
}

impl AccountIngest {
    /// True where a reply with an empty list stands against several known rows: no reason yet to doubt the rows, and none
    /// to go on from there.
    pub(super) fn is_emptied(&self) -> bool {
        self.coverage == Coverage::Rows && !self.proof && self.fetched == 0
    }
}
