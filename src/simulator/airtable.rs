//! Simulated airtable.
