//! Creating, changing and deleting bank lines, with the rules of the books: rights, companies, journals, locked periods
//! and reconciled lines.

use chrono::{Datelike, Days, NaiveDate};
use serde_json::{Map, Value, json};

use super::books::{Books, FIELDS, Group, LINE, Line, User};
use super::refusal::Refusal;

/// The caller: a user, the server's version, and today.
pub(super) struct Caller<'a> {
    pub user: &'a User,
    pub version: u32,
    pub today: NaiveDate,
}

impl Caller<'_> {
    fn has(&self, groups: &[Group]) -> bool {
        groups.iter().any(|group| self.user.groups.contains(group))
    }

    /// The title of a group: version 18 puts its category in front.
    fn titles(&self, titles: &[&'static str]) -> Vec<&'static str> {
        let older = |title: &&'static str| match *title {
            "Basic" => "Technical/Basic",
            "Access Rights" => "Administration/Access Rights",
            "Show Accounting Features - Readonly" => "Technical/Show Accounting Features - Readonly",
            other => other,
        };
        if self.version < 19 { titles.iter().map(older).collect() } else { titles.to_vec() }
    }

    /// The right to book bank lines, which only hidden groups have.
    pub fn may_book(&self) -> Result<(), Refusal> {
        if self.has(&[Group::Basic, Group::Full]) {
            return Ok(());
        }
        Err(Refusal::right("create", "Bank Statement Line", LINE, &self.titles(&["Basic"])))
    }

    /// The right to look at a model.
    pub fn may_read(&self, model: &str) -> Result<(), Refusal> {
        let insider = self.has(&[Group::Basic, Group::Full, Group::Invoicing, Group::Manager, Group::Settings]);
        let (title, groups): (&str, &[&str]) = match model {
            LINE => ("Bank Statement Line", &["Accounting/Invoicing", "Basic", "Show Accounting Features - Readonly"]),
            "account.journal" => (
                "Journal",
                &["Accounting/Administrator", "Accounting/Invoicing", "Show Accounting Features - Readonly"],
            ),
            "ir.model.data" if !self.has(&[Group::Settings]) => {
                let groups = self.titles(&["Access Rights"]);
                return Err(Refusal::right("access", "Model Data", model, &groups));
            }
            _ => return Ok(()),
        };
        if insider { Ok(()) } else { Err(Refusal::right("access", title, model, &self.titles(groups))) }
    }

    /// The right to give external ids by hand.
    pub fn may_give_external_ids(&self) -> Result<(), Refusal> {
        if self.has(&[Group::Settings]) {
            return Ok(());
        }
        Err(Refusal::right("create", "Model Data", "ir.model.data", &self.titles(&["Access Rights"])))
    }
}

impl Books {
    /// Makes a line of these values.
    pub(super) fn create(&mut self, caller: &Caller<'_>, values: &Map<String, Value>) -> Result<i64, Refusal> {
        caller.may_book()?;
        self.check_names(caller, values)?;
        let mut line = Line { date: caller.today, ..Line::default() };
        self.assign(&mut line, values)?;
        if values.get("journal_id").and_then(Value::as_i64).is_none() {
            // Not refused: the line lands in the first bank journal.
            let first = self.journals.iter().filter(|it| it.kind == "bank" && it.active).map(|it| it.id).min();
            line.journal = first.ok_or_else(|| Refusal::user("There is no bank journal"))?;
        }
        self.check_journal(caller, line.journal)?;
        self.settle_currency(&mut line, values)?;
        line.date = self.open_day(caller, line.journal, line.date);
        if let Some(id) = line.unique_import_id.as_deref() {
            self.check_import_id(id, None)?;
        }
        line.reconciled = line.amount == 0.0;
        self.last_line += 1;
        line.id = self.last_line;
        line.number = line.id;
        let id = line.id;
        self.lines.insert(id, line);
        Ok(id)
    }

    /// Changes lines.
    pub(super) fn write(
        &mut self,
        caller: &Caller<'_>,
        ids: &[i64],
        values: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        caller.may_book()?;
        self.check_names(caller, values)?;
        for id in ids {
            let before = self.line(caller, *id)?.clone();
            let touches = |names: &[&str]| names.iter().any(|name| values.contains_key(*name));
            let lock = self.lock_of(before.journal);
            if let Some(lock) = lock.filter(|lock| before.date <= *lock)
                && touches(&["payment_ref", "amount", "date", "journal_id", "foreign_currency_id", "amount_currency"])
            {
                return Err(Refusal::locked(lock));
            }
            if before.reconciled
                && before.amount != 0.0
                && touches(&["payment_ref", "amount", "journal_id", "foreign_currency_id", "amount_currency"])
            {
                return Err(Refusal::reconciled());
            }
            let mut line = before;
            self.assign(&mut line, values)?;
            if touches(&["journal_id"]) {
                self.check_journal(caller, line.journal)?;
            }
            self.settle_currency(&mut line, values)?;
            if let Some(lock) = self.lock_of(line.journal).filter(|lock| line.date <= *lock && touches(&["date"])) {
                return Err(Refusal::locked(lock));
            }
            if let Some(import) = line.unique_import_id.as_deref() {
                self.check_import_id(import, Some(*id))?;
            }
            self.lines.insert(*id, line);
        }
        Ok(())
    }

    /// Deletes lines: reconciled ones too, as the real server does.
    pub(super) fn unlink(&mut self, caller: &Caller<'_>, ids: &[i64]) -> Result<(), Refusal> {
        caller.may_book()?;
        for id in ids {
            let line = self.line(caller, *id)?;
            if let Some(lock) = self.lock_of(line.journal).filter(|lock| line.date <= *lock) {
                return Err(Refusal::locked(lock));
            }
        }
        ids.iter().for_each(|id| self.delete_line(*id));
        Ok(())
    }

    fn line(&self, caller: &Caller<'_>, id: i64) -> Result<&Line, Refusal> {
        self.lines.get(&id).ok_or_else(|| Refusal::missing(LINE, id, caller.user.id))
    }

    fn check_names(&self, caller: &Caller<'_>, values: &Map<String, Value>) -> Result<(), Refusal> {
        let known = |name: &str| {
            FIELDS.iter().any(|field| field.0 == name) || name == "unique_import_id" && self.unique_import_id
        };
        match values.keys().find(|name| !known(name)) {
            Some(name) if caller.version < 19 => {
                Err(Refusal::value(format!("Invalid field '{name}' on model '{LINE}'")))
            }
            Some(name) => Err(Refusal::value(format!("Invalid field '{name}' in '{LINE}'"))),
            None => Ok(()),
        }
    }

    fn assign(&self, line: &mut Line, values: &Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in values {
            match name.as_str() {
                "journal_id" => line.journal = value.as_i64().unwrap_or(line.journal),
                "date" => line.date = date(value)?.unwrap_or(line.date),
                "amount" => line.amount = float(value)?,
                "payment_ref" => line.payment_ref = text(value)?,
                "partner_name" => line.partner_name = text(value)?,
                "account_number" => line.account_number = text(value)?,
                "ref" => line.reference = text(value)?,
                "narration" => line.narration = html(&text(value)?),
                "transaction_type" => line.transaction_type = text(value)?,
                "foreign_currency_id" => line.foreign_currency = value.as_i64(),
                "amount_currency" => line.amount_currency = float(value)?,
                "unique_import_id" => line.unique_import_id = Some(text(value)?).filter(|id| !id.is_empty()),
                // Read-only fields are passed over.
                _ => {}
            }
        }
        Ok(())
    }

    fn settle_currency(&self, line: &mut Line, values: &Map<String, Value>) -> Result<(), Refusal> {
        if line.foreign_currency.is_some() && line.foreign_currency == self.currency_of(line.journal) {
            // A currency equal to the journal's is dropped silently.
            (line.foreign_currency, line.amount_currency) = (None, 0.0);
        }
        if line.foreign_currency.is_none() && line.amount_currency != 0.0 {
            return Err(Refusal::lone_foreign_amount());
        }
        let given = values.get("amount_currency").is_some_and(|value| *value != json!(false));
        if line.foreign_currency.is_some() && values.contains_key("foreign_currency_id") && !given {
            // By the rate of the day, which is one to one where there is none.
            line.amount_currency = line.amount;
        }
        Ok(())
    }

    pub(super) fn check_journal(&self, caller: &Caller<'_>, id: i64) -> Result<(), Refusal> {
        let journal = self.journal(id).ok_or_else(|| Refusal::missing("account.journal", id, caller.user.id))?;
        if !caller.user.companies.contains(&journal.company) {
            return Err(Refusal::top_secret(&caller.user.login, caller.user.id));
        }
        if !["bank", "cash", "credit"].contains(&journal.kind.as_str()) {
            let name = &journal.name;
            let text =
                format!("You can't create a new statement line without a suspense account set on the {name} journal.");
            return Err(Refusal::user(text));
        }
        if !journal.active {
            return Err(Refusal::user(format!("You cannot post an entry in an archived journal ({})", journal.name)));
        }
        Ok(())
    }

    fn check_import_id(&self, id: &str, except: Option<i64>) -> Result<(), Refusal> {
        let taken = |line: &Line| line.unique_import_id.as_deref() == Some(id) && Some(line.id) != except;
        if self.unique_import_id && self.lines.values().any(taken) { Err(Refusal::imported_once()) } else { Ok(()) }
    }

    /// The last locked day of a journal's company.
    fn lock_of(&self, journal: i64) -> Option<NaiveDate> {
        let company = self.company_of(journal)?;
        company.lock_date.max(company.hard_lock_date)
    }

    /// The day under which a new line is booked: a locked one is silently replaced by a later one.
    fn open_day(&self, caller: &Caller<'_>, journal: i64, asked: NaiveDate) -> NaiveDate {
        let Some(lock) = self.lock_of(journal).filter(|lock| asked <= *lock) else { return asked };
        let first = lock.checked_add_days(Days::new(1)).unwrap_or(lock);
        if caller.today.year() > first.year() {
            return NaiveDate::from_ymd_opt(first.year(), 12, 31).unwrap_or(first);
        }
        first.max(caller.today)
    }
}

/// Text as the database keeps it.
fn text(value: &Value) -> Result<String, Refusal> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(false) | Value::Null => String::new(),
        other => other.to_string(),
    };
    if text.contains('\0') {
        return Err(Refusal::value("A string literal cannot contain NUL (0x00) characters."));
    }
    Ok(text)
}

/// Plain text becomes a paragraph; what looks like markup stays.
fn html(text: &str) -> String {
    if text.is_empty() || text.starts_with('<') { text.to_owned() } else { format!("<p>{text}</p>") }
}

fn float(value: &Value) -> Result<f64, Refusal> {
    match value {
        Value::Number(number) => Ok(number.as_f64().unwrap_or_default()),
        Value::Bool(false) | Value::Null => Ok(0.0),
        Value::String(text) => {
            text.trim().parse().map_err(|_| Refusal::value(format!("could not convert string to float: '{text}'")))
        }
        other => Err(Refusal::value(format!("could not convert to float: {other}"))),
    }
}

fn date(value: &Value) -> Result<Option<NaiveDate>, Refusal> {
    let Value::String(text) = value else { return Ok(None) };
    let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    let wrong = || Refusal::value(format!("time data '{text}' does not match format '%Y-%m-%d'"));
    parsed.map(Some).ok_or_else(wrong)
}
