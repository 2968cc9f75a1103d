//! The agent is killed at random moments while it puts a policy in place: enforcement never stops, and the
//! next agent takes over.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, enforced, lab, left_behind, manifests_of},
    packet::Ip,
    random::Random,
    running::{PATIENCE, Running},
};

use crate::times;

const OPEN: u16 = 5000;
const CLOSED: u16 = 5001;

/// Both open one port and close another; they differ in the rest.
fn policies() -> [String; 2] {
    let of = |allows: &[String]| policy(&[interface("edge0", allows)]);
    let open = allow("open", "udp", &OPEN.to_string());
    [of(&[open.clone(), allow("web", "tcp", "443")]), of(&[allow("mail", "tcp", "25,465,587"), open])]
}

/// Holds: readme atomic.
#[test]
fn an_agent_that_is_killed_at_any_moment_leaves_enforcement_in_place() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let policies = policies();
    let file = operator.policy(&policies[0])?;
    // One undisturbed start and reload tell how long they take.
    let since = Instant::now();
    let mut agent = start(&operator, &file);
    agent.event("applied");
    let starts = since.elapsed();
    let since = Instant::now();
    operator.policy(&policies[1])?;
    agent.event("applied");
    let reloads = since.elapsed();
    drop(agent);

    let seed = u64::from(std::process::id());
    let mut random = Random::new(seed);
    let rounds = times(6, 100);
    println!("seed {seed}; a start takes {starts:.0?}, a reload {reloads:.0?}");
    let over = AtomicBool::new(false);
    let probed = thread::scope(|scope| {
        let probe = scope.spawn(|| probe(lab.host(), &neighbour, &over));
        let mut before = enforced(&operator);
        let mut moment = |longest: Duration| longest.mul_f64(1.2) * u32::from(random.byte()) / 255;
        let killed = (0..rounds).try_for_each(|round| {
            // While it starts.
            let agent = start(&operator, &file);
            thread::sleep(moment(starts));
            kill(agent);
            standing(&operator)?;
            // While it reloads: the next one starts and takes over first.
            let mut agent = start(&operator, &file);
            agent.event("applied");
            let after = enforced(&operator);
            ensure!(after != before, "the agent put a new generation in place");
            operator.policy(&policies[usize::from(round % 2 == 1)])?;
            thread::sleep(moment(reloads));
            kill(agent);
            before = standing(&operator)?;
            ensure!(!probe.is_finished(), "the probe has failed");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let probed = probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        killed.map(|()| probed)
    })?;
    println!(
        "{} kills; {probed} datagrams to each port: all to the open one arrived, none to the other",
        2 * rounds
    );

    // What the kills have left is mended by the next apply, and detached with the rest.
    drop(operator.apply(&policies[0]).exits(0));
    assert_eq!(fs::read_dir(manifests_of("edge0"))?.count(), 1, "{:?}", left_behind());
    assert!(operator.packets("edge0", "open") >= probed);
    assert!(operator.packets("edge0", "undocumented-udp") >= probed);
    drop(operator.run(&["detach", "--all"]).exits(0));
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

/// A port that is only open while a policy is tried.
const TRIED: u16 = 5002;
const TRIAL: Duration = Duration::from_secs(3);
/// How much later than its deadline a trial may be found to have ended: the kernel's clock has ticks of up to
/// 10 ms, and a busy machine is slow to ask.
const LATE: Duration = Duration::from_millis(500);

#[test]
fn a_trial_ends_when_it_should_whoever_is_killed() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let of = |ports: &[u16]| {
        let allows: Vec<String> =
            ports.iter().map(|port| allow(&format!("udp-{port}"), "udp", &port.to_string())).collect();
        policy(&[interface("edge0", &allows)])
    };
    let policies = [of(&[OPEN]), of(&[OPEN, 9])];
    let file = operator.policy(&policies[0])?;
    let tried = Lab::state().join("tried.toml");
    fs::write(&tried, of(&[OPEN, TRIED]))?;
    let tries = ["apply", "--force", "--confirm", "3s", tried.to_str().expect("text")];
    let door = Door::new(lab.host(), &neighbour, TRIED)?;
    drop(operator.apply(&policies[0]).exits(0));

    let seed = u64::from(std::process::id());
    let mut random = Random::new(seed);
    let rounds = times(3, 50);
    println!("seed {seed}");
    let over = AtomicBool::new(false);
    let (mut kills, mut begun) = (0, 0);
    let probed = thread::scope(|scope| {
        let probe = scope.spawn(|| probe(lab.host(), &neighbour, &over));
        let mut moment = |longest: Duration| longest * u32::from(random.byte()) / 255;
        let done = (0..rounds).try_for_each(|round| {
            let mut agent = start(&operator, &file);
            agent.event("applied");
            ensure!(!door.is_open()?, "the port is closed before the trial");
            // In every other round, the command is killed while it begins the trial.
            let mut command = operator.command(&tries);
            let mut command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            if round % 2 == 1 {
                thread::sleep(moment(Duration::from_millis(600)));
                command.kill()?;
                kills += 1;
            }
            command.wait()?;
            let latest = Instant::now() + TRIAL;
            let has_begun = pending(&operator) == "trial";
            begun += u32::from(has_begun);
            ensure!(!has_begun || door.is_open()?, "what is tried holds");
            // The agent is killed during the trial; perhaps while it reloads, which the trial keeps it from.
            operator.policy(&policies[usize::from(round % 2 == 0)])?;
            thread::sleep(moment(TRIAL / 2));
            kill(agent);
            // And the next one, about when the trial ends or while it tidies up.
            let agent = start(&operator, &file);
            thread::sleep(moment(TRIAL));
            kill(agent);
            kills += 2;
            thread::sleep((latest + LATE).saturating_duration_since(Instant::now()));
            ensure!(!door.is_open()?, "what was tried holds {LATE:?} after its end");
            standing(&operator)?;
            ensure!(pending(&operator) != "trial", "it is told that the trial has ended");
            ensure!(!probe.is_finished(), "the probe has failed");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let probed = probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done.map(|()| probed)
    })?;
    ensure!(begun > 0, "no trial has begun in {rounds} rounds");
    println!("{kills} kills around {begun} trials; {probed} datagrams to each port: none was lost or got in");

    // The next agent recovers: nothing is left of a trial.
    let mut agent = start(&operator, &file);
    agent.event("applied");
    assert_eq!(pending(&operator), "");
    drop(agent);
    assert_eq!(fs::read_dir(manifests_of("edge0"))?.count(), 1, "{:?}", left_behind());
    drop(operator.run(&["detach", "--all"]).exits(0));
    Ok(())
}

/// The stage of what is pending; empty where nothing is.
fn pending(operator: &Operator) -> String {
    let status = operator.run(&["status", "--json"]).exits(0).json();
    status["interfaces"][0]["pending"]["stage"].as_str().unwrap_or_default().to_owned()
}

/// A port, from both sides.
struct Door {
    inside: UdpSocket,
    outside: UdpSocket,
    address: SocketAddr,
}

impl Door {
    fn new(host: &Namespace, neighbour: &Namespace, port: u16) -> Result<Self> {
        let address = SocketAddr::new(Ip::V4.address(1), port);
        let inside = host.within(|| UdpSocket::bind(address))?;
        inside.set_read_timeout(Some(Duration::from_millis(250)))?;
        let outside = neighbour.within(|| UdpSocket::bind(SocketAddr::new(Ip::V4.address(2), 0)))?;
        Ok(Self { inside, outside, address })
    }

    /// Whether a datagram that is sent now arrives.
    fn is_open(&self) -> Result<bool> {
        let mut buffer = [0; 1];
        self.outside.send_to(&[1], self.address)?;
        Ok(self.inside.recv(&mut buffer).is_ok())
    }
}

fn start(operator: &Operator, file: &Path) -> Running {
    Running::start(operator.command(&["agent", "--policy", file.to_str().expect("text")]))
}

fn kill(mut agent: Running) {
    agent.signal(Signal::SIGKILL);
    assert_eq!(agent.end().code(), None, "it is killed, and has not ended by itself");
}

/// What is enforced after a kill: always something, and its state is known.
fn standing(operator: &Operator) -> Result<Vec<serde_json::Value>> {
    let ran = operator.run(&["status"]);
    ensure!(ran.code == Some(0) && ran.stdout.contains("edge0"), "{ran}");
    ensure!(!ran.stdout.contains("enforced, but") && !ran.stdout.contains("not enforced"), "{ran}");
    let standing = enforced(operator);
    ensure!(standing.len() == 1, "{standing:?}");
    Ok(standing)
}

/// Sends to the closed port, then to the open one, and waits for what must arrive; until it is over. Gives how
/// often.
fn probe(host: &Namespace, neighbour: &Namespace, over: &AtomicBool) -> Result<u64> {
    let address = |n, port| SocketAddr::new(Ip::V4.address(n), port);
    let bind = |namespace: &Namespace, n, port| namespace.within(|| UdpSocket::bind(address(n, port)));
    let (open, closed) = (bind(host, 1, OPEN)?, bind(host, 1, CLOSED)?);
    let sender = bind(neighbour, 2, 0)?;
    open.set_read_timeout(Some(PATIENCE))?;
    closed.set_nonblocking(true)?;
    let mut sent = 0_u64;
    let mut buffer = [0; 8];
    while !over.load(Ordering::Relaxed) {
        sent += 1;
        sender.send_to(&sent.to_be_bytes(), address(1, CLOSED))?;
        sender.send_to(&sent.to_be_bytes(), address(1, OPEN))?;
        ensure!(open.recv(&mut buffer).is_ok(), "datagram {sent} to the open port is lost");
        ensure!(buffer == sent.to_be_bytes(), "another datagram than {sent} arrives");
        // It was sent first, on the same queue.
        ensure!(closed.recv(&mut buffer).is_err(), "datagram {sent} to the closed port arrives");
        // A thousand a second leave the machine to the agent.
        thread::sleep(Duration::from_millis(1));
    }
    Ok(sent)
}
