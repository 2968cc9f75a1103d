//! Passes the kernel programs' own diagnostics (aya-log) to the agent's log.

use std::collections::BTreeMap;

use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

use crate::generation::{Applied, Roots};

/// The logs of the active generation of each interface.
#[derive(Default)]
pub(super) struct KernelLog {
    loggers: BTreeMap<String, AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
}

impl KernelLog {
    /// Follows a generation in place of the one before it on its interface.
    pub(super) fn follow(&mut self, roots: &Roots, mut applied: Applied) {
        let interface = applied.manifest.interface.clone();
        let object = roots
            .attachment(&interface)
            .and_then(|attachment| Ok(applied.programs.diagnostics(attachment.pins())?))
            .map_err(|error| error.to_string());
        let logger =
            object.and_then(|mut object| EbpfLogger::init(&mut object).map_err(|error| error.to_string()));
        let followed = logger.and_then(|logger| {
            // SAFETY: the logger owns its map's file descriptor and gives the same one as long as it
            // lives, which is as long as the `AsyncFd` does.
            let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
            logger.map_err(|error| error.to_string())
        });
        match followed {
            Ok(logger) => {
                self.loggers.insert(interface, logger);
            }
            Err(error) => log::warn!("{interface}: the kernel program's log cannot be read: {error}"),
        }
    }

    /// Passes on what is there, waiting until something is. Never returns where nothing is followed.
    pub(super) async fn drain(&mut self) {
        let mut waiting: Vec<_> =
            self.loggers.values_mut().map(|logger| Box::pin(logger.readable_mut())).collect();
        if waiting.is_empty() {
            return std::future::pending().await;
        }
        let ready = std::future::poll_fn(|context| {
            for future in &mut waiting {
                if let std::task::Poll::Ready(ready) = future.as_mut().poll(context) {
                    return std::task::Poll::Ready(ready);
                }
            }
            std::task::Poll::Pending
        });
        if let Ok(mut guard) = ready.await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }
}
