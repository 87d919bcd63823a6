//! The listener's loop: accepts connections within bounds, and ends them in order.

use crate::{
    answer::problem,
    codes,
    counters::Counters,
    limits::Limits,
    line::{self, Answers, Line},
    quota::Quota,
    tls::Tls,
};
use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
};

/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections of a listener share.
#[derive(Clone)]
pub(crate) struct Server<A> {
    pub(crate) answers: A,
    pub(crate) limits: Arc<Limits>,
    pub(crate) quota: Arc<Quota>,
    pub(crate) counters: Counters,
    /// Without it the listener speaks plain HTTP.
    pub(crate) tls: Option<Tls>,
}

impl<A: Answers> Server<A> {
    /// Serves until `shutdown`, then lets open requests end within the grace period.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let builder = Arc::new(line::builder(&self.limits));
        let (stop, stopped) = watch::channel(false);
        let mut lines = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = lines.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        let Some(connected) = self.quota.connect(peer.ip(), &self.limits) else {
                            self.turn_away(&socket);
                            continue;
                        };
                        // Answers are small and written whole: waiting to fill packets costs time.
                        let _ = socket.set_nodelay(true);
                        let line = Arc::new(Line::new(self.limits.clone(), connected));
                        let answers = self.answers.clone();
                        let (builder, stopped) = (builder.clone(), stopped.clone());
                        let tls = self.tls.clone();
                        lines.spawn(line::begin(tls, builder, answers, socket, line, stopped));
                    }
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        drop(listener);
        let _ = stop.send(true);
        let ending = async {
            while let Some(ended) = lines.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.limits.shutdown_grace(), ending).await.is_err() {
            tracing::info!(connections = lines.len(), "open connections are cut off");
        }
        lines.shutdown().await;
    }

    /// Says why, as far as the socket takes it at once, and closes.
    fn turn_away(&self, socket: &TcpStream) {
        self.counters.count_turned_away();
        if self.tls.is_some() {
            return; // A handshake would cost what there is too little of.
        }
        let refusal = codes::TOO_MANY_CONNECTIONS.refusal("too many connections are open");
        let (response, body) = problem(&refusal);
        let mut text = format!("HTTP/1.1 {}\r\n", response.status());
        for (name, value) in response.headers() {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()));
        let _ = socket.try_write(&[text.as_bytes(), &body].concat());
    }
}

/// Waits a little where accepting again at once would fail again.
async fn pause_after(error: &io::Error) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_one_connection {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}
