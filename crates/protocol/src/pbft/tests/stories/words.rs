//! What replicas say, write and do, in the words of a story: `v0` a view, `s1` a slot, `a` what
//! was proposed.

use super::super::*;
use crate::Verdict;
use std::fmt::Display;

/// The command that a letter stands for.
pub(super) fn command(letter: &str) -> Result<Word, String> {
    match letter.as_bytes() {
        [letter @ b'a'..=b'z'] => Ok(Word(u64::from(*letter))),
        _ => Err(format!("a command is one small letter, not {letter}")),
    }
}

fn letter(word: &Word) -> char {
    u8::try_from(word.0).map_or('?', char::from)
}

/// What a slot holds.
pub(super) fn content(command: Option<&Word>) -> String {
    command.map_or_else(|| "no-op".to_owned(), |word| letter(word).to_string())
}

/// What has this digest.
pub(super) fn named(digest: Digest) -> String {
    let letters = (b'a'..=b'z').map(|letter| Some(Word(u64::from(letter))));
    let known = letters.chain([None]).find(|it| digest_of(it.as_ref()) == digest);
    known.map_or_else(|| "something unknown".to_owned(), |it| content(it.as_ref()))
}

fn header(it: &Header) -> String {
    format!("v{} s{} {}", it.view, it.slot, named(it.digest))
}

/// A list of what is there, or a word for nothing.
pub(super) fn list<T: Display>(all: impl IntoIterator<Item = T>, none: &str) -> String {
    let all: Vec<String> = all.into_iter().map(|it| it.to_string()).collect();
    if all.is_empty() { none.to_owned() } else { all.join(" ") }
}

fn signers(ballots: &[Ballot]) -> String {
    list(ballots.iter().map(|it| it.signer), "nobody")
}

fn report(it: &ViewChange) -> String {
    let prepared = it.prepared.iter().map(|it| format!("; prepared {}", header(&it.header)));
    format!("v{}, stable {}{}", it.view, it.stable, prepared.collect::<String>())
}

fn opening(it: &NewView) -> String {
    format!("v{}, reports of {}", it.view, list(it.view_changes.iter().map(|it| it.signer), "-"))
}

fn status(it: &Status) -> String {
    let words = [(!it.active, ", waits"), (it.suspects, ", suspects"), (it.pull, ", pulls")];
    let words = words.into_iter().filter_map(|(is, word)| is.then_some(word));
    format!("v{} at {}{}", it.view, it.committed, words.collect::<String>())
}

/// A message.
pub(super) fn message(body: &Body<Word>) -> String {
    match body {
        Body::PrePrepare(it) => format!("PrePrepare({})", header(&it.vote.header)),
        Body::Prepare(it) => format!("Prepare({})", header(&it.header)),
        Body::Commit(it) => format!("Commit({})", header(&it.header)),
        Body::Decided(it) => {
            format!("Decided({}, by {})", header(&it.header), signers(&it.commits))
        }
        Body::ViewChange(it) => format!("ViewChange({})", report(it)),
        Body::NewView(it) => format!("NewView({})", opening(it)),
        Body::Status(it) => format!("Status({})", status(it)),
        Body::Fetch(it) => format!("Fetch(s{} {})", it.slot, named(it.digest)),
        Body::Payload(it) => format!("Payload(s{} {})", it.slot, named(it.digest)),
        Body::Stable(it) => format!("Stable(s{})", it.slot()),
    }
}

/// The slot that a message is about.
pub(super) fn slot(body: &Body<Word>) -> Option<Slot> {
    match body {
        Body::PrePrepare(it) => Some(it.vote.header.slot),
        Body::Prepare(it) | Body::Commit(it) => Some(it.header.slot),
        Body::Decided(it) => Some(it.header.slot),
        Body::Fetch(it) => Some(it.slot),
        Body::Payload(it) => Some(it.slot),
        Body::Stable(it) => Some(it.slot()),
        Body::ViewChange(_) | Body::NewView(_) | Body::Status(_) => None,
    }
}

/// A record.
pub(super) fn record(it: &Record<Word>) -> String {
    match it {
        Record::Proposal(it) => format!("Proposal({})", header(&it.vote.header)),
        Record::Prepared(it) => {
            let backups = signers(&it.prepares);
            format!("Prepared({}, by {} {backups})", header(&it.header), it.proposal.signer)
        }
        Record::Decided(it, commits) => {
            format!("Decided({}, by {})", header(it), signers(commits))
        }
        Record::Payload(it) => format!("Payload(s{} {})", it.slot, named(it.digest)),
        Record::Stable(it) => format!("Stable(s{})", it.slot()),
        Record::ViewChange(it) => format!("ViewChange({})", report(it)),
        Record::NewView(it) => format!("NewView({})", opening(it)),
    }
}

/// To whom.
pub(super) fn receivers(to: &To) -> String {
    match to {
        To::All => "all".to_owned(),
        To::Group(group) => list(group.iter(), "nobody"),
        To::One(replica) => replica.to_string(),
    }
}

/// A verdict.
pub(super) fn verdict(it: Verdict) -> &'static str {
    match it {
        Verdict::Accepted => "accepted",
        Verdict::Refused => "refused",
        Verdict::Untimely => "untimely",
    }
}

/// What an engine keeps of a slot that it has not committed.
pub(super) fn open_slot(slot: Slot, state: &SlotState<Word>) -> Option<String> {
    let proposed = state.proposal.map(|it| ("proposed", it.vote.header));
    let prepared = state.prepared.as_ref().map(|it| ("prepared", it.header));
    let decided = state.decided.as_ref().map(|it| ("decided", it.0));
    let (stage, it) = decided.or(prepared).or(proposed)?;
    Some(format!("; s{slot} {stage} {} in v{}", named(it.digest), it.view))
}
