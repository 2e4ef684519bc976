//! `bankfeed demo`.

/// Runs the demo.
pub async fn run(_keep_running: bool) -> std::io::Result<u8> {
    Ok(0)
}
