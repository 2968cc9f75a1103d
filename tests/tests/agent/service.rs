//! The agent as a service: what it tells its manager, and how it works as a user of its own.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::chown, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    lab::Lab,
    operator::{Operator, Ran},
    running::{PATIENCE, Running},
};
use xtask::skip::{Need, skip};

use crate::{Edge, opening};

/// A user that no account has.
const USER: u32 = 61234;
/// What the unit gives the agent.
const CAPABILITIES: &str = "bpf,net_admin,perfmon";

/// Where the agent's messages to a service manager go.
struct Manager(UnixDatagram);

impl Manager {
    fn new() -> Result<Self> {
        let socket = UnixDatagram::bind(Self::path())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    fn path() -> PathBuf {
        Lab::state().join("notify.sock")
    }

    /// Waits for a message that says this.
    #[track_caller]
    fn hears(&self, part: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("no `{part}`: {error}"));
            let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if message.contains(part) {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_what_happens() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let manager = Manager::new()?;
    let path = edge.operator.policy(&opening(443))?;
    let mut command = edge.operator.command(&["agent", "--policy", path.to_str().expect("text")]);
    command.env("NOTIFY_SOCKET", Manager::path()).env("WATCHDOG_USEC", "400000");
    let agent = Running::start(command);

    assert!(manager.hears("READY=1").contains("STATUS=1 interface protected"));
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    agent.signal(Signal::SIGHUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    edge.operator.policy("version = 9\n")?;
    assert!(manager.hears("STATUS=").contains("the policy file is refused"));
    agent.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    Ok(())
}

#[test]
fn an_agent_that_hangs_does_not_say_that_it_lives() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let manager = Manager::new()?;
    let path = edge.operator.policy(&opening(443))?;
    let mut command = edge.operator.command(&["agent", "--policy", path.to_str().expect("text")]);
    command.env("NOTIFY_SOCKET", Manager::path()).env("WATCHDOG_USEC", "200000");
    let agent = Running::start(command);
    manager.hears("WATCHDOG=1");
    agent.signal(Signal::SIGSTOP);
    // Whatever was sent before is read; then nothing comes for five periods.
    manager.0.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut bytes = [0; 4096];
    let mut more = 0;
    while manager.0.recv(&mut bytes).is_ok() {
        more += 1;
        assert!(more < 50, "it goes on");
    }
    agent.signal(Signal::SIGCONT);
    manager.0.set_read_timeout(Some(PATIENCE))?;
    manager.hears("WATCHDOG=1");
    Ok(())
}

/// How many sockets a process has, of which each must be local or of netlink.
fn local_sockets(process: u64) -> Result<usize> {
    let process = PathBuf::from(format!("/proc/{process}"));
    // The number of the socket is a column of both.
    let known: String = ["net/unix", "net/netlink"]
        .into_iter()
        .map(|table| fs::read_to_string(process.join(table)))
        .collect::<Result<_, _>>()?;
    let known: BTreeSet<&str> = known.split_whitespace().collect();
    let mut sockets = 0;
    for entry in fs::read_dir(process.join("fd"))? {
        let target = fs::read_link(entry?.path())?;
        let target = target.to_string_lossy();
        let Some(number) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
            continue;
        };
        assert!(known.contains(number), "{target} is neither local nor of netlink");
        sockets += 1;
    }
    Ok(sockets)
}

/// Holds: security agent-confined.
#[test]
fn the_packaged_units_take_away_what_the_agent_does_not_need() -> Result<()> {
    const CAPABILITIES: &str = "CAP_BPF CAP_NET_ADMIN CAP_PERFMON";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    for name in ["portcullis.service", "portcullis-boot.service"] {
        let path = folder.join(name);
        let unit = fs::read_to_string(&path)?;
        let values = |key: &str| -> Vec<&str> {
            unit.lines()
                .filter_map(|line| line.split_once('='))
                .filter(|(known, _)| *known == key)
                .map(|(_, value)| value)
                .collect()
        };
        for (key, value) in [
            ("User", "portcullis"),
            ("CapabilityBoundingSet", CAPABILITIES),
            ("AmbientCapabilities", CAPABILITIES),
            ("NoNewPrivileges", "yes"),
            ("ProtectHome", "yes"),
            ("PrivateDevices", "yes"),
            ("ProtectProc", "invisible"),
            ("RestrictAddressFamilies", "AF_UNIX AF_NETLINK"),
            ("ProtectSystem", "strict"),
            // The three folders.
            ("RuntimeDirectory", "portcullis"),
            ("StateDirectory", "portcullis"),
            ("ReadWritePaths", "/sys/fs/bpf/portcullis"),
        ] {
            assert_eq!(values(key), [value], "{name}: {key}");
        }
        // What else a unit may take away: systemd judges, 0 is best and 100 worst.
        match Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=12"])
            .arg(&path)
            .output()
        {
            Ok(judged) => {
                assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stdout));
            }
            Err(_) => skip(
                Need::Program("systemd-analyze".to_owned()),
                "there is no systemd here to judge the units",
            ),
        }
    }
    Ok(())
}

/// Holds: security agent-confined.
#[test]
fn the_agent_works_as_a_user_of_its_own_beside_root() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    // As the boot unit prepares them.
    for folder in [Lab::bpffs().join("portcullis"), Operator::state(), Operator::lasting()] {
        fs::create_dir(&folder)?;
        chown(&folder, Some(USER), Some(USER))?;
    }
    let path = edge.operator.policy(&opening(443))?;
    let path = path.to_str().expect("text");
    // Root was there before.
    edge.operator.run(&["apply", path]).exits(0);
    let mut agent =
        Running::start(edge.operator.command_as(USER, CAPABILITIES, &["agent", "--policy", path]));
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(443, 8080);
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    let local = local_sockets(status["agent"]["pid"].as_u64().expect("a process"))?;
    assert!(local >= 2, "the control socket and that of the interfaces: {local}");
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 3);
    // Root while it runs, and the agent after root.
    edge.operator.run(&["apply", path]).exits(0).prints("unchanged").prints("generation 3");
    edge.operator.run(&["apply", "--observe", path]).exits(0).prints("generation 4");
    edge.operator.run(&["reload"]).exits(0).prints("generation 5");
    edge.assert_open(8080, 443);
    // An interface that root's command enforced at first is the agent's, too.
    edge.operator.run(&["detach", "--all"]).exits(0);
    edge.operator.run(&["apply", path]).exits(0).prints("generation 1");
    edge.operator.run(&["reload"]).exits(0).prints("generation 2");
    edge.lab.host().run("ip", &["link", "del", "edge0"])?;
    agent.event("vanished");
    edge.lab.host().run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far0"])?;
    agent.event("applied");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));

    // Less than these capabilities does not suffice, and is told.
    let said = Ran::of(edge.operator.command_as(USER, "bpf,net_admin", &["agent", "--policy", path]));
    said.exits(1).complains("CAP_PERFMON");
    Ok(())
}

#[test]
fn an_agent_whose_output_is_closed_does_not_end_as_if_all_were_well() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy(&opening(443))?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = edge.operator.command(&["agent", "--policy", path.to_str().expect("text")]);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot print an event"), "{said}");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn the_agent_needs_little_memory_and_no_more_with_each_reload() -> Result<()> {
    /// MiB that the agent may take, as it is shipped; without optimisation the command itself is as large.
    const BUDGET: f64 = 15.0;
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let text = opening(443)
        + "\n[[interface]]\nname = \"more*\"\nroles = [\"skype-for-business-server-2015/front-end-server\"]\n";
    let _agent = edge.agent(&text, &[]);
    let process = edge.operator.run(&["status", "--json"]).exits(0).json()["agent"]["pid"].clone();
    let mebibytes = |field: &str| -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kibibytes: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse()?;
        Ok(kibibytes / 1024.0)
    };
    // What the first reload takes stays: the guard is asked then, and not at the start.
    edge.operator.run(&["reload"]).exits(0);
    let own = mebibytes("RssAnon")?;
    for _ in 0..10 {
        edge.operator.run(&["reload"]).exits(0);
    }
    // It gives memory back after it has answered.
    let deadline = Instant::now() + PATIENCE;
    while mebibytes("RssAnon")? >= own + 3.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (all, later) = (mebibytes("VmRSS")?, mebibytes("RssAnon")?);
    println!("the agent takes {all:.1} MiB, {later:.1} of its own ({own:.1} before ten reloads)");
    assert!(later < own + 3.0, "it grew from {own} to {later} MiB");
    assert!(later <= BUDGET && (cfg!(debug_assertions) || all <= BUDGET), "{all} MiB, {later} of its own");
    Ok(())
}
