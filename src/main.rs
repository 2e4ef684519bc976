//! The bankfeed binary: sees to it that signals wait and that files are private, picks the one TLS provider, and hands
//! over to the library.

use std::process::ExitCode;

use bankfeed::cli;

fn main() -> ExitCode {
    if let Err(error) = cli::begin() {
        cli::terminal::complain(&error);
        return ExitCode::from(cli::FAILED);
    }
    // A second provider cannot have been installed this early; every TLS client relies on this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ExitCode::from(cli::run(std::env::args_os()))
}
