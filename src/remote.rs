//! The parts that every connector shares when it talks to a service: errors named by the reaction they cause, the HTTP client
//! with its time limits and its request counter, and the one place that waits and tries again.
//!
//! No particular service is known here. URLs, tokens and bodies never reach an error text from here: an error says which
//! service, what happened, and what to do.

pub mod attempts;
pub mod document;
mod error;
mod http;
pub mod outline;
pub mod packed;
pub mod rate_limit;
mod retry;
pub mod trace;

pub use error::{Cause, Error, Kind, root_cause};
pub use http::{Client, Counter, JSON_DEPTH, PAGE_BYTES, REPLY_BYTES, Response, TREE_BYTES, is_too_deep};
pub use retry::{Attempt, Backoff, Shutdown};
use trace::Trace;

/// The surroundings of a connector, given by its builder.
#[derive(Clone, Debug)]
pub struct Context {
    /// Stop signal.
    pub shutdown: Shutdown,
    /// Patience.
    pub backoff: Backoff,
    /// Requests sent by this connector.
    pub requests: Counter,
    /// The recording of exchanges, if there is one.
    pub trace: Option<Trace>,
}

impl Context {
    /// A fresh context: its own counter, the given stop signal and patience.
    pub fn new(shutdown: Shutdown, backoff: Backoff) -> Context {
        Context { shutdown, backoff, requests: Counter::default(), trace: None }
    }
}
