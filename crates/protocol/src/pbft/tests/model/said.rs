//! Messages by number and by name. What two messages differ in and no engine ever looks at, namely
//! which quorum signed a certificate, is left out of the name: they are one message here.

use super::super::*;
use quorate_crypto::Verified;

/// A message of the model.
pub(super) type Number = u32;

/// A message as it is delivered.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) via: ReplicaId,
    pub(super) signer: ReplicaId,
    pub(super) message: Verified<Message<Word>>,
}

/// All messages that anybody sent, or could have, in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: Vec<Known>,
    by_name: BTreeMap<String, Number>,
}

impl Book {
    pub(super) fn message(&self, number: Number) -> &Known {
        &self.known[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The number of a message; `via` is who delivers what nobody signed.
    pub(super) fn number(&mut self, macs: &Macs, via: ReplicaId, body: Body<Word>) -> Number {
        let name = name(&body);
        if let Some(number) = self.by_name.get(&name) {
            return *number;
        }
        let message = macs.message(body);
        let via = message.signer().unwrap_or(via);
        let Delivery { signer, via, message } = macs.verified(via, message).expect("a valid one");
        let number = Number::try_from(self.known.len()).unwrap();
        self.known.push(Known { name: name.clone(), via, signer, message });
        self.by_name.insert(name, number);
        number
    }
}

/// The command of that number as a letter, the no-op as a dash.
pub(super) fn letter(digest: Digest) -> char {
    let word = |word| digest_of(Some(&Word(word))) == digest;
    let letters = ('a'..='f').zip(1..);
    letters.into_iter().find(|(_, it)| word(*it)).map_or('-', |(letter, _)| letter)
}

fn header(header: Header) -> String {
    format!("v{} s{} {}", header.view, header.slot, letter(header.digest))
}

/// A certificate, with how many signed it if those are no quorum.
pub(super) fn certified(prepared: &Prepared) -> String {
    let votes = (prepared.prepares.len() + 1).min(3);
    format!("{} by {votes}", header(prepared.header))
}

pub(super) fn report(report: &ViewChange) -> String {
    let prepared: Vec<String> = report.prepared.iter().map(certified).collect();
    format!("ViewChange v{} by {} [{}]", report.view, report.signer, prepared.join(", "))
}

/// An opening by what follows from it, and whose reports it has.
pub(super) fn opening(opening: &NewView) -> String {
    let signers: Vec<String> =
        opening.view_changes.iter().map(|it| it.signer.to_string()).collect();
    let chosen = view_change::choose(&opening.view_changes, digest_of::<Word>(None));
    let slots = chosen.slots.iter().map(|(slot, digest)| format!("s{slot} {}", letter(*digest)));
    let slots = slots.collect::<Vec<_>>().join(", ");
    let committee = Committee::new(4, FaultModel::Bft).unwrap();
    let sound = if view_change::opening_is_sound(opening, committee, 8) { "" } else { " unsound" };
    let (view, by) = (opening.view, opening.signer);
    format!("NewView v{view} by {by} [{slots}] of {}{sound}", signers.join("+"))
}

/// What distinguishes a message from others.
pub(super) fn name(body: &Body<Word>) -> String {
    let vote =
        |word: &str, vote: &Vote| format!("{word} {} by {}", header(vote.header), vote.signer);
    match body {
        Body::PrePrepare(it) => vote("PrePrepare", &it.vote),
        Body::Prepare(it) => vote("Prepare", it),
        Body::Commit(it) => vote("Commit", it),
        Body::ViewChange(it) => report(it),
        Body::NewView(it) => opening(it),
        Body::Decided(it) => {
            let signers: Vec<String> = it.commits.iter().map(|it| it.signer.to_string()).collect();
            format!("Decided {} by {}", header(it.header), signers.join("+"))
        }
        Body::Payload(it) => format!("Payload s{} {}", it.slot, letter(it.digest)),
        Body::Status(_) | Body::Fetch(_) | Body::Stable(_) => format!("{body:?}"),
    }
}
