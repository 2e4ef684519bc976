//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod cli;
mod config;
mod conformance;
mod docs;
mod explore;
mod sync;
mod world;
