//! The receiving end of a dump: an output that feeds a builder.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::terminal::Terminal;
use crate::control::Output;
use crate::export::dump::{self, Builder, Line};
use crate::sync::Step;

/// A builder as an output.
pub(super) struct DumpReceiver<B> {
    builder: Arc<Mutex<Option<B>>>,
    /// Transactions received.
    rows: Arc<AtomicU64>,
}

impl<B> Clone for DumpReceiver<B> {
    fn clone(&self) -> DumpReceiver<B> {
        DumpReceiver { builder: self.builder.clone(), rows: self.rows.clone() }
    }
}

impl<B> DumpReceiver<B> {
    /// A receiver that feeds this builder.
    pub(super) fn new(builder: B) -> DumpReceiver<B> {
        DumpReceiver { builder: Arc::new(Mutex::new(Some(builder))), rows: Arc::default() }
    }

    /// The number of transactions received.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The builder with the whole dump.
    pub(super) fn finish(self) -> io::Result<B> {
        self.builder().take().ok_or_else(|| io::Error::other("was finished already"))
    }

    fn builder(&self) -> MutexGuard<'_, Option<B>> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Builder> Output for DumpReceiver<B> {
    fn data(&mut self, text: &str) -> io::Result<()> {
        let mut builder = self.builder();
        let builder = builder.as_mut().ok_or_else(|| io::Error::other("was finished already"))?;
        text.lines().try_for_each(|line| {
            let line = dump::parse(line)?;
            self.rows.fetch_add(u64::from(matches!(line, Line::Row(_))), Ordering::Relaxed);
            builder.take(&line)
        })
    }

    fn talk(&mut self, text: &str) -> io::Result<()> {
        Terminal::stdout().talk(text)
    }

    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
