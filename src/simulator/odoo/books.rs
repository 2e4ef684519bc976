//! The data of a simulated database: users, companies, journals, lines and external ids.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// The model of bank lines.
pub(super) const LINE: &str = "account.bank.statement.line";

/// A database with one accounting in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Books {
    /// Users.
    pub users: Vec<User>,
    /// Companies.
    pub companies: Vec<Company>,
    /// Currencies.
    pub currencies: Vec<Currency>,
    /// Journals.
    pub journals: Vec<Journal>,
    /// Bank lines by id.
    pub lines: BTreeMap<i64, Line>,
    /// Records by their external ids, module first.
    pub external_ids: BTreeMap<String, (String, i64)>,
    /// The add-on with `unique_import_id` is installed.
    pub unique_import_id: bool,
    /// Users may make keys by the API.
    pub programmatic_keys: bool,
    /// The owner's application for accounting is not installed.
    pub without_accounting: bool,
    /// Calls of `load` that meet another transaction in the database and are refused.
    pub collisions: u32,
    /// The last id that was given to a line; ids are never given again.
    pub last_line: i64,
}

/// A user with the keys of his own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// Id.
    pub id: i64,
    /// Login.
    pub login: String,
    /// Password.
    pub password: String,
    /// The rights beyond those of an internal user.
    pub groups: BTreeSet<Group>,
    /// The companies that the user belongs to.
    pub companies: BTreeSet<i64>,
    /// API keys.
    pub keys: Vec<ApiKey>,
}

/// A group of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    /// `account.group_account_basic`, hidden in the form of users.
    Basic,
    /// `account.group_account_user`, *Show Full Accounting Features*, hidden as well.
    Full,
    /// *Invoicing*.
    Invoicing,
    /// *Administrator* of accounting.
    Manager,
    /// Everything: settings and access rights.
    Settings,
}

/// An API key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKey {
    /// Id.
    pub id: i64,
    /// The key itself.
    pub key: String,
    /// The name of the key.
    pub name: String,
    /// The end of the key; `None`: no end.
    pub expires: Option<DateTime<Utc>>,
}

/// A company.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Company {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Id of its currency.
    pub currency: i64,
    /// The last locked day.
    pub lock_date: Option<NaiveDate>,
    /// The last day locked for good.
    pub hard_lock_date: Option<NaiveDate>,
}

/// A currency.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Currency {
    /// Id.
    pub id: i64,
    /// ISO code.
    pub name: String,
    /// Currencies that are not active are in no list.
    pub active: bool,
    /// Decimal places.
    pub decimals: u32,
}

/// A journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Short code.
    pub code: String,
    /// `bank`, `cash`, `sale`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of its own currency.
    pub currency: Option<i64>,
    /// Id of its company.
    pub company: i64,
    /// The number of its account.
    pub account: Option<String>,
    /// Archived journals are not active.
    pub active: bool,
}

/// A bank line with the journal entry that it posts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Line {
    pub id: i64,
    pub journal: i64,
    pub date: NaiveDate,
    pub payment_ref: String,
    pub amount: f64,
    pub partner_name: String,
    pub account_number: String,
    #[serde(rename = "ref")]
    pub reference: String,
    pub narration: String,
    pub transaction_type: String,
    pub foreign_currency: Option<i64>,
    pub amount_currency: f64,
    pub unique_import_id: Option<String>,
    pub reconciled: bool,
    pub draft: bool,
    /// The place in the sequence of the journal's entries.
    pub number: i64,
}

/// Names and types of the fields of a line that the simulator has.
pub(super) const FIELDS: &[(&str, &str, &str, bool)] = &[
    ("id", "integer", "ID", true),
    ("journal_id", "many2one", "Journal", false),
    ("date", "date", "Date", false),
    ("payment_ref", "char", "Label", false),
    ("amount", "monetary", "Amount", false),
    ("partner_name", "char", "Partner Name", false),
    ("account_number", "char", "Bank Account Number", false),
    ("ref", "char", "Reference", false),
    ("narration", "html", "Terms and Conditions", false),
    ("transaction_type", "char", "Transaction Type", false),
    ("foreign_currency_id", "many2one", "Foreign Currency", false),
    ("amount_currency", "monetary", "Amount in Currency", false),
    ("is_reconciled", "boolean", "Is Reconciled", true),
    ("currency_id", "many2one", "Journal Currency", true),
    ("company_id", "many2one", "Company", true),
    ("move_id", "many2one", "Journal Entry", true),
    ("partner_id", "many2one", "Partner", false),
    ("sequence", "integer", "Sequence", false),
    ("name", "char", "Number", true),
    ("state", "selection", "Status", true),
    ("internal_index", "char", "Internal Reference", true),
    ("transaction_details", "json", "Transaction Details", true),
];

impl Books {
    /// A line's field by name, as the API gives it. `None`: there is no such field.
    pub(super) fn line_field(&self, line: &Line, field: &str) -> Option<Value> {
        let text = |text: &str| if text.is_empty() { json!(false) } else { json!(text) };
        let journal = self.journal(line.journal);
        let number = || {
            let code = journal.map_or("", |journal| &journal.code);
            format!("{code}/{}/{:05}", line.date.format("%Y"), line.number)
        };
        Some(match field {
            "id" => json!(line.id),
            "journal_id" => journal.map_or(json!(false), |journal| json!([journal.id, journal.name])),
            "date" => json!(line.date.to_string()),
            "payment_ref" => text(&line.payment_ref),
            "amount" => json!(line.amount),
            "partner_name" => text(&line.partner_name),
            "account_number" => text(&line.account_number),
            "ref" => text(&line.reference),
            "narration" => text(&line.narration),
            "transaction_type" => text(&line.transaction_type),
            "foreign_currency_id" => self.pair(line.foreign_currency),
            "amount_currency" => json!(line.amount_currency),
            "is_reconciled" => json!(line.reconciled),
            "currency_id" => self.pair(self.currency_of(line.journal)),
            "company_id" => {
                let company = self.companies.iter().find(|company| Some(company.id) == journal.map(|it| it.company));
                company.map_or(json!(false), |company| json!([company.id, company.name]))
            }
            "move_id" => {
                let shown =
                    if line.reference.is_empty() { number() } else { format!("{} ({})", number(), line.reference) };
                json!([line.id, shown])
            }
            "name" => json!(number()),
            "state" => json!(if line.draft { "draft" } else { "posted" }),
            "internal_index" => json!(format!("{}2147483646{:010}", line.date.format("%Y%m%d"), line.id)),
            "transaction_details" | "partner_id" => json!(false),
            "sequence" => json!(1),
            "unique_import_id" if self.unique_import_id => line.unique_import_id.as_deref().map_or(json!(false), text),
            _ => return None,
        })
    }

    /// A journal by id.
    pub(super) fn journal(&self, id: i64) -> Option<&Journal> {
        self.journals.iter().find(|journal| journal.id == id)
    }

    /// The company of a journal.
    pub(super) fn company_of(&self, journal: i64) -> Option<&Company> {
        let journal = self.journal(journal)?;
        self.companies.iter().find(|company| company.id == journal.company)
    }

    /// Id of the currency that a journal is kept in.
    pub(super) fn currency_of(&self, journal: i64) -> Option<i64> {
        let own = self.journal(journal)?.currency;
        own.or_else(|| self.company_of(journal).map(|company| company.currency))
    }

    fn pair(&self, currency: Option<i64>) -> Value {
        let found = self.currencies.iter().find(|known| Some(known.id) == currency);
        found.map_or(json!(false), |currency| json!([currency.id, currency.name]))
    }

    /// The records of a model as maps of all their fields, in the model's own order.
    pub(super) fn records(&self, model: &str, user: &User, archived: bool) -> Result<Vec<Map<String, Value>>, Refusal> {
        let rows = match model {
            LINE => self.line_records(user),
            "account.journal" => self.journal_records(user, archived),
            "res.company" => self.company_records(user),
            "res.currency" => self.currency_records(archived),
            "res.users.apikeys" => user.keys.iter().map(key_record).collect(),
            "ir.model.data" => self.external_id_records(),
            _ => return Err(Refusal::unknown_model(model)),
        };
        let maps = rows.into_iter().filter_map(|row| if let Value::Object(map) = row { Some(map) } else { None });
        Ok(maps.collect())
    }

    fn line_records(&self, user: &User) -> Vec<Value> {
        let visible = |line: &&Line| self.company_of(line.journal).is_some_and(|it| user.companies.contains(&it.id));
        let mut lines: Vec<&Line> = self.lines.values().filter(visible).collect();
        lines.sort_by_key(|line| std::cmp::Reverse((line.date, line.id)));
        let names = FIELDS.iter().map(|field| field.0).chain(self.unique_import_id.then_some("unique_import_id"));
        let names: Vec<&str> = names.collect();
        let record = |line: &Line| {
            let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), self.line_field(line, name)?)));
            Value::Object(fields.collect())
        };
        lines.into_iter().map(record).collect()
    }

    fn journal_records(&self, user: &User, archived: bool) -> Vec<Value> {
        let visible = |journal: &&Journal| user.companies.contains(&journal.company) && (archived || journal.active);
        let mut journals: Vec<&Journal> = self.journals.iter().filter(visible).collect();
        journals.sort_by_key(|journal| (journal.kind == "bank", journal.code.clone(), std::cmp::Reverse(journal.id)));
        let record = |journal: &Journal| {
            let company = self.companies.iter().find(|company| company.id == journal.company);
            json!({
                "id": journal.id, "name": journal.name, "code": journal.code, "type": journal.kind,
                "currency_id": self.pair(journal.currency),
                "company_id": company.map_or(json!(false), |company| json!([company.id, company.name])),
                "bank_acc_number": journal.account.as_deref().map_or(json!(false), |account| json!(account)),
                "active": journal.active,
            })
        };
        journals.into_iter().map(record).collect()
    }

    fn company_records(&self, user: &User) -> Vec<Value> {
        let date = |date: Option<NaiveDate>| date.map_or(json!(false), |date| json!(date.to_string()));
        let record = |company: &Company| {
            json!({
                "id": company.id, "name": company.name, "currency_id": self.pair(Some(company.currency)),
                "fiscalyear_lock_date": date(company.lock_date), "hard_lock_date": date(company.hard_lock_date),
                "tax_lock_date": false,
            })
        };
        self.companies.iter().filter(|company| user.companies.contains(&company.id)).map(record).collect()
    }

    fn currency_records(&self, archived: bool) -> Vec<Value> {
        let mut currencies: Vec<&Currency> = self.currencies.iter().filter(|it| archived || it.active).collect();
        currencies.sort_by_key(|currency| (!currency.active, currency.name.clone()));
        let record =
            |it: &Currency| json!({"id": it.id, "name": it.name, "active": it.active, "decimal_places": it.decimals});
        currencies.into_iter().map(record).collect()
    }

    fn external_id_records(&self) -> Vec<Value> {
        let record = |(id, (model, record)): (&String, &(String, i64))| {
            let (module, name) = id.split_once('.').unwrap_or_default();
            json!({"id": record, "module": module, "name": name, "model": model, "res_id": record})
        };
        self.external_ids.iter().map(record).collect()
    }

    /// The external id of a line.
    pub fn external_id(&self, line: i64) -> Option<&str> {
        let found = self.external_ids.iter().find(|(_, (model, id))| model == LINE && *id == line);
        found.map(|(id, _)| id.as_str())
    }

    /// The owner deletes a line by hand.
    pub fn delete_line(&mut self, line: i64) {
        self.lines.remove(&line);
        self.external_ids.retain(|_, (model, id)| model != LINE || *id != line);
    }
}

fn key_record(key: &ApiKey) -> Value {
    let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S").to_string();
    json!({
        "id": key.id, "name": key.name, "scope": "rpc",
        "expiration_date": key.expires.map_or(json!(false), |end| json!(time(end))),
        "create_date": "2026-11-30 23:14:36",
    })
}
