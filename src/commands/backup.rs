//! `bankfeed backup`: sends the store as one portable file.
//!
//! The file travels as lines of base64, because the control socket carries text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;

use super::{Done, Failure};
use crate::control::Output;
use crate::service::StoreService;
use crate::store::backup;

/// Sends the store.
pub(super) fn execute(service: &StoreService, output: &mut dyn Output) -> Done {
    let store = &service.engine.store;
    let sent = backup::stream(store, Utc::now(), |bytes| output.data(&format!("{}\n", BASE64.encode(bytes))))?;
    store.rest();
    sent.map(|()| 0).map_err(Failure::Output)
}
