//! `/oauth2-server`: the way from a login page to a token, as Spring Security walks it: a session cookie, a `_csrf`
//! value per session, the interrupted `authorize` remembered and taken up again after the password.

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use chrono::DateTime;
use url::form_urlencoded;

use super::options::PageStyle;
use super::{Asked, Door, State, pages, uuid};

/// The server's memory of a browser.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    csrf: String,
    /// The interrupted request, path and query.
    saved: Option<String>,
    signed_in: bool,
    saw_login_page: bool,
    asked_certificates: bool,
    /// The password was right; the step of the code that is waited for, and wrong ones so far.
    waits_for_code: Option<(String, u32)>,
}

const FORM: [&str; 8] = ["username", "password", "system", "client_id", "lang", "time", "_csrf", "sig"];

impl State {
    pub(super) fn login_page(&mut self, asked: &Asked) -> Response<Body> {
        self.render_login(asked, asked.parameter("error"))
    }

    fn render_login(&mut self, asked: &Asked, error: Option<&str>) -> Response<Body> {
        let message = error.map(|error| if error == "locked" { pages::LOCKED } else { pages::WRONG_PASSWORD });
        let (id, new) = self.session(asked);
        let style = self.next_style();
        let Some(session) = self.sessions.get_mut(&id) else { return pages::html(500, pages::FAILURE) };
        session.saw_login_page = true;
        let page = pages::html(200, pages::login(style, &session.csrf, message));
        with_session(page, new.then_some(&id))
    }

    /// A browser that is not signed in is sent to the login page, and its request remembered; a signed-in one gets the
    /// token.
    pub(super) fn authorize(&mut self, asked: &Asked) -> Response<Body> {
        let (id, new) = self.session(asked);
        let Some(session) = self.sessions.get_mut(&id) else { return pages::html(500, pages::FAILURE) };
        if session.signed_in {
            return self.grant(asked);
        }
        if self.bank.options.login_page_first && !session.saw_login_page {
            return pages::html(403, pages::FORBIDDEN);
        }
        session.saved = Some(asked.target.clone());
        let answer = pages::redirect(&self.location(asked, "/oauth2-server/login?client_id=E_BANK"));
        with_session(answer, new.then_some(&id))
    }

    pub(super) fn certificates(&mut self, asked: &Asked) -> Response<Body> {
        if asked.parameter("userName").is_none_or(str::is_empty) {
            return pages::json(400, r#"{"status":400,"error":"Bad Request","message":"userName"}"#);
        }
        let (id, new) = self.session(asked);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.asked_certificates = true;
        }
        let mut answer = with_session(pages::json(200, "[]"), new.then_some(&id));
        answer
            .headers_mut()
            .append("set-cookie", HeaderValue::from_static("BIGipServerebank=1677787402.36895; path=/"));
        answer
    }

    pub(super) fn login(&mut self, asked: &Asked) -> Response<Body> {
        self.login_attempts += 1;
        let form = asked.form();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let id = asked.cookie("JSESSIONID").unwrap_or_default().to_owned();
        let token = field("_csrf").or(asked.header("x-csrf-token"));
        let Some(session) = self.sessions.get(&id).filter(|session| token == Some(session.csrf.as_str())) else {
            return pages::html(403, pages::FORBIDDEN);
        };
        let options = &self.bank.options;
        let complete = FORM.iter().all(|name| field(name).is_some())
            && field("client_id") == Some("E_BANK")
            && field("time").is_some_and(well_formed);
        if options.form_complete && !complete || options.certs_required && !session.asked_certificates {
            return pages::html(400, pages::BAD_REQUEST);
        }
        if self.bank.door == Door::Locked {
            return self.refused(asked, "locked");
        }
        if field("username") != Some(&self.bank.username) || field("password") != Some(&self.bank.password) {
            return self.refuse(asked, field("username") == Some(&self.bank.username));
        }
        self.admit(asked, &id)
    }

    /// Refuses the login. A wrong password counts against the login; a wrong user name counts against no login.
    fn refuse(&mut self, asked: &Asked, known: bool) -> Response<Body> {
        self.wrong += u32::from(known);
        let locked = known && self.wrong >= self.bank.options.lock_after;
        if locked {
            self.bank.door = Door::Locked;
        }
        self.refused(asked, if locked { "locked" } else { "" })
    }

    fn refused(&mut self, asked: &Asked, error: &str) -> Response<Body> {
        if self.bank.options.refuse_in_place {
            return self.render_login(asked, Some(error));
        }
        let mut location = self.location(asked, &format!("/oauth2-server/login?error={error}"));
        location.extend_from_slice(&self.bank.options.refusal_words);
        pages::redirect(&location)
    }

    /// Goes on after the right password: to the obstacle at the door, or else to the remembered request, in a session
    /// with a new name.
    fn admit(&mut self, asked: &Asked, id: &str) -> Response<Body> {
        self.wrong = 0;
        match &self.bank.door {
            Door::SecondFactor => return pages::html(200, pages::SECOND_FACTOR),
            Door::Code { .. } => {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.waits_for_code = Some((uuid(), 0));
                }
                return pages::redirect(&self.location(asked, "/oauth2-server/confirm?lang=bg"));
            }
            Door::Unknown(page) => return pages::html(200, page.clone()),
            Door::PasswordChange => return pages::redirect(&self.location(asked, "/oauth2-server/changePassword")),
            Door::Open | Door::Locked | Door::Maintenance => {}
        }
        self.let_in(asked, id)
    }

    /// The page that asks for the code, for a browser that has given the password.
    pub(super) fn code_page(&mut self, asked: &Asked, message: Option<&str>) -> Response<Body> {
        let session = asked.cookie("JSESSIONID").and_then(|id| self.sessions.get(id));
        match session.and_then(|session| Some((session, session.waits_for_code.as_ref()?))) {
            Some((session, (step, _))) => pages::html(200, pages::code(&session.csrf, step, message)),
            None => pages::redirect(&self.location(asked, "/oauth2-server/login")),
        }
    }

    /// A code with everything that the form carries; each wrong one makes a new step, and too many end the sign-in.
    pub(super) fn take_code(&mut self, asked: &Asked) -> Response<Body> {
        self.codes += 1;
        let form = asked.form();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let id = asked.cookie("JSESSIONID").unwrap_or_default().to_owned();
        let Door::Code { code, tries } = self.bank.door.clone() else { return pages::html(404, pages::NOT_FOUND) };
        let Some(session) = self.sessions.get_mut(&id).filter(|session| field("_csrf") == Some(&session.csrf)) else {
            return pages::html(403, pages::FORBIDDEN);
        };
        let Some((step, wrong)) = &mut session.waits_for_code else { return pages::html(403, pages::FORBIDDEN) };
        if field("step") != Some(step) || field("_eventId") != Some("confirm") || form.len() != 4 {
            return pages::html(400, pages::BAD_REQUEST);
        }
        if field("otp") == Some(&code) {
            return self.let_in(asked, &id);
        }
        (*step, *wrong) = (uuid(), *wrong + 1);
        if *wrong < tries {
            return self.code_page(asked, Some(pages::WRONG_CODE));
        }
        self.sessions.remove(&id);
        pages::redirect(&self.location(asked, "/oauth2-server/login?error=code"))
    }

    fn let_in(&mut self, asked: &Asked, id: &str) -> Response<Body> {
        let Some(old) = self.sessions.remove(id) else { return pages::html(403, pages::FORBIDDEN) };
        let next = match (&self.bank.options.foreign_redirect, self.bank.options.extra_redirect) {
            (Some(elsewhere), _) => elsewhere.clone().into_bytes(),
            (None, true) => self.location(asked, "/oauth2-server/continue"),
            (None, false) => self.location(asked, old.saved.as_deref().unwrap_or("/EBank/")),
        };
        let fresh = session_id();
        self.sessions.insert(fresh.clone(), Session { csrf: uuid(), signed_in: true, waits_for_code: None, ..old });
        with_session(pages::redirect(&next), Some(&fresh))
    }

    /// The one redirect more.
    pub(super) fn go_on(&mut self, asked: &Asked) -> Response<Body> {
        let session = asked.cookie("JSESSIONID").and_then(|id| self.sessions.get(id));
        let next = match session.filter(|session| session.signed_in) {
            None => "/oauth2-server/login",
            Some(session) => session.saved.as_deref().unwrap_or("/EBank/"),
        };
        pages::redirect(&self.location(asked, next))
    }

    fn grant(&mut self, asked: &Asked) -> Response<Body> {
        let expected =
            [("response_type", "token"), ("client_id", "E_BANK"), ("redirect_uri", "/EBank/"), ("scope", "E_BANK")];
        if expected.iter().any(|(name, value)| asked.parameter(name) != Some(value)) {
            return pages::html(400, pages::BAD_REQUEST);
        }
        self.sign_ins += 1;
        if self.bank.options.single_session {
            self.tokens.clear();
        }
        let token = self.issue_token();
        let options = &self.bank.options;
        let mut answer = form_urlencoded::Serializer::new(String::new());
        answer.append_pair("access_token", &token).append_pair("token_type", "bearer");
        if let Some(state) = asked.parameter("state").filter(|_| options.state_echoed) {
            answer
                .append_pair("state", if options.wrong_state { "5f0c0ffe-0000-4000-8000-000000000000" } else { state });
        }
        if let Some(seconds) = options.expires_in {
            answer.append_pair("expires_in", &seconds.to_string());
        }
        let mark = if options.token_in_query { '?' } else { '#' };
        pages::redirect(&self.location(asked, &format!("/EBank/{mark}{}", answer.finish())))
    }

    /// The name of the browser's session, or a new one, with true for a new one.
    fn session(&mut self, asked: &Asked) -> (String, bool) {
        if let Some(id) = asked.cookie("JSESSIONID").filter(|id| self.sessions.contains_key(*id)) {
            return (id.to_owned(), false);
        }
        let id = session_id();
        self.sessions.insert(id.clone(), Session { csrf: uuid(), ..Session::default() });
        (id, true)
    }

    fn location(&self, asked: &Asked, path: &str) -> Vec<u8> {
        let options = &self.bank.options;
        let (path, fragment) = path.find('#').map_or((path, ""), |at| path.split_at(at));
        let host = asked.header("host").unwrap_or("localhost");
        let mut location =
            if options.relative_locations { path.to_owned() } else { format!("http://{host}{path}") }.into_bytes();
        if !options.raw_words.is_empty() {
            location.push(if path.contains('?') { b'&' } else { b'?' });
            location.extend_from_slice(&options.raw_words);
        }
        location.extend_from_slice(fragment.as_bytes());
        location
    }

    pub(super) fn next_style(&mut self) -> PageStyle {
        let style = PageStyle::ALL[self.pages % PageStyle::ALL.len()];
        self.pages += 1;
        self.bank.options.page_style.unwrap_or(style)
    }
}

fn session_id() -> String {
    format!("{:032X}", fastrand::u128(..))
}

fn with_session(mut answer: Response<Body>, id: Option<&String>) -> Response<Body> {
    let cookie = id.and_then(|id| format!("JSESSIONID={id}; Path=/oauth2-server; HttpOnly").parse().ok());
    if let Some(cookie) = cookie {
        answer.headers_mut().append("set-cookie", cookie);
    }
    answer
}

/// `2026-11-22T03:00:00+0200`, the one form the page sends; a `+` that was not encoded has become a space by now.
fn well_formed(time: &str) -> bool {
    time.len() == 24 && DateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%z").is_ok()
}
