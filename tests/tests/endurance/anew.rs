//! An interface is removed and made again, over and over, while its neighbour sends to a closed port: how long
//! it stands open is measured, and once the agent calls it protected nothing gets in.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_tests::{
    draft::{interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    programs::soon,
    running::Running,
};

use crate::times;

const CLOSED: u16 = 5001;
/// No interface may stand open for longer, on however busy a machine.
const LONGEST: Duration = Duration::from_secs(5);

#[test]
fn an_interface_that_is_made_anew_again_and_again_is_protected_each_time() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let file = operator.policy(&policy(&[interface("edge0", &[])]))?;
    let agent = operator.command(&["agent", "--policy", file.to_str().context("text")?]);

    let over = AtomicBool::new(false);
    let passed = Passed::default();
    let cycles = times(10, 100);
    let receiver = lab.host().within(|| UdpSocket::bind(("0.0.0.0", CLOSED)))?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    let measured = thread::scope(|scope| {
        scope.spawn(|| neighbour.within(|| send(&over)));
        scope.spawn(|| receive(&receiver, &passed, &over));
        soon("a datagram that gets in while nothing is enforced", || passed.count.load(SeqCst) > 0);
        let mut agent = Running::start(agent);
        agent.event("applied");
        let measured: Result<Vec<Cycle>> =
            (0..cycles).map(|_| cycle(&lab, &neighbour, &operator, &mut agent, &passed)).collect();
        over.store(true, SeqCst);
        measured
    })?;

    println!("{cycles} times an interface was removed and made again:");
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    spread("ms from before `ip link add` until protected", &measured, |cycle| milliseconds(cycle.open));
    spread("datagrams that passed", &measured, |cycle| f64::from(cycle.passed));
    spread("ms from the first of them to the last", &measured, |cycle| milliseconds(cycle.leaked));
    Ok(())
}

/// What got in through the closed port since it was last looked at.
#[derive(Default)]
struct Passed {
    count: AtomicU64,
    /// When the first and the last were sent, in nanoseconds since 1970; 0 for none.
    first: AtomicU64,
    last: AtomicU64,
}

struct Cycle {
    /// From before its creation until the agent said that it is protected.
    open: Duration,
    passed: u32,
    /// From the first that passed to the last.
    leaked: Duration,
}

/// Removes the interface, makes it again, and waits until it is protected.
fn cycle(
    lab: &Lab,
    neighbour: &Namespace,
    operator: &Operator,
    agent: &mut Running,
    passed: &Passed,
) -> Result<Cycle> {
    lab.host().run("ip", &["link", "delete", "edge0"])?;
    ensure!(agent.event("vanished")["interface"] == "edge0");
    for counter in [&passed.count, &passed.first, &passed.last] {
        counter.store(0, SeqCst);
    }
    let made = now();
    lab.make_anew("edge0", "far0", neighbour)?;
    let applied = agent.event("applied");
    ensure!(applied["interface"] == "edge0");
    let protected = Duration::from_secs_f64(applied["time"].as_f64().context("a time")?);
    // The traffic has found its way again, and is dropped.
    let dropped = operator.packets("edge0", "undocumented-udp");
    soon("more that is dropped", || operator.packets("edge0", "undocumented-udp") > dropped + 10);

    let [first, last] = [&passed.first, &passed.last].map(|time| Duration::from_nanos(time.load(SeqCst)));
    ensure!(
        last <= protected,
        "what was sent {:?} after the interface was protected got in",
        last - protected
    );
    let open = protected.saturating_sub(made);
    ensure!(open < LONGEST, "the interface stood open for {open:?}");
    Ok(Cycle { open, passed: u32::try_from(passed.count.load(SeqCst))?, leaked: last.saturating_sub(first) })
}

/// Since 1970, as the agent's events tell it.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// Sends the time to the closed port, again and again.
fn send(over: &AtomicBool) {
    let sender = UdpSocket::bind("0.0.0.0:0").expect("a socket can be had");
    let to = SocketAddr::new(Ip::V4.address(1), CLOSED);
    while !over.load(SeqCst) {
        let sent = u64::try_from(now().as_nanos()).expect("before the year 2554");
        // While there is no interface, there is no way.
        let _ = sender.send_to(&sent.to_be_bytes(), to);
        thread::sleep(Duration::from_micros(200));
    }
}

/// Notes what gets in.
fn receive(receiver: &UdpSocket, passed: &Passed, over: &AtomicBool) {
    let mut sent = [0; 8];
    while !over.load(SeqCst) {
        if receiver.recv(&mut sent).is_ok() {
            let sent = u64::from_be_bytes(sent);
            let _ = passed.first.compare_exchange(0, sent, SeqCst, SeqCst);
            passed.last.fetch_max(sent, SeqCst);
            passed.count.fetch_add(1, SeqCst);
        }
    }
}

fn spread(what: &str, cycles: &[Cycle], of: impl Fn(&Cycle) -> f64) {
    let mut values: Vec<f64> = cycles.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let (least, middle, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("  {what}: {least:.1} at least, {middle:.1} median, {most:.1} at most");
}
