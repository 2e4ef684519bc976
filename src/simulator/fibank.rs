//! Simulated fibank.
