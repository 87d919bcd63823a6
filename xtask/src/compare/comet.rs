//! The files of a CometBFT network on this machine: four validators, each at a loopback address of
//! its own, with the defaults or tuned for throughput.

use std::{fs, path::Path, process::Command};

/// How many validators.
pub(super) const VALIDATORS: u16 = 4;

/// What tuning changes: section, key, value. It makes blocks as soon as there is something to put
/// into them, gossips without waiting, and keeps no index.
const TUNED: [(&str, &str, &str); 8] = [
    ("rpc", "max_subscription_clients", "2000"),
    ("rpc", "timeout_broadcast_tx_commit", "\"30s\""),
    ("p2p", "flush_throttle_timeout", "\"1ms\""),
    ("consensus", "timeout_commit", "\"0s\""),
    ("consensus", "skip_timeout_commit", "true"),
    ("consensus", "create_empty_blocks", "false"),
    ("consensus", "peer_gossip_sleep_duration", "\"1ms\""),
    ("tx_index", "indexer", "\"null\""),
];

/// The RPC address of a validator.
pub(super) fn rpc(validator: u16) -> String {
    format!("127.0.0.{}:26657", validator + 1)
}

/// Makes the folders `node0`, `node1`, .. of a network.
pub(super) fn init(dir: &Path, tuned: bool) -> Result<(), String> {
    let done = Command::new("cometbft")
        .args(["testnet", "--v", &VALIDATORS.to_string(), "--starting-ip-address", "127.0.0.1"])
        .arg("--o")
        .arg(dir)
        .output()
        .map_err(|error| format!("cometbft: {error}"))?;
    if !done.status.success() {
        return Err(format!("cometbft testnet: {}", String::from_utf8_lossy(&done.stderr)));
    }
    for validator in 0..VALIDATORS {
        let path = dir.join(format!("node{validator}/config/config.toml"));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(failed)?;
        fs::write(&path, configure(&text, validator, tuned)?).map_err(failed)?;
    }
    Ok(())
}

fn configure(text: &str, validator: u16, tuned: bool) -> Result<String, String> {
    let gossip = format!("\"tcp://127.0.0.{}:26656\"", validator + 1);
    let rpc = format!("\"tcp://{}\"", rpc(validator));
    let own = [("", "proxy_app", "\"kvstore\""), ("rpc", "laddr", &rpc), ("p2p", "laddr", &gossip)];
    let tuning = TUNED.iter().filter(|_| tuned);
    own.iter().chain(tuning).try_fold(text.to_owned(), |text, (section, key, value)| {
        set(&text, section, key, value).ok_or(format!("config.toml has no [{section}] {key}"))
    })
}

/// Gives one key another value; `None` if it does not stand there.
fn set(text: &str, section: &str, key: &str, value: &str) -> Option<String> {
    let (mut inside, mut found) = ("", false);
    let lines = text.lines().map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name;
        }
        if inside == section && line.split_once(" = ").is_some_and(|(name, _)| name == key) {
            found = true;
            return format!("{key} = {value}\n");
        }
        format!("{line}\n")
    });
    let text: String = lines.collect();
    found.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_set_in_its_own_section_alone() {
        let text = "laddr = \"a\"\n[rpc]\nladdr = \"b\"\n[p2p]\nladdr = \"c\"\n";
        let changed = "laddr = \"a\"\n[rpc]\nladdr = \"x\"\n[p2p]\nladdr = \"c\"\n";
        assert_eq!(set(text, "rpc", "laddr", "\"x\"").as_deref(), Some(changed));
        assert_eq!(set(text, "rpc", "port", "1"), None);
    }
}
