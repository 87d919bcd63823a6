//! The wire is frozen: every type has one fixed sample whose bytes have the hash written here. A
//! change of a hash is a change of the protocol, and needs a new version of it.

mod oracles;

use bytes::Bytes;
use oracles::{
    DECODERS, MOST, any_wire_type,
    samples::{client_signature, rejoin, request, samples},
    wire,
};
use proptest::prelude::*;
use quorate_types::{
    Asked, Batch, Chain, ClientSignature, Committee, Cosignature, Digest, EntryFacts, Epoch,
    Exchange, Head, Index, Item, LogItem, Opening, Outcome, Proven, PublicKey, Rejoin,
    RejoinReport, ReplicaId, Report, Request, Response, Salt, Signature, Slot, StableCertificate,
    StateRecord, UnixMillis, View, Wire, WireError,
};
use sha2::{Digest as _, Sha256};
use std::{fmt::Debug, sync::Arc};

const FROZEN: &[(&str, &str)] = &[
    ("Asked", "e8ef4f4eceb270c9ab5c72add8424bac05f3bb3557449e99040b4a73e9303b48"),
    ("Batch", "82e12be40c0e9f0fd8b098e837a8998261ac5b2adfe82e952feb9e9dcd57b637"),
    ("Chain", "4607c593b26513d3b0594da41132cdf21b8005e46c91847c51ec94b0ea1dd9d0"),
    ("ClientSignature", "f4f67bc8328b45cf02fac7b0173b61831a31033ce773eada347e764d2ea12258"),
    ("Committee", "a8dc4f07b600347564e528a3fc04d1cc6aed7aab182ad74dac8b796c7dc452ab"),
    ("Cosignature", "50716855a56f9a20c38087520b87f9f25629930636ea06e7d56a59b0ce531ac5"),
    ("Digest", "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"),
    ("EntryFacts", "2951f4ad6056ec3bd122edff1093923a79a0c298e498765a5d7f4e28d39cf64f"),
    ("Epoch", "380b980886b7a3e726b5c2776160d7842b8f139eaea1e6acf7442cdf890e6287"),
    ("Exchange", "d189e0337d04b66fda22f9bcdc296d79667067349140680c94944b4072e8737c"),
    ("FaultModel", "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"),
    ("Head", "749c414a6bad765c3f1cf821ae139161e0be6d84a6648e59590d403f4829c87e"),
    ("Index", "380b980886b7a3e726b5c2776160d7842b8f139eaea1e6acf7442cdf890e6287"),
    ("Item", "419678599c0646f8a59146c00c9a1ed04cefff081dff1d01b1b6d78f66bf7254"),
    ("LogItem", "d54d5337bee8ba9bdd1fe857336b8c0a0c2b5288a2bded372d8f58704ffeeee5"),
    ("Opening", "d6ca21719d9d6e28a4ef3fa07a56be00b23ec8ae466bb6a5feb6ed97934f0ec8"),
    ("Outcome", "1012ba94b2ad8ab50f47605b3d09be06e0797aa3c9db2427aba9c97a33d29040"),
    ("Proven", "6b25944ad6a22fb29a5451160709cb975a1c74ea4963012c89a90932a1fb43cf"),
    ("PublicKey", "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"),
    ("Rejoin", "5f5b45d17380bea2fff49b775a4f6876bdf20206b546f811e4f06dfd2fbee8fe"),
    ("RejoinReport", "54532c28e6d4b8f95d3c28175230fba4797fc19d57263be15cc6b29692242b33"),
    ("ReplicaId", "25dfd29c09617dcc9852281c030e5b3037a338a4712a42a21c907f259c6412a0"),
    ("Report", "60e62009521640d2c31632d2b0882b27352bd25dd1b7166b0c465df7310af6d8"),
    ("Request", "fa6ac64f59a64e819808d407a3e08a2e43b1aa1885f8bb9bcc085976284b1c34"),
    ("Response", "e913051fdaf9e49bb3889e3de251d3982d9ff22e9c391f5ba7fe7eecb22f39a7"),
    ("Salt", "be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991"),
    ("Signature", "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108"),
    ("Slot", "380b980886b7a3e726b5c2776160d7842b8f139eaea1e6acf7442cdf890e6287"),
    ("StableCertificate", "b88f40f4b4a6117ec983f7d5a88908982fe16b3214375026375706064f82bdd1"),
    ("StateRecord", "06d85398af5bcc945f5119213dabe63455d0c41192830c51c7f31e6123cf4677"),
    ("UnixMillis", "380b980886b7a3e726b5c2776160d7842b8f139eaea1e6acf7442cdf890e6287"),
    ("View", "380b980886b7a3e726b5c2776160d7842b8f139eaea1e6acf7442cdf890e6287"),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_wire_form_of_every_type_is_frozen() {
    let hashes: Vec<(&str, String)> =
        samples().iter().map(|(name, bytes)| (*name, hex(&Sha256::digest(bytes)))).collect();
    let found: Vec<(&str, &str)> = hashes.iter().map(|(name, hash)| (*name, &**hash)).collect();
    assert_eq!(found, FROZEN);
}

#[test]
fn numbers_are_little_endian_and_lengths_are_four_bytes() {
    assert_eq!(hex(&ReplicaId(0x0102).to_wire()), "0201");
    assert_eq!(hex(&Slot(0x0102_0304_0506_0708).to_wire()), "0807060504030201");
    let response = Response::new(404).with_field("a", "bc");
    assert_eq!(
        hex(&response.to_wire()),
        "9401010000000100000061020000006263".to_owned() + "00000000"
    );
}

/// Every type's sample with its decoder; fails when a type has none.
fn each_sample(mut check: impl FnMut(&str, fn(&[u8]) -> bool, Vec<u8>)) {
    let samples = samples();
    assert_eq!(samples.len(), DECODERS.len());
    for ((name, bytes), (decoder_name, decoder)) in samples.into_iter().zip(DECODERS) {
        assert_eq!(name, *decoder_name);
        check(name, *decoder, bytes);
    }
}

#[test]
fn a_value_cut_short_anywhere_or_with_a_byte_more_is_refused() {
    each_sample(|name, decode, mut bytes| {
        assert!(decode(&bytes), "{name}");
        for end in 0..bytes.len() {
            assert!(!decode(&bytes[..end]), "{name} cut to {end} bytes");
        }
        for more in [0, 1, 0xff] {
            bytes.push(more);
            assert!(!decode(&bytes), "{name} with a trailing {more}");
            bytes.pop();
        }
    });
}

#[test]
fn a_changed_byte_is_refused_or_is_another_value() {
    // The oracle inside fails when two byte strings are one value.
    each_sample(|_, decode, mut bytes| {
        for place in 0..bytes.len() {
            for flip in [1, 2, 0x10, 0x80, 0xff] {
                bytes[place] ^= flip;
                decode(&bytes);
                bytes[place] ^= flip;
            }
        }
    });
}

#[test]
fn more_bytes_than_allowed_are_refused_unread() {
    let bytes = request().to_wire();
    let most = bytes.len() - 1;
    assert_eq!(
        Request::from_wire(&bytes, most),
        Err(WireError::TooLong { bytes: bytes.len(), most })
    );
    assert!(Request::from_wire(&bytes, bytes.len()).is_ok());
}

#[test]
fn a_length_that_the_bytes_do_not_hold_allocates_nothing() {
    // Were the four billion elements allocated first, this test would not end well.
    for decode in DECODERS.iter().map(|(_, decode)| decode) {
        for prefix in 0..24 {
            let mut bytes = vec![0; prefix];
            bytes.extend([0xff; 4]);
            bytes.extend([0; 64]);
            decode(&bytes);
        }
    }
}

#[test]
fn text_that_is_not_utf8_and_unknown_variants_are_refused() {
    let mut bytes = request().to_wire();
    bytes[4] = 0xff;
    assert!(wire::<Request>(&bytes).is_none(), "the method");
    let mut bytes = Item::Rejoin(rejoin()).to_wire();
    bytes[0] = 3;
    assert!(wire::<Item>(&bytes).is_none());
    let option = request().to_wire().len() - client_signature().to_wire().len() - 1;
    let mut bytes = request().to_wire();
    bytes[option] = 2;
    assert!(wire::<Request>(&bytes).is_none(), "neither Some nor None");
}

#[test]
fn a_committee_or_chain_that_could_not_be_made_is_not_decoded_either() {
    for (n, model) in [(0_u16, 0_u8), (3, 0), (1025, 0), (0, 1), (2, 1), (u16::MAX, 1), (4, 2)] {
        let mut bytes = n.to_wire();
        bytes.push(model);
        assert!(wire::<Committee>(&bytes).is_none(), "{n} of model {model}");
    }
    assert!(wire::<Chain>(b"5F2c9a17d0e84b63").is_none());
    assert!(wire::<Chain>(&[0; 16]).is_none());
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|text| text.into_iter().collect())
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((text(), text()), 0..4)
}

fn octets() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn any_signature() -> impl Strategy<Value = Signature> {
    any::<[u8; 64]>().prop_map(Signature)
}

prop_compose! {
    fn any_client_signature()
        (key in any::<[u8; 32]>(), params in text(), signature in any_signature())
        -> ClientSignature
    {
        ClientSignature { key: PublicKey(key), params, signature }
    }
}

prop_compose! {
    fn any_request()
        (method in text(), path in text(), query in text(), fields in pairs(), body in octets(),
         salt in any::<[u8; 16]>(), signature in prop::option::of(any_client_signature()))
        -> Request
    {
        Request { method, path, query, fields, body, salt: Salt(salt), signature }
    }
}

prop_compose! {
    fn any_response()(status in any::<u16>(), fields in pairs(), body in octets()) -> Response {
        Response { status, fields, body }
    }
}

prop_compose! {
    fn any_report()
        (reporter in any::<u16>(), executed in any::<u64>(), view in any::<u64>(),
         stable in prop::option::of(any_certificate().prop_map(Arc::new)),
         signature in any_signature())
        -> RejoinReport
    {
        let (executed, view) = (Slot(executed), View(view));
        RejoinReport { reporter: ReplicaId(reporter), executed, view, stable, signature }
    }
}

prop_compose! {
    fn any_rejoin()
        (replica in any::<u16>(), nonce in digest(),
         reports in prop::collection::vec(any_report(), 0..4))
        -> Rejoin
    {
        Rejoin { replica: ReplicaId(replica), nonce, reports }
    }
}

prop_compose! {
    fn any_asked()(request in any_request(), since in any::<u64>()) -> Asked {
        Asked { request: Arc::new(request), since: Index(since) }
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    prop_oneof![
        any_asked().prop_map(Item::Request),
        any_rejoin().prop_map(Item::Rejoin),
        any_outcome().prop_map(Item::Outcome),
    ]
}

prop_compose! {
    fn any_copies_report()
        (reporter in any::<u16>(), slot in any::<u64>(),
         answers in prop::collection::vec(prop::option::of(digest()), 0..4),
         signature in any::<[u8; 32]>())
        -> Report
    {
        let signature = Signature(std::array::from_fn(|i| signature[i % 32]));
        Report { reporter: ReplicaId(reporter), slot: Slot(slot), answers, signature }
    }
}

prop_compose! {
    fn any_outcome()
        (slot in any::<u64>(), reports in prop::collection::vec(any_copies_report(), 0..4))
        -> Outcome
    {
        Outcome { slot: Slot(slot), reports }
    }
}

prop_compose! {
    fn any_batch()
        (time in any::<u64>(), items in prop::collection::vec(any_item(), 0..4)) -> Batch
    {
        Batch { time: UnixMillis(time), items }
    }
}

prop_compose! {
    fn any_record()
        (numbers in any::<[u64; 4]>(), service in digest(), replay in digest(), engine in digest())
        -> StateRecord
    {
        let [slot, next_index, epoch, time] = numbers;
        StateRecord {
            slot: Slot(slot),
            next_index: Index(next_index),
            epoch: Epoch(epoch),
            time: UnixMillis(time),
            service,
            replay,
            engine,
        }
    }
}

prop_compose! {
    fn any_certificate()
        (size in any::<u64>(), root in digest(),
         signers in prop::collection::vec((any::<u16>(), any_signature()), 0..4),
         last_entry in text(), path in prop::collection::vec(digest(), 0..4),
         record in any_record())
        -> StableCertificate
    {
        let cosignature = |(replica, signature)| {
            Cosignature { replica: ReplicaId(replica), signature }
        };
        StableCertificate {
            head: Head { size, root },
            cosignatures: signers.into_iter().map(cosignature).collect(),
            last_entry,
            path,
            record,
        }
    }
}

prop_compose! {
    fn any_log_item()
        (entry in text(), exchange in prop::option::of((any_request(), any_response())),
         slot in any::<u64>(), roots in prop::option::of([digest(), digest(), digest()]))
        -> LogItem
    {
        let exchange = exchange
            .map(|(request, response)| Exchange { request: Arc::new(request), response });
        let opening = roots.map(|[service, table, engine]| Opening {
            slot: Slot(slot), service, table, engine,
        });
        LogItem { entry, exchange, opening }
    }
}

prop_compose! {
    fn any_proven()
        (response in any_response(), numbers in any::<[u64; 3]>(), state in digest(),
         salt in any::<[u8; 16]>(), proof in text())
        -> Proven
    {
        let [index, epoch, time] = numbers;
        let facts = EntryFacts {
            index: Index(index),
            epoch: Epoch(epoch),
            time: UnixMillis(time),
            state,
            salt: Salt(salt),
        };
        Proven { response, facts, proof }
    }
}

/// Whole, cut, followed by more, and with one byte changed.
fn hold<T: Wire + Debug + PartialEq>(value: &T, place: prop::sample::Index, flip: u8, more: &[u8]) {
    let mut bytes = value.to_wire();
    assert_eq!(wire::<T>(&bytes).as_ref(), Some(value));
    assert_eq!(wire::<T>(&bytes[..place.index(bytes.len())]), None, "cut");
    bytes.extend(more);
    assert_eq!(wire::<T>(&bytes), None, "with {} bytes more", more.len());
    bytes.truncate(bytes.len() - more.len());
    let place = place.index(bytes.len());
    bytes[place] ^= flip;
    assert_ne!(wire::<T>(&bytes).as_ref(), Some(value), "another encoding");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_value_has_one_encoding(
        batch in any_batch(),
        certificate in any_certificate(),
        log_item in any_log_item(),
        proven in any_proven(),
        place in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        hold(&batch, place, flip, &more);
        hold(&certificate, place, flip, &more);
        hold(&log_item, place, flip, &more);
        hold(&proven, place, flip, &more);
        for item in &batch.items {
            match item {
                Item::Request(asked) => hold(asked, place, flip, &more),
                Item::Rejoin(rejoin) => hold(rejoin, place, flip, &more),
                Item::Outcome(outcome) => hold(outcome, place, flip, &more),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for choice in 0..=255 {
            let mut chosen = vec![choice];
            chosen.extend(&bytes);
            any_wire_type(&chosen);
        }
        prop_assert!(bytes.len() <= MOST);
    }

    #[test]
    fn a_sample_with_bytes_changed_moved_or_repeated_never_panics_a_decoder(
        choice in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let samples = samples();
        let (name, mut bytes) = samples[choice.index(samples.len())].clone();
        for (place, value, edit) in edits {
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = value,
                1 => bytes.insert(place, value),
                2 if bytes.len() > 1 => { bytes.remove(place); }
                _ => bytes.extend_from_within(..place),
            }
        }
        let (_, decode) = DECODERS.iter().find(|(decoder, _)| *decoder == name).unwrap();
        decode(&bytes);
    }
}
