//! Signing in with a person beside, who is asked for the code that the bank wants after the password.
//!
//! Promises: the password is sent once; a code goes only to the bank, only in a form that leaves no doubt, and at most
//! [`TRIES`] are sent. A session opened elsewhere is proved before it is believed. The words of a page are shown as
//! plain text. The person may sit anywhere.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::Fibank;
use super::accounts::{named_in, whose};
use super::api::{Api, connect};
use super::html::WebPage;
use super::sign_in::{Door, EndPage, WalkEnd, random_uuid};
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
        let mut end = door.knock(&state).await?;
        for number in 0..=TRIES {
            let end_page = match end {
                WalkEnd::Token(_) if number == 0 => return Ok(SignedIn::WithoutCode),
                WalkEnd::Token(token) => {
                    return Ok(SignedIn::WithCode(SavedSession::fresh(&token.secret, token.lasts, chrono::Utc::now())));
                }
                WalkEnd::Page(end_page) => end_page,
            };
            let words = end_page.page.words(&door.secrets());
            let error = stopped(&door, &end_page, number);
            if error.cause() != Some(Cause::SecondFactor) || number == TRIES || end_page.page.login_form {
                return Err(error);
            }
            let Some(form) = &end_page.page.code_form else { return Err(unanswerable(&door, &end_page.page)) };
            let target = form.target(&end_page.url).map(|target| door.secured(target));
            let Some(target) = target.filter(|target| target.origin() == base_url.origin()) else {
                return Err(unanswerable(&door, &end_page.page));
            };
            let words = format!("The bank says:\n\n  {words}");
            let question = CodeRequest { words, prompt: "The code (it is not shown)", number: number + 1 };
            let Some(code) = ask(&question).and_then(|code| tidied(&code)) else {
                return Err(Error::attention(
                    Cause::SecondFactor,
                    format!("{name}: no code was given; to begin anew: `bankfeed login {name}`"),
                ));
            };
            end = door.give(target, &form.filled(code.expose_secret()), Attempt::Code, &state).await?;
            end = past_the_page(&door, end, &state).await?;
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
            // No run will try again: the token is gone with this command.
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

/// A code as it is sent; people write codes in groups. `None`: the text cannot be a code.
fn tidied(code: &SecretString) -> Option<SecretString> {
    let code: String = code.expose_secret().split_whitespace().collect();
    let fitting = !code.is_empty() && code.chars().count() <= LONGEST_CODE && !code.chars().any(char::is_control);
    fitting.then(|| SecretString::from(code))
}

/// Asks once more for the token where the bank lets in but has forgotten the way; no secret is sent.
async fn past_the_page(door: &Door<'_>, end: WalkEnd, state: &str) -> Result<WalkEnd, Error> {
    let is_unknown =
        |end_page: &EndPage| end_page.status == 200 && end_page.page.obstacle(&end_page.hint) == Cause::UnknownPage;
    match end {
        WalkEnd::Page(end_page) if is_unknown(&end_page) => match door.walk(door.authorize(state), state).await? {
            WalkEnd::Page(_) => Ok(WalkEnd::Page(end_page)),
            token => Ok(token),
        },
        other => Ok(other),
    }
}

/// The reason why the sign-in stops at this page after so many codes.
fn stopped(door: &Door<'_>, end_page: &EndPage, tries: u32) -> Error {
    let error = door.turned_away(end_page);
    let (name, words) = (door.service, end_page.page.quote(&door.secrets()));
    // The password was right, or no code would have been asked for: some banks show the login page for a wrong code.
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

/// The error of a page whose question cannot be answered by typing.
fn unanswerable(door: &Door<'_>, page: &WebPage) -> Error {
    let (name, words) = (door.service, page.quote(&door.secrets()));
    let message = format!(
        "{name}: the bank asks for a second factor on a page that has no form bankfeed can fill in; sign in in a browser and \
         hand that session over: `bankfeed login {name} --paste`; the page says: {words}"
    );
    Error::attention(Cause::SecondFactor, message)
}
