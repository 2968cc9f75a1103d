//! The Debian package: installed, upgraded under traffic, removed and purged in a copy of this system that
//! vanishes with the test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, Ran, lab, rows},
    packet::Ip,
    running::Running,
    traffic::{EchoServer, Protocol, exchange},
    unit::Unit,
};
use xtask::{
    package::{self, Request},
    skip::{Need, skip},
};

const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_millis(100);

/// A copy of this system: what is written stays in memory.
struct System {
    root: PathBuf,
    host: Namespace,
}

impl System {
    fn new(lab: &Lab) -> Result<Self> {
        let place = lab.folder("system")?;
        let [above, work, root] = ["above", "work", "root"].map(|name| place.join(name));
        for folder in [&above, &work, &root] {
            fs::create_dir(folder)?;
        }
        let layers = format!("lowerdir=/,upperdir={},workdir={}", above.display(), work.display());
        mount(Some("system"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
            .context("cannot lay a folder over the system")?;
        let system = Self { root, host: lab.host().clone() };
        for (kind, folder) in
            [("proc", "proc"), ("sysfs", "sys"), ("bpf", "sys/fs/bpf"), ("tmpfs", "run"), ("tmpfs", "tmp")]
        {
            mount(Some(kind), &system.root.join(folder), Some(kind), MsFlags::empty(), None::<&str>)
                .with_context(|| format!("cannot mount {folder}"))?;
        }
        // As systemd mounts them.
        for (folder, mode) in [("sys/fs/bpf", 0o700), ("run", 0o755)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(system.root.join(folder), mode)?;
        }
        // Else every installation sorts all manual pages of the system anew.
        let _ = fs::remove_file(system.file("/var/lib/man-db/auto-update"));
        mount(Some("/dev"), &system.root.join("dev"), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(system)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.host.command("chroot");
        command.arg(&self.root).args(words);
        command.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for name in ["PORTCULLIS_STATE", "PORTCULLIS_BPFFS", "PORTCULLIS_LASTING"] {
            command.env_remove(name);
        }
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        let ran = Ran::of(self.command(words));
        println!("$ {}\n{}{}", words.join(" "), ran.stdout, ran.stderr);
        ran
    }

    /// A file of the system.
    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Installs a package, or upgrades to it.
    #[track_caller]
    fn install(&self, package: &Path) -> Result<()> {
        fs::copy(package, self.file("/tmp/portcullis.deb"))?;
        self.run(&["dpkg", "--install", "/tmp/portcullis.deb"]).exits(0);
        Ok(())
    }
}

/// A package of a command.
fn packed(lab: &Lab, operator: &Operator, version: &str) -> Result<PathBuf> {
    let output = lab.folder(&format!("package-{version}"))?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let binary = operator.binary();
    package::build(&Request { workspace, binary, version, output: &output, compress: false })
}

/// What a rule of `edge0` has counted.
#[track_caller]
fn counted(system: &System, rule: &str) -> u64 {
    let json = system.run(&["portcullis", "counters", "--json"]).exits(0).json();
    let found = rows(&json["interfaces"][0]).find(|row| row["service"] == rule);
    found.and_then(|row| row["packets"].as_u64()).expect("the rule is there")
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::new(Ip::V4.address(1), port)
}

#[test]
fn a_package_is_installed_upgraded_under_traffic_removed_and_purged() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        skip(Need::Program("dpkg-deb".to_owned()), "this is no Debian, dpkg-deb is missing");
        return Ok(());
    }
    let neighbour = lab.neighbour("edge0", "far0")?;
    let serve = |port| EchoServer::start(lab.host(), Protocol::Tcp, server(port));
    let _servers = [443, 8080].into_iter().map(serve).collect::<Result<Vec<_>>>()?;
    let system = System::new(&lab)?;
    let open = |port, patience| exchange(&neighbour, Protocol::Tcp, server(port), patience);

    // Installed: it runs, and enforces nothing. It has the ABI before this one.
    let operator = Operator::new(&lab)?;
    let previous = operator.of_the_previous_abi()?;
    system.install(&packed(&lab, &previous, "0.0.1")?)?;
    system.run(&["portcullis", "--version"]).exits(0).prints("portcullis");
    system.run(&["portcullis", "check", "/etc/portcullis/policy.toml"]).prints("valid");
    for file in
        ["/usr/share/man/man1/portcullis-agent.1.gz", "/usr/share/bash-completion/completions/portcullis"]
    {
        ensure!(system.file(file).is_file(), "{file} is missing");
    }
    let user = system.run(&["id", "--user", "portcullis"]).exits(0).stdout.trim().to_owned();
    let owner = |path: &str| Ok::<_, std::io::Error>(fs::metadata(system.file(path))?.uid().to_string());
    for folder in ["/sys/fs/bpf/portcullis", "/run/portcullis", "/var/lib/portcullis"] {
        assert_eq!(owner(folder)?, user, "{folder}");
    }
    // Units that the service manager would not take are no units.
    if system.file("/usr/bin/systemd-analyze").exists() {
        let units = ["portcullis.service", "portcullis-boot.service"]
            .map(|unit| format!("/usr/lib/systemd/system/{unit}"));
        system.run(&["systemd-analyze", "verify", "--man=no", &units[0], &units[1]]).exits(0);
    } else {
        skip(Need::Program("systemd-analyze".to_owned()), "there is no systemd here to check the units");
    }
    let capabilities = "-all,+bpf,+net_admin,+perfmon";
    let inherited = format!("--inh-caps={capabilities}");
    let ambient = format!("--ambient-caps={capabilities}");
    // As the service manager starts it.
    let started = |unit: &str| {
        let Unit { words, environment } = Unit::read(&system.root, unit).expect("a unit");
        let user = ["--reuid=portcullis", "--regid=portcullis", "--init-groups", "--no-new-privs"];
        let mut all = vec!["setpriv"];
        all.extend(user);
        all.extend([inherited.as_str(), ambient.as_str()]);
        all.extend(words.iter().map(String::as_str));
        let mut command = system.command(&all);
        command.envs(environment);
        command
    };
    let agent = || Running::start(started("portcullis.service"));
    let mut running = agent();
    assert_eq!(running.event("awaited")["interface"], "edit-this-name");
    ensure!(open(443, PATIENCE)? && open(8080, PATIENCE)?, "nothing is enforced yet");

    // Edited: it enforces.
    let edited = policy(&[interface("edge0", &[allow("open", "tcp", "443")])]);
    fs::write(system.file("/etc/portcullis/policy.toml"), &edited)?;
    running.event("applied");
    ensure!(open(443, PATIENCE)? && !open(8080, IMPATIENCE)?, "it is enforced");

    // Upgraded under traffic: there is no moment in which the closed port is open or the open one closed.
    let stop = Arc::new(AtomicBool::new(false));
    let tries = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let wrong = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let clients: Vec<_> = [(0, 443, true, PATIENCE), (1, 8080, false, Duration::from_millis(20))]
        .into_iter()
        .map(|(n, port, expected, patience)| {
            let (stop, tries, wrong) = (Arc::clone(&stop), Arc::clone(&tries), Arc::clone(&wrong));
            let neighbour = neighbour.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answered = exchange(&neighbour, Protocol::Tcp, server(port), patience);
                    tries[n].fetch_add(1, Ordering::Relaxed);
                    if answered.is_ok_and(|answered| answered != expected) {
                        wrong[n].fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let before = counted(&system, "open");
    system.install(&packed(&lab, &operator, "0.0.2")?)?;
    // Until the agent is restarted, what the old command has left goes on.
    system.run(&["portcullis", "status", "--check"]).exits(3).prints("edge0: enforced by another version");
    // As the service manager restarts it.
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(0));
    let mut running = agent();
    assert_eq!(running.event("applied")["generation"], 2, "it goes on");
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client does not panic"));
    let count = |all: &[AtomicU32; 2]| [all[0].load(Ordering::Relaxed), all[1].load(Ordering::Relaxed)];
    println!("while it was upgraded: {:?} tries on the open and the closed port", count(&tries));
    assert!(count(&tries).iter().all(|tries| *tries > 10), "{tries:?}");
    assert_eq!(count(&wrong), [0, 0], "wrong answers on the open and the closed port");
    assert_eq!(
        fs::read_to_string(system.file("/etc/portcullis/policy.toml"))?,
        edited,
        "it is the administrator's"
    );
    system.run(&["portcullis", "status", "--check"]).exits(0).prints("edge0");
    let after = counted(&system, "open");
    assert!(before > 0 && after > before, "counters go on: {before}, then {after}");
    // A connection that is answered takes at least four packets to the server.
    assert!(after >= 4 * u64::from(count(&tries)[0]), "{after} packets, {:?} tries", count(&tries));

    // What the administrator writes to /etc/default is what the units start.
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end();
    let elsewhere = "/etc/portcullis/edge.toml";
    fs::write(system.file(elsewhere), format!("{edited}\n# elsewhere\n"))?;
    let defaults = fs::read_to_string(system.file("/etc/default/portcullis"))?;
    let set = |mode: &str, more: &str| {
        let defaults = defaults
            .replace("PORTCULLIS_FAIL_MODE=last-good", &format!("PORTCULLIS_FAIL_MODE={mode}"))
            .replace(
                "\nPORTCULLIS_AGENT_OPTIONS=\n",
                &format!("\nPORTCULLIS_AGENT_OPTIONS=\"{more} --trial off\"\n"),
            )
            .replace("\nPORTCULLIS_BOOT_OPTIONS=", &format!("\nPORTCULLIS_BOOT_OPTIONS=\"{more}\""));
        fs::write(system.file("/etc/default/portcullis"), defaults)
    };
    set("last-good", &format!("--policy {elsewhere}"))?;
    let Unit { words, .. } = Unit::read(&system.root, "portcullis.service")?;
    let expected =
        ["/usr/bin/portcullis", "agent", "--trial", "60s", "--policy", elsewhere, "--trial", "off"];
    assert_eq!(words, expected);
    let mut running = agent();
    running.event("applied");
    let status = system.run(&["portcullis", "status", "--json"]).exits(0).json();
    assert_eq!(status["agent"]["policy"], elsewhere);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end();
    // A boot with nothing known to be good, and one with something that cannot be read.
    let boot = || Ran::of(started("portcullis-boot.service"));
    let good = system.file("/var/lib/portcullis/last-good.json");
    let detach = || system.run(&["portcullis", "detach", "--all"]).exits(0);
    detach();
    fs::remove_file(&good)?;
    boot().exits(0).prints(&format!("edge0: generation 1 of {elsewhere}"));
    detach();
    fs::write(&good, "no JSON")?;
    set("open", &format!("--policy {elsewhere}"))?;
    boot().exits(1).complains("nothing is enforced, every packet passes");
    set("closed", &format!("--policy {elsewhere}"))?;
    boot().exits(3).complains("every interface is closed");
    ensure!(!open(443, IMPATIENCE)?, "what the fail mode says is enforced");

    // Removed: enforcement ends, what the administrator wrote stays.
    system.run(&["dpkg", "--remove", "portcullis"]).exits(0).prints("edge0: detached");
    ensure!(open(8080, PATIENCE)?, "nothing is enforced any more");
    ensure!(
        system.file("/etc/portcullis/policy.toml").is_file() && !system.file("/usr/bin/portcullis").exists()
    );
    ensure!(system.file("/var/lib/portcullis/last-good.json").is_file());
    // A file that no package brought stays the administrator's.
    fs::remove_file(system.file(elsewhere))?;
    system.run(&["dpkg", "--purge", "portcullis"]).exits(0);
    for path in ["/etc/portcullis", "/var/lib/portcullis", "/run/portcullis", "/sys/fs/bpf/portcullis"] {
        ensure!(!system.file(path).exists(), "{path} is left behind");
    }
    system.run(&["id", "portcullis"]).exits(1);
    Ok(())
}
