//! Incoming commands. A call is read without a thread of its own. The oldest of too many silent clients is
//! disconnected, so a silent client holds up neither a command nor a cycle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::control;

/// Clients at once that have not sent their call.
const SILENT: usize = 32;

/// Commands carried out at once, with a thread for each; more wait for their turn.
const CARRIED_OUT: usize = 32;

/// The clients that are connected.
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

/// A client that has sent its call, and its turn.
pub(super) struct Call {
    /// The connection.
    pub stream: std::os::unix::net::UnixStream,
    /// The call.
    pub line: String,
    /// Held while the command is carried out.
    pub turn: OwnedSemaphorePermit,
}

impl Callers {
    /// Waits for a client's call and for its turn. `None`: the client went away, took too long, or had to make room.
    pub async fn hear(&self, mut stream: UnixStream) -> Option<Call> {
        let evicted = self.register();
        let heard = tokio::select! {
            heard = control::hear(&mut stream) => heard.ok(),
            () = evicted.notified() => None,
        };
        self.silent().retain(|other| !Arc::ptr_eq(other, &evicted));
        let line = heard.filter(|line| !line.is_empty())?;
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        Some(Call { stream: stream.into_std().ok()?, line, turn })
    }

    /// Registers a silent client; the returned bell rings when the client has to make room.
    fn register(&self) -> Arc<Notify> {
        let mut silent = self.silent();
        if silent.len() >= SILENT
            && let Some(oldest) = silent.pop_front()
        {
            oldest.notify_one();
        }
        let evicted = Arc::new(Notify::new());
        silent.push_back(evicted.clone());
        evicted
    }

    fn silent(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
