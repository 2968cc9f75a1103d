//! Other filters, measured in the same run where they are installed.
//!
//! xdp-filter is an XDP program: it is set up by its own command, and its program then sees the same
//! packets as ours. nftables and iptables filter in the network stack, so that they can only be measured
//! by a flood over veth ([`crate::flood`]), behind an XDP program that lets everything pass.

use std::{
    env,
    io::Write as _,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    maps::{Map, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use portcullis_tests::{lab::Namespace, raw};

const PEERS: [&str; 3] = ["xdp-filter", "nft", "iptables-restore"];

/// The peers that are not installed.
pub(crate) fn missing() -> Vec<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain([Path::new("/usr/sbin").into()]).collect();
    PEERS.into_iter().filter(|name| !folders.iter().any(|folder| folder.join(name).exists())).collect()
}

/// xdp-filter on an interface: what it lets in, everything else is dropped.
pub(crate) struct XdpFilter {
    /// Its program, which stays on the interface.
    pub(crate) program: OwnedFd,
}

impl XdpFilter {
    /// Lets tcp/443, udp/3478 and these ports in over TCP and UDP, in the calling thread's namespace.
    pub(crate) fn load(interface: &str, ports: impl Iterator<Item = u16>) -> Result<Self> {
        // It pins its maps below this path, one set for all interfaces: each time another file system.
        let pins = Path::new("/sys/fs/bpf");
        mount(Some("bpf"), pins, Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a BPF file system for xdp-filter")?;
        let loaded = Self::load_and_fill(interface, ports, &pins.join("xdp-filter"));
        umount2(pins, MntFlags::MNT_DETACH).context("cannot unmount it again")?;
        loaded
    }

    fn load_and_fill(interface: &str, ports: impl Iterator<Item = u16>, pins: &Path) -> Result<Self> {
        // Its library's dispatcher needs programs that replace functions, which not every kernel takes.
        let call = |args: &[&str]| {
            let mut command = Command::new("xdp-filter");
            command.args(args).env("LIBXDP_SKIP_DISPATCHER", "1");
            output(command)
        };
        call(&["load", interface, "--policy", "deny", "--features", "tcp,udp"])?;
        call(&["port", "443", "--mode", "dst", "--proto", "tcp"])?;
        call(&["port", "3478", "--mode", "dst", "--proto", "udp"])?;
        fill(&pins.join("filter_ports"), ports)?;
        let program = pins.join("programs").join(interface);
        let pin = std::fs::read_dir(&program)
            .with_context(|| format!("xdp-filter pins nothing at {}", program.display()))?
            .next()
            .context("xdp-filter pins no program")??
            .path();
        Ok(Self { program: raw::pinned(&pin).with_context(|| format!("cannot open {}", pin.display()))? })
    }
}

/// Opens ports as its command does, which would take milliseconds for each: the array's value for a port
/// is what it wrote for those two, its key is the port in whichever byte order they were found.
fn fill(pin: &Path, ports: impl Iterator<Item = u16>) -> Result<()> {
    let map = MapData::from_pin(pin).context("cannot open the ports of xdp-filter")?;
    let mut table: PerCpuArray<MapData, u64> = Map::PerCpuArray(map).try_into()?;
    let value = |key: u16| -> Result<u64> { Ok(table.get(&key.into(), 0)?[0]) };
    let (host, network) = (value(443)?, value(443_u16.to_be())?);
    let key = |port: u16| if host != 0 { port } else { port.to_be() };
    let both = host | network | value(key(3478))?;
    ensure!(both != 0, "xdp-filter keeps its ports elsewhere than expected");
    let cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))?;
    for port in ports {
        table.set(key(port).into(), PerCpuValues::try_from(vec![both; cpus])?, 0)?;
    }
    Ok(())
}

/// A filter in the network stack: tcp/443, udp/3478 and the ports of [`crate::cases::rules`] are let in
/// over IPv4 and IPv6, everything else is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// nftables at the ingress hook of the interface, with all ports in one set.
    Nft,
    /// iptables in the chain INPUT, one rule after the other.
    Iptables,
}

impl Stack {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        }
    }

    /// Sets the filter up in a namespace, on its interface `interface`.
    pub(crate) fn set_up(self, namespace: &Namespace, interface: &str, ports: &[u16]) -> Result<()> {
        match self {
            Self::Nft => {
                let set = |first: u16| {
                    ports.iter().chain([&first]).map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let text = format!(
                    "table netdev bench {{\n\
                     set tcp_ports {{ type inet_service; elements = {{ {} }} }}\n\
                     set udp_ports {{ type inet_service; elements = {{ {} }} }}\n\
                     chain ingress {{ type filter hook ingress device \"{interface}\" priority 0; policy drop;\n\
                     tcp dport @tcp_ports accept\n\
                     udp dport @udp_ports accept\n\
                     }}\n}}\n",
                    set(443),
                    set(3478),
                );
                fed(namespace, "nft", &["-f", "-"], &text)
            }
            Self::Iptables => {
                let mut text = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                     -A INPUT -p tcp --dport 443 -j ACCEPT\n-A INPUT -p udp --dport 3478 -j ACCEPT\n"
                    .to_owned();
                for port in ports {
                    for protocol in ["tcp", "udp"] {
                        text += &format!("-A INPUT -p {protocol} --dport {port} -j ACCEPT\n");
                    }
                }
                text += "COMMIT\n";
                fed(namespace, "iptables-restore", &[], &text)?;
                fed(namespace, "ip6tables-restore", &[], &text)
            }
        }
    }
}

/// Runs a command with this input.
fn fed(namespace: &Namespace, program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut command = namespace.command(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    child.stdin.take().context("its input is a pipe")?.write_all(input.as_bytes())?;
    checked(program, child.wait_with_output()?)
}

fn output(mut command: Command) -> Result<()> {
    let what = format!("{command:?}");
    let output = command.output().with_context(|| format!("cannot run {what}"))?;
    checked(&what, output)
}

fn checked(what: &str, Output { status, stdout, stderr }: Output) -> Result<()> {
    if !status.success() {
        let said = [stdout, stderr].concat();
        bail!("{what} failed ({status}): {}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
