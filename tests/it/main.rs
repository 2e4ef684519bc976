//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod balances;
mod cli;
mod columns;
mod config;
mod conformance;
mod crash;
mod docs;
mod explore;
mod integrity;
mod owner;
mod rules;
mod sync;
mod verify;
mod web;
mod world;
