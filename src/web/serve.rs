//! Connections: so many at once, so long for a request's head, so large a head. What is inside is the router's affair.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::{State, router};

/// Connections at once; one more waits at the door.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take, and how long a connection may idle between two.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long nothing is accepted after the system refused to (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(200);

/// Who is at the other end of a connection; a part of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Accepts connections for ever.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    // An idle daemon must stay small: the router is built when somebody comes.
    let routes: Arc<OnceLock<Router>> = Arc::default();
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let router = routes.get_or_init(|| router(state.clone())).clone();
        tokio::spawn(async move {
            converse(stream, Peer(peer.ip()), router).await;
            drop(permit);
        });
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(stream: TcpStream, peer: Peer, router: Router) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let conversation = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!("a connection ended early: {error}");
    }
}
