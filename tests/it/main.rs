//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod balances;
mod cli;
mod config;
mod conformance;
mod crash;
mod docs;
mod explore;
mod export;
mod integrity;
mod log;
mod notify;
mod rules;
mod sql;
mod sync;
mod verify;
mod web;
mod world;
