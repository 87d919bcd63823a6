//! From links to the inbox: frames become messages.

use crate::{
    inbox::{Inbox, Notice},
    link::{FRAME_BYTES_MAX, Receive},
    standing::Standing,
};
use bytes::Bytes;
use quorate_types::{ReplicaId, Wire};
use std::{io, sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::debug;

/// A link is not read for so long while its peer's share of the inbox is full; then what it brings
/// is dropped, so that its heartbeats are heard.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct FromPeers<M> {
    pub(crate) inbox: Arc<Inbox<M>>,
    pub(crate) standing: Arc<Standing>,
}

impl<M: Wire + Send + 'static> Receive for FromPeers<M> {
    async fn receive(&self, from: ReplicaId, bytes: Bytes) -> io::Result<()> {
        let message = M::from_wire(&bytes, FRAME_BYTES_MAX).map_err(|error| {
            self.standing.figures.messages_malformed.inc();
            io::Error::new(io::ErrorKind::InvalidData, error.to_string())
        })?;
        match timeout(PATIENCE, self.inbox.room(from, bytes.len())).await {
            Ok(Some(room)) => self.inbox.put(from, message, room),
            Ok(None) => return Err(io::Error::other("the sender has no share of the inbox")),
            Err(_) => debug!(%from, "a message was dropped: the sender's share is full"),
        }
        Ok(())
    }

    fn link(&self, peer: ReplicaId, up: bool) {
        self.inbox.notify(Notice::Link { peer, up });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Evidence, inbox::Round};
    use quorate_types::Slot;
    use std::path::Path;

    #[tokio::test]
    async fn what_is_no_message_ends_the_link_and_is_counted() {
        let inbox = Arc::new(Inbox::<Slot>::new(2, 1));
        let evidence = Evidence::open(Path::new("/nonexistent"));
        let standing = Arc::new(Standing::new(Arc::default(), evidence, None));
        let peers = FromPeers { inbox: Arc::clone(&inbox), standing: Arc::clone(&standing) };
        let wire = Slot(7).to_wire();
        let longer = [&wire[..], &[0]].concat();
        let malformed = [&wire[..wire.len() - 1], &longer, b"GET / HTTP/1.1\r\n\r\n"];
        for bytes in malformed {
            let taken = peers.receive(ReplicaId(1), Bytes::copy_from_slice(bytes)).await;
            assert!(taken.is_err(), "{bytes:?}");
        }
        assert_eq!(standing.figures.messages_malformed.get(), malformed.len() as u64);
        peers.receive(ReplicaId(1), wire.clone().into()).await.unwrap();
        assert!(peers.receive(ReplicaId(2), wire.into()).await.is_err(), "a stranger has no room");
        let mut round = Round::default();
        inbox.take(None, &mut round);
        let taken: Vec<_> = round.messages.iter().map(|arrived| arrived.message).collect();
        assert_eq!(taken, [Slot(7)], "only the message arrived");
    }
}
