//! Commands on their way in. What a client wants is read without a thread of its own, and of too many who say nothing the
//! one that has waited longest is sent away: whoever connects and is silent holds up neither a command nor a cycle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::control;

/// Clients at once that have not said what they want.
const SILENT: usize = 32;

/// Commands carried out at once; more wait for their turn. Each has a thread.
const CARRIED_OUT: usize = 32;

/// Whoever has come in.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    silent: Arc<Mutex<VecDeque<Arc<Notify>>>>,
    turns: Arc<Semaphore>,
}

impl Default for Callers {
    fn default() -> Callers {
        Callers { silent: Arc::default(), turns: Arc::new(Semaphore::new(CARRIED_OUT)) }
    }
}

/// A client that has said what it wants, and its turn.
pub(super) struct Call {
    /// The way to it.
    pub stream: std::os::unix::net::UnixStream,
    /// What it said.
    pub line: String,
    /// Held while the command is carried out.
    pub turn: OwnedSemaphorePermit,
}

impl Callers {
    /// Waits for what a client wants, and for its turn. `None`: it went away, took too long, or had to make room.
    pub async fn hear(&self, mut stream: UnixStream) -> Option<Call> {
        let place = self.wait();
        let heard = tokio::select! {
            heard = control::hear(&mut stream) => heard.ok(),
            () = place.notified() => None,
        };
        self.silent().retain(|other| !Arc::ptr_eq(other, &place));
        let line = heard.filter(|line| !line.is_empty())?;
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        Some(Call { stream: stream.into_std().ok()?, line, turn })
    }

    /// A place among the silent, rung when another one needs it.
    fn wait(&self) -> Arc<Notify> {
        let mut silent = self.silent();
        if silent.len() >= SILENT
            && let Some(oldest) = silent.pop_front()
        {
            oldest.notify_one();
        }
        let place = Arc::new(Notify::new());
        silent.push_back(place.clone());
        place
    }

    fn silent(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
