//! Signing in with a person beside: the code that the bank asks for after the password is asked of them.
//!
//! Promises: the password is sent once; a code goes only to the bank, only in a form that leaves no doubt, and at most
//! [`TRIES`] are sent. A session opened elsewhere is proved before it is believed. What the page says is shown as plain
//! words. Who the person is and where they sit it does not know.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::api::{Api, connect};
use super::html::WebPage;
use super::sign_in::{Door, Landed, Landing, random_uuid};
use super::{Fibank, named_in, whose};
use crate::remote::attempts::Attempt;
use crate::remote::{Cause, Error, TREE_BYTES};
use crate::source::{AskCode, CodeRequest, InteractiveSignIn, SavedSession, SignedIn};

/// Codes sent at most: a bank counts them, as it counts passwords.
const TRIES: u32 = 3;

/// Longest code; a token application's answer may be long.
const LONGEST_CODE: usize = 64;

#[async_trait(?Send)]
impl InteractiveSignIn for Fibank {
    async fn sign_in(&self, ask: &mut AskCode<'_>) -> Result<SignedIn, Error> {
        let (name, base_url, context) = (self.name.as_str(), &self.settings.base_url, &self.context);
        let password = self.password()?;
        let client = connect(name, base_url, context)?;
        let door = Door {
            service: name,
            base: base_url,
            client: &client,
            context,
            attempts: &*self.attempts,
            username: &self.settings.username,
            password: &password,
        };
        let state = random_uuid();
        let mut landing = door.knock(&state).await?;
        for number in 0..=TRIES {
            let landed = match landing {
                Landing::Token(_) if number == 0 => return Ok(SignedIn::WithoutCode),
                Landing::Token(token) => {
                    return Ok(SignedIn::WithCode(SavedSession::fresh(&token.secret, token.lasts, chrono::Utc::now())));
                }
                Landing::Page(landed) => landed,
            };
            let words = landed.page.words(&door.secrets());
            let error = stopped(&door, &landed, number);
            if error.cause() != Some(Cause::SecondFactor) || number == TRIES || landed.page.login_form {
                return Err(error);
            }
            let Some(form) = &landed.page.code_form else { return Err(unanswerable(&door, &landed.page)) };
            let target = form.target(&landed.url).map(|target| door.secured(target));
            let Some(target) = target.filter(|target| target.origin() == base_url.origin()) else {
                return Err(unanswerable(&door, &landed.page));
            };
            let question = CodeRequest { words, number: number + 1 };
            let Some(code) = ask(&question).and_then(|code| tidied(&code)) else {
                return Err(Error::attention(
                    Cause::SecondFactor,
                    format!("{name}: no code was given; to begin anew: `bankfeed login {name}`"),
                ));
            };
            landing = door.give(target, &form.filled(code.expose_secret()), Attempt::Code, &state).await?;
            landing = past_the_page(&door, landing, &state).await?;
        }
        Err(Error::attention(Cause::SecondFactor, format!("{name}: the bank has taken none of {TRIES} codes")))
    }

    async fn prove(&self, token: &SecretString) -> Result<(), Error> {
        let name = &self.name;
        let api = Api::with_token(name, &self.settings.base_url, &self.context, &self.settings.username, token)?;
        let refused = |how: String| {
            let message = format!(
                "{name}: the bank does not take this token ({how}), so it was not kept; sign in again in the browser, copy the token \
             while that page is open, and run `bankfeed login {name} --paste`"
            );
            Error::attention(Cause::Token, message)
        };
        let unproved = |why: &str| {
            // No run will: the token is gone with this command.
            let why = why.replace("; the next run tries again", "");
            format!("{why}; whether the token is good is not known, so it was not kept; try again later")
        };
        match api.call_once(&whose()).await {
            Ok(Ok(text))
                if serde_json::from_str(&text.head(TREE_BYTES)).is_ok_and(|reply| !named_in(&reply).is_empty()) =>
            {
                Ok(())
            }
            Ok(Ok(_)) => Err(Error::malformed(unproved(&format!("{name}: the bank's reply names no customer")))),
            Ok(Err(how)) => Err(refused(how)),
            Err(error) => Err(Error { message: unproved(&error.message), ..error }),
        }
    }
}

/// A code as it is sent; people write them in groups. `None`: it cannot be one.
fn tidied(code: &SecretString) -> Option<SecretString> {
    let code: String = code.expose_secret().split_whitespace().collect();
    let fitting = !code.is_empty() && code.chars().count() <= LONGEST_CODE && !code.chars().any(char::is_control);
    fitting.then(|| SecretString::from(code))
}

/// A bank that lets in but has forgotten where to is asked for the token once more, which sends nothing secret.
async fn past_the_page(door: &Door<'_>, landing: Landing, state: &str) -> Result<Landing, Error> {
    let is_unknown = |landed: &Landed| landed.status == 200 && landed.page.obstacle(&landed.hint) == Cause::UnknownPage;
    match landing {
        Landing::Page(landed) if is_unknown(&landed) => match door.walk(door.authorize(state), state).await? {
            Landing::Page(_) => Ok(Landing::Page(landed)),
            token => Ok(token),
        },
        other => Ok(other),
    }
}

/// Why it does not go on from this page after so many codes.
fn stopped(door: &Door<'_>, landed: &Landed, tries: u32) -> Error {
    let error = door.turned_away(landed);
    let (name, words) = (door.service, landed.page.quote(&door.secrets()));
    // The password was right, or no code would have been asked for: the login page is how some say that the code was not.
    let is_code = matches!(error.cause(), Some(Cause::SecondFactor | Cause::PasswordRefused));
    match tries {
        0 => error,
        _ if !is_code => error,
        1..TRIES if error.cause() == Some(Cause::SecondFactor) => error,
        _ => {
            let codes = if tries == 1 { "the code".into() } else { format!("any of {tries} codes") };
            let message = format!(
                "{name}: the bank has not taken {codes}; wait for a new one, then run `bankfeed login {name}` again; the page \
                 says: {words}"
            );
            Error::attention(Cause::SecondFactor, message)
        }
    }
}

/// A page that asks for something that cannot be typed here.
fn unanswerable(door: &Door<'_>, page: &WebPage) -> Error {
    let (name, words) = (door.service, page.quote(&door.secrets()));
    let message = format!(
        "{name}: the bank asks for a second factor on a page that has no form bankfeed can fill in; sign in in a browser and \
         hand that session over: `bankfeed login {name} --paste`; the page says: {words}"
    );
    Error::attention(Cause::SecondFactor, message)
}
