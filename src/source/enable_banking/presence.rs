//! The headers that tell a bank that the owner is present. They are sent only while a person waits for the result: all that
//! the bank requires, or none.

use std::net::IpAddr;

use serde_json::Value;

use super::EnableBanking;
use super::api::{Api, Header};
use super::memory::Notebook;
use crate::remote::Error;

/// The headers that every bank knows.
const USUAL: [&str; 2] = ["psu-ip-address", "psu-user-agent"];

impl EnableBanking {
    /// The headers for this bank; empty where the owner's presence cannot be told to it.
    pub(super) async fn presence(&self, api: &mut Api, notebook: &mut Notebook) -> Result<Vec<Header>, Error> {
        if notebook.memory.fails_with_presence {
            return Ok(Vec::new());
        }
        if notebook.memory.presence.is_none() {
            let bank = self.bank(api).await?;
            notebook.memory.presence = Some(required(&bank));
            notebook.save()?;
        }
        let required = notebook.memory.presence.iter().flatten().map(String::as_str);
        let names: Vec<&str> = USUAL.into_iter().chain(required.filter(|name| !USUAL.contains(name))).collect();
        let address = self.own_address().await;
        let value = |name: &str| match name {
            "psu-ip-address" => address.map(|address| address.to_string()),
            "psu-user-agent" => Some(concat!("bankfeed/", env!("CARGO_PKG_VERSION")).to_owned()),
            "psu-accept" => Some("application/json".to_owned()),
            "psu-accept-charset" => Some("utf-8".to_owned()),
            "psu-accept-encoding" => Some("gzip".to_owned()),
            "psu-accept-language" => Some("en".to_owned()),
            "psu-referer" => Some(self.settings.redirect_url.clone()),
            // Where the owner is, nobody knows here.
            _ => None,
        };
        let headers = names.into_iter().map(|name| Some((name.to_owned(), value(name)?))).collect::<Option<_>>();
        Ok(headers.unwrap_or_default())
    }

    /// The address of this machine on the way to the service; nothing is sent.
    async fn own_address(&self) -> Option<IpAddr> {
        let url = &self.settings.base_url;
        let service = (url.host_str()?.trim_matches(['[', ']']), url.port_or_known_default()?);
        for any in ["0.0.0.0:0", "[::]:0"] {
            let Ok(socket) = tokio::net::UdpSocket::bind(any).await else { continue };
            if socket.connect(service).await.is_ok() {
                return socket.local_addr().ok().map(|address| address.ip());
            }
        }
        None
    }
}

/// The headers that a bank requires, in small letters.
pub(super) fn required(bank: &Value) -> Vec<String> {
    let names = bank["required_psu_headers"].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str()).map(|name| name.trim().to_ascii_lowercase()).collect()
}
