use super::*;
use std::os::unix::fs::symlink;

fn seed_key(role: Role, byte: u8) -> SecretKey {
    SecretKey::from_seed(role, &[byte; 32])
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A file with a mode that a key may have.
fn write(path: &Path, text: &[u8]) {
    std::fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

#[test]
fn saved_keys_load_as_they_were_from_files_of_mode_0600() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("r0/keys");
    let keys = ReplicaKeys::generate().unwrap();
    keys.save(&folder).unwrap();
    assert_eq!(mode(&folder), 0o700);
    for role in Role::OF_A_REPLICA {
        assert_eq!(mode(&folder.join(role.file_name())), 0o600, "{role}");
    }
    let (loaded, _lock) = ReplicaKeys::load(&folder).unwrap();
    assert_eq!(loaded.public(), keys.public());
    assert_eq!(loaded.vote.sign(b"m"), keys.vote.sign(b"m"));
}

#[test]
fn keys_are_never_overwritten_and_a_refused_save_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let keys = ReplicaKeys::generate().unwrap();
    let tls = folder.path().join("tls.key");
    write(&tls, b"mine");
    let refused = keys.save(folder.path()).unwrap_err();
    assert_eq!(refused.code(), "key-exists");
    assert_eq!(std::fs::read(&tls).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // A link that leads nowhere is something, too: writing through it would create its target.
    let link = folder.path().join("link.key");
    symlink(folder.path().join("target"), &link).unwrap();
    assert_eq!(keys.vote.create(&link).unwrap_err().code(), "key-exists");
}

#[test]
fn a_missing_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    ReplicaKeys::generate().unwrap().save(folder.path()).unwrap();
    let cosign = folder.path().join("cosign.key");
    std::fs::remove_file(&cosign).unwrap();
    let error = ReplicaKeys::load(folder.path()).unwrap_err();
    assert_eq!(error.code(), "key-missing");
    assert!(error.to_string().contains("cosign.key"), "{error}");
}

#[test]
fn a_key_that_others_may_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vote.key");
    seed_key(Role::Vote, 1).create(&path).unwrap();
    for wrong in [0o640, 0o604, 0o660, 0o644, 0o700, 0o610, 0o4600] {
        set_mode(&path, wrong);
        let error = SecretKey::read(&path, Role::Vote).unwrap_err();
        assert_eq!(error.code(), "key-mode", "{wrong:o}");
        assert!(error.to_string().contains(&format!("{wrong:04o}")), "{error}");
    }
    set_mode(&path, 0o400);
    SecretKey::read(&path, Role::Vote).unwrap();
}

#[test]
fn a_key_file_is_taken_in_its_one_form_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vote.key");
    let text = seed_key(Role::Vote, 1).text();
    let mut wrong: Vec<Vec<u8>> =
        (0..text.len()).map(|end| text.as_bytes()[..end].into()).collect();
    for edit in [
        text.replace('\n', "\r\n"),
        text.replace("secret ", "secret  "),
        text.replace("quorate-key/1", "quorate-key/2"),
        text.replace("role vote\n", ""),
        text.to_uppercase(),
        format!("{}\n", *text),
        format!("{}more\n", *text),
        format!(" {}", *text),
        format!("{}{}", *text, "x".repeat(2000)),
        "\u{0}".repeat(64),
    ] {
        wrong.push(edit.into_bytes());
    }
    wrong.push(vec![0xff; 200]);
    for bytes in wrong {
        write(&path, &bytes);
        let error = SecretKey::read(&path, Role::Vote).unwrap_err();
        assert_eq!(error.code(), "key-malformed", "{:?}", String::from_utf8_lossy(&bytes));
    }
    write(&path, text.as_bytes());
    SecretKey::read(&path, Role::Vote).unwrap();
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vote.key");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(SecretKey::read(&path, Role::Vote).unwrap_err().code(), "key-malformed");
    let fifo = folder.path().join("fifo.key");
    let made = std::process::Command::new("mkfifo").arg("-m600").arg(&fifo).status().unwrap();
    assert!(made.success());
    assert_eq!(SecretKey::read(&fifo, Role::Vote).unwrap_err().code(), "key-malformed");
}

#[test]
fn a_key_under_a_wrong_name_or_with_a_changed_digit_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vote.key");
    seed_key(Role::Cosign, 1).create(&path).unwrap();
    assert_eq!(SecretKey::read(&path, Role::Vote).unwrap_err().code(), "key-mismatch");
    let text = seed_key(Role::Vote, 1).text();
    for (name, from, to) in [("public", "8a88", "8a89"), ("secret", "0101", "0102")] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, *text, "{name}");
        write(&path, changed.as_bytes());
        assert_eq!(
            SecretKey::read(&path, Role::Vote).unwrap_err().code(),
            "key-mismatch",
            "{name}"
        );
    }
}

#[test]
fn one_key_for_two_roles_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (role, byte) in [(Role::Vote, 1), (Role::Cosign, 2), (Role::Log, 2), (Role::Tls, 3)] {
        seed_key(role, byte).create(&folder.path().join(role.file_name())).unwrap();
    }
    let error = ReplicaKeys::load(folder.path()).unwrap_err();
    assert_eq!(error.code(), "key-mismatch");
    assert!(error.to_string().contains("log.key"), "{error}");
}

#[test]
fn the_same_keys_load_once_at_a_time_from_their_folder_and_from_a_copy() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ReplicaKeys::generate().unwrap().save(original.path()).unwrap();
    for role in Role::OF_A_REPLICA {
        // `copy` keeps the mode, as `cp -r` does.
        let name = role.file_name();
        std::fs::copy(original.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let (_, lock) = ReplicaKeys::load(original.path()).unwrap();
    for folder in [&original, &copy] {
        let error = ReplicaKeys::load(folder.path()).unwrap_err();
        assert_eq!(error.code(), "key-in-use");
        assert!(error.to_string().contains("already in use"), "{error}");
    }
    drop(lock);
    ReplicaKeys::load(copy.path()).unwrap();
}

#[test]
fn the_text_of_a_key_file_is_frozen() {
    assert_eq!(
        *seed_key(Role::Vote, 1).text(),
        "quorate-key/1\n\
         role vote\n\
         public 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\n\
         secret 0101010101010101010101010101010101010101010101010101010101010101\n"
    );
}

#[test]
fn debug_output_shows_no_secret() {
    let key = seed_key(Role::Vote, 1);
    let keys =
        ReplicaKeys { vote: key.clone(), cosign: key.clone(), log: key.clone(), tls: key.clone() };
    let shown = format!("{key:?} {keys:?} {:?} {:?}", keys.vote_signer(), keys.cosigner());
    assert!(!shown.contains("0101"), "{shown}");
}

#[test]
fn the_pkcs8_form_is_that_of_rfc_8410() {
    // The private key of RFC 8410 section 10.3.
    let seed = hex_32("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842").unwrap();
    let der = SecretKey::from_seed(Role::Tls, &seed).pkcs8();
    let text = "302e020100300506032b657004220420\
                d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let mut hex = String::new();
    push_hex(&mut hex, &der);
    assert_eq!(hex, text);
}

#[test]
fn a_signature_is_that_of_rfc_8032() {
    // RFC 8032 section 7.1, test 1: the empty message.
    let seed = hex_32("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let key = SecretKey::from_seed(Role::Vote, &seed);
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(key.public().to_string(), public);
    let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb88215\
                     90a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    assert_eq!(key.sign(b"").to_string(), signature);
}
