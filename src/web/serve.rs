//! Connections, with limits: a seat for each, the time and the size of a request's head, the time to take an answer. The
//! router handles the requests.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tower_service::Service;

use super::seats::{Seat, Seats};
use super::{State, router};
use crate::remote::Shutdown;

/// Longest time for the head of a request, and longest pause between two requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Longest time in which a client takes no byte of an answer.
const STALL: Duration = Duration::from_secs(30);

/// Bytes of an answer that the system buffers: few, so that the progress of a slow client is seen.
pub(super) const IN_FLIGHT: usize = 128 * 1024;

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Pause after the system refused to accept a connection (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(200);

/// The address of the other end of a connection; every request carries it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Accepts connections for ever. Every connection holds a value of `begin` until it ends; once the page is closing, a
/// connection ends after its present answer.
pub(super) async fn serve<B: Send + 'static>(
    listener: TcpListener,
    state: Arc<State>,
    closing: Shutdown,
    begin: impl Fn() -> B,
) {
    let seats = Arc::new(Seats::default());
    // An idle daemon must stay small: the router is built when somebody comes.
    let routes: Arc<OnceLock<Router>> = Arc::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // A client without a seat sees the connection closed: all seats of its address are being served.
        let Some(taken) = seats.take(network(peer.ip())) else { continue };
        let router = routes.get_or_init(|| router(state.clone())).clone();
        let (held, closing) = (begin(), closing.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, Peer(peer.ip()), taken.seat.clone(), router, closing) => {}
                () = taken.seat.is_needed() => {}
            }
            drop((taken, held));
        });
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(stream: TcpStream, peer: Peer, seat: Arc<Seat>, router: Router, closing: Shutdown) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(seat.clone());
        router.clone().call(request)
    });
    let conversation = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(StallGuard { stream, stalled: None }), service);
    let mut conversation = std::pin::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = closing.wait() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// The network of an address: a host with one address of IPv6 usually has 2^64 of them.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
        address => address,
    }
}

/// A connection that ends when the client takes no byte for too long, so that no client holds it for ever.
struct StallGuard {
    stream: TcpStream,
    /// Runs while the client takes no bytes.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallGuard {
    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(context);
        this.watch(context, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(context);
        this.watch(context, polled)
    }
}
