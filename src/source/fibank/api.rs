//! Calls of the bank's JSON API with the bearer token, for one pull.
//!
//! Promises: a call whose session has ended is made again after one new sign-in, at most one per pull; a service
//! that is down is asked again with patience; the result is text that begins like JSON, or a refusal the caller may react
//! to, or an error. The meaning of replies is the caller's affair.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::html::{WebPage, quote};
use super::sign_in::{Door, Token};
use super::{USER_AGENT, wire};
use crate::model::payload;
use crate::remote::attempts::Attempts;
use crate::remote::packed::PackedText;
use crate::remote::{Client, Context, Error, Kind, PAGE_BYTES, REPLY_BYTES, Response, TREE_BYTES};
use crate::source::SavedSession;

/// Time for the longest reply (a whole history, some 45 MB) over a slow line.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Time for any other reply.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest reply that is looked at for an error object.
const ERROR_BYTES: usize = 8192;

/// A signed-in connection.
pub(super) struct Api {
    service: String,
    base: Url,
    context: Context,
    username: String,
    password: SecretString,
    client: Client,
    token: Token,
    /// Notes the one new sign-in of this pull; `None` once the sign-in has been used.
    renewal: Option<Arc<dyn Attempts>>,
    /// The file of the token, if the owner has opened the session interactively.
    kept: Option<PathBuf>,
}

/// A call.
pub(super) struct Call<'a> {
    /// Below `/EBank/api/v1/`.
    pub path: &'static str,
    pub query: Vec<(&'static str, String)>,
    /// `EBank-Cust-Id`; `None` before the customers are known.
    pub customer: Option<&'a str>,
    /// The page of the bank's application that makes this call, below `/EBank/`.
    pub route: &'static str,
    /// The subject of the call, for messages.
    pub what: String,
    /// The answer may be a whole history, and where that is refused a shorter one is asked for.
    pub is_long: bool,
    /// The number of failures that counts as a refusal. To a call that it does not like, the bank answers with 500, a page,
    /// or silence, just as when it is unwell; `u32::MAX`: no failure is taken as a refusal.
    pub refused_at: u32,
}

/// The result of a call.
pub(super) enum Answer {
    /// The reply, which begins like JSON.
    Json(PackedText),
    /// The bank does not want to answer; the reason in the bank's words.
    Refused(String),
}

/// An answer, before the session is looked after.
enum Seen {
    Answer(Answer),
    /// The session has ended; the sign of that.
    SignedOut(String),
}

impl Api {
    /// Signs in.
    pub async fn open(
        service: &str,
        base: &Url,
        context: &Context,
        attempts: Arc<dyn Attempts>,
        (username, password): (&str, SecretString),
        login: Option<&Path>,
    ) -> Result<Api, Error> {
        let kept = login.and_then(|path| Some((path.to_owned(), kept(service, path)?)));
        let (kept, (client, token)) = match kept {
            Some((path, secret)) => (Some(path), (connect(service, base, context)?, Token { secret, lasts: None })),
            None => (None, enter(service, base, context, &*attempts, (username, &password)).await?),
        };
        Ok(Api {
            service: service.to_owned(),
            base: base.clone(),
            context: context.clone(),
            username: username.to_owned(),
            password,
            client,
            token,
            renewal: Some(attempts),
            kept,
        })
    }

    /// A connection with a token that a person hands over. The connection has no password, so that none can be sent.
    pub fn with_token(
        service: &str,
        base: &Url,
        context: &Context,
        username: &str,
        token: &SecretString,
    ) -> Result<Api, Error> {
        Ok(Api {
            service: service.to_owned(),
            base: base.clone(),
            context: context.clone(),
            username: username.to_owned(),
            password: SecretString::default(),
            client: connect(service, base, context)?,
            token: Token { secret: token.clone(), lasts: None },
            renewal: None,
            kept: None,
        })
    }

    /// Makes a call with this very token; `Err`: the bank's way of not letting the token in.
    pub async fn call_once(&self, call: &Call<'_>) -> Result<Result<PackedText, String>, Error> {
        Ok(match self.ask(call).await? {
            Seen::Answer(Answer::Json(text)) => Ok(text),
            Seen::Answer(Answer::Refused(how)) | Seen::SignedOut(how) => Err(how),
        })
    }

    /// Makes a call, signing in again once if the session has ended.
    pub async fn call(&mut self, call: &Call<'_>) -> Result<Answer, Error> {
        loop {
            let how = match self.ask(call).await? {
                Seen::Answer(answer) => return Ok(answer),
                Seen::SignedOut(how) => how,
            };
            let Some(attempts) = self.renewal.take() else {
                // A new session that ends at the very same question: the question may be the reason.
                if call.is_long && call.refused_at < u32::MAX {
                    return Ok(Answer::Refused(how));
                }
                return Err(Error::unavailable(format!(
                    "{}: the bank ended the session a second time while asked for {} ({how}); the next run tries again",
                    self.service, call.what
                )));
            };
            tracing::debug!(
                "{}: the session has ended ({how}, {:?}); signing in again",
                self.service,
                self.token.lasts
            );
            if let Some(path) = self.kept.take() {
                forget(&self.service, &path);
            }
            let who = (self.username.as_str(), &self.password);
            (self.client, self.token) = enter(&self.service, &self.base, &self.context, &*attempts, who).await?;
        }
    }

    /// The number of answers 500 in a row after which the bank is believed.
    pub fn patience(&self) -> u32 {
        self.context.backoff.tries
    }

    async fn ask(&self, call: &Call<'_>) -> Result<Seen, Error> {
        let failures = AtomicU32::new(0);
        let (most, limit) = if call.is_long { (REPLY_BYTES, TIMEOUT) } else { (TREE_BYTES, LIST_TIMEOUT) };
        self.context
            .backoff
            .run(&self.context.shutdown, async || {
                let request = self.request(call).timeout(limit);
                let answered = tokio::select! {
                    response = self.client.send_packed(request, most) => response,
                    () = self.context.shutdown.wait() => return Err(Error::stopped()),
                };
                let error = match answered.and_then(|(response, text)| self.judge(call, response, text)) {
                    Err(error) => error,
                    seen => return seen,
                };
                let failures = failures.fetch_add(1, Ordering::Relaxed) + 1;
                let is_refusal = match error.kind {
                    Kind::Malformed | Kind::TooLarge => call.refused_at < u32::MAX,
                    Kind::Unavailable => failures >= call.refused_at,
                    _ => false,
                };
                if is_refusal { Ok(Seen::Answer(Answer::Refused(error.message))) } else { Err(error) }
            })
            .await
    }

    /// The headers that the bank's own page sends; nobody has found out which are necessary.
    fn request(&self, call: &Call<'_>) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("/EBank/api/v1/{}", call.path));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut page = self.base.clone();
        page.set_path(&format!("/EBank/{}", call.route));
        let mut request = self
            .client
            .request(Method::GET, url)
            .bearer_auth(self.token.secret.expose_secret())
            .header("Accept", "application/json, text/plain, */*")
            .header("Accept-Language", "bg")
            .header("Cache-Control", "no-cache")
            .header("Pragma", "no-cache")
            .header("User-Agent", USER_AGENT)
            .header("Referer", page.as_str())
            .header("X-Requested-With", "XMLHttpRequest")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Dest", "empty")
            .header("EBank-App-Version", "1")
            .header("EBank-Device-Id", "AABBCCDDEE")
            .header("EBank-Client-Time", wire::stamp(wire::now()))
            .header("EBank-Referer", format!("%2F{}", call.route.replace('/', "%2F")));
        if let Some(customer) = call.customer {
            request = request.header("EBank-Cust-Id", customer);
        }
        request
    }

    fn judge(&self, call: &Call<'_>, response: Response, text: PackedText) -> Result<Seen, Error> {
        let (service, what, status) = (&self.service, &call.what, response.status);
        match status {
            200..=299 => self.content(call, text),
            300..=399 => Ok(redirected(call, &response)),
            401 => Ok(Seen::SignedOut(format!("status {status}"))),
            429 => Err(Error::throttled(
                response.retry_after(),
                format!("{service}: the bank asks for a pause while asked for {what}"),
            )),
            400..=499 => Ok(self.refusal(&response)),
            _ => {
                let page = WebPage::read(&response.text());
                match self.closed(&page) {
                    Some(closed) => Err(closed),
                    None => Err(Error::unavailable(format!(
                        "{service}: the bank answers {status} when asked for {what}; the next run tries again"
                    ))),
                }
            }
        }
    }

    /// The content of a success: JSON, an error in JSON, or a page where JSON was due.
    fn content(&self, call: &Call<'_>, text: PackedText) -> Result<Seen, Error> {
        let (service, what) = (&self.service, &call.what);
        let begins = text.first();
        // A byte that is no character spoils a single character of a single text.
        if text.is_broken() && !matches!(begins, Some('{' | '[' | '<')) {
            return Err(Error::malformed(format!("{service}: the reply to {what} is not UTF-8 text")));
        }
        if begins == Some('{') {
            // An error object is small: a long statement need not be read twice.
            let refusal = (text.len() < ERROR_BYTES).then(|| refusal_in(&text.head(ERROR_BYTES))).flatten();
            if let Some(refusal) = refusal {
                let told = quote(&refusal, &self.secrets());
                let signed_out = ["invalid_token", "unauthorized"].iter().any(|word| refusal.contains(word));
                let answer = Seen::Answer(Answer::Refused(format!("it says: {told}")));
                return Ok(if signed_out { Seen::SignedOut(told) } else { answer });
            }
            return Ok(Seen::Answer(Answer::Json(text)));
        }
        if begins == Some('[') {
            return Ok(Seen::Answer(Answer::Json(text)));
        }
        let page = WebPage::read(&text.head(PAGE_BYTES));
        if page.login_form {
            return Ok(Seen::SignedOut("the login page came instead".into()));
        }
        // Words of maintenance may be advice on a page that refuses a long window; a short one tells.
        let closed = self.closed(&page).filter(|_| !call.is_long || call.refused_at >= self.patience());
        Err(closed.unwrap_or_else(|| {
            Error::malformed(format!(
                "{service}: a page came instead of {what}; it says: {}",
                page.quote(&self.secrets())
            ))
        }))
    }

    fn closed(&self, page: &WebPage) -> Option<Error> {
        page.is_maintenance().then(|| {
            let words = page.quote(&self.secrets());
            let message = format!(
                "{}: the bank is closed for maintenance; the next run tries again; the page says: {words}",
                self.service
            );
            Error::attention(crate::remote::Cause::Maintenance, message)
        })
    }

    fn refusal(&self, response: &Response) -> Seen {
        let (text, status) = (response.text(), response.status);
        let told = match refusal_in(&text) {
            Some(refusal) => quote(&refusal, &self.secrets()),
            None => {
                let page = WebPage::read(&text);
                if page.login_form {
                    return Seen::SignedOut(format!("status {status} with the login page"));
                }
                page.quote(&self.secrets())
            }
        };
        Seen::Answer(Answer::Refused(format!("status {status}, it says: {told}")))
    }

    fn secrets(&self) -> [&str; 3] {
        [&self.username, self.password.expose_secret(), self.token.secret.expose_secret()]
    }
}

/// A fresh cookie jar and a token: remains of an ended session must not get in the way of a new one.
async fn enter(
    service: &str,
    base: &Url,
    context: &Context,
    attempts: &dyn Attempts,
    (username, password): (&str, &SecretString),
) -> Result<(Client, Token), Error> {
    let client = connect(service, base, context)?;
    let door = Door { service, base, client: &client, context, attempts, username, password };
    let token = door.enter().await?;
    Ok((client, token))
}

pub(super) fn connect(service: &str, base: &Url, context: &Context) -> Result<Client, Error> {
    let client = Client::at(base, service, context.requests.clone(), true, TIMEOUT)?;
    Ok(client.traced(context.trace.clone()))
}

/// The token of a session that the owner has opened interactively. A token that cannot be read is as good as none: the
/// ordinary sign-in then names its needs.
fn kept(service: &str, path: &Path) -> Option<SecretString> {
    match SavedSession::read(path) {
        Ok(kept) => kept.map(|kept| kept.token),
        Err(error) => {
            tracing::warn!("{service}: the session in {} cannot be read: {error}", path.display());
            None
        }
    }
}

/// Removes a session that has ended.
fn forget(service: &str, path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!("{service}: the ended session in {} cannot be removed: {error}", path.display());
    }
}

/// Reads a redirect: by it the bank sends a client to the sign-in, or to a page of its own about a call it does not like.
fn redirected(call: &Call<'_>, response: &Response) -> Seen {
    let how = format!("status {}", response.status);
    let leads_to = response.location().map(|location| location.path().to_lowercase()).unwrap_or_default();
    let signs_in = ["login", "logout", "signin", "authorize", "session", "expired"];
    let may_be_refusal = call.is_long && call.refused_at < u32::MAX;
    match may_be_refusal && !signs_in.iter().any(|word| leads_to.contains(word)) {
        true => Seen::Answer(Answer::Refused(format!("{how}, it leads to another page"))),
        false => Seen::SignedOut(how),
    }
}

/// The words of an error object (`{"error":…}`, Spring's and OAuth's forms); `None` where it is none.
fn refusal_in(text: &str) -> Option<String> {
    let serde_json::Value::Object(object) = payload::read(text)? else { return None };
    let said = |key: &str| match object.get(key) {
        None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => None,
        Some(serde_json::Value::String(text)) => (!text.is_empty()).then(|| text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let refused = ["error", "errors", "errorCode", "exception"].iter().find_map(|key| said(key));
    let payload = ["acc", "customer"].iter().any(|key| object.get(*key).is_some_and(|value| !value.is_null()));
    let refused = refused.filter(|_| !payload)?;
    let more = ["error_description", "errorMessage", "message"].iter().find_map(|key| said(key));
    Some(more.map_or(refused.clone(), |more| format!("{refused}: {more}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_objects_are_told_from_replies() {
        assert_eq!(refusal_in(r#"{"error":"invalid_token","error_description":"x"}"#).unwrap(), "invalid_token: x");
        assert_eq!(refusal_in(r#"{"timestamp":1,"status":500,"error":"Server","message":"m"}"#).unwrap(), "Server: m");
        assert_eq!(refusal_in(r#"{"errors":[{"code":7}]}"#).unwrap(), r#"[{"code":7}]"#);
        for reply in [r#"{"acc":[],"error":"x"}"#, r#"{"customer":[]}"#, r#"{"error":null}"#, "[1]", "{", "<html>"] {
            assert_eq!(refusal_in(reply), None, "{reply}");
        }
    }
}
