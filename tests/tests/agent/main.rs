//! The agent: follows its policy file however it is changed, refuses what is not valid, and is not
//! needed for what it has put in place. Real binary, real sockets, each test in a lab of its own.

mod beginning;
mod boot;
mod control;
mod following;
mod guarded;
mod interfaces;
mod planted;
mod rights;
mod service;
mod stopping;
mod streaming;
mod tampering;
mod trials;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;
use portcullis_tests::{
    edge::{Edge, IMPATIENCE, opening, replace, server},
    running::PATIENCE,
};

/// Something that a thread does again and again until this is dropped, however the test ends.
struct Noise {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    fn start(make: impl Fn() + Send + 'static) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                make();
            }
        });
        Self { enough, thread: Some(thread) }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Noise that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Points a link somewhere else, as configuration managers do.
fn point(link: &std::path::Path, target: &std::path::Path) -> Result<()> {
    let new = link.with_extension("link");
    std::os::unix::fs::symlink(target, &new)?;
    fs::rename(new, link)?;
    Ok(())
}
