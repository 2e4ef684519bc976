//! Statements as pages for the engine: one page for each statement of a file, with the days that the statement proves and
//! the account as the latest statement describes it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;

use super::prepared::{Prepared, RowReader};
use super::state::Latest;
use super::statement::Statement;
use crate::model::{Account, Row, is_in_bounds};
use crate::source::{Coverage, Ids, Page, Refused};

/// The pages of one file, statement by statement.
pub struct Pages {
    prepared: Arc<Prepared>,
    reader: Arc<Mutex<RowReader>>,
    today: NaiveDate,
    history_from: Option<NaiveDate>,
}

impl Pages {
    /// The pages of a file that can be read. Rows before `history_from` are left out.
    pub fn new(prepared: Prepared, today: NaiveDate, history_from: Option<NaiveDate>) -> Pages {
        let prepared = Arc::new(prepared);
        let reader = Arc::new(Mutex::new(RowReader::new(prepared.clone())));
        Pages { prepared, reader, today, history_from }
    }

    /// The file.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The account of a statement, with currency and balance of the account's latest statement.
    pub fn account(&self, statement: &Statement, latest: Option<&Latest>) -> Account {
        Account {
            account: statement.account.clone().unwrap_or_default(),
            name: String::new(),
            customer: String::new(),
            currency: latest.map(|latest| latest.currency.clone()).or(statement.currency.clone()).unwrap_or_default(),
            balance: latest.and_then(Latest::balance),
        }
    }

    /// The page of the statement with this number.
    pub fn page(&self, index: usize, account: Account) -> Page {
        let statement = &self.prepared.statements()[index];
        let (from, until) = self.window(statement);
        // The opening balance belongs before the first row of the window, or it proves nothing.
        let is_first = statement.from == Some(from) && statement.first_day_is_closed;
        let balance = |balance: &Option<super::Balance>| {
            balance.as_ref().map(|balance| balance.amount).filter(|amount| is_in_bounds(*amount))
        };
        let doubts = statement.adds_up == Some(false);
        let doubt = "the entries of a statement do not lead from its opening to its closing balance";
        Page {
            account,
            from: Some(from),
            until,
            opening: balance(&statement.opening).filter(|_| is_first),
            closing: balance(&statement.closing),
            count: statement.entries,
            rows: Box::new(StatementRows {
                reader: self.reader.clone(),
                statement: index,
                history_from: self.history_from,
                since: from,
                is_over: false,
            }),
            ids: Ids::Reissued,
            continues: self.continues(index),
            coverage: Coverage::Rows,
            unlisted: None,
            unread: Vec::new(),
            doubt: doubts.then(|| doubt.to_owned()),
            notes: Vec::new(),
        }
    }

    /// True for a statement that follows another one of its account in the same document.
    fn continues(&self, index: usize) -> bool {
        let statements = self.prepared.statements();
        let is_same = |other: &&usize| statements[**other].account == statements[index].account;
        let before = self.prepared.order().iter().take_while(|other| **other != index).filter(is_same).last();
        before.is_some_and(|other| statements[*other].document == statements[index].document)
    }

    /// The days that a statement proves; a window that ends before it begins proves none.
    fn window(&self, statement: &Statement) -> (NaiveDate, NaiveDate) {
        let proven = statement.proven_days(self.today);
        let proven = proven.map(|(from, until)| (from.max(self.history_from.unwrap_or(from)), until));
        let day = statement.until.unwrap_or(self.today).min(self.today);
        proven.filter(|(from, until)| from <= until).unwrap_or((day, day.pred_opt().unwrap_or(day)))
    }
}

/// The rows of one statement.
struct StatementRows {
    reader: Arc<Mutex<RowReader>>,
    statement: usize,
    history_from: Option<NaiveDate>,
    since: NaiveDate,
    is_over: bool,
}

impl Iterator for StatementRows {
    type Item = Result<Row, Refused>;

    fn next(&mut self) -> Option<Result<Row, Refused>> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_over {
            match reader.next(self.statement) {
                Ok(Some(row)) if self.history_from.is_some_and(|first| row.date < first) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Ok(None) => self.is_over = true,
                // The first reading has found the file good, so this is a fault of the machine.
                Err(refusal) => {
                    self.is_over = true;
                    let why = refusal.to_string();
                    return Some(Err(Refused { id: None, time: None, since: self.since, why }));
                }
            }
        }
        None
    }
}
