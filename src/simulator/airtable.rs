//! The simulated Airtable: bases, tables and records behind the Web API, with its tokens, its refusals and its limits.
//!
//! The simulator answers according to the documentation and recorded traffic; on points where these are silent it takes
//! the reading that is hardest on a client, and a comment says so in place. State lives in memory. The simulator uses
//! no code of the Airtable destination. Paths under `/simulator` set the simulator up from outside (see `setup`) and
//! are no part of the real API.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::Value;

use super::{Server, lock};

mod call;
mod cells;
mod formula;
mod limits;
mod list;
mod model;
mod refusal;
mod schema;
mod setup;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod write;

pub use model::{Base, Field, Record, Table};
pub use refusal::{BAD_GATEWAY, RATE_LIMITED, RETRIABLE};

use call::Call;
use limits::Limits;
use model::Ids;
use refusal::Refusal;

/// The rights of a token's user in its bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See records.
    Read,
    /// See records and comment on them.
    Comment,
    /// Change records.
    Edit,
    /// Change tables and fields as well.
    Create,
}

/// Every scope this simulator knows.
pub const SCOPES: [&str; 5] =
    ["data.records:read", "data.records:write", "schema.bases:read", "schema.bases:write", "user.email:read"];

/// A running simulated Airtable. Clones are the same service.
#[derive(Clone)]
pub struct Airtable {
    /// The server, with its address, its log of requests and its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

struct Token {
    secret: String,
    scopes: Vec<String>,
    role: Role,
    /// Ids of the bases in the token's list; `None` means all.
    bases: Option<Vec<String>>,
}

struct State {
    bases: Vec<Base>,
    tokens: Vec<Token>,
    limits: Limits,
    iterators: VecDeque<list::Iterator>,
    ids: Ids,
    /// True for the error of 2022 about a missing table.
    old_errors: bool,
    /// True if lists without sort and view come in another order than that of the page.
    shuffled: bool,
}

impl Airtable {
    /// Starts on a free loopback port, empty, with the documented rate limit and no other.
    pub async fn start() -> io::Result<Airtable> {
        Airtable::start_on("127.0.0.1:0".parse().map_err(io::Error::other)?).await
    }

    /// Starts on this address.
    pub async fn start_on(address: SocketAddr) -> io::Result<Airtable> {
        let state = Arc::new(Mutex::new(State::new()));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        Ok(Airtable { server: Server::start_on(router, address).await?, state })
    }

    /// A new token with all scopes and the role creator.
    pub fn token(&self) -> String {
        self.token_with(&SCOPES, Role::Create)
    }

    /// A new token with these scopes and this role in every base.
    pub fn token_with(&self, scopes: &[&str], role: Role) -> String {
        let mut state = lock(&self.state);
        let secret = format!("{}.simulated", state.ids.make("pat"));
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        state.tokens.push(Token { secret: secret.clone(), scopes, role, bases: None });
        secret
    }

    /// Limits the token's list to these bases.
    pub fn limit_token(&self, token: &str, bases: &[&str]) {
        for known in lock(&self.state).tokens.iter_mut().filter(|known| known.secret == token) {
            known.bases = Some(bases.iter().map(|&base| base.to_owned()).collect());
        }
    }

    /// The owner revokes a token.
    pub fn revoke(&self, token: &str) {
        lock(&self.state).tokens.retain(|known| known.secret != token);
    }

    /// The owner makes a base; it is in the list of every token that was not limited. Returns its id.
    pub fn create_base(&self, name: &str) -> String {
        let mut state = lock(&self.state);
        let id = state.ids.make("app");
        state.bases.push(Base::new(&id, name));
        id
    }

    /// [`Airtable::create_base`] with an id from outside; an older base with this id is replaced.
    pub fn create_base_with_id(&self, id: &str, name: &str) {
        let mut state = lock(&self.state);
        state.bases.retain(|base| base.id != id);
        state.bases.push(Base::new(id, name));
    }

    /// The owner makes a table of (name, type) columns, the first of them primary. Returns its id. Panics where there
    /// is no such base.
    pub fn create_table(&self, base: &str, name: &str, fields: &[(&str, &str)]) -> String {
        self.edit(base, |base| base.add_table(name, fields))
    }

    /// Limits the calls that a base takes in a second (default 5); after too many, it refuses all for `penalty`
    /// (default 30 s). `None`: no limit.
    pub fn rate_limit(&self, per_second: Option<u32>, penalty: Duration) {
        lock(&self.state).limits.set_rate(per_second, penalty);
    }

    /// Limits the calls of the workspace in a month; `None` (default): no limit.
    pub fn monthly_limit(&self, calls: Option<u32>) {
        lock(&self.state).limits.monthly = calls;
    }

    /// Limits the records of a base over all tables; `None` (default): no limit.
    pub fn record_cap(&self, records: Option<usize>) {
        lock(&self.state).limits.records = records;
    }

    /// Calls counted in this month: all that carried a good token and were not refused by a 429.
    pub fn calls_this_month(&self) -> u32 {
        lock(&self.state).limits.spent
    }

    /// The first of the next month: the count starts again.
    pub fn start_month(&self) {
        lock(&self.state).limits.spent = 0;
    }

    /// Every offset given out so far has expired.
    pub fn expire_offsets(&self) {
        lock(&self.state).iterators.clear();
    }

    /// Gives lists without sort and view an order of their own, which the documentation allows (default: the order of
    /// the page).
    pub fn shuffle(&self, on: bool) {
        lock(&self.state).shuffled = on;
    }

    /// Answers a missing table with the 404 `TABLE_NOT_FOUND` of 2022 rather than the 403 documented today.
    pub fn old_errors(&self, on: bool) {
        lock(&self.state).old_errors = on;
    }

    /// Looks at a base. The simulator stands still meanwhile: `look` must not call it. Panics where there is no such
    /// base.
    pub fn read<T>(&self, base: &str, look: impl FnOnce(&Base) -> T) -> T {
        let state = lock(&self.state);
        let found = state.bases.iter().find(|known| known.id == base);
        look(found.unwrap_or_else(|| panic!("no simulated base {base}")))
    }

    /// The owner acts in a base. The simulator stands still meanwhile: `change` must not call it. Panics where there
    /// is no such base.
    pub fn edit<T>(&self, base: &str, change: impl FnOnce(&mut Base) -> T) -> T {
        let mut state = lock(&self.state);
        let found = state.bases.iter_mut().find(|known| known.id == base);
        change(found.unwrap_or_else(|| panic!("no simulated base {base}")))
    }
}

impl State {
    fn new() -> State {
        State {
            bases: Vec::new(),
            tokens: Vec::new(),
            limits: Limits::default(),
            iterators: VecDeque::new(),
            ids: Ids::new("airtable"),
            old_errors: false,
            shuffled: false,
        }
    }

    /// The position of the call's token in `tokens`.
    fn token(&self, call: &Call) -> Result<usize, Refusal> {
        let secret = call.token.as_deref().ok_or_else(Refusal::unauthenticated)?;
        self.tokens.iter().position(|known| known.secret == secret).ok_or_else(Refusal::unauthenticated)
    }

    /// The position of the base in `bases`, if the token may know of it.
    fn base(&self, token: usize, id: &str) -> Result<usize, Refusal> {
        let at = self.bases.iter().position(|base| base.id == id);
        let allowed = |id: &String| self.tokens[token].bases.as_ref().is_none_or(|list| list.contains(id));
        match at.filter(|at| allowed(&self.bases[*at].id)) {
            Some(at) => Ok(at),
            // In recordings a text that does not even look like an id of a base gets the bare 404.
            None if !well_formed(id, "app") => Err(Refusal::not_found()),
            None => Err(Refusal::forbidden_or_missing()),
        }
    }

    /// Refuses a call that the token or the user behind it may not make. The mapping of the two texts to the two cases
    /// is inferred: the long text speaks of the token.
    fn permit(&self, token: usize, scope: &str, role: Role) -> Result<(), Refusal> {
        let token = &self.tokens[token];
        if !token.scopes.iter().any(|known| known == scope) {
            return Err(Refusal::forbidden_or_missing());
        }
        if token.role < role { Err(Refusal::forbidden()) } else { Ok(()) }
    }

    /// Answers a call to the real API.
    fn answer(&mut self, call: &Call) -> Result<Value, Refusal> {
        let token = self.token(call)?;
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["v0", "meta", rest @ ..] => schema::answer(self, call, token, rest),
            ["v0", base, table, rest @ ..] => {
                let at = self.base(token, base)?;
                self.limits.admit(Some(base), true)?;
                self.records(call, token, at, table, rest)
            }
            _ => Err(Refusal::not_found()),
        }
    }

    /// Answers a call on a table's records.
    fn records(&mut self, call: &Call, token: usize, base: usize, name: &str, rest: &[&str]) -> Result<Value, Refusal> {
        let reading = call.method == Method::GET || rest == ["listRecords"];
        let (scope, role) =
            if reading { ("data.records:read", Role::Read) } else { ("data.records:write", Role::Edit) };
        self.permit(token, scope, role)?;
        let table = self.bases[base].tables.iter().position(|table| table.is(name));
        let table = table.ok_or_else(|| self.missing_table(base, name))?;
        match (call.method.as_str(), rest) {
            ("GET", []) | ("POST", ["listRecords"]) => list::list(self, call, base, table),
            ("GET", [record]) => list::one(self, call, base, table, record),
            _ => write::answer(&mut self.bases[base], call, table, rest, self.limits.records),
        }
    }

    fn missing_table(&self, base: usize, name: &str) -> Refusal {
        if !self.old_errors {
            return Refusal::forbidden_or_missing();
        }
        let text = format!("Could not find table {name} in application {}", self.bases[base].id);
        Refusal::new(404, "TABLE_NOT_FOUND", text)
    }
}

async fn serve(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let result = Call::read(method, &uri, &headers, body).and_then(|call| {
        let mut state = lock(&state);
        if call.path.first().is_some_and(|first| first == "simulator") {
            setup::answer(&mut state, &call)
        } else {
            state.answer(&call)
        }
    });
    match result {
        Ok(value) => {
            let mut answer = Response::new(Body::from(value.to_string()));
            let kind = axum::http::HeaderValue::from_static("application/json; charset=utf-8");
            answer.headers_mut().insert(axum::http::header::CONTENT_TYPE, kind);
            answer
        }
        Err(refusal) => refusal.answer(),
    }
}

/// True if `id` is a prefix and fourteen letters or digits.
fn well_formed(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| rest.len() == 14 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}
