//! From the wish for a consent to a session: the bank's page, the code, and the session's life.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::model::{Decision, Session};
use super::{Call, Refusal, Service, stamp};

/// Minutes for which a code is good.
const CODE_MINUTES: i64 = 10;

/// A consent on its way.
pub(super) struct Authorization {
    id: String,
    bank: usize,
    state: String,
    redirect_url: String,
    customer: String,
    valid_until: DateTime<Utc>,
    code: Option<(String, DateTime<Utc>)>,
    is_used: bool,
}

impl Service {
    /// `POST /auth`.
    pub(super) fn begin(&mut self, call: &Call<'_>) -> Result<Value, Refusal> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let missing = || Refusal::new(422, "WRONG_REQUEST_PARAMETERS", "Wrong request parameters provided");
        let body = &call.body;
        let redirect_url = text(&body["redirect_url"]).ok_or_else(missing)?;
        let state = text(&body["state"]).ok_or_else(missing)?;
        let customer = text(&body["psu_type"]).unwrap_or_else(|| "personal".into());
        let valid_until = text(&body["access"]["valid_until"]).ok_or_else(missing)?;
        let valid_until = DateTime::parse_from_rfc3339(&valid_until).map_err(|_| missing())?.to_utc();
        if !self.application.redirect_urls.contains(&redirect_url) {
            return Err(Refusal::new(400, "REDIRECT_URI_NOT_ALLOWED", "Redirect URI not allowed"));
        }
        let (name, country) = (text(&body["aspsp"]["name"]), text(&body["aspsp"]["country"]));
        let is_named =
            |bank: &super::Bank| Some(&bank.name) == name.as_ref() && Some(&bank.country) == country.as_ref();
        let bank = self.banks.iter().position(is_named);
        let bank = bank.ok_or_else(|| Refusal::new(400, "WRONG_ASPSP_PROVIDED", "Wrong ASPSP name provided"))?;
        let longest = self.banks[bank].consent_seconds;
        if valid_until > self.now() + TimeDelta::seconds(longest) {
            let message = format!("ASPSP does not support consent validity more than {longest} seconds in the future");
            return Err(Refusal::new(422, "WRONG_REQUEST_PARAMETERS", message));
        }
        let id = self.id();
        let url = format!("{}/bank/{id}", self.base);
        let (code, is_used) = (None, false);
        let psu: String = id.bytes().map(|byte| format!("{byte:02x}")).take(32).collect();
        let answer = json!({"url": url, "authorization_id": id, "psu_id_hash": psu});
        self.authorizations.push(Authorization { id, bank, state, redirect_url, customer, valid_until, code, is_used });
        Ok(answer)
    }

    /// The owner at the bank's page. Returns the address on which the browser ends.
    pub(super) fn visit(&mut self, id: &str) -> Result<String, Refusal> {
        let code = self.id();
        let now = self.now();
        let found = self.authorizations.iter_mut().find(|known| known.id == id);
        let found = found.ok_or_else(|| Refusal(404, None, "Not Found".into(), Value::Null))?;
        let decision = self.banks[found.bank].decisions.pop_front().unwrap_or(Decision::Consent);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        match decision {
            Decision::Deny => {
                query.append_pair("error", "access_denied").append_pair("error_description", "Denied by user");
                query.append_pair("state", &found.state);
            }
            Decision::Consent => {
                query.append_pair("code", &code).append_pair("state", &found.state);
                found.code = Some((code, now));
            }
            Decision::WrongState => {
                query.append_pair("code", &code).append_pair("state", "another");
                found.code = Some((code, now));
            }
        }
        Ok(format!("{}?{}", found.redirect_url, query.finish()))
    }

    /// `POST /sessions`.
    pub(super) fn exchange(&mut self, call: &Call<'_>) -> Result<Value, Refusal> {
        let code = call.body["code"].as_str().unwrap_or_default().to_owned();
        let now = self.now();
        let found =
            self.authorizations.iter_mut().find(|known| known.code.as_ref().is_some_and(|(own, _)| *own == code));
        let found =
            found.ok_or_else(|| Refusal::new(400, "WRONG_AUTHORIZATION_CODE", "Wrong authorization code provided"))?;
        if found.is_used {
            return Err(Refusal::new(400, "ALREADY_AUTHORIZED", "Session is already authorized"));
        }
        if found.code.as_ref().is_some_and(|(_, made)| now - *made > TimeDelta::minutes(CODE_MINUTES)) {
            return Err(Refusal::new(400, "EXPIRED_AUTHORIZATION_CODE", "Authorization code is expired"));
        }
        found.is_used = true;
        let (bank, customer, valid_until) = (found.bank, found.customer.clone(), found.valid_until);
        let linked = self.banks[bank].accounts.iter().enumerate().filter(|(_, account)| account.is_linked);
        let linked: Vec<usize> = linked.map(|(at, _)| at).collect();
        let accounts: Vec<(String, usize)> = linked.into_iter().map(|at| (self.id(), at)).collect();
        let id = self.id();
        let session =
            Session { id, status: "AUTHORIZED", bank, accounts, customer, created: now, valid_until, keys: Vec::new() };
        let bank = &self.banks[bank];
        let describe = |(uid, at): &(String, usize)| bank.accounts[*at].describe(uid);
        let answer = json!({
            "session_id": session.id,
            "accounts": session.accounts.iter().map(describe).collect::<Vec<_>>(),
            "aspsp": {"name": bank.name, "country": bank.country},
            "psu_type": session.customer,
            "access": {"accounts": null, "balances": true, "transactions": true, "valid_until": stamp(valid_until)},
        });
        self.sessions.push(session);
        Ok(answer)
    }

    /// The position of a session by its id.
    fn session(&mut self, id: &str) -> Result<usize, Refusal> {
        let now = self.now();
        let at = self.sessions.iter().position(|session| session.id == id);
        let at = at.ok_or_else(|| Refusal::new(404, "SESSION_DOES_NOT_EXIST", "Session does not exist"))?;
        let session = &mut self.sessions[at];
        if session.status == "AUTHORIZED" && now >= session.valid_until {
            session.status = "EXPIRED";
        }
        Ok(at)
    }

    /// `GET /sessions/{id}`.
    pub(super) fn show_session(&mut self, id: &str) -> Result<Value, Refusal> {
        let at = self.session(id)?;
        let session = &self.sessions[at];
        let bank = &self.banks[session.bank];
        let data = |(uid, at): &(String, usize)| {
            let hash = bank.accounts[*at].hash();
            json!({"uid": uid, "identification_hash": hash, "identification_hashes": [hash]})
        };
        Ok(json!({
            "status": session.status,
            "accounts": session.accounts.iter().map(|(uid, _)| uid).collect::<Vec<_>>(),
            "accounts_data": session.accounts.iter().map(data).collect::<Vec<_>>(),
            "aspsp": {"name": bank.name, "country": bank.country},
            "psu_type": session.customer,
            "psu_id_hash": "1f6dfd8fd7c17ca9f0d5acb395561690bd31fcaa809cf274b0c8f56958296786",
            "access": {"accounts": null, "balances": true, "transactions": true, "valid_until": stamp(session.valid_until)},
            "created": stamp(session.created), "authorized": stamp(session.created), "closed": null,
        }))
    }

    /// `DELETE /sessions/{id}`.
    pub(super) fn close_session(&mut self, id: &str) -> Result<Value, Refusal> {
        let at = self.session(id)?;
        self.sessions[at].status = "CLOSED";
        Ok(json!({"message": "OK"}))
    }

    /// The positions of the session and the account that a uid is of, if the session goes on.
    pub(super) fn account_of(&mut self, uid: &str) -> Result<(usize, usize), Refusal> {
        let found = self.sessions.iter().enumerate().find_map(|(at, session)| {
            let account = session.accounts.iter().find(|(own, _)| own == uid)?.1;
            Some((at, account))
        });
        let (at, account) =
            found.ok_or_else(|| Refusal::new(404, "ACCOUNT_DOES_NOT_EXIST", "Account does not exist"))?;
        let id = self.sessions[at].id.clone();
        self.session(&id)?;
        match self.sessions[at].status {
            "AUTHORIZED" => Ok((at, account)),
            "EXPIRED" => Err(Refusal::new(401, "EXPIRED_SESSION", "Session is expired")),
            "CLOSED" => Err(Refusal::new(401, "CLOSED_SESSION", "Session is closed")),
            "REVOKED" => Err(Refusal::new(401, "REVOKED_SESSION", "Session is revoked")),
            _ => Err(Refusal::new(401, "WRONG_SESSION_STATUS", "Wrong session status")),
        }
    }
}
