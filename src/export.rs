//! The forms in which transactions leave the program: JSON, CSV, an SQLite database, an Excel workbook, and the dump
//! from which the last two are made in the process that asked.

use serde::{Deserialize, Serialize};

pub mod csv;
pub mod dump;
pub mod json;
pub mod sqlite;
pub mod xlsx;

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values, formula-like text made inert.
    Csv,
    /// One JSON object a line.
    Jsonl,
    // The process with the store sends a dump for the next two: `Command::Dump`. These comments are part of the help.
    /// An Excel workbook with charts.
    Xlsx,
    /// An SQLite database with the tables of `bankfeed sql`.
    Sqlite,
}
