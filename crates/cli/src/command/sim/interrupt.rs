//! Ctrl-C, which ends early and still tells; pressed again, it ends at once.

use crate::{command::block_on, failure::Failure};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc,
};
use tokio::signal::unix::{SignalKind, signal};

/// Becomes true at the first Ctrl-C or SIGTERM; the second ends the process.
pub(super) fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let (ready, listens) = mpsc::channel();
    let told = flag.clone();
    std::thread::spawn(move || {
        let listening = block_on(async {
            let signals = signal(SignalKind::interrupt())
                .and_then(|a| Ok((a, signal(SignalKind::terminate())?)));
            let (mut interrupt, mut terminate) = match signals {
                Ok(signals) => signals,
                Err(error) => return ready.send(Err(error.to_string())),
            };
            ready.send(Ok(()))?;
            for code in [None, Some(130)] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                match code {
                    None => told.store(true, Ordering::Relaxed),
                    Some(code) => std::process::exit(code),
                }
            }
            Ok(())
        });
        drop(listening);
    });
    match listens.recv() {
        Ok(Ok(())) => Ok(flag),
        Ok(Err(error)) => Err(Failure::failed("signals", error)),
        Err(_) => Err(Failure::failed("signals", "nobody listens for signals")),
    }
}
