//! What each replica said last, and the picture that it makes.

use crate::{command::status::charge, failure::Failure};
use quorate_client::Endpoint;
use quorate_gateway::{LastHead, Status};
use quorate_types::{Committee, FaultModel};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Over how long a rate is taken.
const RATE_OVER: Duration = Duration::from_secs(5);

/// The most listeners that are asked: a committee has no more members.
const WATCHED_MAX: usize = 1024;

/// What came of one question.
pub(super) struct Heard {
    /// Whom it was put to.
    pub(super) place: usize,
    /// When the answer came.
    pub(super) at: Instant,
    /// The answer, or why there is none.
    pub(super) said: Result<Box<Status>, Failure>,
}

/// All replicas that are asked.
pub(super) struct Board {
    /// After how long an answer counts no more.
    fresh: Duration,
    watched: Vec<Watched>,
    /// Whose cluster it is, by the first that answered.
    origin: Option<String>,
}

/// One listener, and what was heard from there.
struct Watched {
    endpoint: Endpoint,
    /// Which replica it is, by its own word or another's.
    id: Option<u16>,
    said: Option<(Instant, Box<Status>)>,
    /// Why the last question was not answered.
    failure: Option<Failure>,
    /// How long its log was, and when.
    sizes: VecDeque<(Instant, u64)>,
}

impl Watched {
    fn at(endpoint: Endpoint, id: Option<u16>) -> Self {
        Self { endpoint, id, said: None, failure: None, sizes: VecDeque::new() }
    }

    /// Entries that were certified a second.
    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.sizes.front()?, self.sizes.back()?);
        let seconds = last.0.saturating_duration_since(first.0).as_secs_f64();
        // A log that was lost is shorter than it was.
        let grown = last.1.saturating_sub(first.1);
        (seconds > 0.0).then(|| (grown as f64 / seconds * 10.0).round() / 10.0)
    }
}

/// The cluster at one moment, as the replicas tell it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Picture {
    /// When, in Unix milliseconds by this machine's clock.
    pub(super) time: u64,
    pub(super) origin: String,
    pub(super) engine: String,
    pub(super) service: String,
    pub(super) fault_model: String,
    pub(super) development: bool,
    /// How many replicas answer questions.
    pub(super) answering: usize,
    /// How many would order a request.
    pub(super) ready: usize,
    /// How many of them it takes.
    pub(super) quorum: usize,
    /// The highest view that one tells of, and who leads it.
    pub(super) view: u64,
    pub(super) primary: u16,
    pub(super) height: u64,
    /// By how many entries the certified log grows a second: the median of the replicas' words.
    pub(super) requests_per_second: Option<f64>,
    pub(super) replicas: Vec<Row>,
    pub(super) divergent: Vec<Accused>,
    /// Sizes at which two replicas show different certified roots. More than f lie.
    pub(super) forks: Vec<Fork>,
}

/// One replica.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Its number, where known.
    pub(super) id: Option<u16>,
    /// Where it is asked, where known.
    pub(super) url: Option<String>,
    pub(super) answers: bool,
    /// Why it does not answer.
    pub(super) error: Option<String>,
    /// How old its last answer is.
    pub(super) age_ms: Option<u64>,
    /// How many of the others that answer have a link to it.
    pub(super) linked_by: usize,
    /// How many of the others answer.
    pub(super) others: usize,
    /// What it said, if it answers.
    #[serde(flatten)]
    pub(super) said: Option<Said>,
}

/// What a replica says of itself.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    pub(super) ready: bool,
    pub(super) reason: Option<String>,
    pub(super) view: u64,
    pub(super) primary: u16,
    pub(super) height: u64,
    pub(super) lag: u64,
    pub(super) requests_per_second: Option<f64>,
    pub(super) peers_up: usize,
    pub(super) peers: usize,
    pub(super) last_head: Option<LastHead>,
    pub(super) version: String,
}

/// A replica that others call divergent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Accused {
    pub(super) id: u16,
    pub(super) charge: String,
    /// Who says so.
    pub(super) by: Vec<u16>,
}

/// Replicas that show different roots of one size.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fork {
    pub(super) size: u64,
    pub(super) replicas: Vec<u16>,
}

impl Board {
    /// Nothing heard yet.
    pub(super) fn of(endpoints: Vec<Endpoint>, interval: Duration) -> Self {
        let mut board = Self {
            fresh: (interval * 2).max(Duration::from_secs(2)),
            watched: Vec::new(),
            origin: None,
        };
        for endpoint in endpoints {
            board.watch(endpoint, None);
        }
        board
    }

    /// Whom to ask, in order.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.watched.iter().map(|watched| &watched.endpoint)
    }

    /// Whether each was heard, or failed.
    pub(super) fn is_complete(&self) -> bool {
        self.watched.iter().all(|one| one.said.is_some() || one.failure.is_some())
    }

    /// Whether anybody answered.
    pub(super) fn has_heard(&self) -> bool {
        self.origin.is_some()
    }

    /// Why nobody answers, once all have failed.
    pub(super) fn hopeless(&self) -> Option<Failure> {
        let all = self.watched.iter().all(|one| one.failure.is_some());
        self.watched.iter().filter(|_| all).find_map(|one| one.failure.clone())
    }

    /// Takes an answer; gives whom to ask from now on, too.
    pub(super) fn take(&mut self, heard: Heard) -> Vec<(usize, Endpoint)> {
        let Heard { place, at, said } = heard;
        let Some(watched) = self.watched.get_mut(place) else { return Vec::new() };
        let status = match said {
            Ok(status) => status,
            Err(failure) => {
                watched.failure = Some(failure);
                return Vec::new();
            }
        };
        let origin = self.origin.get_or_insert_with(|| status.origin.clone());
        if *origin != status.origin {
            let message = format!("it is of another cluster, {}", status.origin);
            watched.failure = Some(Failure::failed("cluster-other", message));
            watched.said = None;
            return Vec::new();
        }
        watched.id = Some(status.replica);
        watched.failure = None;
        if let Some(head) = &status.last_head {
            watched.sizes.push_back((at, head.size));
            let old = |(taken, _): &(Instant, u64)| at.duration_since(*taken) > RATE_OVER;
            while watched.sizes.len() > 2 && watched.sizes.front().is_some_and(old) {
                watched.sizes.pop_front();
            }
        }
        let told: Vec<(u16, Option<Endpoint>)> = status
            .peers
            .iter()
            .map(|peer| (peer.id, peer.operations.as_deref().and_then(endpoint)))
            .collect();
        watched.said = Some((at, status));
        told.into_iter().filter_map(|(id, at)| self.watch_peer(id, at?)).collect()
    }

    /// Begins to watch a replica that another one told of.
    fn watch_peer(&mut self, id: u16, endpoint: Endpoint) -> Option<(usize, Endpoint)> {
        let known = |one: &Watched| one.id == Some(id);
        if self.watched.iter().any(known) {
            return None;
        }
        self.watch(endpoint, Some(id))
    }

    fn watch(&mut self, endpoint: Endpoint, id: Option<u16>) -> Option<(usize, Endpoint)> {
        let known = self.watched.iter().any(|one| one.endpoint == endpoint);
        if known || self.watched.len() >= WATCHED_MAX {
            return None;
        }
        self.watched.push(Watched::at(endpoint.clone(), id));
        Some((self.watched.len() - 1, endpoint))
    }

    /// The cluster as it is known now.
    pub(super) fn picture(&self, now: Instant, time: u64) -> Picture {
        let fresh = |one: &&Watched| self.answers(one, now);
        let said: BTreeMap<u16, &Status> = self
            .watched
            .iter()
            .filter(fresh)
            .filter_map(|one| one.said.as_ref())
            .map(|(_, status)| (status.replica, &**status))
            .collect();
        let any = self.watched.iter().find_map(|one| one.said.as_ref()).map(|(_, status)| status);
        let n = any.map_or(0, |status| status.replicas);
        let ahead = said.values().max_by_key(|status| status.view);
        let mut rates: Vec<f64> =
            self.watched.iter().filter(fresh).filter_map(Watched::rate).collect();
        rates.sort_by(f64::total_cmp);
        let word = |word: fn(&Status) -> &String| any.map_or_else(String::new, |s| word(s).clone());
        Picture {
            time,
            origin: word(|status| &status.origin),
            engine: word(|status| &status.engine),
            service: word(|status| &status.service),
            fault_model: word(|status| &status.fault_model),
            development: any.is_some_and(|status| status.development),
            answering: said.len(),
            ready: said.values().filter(|status| status.ready).count(),
            quorum: quorum(n, &word(|status| &status.fault_model)),
            view: ahead.map_or(0, |status| status.view),
            primary: ahead.map_or(0, |status| status.primary),
            height: said.values().map(|status| status.height).max().unwrap_or(0),
            requests_per_second: rates.get(rates.len() / 2).copied(),
            replicas: self.rows(now, n, &said),
            divergent: accused(&said),
            forks: forks(&said),
        }
    }

    fn answers(&self, one: &Watched, now: Instant) -> bool {
        let age = one.said.as_ref().map(|(at, _)| now.saturating_duration_since(*at));
        one.failure.is_none() && age.is_some_and(|age| age <= self.fresh)
    }

    /// A row for each replica, and for each listener that nobody knows yet.
    fn rows(&self, now: Instant, n: u16, said: &BTreeMap<u16, &Status>) -> Vec<Row> {
        let known = (0..n).map(|id| {
            let named = self.watched.iter().filter(|one| one.id == Some(id));
            let best = named.max_by_key(|one| self.answers(one, now));
            self.row(Some(id), best, now, said)
        });
        let others = self.watched.iter().filter(|one| one.id.is_none());
        known.chain(others.map(|one| self.row(None, Some(one), now, said))).collect()
    }

    fn row(
        &self,
        id: Option<u16>,
        watched: Option<&Watched>,
        now: Instant,
        said: &BTreeMap<u16, &Status>,
    ) -> Row {
        let others = said.iter().filter(|(other, _)| Some(**other) != id);
        let links = others.clone().filter(|(_, status)| {
            status.peers.iter().any(|peer| Some(peer.id) == id && peer.connected)
        });
        let answers = watched.is_some_and(|one| self.answers(one, now));
        let status = watched.filter(|_| answers).and_then(|one| one.said.as_ref());
        Row {
            id,
            url: watched.map(|one| one.endpoint.to_string()),
            answers,
            error: match (answers, watched) {
                (true, _) => None,
                (false, None) => Some("nobody tells where it can be asked".to_owned()),
                (false, Some(one)) => Some(silence(one)),
            },
            age_ms: watched.and_then(|one| one.said.as_ref()).map(|(at, _)| {
                u64::try_from(now.saturating_duration_since(*at).as_millis()).unwrap_or(u64::MAX)
            }),
            linked_by: links.count(),
            others: others.count(),
            said: status.map(|(_, status)| own_word(status, watched.and_then(Watched::rate))),
        }
    }
}

/// A listener's address, where it is one that can be asked.
fn endpoint(url: &str) -> Option<Endpoint> {
    quorate_client::Url::parse(url).ok().map(|url| url.endpoint)
}

/// Why a listener is silent, without its name, which stands beside it.
fn silence(one: &Watched) -> String {
    let Some(failure) = &one.failure else { return "no answer in time".to_owned() };
    let name = format!("{}: ", one.endpoint);
    failure.message.strip_prefix(&name).unwrap_or(&failure.message).to_owned()
}

fn own_word(status: &Status, rate: Option<f64>) -> Said {
    Said {
        ready: status.ready,
        reason: status.reason.clone(),
        view: status.view,
        primary: status.primary,
        height: status.height,
        lag: status.lag,
        requests_per_second: rate,
        peers_up: status.peers.iter().filter(|peer| peer.connected).count(),
        peers: status.peers.len(),
        last_head: status.last_head.clone(),
        version: status.version.clone(),
    }
}

/// How many replicas make a quorum; 0 where the model is not known here.
fn quorum(n: u16, model: &str) -> usize {
    let models = [FaultModel::Bft, FaultModel::Hybrid];
    let model = models.into_iter().find(|known| known.as_str() == model);
    let committee = model.and_then(|model| Committee::new(n, model).ok());
    committee.map_or(0, |committee| committee.quorum())
}

fn accused(said: &BTreeMap<u16, &Status>) -> Vec<Accused> {
    let mut all: BTreeMap<u16, Accused> = BTreeMap::new();
    for (by, status) in said {
        for one in &status.divergent {
            let accused = all.entry(one.id).or_insert_with(|| Accused {
                id: one.id,
                charge: charge(&one.evidence),
                by: Vec::new(),
            });
            if !accused.by.contains(by) {
                accused.by.push(*by);
            }
        }
    }
    all.into_values().collect()
}

fn forks(said: &BTreeMap<u16, &Status>) -> Vec<Fork> {
    let mut shown: BTreeMap<u64, (BTreeSet<&str>, Vec<u16>)> = BTreeMap::new();
    for (id, status) in said {
        if let Some(head) = &status.last_head {
            let (roots, replicas) = shown.entry(head.size).or_default();
            roots.insert(&head.root);
            replicas.push(*id);
        }
    }
    let forked = shown.into_iter().filter(|(_, (roots, _))| roots.len() > 1);
    forked.map(|(size, (_, replicas))| Fork { size, replicas }).collect()
}

#[cfg(test)]
mod tests;
