//! bankfeed: every bank transaction in your spreadsheet, exactly once.
//!
//! # The way of a transaction
//! ```text
//!   bank ──▶ source ──▶ reconcile ──▶ store ──▶ plan ──▶ destination ──▶ sheet, base
//!            sign in    new, changed,  rows,     after the  a write that
//!            fetch      vanished?      change    watermark  cannot apply
//!                       chain whole?   log                  twice
//! ```
//! A **cycle** ([`sync`]) pulls every [`source`] and then delivers to every [`destination`]. Cron ([`schedule`]), the
//! control socket ([`control`]), the page ([`web`]) and the command line ([`cli`]) only ask for one ([`service`]); the one
//! worker of the process that owns the store ([`daemon`]) runs it. Two cycles never overlap. Without work the daemon
//! closes the store and goes idle.
//!
//! # What holds at all times
//! - One process owns the store. Whoever else wants something asks it over the control socket.
//! - A transaction is stored before it is delivered; its bank data is never overwritten without the former version going
//!   into the change log ([`store`]).
//! - The change log is the queue: each destination has one watermark in it. A slow one delays nobody; a new one fills
//!   itself.
//! - A batch is noted durably before its first byte leaves; a batch whose answer was lost is settled before anything
//!   else is sent; sending it again cannot apply it twice ([`destination`]).
//! - A refused password is tried once and never again until the configuration changes ([`sync`]).
//! - Money is decimal from the bank's text to the last step before a service's wire ([`model`]).
//! - Text from the bank is data: never parsed as a formula, never a format string, never in a log.
//!
//! # Layers, downward only
//! `main > cli > {demo, daemon} > web > commands > service > {config, control, export, notify, selection, sync} > {store,
//! rules, reconcile, transfers, figures, schedule, source, destination} > {remote, settings} > {files, model, printable,
//! threads}`; beside them `{demo, the hidden command simulate, tests} > simulator`. A test holds the tree to this.
//!
//! # Where to look
//! In reading order:

pub mod model;

pub mod files;

pub mod printable;

pub mod threads;

pub mod remote;

pub mod settings;

pub mod source;

pub mod destination;

pub mod rules;

pub mod reconcile;

pub mod transfers;

pub mod figures;

pub mod store;

pub mod sync;

pub mod notify;

pub mod schedule;

pub mod config;

pub mod control;

pub mod selection;

pub mod export;

pub mod service;

pub mod commands;

pub mod web;

pub mod daemon;

pub mod cli;

pub mod simulator;

pub mod demo;
