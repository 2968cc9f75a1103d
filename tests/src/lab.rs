//! A private world: network namespaces, BPF file system and state that vanish with the process.
//!
//! [`Lab::enter`] gives the calling thread its own network and mount namespaces. Everything below
//! happens in there: interfaces, pins and state files cannot touch the host's, and the kernel removes
//! them when the last thread is gone, however it ended.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use xtask::skip::{Need, skip};

use crate::tunnel::Tunnel;

/// How the addresses of the test networks begin (RFC 5737, RFC 3849).
const V4: &str = "203.0.113.";
const V6: &str = "2001:db8::";

/// The namespaces of the calling thread, and of whatever it starts.
pub struct Lab {
    host: Namespace,
}

/// A network namespace, alive as long as some clone of this is.
#[derive(Clone)]
pub struct Namespace(Arc<File>);

impl Lab {
    /// Leaves the host's network and mounts for new ones, with loopback up, an empty BPF file system
    /// at [`Lab::bpffs`] and an empty state folder at [`Lab::state`].
    ///
    /// # Errors
    ///
    /// Without root.
    pub fn enter() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "the lab needs root: run it with sudo");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("cannot make namespaces")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("cannot make the mounts private")?;
        mount(Some("lab"), "/mnt", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .context("cannot mount the lab's own folder")?;
        for folder in [Self::bpffs(), Self::state()] {
            std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        mount(Some("bpf"), &Self::bpffs(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a BPF file system")?;
        let lab = Self { host: Namespace::current()? };
        run("ip", &["link", "set", "lo", "up"])?;
        Ok(lab)
    }

    /// [`Lab::enter`] for tests: without root it says why the test is skipped, and gives nothing.
    ///
    /// # Errors
    ///
    /// With root, where the kernel refuses.
    pub fn enter_as_root() -> Result<Option<Self>> {
        if nix::unistd::geteuid().is_root() {
            return Self::enter().map(Some);
        }
        skip(Need::Root, "network namespaces and BPF programs need root");
        Ok(None)
    }

    /// Where the lab's BPF file system is mounted.
    #[must_use]
    pub fn bpffs() -> PathBuf {
        PathBuf::from("/mnt/bpf")
    }

    /// Where the agent's state goes.
    #[must_use]
    pub fn state() -> PathBuf {
        PathBuf::from("/mnt/state")
    }

    /// A new, empty folder that vanishes with the lab.
    ///
    /// # Errors
    ///
    /// Where there is one of that name already.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = Path::new("/mnt").join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Gives a file of the system another content, for the calling thread and what it starts alone.
    ///
    /// # Errors
    ///
    /// Where there is no such file.
    pub fn cover(&self, path: &str, content: &str) -> Result<()> {
        let own = Path::new("/mnt").join(path.trim_start_matches('/').replace('/', "-"));
        std::fs::write(&own, content).with_context(|| format!("cannot write {}", own.display()))?;
        mount(Some(&own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot cover {path}"))
    }

    /// Empties a folder of the system, for the calling thread and what it starts alone.
    ///
    /// # Errors
    ///
    /// Where there is no such folder.
    pub fn empty(&self, path: &str) -> Result<()> {
        mount(Some("lab"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("cannot cover {path}"))
    }

    /// The network namespace of the protected host.
    #[must_use]
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// Another network namespace, connected by a veth pair: `here` on the protected host, `there` in
    /// the new one. Both ends are up, with the test addresses `.1`/`::1` here and `.2`/`::2` there.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn neighbour(&self, here: &str, there: &str) -> Result<Namespace> {
        self.neighbour_in(here, there, V4, V6)
    }

    /// The same in another network, whose addresses begin with `v4` and `v6` and end with 1 and 2.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn neighbour_in(&self, here: &str, there: &str, v4: &str, v6: &str) -> Result<Namespace> {
        let peer = self.host.link(here, there)?;
        self.address_in(here, there, &peer, v4, v6)?;
        Ok(peer)
    }

    /// As [`Lab::neighbour`], by a tunnel, whose packets have no Ethernet header.
    ///
    /// # Errors
    ///
    /// Where the kernel has no tun devices, or iproute2 refuses.
    pub fn tunnelled(&self, here: &str, there: &str) -> Result<(Namespace, Tunnel)> {
        let peer = Namespace::new()?;
        peer.run("ip", &["link", "set", "lo", "up"])?;
        let tunnel = Tunnel::new([(&self.host, here), (&peer, there)])?;
        self.address_in(here, there, &peer, V4, V6)?;
        Ok((peer, tunnel))
    }

    /// As [`Lab::neighbour`], by a veth pair that is there already.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn connect(&self, here: &str, there: &str) -> Result<Namespace> {
        let peer = self.host.join(here, there)?;
        self.address_in(here, there, &peer, V4, V6)?;
        Ok(peer)
    }

    /// Makes the veth pair to a neighbour anew after one of its ends was removed, as quickly as iproute2
    /// can: usable at once by IPv4, without a question for the other end's link-layer address.
    ///
    /// # Errors
    ///
    /// Where iproute2 refuses.
    pub fn make_anew(&self, here: &str, there: &str, neighbour: &Namespace) -> Result<()> {
        let ends = [(&self.host, here, 1, 2), (neighbour, there, 2, 1)];
        let mac = |n: i32| format!("02:00:00:00:00:0{n}");
        let namespace = neighbour.path();
        let (near, far) = (mac(1), mac(2));
        let pair = ["link", "add", here, "address", &near, "type", "veth"];
        let peer = ["peer", "name", there, "address", &far, "netns", &namespace];
        self.host.run("ip", &[&pair[..], &peer].concat())?;
        for (end, name, own, other) in ends {
            end.run("ip", &["link", "set", name, "up"])?;
            end.run("ip", &["address", "add", &format!("203.0.113.{own}/24"), "dev", name])?;
            let (address, mac) = (format!("203.0.113.{other}"), mac(other));
            end.run("ip", &["neighbour", "replace", &address, "lladdr", &mac, "dev", name])?;
        }
        Ok(())
    }

    fn address_in(&self, here: &str, there: &str, peer: &Namespace, v4: &str, v6: &str) -> Result<()> {
        for (namespace, name, n) in [(&self.host, here, 1), (peer, there, 2)] {
            namespace.address(name, &format!("{v4}{n}/24"))?;
            namespace.address(name, &format!("{v6}{n}/64"))?;
        }
        Ok(())
    }
}

impl Lab {
    /// Another network namespace behind a veth pair on which nobody speaks: no addresses, no ARP, no
    /// IPv6. What is counted there was sent by the test.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn silent_neighbour(&self, here: &str, there: &str) -> Result<Namespace> {
        let peer = Namespace::new()?;
        run("ip", &["link", "add", here, "type", "veth", "peer", "name", there])?;
        peer.take(there)?;
        silence(here)?;
        peer.within(|| silence(there))?;
        // Both ends are up when the second one is.
        run("ip", &["link", "set", here, "up"])?;
        peer.run("ip", &["link", "set", there, "up"])?;
        Ok(peer)
    }
}

/// Keeps the kernel from sending anything by itself on an interface of the calling thread's namespace.
fn silence(interface: &str) -> Result<()> {
    run("ip", &["link", "set", interface, "arp", "off", "multicast", "off", "addrgenmode", "none"])?;
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    std::fs::write(&setting, "1").with_context(|| format!("cannot write {setting}"))
}

impl Namespace {
    /// The calling thread's.
    fn current() -> Result<Self> {
        let file = File::open("/proc/thread-self/ns/net").context("cannot open the network namespace")?;
        Ok(Self(Arc::new(file)))
    }

    /// A new one.
    fn new() -> Result<Self> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            Self::current()
        });
        made.join().map_err(|_| anyhow::anyhow!("the thread that makes the namespace panicked"))?
    }

    /// Another network namespace, connected to this one by a veth pair: `here` in this one, `there` in
    /// the new one, both up and without addresses of IPv4.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn link(&self, here: &str, there: &str) -> Result<Self> {
        self.run("ip", &["link", "add", here, "type", "veth", "peer", "name", there])?;
        self.join(here, there)
    }

    /// As [`Namespace::link`], by a veth pair that is there already.
    fn join(&self, here: &str, there: &str) -> Result<Self> {
        let other = Self::new()?;
        self.within(|| other.take(there))?;
        self.run("ip", &["link", "set", here, "up"])?;
        for interface in ["lo", there] {
            other.run("ip", &["link", "set", interface, "up"])?;
        }
        Ok(other)
    }

    /// Gives an interface an address that is usable at once: nobody else is on its link.
    ///
    /// # Errors
    ///
    /// Where iproute2 is missing or refuses.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let mut words = vec!["address", "add", address, "dev", interface];
        if address.contains(':') {
            words.push("nodad");
        }
        self.run("ip", &words).map(drop)
    }

    /// Moves an interface of the calling thread's namespace into this one.
    fn take(&self, interface: &str) -> Result<()> {
        run("ip", &["link", "set", interface, "netns", &self.path()]).map(drop)
    }

    /// What iproute2 calls it: it names a namespace by a process or by a file below /run/netns; a file
    /// descriptor of this process serves as well.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.raw())
    }

    fn raw(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&*self.0)
    }

    /// A command that will run in this namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let namespace = Arc::clone(&self.0);
        // SAFETY: between fork and exec only `setns`, a plain system call, is made.
        unsafe {
            command.pre_exec(move || {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// Runs a command here and gives what it printed.
    ///
    /// # Errors
    ///
    /// Where it cannot be started or fails; the message holds what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        command.args(args);
        output(command)
    }

    /// Runs `work` on a thread in this namespace and waits for it.
    ///
    /// # Panics
    ///
    /// Where `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
                    .expect("entering a namespace of this process");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Runs a command in the calling thread's namespace.
fn run(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    output(command)
}

fn output(mut command: Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{command:?} failed ({status}): {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
