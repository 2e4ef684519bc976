//! The bank's door: from a user name and a password to an access token.
//!
//! Promises: the password leaves exactly once per call of [`Door::enter`], only for the configured origin, and not before
//! it is noted ([`Attempts`]); reads before and after it are repeated when the bank is down, the password never is. Whatever stands in the way is told
//! apart ([`Cause`]) and reported with the page's own words, without user name and password.
//!
//! The token arrives in the fragment of a redirect, so redirects are followed by hand. Every request of the short way
//! counts against the owner's patience with the bank: authorize (which leads to the login page), certificates, password,
//! authorize. `/EBank/` itself, where the last redirect points, is not fetched.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::html::{WebPage, quote};
use super::{USER_AGENT, wire};
use crate::remote::attempts::{Attempt, Attempts};
use crate::remote::{Cause, Client, Context, Error, PAGE_BYTES, Response};

/// Longest chain of redirects followed; the bank needs two.
const MAX_REDIRECTS: usize = 10;
/// Longest time for one page, however slowly it drips.
const PATIENCE: Duration = Duration::from_secs(60);
const LOGIN: &str = "/oauth2-server/login";

/// Who signs in, where, and with what.
pub(super) struct Door<'a> {
    /// The entry's name, for messages.
    pub service: &'a str,
    /// The bank's origin.
    pub base: &'a Url,
    /// A client with an empty cookie jar.
    pub client: &'a Client,
    /// Patience and stop signal.
    pub context: &'a Context,
    /// Where passwords and codes are noted.
    pub attempts: &'a dyn Attempts,
    /// Login name.
    pub username: &'a str,
    /// Password.
    pub password: &'a SecretString,
}

/// What the bank gave for the password.
pub(super) struct Token {
    /// The bearer token.
    pub secret: SecretString,
    /// How long it is said to last.
    pub lasts: Option<Duration>,
}

/// Where a walk along redirects ended.
pub(super) enum Landing {
    Token(Token),
    Page(Box<Landed>),
}

/// A page at the end of a walk.
pub(super) struct Landed {
    pub url: Url,
    pub status: u16,
    pub page: WebPage,
    /// What its address says about an error.
    pub hint: String,
}

/// Where one answer leads.
enum Next {
    Token(Token),
    Go(Url),
    Stay,
}

impl Door<'_> {
    /// Signs in.
    pub async fn enter(&self) -> Result<Token, Error> {
        match self.knock(&random_uuid()).await? {
            Landing::Token(token) => Ok(token),
            Landing::Page(landed) => Err(self.turned_away(&landed)),
        }
    }

    /// Signs in as far as user name and password lead.
    pub(super) async fn knock(&self, state: &str) -> Result<Landing, Error> {
        let csrf = match self.login_page(state).await? {
            Landing::Token(token) => return Ok(Landing::Token(token)),
            Landing::Page(landed) => match &landed.page.csrf {
                Some(csrf) => csrf.clone(),
                None => return Err(self.obstacle(&landed.page, landed.status, "")),
            },
        };
        self.ask_for_certificates().await?;
        self.give_password(&csrf, state).await
    }

    /// The page with the form's token: straight from the authorize address, which remembers the request in the session
    /// and leads on to the login page; else the way the bank's own page goes, by the login page first.
    async fn login_page(&self, state: &str) -> Result<Landing, Error> {
        let landing = self.walk(self.authorize(state), state).await?;
        match &landing {
            Landing::Token(_) => return Ok(landing),
            Landing::Page(landed)
                if landed.page.csrf.is_some() || landed.page.is_maintenance() || landed.page.is_unread() =>
            {
                return Ok(landing);
            }
            Landing::Page(_) => {}
        }
        let mut login = self.at(LOGIN);
        login.query_pairs_mut().append_pair("client_id", "E_BANK");
        self.walk(login, state).await?;
        self.walk(self.authorize(state), state).await
    }

    /// The bank's page asks for the login's certificates between user name and password. The answer is not used, but
    /// whether the bank insists on the question is not known; a refusal here is no reason to stay outside.
    async fn ask_for_certificates(&self) -> Result<(), Error> {
        let mut url = self.at("/oauth2-server/api/v1/sywscertificate/fnGetCertsForLogin");
        url.query_pairs_mut().append_pair("client_id", "E_BANK").append_pair("userName", self.username);
        self.get(&url).await.map(|_| ())
    }

    /// Sends the password, once. From here on an answer that is lost or unclear ends the sign-in.
    async fn give_password(&self, csrf: &str, state: &str) -> Result<Landing, Error> {
        let time = wire::stamp(wire::now());
        let form = [
            ("username", self.username),
            ("password", self.password.expose_secret()),
            ("system", ""),
            ("client_id", "E_BANK"),
            ("lang", "bg"),
            ("time", &time),
            ("_csrf", csrf),
            ("sig", ""),
        ];
        self.give(self.at(LOGIN), &form, Attempt::Password, state).await
    }

    /// Posts a form with something that counts, once.
    pub(super) async fn give(
        &self,
        to: Url,
        form: &[(&str, &str)],
        what: Attempt,
        state: &str,
    ) -> Result<Landing, Error> {
        if self.context.shutdown.requested() {
            return Err(Error::stopped());
        }
        self.attempts.begin(what)?;
        let landing = self.post(to, form, what, state).await.map_err(|error| match error.cause() {
            Some(_) => error,
            None => Error {
                message: format!("{} (after the {what} was sent; it is not sent again in this run)", error.message),
                ..error
            },
        })?;
        match &landing {
            Landing::Token(_) => self.attempts.admitted()?,
            // A page that is none of the bank's answers leaves open whether the bank has looked at what was sent.
            Landing::Page(landed) if self.turned_away(landed).cause().is_some_and(Cause::blocks_schedule) => {
                self.attempts.answered(what)?;
            }
            Landing::Page(_) => {}
        }
        Ok(landing)
    }

    async fn post(&self, to: Url, form: &[(&str, &str)], what: Attempt, state: &str) -> Result<Landing, Error> {
        let request = self.client.request(Method::POST, to).header("User-Agent", USER_AGENT).form(form);
        let response = self.send(request).await?;
        if let Some(error) = self.down(&response) {
            return Err(error);
        }
        if matches!(response.status, 307 | 308) {
            // Those would repeat it at another address.
            return Err(self.unknown(&format!("the bank redirects the {what} to another address")));
        }
        match self.next(&response, state)? {
            Next::Token(token) => Ok(Landing::Token(token)),
            Next::Stay => Ok(landed(&response)),
            Next::Go(url) => self.after_password(url, state).await,
        }
    }

    async fn after_password(&self, url: Url, state: &str) -> Result<Landing, Error> {
        let hint = login_error(&url);
        match (self.walk(url.clone(), state).await, hint) {
            (Ok(Landing::Page(landed)), hint) => {
                Ok(Landing::Page(Box::new(Landed { hint: hint.unwrap_or_default(), ..*landed })))
            }
            // The address alone says it: a page that cannot be read does not make this worth another try.
            (Err(_), Some(hint)) if hint.starts_with("error") => {
                Ok(Landing::Page(Box::new(Landed { url, status: 200, page: WebPage::bare_login_form(), hint })))
            }
            (other, _) => other,
        }
    }

    /// Follows redirects from `url` to a token or to a page. Reads only, so each step may be repeated.
    pub(super) async fn walk(&self, mut url: Url, state: &str) -> Result<Landing, Error> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.get(&url).await?;
            match self.next(&response, state)? {
                Next::Token(token) => return Ok(Landing::Token(token)),
                Next::Go(next) => url = next,
                Next::Stay => return Ok(landed(&response)),
            }
        }
        Err(self.unknown("the bank redirects in circles"))
    }

    async fn get(&self, url: &Url) -> Result<Response, Error> {
        self.context
            .backoff
            .run(&self.context.shutdown, async || {
                let request = self.client.request(Method::GET, url.clone());
                let response = self.send(request.header("User-Agent", USER_AGENT)).await?;
                self.down(&response).map_or(Ok(response), Err)
            })
            .await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        tokio::select! {
            response = self.client.send_up_to(request.timeout(PATIENCE), PAGE_BYTES) => response,
            () = self.context.shutdown.wait() => Err(Error::stopped()),
        }
    }

    /// The error of an answer that says "not now".
    fn down(&self, response: &Response) -> Option<Error> {
        let status = response.status;
        if status == 429 {
            let message = format!("{}: the bank asks for a pause during the sign-in", self.service);
            return Some(Error::throttled(response.retry_after(), message));
        }
        if status < 500 {
            return None;
        }
        let page = read(response);
        if page.is_maintenance() {
            return Some(self.obstacle(&page, status, ""));
        }
        Some(Error::unavailable(format!(
            "{}: the bank answers {status} during the sign-in; the page says: {}",
            self.service,
            page.quote(&self.secrets())
        )))
    }

    fn next(&self, response: &Response, state: &str) -> Result<Next, Error> {
        if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(Next::Stay);
        }
        let Some(location) = response.location().map(|location| self.secured(location)) else {
            return Err(Error::unavailable(format!(
                "{}: the bank redirects to an address that cannot be read; the next run tries again",
                self.service
            )));
        };
        if location.origin() != self.base.origin() {
            let host = location.host_str().unwrap_or("nowhere").to_owned();
            return Err(self.unknown(&format!("the bank redirects the sign-in to another address ({host})")));
        }
        self.token_in(&location, state).map(|token| token.map_or(Next::Go(location), Next::Token))
    }

    /// A server behind a gateway often writes `http:` for its own address; it is meant as the same origin, and nothing
    /// is ever sent in the clear.
    pub(super) fn secured(&self, mut url: Url) -> Url {
        let lapse = self.base.scheme() == "https" && url.scheme() == "http" && url.port().is_none();
        if lapse && url.host() == self.base.host() && url.set_scheme("https").is_err() {
            tracing::debug!("{}: a redirect could not be read as https", self.service);
        }
        url
    }

    /// The token that a redirect carries, in its fragment (where OAuth puts it) or its query.
    fn token_in(&self, location: &Url, state: &str) -> Result<Option<Token>, Error> {
        let parts = [location.fragment(), location.query()].into_iter().flatten();
        let pairs: Vec<_> = parts.flat_map(|part| url::form_urlencoded::parse(part.as_bytes())).collect();
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let Some(token) = value("access_token").filter(|token| !token.is_empty()) else {
            return match value("error").filter(|_| location.fragment().is_some()) {
                Some(refusal) => Err(self.unknown(&format!(
                    "the bank refuses access after the sign-in: {}",
                    quote(refusal, &self.secrets())
                ))),
                None => Ok(None),
            };
        };
        if value("state").is_some_and(|echo| echo != state) {
            return Err(Error::malformed(format!(
                "{}: the bank's answer belongs to another sign-in (its state differs)",
                self.service
            )));
        }
        let lasts = value("expires_in").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Ok(Some(Token { secret: SecretString::from(token), lasts }))
    }

    /// Why a page stands where the token should have come, after the password.
    pub(super) fn turned_away(&self, landed: &Landed) -> Error {
        let Landed { page, status, hint, .. } = landed;
        let (status, hint) = (*status, hint.as_str());
        let session_lost = status == 403 && page.obstacle(hint) != Cause::Locked && !page.login_form
            || page.login_form && ["expired", "timeout", "invalid_session"].contains(&hint);
        if session_lost {
            return Error::unavailable(format!(
                "{}: the bank lost the session during the sign-in (status {status}); the password is not sent again in \
                 this run; the page says: {}",
                self.service,
                page.quote(&self.secrets())
            ));
        }
        self.obstacle(page, status, hint)
    }

    fn obstacle(&self, page: &WebPage, status: u16, hint: &str) -> Error {
        let cause = match page.obstacle(hint) {
            Cause::UnknownPage if status == 401 => Cause::PasswordRefused,
            cause => cause,
        };
        let code = format!(
            "the bank asks for a second factor; give its code to `bankfeed login {}`, or sign in to My Fibank by hand, then \
             run `bankfeed sync --retry`",
            self.service
        );
        let what = match cause {
            Cause::PasswordRefused => {
                "the bank refuses the user name or password; correct them in the configuration (until then bankfeed does \
                 not try again, because a few more refusals would lock the login)"
            }
            Cause::Locked => "the login is locked; have the bank unlock it, then run `bankfeed sync --retry`",
            Cause::PasswordChange => {
                "the bank demands a new password; change it in My Fibank, then put the new one into the configuration"
            }
            Cause::SecondFactor => &code,
            Cause::Maintenance => "the bank is closed for maintenance; the next run tries again",
            _ => {
                "a page bankfeed does not know stands in the way of the sign-in; look at My Fibank in a browser, then run \
                 `bankfeed sync --retry`"
            }
        };
        let words = page.quote(&self.secrets());
        Error::attention(cause, format!("{}: {what} (status {status}); the page says: {words}", self.service))
    }

    fn unknown(&self, what: &str) -> Error {
        let remedy = "sign in to My Fibank in a browser to see what has changed, then run `bankfeed sync --retry`";
        Error::attention(Cause::UnknownPage, format!("{}: {what}; {remedy}", self.service))
    }

    pub(super) fn authorize(&self, state: &str) -> Url {
        let mut url = self.at("/oauth2-server/oauth/authorize");
        url.query_pairs_mut()
            .append_pair("response_type", "token")
            .append_pair("client_id", "E_BANK")
            .append_pair("redirect_uri", "/EBank/")
            .append_pair("scope", "E_BANK")
            .append_pair("state", state);
        url
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url.set_query(None);
        url
    }

    pub(super) fn secrets(&self) -> [&str; 2] {
        [self.username, self.password.expose_secret()]
    }
}

fn landed(response: &Response) -> Landing {
    let (url, status) = (response.url.clone(), response.status);
    Landing::Page(Box::new(Landed { url, status, page: read(response), hint: String::new() }))
}

fn read(response: &Response) -> WebPage {
    WebPage::read(&response.text())
}

/// What the address of a login page says about an error: `?error`, `?error=locked`; `None` where it says nothing.
fn login_error(url: &Url) -> Option<String> {
    if !url.path().ends_with("/login") {
        return None;
    }
    let mut hint = None;
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "error" => return Some(format!("error {value}").trim().to_owned()),
            "expired" | "timeout" | "invalid_session" => hint = Some(key.into_owned()),
            _ => {}
        }
    }
    hint
}

/// A random name for this sign-in, in the form the bank's page uses. It only ties the answer to our own request.
pub(super) fn random_uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Backoff, Kind, Shutdown};
    use crate::source::fibank::tests::Unnoted;

    /// Runs `check` on a door at this address; nothing is sent.
    fn at_door<T>(base: &str, check: impl FnOnce(&Door) -> T) -> T {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let context = Context::new(Shutdown::never(), Backoff::immediate());
        let client = Client::new("bank", context.requests.clone(), true, Duration::from_secs(1)).unwrap();
        let (base, password) = (base.parse().unwrap(), SecretString::from("s3cret!"));
        let door = Door {
            service: "bank",
            base: &base,
            client: &client,
            context: &context,
            attempts: &Unnoted,
            username: "ivan",
            password: &password,
        };
        check(&door)
    }

    fn next(door: &Door, location: &str) -> Result<Next, Error> {
        next_bytes(door, location.as_bytes())
    }

    fn next_bytes(door: &Door, location: &[u8]) -> Result<Next, Error> {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("location", reqwest::header::HeaderValue::from_bytes(location).unwrap());
        let url = door.at(LOGIN);
        door.next(&Response { status: 302, headers, url, body: Vec::new() }, "my-state")
    }

    #[test]
    fn a_token_is_found_in_fragment_and_query_of_relative_and_absolute_redirects() {
        at_door("https://my.fibank.bg", |door| {
            for location in [
                "/EBank/#access_token=t-1&token_type=bearer&state=my-state&expires_in=600",
                "https://my.fibank.bg/EBank/?x=1#token_type=bearer&access_token=t-1&expires_in=600",
                "http://my.fibank.bg/EBank/#access_token=t-1&expires_in=600",
                "../EBank/?access_token=t-1&state=my-state&expires_in=600",
            ] {
                let Ok(Next::Token(token)) = next(door, location) else { panic!("no token in {location}") };
                assert_eq!(token.secret.expose_secret(), "t-1");
                assert_eq!(token.lasts, Some(Duration::from_secs(600)));
            }
            let Ok(Next::Token(token)) = next(door, "/EBank/#access_token=t-1&expires_in=soon") else { panic!() };
            assert_eq!(token.lasts, None);
        });
    }

    #[test]
    fn a_redirect_is_read_as_browsers_do_whatever_its_bytes() {
        at_door("https://my.fibank.bg", |door| {
            for location in ["/EBank/?име=Иван#access_token=t-1", " ../EBank/?а=б в#ключ=я&access_token=t-1 "]
            {
                let Ok(Next::Token(token)) = next(door, location) else { panic!("no token in {location}") };
                assert_eq!(token.secret.expose_secret(), "t-1");
            }
            let Ok(Next::Token(_)) = next_bytes(door, b"/EBank/?x=\xc3\xf0\xe5#access_token=t-1") else { panic!() };
            let hint = |location: &[u8]| match next_bytes(door, location) {
                Ok(Next::Go(url)) => login_error(&url),
                _ => panic!("not followed"),
            };
            assert_eq!(hint("/oauth2-server/login?error=Грешна парола".as_bytes()), Some("error Грешна парола".into()));
            assert_eq!(hint("login?език=бг&error=".as_bytes()), Some("error".into()));
            assert!(
                hint(b"/oauth2-server/login?error=\xc3\xf0\xe5\xf8\xed\xe0").unwrap().starts_with("error \u{fffd}")
            );
            let error = next(door, "https://друг.example/login?error=Грешка").err().unwrap();
            assert_eq!(error.cause(), Some(Cause::UnknownPage));
        });
    }

    #[test]
    fn a_token_with_another_state_is_refused() {
        at_door("https://my.fibank.bg", |door| {
            let error = next(door, "/EBank/#access_token=t-1&state=other").err().unwrap();
            assert_eq!(error.kind, Kind::Malformed);
            assert!(!error.message.contains("t-1"));
        });
    }

    #[test]
    fn nothing_follows_to_another_origin() {
        at_door("https://my.fibank.bg", |door| {
            for location in [
                "https://my.fibank.bg.example.com/oauth2-server/login?code=t-1",
                "//elsewhere.example.com/#access_token=t-1",
                "https://my.fibank.bg:8443/EBank/",
                "http://my.fibank.bg:8080/EBank/",
                "javascript:alert(1)",
            ] {
                let error = next(door, location).err().unwrap();
                assert_eq!(error.cause(), Some(Cause::UnknownPage), "{location}");
                assert!(!error.message.contains("t-1"), "{error}");
            }
            let Ok(Next::Go(url)) = next(door, "http://my.fibank.bg/oauth2-server/oauth/authorize?a=b") else {
                panic!("not followed")
            };
            assert_eq!(url.as_str(), "https://my.fibank.bg/oauth2-server/oauth/authorize?a=b");
        });
    }

    #[test]
    fn an_oauth_refusal_in_the_fragment_is_told() {
        at_door("https://my.fibank.bg", |door| {
            let error = next(door, "/EBank/#error=access_denied&state=my-state").err().unwrap();
            assert!(error.message.contains("access_denied"), "{error}");
        });
    }

    #[test]
    fn a_login_address_tells_what_it_tells() {
        let hint = |text: &str| login_error(&Url::parse("https://bank/").unwrap().join(text).unwrap());
        assert_eq!(hint("/oauth2-server/login?error"), Some("error".into()));
        assert_eq!(hint("/oauth2-server/login?client_id=E_BANK&error=locked"), Some("error locked".into()));
        assert_eq!(hint("/oauth2-server/login?expired"), Some("expired".into()));
        assert_eq!(hint("/oauth2-server/login"), None);
        assert_eq!(hint("/oauth2-server/oauth/authorize?error=1"), None);
    }

    #[test]
    fn no_message_holds_user_name_or_password() {
        at_door("https://my.fibank.bg", |door| {
            let page = WebPage::read("<body>Здравей, IVAN! s3cret! е стара. Нещо ново</body>");
            let landed = Landed { url: door.at(LOGIN), status: 200, page, hint: String::new() };
            let error = door.turned_away(&landed);
            assert_eq!(error.cause(), Some(Cause::UnknownPage));
            assert!(error.message.contains("Нещо ново"), "{error}");
            assert!(!error.message.to_lowercase().contains("ivan") && !error.message.contains("s3cret"), "{error}");
        });
    }

    #[test]
    fn names_of_sign_ins_are_random_uuids() {
        let (one, other) = (random_uuid(), random_uuid());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!((one.as_bytes()[14], one.matches('-').count()), (b'4', 4));
    }
}
