//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod bootstrap;
pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod generator;
pub(crate) mod methods;
pub(crate) mod metrics;
pub(crate) mod network;
pub(crate) mod predict;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod simulate;
pub(crate) mod soak;
pub(crate) mod status;
pub(crate) mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets a flag at the first interrupt, so that a run ends in order; the second one ends the process.
pub(crate) fn stop_on_interrupt(runtime: &tokio::runtime::Runtime) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
            eprintln!("stopping; interrupt again to end at once");
            if tokio::signal::ctrl_c().await.is_ok() {
                // Somebody who interrupts twice does not want anything to be tidied up.
                #[allow(clippy::disallowed_methods)]
                std::process::exit(130);
            }
        }
    });
    stop
}
