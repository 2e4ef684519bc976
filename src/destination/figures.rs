//! A destination's view of accounts, in the owner's language: the columns of the proof, and its plain words.
//!
//! Pure, and shared by the connectors, so that the same figures stand everywhere under the same names.

use super::{AccountSummary, Partial, Summary};
use crate::model::{Direction, Language, Value};

/// A column of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Account,
    Name,
    Customer,
    Currency,
    Balance,
    Opening,
    Sum,
    TakenBack,
    Difference,
    Complete,
    First,
    Last,
    LastSuccess,
    NextRun,
    Remark,
}

/// Every column with its key, its English and its Bulgarian header, from left to right.
pub(super) const FIGURES: [(Figure, &str, &str, &str); 15] = [
    (Figure::Account, "account", "Account", "Сметка"),
    (Figure::Name, "name", "Name", "Име"),
    (Figure::Customer, "customer", "Customer", "Клиент"),
    (Figure::Currency, "currency", "Currency", "Валута"),
    (Figure::Balance, "balance", "Bank balance", "Салдо в банката"),
    (Figure::Opening, "opening", "Opening balance", "Начално салдо"),
    (Figure::Sum, "sum", "Sum of rows", "Сбор на редовете"),
    (Figure::TakenBack, "taken_back", "Taken back by the bank", "Оттеглено от банката"),
    (Figure::Difference, "difference", "Difference", "Разлика"),
    (Figure::Complete, "complete", "Complete", "Пълна"),
    (Figure::First, "first", "First date", "Първа дата"),
    (Figure::Last, "last", "Last date", "Последна дата"),
    (Figure::LastSuccess, "last_success", "Last successful run", "Последно успешно обновяване"),
    (Figure::NextRun, "next_run", "Next run", "Следващо обновяване"),
    (Figure::Remark, "remark", "Remarks", "Бележки"),
];

impl Figure {
    /// The value of this column; empty for a sum or difference, which formulas or the caller make.
    pub fn value<'a>(self, language: Language, summary: &Summary, account: &'a AccountSummary) -> Value<'a> {
        let money = |amount: Option<rust_decimal::Decimal>| amount.map_or(Value::Empty, Value::Money);
        match self {
            Figure::Account => Value::Text(account.account.as_str().into()),
            Figure::Name => Value::Text(account.name.as_str().into()),
            Figure::Customer => Value::Text(account.customer.as_str().into()),
            Figure::Currency => Value::Text(account.currency.as_str().into()),
            Figure::Balance => money(account.balance),
            Figure::Opening => money(account.opening),
            Figure::TakenBack => money(Some(account.taken_back).filter(|amount| !amount.is_zero())),
            Figure::Complete => account
                .problem
                .as_deref()
                .map_or_else(|| text(words(language).yes.to_owned()), |problem| Value::Text(problem.into())),
            Figure::First => account.first.map_or(Value::Empty, Value::Date),
            Figure::Last => account.last.map_or(Value::Empty, Value::Date),
            Figure::LastSuccess => account.last_success.map_or(Value::Empty, Value::Time),
            Figure::NextRun => {
                summary.next_run.map_or_else(|| text(words(language).when_asked.to_owned()), Value::Time)
            }
            Figure::Remark => text(remark(language, account)),
            Figure::Sum | Figure::Difference => Value::Empty,
        }
    }

    /// By its key.
    pub fn by_key(key: &str) -> Option<Figure> {
        FIGURES.iter().find(|(_, known, ..)| *known == key).map(|(figure, ..)| *figure)
    }
}

/// Text of our own.
pub(super) fn text(text: String) -> Value<'static> {
    Value::Text(text.into())
}

/// The state of everything, in one plain line.
pub(super) fn status_text(language: Language, summary: &Summary) -> String {
    let words = words(language);
    let mut parts: Vec<String> = Vec::new();
    if !summary.attention.is_empty() {
        parts.push(format!("{}: {}", words.needs_you, summary.attention.join("; ")));
    }
    if !summary.trouble.is_empty() {
        parts.push(format!("{}: {}", words.failed, summary.trouble.join("; ")));
    }
    let broken: Vec<&str> = summary
        .accounts
        .iter()
        .filter(|account| account.problem.is_some())
        .map(|account| account.account.as_str())
        .collect();
    if !broken.is_empty() {
        parts.push(format!("{}: {}", words.incomplete, broken.join(", ")));
    }
    if parts.is_empty() {
        parts.push(words.well.to_owned());
    }
    format!("{}. {} {}.", parts.join(". "), words.as_of, summary.at.format("%Y-%m-%d %H:%M"))
}

/// The remark on an account beside its figures.
pub(super) fn remark(language: Language, account: &AccountSummary) -> String {
    let words = words(language);
    let counted = [(account.deleted, words.deleted), (account.rejected, words.rejected)];
    let mut parts: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{word}: {count}")).collect();
    if !account.taken_back.is_zero() {
        parts.push(words.taken_back.to_owned());
    }
    if account.mixed {
        parts.push(words.mixed.replace("{}", &account.currency));
    }
    parts.join("; ")
}

/// Why there can be no difference, whatever the destination; nothing where there can be one.
pub(super) fn left_out(language: Language, account: &AccountSummary) -> Option<String> {
    let words = words(language);
    match account.partial {
        Some(Partial::Since(since)) => Some(words.since.replace("{}", &since.to_string())),
        Some(Partial::Direction(Direction::Debit)) => Some(words.only_out.to_owned()),
        Some(Partial::Direction(Direction::Credit)) => Some(words.only_in.to_owned()),
        Some(Partial::Some) => Some(words.only_some.to_owned()),
        None if account.balance.is_none() || account.opening.is_none() => Some(words.no_balance.to_owned()),
        None => None,
    }
}

/// Words in one language.
pub(super) struct Words {
    pub yes: &'static str,
    pub when_asked: &'static str,
    pub no_columns: &'static str,
    pub since: &'static str,
    pub only_out: &'static str,
    pub only_in: &'static str,
    pub only_some: &'static str,
    pub no_balance: &'static str,
    needs_you: &'static str,
    failed: &'static str,
    incomplete: &'static str,
    well: &'static str,
    as_of: &'static str,
    deleted: &'static str,
    rejected: &'static str,
    taken_back: &'static str,
    mixed: &'static str,
}

/// The words of a language.
pub(super) fn words(language: Language) -> &'static Words {
    match language {
        Language::En => &EN,
        Language::Bg => &BG,
    }
}

const EN: Words = Words {
    yes: "yes",
    when_asked: "only when asked",
    no_columns: "left out: a column it needs is missing",
    since: "left out: only rows since {} are here",
    only_out: "left out: only money out is here",
    only_in: "left out: only money in is here",
    only_some: "left out: only some of the rows are here",
    no_balance: "left out: the bank gives no balance",
    needs_you: "Needs you",
    failed: "Failed, will be tried again",
    incomplete: "Rows may be missing in",
    well: "All is well: every account is complete",
    as_of: "Written by bankfeed on",
    deleted: "rows you deleted here",
    rejected: "rows that could not be written",
    taken_back: "rows taken back by the bank are marked and still counted in the sum",
    mixed: "rows in {} only: the account's currency changed",
};

const BG: Words = Words {
    yes: "да",
    when_asked: "само при поискване",
    no_columns: "без: липсва нужна колона",
    since: "без: тук са само редовете от {} нататък",
    only_out: "без: тук са само плащанията",
    only_in: "без: тук са само постъпленията",
    only_some: "без: тук са само част от редовете",
    no_balance: "без: банката не дава салдо",
    needs_you: "Нужни сте Вие",
    failed: "Неуспех, ще се опита пак",
    incomplete: "Може да липсват редове в",
    well: "Всичко е наред: всяка сметка е пълна",
    as_of: "Записано от bankfeed на",
    deleted: "редове, изтрити от Вас тук",
    rejected: "редове, които не можаха да се запишат",
    taken_back: "оттеглените от банката редове са зачертани и още влизат в сбора",
    mixed: "само редовете в {}: валутата на сметката е сменена",
};
