//! Connections with a limit on the bytes read. The API's client and the library that signs in collect an answer whole,
//! however long it is, so the bound stands below them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

use super::errors::MessageContext;
use crate::remote::{Cause, Error, REPLY_BYTES};

/// The connector of every connection.
pub(super) type Connector = HttpsConnector<MeteredConnector>;

/// The time that requests may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A read.
    pub read: Duration,
    /// A write. Google cuts a request at 180 s; after an earlier end the request might go on unseen.
    pub write: Duration,
    /// The time that a write in flight gets when the program is being stopped.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { read: Duration::from_secs(60), write: Duration::from_secs(190), grace: Duration::from_secs(5) }
    }
}

/// The number of bytes that may still be read by all connections that share the meter.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    allowed: AtomicUsize,
    left: AtomicUsize,
    is_over: AtomicBool,
}

impl Default for Meter {
    fn default() -> Meter {
        let (allowed, left) = (AtomicUsize::new(REPLY_BYTES), AtomicUsize::new(REPLY_BYTES));
        Meter(Arc::new(Reading { allowed, left, is_over: AtomicBool::new(false) }))
    }
}

impl Meter {
    /// Begins anew with so many bytes; returns the former number.
    pub fn allow(&self, bytes: usize) -> usize {
        self.0.left.store(bytes, Ordering::Relaxed);
        self.0.is_over.store(false, Ordering::Relaxed);
        self.0.allowed.swap(bytes, Ordering::Relaxed)
    }

    /// The problem to report, where an answer was longer than allowed.
    pub fn excess(&self) -> Option<String> {
        let most = self.0.allowed.load(Ordering::Relaxed) >> 20;
        let is_over = self.0.is_over.load(Ordering::Relaxed);
        is_over.then(|| format!("Google's answer is larger than {most} MiB, the most that is read of it"))
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let enough = |left: usize| left.checked_sub(bytes);
        if self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).is_ok() {
            return Ok(());
        }
        self.0.is_over.store(true, Ordering::Relaxed);
        Err(io::Error::other("the answer is larger than is read of it"))
    }
}

/// Opens metered connections.
#[derive(Clone, Debug)]
pub(super) struct MeteredConnector {
    http: HttpConnector,
    meter: Meter,
}

/// Makes a connector, for TLS where `encrypted`.
pub(super) fn connector(names: &MessageContext, meter: &Meter, encrypted: bool) -> Result<Connector, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(Duration::from_secs(10)));
    let provider = rustls::crypto::ring::default_provider();
    let unusable = |error: &dyn std::fmt::Display| {
        let remedy = "install the system's CA certificates";
        Error::attention(Cause::Machine, names.say(format!("cannot set up TLS: {error}; {remedy}")))
    };
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let builder = if encrypted {
        builder.with_provider_and_platform_verifier(provider).map_err(|error| unusable(&error))?
    } else {
        // Connections stay on this machine: the machine needs no certificates.
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder.with_tls_config(tls)
    };
    Ok(builder
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(MeteredConnector { http, meter: meter.clone() }))
}

type Opening<E> = Pin<Box<dyn Future<Output = Result<TokioIo<Metered>, E>> + Send>>;

impl Service<Uri> for MeteredConnector {
    type Response = TokioIo<Metered>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Opening<Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (opening, meter) = (self.http.call(to), self.meter.clone());
        Box::pin(async move {
            let stream = opening.await?.into_inner();
            Ok(TokioIo::new(Metered { stream, meter }))
        })
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered {
    stream: TcpStream,
    meter: Meter,
}

impl Connection for Metered {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        Poll::Ready(this.meter.take(into.filled().len() - before))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
