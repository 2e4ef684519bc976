//! The simulated service at its socket: tokens, permissions, quotas, and the way from a request to its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::request::Parts;
use axum::http::{Request, Response, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::api::{self, Manner};
use super::mask::Mask;
use super::method::{self, Call};
use super::model::Spreadsheet;
use super::read::text;
use super::refusal::Refusal;
use super::token::{self, Token};
use super::{Access, wire};
use crate::simulator::lock;

/// A body larger than this is refused. No hard limit is documented; 9 MB was accepted.
const PAYLOAD_LIMIT: usize = 10 * 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// A spreadsheet and the service account's rights in it.
pub(super) struct Held {
    /// The spreadsheet's state.
    pub book: Spreadsheet,
    /// The service account's rights.
    pub access: Access,
    /// True if the spreadsheet was made through the API, so that a `drive.file` token sees it.
    pub own: bool,
}

/// Everything the service knows.
pub(super) struct State {
    /// The service's address, without a final slash.
    pub url: String,
    /// The service account.
    pub email: String,
    /// The spreadsheets by id.
    pub books: HashMap<String, Held>,
    /// Sign-ins of people.
    pub logins: super::login::Logins,
    /// Tokens handed out.
    pub tokens: HashMap<String, Token>,
    /// Reads and writes, each, that one minute allows.
    pub quota: Option<u32>,
    /// True if the API is turned off for the project.
    pub disabled: bool,
    /// True if errors carry the list that bodies of 2017 to 2020 had, when `alt=json` is sent.
    pub old_errors: bool,
    /// Differences between years.
    pub manner: Manner,
    /// Times of the reads and the writes of the last minute.
    recent: [VecDeque<Instant>; 2],
    /// Counts ids and tokens made.
    pub made: u64,
}

impl State {
    pub fn new(email: &str) -> State {
        State {
            url: String::new(),
            email: email.to_owned(),
            books: HashMap::new(),
            logins: Default::default(),
            tokens: HashMap::new(),
            quota: Some(60),
            disabled: false,
            old_errors: false,
            manner: Manner { wording: super::requests::Wording::default(), comment_state: true },
            recent: [VecDeque::new(), VecDeque::new()],
            made: 0,
        }
    }

    /// A new id of the usual form, the same in every run.
    pub fn new_id(&mut self) -> String {
        self.made += 1;
        format!("1Simulated{:034}", self.made)
    }

    /// Takes a spreadsheet in, shared with the service account as editor.
    pub fn hold(&mut self, book: Spreadsheet, own: bool) {
        self.books.insert(book.id.clone(), Held { book, access: Access::Editor, own });
    }

    /// Counts a request against the quota. A window of any 60 seconds counts: the real service's windows are not known
    /// to start where a client thinks, so this is the strictest reading.
    pub fn spend(&mut self, write: bool, now: Instant) -> Result<(), Refusal> {
        let Some(limit) = self.quota else { return Ok(()) };
        let recent = &mut self.recent[usize::from(write)];
        while recent.front().is_some_and(|first| now.duration_since(*first) >= MINUTE) {
            recent.pop_front();
        }
        if recent.len() >= limit as usize {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            return Err(wire::over_quota(write, limit, seconds - seconds % 60));
        }
        recent.push_back(now);
        Ok(())
    }

    /// Resets the count of requests.
    pub fn refill(&mut self) {
        self.recent.iter_mut().for_each(VecDeque::clear);
    }

    fn token(&self, parts: &Parts) -> Result<&Token, Refusal> {
        let Some(sent) = parts.headers.get(header::AUTHORIZATION) else { return Err(wire::no_token()) };
        let bearer = sent.to_str().ok().and_then(|sent| sent.strip_prefix("Bearer "));
        let token = bearer.and_then(|bearer| self.tokens.get(bearer));
        token.filter(|token| SystemTime::now() < token.until).ok_or_else(Refusal::unauthenticated)
    }

    fn permitted(&self, call: &Call, scopes: &[String]) -> Result<&Held, Refusal> {
        let held = self.books.get(&call.id).ok_or_else(Refusal::not_found)?;
        // Recorded: a token for its own files only does not see the others at all.
        if scopes.iter().all(|scope| scope == "drive.file") && !held.own {
            return Err(Refusal::not_found());
        }
        let allowed = match held.access {
            Access::Editor => true,
            Access::Viewer => !call.method.write,
            Access::None => false,
        };
        if allowed { Ok(held) } else { Err(Refusal::forbidden("The caller does not have permission")) }
    }

    /// Answers a call of the API.
    pub fn call(&mut self, parts: &Parts, call: &Call, bytes: &[u8]) -> Result<Value, Refusal> {
        let scopes = self.token(parts)?.scopes.clone();
        if self.disabled {
            return Err(wire::disabled());
        }
        let enough = |scope: &String| call.method.readonly || !scope.ends_with(".readonly");
        if !scopes.iter().any(enough) {
            return Err(wire::wrong_scope(call.method.name));
        }
        self.spend(call.method.write, Instant::now())?;
        if bytes.len() > PAYLOAD_LIMIT {
            return Err(format!("Request payload size exceeds the limit: {PAYLOAD_LIMIT} bytes.").into());
        }
        let parameters = method::parameters(call.method, parts.uri.query().unwrap_or(""))?;
        let mask = parameters.get("fields").and_then(|all| all.last()).filter(|fields| !fields.is_empty());
        let mask = mask.map(|fields| Mask::parse(fields, call.method.answer).map_err(|path| bad_mask(&path)));
        let mask = mask.transpose()?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let body = method::body(call.method, content_type, bytes)?;
        let answer = if call.method.name == "CreateSpreadsheet" {
            let id = self.new_id();
            let book = api::create(&id, &body)?;
            let answer = api::overview(&book);
            self.hold(book, true);
            answer
        } else {
            let held = self.permitted(call, &scopes)?;
            let request =
                api::Request { call, parameters: &parameters, body: &body, mask: mask.as_ref(), manner: self.manner };
            let (answer, after) = api::run(&held.book, &request)?;
            if let (Some(after), Some(held)) = (after, self.books.get_mut(&call.id)) {
                held.book = after;
            }
            answer
        };
        Ok(match &mask {
            Some(mask) => mask.project(answer),
            None => answer,
        })
    }

    fn grant(&mut self, parts: &Parts, form: &str) -> Result<Value, token::Refused> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        // A client behind a forwarded port knows the endpoint by another name; and Google's own libraries name the
        // well-known endpoint as audience, also for a request to another address.
        let audiences = [
            format!("{}/token", self.url),
            format!("http://{host}/token"),
            "https://oauth2.googleapis.com/token".to_owned(),
        ];
        let (token, refresh) = match self.logins.grant(form) {
            Some(granted) => {
                let scopes = vec!["spreadsheets".to_owned()];
                (Token { scopes, until: SystemTime::now() + Duration::from_secs(3599) }, granted?)
            }
            None => (token::grant(form, &self.email, &audiences, SystemTime::now())?, None),
        };
        self.made += 1;
        let name = format!("ya29.simulated-{:08}", self.made);
        self.tokens.insert(name.clone(), token);
        let mut answer = json!({ "access_token": name, "expires_in": 3599, "token_type": "Bearer" });
        if let Some(refresh) = refresh {
            answer["refresh_token"] = refresh.into();
        }
        Ok(answer)
    }
}

/// Answers every request to the simulated host.
pub(super) async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path();
    if path == "/token" && parts.method == "POST" {
        return match lock(&state).grant(&parts, &String::from_utf8_lossy(&bytes)) {
            Ok(token) => wire::json_answer(200, &token, true),
            Err(refused) => wire::json_answer(400, &refused.body(), true),
        };
    }
    if path == "/auth" && parts.method == "GET" {
        return match lock(&state).logins.authorize(parts.uri.query().unwrap_or("")) {
            Ok(back) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = crate::simulator::status(302);
                back.parse().into_iter().for_each(|back| drop(answer.headers_mut().insert(header::LOCATION, back)));
                answer
            }
            Err(why) => wire::json_answer(400, &json!({ "error": why }), true),
        };
    }
    if parts.method == "POST" && path.starts_with("/simulator/") {
        return steer(&mut lock(&state), path, &bytes);
    }
    let Some(call) = Call::find(parts.method.as_str(), path) else { return wire::no_such_page(path) };
    let query = parts.uri.query().unwrap_or("");
    let pretty = !query.split('&').any(|pair| pair.eq_ignore_ascii_case("prettyPrint=false"));
    let mut state = lock(&state);
    match state.call(&parts, &call, &bytes) {
        Ok(body) => wire::json_answer(200, &body, pretty),
        Err(refusal) => {
            let old_list = state.old_errors && query.split('&').any(|pair| pair == "alt=json");
            wire::json_answer(refusal.code, &refusal.body(old_list), pretty)
        }
    }
}

/// Controls for programs that cannot use the handle. **No part of the real API.**
///
/// `POST /simulator/spreadsheets` with `{"id", "title", "access": "editor" | "viewer" | "none"}` makes (or empties) a
/// spreadsheet. `POST /simulator/settings` takes any of `{"quota": 60 | null, "oldErrors", "commentState",
/// "namedRangeColon", "disabled"}`.
fn steer(state: &mut State, path: &str, bytes: &[u8]) -> Response<Body> {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let switch = |name: &str, now: bool| body.get(name).and_then(Value::as_bool).unwrap_or(now);
    match path {
        "/simulator/spreadsheets" => {
            let id = match text(&body, "id") {
                "" => state.new_id(),
                id => id.to_owned(),
            };
            state.hold(Spreadsheet::new(&id, text(&body, "title")), false);
            let access = match text(&body, "access") {
                "none" => Access::None,
                "viewer" => Access::Viewer,
                _ => Access::Editor,
            };
            if let Some(held) = state.books.get_mut(&id) {
                held.access = access;
            }
            wire::json_answer(200, &json!({ "id": id }), true)
        }
        "/simulator/settings" => {
            if let Some(quota) = body.get("quota") {
                state.quota = quota.as_u64().and_then(|quota| u32::try_from(quota).ok());
                state.refill();
            }
            state.old_errors = switch("oldErrors", state.old_errors);
            state.disabled = switch("disabled", state.disabled);
            state.manner.comment_state = switch("commentState", state.manner.comment_state);
            state.manner.wording.without_colon = !switch("namedRangeColon", !state.manner.wording.without_colon);
            wire::json_answer(200, &json!({}), true)
        }
        _ => wire::no_such_page(path),
    }
}

fn bad_mask(path: &str) -> Refusal {
    let text = format!("Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'.");
    let mut refusal = Refusal::fields(vec![(path.to_owned(), text)]);
    refusal.message = "Request contains an invalid argument.".to_owned();
    refusal
}
