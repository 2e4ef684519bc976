//! The engine's part of a connector, for the connectors' own tests.

use std::sync::{Arc, Mutex};

use super::{Scope, Setup, State};
use crate::remote::attempts::{Attempt, Attempts};
use crate::remote::{Context, Error};

/// Takes note of nothing.
pub struct Unnoted;

impl Attempts for Unnoted {
    fn begin(&self, _: Attempt) -> Result<(), Error> {
        Ok(())
    }
    fn answered(&self, _: Attempt) -> Result<(), Error> {
        Ok(())
    }
    fn admitted(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A state in memory, which outlives its connectors.
#[derive(Default)]
pub struct Memory(Mutex<String>);

impl State for Memory {
    fn read(&self) -> Result<String, Error> {
        Ok(self.0.lock().unwrap().clone())
    }
    fn write(&self, text: &str) -> Result<(), Error> {
        text.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

/// The setup of an unattended run of a source named `bank`.
pub fn setup(scope: &Scope, context: Context) -> Setup {
    Setup {
        name: "bank".into(),
        scope: scope.clone(),
        timezone: chrono_tz::Europe::Sofia,
        context,
        attempts: Arc::new(Unnoted),
        state: Arc::new(Memory::default()),
        is_attended: false,
    }
}
