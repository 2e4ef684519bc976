//! Balances and transactions of an account, with the bank's limits and peculiarities.

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value, json};

use super::model::{Paging, Period, References};
use super::{Call, Refusal, Service};

/// The parameters that must be the same for every page of a listing.
const PARAMETERS: [&str; 4] = ["date_from", "date_to", "transaction_status", "strategy"];

impl Service {
    /// Answers a call about an account.
    pub(super) fn account(&mut self, uid: &str, what: &str, call: &Call<'_>) -> Result<Value, Refusal> {
        let (session, account) = self.account_of(uid)?;
        let bank = self.sessions[session].bank;
        let is_present = self.presence(bank, call)?;
        let endpoint = match what {
            "balances" => "balances",
            "transactions" => "transactions",
            _ => "details",
        };
        let is_page = call.query("continuation_key").is_some();
        let traps = &self.banks[bank].traps;
        if !is_page || traps.counts_pages {
            self.spend(bank, account, endpoint, is_present)?;
        }
        let traps = &self.banks[bank].traps;
        if let Some((_, status, body)) = traps.failing.iter().find(|(failing, ..)| *failing == endpoint) {
            let (message, detail) = (body["message"].as_str().unwrap_or_default().to_owned(), body["detail"].clone());
            // The codes are few, and the simulator lives as long as the program.
            let code = body["error"].as_str().map(|code| &*code.to_owned().leak());
            return Err(Refusal(*status, code, message, detail));
        }
        match endpoint {
            "balances" => Ok(self.balances(bank, account)),
            "transactions" => self.transactions(session, account, call),
            _ => Ok(self.banks[bank].accounts[account].describe(uid)),
        }
    }

    /// True if the call says that the owner is present: with every header that the bank requires.
    fn presence(&self, bank: usize, call: &Call<'_>) -> Result<bool, Refusal> {
        let names: Vec<&str> = call.headers.keys().map(axum::http::HeaderName::as_str).collect();
        let is_present = names.iter().any(|name| name.starts_with("psu-"));
        let bank = &self.banks[bank];
        let lacks = |required: &String| !names.iter().any(|name| name.eq_ignore_ascii_case(required));
        if is_present && bank.required_headers.iter().any(lacks) {
            return Err(Refusal::new(422, "PSU_HEADER_NOT_PROVIDED", "Required PSU header is not provided"));
        }
        if is_present && bank.traps.fails_with_presence {
            return Err(Refusal::new(400, "ASPSP_ERROR", "Error interacting with ASPSP"));
        }
        Ok(is_present)
    }

    /// Counts a call against the bank's quota.
    fn spend(&mut self, bank: usize, account: usize, endpoint: &'static str, is_present: bool) -> Result<(), Refusal> {
        if is_present {
            return Ok(());
        }
        let now = self.now();
        let bank = &mut self.banks[bank];
        let calls = &mut bank.accounts[account].calls;
        let recent = calls.iter().filter(|(kind, time)| *kind == endpoint && now - *time < TimeDelta::days(1)).count();
        if bank.traps.quota.is_some_and(|quota| recent >= quota) {
            let mut refusal = Refusal::new(429, "ASPSP_RATE_LIMIT_EXCEEDED", "ASPSP rate limit exceeded");
            refusal.3 = json!({"message": "[HUB046] Allowed number of accesses exceeded for consent"});
            return Err(refusal);
        }
        calls.push((endpoint, now));
        Ok(())
    }

    fn balances(&self, bank: usize, account: usize) -> Value {
        let account = &self.banks[bank].accounts[account];
        let currency = if account.currency == "XXX" { "EUR" } else { &account.currency };
        let balance = |(kind, amount): &(&str, String)| {
            json!({
                "name": kind, "balance_amount": {"currency": currency, "amount": amount}, "balance_type": kind,
                "last_change_date_time": null, "reference_date": null, "last_committed_transaction": null,
            })
        };
        json!({"balances": account.balances.iter().map(balance).collect::<Vec<_>>()})
    }

    fn transactions(&mut self, session: usize, account: usize, call: &Call<'_>) -> Result<Value, Refusal> {
        let bank = self.sessions[session].bank;
        let asked: Vec<(String, String)> =
            call.query.iter().filter(|(name, _)| PARAMETERS.contains(&name.as_str())).cloned().collect();
        let key = call.query("continuation_key");
        let mut start = 0;
        if let Some(key) = key {
            let known = self.sessions[session].keys.iter().find(|(own, ..)| own == key);
            let Some((_, first, at)) = known else {
                return Err(Refusal::new(422, "WRONG_CONTINUATION_KEY", "Wrong continuation key"));
            };
            if *first != asked {
                let message = "dateFrom in request is not the same as in continuationKey";
                return Err(Refusal::new(422, "WRONG_REQUEST_PARAMETERS", message));
            }
            start = *at;
        } else {
            self.fetched += 1;
        }
        let from = self.period(session, call)?;
        if self.banks[bank].traps.takes_no_filter && call.query("transaction_status").is_some() {
            return Err(Refusal::new(400, "ASPSP_ERROR", "Error interacting with ASPSP"));
        }
        let rows = self.rows(bank, account, from, call.query("transaction_status"));
        let traps = &self.banks[bank].traps;
        let (page_rows, paging) = (traps.page_rows, traps.paging);
        let (page, next): (Vec<Value>, Option<usize>) = match (paging, key) {
            (Paging::Endless, _) | (Paging::EmptyFirst, None) => (Vec::new(), Some(0)),
            (Paging::Repeats, _) => (rows.into_iter().take(page_rows).collect(), Some(0)),
            _ => {
                let end = (start + page_rows).min(rows.len());
                let next = (end < rows.len()).then_some(end);
                (rows.into_iter().skip(start).take(page_rows).collect(), next)
            }
        };
        let key = next.map(|next| {
            let key = match (paging, key) {
                (Paging::Repeats, Some(key)) => key.to_owned(),
                _ => format!("eyJwYXJhbXMi+{}==.{:08x}", self.id(), fastrand::u32(..)),
            };
            self.sessions[session].keys.push((key.clone(), asked, next));
            key
        });
        let meanwhile = std::mem::take(&mut self.banks[bank].traps.booked_meanwhile);
        self.banks[bank].accounts[account].entries.extend(meanwhile);
        Ok(json!({"transactions": page, "continuation_key": key}))
    }

    /// The first day that is served; `None`: the beginning.
    fn period(&self, session: usize, call: &Call<'_>) -> Result<Option<NaiveDate>, Refusal> {
        let session = &self.sessions[session];
        let traps = &self.banks[session.bank].traps;
        let now = self.now();
        let asked = call.query("date_from").and_then(|day| day.parse::<NaiveDate>().ok());
        let is_fresh = now - session.created < TimeDelta::minutes(traps.history_minutes);
        let first = now.date_naive() - TimeDelta::days(traps.days);
        let is_too_long = !is_fresh && asked.is_none_or(|asked| asked < first);
        if !is_too_long || traps.period == Period::Any {
            return Ok(asked);
        }
        // With this strategy a period is not refused.
        if call.query("strategy") == Some("longest") && traps.period != Period::Cut {
            return Ok(Some(now.date_naive() + TimeDelta::days(1)));
        }
        match traps.period {
            Period::Refused(is_named) => {
                let mut refusal = Refusal::new(422, "WRONG_TRANSACTIONS_PERIOD", "Wrong transactions period requested");
                refusal.3 = if is_named { json!({"date_from": first.to_string()}) } else { json!({"message": "..."}) };
                Err(refusal)
            }
            Period::Trouble => Err(Refusal::new(400, "ASPSP_ERROR", "Error interacting with ASPSP")),
            Period::Cut | Period::Any => Ok(Some(first)),
        }
    }

    /// The rows of a listing, as the bank sends them this time.
    fn rows(&self, bank: usize, account: usize, from: Option<NaiveDate>, status: Option<&str>) -> Vec<Value> {
        let traps = &self.banks[bank].traps;
        let day = |row: &Value, key: &str| row[key].as_str().and_then(|day| day.parse::<NaiveDate>().ok());
        let filter = if traps.filters_by_transaction_date { "transaction_date" } else { "booking_date" };
        let is_asked = |row: &&Value| {
            let date = day(row, filter).or_else(|| day(row, "value_date"));
            let in_period = traps.ignores_dates || date.is_none_or(|date| from.is_none_or(|from| from <= date));
            in_period && status.is_none_or(|status| row["status"] == status)
        };
        let mut rows: Vec<Value> =
            self.banks[bank].accounts[account].entries.iter().filter(is_asked).cloned().collect();
        rows.sort_by_key(|row| day(row, "booking_date"));
        if traps.shuffles {
            let mut random = fastrand::Rng::with_seed(self.fetched);
            rows.sort_by_cached_key(|row| (day(row, "booking_date"), random.u32(..)));
        }
        let mut position = 0;
        let mut last = None;
        for row in &mut rows {
            let date = day(row, "booking_date");
            position = if date == last { position + 1 } else { 1 };
            last = date;
            match traps.references {
                References::Own => {}
                References::Null => row["entry_reference"] = Value::Null,
                References::Placeholder => row["entry_reference"] = json!("0"),
                References::Positional => {
                    let date = date.map(|date| date.to_string()).unwrap_or_default();
                    row["entry_reference"] = json!(format!("{date}-{position}"));
                }
                References::New => {
                    row["entry_reference"] = json!(format!("{:08x}", fastrand::u32(..)));
                    row["transaction_id"] = json!(format!("{:016x}", fastrand::u64(..)));
                }
            }
            if traps.codes_change {
                row["bank_transaction_code"] = json!({"code": format!("C{}", self.fetched), "sub_code": null});
            }
        }
        if let Some(is_same) = traps.doubles {
            let again = |row: Value| {
                let mut other = row.clone();
                if !is_same {
                    other["entry_reference"] = json!(format!("second-{}", row["entry_reference"]));
                }
                [row, other]
            };
            rows = rows.into_iter().flat_map(again).collect();
        }
        if traps.newest_first {
            rows.reverse();
        }
        rows
    }
}
