//! The store as an SQLite database: three tables, made of lines as they come, in memory or as a file. No other
//! module names `rusqlite`.
//!
//! Amounts are REAL: SQLite compensates the rounding error when it adds, and [`number`] prints fifteen digits, so a sum is
//! exact to the cent up to ten trillion. Missing text is NULL. `LIKE`, `lower` and `upper` know all letters; those of
//! SQLite know Latin letters only.
//!
//! A database that is open for questions cannot be written and opens no file: only reading is authorised.

use std::io;
use std::path::Path;

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use super::dump::{Account, Builder, Line, Row};
use crate::model::Field;

mod limits;

use limits::{Budget, Watch};

/// Most decimals of a printed number: digits further right are rounding errors of a subtraction.
const MOST_DECIMALS: usize = 8;

/// Digits that a REAL is good for.
const DIGITS: usize = 15;

const TABLES: &str = "
CREATE TABLE accounts (account TEXT, account_name TEXT, customer TEXT, source TEXT, currency TEXT, balance REAL,
    fetched_until TEXT, complete INTEGER, problem TEXT);
CREATE TABLE deliveries (destination TEXT, transaction_id TEXT, state TEXT, reason TEXT);
";

/// A database being filled.
pub struct DatabaseBuilder {
    db: Connection,
    destinations: Vec<String>,
    insert_row: String,
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Nothing,
    /// INTEGER.
    Integer(i64),
    /// REAL, as text.
    Number(String),
    /// TEXT; a BLOB as hexadecimal digits.
    Text(String),
}

impl DatabaseBuilder {
    /// A database in memory.
    pub fn in_memory() -> io::Result<DatabaseBuilder> {
        DatabaseBuilder::over(Connection::open_in_memory().map_err(failed)?)
    }

    /// A database in this file, which must be empty.
    pub fn file(path: &Path) -> io::Result<DatabaseBuilder> {
        // A path is a path, never an address with options.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        DatabaseBuilder::over(Connection::open_with_flags(path, flags).map_err(failed)?)
    }

    fn over(db: Connection) -> io::Result<DatabaseBuilder> {
        // The database need not survive a crash: the user would ask again.
        db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN").map_err(failed)?;
        let column = |field: Field| {
            let kind = if is_amount(&field) { "REAL" } else { "TEXT" };
            format!("{} {kind}", field.key())
        };
        let columns: Vec<String> = Field::all().map(column).collect();
        let table =
            format!("CREATE TABLE transactions ({}, vanished INTEGER, raw TEXT, UNIQUE (id))", columns.join(", "));
        db.execute_batch(&format!("{table};{TABLES}")).map_err(failed)?;
        let marks = vec!["?"; columns.len() + 2].join(", ");
        let insert_row = format!("INSERT INTO transactions VALUES ({marks})");
        Ok(DatabaseBuilder { db, destinations: Vec::new(), insert_row })
    }

    fn add_account(&self, account: &Account) -> rusqlite::Result<()> {
        let mut insert = self.db.prepare_cached("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
        let balance = account.balance.as_deref().and_then(amount);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        insert.execute((
            &account.account,
            some(&account.account_name),
            some(&account.customer),
            &account.source,
            &account.currency,
            balance,
            &account.fetched_until,
            account.complete,
            &account.problem,
        ))?;
        Ok(())
    }

    fn add_row(&self, row: &Row) -> rusqlite::Result<()> {
        let mut insert = self.db.prepare_cached(&self.insert_row)?;
        let amounts: Vec<Option<f64>> = row.fields.iter().map(|text| text.as_deref().and_then(amount)).collect();
        let fields = Field::all().zip(&row.fields).zip(&amounts).map(|((field, text), amount)| -> &dyn ToSql {
            if is_amount(&field) { amount } else { text }
        });
        let rest: [&dyn ToSql; 2] = [&row.vanished, &row.raw];
        insert.execute(params_from_iter(fields.chain(rest)))?;
        let mut deliver = self.db.prepare_cached("INSERT INTO deliveries VALUES (?, ?, ?, ?)")?;
        for (destination, delivery) in self.destinations.iter().zip(&row.deliveries) {
            let Some(delivery) = delivery else { continue };
            deliver.execute((destination, row.fields.first(), delivery.state.as_str(), &delivery.reason))?;
        }
        Ok(())
    }

    /// Ends the filling of a file.
    pub fn close(self) -> io::Result<()> {
        self.db.flush_prepared_statement_cache();
        self.db.execute_batch("CREATE INDEX by_date ON transactions (date); COMMIT").map_err(failed)?;
        self.db.close().map_err(|(_, error)| failed(error))
    }

    /// Ends the filling and opens the database for questions.
    pub fn open(mut self) -> io::Result<Database> {
        self.db.execute_batch("COMMIT; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY").map_err(failed)?;
        let watch = limits::set(&mut self.db).map_err(failed)?;
        know_all_letters(&self.db, &watch).map_err(failed)?;
        self.db
            .authorizer(Some(|context: rusqlite::hooks::AuthContext<'_>| match context.action {
                AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
                AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
                AuthAction::Pragma { pragma_name: "table_info" | "table_list", .. } => Authorization::Allow,
                _ => Authorization::Deny,
            }))
            .map_err(failed)?;
        Ok(Database { db: self.db, watch })
    }
}

impl Builder for DatabaseBuilder {
    fn take(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Fields(_) => Ok(()),
            Line::Account(account) => self.add_account(account).map_err(failed),
            Line::Destination(name) => {
                self.destinations.push(name.clone());
                Ok(())
            }
            Line::Row(row) => self.add_row(row).map_err(failed),
        }
    }
}

/// The receiver of an answer.
pub trait AnswerWriter {
    /// The names of the columns.
    fn head(&mut self, names: &[String]) -> io::Result<()>;
    /// A row. The inner error is the reason, in one line, why the answer must end.
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<Result<(), String>>;
}

/// A database that is open for questions.
pub struct Database {
    db: Connection,
    watch: Watch,
}

impl Database {
    /// Answers a question. The inner error is the mistake in the question, in one line.
    pub fn answer(&self, question: &str, to: &mut dyn AnswerWriter) -> io::Result<Result<(), String>> {
        let mut budget = Budget::new(&self.watch);
        let mut statement = match budget.work(|| self.db.prepare(question)) {
            Ok(statement) => statement,
            Err(error) => return Ok(Err(explain(&error))),
        };
        // A second guard: the authorizer admits no such statement.
        if statement.column_count() == 0 || !statement.readonly() {
            return Ok(Err(ONLY_QUESTIONS.into()));
        }
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = match statement.query(()) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(explain(&error))),
        };
        to.head(&names)?;
        loop {
            let row = match budget.work(|| rows.next()) {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(explain(&error))),
            };
            let taken = match limits::check_row(row, names.len()) {
                Ok(()) => to.row(cells(row, names.len()))?,
                Err(why) => Err(why),
            };
            if let Err(why) = taken {
                return Ok(Err(why));
            }
        }
    }

    /// True if the whole text is one question.
    pub fn understands(&self, question: &str) -> bool {
        self.db.prepare(question).is_ok()
    }
}

const ONLY_QUESTIONS: &str = "only questions are answered here (SELECT …); nothing can be changed";

fn cells(row: &rusqlite::Row<'_>, count: usize) -> Vec<Cell> {
    (0..count).map(|at| row.get_ref(at).map_or(Cell::Nothing, cell)).collect()
}

/// Memory of a value.
fn cell_bytes(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        _ => 0,
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Nothing,
        ValueRef::Integer(integer) => Cell::Integer(integer),
        ValueRef::Real(real) => Cell::Number(number(real)),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Cell::Text(blob.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// A number as amounts are written: at least two decimals, and no digit beyond the precision of a double.
pub fn number(real: f64) -> String {
    if !real.is_finite() || real.abs() >= 1e15 {
        return format!("{real:e}");
    }
    // The digits are counted, because a logarithm rounds up just below a power of ten.
    let whole_digits = format!("{:.0}", real.abs().trunc()).len();
    let decimals = DIGITS.saturating_sub(whole_digits).min(MOST_DECIMALS);
    let text = format!("{real:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let text = format!("{whole}.{:0<2}", fraction.trim_end_matches('0'));
    if text == "-0.00" { "0.00".into() } else { text }
}

fn amount(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn is_amount(field: &Field) -> bool {
    matches!(field, Field::Amount | Field::Debit | Field::Credit | Field::AmountEur | Field::Balance)
}

/// The mistake in a question, in one line.
fn explain(error: &rusqlite::Error) -> String {
    if let Some(limit) = limits::explain(error) {
        return limit;
    }
    let text = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::MultipleStatement => "one question at a time".into(),
        other => other.to_string(),
    };
    let refused = text.starts_with("not authorized") || text.starts_with("attempt to write");
    if refused { ONLY_QUESTIONS.into() } else { text.replace('\n', " ") }
}

fn failed(error: rusqlite::Error) -> io::Error {
    let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    io::Error::new(if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other }, explain(&error))
}

fn know_all_letters(db: &Connection, watch: &Watch) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("lower", 1, flags, |context| {
        Ok(context_text(context, 0).map(|text| text.to_lowercase()))
    })?;
    db.create_scalar_function("upper", 1, flags, |context| {
        Ok(context_text(context, 0).map(|text| text.to_uppercase()))
    })?;
    for arguments in [2, 3] {
        let watch = watch.clone();
        // `a LIKE b ESCAPE c` is `like(b, a, c)`.
        db.create_scalar_function("like", arguments, flags, move |context| {
            let (Some(pattern), Some(text)) = (context_text(context, 0), context_text(context, 1)) else {
                return Ok(None);
            };
            let escape =
                if arguments == 3 { context_text(context, 2).and_then(|text| text.chars().next()) } else { None };
            let fits = like(&pattern.to_lowercase(), &text.to_lowercase(), escape, || watch.is_over());
            fits.map(Some).ok_or_else(|| limits::refused(limits::too_long()))
        })?;
    }
    Ok(())
}

/// An argument as text; numbers as they would be printed.
fn context_text(context: &rusqlite::functions::Context<'_>, at: usize) -> Option<String> {
    match cell(context.get_raw(at)) {
        Cell::Nothing => None,
        Cell::Integer(integer) => Some(integer.to_string()),
        Cell::Number(text) | Cell::Text(text) => Some(text),
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Any,
    One,
    Letter(char),
}

/// Letters compared between two checks of the time.
const COMPARED_AT_ONCE: u32 = 1 << 20;

/// True if a text fits a pattern of `%` and `_`. The time is at worst the product of their lengths; `None`: the time of
/// the question is over.
fn like(pattern: &str, text: &str, escape: Option<char>, is_over: impl Fn() -> bool) -> Option<bool> {
    let mut marks = Vec::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        marks.push(match letter {
            _ if Some(letter) == escape => letters.next().map_or(Mark::Letter(letter), Mark::Letter),
            '%' => Mark::Any,
            '_' => Mark::One,
            letter => Mark::Letter(letter),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut mark, mut back, mut compared) = (0, 0, None, 0_u32);
    while at < text.len() {
        compared = compared.wrapping_add(1);
        if compared.is_multiple_of(COMPARED_AT_ONCE) && is_over() {
            return None;
        }
        match marks.get(mark) {
            Some(Mark::Any) => {
                back = Some((at, mark));
                mark += 1;
            }
            Some(Mark::One) => (at, mark) = (at + 1, mark + 1),
            Some(Mark::Letter(letter)) if *letter == text[at] => (at, mark) = (at + 1, mark + 1),
            _ => {
                // The last `%` takes in one more letter.
                let Some((from, any)) = back else { return Some(false) };
                back = Some((from + 1, any));
                (at, mark) = (from + 1, any + 1);
            }
        }
    }
    Some(marks[mark..].iter().all(|mark| *mark == Mark::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_money() {
        let shown =
            [0.1 + 0.2, -12.3, 0.0, -0.0, 1.0 / 3.0, 9_999_999_999_999.99, 1234.57 - 1234.56, -0.001].map(number);
        assert_eq!(shown, ["0.30", "-12.30", "0.00", "0.00", "0.33333333", "9999999999999.99", "0.01", "-0.001"]);
        assert_eq!(number(1e300), "1e300");
    }

    #[test]
    fn patterns_know_all_letters() {
        for (pattern, text, fits) in [
            ("%кафе%", "ПРИ КАФЕТО", true),
            ("кафе", "КАФЕ", true),
            ("кафе", "кафета", false),
            ("%", "", true),
            ("_", "Я", true),
            ("a%b%c", "aXbYbc", true),
            ("a%b%c", "aXbYbcd", false),
        ] {
            let found = like(&pattern.to_lowercase(), &text.to_lowercase(), None, || false);
            assert_eq!(found, Some(fits), "{pattern} {text}");
        }
        let escaped = |text| like("100!%", text, Some('!'), || false);
        assert_eq!((escaped("100%"), escaped("1000")), (Some(true), Some(false)));
        let (pattern, text) = (format!("%{}b", "a".repeat(10_000)), "a".repeat(100_000));
        assert_eq!(like(&pattern, &text, None, || true), None, "a comparison without end hears that its time is over");
    }
}
