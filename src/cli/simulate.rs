//! `bankfeed simulate` (hidden): the simulated bank and services alone, for tests from outside.

use std::io;

/// What to simulate.
#[derive(clap::Args)]
pub(super) struct Options {}

/// Runs the simulators until the process is told to stop.
pub(super) async fn run(options: Options) -> io::Result<u8> {
    let Options {} = options;
    Ok(0)
}
