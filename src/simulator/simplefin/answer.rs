//! The account set, as version 1 and version 2 of the protocol write it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{Account, Complaint, Connection, State, Transaction};

/// Days of the answer to a request without dates. The real number is not documented: a short one is hardest on a client.
const USUAL_DAYS: i64 = 7;

/// The longest range, and the longest one without a warning, in calendar days of UTC. The texts are recorded. For requests
/// with an end they are taken to speak of the length of the range.
const LONGEST: i64 = 90;
const RECOMMENDED: i64 = 45;

/// The answer to a request for accounts.
pub(super) fn accounts(state: &State, query: &[(String, String)], warning: Option<&str>) -> Value {
    let given = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let is_second = given("version") == Some("2") && !state.switches.is_old;
    let mut complaints = state.switches.complaints.clone();
    let gen_api = |words: &str| Complaint { code: "gen.api".into(), words: words.into(), ..Complaint::default() };
    complaints.extend(warning.map(gen_api));
    let range = range(state, given("start-date"), given("end-date"), &mut complaints);
    let wanted: Vec<&str> = query.iter().filter(|(key, _)| key == "account").map(|(_, id)| id.as_str()).collect();
    let shown = |account: &&Account| {
        (wanted.is_empty() || wanted.contains(&account.id.as_str())) && !state.switches.missing.contains(&account.id)
    };
    // Any value of `pending` was seen to act like 1.
    let picked = Picked {
        range,
        with_pending: given("pending").is_some(),
        balances_only: given("balances-only") == Some("1"),
        is_second,
    };
    let accounts: Vec<Value> =
        state.ledger.accounts.iter().filter(shown).map(|account| picked.account(state, account)).collect();
    if !is_second {
        let words: Vec<&str> = complaints.iter().map(|complaint| complaint.words.as_str()).collect();
        return json!({"errors": words, "accounts": accounts});
    }
    let connections: Vec<Value> = state.ledger.connections.iter().map(connection).collect();
    let coded = complaints.iter().filter(|complaint| !complaint.code.is_empty());
    let coded: Vec<Value> = coded.map(|complaint| coded_complaint(complaint, state.switches.old_words)).collect();
    json!({"errlist": coded, "connections": connections, "accounts": accounts})
}

/// The instants from which (inclusive) and to which (exclusive) rows are given.
fn range(state: &State, start: Option<&str>, end: Option<&str>, complaints: &mut Vec<Complaint>) -> (i64, i64) {
    let seconds = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let now = state.now();
    let until = seconds(end);
    let start = seconds(start).unwrap_or_else(|| (now - TimeDelta::days(USUAL_DAYS)).timestamp());
    let (first, last) = (instant(start), until.map_or(now, |until| instant(until).min(now)));
    let days = (last.date_naive() - first.date_naive()).num_days();
    let words = match days {
        LONGEST.. => "Requested date range exceeds limit of 90 days and was capped.",
        RECOMMENDED.. => {
            "Requested date range exceeds recommended range of 45 days. In the future, this may be capped."
        }
        _ => "",
    };
    if !words.is_empty() && !state.switches.cuts_silently {
        complaints.push(Complaint { code: "gen.api".into(), words: words.into(), ..Complaint::default() });
    }
    let start = if days >= LONGEST { (last - TimeDelta::days(LONGEST)).timestamp() } else { start };
    (start, until.unwrap_or(i64::MAX))
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// The parts of the accounts that were asked for.
struct Picked {
    range: (i64, i64),
    with_pending: bool,
    balances_only: bool,
    is_second: bool,
}

impl Picked {
    fn account(&self, state: &State, account: &Account) -> Value {
        let of = state.ledger.connections.iter().find(|known| known.id == account.connection);
        let mut shown = Map::new();
        if self.is_second {
            shown.insert("conn_id".into(), json!(account.connection));
        } else if let Some(connection) = of {
            shown.insert("org".into(), org(connection));
        }
        let balance_date = account.balance_date.unwrap_or_else(|| state.now().timestamp());
        let rest = json!({
            "id": account.id,
            "name": account.name,
            "currency": account.currency,
            "balance": account.balance,
            "available-balance": account.balance,
            "balance-date": balance_date,
            "holdings": [],
            "extra": {"account-open-date": 978_360_153},
        });
        shown.extend(rest.as_object().cloned().unwrap_or_default());
        if !account.is_unlisted {
            let mut rows: Vec<&Transaction> = account.transactions.iter().filter(|row| self.wants(row)).collect();
            if state.switches.shuffled {
                // Any order is allowed: this one is neither that of time nor its reverse.
                rows.sort_by_key(|row| {
                    row.id.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte))
                });
            }
            let rows: Vec<Value> = rows.into_iter().map(transaction).collect();
            shown.insert("transactions".into(), json!(rows));
        }
        Value::Object(shown)
    }

    fn wants(&self, row: &Transaction) -> bool {
        let in_range = (self.range.0..self.range.1).contains(&row.posted);
        !self.balances_only && if row.is_booked() { in_range } else { self.with_pending }
    }
}

fn transaction(row: &Transaction) -> Value {
    let mut shown = Map::new();
    shown.insert("id".into(), json!(row.id));
    shown.insert("posted".into(), json!(row.posted));
    shown.insert("amount".into(), json!(row.amount));
    shown.insert("description".into(), json!(row.description));
    let optional = [
        ("payee", row.payee.as_ref().map(|text| json!(text))),
        ("memo", row.memo.as_ref().map(|text| json!(text))),
        ("transacted_at", row.transacted_at.map(|time| json!(time))),
        ("pending", row.pending.map(|flag| json!(flag))),
        ("mcc", row.mcc.as_ref().map(|code| json!(code))),
    ];
    shown.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Value::Object(shown)
}

fn org(connection: &Connection) -> Value {
    let (domain, url) = (&connection.domain, format!("https://{}", connection.domain));
    json!({
        "domain": domain,
        "sfin-url": "https://beta-bridge.simplefin.org/simplefin",
        "name": connection.name,
        "url": url,
        "id": connection.org_id,
    })
}

fn connection(connection: &Connection) -> Value {
    json!({
        "conn_id": connection.id,
        "name": connection.name,
        "org_id": connection.org_id,
        "org_name": connection.org_name,
        "org_url": format!("https://{}", connection.domain),
        "sfin_url": "https://beta-bridge.simplefin.org/simplefin",
    })
}

fn coded_complaint(complaint: &Complaint, old_words: bool) -> Value {
    let mut shown = Map::new();
    shown.insert("code".into(), json!(complaint.code));
    shown.insert(if old_words { "message" } else { "msg" }.into(), json!(complaint.words));
    let about = [("conn_id", &complaint.connection), ("account_id", &complaint.account)];
    shown.extend(about.into_iter().filter_map(|(key, id)| Some((key.to_owned(), json!(id.as_ref()?)))));
    Value::Object(shown)
}
