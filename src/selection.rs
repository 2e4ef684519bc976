//! A selection of transactions by day, account and text: shared by commands and page.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::export::json::plain;
use crate::model::{Field, Transaction};
use crate::store::KnownAccount;

pub mod day;

/// The transactions that a command or the page asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// First day of booking.
    pub since: Option<NaiveDate>,
    /// Last day of booking.
    pub until: Option<NaiveDate>,
    /// Account: IBAN or name.
    pub account: Option<String>,
    /// Text in any field, upper or lower case.
    pub search: Option<String>,
    /// Number of transactions, the latest ones.
    pub limit: Option<usize>,
}

impl Selection {
    /// Why no transaction can be meant; `None`: the selection makes sense.
    pub fn contradiction(&self) -> Option<String> {
        let (since, until) = (self.since?, self.until?);
        (since > until).then(|| format!("since {since} is after until {until}, so no day is meant; swap them"))
    }
}

/// Account and text of a selection, ready to be compared. The caller applies the selection's dates and limit.
#[derive(Clone, Debug, Default)]
pub struct SelectionMatcher {
    accounts: Option<Vec<String>>,
    search: Option<String>,
}

impl SelectionMatcher {
    /// Finds the accounts that are meant, with any capitals and blanks. `Err`: no account fits; the text lists the accounts.
    pub fn new(selection: &Selection, known: &[KnownAccount]) -> Result<SelectionMatcher, String> {
        let search = selection.search.as_ref().map(|text| text.to_lowercase());
        let Some(asked) = &selection.account else { return Ok(SelectionMatcher { accounts: None, search }) };
        let is_meant = |account: &&KnownAccount| {
            let (asked, account) = (squeezed(asked), &account.account);
            !asked.is_empty() && (squeezed(&account.account) == asked || squeezed(&account.name) == asked)
        };
        let accounts: Vec<String> =
            known.iter().filter(is_meant).map(|stored| stored.account.account.clone()).collect();
        if accounts.is_empty() {
            Err(no_such_account(asked, known))
        } else {
            Ok(SelectionMatcher { accounts: Some(accounts), search })
        }
    }

    /// True if the transaction is of a selected account and contains the text.
    pub fn matches(&self, transaction: &Transaction) -> bool {
        let is_its = |accounts: &Vec<String>| accounts.iter().any(|account| **account == *transaction.account);
        self.accounts.as_ref().is_none_or(is_its) && self.search.as_ref().is_none_or(|text| contains(transaction, text))
    }

    /// The matcher without its text.
    pub fn of_accounts(&self) -> SelectionMatcher {
        SelectionMatcher { search: None, ..self.clone() }
    }
}

/// An account number or name without capitals and blanks, as people compare them.
fn squeezed(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn no_such_account(asked: &str, known: &[KnownAccount]) -> String {
    if known.is_empty() {
        return format!("no account is called `{asked}`, because none is known yet; run `bankfeed sync` first");
    }
    let shown = known.iter().map(|stored| match (&stored.account.account, &stored.account.name) {
        (account, name) if name.is_empty() => account.clone(),
        (account, name) => format!("{account} ({name})"),
    });
    format!("no account is called `{asked}`; there are: {}", shown.collect::<Vec<_>>().join(", "))
}

fn contains(transaction: &Transaction, text: &str) -> bool {
    Field::all().any(|field| plain(&field.value(transaction)).is_some_and(|value| value.to_lowercase().contains(text)))
}
