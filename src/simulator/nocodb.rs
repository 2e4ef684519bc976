//! The simulated NocoDB: bases, tables and records behind version 3 of its API, as a server of version 0.301 answers.
//!
//! The simulator answers according to recorded traffic and to what was seen live; on points where both are silent it takes
//! the reading that is hardest on a client, and a comment says so in place. State lives in memory. The simulator uses no
//! code of the NocoDB destination. Links, attachments, sorting and versions 1 and 2 of the API are not simulated, but for the
//! question about the token's user.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use serde_json::{Value, json};

use super::{Server, lock};

mod cells;
mod data;
mod filter;
mod meta;
mod model;
mod refusal;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use model::{Base, Field, Record, Table};

use model::Ids;
use refusal::Refusal;

/// The roles of a token's user in every base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// No right at all.
    NoAccess,
    /// See records.
    Viewer,
    /// Change records.
    Editor,
    /// Change tables and fields as well.
    Creator,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::NoAccess => "no-access",
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Creator => "creator",
        }
    }
}

/// A running simulated NocoDB. Clones are the same service.
#[derive(Clone)]
pub struct Nocodb {
    /// The server, with its address, its log of requests and its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    bases: Vec<Base>,
    tokens: Vec<(String, Role)>,
    ids: Ids,
    options: Options,
}

/// The properties in which servers differ.
#[derive(Clone, Copy)]
struct Options {
    /// The store enforces unique fields, as PostgreSQL does and SQLite does not.
    enforces_unique: bool,
    /// Rows in one request.
    most_rows: usize,
    /// Rows on one page of a list.
    most_listed: usize,
}

/// A call as it arrives.
struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    host: String,
    body: Bytes,
}

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Result<Value, Refusal> {
        // The words of the parser behind the real server for a body that ends early; it has others for other mistakes.
        serde_json::from_slice(&self.body).map_err(|_| Refusal::msg(400, "Unexpected end of JSON input"))
    }
}

impl Nocodb {
    /// Starts on a free loopback port, empty, with a store that enforces unique fields.
    pub async fn start() -> io::Result<Nocodb> {
        let options = Options { enforces_unique: true, most_rows: 10, most_listed: 1000 };
        let state = State { bases: Vec::new(), tokens: Vec::new(), ids: Ids::default(), options };
        let state = Arc::new(Mutex::new(state));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        Ok(Nocodb { server: Server::start(router).await?, state })
    }

    /// A new token of a creator.
    pub fn token(&self) -> String {
        self.token_with(Role::Creator)
    }

    /// A new token of a user with this role in every base.
    pub fn token_with(&self, role: Role) -> String {
        let mut state = lock(&self.state);
        let secret = state.ids.make("tok_");
        state.tokens.push((secret.clone(), role));
        secret
    }

    /// The owner revokes a token.
    pub fn revoke(&self, token: &str) {
        lock(&self.state).tokens.retain(|(known, _)| known != token);
    }

    /// The owner makes a base. Returns its id.
    pub fn create_base(&self, title: &str) -> String {
        let mut state = lock(&self.state);
        let id = state.ids.make("p");
        state.bases.push(Base { id: id.clone(), title: title.into(), tables: Vec::new() });
        id
    }

    /// Makes the store enforce unique fields (default), as PostgreSQL does and SQLite does not.
    pub fn enforce_unique(&self, on: bool) {
        lock(&self.state).options.enforces_unique = on;
    }

    /// The rows that a request may hold (default 10) and those that a page of a list gives at most (default 1000).
    pub fn limit_rows(&self, in_request: usize, listed: usize) {
        let mut state = lock(&self.state);
        (state.options.most_rows, state.options.most_listed) = (in_request, listed);
    }

    /// Looks at a base. The simulator stands still meanwhile: `look` must not call it. Panics where there is no such
    /// base.
    pub fn read<T>(&self, base: &str, look: impl FnOnce(&Base) -> T) -> T {
        let state = lock(&self.state);
        let found = state.bases.iter().find(|known| known.id == base);
        look(found.unwrap_or_else(|| panic!("no simulated base {base}")))
    }

    /// The owner acts in a base. The simulator stands still meanwhile: `change` must not call it. Panics where there is
    /// no such base.
    pub fn edit<T>(&self, base: &str, change: impl FnOnce(&mut Base) -> T) -> T {
        let mut state = lock(&self.state);
        let found = state.bases.iter_mut().find(|known| known.id == base);
        change(found.unwrap_or_else(|| panic!("no simulated base {base}")))
    }
}

impl State {
    fn answer(&mut self, call: &Call, token: Option<&str>) -> Result<Value, Refusal> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        if path == ["api", "v1", "health"] {
            return Ok(json!({ "message": "OK" }));
        }
        let ["api", "v1" | "v3", ..] = path.as_slice() else { return Err(unknown(call)) };
        let known = self.tokens.iter().find(|(secret, _)| Some(secret.as_str()) == token);
        let role = known.map(|(_, role)| *role).ok_or_else(Refusal::unauthenticated)?;
        match path.as_slice() {
            ["api", "v1", "auth", "user", "me"] => Ok(self.me(call, role)),
            ["api", "v3", "meta", "bases", base, rest @ ..] => {
                let at = self.base(base)?;
                meta::answer(&mut self.bases[at], &mut self.ids, call, role, rest)
            }
            ["api", "v3", "data", base, table, rest @ ..] => {
                let at = self.base(base)?;
                data::answer(&mut self.bases[at], self.options, call, role, table, rest)
            }
            _ => Err(unknown(call)),
        }
    }

    fn base(&self, id: &str) -> Result<usize, Refusal> {
        let at = self.bases.iter().position(|base| base.id == id);
        at.ok_or_else(|| Refusal::new(422, "ERR_BASE_NOT_FOUND", format!("Base '{id}' not found")))
    }

    /// The roles in a base are told where the base is named.
    fn me(&self, call: &Call, role: Role) -> Value {
        let named = call.query("base_id").is_some_and(|id| self.base(id).is_ok());
        let roles = if named { json!({ role.name(): true }) } else { Value::Null };
        json!({ "is_api_token": true, "email": "owner@example.com", "isAuthorized": true, "base_roles": roles })
    }
}

fn unknown(call: &Call) -> Refusal {
    Refusal::new(404, "NOT_FOUND", format!("Cannot {} /{}", call.method, call.path.join("/")))
}

/// Refuses an act that the role does not allow.
fn permit(role: Role, least: Role, act: &str) -> Result<(), Refusal> {
    if role >= least {
        return Ok(());
    }
    let text = format!("Forbidden - You do not have permission to {act} with the roles: {}.", role.name());
    Err(Refusal::new(403, "ERR_FORBIDDEN", text))
}

async fn serve(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // The limit of the HTTP parser behind the real server, for all headers together.
    let result = if uri.to_string().len() > 15_000 {
        Err(Refusal::empty(431))
    } else {
        let path = uri.path().trim_matches('/').split('/').map(str::to_owned).collect();
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let call = Call { method, path, query, host: text("host").unwrap_or_default().to_owned(), body };
        let token = text("xc-token").or_else(|| text("authorization").and_then(|value| value.strip_prefix("Bearer ")));
        lock(&state).answer(&call, token)
    };
    match result {
        Ok(value) => {
            let mut answer = Response::new(Body::from(value.to_string()));
            let kind = header::HeaderValue::from_static("application/json; charset=utf-8");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            answer
        }
        Err(refusal) => refusal.answer(),
    }
}
