//! Sockets in, requests to the router: binding, the limit on connections, the limits on what a connection
//! may send, and draining.

use crate::lanes::Sharing;
use crate::request_line::Lenient;
use axum::{Extension, Router};
use hearth_api::{Peer, State};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Bytes of a request line with all headers: Go's limit, which long GET queries rely on.
const HEADER_LIMIT_BYTES: usize = 1 << 20;

/// Header lines of one request.
const HEADER_LIMIT: usize = 256;

/// Pause after a failed accept: the usual reason, no free file descriptor, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served, and on which threads.
pub struct Site {
    pub router: Router,
    pub state: Arc<State>,
    pub lanes: Sharing,
}

/// What the listeners share.
pub struct Listening {
    pub read_timeout: Duration,
    pub max_connections: usize,
}

/// Opens every address, or none.
pub async fn bind(addresses: &[String]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        // Prometheus takes ":9090" for every interface.
        let full = if address.starts_with(':') { format!("[::]{address}") } else { address.clone() };
        let bound = match TcpListener::bind(&full).await {
            Err(_) if address.starts_with(':') => TcpListener::bind(format!("0.0.0.0{address}")).await,
            bound => bound,
        };
        let listener = bound.map_err(|error| format!("listen tcp {address}: {error}"))?;
        let local = listener.local_addr().map_err(|error| format!("listen tcp {address}: {error}"))?;
        tracing::info!(component = "web", address = %local, "Listening on");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until `stop` turns true, then waits for the requests that run, at most `patience`.
pub async fn serve(
    listeners: Vec<TcpListener>,
    site: Site,
    limits: Listening,
    stop: watch::Receiver<bool>,
    patience: Duration,
) {
    let graceful = Arc::new(GracefulShutdown::new());
    let slots = Arc::new(Semaphore::new(limits.max_connections.max(1)));
    let site = Arc::new(site);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        let server = Server {
            site: site.clone(),
            graceful: graceful.clone(),
            slots: slots.clone(),
            read_timeout: limits.read_timeout,
        };
        accepting.spawn(server.accept(listener, stop.clone()));
    }
    while accepting.join_next().await.is_some() {}
    let Some(graceful) = Arc::into_inner(graceful) else { return };
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!(component = "web", "Requests still running after the grace period are cut off");
    }
}

struct Server {
    site: Arc<Site>,
    graceful: Arc<GracefulShutdown>,
    slots: Arc<Semaphore>,
    read_timeout: Duration,
}

impl Server {
    async fn accept(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        loop {
            // A connection beyond the limit waits in the kernel's queue, as with Prometheus.
            let accepted = async {
                let slot = self.slots.clone().acquire_owned().await;
                (listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                accepted = accepted => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = self.serve(stream, Peer(peer), slot.ok()) {
                        tracing::warn!(component = "web", err = %error, "Taking up a connection failed");
                    }
                }
                Err(error) => {
                    tracing::warn!(component = "web", err = %error, "Accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: Peer, slot: Option<OwnedSemaphorePermit>) -> io::Result<()> {
        let (lane, token) = self.site.lanes.least().ok_or_else(|| io::Error::other("no thread serves"))?;
        // The lane itself waits for the socket from here on.
        let stream = stream.into_std()?;
        let entered = lane.enter();
        let stream = TcpStream::from_std(stream)?;
        // Answers are written in whole pieces; waiting to fill packets would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(component = "web", err = %error, "no-delay could not be set");
        }
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.read_timeout)
            .max_buf_size(HEADER_LIMIT_BYTES)
            .max_headers(HEADER_LIMIT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(self.read_timeout))
            .max_header_list_size(HEADER_LIMIT_BYTES as u32);
        let service = TowerToHyperService::new(self.site.router.clone().layer(Extension(peer)));
        let connection = builder.serve_connection(TokioIo::new(Lenient::new(stream)), service).into_owned();
        let connection = self.graceful.watch(connection);
        let state = self.site.state.clone();
        state.metrics.connections_accepted.add(1);
        lane.spawn(async move {
            // A client that hangs up in the middle is no event of ours.
            if let Err(error) = connection.await {
                tracing::debug!(component = "web", err = %error, "Connection ended");
            }
            state.metrics.connections_closed.add(1);
            drop((slot, token));
        });
        drop(entered);
        Ok(())
    }
}
