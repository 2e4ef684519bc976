//! bankfeed: every bank transaction in your spreadsheet, exactly once.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod destination;
pub mod model;
pub mod reconcile;
pub mod remote;
pub mod schedule;
pub mod simulator;
pub mod source;
pub mod store;
pub mod sync;
