//! The bankfeed binary: blocks signals, makes new files private, picks the one TLS provider, and calls the library.

use std::process::ExitCode;

use bankfeed::{cli, commands};

fn main() -> ExitCode {
    if let Err(error) = cli::begin() {
        cli::terminal::complain(&error);
        return ExitCode::from(commands::FAILED);
    }
    // A second provider cannot have been installed this early; every TLS client relies on this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    end_with_a_panic();
    ExitCode::from(cli::run(std::env::args_os()))
}

/// A worker that panicked must not leave a daemon that only looks alive: it ends, and systemd starts it again. Panics
/// inside the database never come here: the store makes errors of them.
fn end_with_a_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        report(what);
        std::process::abort();
    }));
}
