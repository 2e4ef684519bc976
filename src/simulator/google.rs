//! Google, simulated: the token endpoint and Sheets API v4, as far as a strict client needs them.
//!
//! A simulated spreadsheet is a stateful model: batches are atomic, names are taken once, metadata follows its row,
//! quotas count. Bodies are checked against the API's own table of names and types before they are interpreted. Answers
//! follow recorded traffic if such exists; the others (appendCells, charts, the metadata replies, the answer to
//! `includeSpreadsheetInResponse`, the token endpoint) rest on the published description, and comments mark a refusal
//! whose words are a guess. This file is the handle that tests and `bankfeed demo` hold; `google/owner.rs` is the owner
//! at work in the page.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use serde_json::{Value, json};

use super::{Server, lock};

mod a1;
mod api;
mod cells;
mod copies;
mod dimension;
mod dimensions;
mod filters;
mod formula;
mod login;
mod mask;
mod metadata;
mod method;
mod model;
mod objects;
mod owner;
mod ranges;
mod read;
mod refusal;
mod render;
mod requests;
mod schema;
mod service;
mod sheets;
mod shown;
mod tables;
#[cfg(test)]
mod tests;
mod token;
mod values;
mod wire;

pub use a1::{Area, OPEN, column_name};
pub use copies::Copied;
pub use model::{
    Cell, CellValue, FilterView, Line, Location, Metadata, NamedRange, Protected, Row, Sheet, Spreadsheet,
};
use service::State;
pub use tables::Table;

/// The service account that spreadsheets are shared with.
const EMAIL: &str = "bankfeed@simulated-project.iam.gserviceaccount.com";

/// The service account's rights in a spreadsheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Editor,
    /// Read.
    Viewer,
    /// No access: the spreadsheet is not shared with the service account.
    None,
}

/// A running simulated Google.
#[derive(Clone)]
pub struct Google {
    /// The socket: its address, its log, its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Google {
    /// Starts on a free loopback port.
    pub async fn start() -> io::Result<Google> {
        Google::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts on this address.
    pub async fn start_on(address: SocketAddr) -> io::Result<Google> {
        let state = Arc::new(Mutex::new(State::new(EMAIL)));
        let router = Router::new().fallback(service::answer).with_state(state.clone());
        let server = Server::start_on(router, address).await?;
        lock(&state).url = server.url();
        Ok(Google { server, state })
    }

    /// The service account's key file, as text. The key is published and opens no real account.
    pub fn service_account_key(&self) -> String {
        let key = json!({
            "type": "service_account",
            "project_id": "simulated-project",
            "private_key_id": "0000000000000000000000000000000000000001",
            "private_key": token::PRIVATE_KEY,
            "client_email": EMAIL,
            "client_id": "100000000000000000001",
            "auth_uri": format!("{}/auth", self.server.url()),
            "token_uri": format!("{}/token", self.server.url()),
            "universe_domain": "googleapis.com",
        });
        format!("{key:#}")
    }

    /// The JSON of the OAuth client that is registered here, as the console lets one download it.
    pub fn oauth_client(&self) -> String {
        let client = json!({"installed": {
            "client_id": login::CLIENT,
            "client_secret": login::SECRET,
            "auth_uri": format!("{}/auth", self.server.url()),
            "token_uri": format!("{}/token", self.server.url()),
            "redirect_uris": ["http://localhost"],
        }});
        client.to_string()
    }

    /// The owner withdraws every sign-in in the account's settings.
    pub fn withdraw_logins(&self) {
        let mut state = self.state();
        state.logins.good.clear();
        state.tokens.clear();
    }

    /// The service account's address.
    pub fn client_email(&self) -> String {
        EMAIL.to_owned()
    }

    /// Makes a spreadsheet as the owner does in the page, shared with the service account as editor, and gives its id.
    pub fn create_spreadsheet(&self, title: &str) -> String {
        let id = self.state().new_id();
        self.create_spreadsheet_with_id(&id, title);
        id
    }

    /// Creates a spreadsheet under this id; replaces an older one with the id.
    pub fn create_spreadsheet_with_id(&self, id: &str, title: &str) {
        self.state().hold(Spreadsheet::new(id, title), false);
    }

    /// Changes the service account's rights.
    pub fn share(&self, id: &str, access: Access) {
        if let Some(held) = self.state().books.get_mut(id) {
            held.access = access;
        }
    }

    /// Turns the API off for the project, or on again.
    pub fn disable_api(&self, disabled: bool) {
        self.state().disabled = disabled;
    }

    /// Sets the reads and the writes allowed a minute, and resets the count; `None`: no quota.
    pub fn quota(&self, per_minute: Option<u32>) {
        let mut state = self.state();
        state.quota = per_minute;
        state.refill();
    }

    /// Every token handed out so far is void.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Sets the wording of the refusal of a named range that exists: the two wordings were quoted from the real
    /// service.
    pub fn named_range_colon(&self, with: bool) {
        self.state().manner.wording.without_colon = !with;
    }

    /// Adds the older `errors[]` list to errors that answer `alt=json`.
    pub fn old_errors(&self, shown: bool) {
        self.state().old_errors = shown;
    }

    /// Looks at a spreadsheet. Panics for an unknown id: the test has then lost its way.
    pub fn read<T>(&self, id: &str, look: impl FnOnce(&Spreadsheet) -> T) -> T {
        match self.state().books.get(id) {
            Some(held) => look(&held.book),
            None => panic!("no spreadsheet with id {id}"),
        }
    }

    /// The owner changes a spreadsheet in the page. Panics for an unknown id.
    pub fn edit<T>(&self, id: &str, change: impl FnOnce(&mut Spreadsheet) -> T) -> T {
        match self.state().books.get_mut(id) {
            Some(held) => change(&mut held.book),
            None => panic!("no spreadsheet with id {id}"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A number as the wire has it: whole ones without a point.
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { Value::from(number as i64) } else { Value::from(number) }
}
