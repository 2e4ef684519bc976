//! A pull: the accounts of the consent, and for each its transactions and then its balance.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::api::{Api, Header};
use super::consent::{BankAccount, Consent};
use super::failure::{Failure, Reaction, Refusal};
use super::listing::{BEGINNING, Frame, Pages, Sorted, balance};
use super::memory::{Calls, Known, KnownBalance, Notebook};
use super::window::{Facts, Window};
use super::{EnableBanking, Scope};
use crate::model::Account;
use crate::remote::{Cause, Error};
use crate::source::{Coverage, Ids, Page, Session};

mod pages;

use pages::Asked;

/// Days before a balance in which no other row may have come for the balance to stand.
const BALANCE_DAYS: i64 = 7;

/// A pull.
pub(super) struct Pull {
    service: String,
    scope: Scope,
    timezone: chrono_tz::Tz,
    daily_calls: u32,
    api: Api,
    consent: Consent,
    notebook: Notebook,
    /// The headers of the owner's presence; empty: the bank counts every call.
    presence: Vec<Header>,
    /// Keys of accounts whose listing came, with what it proves once its rows are stored.
    listed: Vec<(String, Proof)>,
}

/// The facts that a listing proves, once its rows are stored.
#[derive(Clone, Copy)]
struct Proof {
    has_history: bool,
    swept: Option<NaiveDate>,
}

/// The transactions of an account as they were asked for.
struct Answer {
    rows: Sorted,
    window: Window,
    doubt: Option<String>,
    notes: Vec<String>,
}

/// An account in the session.
struct Target<'a> {
    key: &'a str,
    name: &'a str,
    uid: &'a str,
    currency: &'a str,
}

/// The endpoints whose calls the bank counts.
#[derive(Clone, Copy)]
enum Endpoint {
    Transactions,
    Balances,
}

impl Endpoint {
    fn calls(self, known: &mut Known) -> &mut Calls {
        match self {
            Endpoint::Transactions => &mut known.transactions,
            Endpoint::Balances => &mut known.balances,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Endpoint::Transactions => "transactions",
            Endpoint::Balances => "balances",
        }
    }
}

impl Pull {
    pub fn new(source: &EnableBanking, api: Api, consent: Consent, notebook: Notebook, presence: Vec<Header>) -> Pull {
        Pull {
            service: source.name.clone(),
            scope: source.scope.clone(),
            timezone: source.timezone,
            daily_calls: source.settings.daily_calls,
            api,
            consent,
            notebook,
            presence,
            listed: Vec::new(),
        }
    }

    fn name(&self, account: &BankAccount) -> String {
        self.notebook.memory.accounts.get(&account.key).map(|known| known.account.clone()).unwrap_or_default()
    }

    /// Accounts that the owner has named and the consent does not hold.
    fn missing(&self) -> Vec<String> {
        let is_there = |wanted: &&String| {
            let wanted = compact(wanted);
            self.consent.accounts.iter().any(|account| is_called(account, &self.name(account), &wanted))
        };
        self.scope.accounts.iter().flatten().filter(|wanted| !is_there(wanted)).map(|wanted| compact(wanted)).collect()
    }

    /// Lists the transactions of an account, in as few calls as the bank lets do.
    async fn list(&mut self, target: &Target<'_>, from: Option<NaiveDate>) -> Result<Answer, Error> {
        let now = Utc::now();
        let (known, today) = (self.notebook.known(target.key).clone(), now.date_naive());
        let most_days = self.notebook.memory.most_days;
        let history_from = self.scope.history_from;
        let is_fresh = self.consent.is_fresh(now);
        let facts = Facts { from, history_from, known: &known, is_fresh, today, most_days };
        let mut window = Window::first(&facts);
        let mut tries = Tries { is_first_listing: !known.is_listed, ..Tries::default() };
        loop {
            self.may_call(target, Endpoint::Transactions, now)?;
            let asked = Asked { window: &window, currency: target.currency, is_restarted: tries.is_restarted };
            let refusal = match self.pages(target, &asked).await? {
                // The service gives an empty list where the bank refuses a long period.
                Ok(pages) if pages.is_empty() && pages.incomplete.is_none() && window.is_longest => {
                    match window.smaller(&facts, None) {
                        Some(smaller) => {
                            window = smaller;
                            continue;
                        }
                        None => return self.answer(target, pages, window, &facts, &tries),
                    }
                }
                Ok(pages) => return self.answer(target, pages, window, &facts, &tries),
                Err(refusal) => refusal,
            };
            match self.next_try(&refusal, &window, &facts, &mut tries) {
                Some(next) => window = next,
                None => return Err(self.refused(target, Endpoint::Transactions, &refusal)?),
            }
        }
    }

    /// The next way to ask after a refusal; `None`: there is none.
    fn next_try(&mut self, refusal: &Refusal, window: &Window, facts: &Facts<'_>, tries: &mut Tries) -> Option<Window> {
        let reaction = refusal.reaction();
        if matches!(reaction, Reaction::BankTrouble | Reaction::Presence) && !self.presence.is_empty() {
            // Some banks fail where they are told of the owner's presence.
            self.presence.clear();
            tries.is_without_presence = true;
            return Some(*window);
        }
        if matches!(reaction, Reaction::BankTrouble | Reaction::Period)
            && let Some(smaller) = window.smaller(facts, refusal.allowed_from())
        {
            tries.is_too_long |= reaction == Reaction::Period;
            return Some(smaller);
        }
        if reaction == Reaction::BankTrouble && tries.is_first_listing && !self.notebook.memory.takes_no_filter {
            self.notebook.memory.takes_no_filter = true;
            tries.is_without_filter = true;
            return Some(*window);
        }
        if reaction == Reaction::Parameters && !tries.is_restarted {
            tries.is_restarted = true;
            return Some(*window);
        }
        // Nothing was learnt from trying without.
        self.notebook.memory.takes_no_filter &= !tries.is_without_filter;
        None
    }

    /// Takes the pages of a listing as the answer, and notes what they prove.
    fn answer(
        &mut self,
        target: &Target<'_>,
        pages: Pages,
        window: Window,
        facts: &Facts<'_>,
        tries: &Tries,
    ) -> Result<Answer, Error> {
        let (count, is_whole) = (pages.count(), pages.incomplete.is_none());
        let mut notes = Vec::new();
        let mut doubt = pages
            .incomplete
            .as_ref()
            .map(|why| format!("{why}; the rows that came are taken, and the others are asked for again"));
        let rows = pages.finish();
        self.notebook.memory.fails_with_presence |= tries.is_without_presence;
        if tries.is_too_long && is_whole {
            self.notebook.memory.most_days = window.days(facts.today);
        }
        if !facts.is_fresh && !facts.known.is_listed && facts.from.is_none() {
            let (days, name) = (window.days(facts.today).unwrap_or_default(), &self.service);
            notes.push(format!(
                "the bank gives the last {days} days only; the whole history comes right after a consent: run `bankfeed login {name}`, \
                 then `bankfeed sync` within the hour"
            ));
        } else if let Some(first) = window.left_out(facts.from) {
            let name = &self.service;
            doubt.get_or_insert(format!(
                "the bank does not give the days from {first} any more; they come right after a consent: run `bankfeed login {name}`, \
                 then `bankfeed sync` within the hour"
            ));
        }
        let has_history = facts.known.has_history || (window.is_longest && is_whole);
        let swept = (window.is_sweep && is_whole).then_some(facts.today);
        self.listed.push((target.key.to_owned(), Proof { has_history, swept }));
        // The usual listing is the measure for the next one; a deep one takes more calls and is rare.
        if !window.is_longest && !window.is_sweep {
            self.notebook.known(target.key).transactions.pages = count;
        }
        self.notebook.save()?;
        Ok(Answer { rows, window, doubt, notes })
    }

    /// Refuses a call that is over the limit of the day, or within a pause that the bank asked for.
    fn may_call(&mut self, target: &Target<'_>, endpoint: Endpoint, now: DateTime<Utc>) -> Result<(), Error> {
        if !self.presence.is_empty() {
            return Ok(());
        }
        let (limit, timezone) = (self.daily_calls, self.timezone);
        let Some(until) = endpoint.calls(self.notebook.known(target.key)).wait(limit, now, timezone) else {
            return Ok(());
        };
        let (service, what, name) = (&self.service, endpoint.as_str(), target.name);
        Err(Error::resting(
            until,
            format!("{service}: account {name}: the day's calls for {what} are used up, or the bank asked for a pause"),
        ))
    }

    /// Counts a call that is about to leave.
    fn count(&mut self, target: &Target<'_>, endpoint: Endpoint) -> Result<(), Error> {
        if !self.presence.is_empty() {
            return Ok(());
        }
        let day = Utc::now().with_timezone(&self.timezone).date_naive();
        endpoint.calls(self.notebook.known(target.key)).count(day);
        self.notebook.save()
    }

    /// The refusal of a call as an error, with what is to be remembered of it.
    fn refused(&mut self, target: &Target<'_>, endpoint: Endpoint, refusal: &Refusal) -> Result<Error, Error> {
        match refusal.reaction() {
            Reaction::RateLimited => {
                let until = refusal.pause_ends(Utc::now());
                endpoint.calls(self.notebook.known(target.key)).paused_until = Some(until);
            }
            Reaction::ConsentEnded => self.notebook.memory.is_ended = true,
            _ => {}
        }
        self.notebook.save()?;
        let what = match endpoint {
            Endpoint::Transactions => format!("the transactions of account {}", target.name),
            Endpoint::Balances => format!("the balance of account {}", target.name),
        };
        Ok(refusal.error(&self.service, &what))
    }

    fn without_name(&self, error: &Error) -> String {
        error.message.strip_prefix(&format!("{}: ", self.service)).unwrap_or(&error.message).to_owned()
    }

    /// The balance, asked for once a day. One of an earlier hour is shown as long as no row has come since.
    async fn balance(
        &mut self,
        target: &Target<'_>,
        rows: &Sorted,
        notes: &mut Vec<String>,
    ) -> Result<Option<Decimal>, Error> {
        let now = Utc::now();
        let day = now.with_timezone(&self.timezone).date_naive();
        let last = self.notebook.known(target.key).balance.clone();
        // Every listing holds the days that lie so near.
        let recent = |day: NaiveDate| rows.digest(day - TimeDelta::days(BALANCE_DAYS));
        let still = last.as_ref().filter(|last| last.listing == recent(last.day)).and_then(|last| last.amount);
        let is_asked = last.is_some_and(|last| last.day == day);
        if is_asked || self.may_call(target, Endpoint::Balances, now).is_err() {
            return Ok(still);
        }
        self.count(target, Endpoint::Balances)?;
        let path = ["accounts", target.uid, Endpoint::Balances.as_str()];
        let presence = self.presence.clone();
        let amount = match self.api.get_once(&path, &[], &presence).await {
            Ok(reply) => balance(&reply, &rows.currency),
            Err(failure) => {
                let error = match failure {
                    Failure::Refused(refusal) => self.refused(target, Endpoint::Balances, &refusal)?,
                    Failure::Error(error) => error,
                };
                if error.resting_until().is_none() {
                    notes.push(format!("its balance does not come: {}", self.without_name(&error)));
                }
                None
            }
        };
        self.notebook.known(target.key).balance = Some(KnownBalance { day, amount, listing: recent(day) });
        self.notebook.save()?;
        Ok(amount)
    }
}

/// The ways in which a listing was tried.
#[derive(Default)]
struct Tries {
    is_first_listing: bool,
    is_without_presence: bool,
    is_without_filter: bool,
    is_restarted: bool,
    /// The bank has said that the period is too long.
    is_too_long: bool,
}

/// A text as account numbers are compared: no blanks, capitals.
fn compact(text: &str) -> String {
    text.split_whitespace().collect::<String>().to_uppercase()
}

/// True for an account that goes by this name, or has this number.
fn is_called(account: &BankAccount, name: &str, wanted: &str) -> bool {
    compact(name) == wanted || (!account.number.is_empty() && compact(&account.number) == wanted)
}

#[async_trait]
impl Session for Pull {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        if self.consent.accounts.is_empty() {
            let service = &self.service;
            let message = format!(
                "{service}: the consent holds no account: link your accounts at https://enablebanking.com/cp/, then run \
                 `bankfeed login {service}`"
            );
            return Err(Error::attention(Cause::AccessEnded, message));
        }
        let wanted: Option<Vec<String>> =
            self.scope.accounts.as_ref().map(|wanted| wanted.iter().map(|wanted| compact(wanted)).collect());
        let mut accounts = Vec::new();
        for account in &self.consent.accounts {
            let name = self.name(account);
            let is_wanted = |wanted: &Vec<String>| wanted.iter().any(|wanted| is_called(account, &name, wanted));
            if wanted.as_ref().is_none_or(is_wanted) {
                let (customer, currency) = (account.holder.clone(), account.currency.clone());
                let account = Account { name: account.name.clone(), account: name, customer, currency, balance: None };
                accounts.push(account);
            }
        }
        let missing = self.missing().into_iter().map(|account| Account {
            account,
            name: String::new(),
            customer: String::new(),
            currency: String::new(),
            balance: None,
        });
        accounts.extend(missing);
        Ok(accounts)
    }

    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error> {
        let (service, name) = (&self.service, &account.account);
        let found = self.consent.accounts.iter().find(|found| self.name(found) == *name).cloned();
        let found = found.ok_or_else(|| {
            Error::rejected(format!(
                "{service}: the consent does not hold account {name}: link it at https://enablebanking.com/cp/ and run \
                 `bankfeed login {service}`, or correct `accounts`"
            ))
        })?;
        let Some(uid) = &found.uid else { return Ok(unreadable(account)) };
        let target = Target { key: &found.key, name, uid, currency: &found.currency };
        let Answer { rows, window, doubt, mut notes } = self.list(&target, from).await?;
        let balance = self.balance(&target, &rows, &mut notes).await?;
        let is_known = self.notebook.known(target.key).is_listed;
        // A long listing may be cut without a word: it proves nothing of the days before its first row.
        let proven = if window.is_longest && is_known { rows.first_day().or(window.taken) } else { window.taken };
        let unlisted = match rows.incomplete {
            Some(_) => Some(window.taken.unwrap_or(BEGINNING)),
            None => window.left_out(from),
        };
        let frame = Frame {
            account: Account { balance, ..account.clone() },
            own: found.number.clone(),
            from: proven.max(window.taken),
            today: Utc::now().date_naive(),
            unlisted,
            doubt,
            notes,
        };
        Ok(rows.page(frame))
    }

    async fn next(&mut self, stored: bool) -> Result<bool, Error> {
        for (key, proof) in std::mem::take(&mut self.listed).into_iter().filter(|_| stored) {
            let known = self.notebook.known(&key);
            known.is_listed = true;
            known.has_history |= proof.has_history;
            known.swept = proof.swept.or(known.swept);
        }
        self.notebook.save()?;
        Ok(false)
    }

    async fn close(self: Box<Self>) {}
}

/// The note about an account without an id in the session.
const UNREADABLE: &str = "the bank does not let this account be read; leave it out with `accounts`";

/// The page of an account that the bank does not let be read.
fn unreadable(account: &Account) -> Page {
    let today = Utc::now().date_naive();
    Page {
        account: account.clone(),
        from: None,
        until: today,
        opening: None,
        closing: None,
        count: 0,
        rows: Box::new(std::iter::empty()),
        ids: Ids::Reissued,
        continues: false,
        coverage: Coverage::NoAccount,
        unlisted: None,
        unread: Vec::new(),
        doubt: Some(UNREADABLE.to_owned()),
        notes: vec![UNREADABLE.to_owned()],
    }
}
