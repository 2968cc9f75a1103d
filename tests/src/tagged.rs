//! A VLAN interface in userspace: a TAP device whose frames go out of another interface with tags and come
//! in from there. The tags are bytes of the frame, whatever the kernel knows of VLANs and a driver of
//! offloads.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{lab::Namespace, splice, tun};

/// Milliseconds after which is looked whether it is over.
const POLL: u8 = 20;
/// Above every frame that either side lets through.
const LARGEST: usize = 2048;

/// The device, and the thread that carries its frames; both end when it is dropped.
pub struct Tagged {
    enough: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Tagged {
    /// Makes the device `name` in `namespace`, whose frames carry `tags`, outermost first (`EtherType` and
    /// VLAN identifier), where they pass `below`. On that interface nobody else may speak.
    ///
    /// # Errors
    ///
    /// Where the kernel has no TAP devices, or there is no such interface.
    pub fn new(namespace: &Namespace, name: &str, below: &str, tags: &[(u16, u16)]) -> Result<Self> {
        let (device, port) = namespace.within(|| -> Result<_> {
            let device = tun::open(name, tun::Kind::Tap).context("cannot make a TAP device")?;
            let port = packets(below).with_context(|| format!("cannot listen on {below}"))?;
            Ok((device, port))
        })?;
        // Room for the tags within what the other interface carries.
        namespace.run("ip", &["link", "set", name, "mtu", "1400", "up"])?;
        let enough = Arc::new(AtomicBool::new(false));
        let (told, tags) = (Arc::clone(&enough), tags.to_vec());
        let carrier = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                carry(&device, &port, &tags);
            }
        });
        Ok(Self { enough, carrier: Some(carrier) })
    }
}

impl Drop for Tagged {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // A carrier that panicked has ended, too; what it did not carry is missed elsewhere.
            let _ = carrier.join();
        }
    }
}

/// Waits for a while, and carries what has come.
fn carry(mut device: &File, mut port: &File, tags: &[(u16, u16)]) {
    let mut waiting = [device, port].map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
    if poll(&mut waiting, PollTimeout::from(POLL)).is_err() {
        return;
    }
    let mut buffer = [0; LARGEST];
    // What cannot be sent is lost, as on any link.
    while let Ok(count) = device.read(&mut buffer) {
        let frame = tags
            .iter()
            .rev()
            .fold(buffer[..count].to_vec(), |frame, (kind, id)| splice::tag(&frame, *kind, *id));
        let _ = port.write(&frame);
    }
    while let Ok(count) = port.read(&mut buffer) {
        // The kernel keeps the outermost tag apart from the frame; the others are still in it.
        let start = splice::network(&buffer[..count]) - 2;
        let frame = [&buffer[..12], &buffer[start..count]].concat();
        let _ = device.write(&frame);
    }
}

/// Every frame that arrives at an interface, and a way to send more (packet(7)), in the calling thread's namespace.
///
/// # Errors
///
/// Where there is no such interface.
pub fn packets(interface: &str) -> io::Result<File> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let protocol = u16::try_from(libc::ETH_P_ALL).expect("it has 16 bits").to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers go in.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let socket = unsafe { File::from_raw_fd(socket) };
    let one: libc::c_int = 1;
    // SAFETY: the value is an int that lives until the call returns, and its size stands beside it.
    let ignored = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const one).cast(),
            size(&one),
        )
    };
    // SAFETY: a structure of numbers and arrays of them, for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small number");
    address.sll_protocol = protocol;
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the address lives until the call returns, and its size stands beside it.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size(&address)) };
    if ignored < 0 || bound < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn size<T>(value: &T) -> libc::socklen_t {
    u32::try_from(size_of_val(value)).expect("a small structure")
}
