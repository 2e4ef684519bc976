//! Simulated google.
