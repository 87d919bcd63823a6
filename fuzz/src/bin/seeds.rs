//! Writes what fuzzing starts from into `corpus/<target>/`: one right value of every kind.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_fuzz::{replica, wire};
use quorate_proof::signature_params;
use quorate_types::PublicKey;
use std::{fs, io, path::Path};

const POLICY: &[u8] = include_bytes!("../../../crates/proof/testdata/example/policy.txt");
const REQUEST: &[u8] = include_bytes!("../../../crates/proof/testdata/example/request.http");
const RESPONSE: &[u8] = include_bytes!("../../../crates/proof/testdata/example/response.http");
const ENTRY: &[u8] = include_bytes!("../../../crates/proof/testdata/example/entry");
const PROOF: &str = include_str!("../../../crates/proof/testdata/example/proof");

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let checkpoint = PROOF.split_once("\n\n").map_or("", |(_, checkpoint)| checkpoint);
    let params = signature_params(1_763_658_123, &PublicKey([9; 32]));
    let lines = format!("sig1={params}\nsig1=:{}:", STANDARD.encode([7; 64]));
    let chosen = |(choice, (_, bytes)): (usize, (&str, Vec<u8>))| {
        let choice = u8::try_from(choice).unwrap_or(u8::MAX);
        [&[choice][..], &bytes].concat()
    };
    let texts = [POLICY, PROOF.as_bytes(), checkpoint.as_bytes(), ENTRY];
    let damages = [vec![0], vec![0, 0, 0, 9, 2, 7], vec![0, 1, 0, 60, 0, 0], vec![1, 0, 0]];
    let targets: [(&str, Vec<Vec<u8>>); 16] = [
        ("wire", wire::samples::samples().into_iter().enumerate().map(chosen).collect()),
        ("peer", replica::samples::messages()),
        ("record", replica::samples::records()),
        ("text", texts.map(<[u8]>::to_vec).to_vec()),
        ("policy", vec![POLICY.to_vec()]),
        ("tlog_proof", vec![PROOF.into()]),
        ("checkpoint", vec![checkpoint.into()]),
        ("entry", vec![ENTRY.to_vec()]),
        ("saved_request", vec![REQUEST.to_vec()]),
        ("saved_response", vec![RESPONSE.to_vec()]),
        ("verified_response", vec![RESPONSE.to_vec()]),
        ("signature_params", vec![params.into()]),
        ("client_signature", vec![lines.into()]),
        ("wal", damages.to_vec()),
        ("log", damages.to_vec()),
        ("snapshot", damages.to_vec()),
    ];
    for (target, seeds) in targets {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
