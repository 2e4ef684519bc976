//! The bankfeed binary: picks the one TLS provider and hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A second provider cannot have been installed this early; every TLS client relies on this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ExitCode::from(bankfeed::cli::run(std::env::args_os()))
}
