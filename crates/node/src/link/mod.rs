//! Links between replicas: bytes to and from each peer, authenticated, bounded, self-healing.
//!
//! | file | holds |
//! |---|---|
//! | `tls` | who may speak: TLS 1.3 with the members' raw public keys |
//! | `handshakes` | how many may be in the middle of showing who they are |
//! | `frame` | where a message ends |
//! | `queue` | what waits for a peer |
//! | this | dialling again and again, accepting, and moving frames |
//!
//! A replica dials every other one and sends on that connection alone; it receives on those that
//! it accepted. An empty frame each second is answered by an empty frame, so that a dead path is
//! noticed within [`SILENCE_MAX`] rather than by TCP's patience, which a partition stretches to
//! minutes. Another transport (QUIC, say) replaces `tls` and [`dial`]; nothing else knows.

pub(crate) mod frame;
mod handshakes;
mod queue;
pub(crate) mod tls;

pub(crate) use frame::FRAME_BYTES_MAX;

use bytes::Bytes;
use frame::{put_frame, read_bytes, read_length};
use handshakes::Handshakes;
use queue::SendQueue;
use quorate_types::{PublicKey, ReplicaId};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tls::{Acceptor, Connector, Identity, code_of};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

/// The least and the most time between two attempts to reach a peer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a connection and its handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);

/// How often a link says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A link that was silent for so long is given up and dialled anew.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// Strangers are told of so often at most, whatever their number.
const STRANGERS_TOLD_EVERY: Duration = Duration::from_secs(1);

/// One write carries about so many bytes at most.
const WRITE_BYTES: usize = 256 << 10;

/// The code for whoever came without being a member of this chain.
const STRANGER: &str = "link-stranger";

/// Another replica, as a link sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: ReplicaId,
    pub(crate) address: String,
    pub(crate) key: PublicKey,
}

/// Who takes what arrives.
pub(crate) trait Receive: Send + Sync + 'static {
    /// Takes a frame from a peer; waits while the peer's share of the inbox is full, which stops
    /// the reading of its link. An error ends the link.
    fn receive(&self, from: ReplicaId, bytes: Bytes)
    -> impl Future<Output = io::Result<()>> + Send;

    /// Hears that a peer can be reached now, or no longer.
    fn link(&self, peer: ReplicaId, up: bool);
}

/// All links of a replica.
#[derive(Clone)]
pub(crate) struct Links {
    peers: Arc<[Option<Outgoing>]>,
}

struct Outgoing {
    queue: Arc<SendQueue>,
    up: Arc<AtomicBool>,
}

/// How a link does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkState {
    /// The peer.
    pub(crate) peer: ReplicaId,
    /// Whether the peer can be reached now.
    pub(crate) up: bool,
    /// Bytes that wait for it.
    pub(crate) waiting_bytes: usize,
    /// Frames that were forgotten because too many waited.
    pub(crate) dropped: u64,
}

impl Links {
    /// Starts to dial every peer, and to accept their links from `listener`.
    ///
    /// # Errors
    /// When the identity makes no TLS configuration.
    pub(crate) fn start(
        runtime: &Handle,
        listener: TcpListener,
        identity: &Identity,
        peers: &[Peer],
        receive: Arc<impl Receive>,
    ) -> Result<Self, rustls::Error> {
        let size = peers.iter().map(|peer| peer.id.position() + 1).max().unwrap_or(0);
        let mut outgoing: Vec<Option<Outgoing>> = (0..size).map(|_| None).collect();
        for peer in peers {
            let queue = Arc::new(SendQueue::new());
            let up = Arc::new(AtomicBool::new(false));
            let connector = identity.connector(peer.id, peer.key)?;
            let tell = (up.clone(), Arc::clone(&receive));
            runtime.spawn(keep_dialling(peer.clone(), connector, queue.clone(), tell));
            outgoing[peer.id.position()] = Some(Outgoing { queue, up });
        }
        let members = peers.iter().map(|peer| (peer.id, peer.key)).collect();
        let accepting = Accepting {
            acceptor: identity.acceptor(members)?,
            receive,
            current: Mutex::new((0..size).map(|_| None).collect()),
            strangers: Mutex::default(),
        };
        runtime.spawn(keep_accepting(listener, Arc::new(accepting)));
        Ok(Self { peers: outgoing.into() })
    }

    /// Queues a frame for a peer. Never waits; see [`SendQueue`].
    pub(crate) fn send(&self, to: ReplicaId, bytes: Bytes) {
        if bytes.is_empty() || bytes.len() > FRAME_BYTES_MAX {
            warn!(to = %to, bytes = bytes.len(), "a message that no link carries is dropped");
            return;
        }
        if let Some(Some(peer)) = self.peers.get(to.position()) {
            peer.queue.push(bytes);
        }
    }

    /// How all links do, by peer.
    pub(crate) fn states(&self) -> impl Iterator<Item = LinkState> + '_ {
        (0..).map(ReplicaId).zip(self.peers.iter()).filter_map(|(peer, outgoing)| {
            let outgoing = outgoing.as_ref()?;
            Some(LinkState {
                peer,
                up: outgoing.up.load(Relaxed),
                waiting_bytes: outgoing.queue.bytes(),
                dropped: outgoing.queue.dropped(),
            })
        })
    }
}

async fn keep_dialling(
    peer: Peer,
    connector: Connector,
    queue: Arc<SendQueue>,
    (up, receive): (Arc<AtomicBool>, Arc<impl Receive>),
) {
    let tell = |now| {
        up.store(now, Relaxed);
        queue.set_up(now);
        receive.link(peer.id, now);
    };
    let mut backoff = BACKOFF.0;
    let mut last_reason = String::new();
    loop {
        match dial(&peer, &connector).await {
            Ok(link) => {
                info!(peer = %peer.id, address = peer.address, "link up");
                tell(true);
                backoff = BACKOFF.0;
                let ended = send_all(link, &queue).await;
                tell(false);
                last_reason = ended.to_string();
                info!(peer = %peer.id, reason = last_reason, "link down");
            }
            // A peer that stays away is news once, not at every attempt.
            Err(error) if error.to_string() == last_reason => {
                debug!(peer = %peer.id, %error, "peer still not reached");
            }
            Err(error) => {
                last_reason = error.to_string();
                let (address, code) = (&peer.address, code_of(&error, "link-refused"));
                warn!(peer = %peer.id, address, %error, code, "peer not reached");
            }
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

async fn dial(
    peer: &Peer,
    connector: &Connector,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let connecting = async {
        let stream = TcpStream::connect(&peer.address).await?;
        stream.set_nodelay(true)?;
        connector.connect(stream).await
    };
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time");
    timeout(HANDSHAKE_MAX, connecting).await.map_err(too_slow)?
}

/// Sends what the queue gives until the link ends; tells why it did.
async fn send_all(link: impl AsyncRead + AsyncWrite + Unpin, queue: &SendQueue) -> io::Error {
    let (mut reader, mut writer) = split(link);
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut frames, mut buffer) = (Vec::new(), Vec::new());
    let answers = hear_answers(&mut reader);
    tokio::pin!(answers);
    loop {
        buffer.clear();
        tokio::select! {
            error = &mut answers => return error,
            () = queue.pushed() => {}
            _ = heartbeat.tick() => put_frame(&mut buffer, &[]),
        }
        loop {
            queue.take(WRITE_BYTES, &mut frames);
            frames.drain(..).for_each(|frame| put_frame(&mut buffer, &frame));
            if buffer.is_empty() {
                break;
            }
            let written = async {
                writer.write_all(&buffer).await?;
                writer.flush().await
            };
            tokio::select! {
                error = &mut answers => return error,
                done = written => if let Err(error) = done { return error },
            }
            buffer.clear();
        }
    }
}

/// Ends when the peer closed the link, spoke out of turn, or was silent for too long.
async fn hear_answers(reader: &mut (impl AsyncRead + Unpin)) -> io::Error {
    loop {
        match timeout(SILENCE_MAX, read_length(reader)).await {
            Ok(Ok(Some(0))) => {}
            Ok(Ok(Some(_))) => return io::Error::other("the peer spoke on the wrong link"),
            Ok(Ok(None)) => return io::Error::other("the peer closed the link"),
            Ok(Err(error)) => return error,
            Err(_) => return io::Error::new(io::ErrorKind::TimedOut, "the peer is silent"),
        }
    }
}

struct Accepting<R> {
    acceptor: Acceptor,
    receive: Arc<R>,
    /// The newest link of each peer. A peer that dials again has lost the one before.
    current: Mutex<Vec<Option<AbortHandle>>>,
    strangers: Mutex<Strangers>,
}

/// Those who came without a member's key.
#[derive(Default)]
struct Strangers {
    told: Option<Instant>,
    untold: u64,
}

async fn keep_accepting(listener: TcpListener, accepting: Arc<Accepting<impl Receive>>) {
    let handshakes = Arc::new(Handshakes::default());
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptors, most likely: they come back when connections end.
                warn!(%error, code = "link-accept", "a link could not be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut place = handshakes.begin(address.ip());
        let accepting = Arc::clone(&accepting);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE_MAX, accepting.acceptor.accept(stream)) => shaken,
                () = place.given_up() => {
                    let reason = "its handshake was given up for newer ones";
                    accepting.refuse(address, STRANGER, reason);
                    return;
                }
            };
            drop(place);
            match shaken {
                Ok(Ok((from, link))) => accepting.begin(from, link),
                Ok(Err(error)) => accepting.refuse(address, code_of(&error, STRANGER), error),
                Err(_) => accepting.refuse(address, STRANGER, "it shook no hands in time"),
            }
        });
    }
}

impl<R: Receive> Accepting<R> {
    fn begin(&self, from: ReplicaId, link: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let receive = Arc::clone(&self.receive);
        let task = tokio::spawn(async move {
            if let Err(error) = receive_all(from, link, &*receive).await {
                warn!(peer = %from, %error, code = "link-broken", "a link was ended");
            }
        });
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = current.get_mut(from.position())
            && let Some(before) = place.replace(task.abort_handle())
        {
            before.abort();
        }
    }

    /// Tells of a stranger, now and then: a log that strangers can fill is a weapon.
    fn refuse(&self, address: SocketAddr, code: &str, reason: impl std::fmt::Display) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.told.is_some_and(|told| told.elapsed() < STRANGERS_TOLD_EVERY) {
            strangers.untold += 1;
            debug!(%address, %reason, code, "a link was refused");
            return;
        }
        let untold = std::mem::take(&mut strangers.untold);
        strangers.told = Some(Instant::now());
        warn!(%address, %reason, untold, code, "a link was refused");
    }
}

async fn receive_all(
    from: ReplicaId,
    link: impl AsyncRead + AsyncWrite + Unpin,
    receive: &impl Receive,
) -> io::Result<()> {
    let (reader, mut writer) = split(link);
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let mut answered = Instant::now();
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer is silent");
    while let Some(length) =
        timeout(SILENCE_MAX, read_length(&mut reader)).await.map_err(silent)??
    {
        if length > 0 {
            let bytes = read_bytes(&mut reader, length).await?;
            receive.receive(from, bytes).await?;
        }
        // At most two answers a heartbeat, whatever the peer asks for.
        if length == 0 && answered.elapsed() >= HEARTBEAT / 2 {
            answered = Instant::now();
            writer.write_all(&[0; 4]).await?;
            writer.flush().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
