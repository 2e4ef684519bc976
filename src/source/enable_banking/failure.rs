//! Refusals of the API and the reaction to each.
//!
//! The code under `error` decides, whatever the status is: one code comes with several statuses, and the texts beside it are
//! for people. A code that nobody knows is a refusal like any other.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::Value;

use crate::remote::{Cause, Error, Response};

/// Difference between the service's clock and this machine's that explains a refused token.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// Longest piece of the service's words in a message.
const LONGEST_QUOTE: usize = 160;

/// The wait after a bank's refusal for too many calls, where the bank names none.
const PAUSE: TimeDelta = TimeDelta::hours(6);

/// Why a call gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service has refused the call.
    Refused(Refusal),
    /// The service gave no answer that can be read, or the program is being stopped.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// A refusal in the service's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    /// The code under `error`; empty where there is none.
    pub code: String,
    /// The text under `message`.
    pub message: String,
    /// `detail` in any of its forms.
    pub detail: Value,
    /// The wait that the answer asks for.
    pub retry_after: Option<Duration>,
    /// The clock of the service runs apart from this machine's.
    pub clock_differs: bool,
}

/// The reaction to a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The consent has ended: only the owner can give another.
    ConsentEnded,
    /// Key, id or rights of the application are at fault.
    Application,
    /// The bank wants no more calls for some hours.
    RateLimited,
    /// The bank has trouble, or does not like the call as it stands.
    BankTrouble,
    /// Later calls may pass.
    Later,
    /// The owner has to do something at the bank.
    OwnerAtBank,
    /// The period is longer than the bank gives.
    Period,
    /// Parameters or the key of a page are not taken.
    Parameters,
    /// The bank wants to know of the owner's presence.
    Presence,
    /// This account alone is out of reach.
    Account,
    /// Another refusal.
    Other,
}

impl Refusal {
    /// Reads an answer that is no success; an answer of a proxy, or of a service in trouble, is an error.
    pub fn read(service: &str, answer: &Response) -> Failure {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok().filter(Value::is_object);
        let Some(body) = body else {
            let status = answer.status;
            let what = format!("{service}: Enable Banking answers {status} with something that is no reply of it");
            return match status {
                429 => Error::throttled(answer.retry_after(), format!("{what}; it wants fewer requests")).into(),
                500.. => Error::unavailable(format!("{what}; the next run tries again")).into(),
                _ => Error::malformed(format!("{what}; look whether base_url is right")).into(),
            };
        };
        let text = |key: &str| body[key].as_str().unwrap_or_default().trim().to_owned();
        // One bank's code stands where the status usually is.
        let code = Some(text("error")).filter(|code| !code.is_empty()).unwrap_or_else(|| text("code"));
        let refusal = Refusal {
            status: answer.status,
            code,
            message: text("message"),
            detail: body["detail"].clone(),
            retry_after: answer.retry_after(),
            clock_differs: answer.header("date").is_some_and(|date| differs(date, Utc::now())),
        };
        Failure::Refused(refusal)
    }

    /// The reaction.
    pub fn reaction(&self) -> Reaction {
        match self.code.as_str() {
            "EXPIRED_SESSION"
            | "CLOSED_SESSION"
            | "REVOKED_SESSION"
            | "SESSION_DOES_NOT_EXIST"
            | "WRONG_SESSION_STATUS" => Reaction::ConsentEnded,
            "ASPSP_RATE_LIMIT_EXCEEDED" => Reaction::RateLimited,
            "ASPSP_ERROR" => Reaction::BankTrouble,
            "ASPSP_TIMEOUT" => Reaction::Later,
            "ASPSP_PSU_ACTION_REQUIRED" => Reaction::OwnerAtBank,
            "WRONG_TRANSACTIONS_PERIOD"
            | "WRONG_DATE_INTERVAL"
            | "DATE_FROM_IN_FUTURE"
            | "DATE_TO_WITHOUT_DATE_FROM"
            | "PERIOD_INVALID" => Reaction::Period,
            "WRONG_REQUEST_PARAMETERS" | "WRONG_CONTINUATION_KEY" => Reaction::Parameters,
            "PSU_HEADER_NOT_PROVIDED" | "PSU_HEADER_INVALID" => Reaction::Presence,
            "ACCOUNT_DOES_NOT_EXIST" | "ASPSP_ACCOUNT_NOT_ACCESSIBLE" | "INVALID_ACCOUNT_ID" => Reaction::Account,
            "UNAUTHORIZED_ACCESS" | "ACCESS_DENIED" | "UNAUTHORIZED_IP" | "INVALID_HOST" => Reaction::Application,
            _ => match self.status {
                401 | 403 => Reaction::Application,
                408 | 500.. => Reaction::Later,
                429 => Reaction::RateLimited,
                _ => Reaction::Other,
            },
        }
    }

    /// The first day that the bank would give, where the refusal names it.
    pub fn allowed_from(&self) -> Option<NaiveDate> {
        let day = self.detail.get("date_from")?.as_str()?;
        NaiveDate::parse_from_str(day.get(..10)?, "%Y-%m-%d").ok()
    }

    /// The end of the pause that a refusal for too many calls begins: not before six hours, and as the answer says.
    pub fn pause_ends(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let asked = self.retry_after.and_then(|asked| TimeDelta::from_std(asked).ok());
        now + asked.unwrap_or(PAUSE)
    }

    /// The refusal of a call about `what` as an error, where nothing better can be done about it.
    pub fn error(&self, service: &str, what: &str) -> Error {
        let said = self.quote();
        match self.reaction() {
            Reaction::ConsentEnded => consent_ended(service, &said),
            Reaction::OwnerAtBank => Error::attention(
                Cause::SecondFactor,
                format!(
                    "{service}: the bank wants you to do something before it shows {what}: sign in at the bank's own page, then \
                     run `bankfeed sync --retry`; it says: {said}"
                ),
            ),
            Reaction::Application if self.clock_differs => Error::attention(
                Cause::Machine,
                format!(
                    "{service}: Enable Banking does not take the key's signature, because the clock of this machine is wrong: \
                     set it, best by NTP"
                ),
            ),
            Reaction::Application if self.status == 403 && self.code.is_empty() => Error::attention(
                Cause::AccessEnded,
                format!(
                    "{service}: the application is not active: activate it by linking your accounts at \
                     https://enablebanking.com/cp/, then run `bankfeed login {service}`; Enable Banking says: {said}"
                ),
            ),
            Reaction::Application => Error::attention(
                Cause::AccessEnded,
                format!(
                    "{service}: Enable Banking refuses the application: application and private_key must belong together, and \
                     be those of https://enablebanking.com/cp/; then run `bankfeed sync --retry`; it says: {said}"
                ),
            ),
            Reaction::RateLimited => {
                let until = self.pause_ends(Utc::now());
                Error::resting(until, format!("{service}: the bank wants no more calls about {what} for now ({said})"))
            }
            Reaction::BankTrouble | Reaction::Later => Error::unavailable(format!(
                "{service}: the bank does not give {what} ({said}); the next run tries again"
            )),
            Reaction::Presence => Error::rejected(format!(
                "{service}: the bank gives {what} only while you are present ({said}): run `bankfeed sync` yourself, in a terminal"
            )),
            Reaction::Account => Error::rejected(format!(
                "{service}: the bank does not let {what} be read ({said}); link the account again at \
                 https://enablebanking.com/cp/ and run `bankfeed login {service}`, or leave it out with `accounts`"
            )),
            Reaction::Period | Reaction::Parameters | Reaction::Other => {
                Error::rejected(format!("{service}: Enable Banking does not give {what} ({said})"))
            }
        }
    }

    /// The code and the message, shortened.
    pub fn quote(&self) -> String {
        let detail = self.detail.as_str().unwrap_or_default();
        let words = [self.code.as_str(), &self.message, detail];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return format!("status {}", self.status);
        }
        let said = words.join(", ");
        let shown: String =
            said.chars().take(LONGEST_QUOTE).map(|char| if char.is_control() { ' ' } else { char }).collect();
        if said.chars().nth(LONGEST_QUOTE).is_some() { shown + "…" } else { shown }
    }
}

/// The attention of a consent that has ended.
pub(super) fn consent_ended(service: &str, how: &str) -> Error {
    Error::attention(
        Cause::AccessEnded,
        format!("{service}: the consent at the bank has ended ({how}); give a new one with `bankfeed login {service}`"),
    )
}

fn differs(date: &str, now: DateTime<Utc>) -> bool {
    DateTime::parse_from_rfc2822(date).is_ok_and(|theirs| (theirs.to_utc() - now).abs() > SKEW)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The refusal that an answer with this status and body is.
    pub fn refusal(status: u16, body: &str) -> Refusal {
        match Refusal::read("dsk", &response(status, body)) {
            Failure::Refused(refusal) => refusal,
            Failure::Error(error) => panic!("{error}"),
        }
    }

    fn response(status: u16, body: &str) -> Response {
        let url = url::Url::parse("http://127.0.0.1/").unwrap();
        Response { status, headers: Default::default(), url, body: body.into() }
    }

    #[test]
    fn the_code_decides_whatever_the_status_is() {
        for (status, body, expected) in [
            (401, r#"{"message":"x","code":401,"error":"EXPIRED_SESSION","detail":null}"#, Reaction::ConsentEnded),
            (404, r#"{"error":"SESSION_DOES_NOT_EXIST"}"#, Reaction::ConsentEnded),
            (400, r#"{"error":"ASPSP_RATE_LIMIT_EXCEEDED","detail":{"tppMessages":[]}}"#, Reaction::RateLimited),
            (400, r#"{"error":"ASPSP_ERROR","detail":"[HUB046] x"}"#, Reaction::BankTrouble),
            (422, r#"{"message":"x","code":"PERIOD_INVALID"}"#, Reaction::Period),
            (403, r#"{"message":"Application is not active","code":403}"#, Reaction::Application),
            (401, r#"{"message":"Session expired, it seems","code":401}"#, Reaction::Application),
            (403, r#"{"error":"ASPSP_PSU_ACTION_REQUIRED"}"#, Reaction::OwnerAtBank),
            (418, r#"{"error":"SOMETHING_NEW","detail":[1]}"#, Reaction::Other),
            (500, r#"{"message":"x","code":500}"#, Reaction::Later),
        ] {
            assert_eq!(refusal(status, body).reaction(), expected, "{body}");
        }
        let named = refusal(422, r#"{"error":"WRONG_TRANSACTIONS_PERIOD","detail":{"date_from":"2026-09-03"}}"#);
        assert_eq!(named.allowed_from(), NaiveDate::from_ymd_opt(2026, 9, 3));
    }

    #[test]
    fn a_page_of_a_proxy_is_no_refusal() {
        for (status, transient) in [(502, true), (503, true), (429, true), (404, false)] {
            let Failure::Error(error) = Refusal::read("dsk", &response(status, "<html>")) else { panic!("{status}") };
            assert_eq!(error.is_transient(), transient, "{error}");
        }
    }

    #[test]
    fn a_pause_is_six_hours_or_as_long_as_the_answer_says() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut refusal = refusal(429, r#"{"error":"ASPSP_RATE_LIMIT_EXCEEDED"}"#);
        assert_eq!(refusal.pause_ends(now), now + TimeDelta::hours(6));
        refusal.retry_after = Some(Duration::from_secs(36_000));
        assert_eq!(refusal.pause_ends(now), now + TimeDelta::hours(10));
    }

    #[test]
    fn a_refused_signature_blames_a_clock_that_is_wrong() {
        let now = DateTime::parse_from_rfc2822("Tue, 01 Dec 2026 12:00:00 GMT").unwrap().to_utc();
        assert!(differs("Tue, 01 Dec 2026 12:01:00 GMT", now) && !differs("Tue, 01 Dec 2026 12:00:20 GMT", now));
        assert!(!differs("soon", now));
    }
}
