//! The trust root: one C2SP tlog-policy, with nested groups.

use crate::{
    key::{KeyError, KeyKind, VerifierKey},
    origin::Origin,
    strict::is_sound_key,
    text::number,
    tree::sha256,
};
use quorate_types::{Committee, Digest, PublicKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use thiserror::Error;

/// The deepest nesting of groups: a group of witnesses is one deep.
pub const NESTING_MOST: usize = 32;

/// The longest policy text, in bytes.
pub const POLICY_BYTES_MOST: usize = 1 << 20;

/// Whose signatures make a head believed. Replica `i` has the `i`-th log and the `i`-th witness.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    text: String,
    origin: Origin,
    origin_text: String,
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    groups: Vec<Group>,
    quorum: Member,
    below_quorum: Vec<bool>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
    depth: usize,
}

/// Part of a group: places in the lists of witnesses and groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Why a text is not a policy, with the line, counted from 1.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PolicyError {
    /// More than [`POLICY_BYTES_MOST`] bytes.
    #[error("the policy has more than 1 MiB")]
    TooLong,
    /// No newline at the end, or a control character.
    #[error("the policy is not lines of text")]
    Text,
    /// A line that is none of `log`, `witness`, `group`, `quorum` in their forms.
    #[error("line {0} is none of log, witness, group and quorum")]
    Line(usize),
    /// A key that is no verifier key.
    #[error("line {0}: {1}")]
    Key(usize, KeyError),
    /// A log's key on a witness line, or the other way round.
    #[error("line {0}: a key of the wrong type")]
    KeyKind(usize),
    /// A key of small order, or not canonically encoded, or no key at all.
    #[error("line {0}: a weak key")]
    WeakKey(usize),
    /// A public key that stood before, under whatever name and type, or another key of that name
    /// and id.
    #[error("line {0}: a key that stood before")]
    SameKey(usize),
    /// A log's name that is no origin, or not that of the logs before.
    #[error("line {0}: the log's name is not the one origin")]
    Origin(usize),
    /// A name, of a witness, a group or a cosigner, that stood before, or `none`.
    #[error("line {0}: a name that stood before, or is reserved")]
    Name(usize),
    /// A group's or the quorum's reference to what was not named before.
    #[error("line {0}: an unknown name, or `none`")]
    Unknown(usize),
    /// A member that belongs to a group already.
    #[error("line {0}: a member that belongs to a group already")]
    MemberTwice(usize),
    /// A threshold that is not between 1 and the number of members.
    #[error("line {0}: the threshold cannot be met, or asks for nothing")]
    Threshold(usize),
    /// More than [`NESTING_MOST`] groups inside one another.
    #[error("line {0}: groups nest too deeply")]
    Nesting(usize),
    /// More witnesses, logs or groups than any committee has.
    #[error("line {0}: more than {most} lines of a kind", most = Committee::MOST)]
    TooMany(usize),
    /// A second quorum.
    #[error("line {0}: a second quorum")]
    SecondQuorum(usize),
    /// No log.
    #[error("the policy names no log")]
    NoLog,
    /// No quorum.
    #[error("the policy names no quorum")]
    NoQuorum,
}

impl PolicyError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "policy-too-long",
            Self::Text | Self::Line(_) => "policy-malformed",
            Self::Key(_, error) => error.code(),
            Self::KeyKind(_) => "key-type",
            Self::WeakKey(_) => "key-weak",
            Self::SameKey(_) => "key-twice",
            Self::Origin(_) => "policy-origin",
            Self::Name(_) => "policy-name",
            Self::Unknown(_) => "policy-unknown-name",
            Self::MemberTwice(_) => "policy-member-twice",
            Self::Threshold(_) => "policy-threshold",
            Self::Nesting(_) => "policy-nesting",
            Self::TooMany(_) => "policy-too-many",
            Self::SecondQuorum(_) | Self::NoQuorum => "policy-quorum",
            Self::NoLog => "policy-no-log",
        }
    }
}

impl Policy {
    /// Reads a policy; [`Self::text`] gives the text back byte for byte.
    ///
    /// # Errors
    /// [`PolicyError`], with the line at fault.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MOST {
            return Err(PolicyError::TooLong);
        }
        let control = |c: char| c.is_ascii_control() && c != '\t' && c != '\n';
        let lines = text.strip_suffix('\n').ok_or(PolicyError::Text)?;
        if text.contains(control) {
            return Err(PolicyError::Text);
        }
        let mut reader = Reader::default();
        for (position, line) in lines.split('\n').enumerate() {
            reader.line(position + 1, line)?;
        }
        reader.finish(text)
    }

    /// The text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text: what a policy entry names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(self.text.as_bytes())
    }

    /// The origin that all logs share.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The origin as text, a head's first line.
    #[must_use]
    pub fn origin_text(&self) -> &str {
        &self.origin_text
    }

    /// The log keys, in the order of their lines.
    #[must_use]
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The cosigner keys, in the order of their lines.
    #[must_use]
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// Whether its keys are for development only.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.origin.is_development()
    }

    /// The witnesses that the quorum asks, by their places.
    pub fn quorum_witnesses(&self) -> impl Iterator<Item = usize> + '_ {
        let asked = self.below_quorum.iter().enumerate();
        asked.filter_map(|(place, &below)| below.then_some(place))
    }

    /// Whether the witnesses that signed, by their places, satisfy the quorum.
    #[must_use]
    pub fn is_satisfied(&self, signed: &[bool]) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.groups.len());
        // A group refers to earlier groups only, so one pass decides all.
        for group in &self.groups {
            let count = group.members.iter().filter(|&&member| holds(member, signed, &met)).count();
            met.push(count >= group.threshold);
        }
        holds(self.quorum, signed, &met)
    }
}

fn holds(member: Member, signed: &[bool], met: &[bool]) -> bool {
    match member {
        Member::Witness(place) => signed.get(place).copied().unwrap_or(false),
        Member::Group(place) => met.get(place).copied().unwrap_or(false),
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    origin: Option<Origin>,
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    groups: Vec<Group>,
    names: BTreeMap<String, Named>,
    cosigners: BTreeSet<String>,
    keys: BTreeSet<PublicKey>,
    key_ids: BTreeSet<(String, [u8; 4])>,
    quorum: Option<Member>,
}

#[derive(Clone, Copy)]
struct Named {
    member: Member,
    in_group: bool,
}

impl Reader {
    fn line(&mut self, at: usize, line: &str) -> Result<(), PolicyError> {
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items[..] {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] | ["log", key, _] => self.log(at, key),
            ["witness", name, key] | ["witness", name, key, _] => self.witness(at, name, key),
            ["group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(at, name, threshold, members)
            }
            ["quorum", name] => self.quorum(at, name),
            _ => Err(PolicyError::Line(at)),
        }
    }

    fn log(&mut self, at: usize, key: &str) -> Result<(), PolicyError> {
        let key = self.key(at, key, KeyKind::Log)?;
        let origin = Origin::parse(&key.name).map_err(|_| PolicyError::Origin(at))?;
        if *self.origin.get_or_insert_with(|| origin.clone()) != origin {
            return Err(PolicyError::Origin(at));
        }
        bounded(at, self.logs.len())?;
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, at: usize, name: &str, key: &str) -> Result<(), PolicyError> {
        let key = self.key(at, key, KeyKind::Cosigner)?;
        if !self.cosigners.insert(key.name.clone()) {
            return Err(PolicyError::Name(at));
        }
        bounded(at, self.witnesses.len())?;
        self.name(at, name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(key);
        Ok(())
    }

    /// A sound key of the kind that the line asks for, and that stood nowhere before.
    fn key(&mut self, at: usize, text: &str, kind: KeyKind) -> Result<VerifierKey, PolicyError> {
        let key = VerifierKey::parse(text).map_err(|error| PolicyError::Key(at, error))?;
        if key.kind != kind {
            return Err(PolicyError::KeyKind(at));
        }
        if !is_sound_key(&key.key) {
            return Err(PolicyError::WeakKey(at));
        }
        // A signature line names a key by name and id, which therefore must be one key's.
        let fresh_id = self.key_ids.insert((key.name.clone(), key.id));
        if !self.keys.insert(key.key) || !fresh_id {
            return Err(PolicyError::SameKey(at));
        }
        Ok(key)
    }

    fn name(&mut self, at: usize, name: &str, member: Member) -> Result<(), PolicyError> {
        let named = Named { member, in_group: false };
        if name == "none" || self.names.insert(name.to_owned(), named).is_some() {
            return Err(PolicyError::Name(at));
        }
        Ok(())
    }

    fn group(
        &mut self,
        at: usize,
        name: &str,
        threshold: &str,
        members: &[&str],
    ) -> Result<(), PolicyError> {
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            text => number(text)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=members.len()).contains(number))
                .ok_or(PolicyError::Threshold(at))?,
        };
        let members = members
            .iter()
            .map(|member| {
                let named = self.names.get_mut(*member).ok_or(PolicyError::Unknown(at))?;
                if std::mem::replace(&mut named.in_group, true) {
                    return Err(PolicyError::MemberTwice(at));
                }
                Ok(named.member)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let depth = 1 + members.iter().map(|&member| self.depth(member)).max().unwrap_or(0);
        if depth > NESTING_MOST {
            return Err(PolicyError::Nesting(at));
        }
        bounded(at, self.groups.len())?;
        self.name(at, name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members, depth });
        Ok(())
    }

    fn depth(&self, member: Member) -> usize {
        match member {
            Member::Witness(_) => 0,
            Member::Group(place) => self.groups.get(place).map_or(0, |group| group.depth),
        }
    }

    fn quorum(&mut self, at: usize, name: &str) -> Result<(), PolicyError> {
        let member = self.names.get(name).ok_or(PolicyError::Unknown(at))?.member;
        match self.quorum.replace(member) {
            None => Ok(()),
            Some(_) => Err(PolicyError::SecondQuorum(at)),
        }
    }

    fn finish(self, text: &str) -> Result<Policy, PolicyError> {
        let origin = self.origin.ok_or(PolicyError::NoLog)?;
        let quorum = self.quorum.ok_or(PolicyError::NoQuorum)?;
        let mut below_quorum = vec![false; self.witnesses.len()];
        let mut members = vec![quorum];
        // Ends, because each name belongs to at most one group.
        while let Some(member) = members.pop() {
            match member {
                Member::Witness(place) => {
                    if let Some(below) = below_quorum.get_mut(place) {
                        *below = true;
                    }
                }
                Member::Group(place) => {
                    let group = self.groups.get(place);
                    members.extend(group.into_iter().flat_map(|group| group.members.iter()));
                }
            }
        }
        Ok(Policy {
            text: text.to_owned(),
            origin_text: origin.to_string(),
            origin,
            logs: self.logs,
            witnesses: self.witnesses,
            groups: self.groups,
            quorum,
            below_quorum,
        })
    }
}

fn bounded(at: usize, lines: usize) -> Result<(), PolicyError> {
    if lines < usize::from(Committee::MOST) { Ok(()) } else { Err(PolicyError::TooMany(at)) }
}

/// The text of a policy in which any `threshold` of the replicas make a quorum.
///
/// `members` are (cosigner name, cosigner key, log key) of replica 0, 1 and so on.
#[must_use]
pub fn flat_policy(
    origin: &Origin,
    members: &[(String, PublicKey, PublicKey)],
    threshold: usize,
) -> String {
    let mut out = String::with_capacity(256 * members.len());
    let name = origin.to_string();
    for (_, _, log) in members {
        let key = VerifierKey::new(name.clone(), KeyKind::Log, *log);
        let _ = writeln!(out, "log {key}");
    }
    for (replica, (cosigner, key, _)) in members.iter().enumerate() {
        let key = VerifierKey::new(cosigner.clone(), KeyKind::Cosigner, *key);
        let _ = writeln!(out, "witness r{replica} {key}");
    }
    let _ = write!(out, "group replicas {threshold}");
    for replica in 0..members.len() {
        let _ = write!(out, " r{replica}");
    }
    out.push_str("\nquorum replicas\n");
    out
}
