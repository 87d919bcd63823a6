//! Evidence against replicas, which outlives this process: it may be needed long after.
//!
//! One file an accused replica and charge, `evidence/r2-wrong-result.json` in the data folder,
//! with what `quorate verify --evidence` takes. The first of a kind is kept, since it is the one
//! with the story; so there are at most as many files as replicas times charges.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_gateway::Divergent;
use quorate_protocol::Accusation;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tracing::warn;

const FOLDER: &str = "evidence";
/// More files than any committee of 64 replicas has charges against it: others are not ours.
const FILES_MAX: usize = 1_024;
/// A charge's messages are two certificates at most, and base64 takes a third more.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What is held against whom.
#[derive(Debug)]
pub(crate) struct Evidence {
    folder: PathBuf,
    /// By the name of its file.
    kept: Mutex<BTreeMap<String, Divergent>>,
}

impl Evidence {
    /// What earlier processes kept in this data folder. What cannot be read is passed over with a
    /// warning: it convicts nobody, and the replica does not need it.
    pub(crate) fn open(data: &Path) -> Self {
        let folder = data.join(FOLDER);
        let mut kept = BTreeMap::new();
        for path in files(&folder) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            match read(&path) {
                Ok(divergent) => _ = kept.insert(name.to_owned(), divergent),
                Err(error) => warn!(path = %path.display(), %error, "evidence cannot be read"),
            }
        }
        Self { folder, kept: Mutex::new(kept) }
    }

    /// Keeps an accusation that convinces others, if it is the first of its kind. What came over a
    /// link without a transferable signature convinces nobody else.
    pub(crate) fn keep(&self, accusation: &Accusation) {
        let Accusation { replica, charge, evidence } = accusation;
        let name = format!("r{replica}-{charge}.json", replica = replica.0);
        if evidence.is_empty() || self.lock().contains_key(&name) {
            return;
        }
        let messages: Vec<_> = evidence.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        let evidence = json!({ "charge": charge, "messages": messages });
        let divergent = Divergent { id: replica.0, evidence };
        if let Err(error) = self.write(&name, &divergent) {
            warn!(name, %error, "evidence could not be written; it is kept until the process ends");
        }
        self.lock().insert(name, divergent);
    }

    /// All of it.
    pub(crate) fn all(&self) -> Vec<Divergent> {
        self.lock().values().cloned().collect()
    }

    fn write(&self, name: &str, divergent: &Divergent) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let unfinished = self.folder.join(format!("{name}.new"));
        fs::write(&unfinished, serde_json::to_vec_pretty(divergent)?)?;
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(unfinished, self.folder.join(name))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Divergent>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finished files in the folder, which need not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|it| it == "json")).take(FILES_MAX).collect()
}

fn read(path: &Path) -> io::Result<Divergent> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::ReplicaId;

    fn accusation(replica: u16, charge: &'static str, evidence: &[&[u8]]) -> Accusation {
        let evidence = evidence.iter().map(|bytes| bytes.to_vec()).collect();
        Accusation { replica: ReplicaId(replica), charge, evidence }
    }

    #[test]
    fn the_first_of_a_kind_is_kept_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence::open(folder.path());
        assert_eq!(evidence.all(), []);
        evidence.keep(&accusation(2, "wrong-result", &[b"first"]));
        evidence.keep(&accusation(2, "wrong-result", &[b"second"]));
        evidence.keep(&accusation(2, "equivocation", &[b"a", b"b"]));
        evidence.keep(&accusation(1, "malformed", &[]));
        let all = evidence.all();
        assert_eq!(all.iter().map(|it| it.id).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(all[1].evidence["messages"][0], STANDARD.encode("first"));
        assert_eq!(Evidence::open(folder.path()).all(), all);
    }

    #[test]
    fn what_is_no_evidence_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        Evidence::open(folder.path()).keep(&accusation(2, "wrong-result", &[b"first"]));
        let inside = folder.path().join(FOLDER);
        fs::write(inside.join("r3-wrong-result.json"), b"{\"id\":3").unwrap();
        fs::write(inside.join("r1-wrong-result.json.new"), b"cut off").unwrap();
        let all = Evidence::open(folder.path()).all();
        assert_eq!(all.iter().map(|it| it.id).collect::<Vec<_>>(), [2]);
    }
}
