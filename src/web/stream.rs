//! Reading the store for an answer: a few readers at once, on threads that may block, with a piece of the answer in memory.
//! The output of a command becomes an answer here as well.

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

/// Longest wait of an answer for its turn to read.
const TURN: Duration = Duration::from_secs(20);

/// Size of the pieces of a long answer, and the number of pieces that may wait for the client.
const PIECE_BYTES: usize = 32 * 1024;
const PIECES: usize = 4;

/// Pause of the writer while that many pieces wait.
const PAUSE: Duration = Duration::from_millis(2);

/// While others wait for a turn, a client that takes less than so many bytes in this time loses its turn.
const SLOW: Duration = Duration::from_secs(3);
const SLOW_BYTES: usize = 192 * 1024;

/// The turns at long answers.
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    /// The number of requests that wait for a turn.
    waiting: Arc<AtomicUsize>,
}

impl Turns {
    pub fn new(most: usize) -> Turns {
        Turns { turns: Arc::new(Semaphore::new(most)), waiting: Arc::default() }
    }
}

/// Counts one waiting request until the value is dropped.
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

/// A turn to read the store, or the error that all turns are taken.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = tokio::time::timeout(TURN, turns.clone().acquire_owned()).await;
    let busy = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many are reading; try again soon").for_now(5);
    turn.ok().and_then(Result::ok).ok_or_else(busy)
}

/// Calls `look` on a thread that may block.
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

/// The JSON that a command prints.
pub(super) fn say(state: &State, command: &Command) -> Result<String, ApiError> {
    let mut said = CommandText::default();
    match commands::execute(&state.service, command, &mut said) {
        Ok(_) if !said.data.is_empty() => Ok(said.data),
        Ok(_) => Err(ApiError::failed(said.talk.trim().trim_start_matches("bankfeed: "))),
        Err(error) => Err(ApiError::failed(error)),
    }
}

/// An answer of JSON text.
pub(super) fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer that is sent while `write` makes it.
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
        let mut pieces = PieceWriter { sender, piece: Vec::new(), waiting, watched: None };
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

/// The next piece of a long answer. Unless the writer has marked the answer as whole, the connection breaks off at the end,
/// so that a client cannot take half an answer for the whole.
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

/// The output of a command with a short answer.
#[derive(Default)]
struct CommandText {
    data: String,
    talk: String,
}

impl Output for CommandText {
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

/// The output of a command with a long answer.
struct PieceWriter {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
    /// The number of requests that wait for a turn.
    waiting: Arc<AtomicUsize>,
    /// The time since others wait, and the bytes that the client has taken since.
    watched: Option<(Instant, usize)>,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        let mut piece = Bytes::from(std::mem::take(&mut self.piece));
        if piece.is_empty() {
            return Ok(());
        }
        self.watched.iter_mut().for_each(|(_, taken)| *taken += piece.len());
        // The connection of a client that takes no bytes ends (see `serve`).
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

    /// True if others wait and the client takes too few bytes.
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

impl Output for PieceWriter {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.piece.extend_from_slice(text.as_bytes());
        if self.piece.len() >= PIECE_BYTES { self.send() } else { Ok(()) }
    }
    fn talk(&mut self, text: &str) -> io::Result<()> {
        // The answer has no room for talk, so it is logged.
        tracing::warn!("{}", text.trim());
        Ok(())
    }
    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
