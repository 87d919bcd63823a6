//! One member of the cluster, as every replica's configuration lists it.

use crate::config::{ConfigError, value};
use quorate_crypto::PublicKeys;
use quorate_types::{Committee, CommitteeError, PublicKey, ReplicaId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A member in `quorate.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// The member's number, from 0.
    pub id: u16,
    /// The name of its cosigner in the policy, for example `org-a.example/r0`.
    pub name: String,
    /// `HOST:PORT` under which the others reach its replica links.
    pub address: String,
    /// The URL of its gateway.
    pub gateway: String,
    /// The URL of its operations listener; in development clusters only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<String>,
    /// Its public vote key: 64 lower-case hex digits.
    pub vote: String,
    /// Its public cosigner key: 64 lower-case hex digits.
    pub cosign: String,
    /// Its public log key: 64 lower-case hex digits.
    pub log: String,
    /// Its public TLS key: 64 lower-case hex digits.
    pub tls: String,
}

/// A member that was checked.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who it is.
    pub id: ReplicaId,
    /// The name of its cosigner.
    pub name: String,
    /// `HOST:PORT` of its replica links.
    pub address: String,
    /// The URL of its gateway, without a slash at the end.
    pub gateway: String,
    /// The URL of its operations listener, where the cluster is for development.
    pub operations: Option<String>,
    /// Its public keys.
    pub keys: PublicKeys,
}

/// Checks all members and puts them in order.
pub(crate) fn parse_members(files: &[MemberFile]) -> Result<Vec<Member>, ConfigError> {
    if files.len() > usize::from(Committee::MOST) {
        let n = u16::try_from(files.len()).unwrap_or(u16::MAX);
        return Err(ConfigError::Quorum(CommitteeError::TooMany(n)));
    }
    let mut members: Vec<_> = files.iter().map(parse_member).collect::<Result<_, _>>()?;
    members.sort_by_key(|member| member.id);
    check_ids(&members)?;
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for member in &members {
        if !names.insert(&member.name) {
            return Err(ConfigError::DuplicateName(member.name.clone()));
        }
        if !addresses.insert(&member.address) {
            return Err(ConfigError::DuplicateAddress(member.address.clone()));
        }
    }
    check_keys(&members)?;
    Ok(members)
}

fn check_ids(members: &[Member]) -> Result<(), ConfigError> {
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(ConfigError::DuplicateId(pair[0].id.0));
    }
    match (0u16..).zip(members).find(|(expected, member)| member.id.0 != *expected) {
        Some((missing, _)) => Err(ConfigError::MissingId(missing)),
        None => Ok(()),
    }
}

/// One leak must not be all, so no key serves twice, whatever its use.
fn check_keys(members: &[Member]) -> Result<(), ConfigError> {
    let mut seen: BTreeMap<PublicKey, String> = BTreeMap::new();
    for member in members {
        let keys = &member.keys;
        let uses =
            [("vote", keys.vote), ("cosign", keys.cosign), ("log", keys.log), ("tls", keys.tls)];
        for (name, key) in uses {
            let place = format!("members[{}].{name}", member.id.0);
            if let Some(first) = seen.insert(key, place.clone()) {
                return Err(ConfigError::DuplicateKey { first, second: place });
            }
        }
    }
    Ok(())
}

fn parse_member(file: &MemberFile) -> Result<Member, ConfigError> {
    let place = |field: &str| format!("members[{}].{field}", file.id);
    let key = |field: &str, text: &str| {
        parse_key(text).ok_or_else(|| value(place(field), text, "64 lower-case hex digits"))
    };
    let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
    if file.name.is_empty() || file.name.len() > 255 || !file.name.bytes().all(is_name) {
        let reason = "visible ASCII without plus signs, at most 255 bytes";
        return Err(value(place("name"), &file.name, reason));
    }
    if !is_host_and_port(&file.address) {
        return Err(value(place("address"), &file.address, "HOST:PORT with a port above 0"));
    }
    let url = |field: &str, text: &str| {
        parse_url(text).ok_or_else(|| value(place(field), text, "http://HOST[:PORT]"))
    };
    Ok(Member {
        id: ReplicaId(file.id),
        name: file.name.clone(),
        address: file.address.clone(),
        gateway: url("gateway", &file.gateway)?,
        operations: file.operations.as_deref().map(|text| url("operations", text)).transpose()?,
        keys: PublicKeys {
            vote: key("vote", &file.vote)?,
            cosign: key("cosign", &file.cosign)?,
            log: key("log", &file.log)?,
            tls: key("tls", &file.tls)?,
        },
    })
}

fn parse_key(text: &str) -> Option<PublicKey> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok().map(PublicKey)
}

fn is_host_and_port(text: &str) -> bool {
    let Ok(authority) = text.parse::<http::uri::Authority>() else { return false };
    let host_fits = !authority.host().is_empty() && !text.contains('@');
    host_fits && authority.port_u16().is_some_and(|port| port > 0)
}

/// A URL of scheme and authority alone, returned without a slash at the end.
fn parse_url(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme_fits = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority_fits = uri.authority().is_some_and(|authority| !authority.host().is_empty());
    let only_root = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    (scheme_fits && authority_fits && only_root).then(|| text.trim_end_matches('/').to_owned())
}
