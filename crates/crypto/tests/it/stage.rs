//! Decoded messages in, verified or refused ones out.

use crate::world::{Note, World, forged, inbound};
use proptest::prelude::*;
use quorate_crypto::{Claim, Claims, Domain, Fault, Forged, Inbound, verify_batch};
use quorate_types::{ReplicaId, Signature};
use std::time::Instant;

/// Who is refused, by position, and why.
fn refused(world: &World, messages: &[Inbound<Note>]) -> Vec<(usize, Forged)> {
    let results = world.stage(messages.to_vec());
    assert_eq!(results.len(), messages.len());
    let mut refused = Vec::new();
    for (position, (result, inbound)) in results.into_iter().zip(messages).enumerate() {
        match result {
            Ok(delivery) => {
                assert_eq!(delivery.message.get(), &inbound.message, "in order");
                assert_eq!(delivery.via, inbound.via);
                assert_eq!(delivery.signer, inbound.message.signer.unwrap_or(inbound.via));
            }
            Err(forged) => refused.push((position, forged)),
        }
    }
    refused
}

#[test]
fn a_forged_signature_among_a_hundred_messages_condemns_its_own_message_only() {
    for place in [0, 1, 42, 98, 99] {
        for world in World::both(4) {
            let mut messages: Vec<_> = (0_u16..100)
                .map(|i| inbound(i % 4, Some(i % 4), vec![world.vote(i % 4, i.into())]))
                .collect();
            let claim = messages[place].message.claims.remove(0);
            messages[place].message.claims.push(forged(claim));
            let liar = messages[place].via;
            let expected = Forged { via: liar, signer: liar, fault: Fault::Vote(liar) };
            assert_eq!(refused(&world, &messages), [(place, expected)]);
        }
    }
}

#[test]
fn who_delivered_a_forgery_is_blamed_not_who_is_said_to_have_made_it() {
    for world in World::both(4) {
        let mut messages =
            vec![inbound(0, Some(0), vec![world.vote(0, 1)]), inbound(1, Some(1), vec![])];
        messages[1].message.claims.push(world.vote(1, 2));
        // r3 relays what r2 signed, and invents what r1 did not.
        messages.push(inbound(3, Some(2), vec![world.vote(2, 3)]));
        messages.push(inbound(3, Some(1), vec![forged(world.vote(1, 4))]));
        let expected =
            Forged { via: ReplicaId(3), signer: ReplicaId(1), fault: Fault::Vote(ReplicaId(1)) };
        assert_eq!(refused(&world, &messages), [(3, expected)]);
    }
}

#[test]
fn a_message_whose_signer_claims_to_be_another_is_refused() {
    for world in World::both(4) {
        // r1's true signature under r2's name.
        let Claim::Vote { bytes, signature, .. } = world.vote(1, 7) else { unreachable!() };
        let claim = Claim::Vote { signer: ReplicaId(2), bytes, signature };
        let fault =
            |signer: u16, fault| Forged { via: ReplicaId(1), signer: ReplicaId(signer), fault };
        assert_eq!(
            refused(&world, &[inbound(1, Some(2), vec![claim])]),
            [(0, fault(2, Fault::Vote(ReplicaId(2))))]
        );
        // r2's name over a message that holds r1's vote alone, or none at all.
        for claims in [vec![world.vote(1, 7)], vec![]] {
            assert_eq!(
                refused(&world, &[inbound(1, Some(2), claims)]),
                [(0, fault(2, Fault::Unsigned(ReplicaId(2))))]
            );
        }
        // A message that names no maker is its deliverer's, whatever votes it passes on.
        assert_eq!(refused(&world, &[inbound(1, None, vec![world.vote(2, 7)])]), []);
    }
}

#[test]
fn strangers_neither_make_nor_deliver_nor_vote() {
    for world in World::both(4) {
        let Claim::Vote { bytes, signature, .. } = world.vote(1, 7) else { unreachable!() };
        for stranger in [4, 5, u16::MAX] {
            let vote = Claim::Vote { signer: ReplicaId(stranger), bytes: bytes.clone(), signature };
            let messages = [
                inbound(1, Some(stranger), vec![vote.clone()]),
                inbound(stranger, Some(1), vec![world.vote(1, 7)]),
                inbound(1, None, vec![world.vote(1, 7), vote]),
                inbound(1, Some(1), vec![world.vote(1, 7)]),
            ];
            let refused = refused(&world, &messages);
            let places: Vec<usize> = refused.iter().map(|(place, _)| *place).collect();
            assert_eq!(places, [0, 1, 2]);
            for (_, forged) in refused {
                assert_eq!(forged.fault, Fault::Stranger(ReplicaId(stranger)));
            }
        }
    }
}

#[test]
fn a_strangers_message_is_refused_before_its_claims_are_listed() {
    struct Costly;
    impl Claims for Costly {
        fn signer(&self) -> Option<ReplicaId> {
            Some(ReplicaId(9))
        }
        fn claims(&self, _: &Domain, _: &mut Vec<Claim>) {
            panic!("listed");
        }
    }
    let world = World::mac(4);
    let messages = vec![Inbound { via: ReplicaId(0), message: Costly }];
    let results = verify_batch(&world.verifier, &world.domain, messages);
    assert!(matches!(results[..], [Err(Forged { fault: Fault::Stranger(ReplicaId(9)), .. })]));
}

#[test]
fn a_broken_part_condemns_the_whole() {
    for world in World::both(4) {
        let claims = vec![world.vote(0, 1), Claim::Broken("twice the same slot")];
        let [(0, forged)] = refused(&world, &[inbound(0, Some(0), claims)])[..] else { panic!() };
        assert_eq!(forged.fault, Fault::Broken("twice the same slot"));
    }
}

#[test]
fn clients_sign_for_themselves() {
    for world in World::both(4) {
        let good = world.client(1, "a");
        let Claim::Client { key, .. } = world.client(2, "a") else { unreachable!() };
        let Claim::Client { bytes, signature, .. } = good.clone() else { unreachable!() };
        let others = Claim::Client { key, bytes, signature };
        let messages = [
            inbound(0, None, vec![good.clone(), world.client(2, "b")]),
            inbound(1, None, vec![good.clone(), others]),
            inbound(2, None, vec![forged(good)]),
        ];
        let refused = refused(&world, &messages);
        assert_eq!(refused.len(), 2);
        assert_eq!((refused[0].0, refused[0].1.fault), (1, Fault::Client(key)));
        assert_eq!((refused[1].0, refused[1].1.fault.code()), (2, "client"));
    }
}

#[test]
fn one_forged_claim_in_two_messages_condemns_both() {
    for world in World::both(4) {
        let bad = forged(world.vote(2, 5));
        let messages: Vec<_> = (0..4)
            .map(|i| {
                let nested = if i % 2 == 0 { bad.clone() } else { world.vote(2, 5) };
                inbound(i, Some(i), vec![world.vote(i, 1), nested])
            })
            .collect();
        let places: Vec<usize> =
            refused(&world, &messages).iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 2]);
    }
}

#[test]
fn what_was_verified_once_does_not_vouch_for_anything_else() {
    for world in World::both(4) {
        let right = world.vote(1, 1);
        let Claim::Vote { bytes, signature, .. } = right.clone() else { unreachable!() };
        let signer = ReplicaId(1);
        for _ in 0..2 {
            assert_eq!(refused(&world, &[inbound(1, Some(1), vec![right.clone()])]), []);
            let mut other_bytes = bytes.clone();
            other_bytes.push(0);
            let mut other_signature = signature;
            other_signature.0[63] ^= 1;
            for wrong in [
                Claim::Vote { signer, bytes: other_bytes, signature },
                Claim::Vote { signer, bytes: bytes.clone(), signature: other_signature },
                Claim::Vote { signer: ReplicaId(2), bytes: bytes.clone(), signature },
            ] {
                assert_eq!(refused(&world, &[inbound(1, None, vec![wrong])]).len(), 1);
            }
        }
        // The boundary between the parts is part of what is remembered.
        let Claim::Client { key, bytes, signature } = world.client(1, "text") else {
            unreachable!()
        };
        assert!(world.verifier.check(&[Claim::Client { key, bytes: bytes.clone(), signature }]));
        let mut shifted = signature.0.to_vec();
        shifted.extend(&bytes);
        let wrong = Claim::Client {
            key,
            signature: Signature(shifted[1..65].try_into().unwrap()),
            bytes: shifted[65..].to_vec(),
        };
        assert!(!world.verifier.check(&[wrong]));
    }
}

#[test]
fn a_vote_of_one_chain_means_nothing_in_another() {
    let world = World::ed25519(4);
    let elsewhere = Domain::new("dev.localhost/quorate/0000000000000000/bft");
    let signature = world.voters[1].sign(&elsewhere.statement("quorate-test/1", &1_u64));
    let bytes = world.domain.statement("quorate-test/1", &1_u64);
    let claim = Claim::Vote { signer: ReplicaId(1), bytes, signature };
    assert!(!world.verifier.check(&[claim]));
}

#[test]
fn nothing_in_nothing_out() {
    for world in World::both(4) {
        assert_eq!(refused(&world, &[]), []);
        assert!(world.verifier.check(&[]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_batch_decides_every_message_as_it_would_be_decided_alone(
        shape in prop::collection::vec(
            (0_u16..4, 0_u64..12, prop::collection::vec(0_u8..8, 0..3)),
            0..24,
        )
    ) {
        for world in World::both(4) {
            let messages: Vec<_> = shape
                .iter()
                .map(|(via, number, more)| {
                    let mut claims = vec![world.vote(*via, *number)];
                    for kind in more {
                        claims.push(match kind {
                            0 => forged(world.vote((via + 1) % 4, *number)),
                            1 => forged(world.client(1, "a")),
                            2 => Claim::Broken("test"),
                            3 | 4 => world.client(*kind, "a"),
                            _ => world.vote(u16::from(*kind) % 4, *number),
                        });
                    }
                    inbound(*via, Some(*via), claims)
                })
                .collect();
            let together = world.stage(messages.clone());
            let again = world.stage(messages.clone());
            prop_assert_eq!(&together, &again, "whether remembered or not");
            let alone = world.afresh();
            for (message, result) in messages.into_iter().zip(together) {
                prop_assert_eq!(alone.stage(vec![message]).remove(0), result);
            }
        }
    }
}

/// What the memory of verified signatures saves when a view changes, and costs when it does not.
#[test]
#[ignore = "slow"]
fn cost_of_a_view_change_with_and_without_the_memory_slow() {
    for n in [4, 7, 31] {
        let world = World::ed25519(n);
        let quorum = u16::try_from(world.committee.quorum()).unwrap();
        let slots = 64_u64;
        let votes: Vec<Inbound<Note>> = (0..slots)
            .flat_map(|slot| (0..quorum).map(move |replica| (slot, replica)))
            .map(|(slot, replica)| inbound(replica, Some(replica), vec![world.vote(replica, slot)]))
            .collect();
        let nested: Vec<Claim> =
            votes.iter().flat_map(|vote| vote.message.claims.iter().cloned()).collect();
        let view_change = |replica: u16| {
            let mut claims = vec![world.vote(replica, 1000)];
            claims.extend(nested.iter().cloned());
            inbound(replica, Some(replica), claims)
        };
        let clock = Instant::now();
        for chunk in votes.chunks(8) {
            assert!(world.stage(chunk.to_vec()).iter().all(Result::is_ok));
        }
        let first = clock.elapsed();
        let clock = Instant::now();
        for replica in 0..quorum {
            assert!(world.stage(vec![view_change(replica)]).iter().all(Result::is_ok));
        }
        let remembered = clock.elapsed();
        let afresh: Vec<World> = (0..quorum).map(|_| world.afresh()).collect();
        let clock = Instant::now();
        for (replica, world) in (0..quorum).zip(afresh) {
            assert!(world.stage(vec![view_change(replica)]).iter().all(Result::is_ok));
        }
        let forgotten = clock.elapsed();
        println!(
            "n = {n}: {} votes when they came {first:?}; {quorum} view changes that nest them \
             {remembered:?} remembered, {forgotten:?} forgotten",
            votes.len()
        );
    }
}
