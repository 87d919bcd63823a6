use super::*;
use crate::{snapshot::Snapshot, sync::by_slot};
use quorate_types::Index;

/// Executes a log again, from after genesis; the entry that it stops at, if any.
fn repeat(log: &[LogItem]) -> Result<Execution, Index> {
    let mut execution = execution();
    for slot in by_slot(log[1..].to_vec()) {
        execution.repeat(&slot).map_err(|diverged| diverged.index)?;
    }
    Ok(execution)
}

#[test]
fn a_log_leads_to_the_state_that_it_was_written_from() {
    let (log, _, written) = written(5);
    assert_eq!(repeat(&log).unwrap().record(), written.record());
}

#[test]
fn no_ops_rejoins_and_retries_are_repeated_too() {
    let mut execution = execution();
    let (mut recorder, genesis) = recorder(&execution);
    let mut log = vec![genesis];
    let mut keep = |executed| log.extend(recorder.record(executed).items().iter().cloned());
    keep(slot(&mut execution, 1, &[put(1, "a", "v")]));
    keep(slot(&mut execution, 2, &[put(1, "a", "v")]));
    let next = execution.record().slot.next();
    keep(execution.execute(Ordered::new(next, None)));
    let rejoin = quorate_types::Rejoin { replica: ReplicaId(2), nonce: digest(1), reports: vec![] };
    let items = vec![Item::Rejoin(rejoin), item(put(2, "b", "w"))];
    let batch = Batch { time: UnixMillis(GENESIS.0 + 9), items };
    keep(execution.execute(Ordered::new(next.next(), Some(Arc::new(batch)))));
    assert_eq!(repeat(&log).unwrap().record(), execution.record());
}

#[test]
fn a_changed_request_or_state_or_order_is_found_and_named() {
    let (log, _, _) = written(4);
    let mut other_body = log.clone();
    let exchange = other_body[3].exchange.as_mut().unwrap();
    let mut request = Request::clone(&exchange.request);
    request.body = Bytes::from_static(b"forged");
    exchange.request = Arc::new(request);
    assert_eq!(repeat(&other_body).unwrap_err(), Index(3));

    let mut other_state = log.clone();
    other_state[5].entry = other_state[5].entry.replace("state sha-256=:", "state sha-256=:AAAA");
    assert!(repeat(&other_state).unwrap_err() >= Index(5));

    let mut swapped = log.clone();
    swapped.swap(1, 2);
    assert_eq!(repeat(&swapped).unwrap_err(), Index(1));

    let mut missing = log;
    missing[3].exchange = None;
    assert_eq!(repeat(&missing).unwrap_err(), Index(3));
}

/// Neither the state nor an answer need depend on it: it would be served to others as it came.
#[test]
fn what_no_entry_covers_is_refused_though_it_changes_nothing() {
    let (log, _, _) = written(4);
    fn field() -> (String, String) {
        ("x-forged".to_owned(), "1".to_owned())
    }
    let mut of_response = log.clone();
    of_response[2].exchange.as_mut().unwrap().response.fields.push(field());
    assert_eq!(repeat(&of_response).unwrap_err(), Index(2));
    let mut of_request = log;
    let exchange = of_request[3].exchange.as_mut().unwrap();
    Arc::make_mut(&mut exchange.request).fields.push(field());
    assert_eq!(repeat(&of_request).unwrap_err(), Index(3));
}

#[test]
fn a_snapshot_comes_back_from_its_bytes_and_goes_on_alike() {
    let (_, recorded, mut original) = written(6);
    let certificate = Arc::new(recorded.certificate(Vec::new()).unwrap());
    let (_, frontier) = (recorded.head(), Frontier::new());
    let snapshot = Snapshot {
        certificate,
        frontier,
        service: original.state().clone(),
        replay: original.replay().map().clone(),
        signatures: original.signatures(),
    };
    let chunks: Vec<_> = snapshot.chunks().collect();
    let read = Snapshot::read(&snapshot.manifest(), &chunks).unwrap();
    let rules = Rules::from(&config());
    let Snapshot { certificate, service, replay, signatures, .. } = read;
    let record = certificate.record;
    let mut restored =
        Execution::restore(Box::new(Kv), rules, record, service, replay, signatures).unwrap();
    // The window moves alike, so what is evicted afterwards is the same.
    for n in 0..20_u8 {
        let requests = [put(100 + n, "c", "x"), put(n, "a", "1")];
        slot(&mut original, 1000 + u64::from(n), &requests);
        slot(&mut restored, 1000 + u64::from(n), &requests);
    }
    assert_eq!(restored.record(), original.record());
}

#[test]
fn a_snapshot_with_another_content_than_its_certificate_names_is_refused() {
    let (_, recorded, original) = written(2);
    let mut state = original.state().clone();
    state.put(b"a", Bytes::from_static(b"forged"));
    let replay = original.replay().map().clone();
    let restore = |state, replay, signatures| {
        let rules = Rules::from(&config());
        Execution::restore(Box::new(Kv), rules, recorded.record, state, replay, signatures)
    };
    assert!(restore(state, replay.clone(), original.signatures()).is_err());
    let mut others = original.signatures();
    others.add(Index(1), signed(1, 0).signature.as_ref().unwrap());
    assert!(restore(original.state().clone(), replay.clone(), others).is_err());
    assert!(restore(original.state().clone(), replay, original.signatures()).is_ok());
    assert!(Snapshot::read(b"", &[b""; 0]).is_err());
}

#[test]
fn rule_12_a_state_that_a_liar_led_astray_goes_back_to_where_it_was() {
    let (log, _, written) = written(3);
    let mut slots = by_slot(log[1..].to_vec());
    let mut execution = execution();
    execution.repeat(&slots[0]).unwrap();
    let before = execution.checkpoint();
    let record = *execution.record();
    let mut forged = slots[1].clone();
    forged[0].exchange = None;
    assert!(execution.repeat(&forged).is_err());
    execution.roll_back(before);
    assert_eq!(*execution.record(), record);
    slots.drain(1..).for_each(|slot| drop(execution.repeat(&slot).unwrap()));
    assert_eq!(execution.record(), written.record());
}
