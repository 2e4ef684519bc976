//! The network face (design section 6): the page, the API, health and metrics over HTTP, where `[http]` asks for them.
//!
//! It promises: nothing but `/healthz` and the sign-in form is said without a token; no answer, address or log line holds
//! a secret; reading is bounded in memory, time and number; and what the API says is what the commands say, because the
//! commands' own code says it. It runs no cycle: it asks for one like everybody else. It knows no service.

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

/// Answers that read the store at once; more wait their turn.
const READERS: usize = 3;

/// Long answers at once, which take as long as whoever reads them: they have turns of their own.
const LONG_READERS: usize = 4;

/// What every answer draws on.
pub struct State {
    service: StoreService,
    access: Access,
    readers: Arc<Semaphore>,
    long_readers: stream::Turns,
    /// Held while a cycle that was asked for here waits or runs.
    cycle: Arc<Semaphore>,
}

impl State {
    /// Reads the tokens; where none is configured, the one in the data directory, making it if there is none.
    pub fn new(http: &Http, service: StoreService) -> io::Result<Arc<State>> {
        let engine = &service.engine;
        let access = Access::new(&engine.config, http, engine.store.data_dir())?;
        let (readers, cycle) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(1)));
        let long_readers = stream::Turns::new(LONG_READERS);
        Ok(Arc::new(State { service, access, readers, long_readers, cycle }))
    }
}

/// Every address there is. One that is not here is told apart from one that is only after the token was right.
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

/// The open page: where it is, until it is dropped.
pub struct Page {
    /// The address it listens on.
    pub address: SocketAddr,
    listener: std::net::TcpListener,
    state: Arc<State>,
    /// Tells connections that they end with the answer they are at.
    over: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Page {
    /// Whether somebody is signed in, or an address that guesses is still remembered.
    pub fn is_in_use(&self) -> bool {
        self.state.access.remembers()
    }

    /// The same listener once more, for whoever answers next.
    pub fn listener(&self) -> io::Result<std::net::TcpListener> {
        self.listener.try_clone()
    }

    /// Lets nobody in any more. Whoever comes waits at the listener, which is returned once everything else is closed.
    pub fn close(mut self) -> impl Future<Output = io::Result<std::net::TcpListener>> {
        self.serving.abort();
        async move {
            // It ends because it was told to.
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

/// A page that can be opened: its tokens are read, and its address is its own.
pub struct Closed {
    address: SocketAddr,
    listener: std::net::TcpListener,
    state: Arc<State>,
}

impl Closed {
    /// Listens where `[http]` says, or goes on with a listener.
    pub fn new(http: &Http, listener: Option<std::net::TcpListener>, service: StoreService) -> io::Result<Closed> {
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
        Ok(Closed { address, listener, state })
    }

    /// Answers from now on. `begin` is held on to for as long as a connection lasts.
    pub fn open<B: Send + 'static>(self, begin: impl Fn() -> B + Send + 'static) -> io::Result<Page> {
        let Closed { address, listener, state } = self;
        let (over, closing) = Shutdown::new();
        let serving = serve::serve(TcpListener::from_std(listener.try_clone()?)?, state.clone(), closing, begin);
        Ok(Page { address, listener, state, over, serving: tokio::spawn(serving) })
    }
}

/// Where the token stands that was made up for want of a configured one.
pub fn token_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(TOKEN_FILE)
}
