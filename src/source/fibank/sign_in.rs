//! The bank's door: from a user name and a password to an access token.
//!
//! Promises: the password leaves exactly once per call of [`Door::enter`], only for the configured origin, and not
//! before it is noted ([`Attempts`]); reads before and after it are repeated when the bank is down, the password never
//! is. Obstacles are told apart ([`Cause`]) and reported with the page's own words, without user name and password.
//!
//! The token arrives in the fragment of a redirect, so redirects are followed by hand. Every request of the short way
//! counts against the owner's patience with the bank: authorize (which leads to the login page), certificates,
//! password, authorize. `/EBank/` itself, where the last redirect points, is not fetched.

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

/// The login and the connection of a sign-in.
pub(super) struct Door<'a> {
    /// The entry's name, for messages.
    pub service: &'a str,
    /// The bank's origin.
    pub base: &'a Url,
    /// A client with an empty cookie jar.
    pub client: &'a Client,
    /// Patience and stop signal.
    pub context: &'a Context,
    /// Notes passwords and codes before they leave.
    pub attempts: &'a dyn Attempts,
    /// Login name.
    pub username: &'a str,
    /// Password.
    pub password: &'a SecretString,
}

/// The bank's answer to the right password.
pub(super) struct Token {
    /// The bearer token.
    pub secret: SecretString,
    /// The lifetime that the bank states.
    pub lasts: Option<Duration>,
}

/// The end of a walk along redirects.
pub(super) enum WalkEnd {
    Token(Token),
    Page(Box<EndPage>),
}

/// A page at the end of a walk.
pub(super) struct EndPage {
    pub url: Url,
    pub status: u16,
    pub page: WebPage,
    /// The error that the address of the page tells.
    pub hint: String,
}

/// The step that an answer leads to.
enum Next {
    Token(Token),
    Go(Url),
    Stay,
}

impl Door<'_> {
    /// Signs in.
    pub async fn enter(&self) -> Result<Token, Error> {
        match self.knock(&random_uuid()).await? {
            WalkEnd::Token(token) => Ok(token),
            WalkEnd::Page(end_page) => Err(self.turned_away(&end_page)),
        }
    }

    /// Signs in as far as user name and password lead.
    pub(super) async fn knock(&self, state: &str) -> Result<WalkEnd, Error> {
        let csrf = match self.login_page(state).await? {
            WalkEnd::Token(token) => return Ok(WalkEnd::Token(token)),
            WalkEnd::Page(end_page) => match &end_page.page.csrf {
                Some(csrf) => csrf.clone(),
                None => return Err(self.obstacle(&end_page.page, end_page.status, "")),
            },
        };
        self.ask_for_certificates().await?;
        self.give_password(&csrf, state).await
    }

    /// The page with the form's token: straight from the authorize address, which remembers the request in the session
    /// and leads on to the login page; else the way the bank's own page goes, by the login page first.
    async fn login_page(&self, state: &str) -> Result<WalkEnd, Error> {
        let end = self.walk(self.authorize(state), state).await?;
        match &end {
            WalkEnd::Token(_) => return Ok(end),
            WalkEnd::Page(end_page)
                if end_page.page.csrf.is_some() || end_page.page.is_maintenance() || end_page.page.is_unread() =>
            {
                return Ok(end);
            }
            WalkEnd::Page(_) => {}
        }
        let mut login = self.at(LOGIN);
        login.query_pairs_mut().append_pair("client_id", "E_BANK");
        self.walk(login, state).await?;
        self.walk(self.authorize(state), state).await
    }

    /// Asks for the login's certificates between user name and password, as the bank's page does. The answer is not
    /// used, but the bank may insist on the question; a refusal here is no reason to stay outside.
    async fn ask_for_certificates(&self) -> Result<(), Error> {
        let mut url = self.at("/oauth2-server/api/v1/sywscertificate/fnGetCertsForLogin");
        url.query_pairs_mut().append_pair("client_id", "E_BANK").append_pair("userName", self.username);
        self.get(&url).await.map(|_| ())
    }

    /// Sends the password, once. From here on an answer that is lost or unclear ends the sign-in.
    async fn give_password(&self, csrf: &str, state: &str) -> Result<WalkEnd, Error> {
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

    /// Posts a form with a password or a code, once.
    pub(super) async fn give(
        &self,
        to: Url,
        form: &[(&str, &str)],
        what: Attempt,
        state: &str,
    ) -> Result<WalkEnd, Error> {
        if self.context.shutdown.requested() {
            return Err(Error::stopped());
        }
        self.attempts.begin(what)?;
        let end = self.post(to, form, what, state).await.map_err(|error| match error.cause() {
            Some(_) => error,
            None => Error {
                message: format!("{} (after the {what} was sent; it is not sent again in this run)", error.message),
                ..error
            },
        })?;
        match &end {
            WalkEnd::Token(_) => self.attempts.admitted()?,
            // A page that is none of the bank's answers leaves open whether the bank has looked at what was sent.
            WalkEnd::Page(end_page) if self.turned_away(end_page).cause().is_some_and(Cause::blocks_schedule) => {
                self.attempts.answered(what)?;
            }
            WalkEnd::Page(_) => {}
        }
        Ok(end)
    }

    async fn post(&self, to: Url, form: &[(&str, &str)], what: Attempt, state: &str) -> Result<WalkEnd, Error> {
        let request = self.client.request(Method::POST, to).header("User-Agent", USER_AGENT).form(form);
        let response = self.send(request).await?;
        if let Some(error) = self.down(&response) {
            return Err(error);
        }
        if matches!(response.status, 307 | 308) {
            // Such a redirect would repeat the secret at another address.
            return Err(self.unknown(&format!("the bank redirects the {what} to another address")));
        }
        match self.next(&response, state)? {
            Next::Token(token) => Ok(WalkEnd::Token(token)),
            Next::Stay => Ok(end_page(&response)),
            Next::Go(url) => self.after_password(url, state).await,
        }
    }

    async fn after_password(&self, url: Url, state: &str) -> Result<WalkEnd, Error> {
        let hint = login_error(&url);
        match (self.walk(url.clone(), state).await, hint) {
            (Ok(WalkEnd::Page(end_page)), hint) => {
                Ok(WalkEnd::Page(Box::new(EndPage { hint: hint.unwrap_or_default(), ..*end_page })))
            }
            // The address alone tells the refusal: an unreadable page does not make another try worth while.
            (Err(_), Some(hint)) if hint.starts_with("error") => {
                Ok(WalkEnd::Page(Box::new(EndPage { url, status: 200, page: WebPage::bare_login_form(), hint })))
            }
            (other, _) => other,
        }
    }

    /// Follows redirects from `url` to a token or to a page. Reads only, so each step may be repeated.
    pub(super) async fn walk(&self, mut url: Url, state: &str) -> Result<WalkEnd, Error> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.get(&url).await?;
            match self.next(&response, state)? {
                Next::Token(token) => return Ok(WalkEnd::Token(token)),
                Next::Go(next) => url = next,
                Next::Stay => return Ok(end_page(&response)),
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

fn end_page(response: &Response) -> WalkEnd {
    let (url, status) = (response.url.clone(), response.status);
    WalkEnd::Page(Box::new(EndPage { url, status, page: read(response), hint: String::new() }))
}

pub(super) fn read(response: &Response) -> WebPage {
    WebPage::read(&response.text())
}

/// The error in the address of a login page: `?error`, `?error=locked`; `None` where there is none.
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

/// A random name for this sign-in, in the form the bank's page uses. The name only ties the answer to our own request.
pub(super) fn random_uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Backoff, Kind, Shutdown};
    use crate::source::testing::Unnoted;

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
            let end_page = EndPage { url: door.at(LOGIN), status: 200, page, hint: String::new() };
            let error = door.turned_away(&end_page);
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
