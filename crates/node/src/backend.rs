//! The replica, as its gateway and its operations listener see it.

use crate::{
    answers::AnswerRules,
    config::Config,
    faults::Faults,
    host::CopyStanding,
    inbox::{Inbox, Notice, Submit},
    link::Links,
    published::Published,
    replies::{Answer, Replies},
    standing::{Now, Standing},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_gateway::{
    AnswerStatus, Backend, CopyStatus, Counters, Fault, Fetch, Fetched, LastHead,
    OperationsBackend, Peer, Status, Submitted, Timing,
};
use quorate_replica::{Reply, Sight, Ticket};
use quorate_types::{Refusal, Request};
use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};
use tokio::task::spawn_blocking;

/// See the module. A clone is a handle to the same replica; `M` is what replicas exchange.
pub(crate) struct Node<M>(Arc<Inner<M>>);

struct Inner<M> {
    config: Config,
    inbox: Arc<Inbox<M>>,
    replies: Arc<Replies>,
    published: Published,
    standing: Arc<Standing>,
    links: Links,
    faults: Arc<Faults>,
    counters: OnceLock<Counters>,
}

/// What a node is made of.
pub(crate) struct Parts<M> {
    pub(crate) config: Config,
    pub(crate) inbox: Arc<Inbox<M>>,
    pub(crate) replies: Arc<Replies>,
    pub(crate) published: Published,
    pub(crate) standing: Arc<Standing>,
    pub(crate) links: Links,
    pub(crate) faults: Arc<Faults>,
}

impl<M> Clone for Node<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Node<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        let Parts { config, inbox, replies, published, standing, links, faults } = parts;
        Self(Arc::new(Inner {
            config,
            inbox,
            replies,
            published,
            standing,
            links,
            faults,
            counters: OnceLock::new(),
        }))
    }

    /// Adds the gateway's own counters to the metrics.
    pub(crate) fn count(&self, counters: Counters) {
        let _ = self.0.counters.set(counters);
    }

    /// Why a request would not be ordered, if it would not.
    fn unready(&self, now: &Now) -> Option<&'static str> {
        if !self.0.standing.disk_takes_writes() {
            return Some("the disk is full, or read-only");
        }
        let Some(sight) = &now.sight else { return Some("the replica recovers") };
        if !sight.votes {
            return Some("the replica lost its disk and has not rejoined yet");
        }
        if now.ready {
            return self.lonely().then_some("too few other replicas can be reached");
        }
        Some(match sight {
            Sight { syncing: true, .. } => "the replica fetches what it lacks",
            Sight { primary: None, .. } => "a view change runs",
            _ => "the replica is not caught up",
        })
    }

    /// Whether the links that are up, with this replica, make no quorum.
    fn lonely(&self) -> bool {
        let up = self.0.links.states().filter(|state| state.up).count();
        up + 1 < self.0.config.committee().quorum()
    }

    fn status_now(&self) -> Status {
        let inner = &*self.0;
        let (config, now) = (&inner.config, inner.standing.now());
        let reason = self.unready(&now);
        let (view, primary, height, lag) = match &now.sight {
            None => (0, 0, 0, 0),
            Some(sight) => {
                let primary = sight.primary.unwrap_or(config.committee().primary(sight.view));
                let lag = sight.highest.0.saturating_sub(sight.executed.0);
                (sight.view.0, primary.0, sight.executed.0, lag)
            }
        };
        let last_head = now.certificate.as_ref().map(|certificate| LastHead {
            size: certificate.head.size,
            root: STANDARD.encode(certificate.head.root.0),
            time: certificate.record.time.0,
        });
        let development = config.file().development;
        let own = format!("http://{}", config.file().listen.operations);
        Status {
            replica: config.me().0,
            replicas: u16::try_from(config.committee().n()).unwrap_or(u16::MAX),
            origin: config.policy().origin_text().to_owned(),
            engine: config.file().engine.clone(),
            service: config.file().service.clone(),
            fault_model: config.committee().model().as_str().to_owned(),
            development: config.policy().is_development(),
            ready: reason.is_none(),
            reason: reason.map(str::to_owned),
            view,
            primary,
            height,
            lag,
            peers: self.peers(),
            last_head,
            divergent: inner.standing.divergent(),
            copy: self.copy(),
            answers: self.answers(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            operations: development.then_some(own),
        }
    }

    fn copy(&self) -> Option<CopyStatus> {
        let standing = self.0.standing.copy()?.standing();
        let next = match standing {
            CopyStanding::InStep { next } | CopyStanding::Restoring { next } => Some(next.0),
            CopyStanding::Fenced => None,
        };
        let url = self.0.config.file().service.clone();
        Some(CopyStatus { url, standing: standing.word().to_owned(), next })
    }

    fn answers(&self) -> Option<AnswerStatus> {
        let rules = &self.0.config.copy()?.answers;
        (*rules != AnswerRules::default()).then(|| rules.status())
    }

    fn peers(&self) -> Vec<Peer> {
        let peer = |state: crate::link::LinkState| {
            let member = self.0.config.members().get(state.peer.position());
            Peer {
                id: state.peer.0,
                connected: state.up,
                operations: member.and_then(|member| member.operations.clone()),
            }
        };
        self.0.links.states().map(peer).collect()
    }
}

/// Gives a ticket up when the gateway no longer waits for its answer.
struct Waiting<'a, M> {
    inner: &'a Inner<M>,
    ticket: Ticket,
}

impl<M> Drop for Waiting<'_, M> {
    fn drop(&mut self) {
        if self.inner.replies.give_up(self.ticket) {
            self.inner.inbox.notify(Notice::Abandon(self.ticket));
        }
    }
}

impl<M: Send + 'static> Backend for Node<M> {
    async fn submit(&self, request: Request) -> Result<Submitted, Refusal> {
        let inner = &*self.0;
        inner.standing.figures.requests.inc();
        let started = Instant::now();
        let (ticket, receiver) = inner.replies.wait();
        let _waiting = Waiting { inner, ticket };
        let submit = Submit { ticket, request: Arc::new(request) };
        if inner.inbox.submit(submit).is_err() {
            inner.replies.give_up(ticket);
            inner.standing.figures.refused.inc();
            let detail = "too many requests wait to be ordered";
            return Err(Refusal::new(503, "overloaded", detail).retry_after(1));
        }
        let stopping = |_| Refusal::new(503, "not-ready", "the replica stops").retry_after(1);
        let Answer { reply, at } = receiver.await.map_err(stopping)?;
        let (proven, timing) = match reply {
            Reply::Certified(certified) => {
                let index = certified.facts().index;
                let timing = inner.standing.timing(index, started, at);
                (inner.published.proven(&certified), timing)
            }
            Reply::Earlier(index) => (self.earlier(index).await?, Timing::default()),
            Reply::Refused(refusal) => {
                inner.standing.figures.refused.inc();
                return Err(refusal);
            }
        };
        Ok(Submitted { proven: inner.faults.serve(proven), timing })
    }

    async fn fetch(&self, what: Fetch) -> Result<Fetched, Refusal> {
        let published = self.0.published.clone();
        blocking(move || published.fetch(what)).await?
    }

    async fn status(&self) -> Status {
        self.status_now()
    }
}

impl<M: Send + 'static> Node<M> {
    async fn earlier(&self, index: quorate_types::Index) -> Result<quorate_types::Proven, Refusal> {
        let published = self.0.published.clone();
        // Here a 404 would be read as the service's word.
        blocking(move || published.earlier(index)).await?.map_err(|refusal| match refusal.status {
            404 => Refusal::new(503, "not-ready", "the answer was given before; ask for it again")
                .retry_after(1),
            _ => refusal,
        })
    }
}

/// Reads from the disk elsewhere than on the threads that serve connections.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let failed = |_| Refusal::new(503, "log-unreadable", "the read was given up");
    spawn_blocking(read).await.map_err(failed)
}

impl<M: Send + 'static> OperationsBackend for Node<M> {
    async fn ready(&self) -> Result<(), String> {
        match self.unready(&self.0.standing.now()) {
            None => Ok(()),
            Some(reason) => Err(reason.to_owned()),
        }
    }

    fn metrics_text(&self) -> String {
        let mut text = self.0.standing.metrics_text(&self.0.links);
        if let Some(counters) = self.0.counters.get() {
            // The format ends in a line of its own, which stays the last one.
            let end = text.rfind("# EOF").unwrap_or(text.len());
            let rest = text.split_off(end);
            counters.write_metrics(&mut text);
            text.push_str(&rest);
        }
        text
    }

    async fn status(&self) -> Status {
        self.status_now()
    }

    async fn published(&self, what: Fetch) -> Result<Fetched, Refusal> {
        Backend::fetch(self, what).await
    }

    async fn set_fault(&self, fault: Option<Fault>) -> Result<(), Refusal> {
        if !self.0.config.file().development {
            let detail = "faults can be injected in development clusters only";
            return Err(Refusal::new(403, "faults-refused", detail));
        }
        tracing::warn!(?fault, "fault injection");
        let published = self.0.published.clone();
        let replays = fault == Some(Fault::Replay);
        let old = blocking(move || replays.then(|| published.newest_answer()).flatten()).await?;
        self.0.faults.set(fault, old);
        Ok(())
    }
}
