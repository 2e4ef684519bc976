//! `bankfeed login`: the owner gives consent at the bank, in any browser, and copies back the address it ended on.
//!
//! Promises: nothing but account information is asked for; the consent is as long as the bank gives; the answer of the
//! browser counts once and only for the sign-in that asked for it; a former consent stays until a new one is there.

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::EnableBanking;
use super::api::Api;
use super::consent::Consent;
use super::failure::{Failure, Refusal};
use super::memory::Notebook;
use super::presence::required;
use crate::remote::{Cause, Error};
use crate::settings::words::{did_you_mean, quote};
use crate::source::{AskCode, Bank, CodeRequest, InteractiveSignIn, SignedIn};

/// Times that the address is asked for.
const TRIES: u32 = 3;

/// Longest text that is taken for an address.
const LONGEST_ADDRESS: usize = 8192;

/// The consent of a bank that does not say how long one may last.
const USUAL_CONSENT: TimeDelta = TimeDelta::days(90);

/// The part of a consent that is not asked for, because a clock that is ahead would make it too long.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// The browser's answer.
#[derive(Debug, PartialEq, Eq)]
enum Returned {
    /// The code of a consent.
    Code(String),
    /// The bank or the owner has refused: the words.
    Refused(String),
    /// The answer belongs to another sign-in.
    Foreign,
    /// The text is no such address.
    Unreadable,
}

#[async_trait(?Send)]
impl InteractiveSignIn for EnableBanking {
    async fn sign_in(&self, ask: &mut AskCode<'_>) -> Result<SignedIn, Error> {
        let mut api = Api::open(self)?;
        self.application(&mut api).await?;
        let bank = self.bank(&mut api).await?;
        let mut notebook = Notebook::open(self.state.clone())?;
        notebook.memory.presence = Some(required(&bank));
        notebook.memory.fails_with_presence = false;
        notebook.save()?;
        let state = state()?;
        let address = self.begin(&mut api, &bank, &state).await?;
        let code = self.code(&address, &state, &notebook, ask)?;
        let answer = api.post(&["sessions"], &json!({"code": code})).await;
        let answer = answer.map_err(|failure| self.failed(failure, "the consent", &notebook))?;
        let accounts = answer["accounts"].as_array().map(Vec::len).unwrap_or_default();
        let is_whole = answer["session_id"].as_str().is_some_and(|session| !session.is_empty());
        let saved = Consent::saved(&self.settings, &answer, Utc::now()).filter(|_| is_whole);
        match saved {
            Some(saved) if accounts > 0 => Ok(SignedIn::WithCode(saved)),
            Some(_) => Err(self.stopped(
                "the consent holds no account: link your accounts at https://enablebanking.com/cp/ first",
                &notebook,
            )),
            None => Err(Error::malformed(format!("{}: Enable Banking's answer holds no session", self.name))),
        }
    }

    async fn prove(&self, _token: &SecretString) -> Result<(), Error> {
        Err(Error::rejected(format!(
            "{}: consent is given at the bank and not by a token: run `bankfeed login {}`",
            self.name, self.name
        )))
    }

    async fn banks(&self) -> Result<Option<Vec<Bank>>, Error> {
        let banks = self.listed_banks(&mut Api::open(self)?).await?;
        let texts = |value: &Value| {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let bank = |bank: &Value| {
            Some(Bank {
                name: bank["name"].as_str()?.to_owned(),
                customers: texts(&bank["psu_types"]),
                consent: longest_consent(bank).and_then(|longest| longest.to_std().ok()),
            })
        };
        Ok(Some(banks.iter().filter_map(bank).collect()))
    }
}

impl EnableBanking {
    /// The banks of the country.
    async fn listed_banks(&self, api: &mut Api) -> Result<Vec<Value>, Error> {
        let reply = api.get(&["aspsps"], &[("country", &self.settings.country), ("service", "AIS")]).await;
        let reply = reply.map_err(|failure| failure.error(&self.name, "the list of banks"))?;
        let list = reply["aspsps"].as_array().cloned();
        list.ok_or_else(|| Error::malformed(format!("{}: Enable Banking's answer holds no list of banks", self.name)))
    }

    /// The owner's bank in the service's list.
    pub(super) async fn bank(&self, api: &mut Api) -> Result<Value, Error> {
        let (service, wanted) = (&self.name, &self.settings.bank);
        let country = &self.settings.country;
        let banks = self.listed_banks(api).await?;
        let is_called = |bank: &&Value| bank["name"].as_str() == Some(wanted);
        let Some(bank) = banks.iter().find(is_called) else {
            let near = did_you_mean(wanted, banks.iter().filter_map(|bank| bank["name"].as_str()));
            return Err(Error::attention(
                Cause::AccessEnded,
                format!(
                    "{service}: bank: Enable Banking knows no {} in {country}{near}; `bankfeed login {service} --banks` lists the \
                     banks",
                    quote(wanted)
                ),
            ));
        };
        let customer = self.settings.customer.as_str();
        let types = bank["psu_types"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !types.is_empty() && !types.iter().any(|kind| kind.as_str() == Some(customer)) {
            let message = format!("{service}: customer: {} has no access for {customer} customers", quote(wanted));
            return Err(Error::attention(Cause::AccessEnded, message));
        }
        Ok(bank.clone())
    }

    /// Begins a consent and gives the address at which the owner goes on.
    async fn begin(&self, api: &mut Api, bank: &Value, state: &str) -> Result<String, Error> {
        let settings = &self.settings;
        let until = consent_end(longest_consent(bank), Utc::now());
        let body = json!({
            "access": {
                "valid_until": until.to_rfc3339_opts(SecondsFormat::Secs, false),
                "balances": true,
                "transactions": true,
            },
            "aspsp": {"name": settings.bank, "country": settings.country},
            "state": state,
            "redirect_url": settings.redirect_url,
            "psu_type": settings.customer.as_str(),
        });
        let notebook = Notebook::open(self.state.clone())?;
        let answer = api.post(&["auth"], &body).await;
        let answer = answer.map_err(|failure| self.failed(failure, "the address of the bank's page", &notebook))?;
        let address = answer["url"].as_str().unwrap_or_default();
        let is_usable = Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if is_usable {
            return Ok(address.to_owned());
        }
        Err(Error::malformed(format!("{}: Enable Banking's answer holds no address of the bank's page", self.name)))
    }

    /// Sends the owner to the bank and takes the address that the browser ended on.
    fn code(&self, address: &str, state: &str, notebook: &Notebook, ask: &mut AskCode<'_>) -> Result<String, Error> {
        let (bank, redirect) = (&self.settings.bank, &self.settings.redirect_url);
        let mut words = format!(
            "Open this address in any browser, sign in at {bank} and give consent:\n\n{address}\n\n\
             The browser then ends on an address that begins with {redirect}; the page need not load. Copy that whole \
             address from the browser and paste it here."
        );
        for _ in 0..TRIES {
            // The question is a new one each time: nothing was refused by the bank.
            let question =
                CodeRequest { words, prompt: "The address that the browser ended on (it is not shown)", number: 1 };
            let Some(answer) = ask(&question) else { break };
            match returned(answer.expose_secret(), state) {
                Returned::Code(code) => return Ok(code),
                Returned::Refused(why) => {
                    return Err(self.stopped(&format!("no consent was given at the bank ({why})"), notebook));
                }
                Returned::Foreign => {
                    let why = "that address belongs to another sign-in (its `state` is not the one of this command)";
                    return Err(self.stopped(why, notebook));
                }
                Returned::Unreadable => {
                    words =
                        "That is no address with `code=` and `state=` in it. Once more: the whole address.".to_owned();
                }
            }
        }
        Err(self.stopped("no address was given", notebook))
    }

    /// A refusal of the service during a sign-in, with the setting that is at fault.
    fn failed(&self, failure: Failure, what: &str, notebook: &Notebook) -> Error {
        match failure {
            Failure::Refused(refusal) => match remedy(&refusal) {
                Some(remedy) => self.stopped(&format!("{remedy}; Enable Banking says: {}", refusal.quote()), notebook),
                None => refusal.error(&self.name, what),
            },
            Failure::Error(error) => error,
        }
    }

    /// A sign-in that the owner has to repeat. A consent that still goes on is none the worse for it.
    fn stopped(&self, why: &str, notebook: &Notebook) -> Error {
        let name = &self.name;
        let message = format!("{name}: {why}; to begin anew: `bankfeed login {name}`");
        let now = Utc::now();
        let goes_on = Consent::read(name, &self.settings).is_ok_and(|consent| {
            let is_known_to_end = notebook.memory.is_ended && notebook.memory.session == consent.session;
            consent.ended(now).is_none() && !is_known_to_end
        });
        if goes_on { Error::rejected(message) } else { Error::attention(Cause::AccessEnded, message) }
    }
}

/// The words for a refusal that names a setting or the owner's part.
fn remedy(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.code.as_str() {
        "NO_ACCOUNTS_ADDED" => "no account is linked: link your accounts at https://enablebanking.com/cp/ first",
        "REDIRECT_URI_NOT_ALLOWED" => "redirect_url is not registered: register it at https://enablebanking.com/cp/",
        "WRONG_ASPSP_PROVIDED" => "bank or country is not one that Enable Banking knows",
        "AUTHORIZATION_NOT_PROVIDED" | "WRONG_CREDENTIALS_PROVIDED" => "the bank has not taken the sign-in",
        "EXPIRED_AUTHORIZATION_CODE" => "the address came too late: its code has expired",
        "WRONG_AUTHORIZATION_CODE" => "the code in that address is not known",
        "ALREADY_AUTHORIZED" => "the code in that address was used already",
        _ => return None,
    })
}

fn longest_consent(bank: &Value) -> Option<TimeDelta> {
    bank["maximum_consent_validity"].as_i64().filter(|seconds| *seconds > 0).and_then(TimeDelta::try_seconds)
}

/// The end of a consent that is as long as the bank gives, less a margin.
fn consent_end(longest: Option<TimeDelta>, now: DateTime<Utc>) -> DateTime<Utc> {
    let longest = longest.unwrap_or(USUAL_CONSENT);
    let margin = MARGIN.min(longest / 20);
    now.checked_add_signed(longest - margin).unwrap_or(now + USUAL_CONSENT - MARGIN)
}

/// A text that nobody can guess.
fn state() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    filled.map_err(|_| Error::attention(Cause::Machine, "this machine gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the address that a browser ended on, or its query alone.
fn returned(text: &str, state: &str) -> Returned {
    let text = text.trim().trim_matches(['"', '\'', '<', '>']);
    if text.len() > LONGEST_ADDRESS {
        return Returned::Unreadable;
    }
    let query = text.split_once('?').map_or(text, |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let value = |key: &str| {
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    match (value("state"), value("error"), value("code")) {
        (None, None, None) => Returned::Unreadable,
        (Some(found), ..) if found != state => Returned::Foreign,
        (None, ..) => Returned::Foreign,
        (_, Some(error), _) => {
            let description = value("error_description").map(|words| format!(": {words}")).unwrap_or_default();
            let words = format!("{error}{description}");
            Returned::Refused(words.chars().filter(|char| !char.is_control()).take(200).collect())
        }
        (_, None, Some(code)) => Returned::Code(code.to_owned()),
        (_, None, None) => Returned::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_for_its_own_sign_in_alone() {
        let code = Returned::Code("a b/c".into());
        for text in [
            "https://localhost/bankfeed?code=a%20b%2Fc&state=s1",
            "  'https://localhost/bankfeed?state=s1&code=a+b%2Fc#top' ",
            "code=a+b%2Fc&state=s1",
        ] {
            assert_eq!(returned(text, "s1"), code, "{text}");
        }
        for text in ["https://x/?code=1&state=s2", "https://x/?code=1", "https://x/?error=access_denied&state=s2"] {
            assert_eq!(returned(text, "s1"), Returned::Foreign, "{text}");
        }
        let refused = "https://x/?error=access_denied&error_description=Denied+by+user&state=s1";
        assert_eq!(returned(refused, "s1"), Returned::Refused("access_denied: Denied by user".into()));
        for text in ["", "hello", "https://localhost/bankfeed", "https://x/?state=s1", &"x".repeat(10_000)] {
            assert_eq!(returned(text, "s1"), Returned::Unreadable, "{text}");
        }
    }

    #[test]
    fn a_consent_is_as_long_as_the_bank_gives_less_a_margin() {
        let now = DateTime::UNIX_EPOCH;
        let lasts = |seconds: i64| (consent_end(TimeDelta::try_seconds(seconds), now) - now).num_seconds();
        assert_eq!(lasts(15_552_000), 15_552_000 - 86_400);
        assert_eq!(lasts(7_776_000), 7_776_000 - 86_400);
        assert_eq!(lasts(3600), 3600 - 180);
        assert_eq!(consent_end(None, now) - now, TimeDelta::days(89));
        assert!(consent_end(Some(TimeDelta::MAX), now) > now);
    }

    #[test]
    fn no_two_sign_ins_share_a_state() {
        let (one, other) = (state().unwrap(), state().unwrap());
        assert!(one != other && one.len() == 32);
    }
}
