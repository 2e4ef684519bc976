//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod config;
