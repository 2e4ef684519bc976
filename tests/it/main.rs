//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod balances;
mod cli;
mod config;
mod docs;
mod integrity;
mod rules;
mod sync;
mod verify;
mod web;
mod world;
