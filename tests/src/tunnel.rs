//! A tunnel in userspace: what leaves one tun device arrives at the other one, in another namespace.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    lab::Namespace,
    tun::{self, Kind},
};

/// Milliseconds after which is looked whether it is over.
const POLL: u8 = 20;
/// Above every packet that either side lets through.
const LARGEST: usize = 1 << 16;

/// Both devices, and the thread that carries their packets; all end when it is dropped.
pub struct Tunnel {
    near: File,
    enough: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// Makes a device in each of two namespaces, up and without addresses, and joins them.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such devices.
    pub fn new([near, far]: [(&Namespace, &str); 2]) -> Result<Self> {
        let make = |(namespace, name): (&Namespace, &str)| {
            let file = namespace.within(|| tun::open(name, Kind::Tun)).context("cannot make a tun device")?;
            namespace.run("ip", &["link", "set", name, "up"])?;
            anyhow::Ok(file)
        };
        let ends = [make(near)?, make(far)?];
        let near = ends[0].try_clone()?;
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let carrier = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                carry(&ends);
            }
        });
        Ok(Self { near, enough, carrier: Some(carrier) })
    }

    /// Has a packet arrive at the first device.
    ///
    /// # Errors
    ///
    /// Where the device does not take it.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        (&self.near).write_all(packet).context("the tun device takes no packet")
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // A carrier that panicked has ended, too; what it did not carry is missed elsewhere.
            let _ = carrier.join();
        }
    }
}

/// Waits for a while, and carries what has come.
fn carry(ends: &[File; 2]) {
    let mut waiting = ends.each_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
    if poll(&mut waiting, PollTimeout::from(POLL)).is_err() {
        return;
    }
    let mut buffer = vec![0; LARGEST];
    for [mut from, mut to] in [[&ends[0], &ends[1]], [&ends[1], &ends[0]]] {
        // What cannot be sent is lost, as on any link.
        while let Ok(count) = from.read(&mut buffer) {
            let _ = to.write(&buffer[..count]);
        }
    }
}
