//! Reading the store for an answer: on threads that may block, a few at once, and never more of it in memory than a
//! piece. Also how a command's output becomes an answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::State;
use super::error::ApiError;
use crate::commands;
use crate::control::{Command, Output};
use crate::sync::Step;
use crate::threads;

/// How long an answer waits for its turn to read.
const TURN: Duration = Duration::from_secs(20);

/// A long answer goes out in pieces of this size; so many may wait to be taken.
const PIECE_BYTES: usize = 32 * 1024;
const PIECES: usize = 4;

/// How long the writer of a long answer sleeps while as many wait.
const PAUSE: Duration = Duration::from_millis(2);

/// While somebody waits for a turn at a long answer, whoever takes less than so many bytes in this time loses theirs.
const SLOW: Duration = Duration::from_secs(3);
const SLOW_BYTES: usize = 192 * 1024;

/// Turns at long answers.
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    /// Who waits for one.
    waiting: Arc<AtomicUsize>,
}

impl Turns {
    pub fn new(most: usize) -> Turns {
        Turns { turns: Arc::new(Semaphore::new(most)), waiting: Arc::default() }
    }
}

/// Somebody waits until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A turn to read the store, or the answer that there is none.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = tokio::time::timeout(TURN, turns.clone().acquire_owned()).await;
    let busy = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many are reading; try again soon").for_now(5);
    turn.ok().and_then(Result::ok).ok_or_else(busy)
}

/// Reads with `look` on a thread that may block.
pub(super) async fn read<T: Send + 'static>(
    state: &Arc<State>,
    look: impl FnOnce(&State) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = turn(&state.readers).await?;
    let reading = state.clone();
    let done = threads::run("reader", move || {
        let found = look(&reading);
        reading.service.engine.store.rest();
        drop(turn);
        found
    });
    done.map_err(|error| ApiError::failed(error).for_now(5))?
        .await
        .unwrap_or_else(|_| Err(ApiError::failed("reading the store failed")))
}

/// What a command says as JSON.
pub(super) fn say(state: &State, command: &Command) -> Result<String, ApiError> {
    let mut said = Said::default();
    match commands::execute(&state.service, command, &mut said) {
        Ok(_) if !said.data.is_empty() => Ok(said.data),
        Ok(_) => Err(ApiError::failed(said.talk.trim().trim_start_matches("bankfeed: "))),
        Err(error) => Err(ApiError::failed(error)),
    }
}

/// JSON that is text already.
pub(super) fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer that `write` makes while it goes out.
pub(super) async fn stream(
    state: &Arc<State>,
    content_type: &'static str,
    write: impl FnOnce(&State, &mut dyn Output) -> io::Result<()> + Send + 'static,
) -> Result<Response, ApiError> {
    let Turns { turns, waiting } = &state.long_readers;
    let is_waiting = Waiting::new(waiting);
    let turn = turn(turns).await?;
    drop(is_waiting);
    let (sender, receiver) = mpsc::channel(PIECES);
    let (reading, waiting) = (state.clone(), waiting.clone());
    let whole = Arc::new(AtomicBool::new(false));
    let is_whole = whole.clone();
    let begun = threads::run("reader", move || {
        let mut pieces = Pieces { sender, piece: Vec::new(), waiting, watched: None };
        let done = write(&reading, &mut pieces).and_then(|()| pieces.send());
        match done {
            Ok(()) => whole.store(true, Ordering::Release),
            Err(error) => tracing::debug!("a long answer ended early: {error}"),
        }
        reading.service.engine.store.rest();
        drop(turn);
    });
    begun.map_err(|error| ApiError::failed(error).for_now(5))?;
    let pieces = stream::unfold(Some(receiver), move |receiver| rest_of(receiver, is_whole.clone()));
    Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(pieces)).into_response())
}

/// The next piece of a long answer. Whoever reads must not take half of it for the whole: without the writer's word that
/// it is, the connection breaks off.
async fn rest_of(
    receiver: Option<mpsc::Receiver<Bytes>>,
    is_whole: Arc<AtomicBool>,
) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Bytes>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(piece) => Some((Ok(piece), Some(receiver))),
        None if is_whole.load(Ordering::Acquire) => None,
        None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
    }
}

/// Lets a command write into a long answer.
pub(super) fn say_into(state: &State, command: &Command, output: &mut dyn Output) -> io::Result<()> {
    match commands::execute(&state.service, command, output)? {
        0 => Ok(()),
        _ => Err(io::Error::other("the store could not be read to its end")),
    }
}

/// A short command's output.
#[derive(Default)]
struct Said {
    data: String,
    talk: String,
}

impl Output for Said {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.data.push_str(text);
        Ok(())
    }
    fn talk(&mut self, text: &str) -> io::Result<()> {
        self.talk.push_str(text);
        Ok(())
    }
    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

/// A long answer on its way out.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
    /// Who waits for a turn like this one.
    waiting: Arc<AtomicUsize>,
    /// Since when somebody waits, and how much was taken in that time.
    watched: Option<(Instant, usize)>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let mut piece = Bytes::from(std::mem::take(&mut self.piece));
        if piece.is_empty() {
            return Ok(());
        }
        self.watched.iter_mut().for_each(|(_, taken)| *taken += piece.len());
        // A reader that takes nothing ends with its connection (see `serve`).
        loop {
            match self.sender.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(mpsc::error::TrySendError::Full(back)) => piece = back,
            }
            if self.is_too_slow() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "others wait, and this reader is slow"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether others wait while too little is taken of this answer.
    fn is_too_slow(&mut self) -> bool {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.watched = None;
            return false;
        }
        let (since, taken) = *self.watched.get_or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() < SLOW {
            return false;
        }
        self.watched = None;
        taken < SLOW_BYTES
    }
}

impl Output for Pieces {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.piece.extend_from_slice(text.as_bytes());
        if self.piece.len() >= PIECE_BYTES { self.send() } else { Ok(()) }
    }
    fn talk(&mut self, text: &str) -> io::Result<()> {
        // What a command says beside its data ends in its exit status; here it would be lost, so it is logged.
        tracing::warn!("{}", text.trim());
        Ok(())
    }
    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
