//! The page, the API, health and metrics over HTTP, where `[http]` asks for them (design section 6).
//!
//! Promises: without a token a client gets only `/healthz` and the sign-in form; no answer, address or log line holds a
//! secret; reading is bounded in memory, time and number; the API answers like the commands, because the commands' own
//! code answers. The page asks for a cycle like any command and names no bank and no destination service.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::config::Http;
use crate::remote::Shutdown;
use crate::service::StoreService;

mod access;
mod api;
mod causes;
mod chart;
mod error;
mod guesses;
mod html;
mod legacy_api;
mod metrics;
mod page;
mod query;
mod seats;
mod sections;
mod serve;
mod sign_in;
mod stream;
mod words;

use access::Access;
pub use access::TOKEN_FILE;
pub use serve::Peer;

/// Answers that read the store at once; more wait for their turn.
const READERS: usize = 3;

/// Long answers at once. A long answer lasts as long as its client reads, so long answers have turns of their own.
const LONG_READERS: usize = 4;

/// The state that every answer uses.
pub struct State {
    service: StoreService,
    access: Access,
    readers: Arc<Semaphore>,
    long_readers: stream::Turns,
    /// Held while a cycle that the page or the API asked for waits or runs.
    cycle: Arc<Semaphore>,
}

impl State {
    /// Reads the tokens. Without a configured token the one in the data directory counts; it is made if missing.
    pub fn new(http: &Http, service: StoreService) -> io::Result<Arc<State>> {
        let engine = &service.engine;
        let access = Access::new(&engine.config, http, engine.store.data_dir())?;
        let (readers, cycle) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(1)));
        let long_readers = stream::Turns::new(LONG_READERS);
        Ok(Arc::new(State { service, access, readers, long_readers, cycle }))
    }
}

/// The routes of every address. A client without the right token cannot tell an address that exists from one that does not.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/sign-in", post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/api/accounts", get(api::accounts))
        .route("/api/transactions", get(api::transactions))
        .route("/api/transactions.csv", get(api::csv))
        .route("/all-transactions/", get(legacy_api::all_transactions))
        .route("/all-transactions", get(legacy_api::all_transactions))
        .route("/api/sync", post(api::sync))
        .route("/api/status", get(api::status))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(async || "ok\n"))
        .fallback(api::nowhere)
        .method_not_allowed_fallback(api::wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), access::guard))
        .layer(middleware::from_fn(access::add_headers))
        .with_state(state)
}

/// The open page; it closes when this value is dropped.
pub struct Page {
    /// The address that the page listens on.
    pub address: SocketAddr,
    listener: std::net::TcpListener,
    state: Arc<State>,
    /// Tells connections to end after their present answer.
    over: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Page {
    /// True while a browser is signed in or a wrong token still counts.
    pub fn is_in_use(&self) -> bool {
        self.state.access.remembers()
    }

    /// A clone of the listener, for the page under another configuration.
    pub fn listener(&self) -> io::Result<std::net::TcpListener> {
        self.listener.try_clone()
    }

    /// Accepts no more connections. New clients wait at the listener, which is returned once everything else is closed.
    pub fn close(mut self) -> impl Future<Output = io::Result<std::net::TcpListener>> {
        self.serving.abort();
        async move {
            // The task ends because it was aborted.
            drop((&mut self.serving).await);
            self.listener.try_clone()
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.serving.abort();
        self.over.send_replace(true);
    }
}

/// A page that is ready to open: its tokens are read and its address is bound.
pub struct ReadyPage {
    address: SocketAddr,
    listener: std::net::TcpListener,
    state: Arc<State>,
}

impl ReadyPage {
    /// Listens on the address of `[http]`, or goes on with a listener.
    pub fn new(http: &Http, listener: Option<std::net::TcpListener>, service: StoreService) -> io::Result<ReadyPage> {
        let state = State::new(http, service)?;
        let bind = || {
            std::net::TcpListener::bind(http.listen).map_err(|error| {
                io::Error::new(error.kind(), format!("http: cannot listen on {}: {error}; change listen", http.listen))
            })
        };
        let listener = listener.map_or_else(bind, Ok)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, serve::IN_FLIGHT)?;
        Ok(ReadyPage { address, listener, state })
    }

    /// Begins to answer. A connection holds a value of `begin` for as long as it lasts.
    pub fn open<B: Send + 'static>(self, begin: impl Fn() -> B + Send + 'static) -> io::Result<Page> {
        let ReadyPage { address, listener, state } = self;
        let (over, closing) = Shutdown::new();
        let serving = serve::serve(TcpListener::from_std(listener.try_clone()?)?, state.clone(), closing, begin);
        Ok(Page { address, listener, state, over, serving: tokio::spawn(serving) })
    }
}

/// The file of the token that counts without a configured one.
pub fn token_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(TOKEN_FILE)
}
