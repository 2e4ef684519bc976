//! The integration tests: one crate, one module per subject.
#![allow(clippy::unwrap_used)]

mod attempts;
mod balances;
mod causes;
mod check;
mod cli;
mod columns;
mod complete;
mod config;
mod conformance;
mod copies;
mod crash;
mod docs;
mod explore;
mod export;
mod integrity;
mod log;
mod login;
mod money;
mod moved;
mod notify;
mod owner;
mod rest;
mod room;
mod rules;
mod rules_tab;
mod seeds;
mod sql;
mod start;
mod sync;
mod told;
mod trace;
mod transfers;
mod verify;
mod web;
mod world;
