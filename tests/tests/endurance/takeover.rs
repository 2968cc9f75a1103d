//! A version with another ABI is put in place of the one before, under traffic and killed at any moment: nothing opens,
//! and every packet counts once.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis::{
    datapath::totals_in,
    generation::{Known, Roots, known},
};
use portcullis_common::{abi, slot::FIRST_RULE};
use portcullis_tests::{
    draft::{interface, policy},
    lab::Lab,
    operator::{Operator, device, lab, left_behind},
    packet::Ip,
    running::PATIENCE,
    talk::Talk,
    traffic::{EchoServer, Protocol},
    without_tcx::{filters, without_tcx},
};

use crate::{
    batches::{BATCH, Batches, policies},
    times,
};

/// Above every slot that is used here, in any version.
const END: u32 = FIRST_RULE as u32 + 64;

fn roots() -> Roots {
    Roots::new(Operator::state(), Operator::lasting(), Lab::bpffs())
}

/// What was counted so far, by either version.
fn counted() -> Result<u64> {
    let roots = roots();
    loop {
        match known(&roots, "edge0")? {
            Known::Active(manifest) => {
                let totals = roots.totals(&manifest)?.context("the counters are pinned")?;
                return Ok(totals.sum().packets);
            }
            Known::Other => {
                if let Some(totals) = totals_in(&left()?, END)? {
                    return Ok(totals.sum().packets);
                }
                // Taken over meanwhile.
            }
            other => bail!("{other:?}"),
        }
    }
}

/// Where the previous ABI pins what is `edge0`'s.
fn left() -> Result<std::path::PathBuf> {
    let device = device("edge0");
    let version = format!("v{}", abi::VERSION - 1);
    let folder = Lab::bpffs().join("portcullis").join(version);
    Ok(folder.join(device.namespace.to_string()).join(device.index.to_string()))
}

/// Expects that everything is counted once, also what a rule had counted that is gone.
fn assert_counted(batches: &Batches, operator: &Operator) {
    let [first, _] = batches.assert_counted(operator);
    assert!(first > 0, "what a rule had counted that is gone");
}

/// Sends and counts until it is over.
fn flood(batches: &Batches, over: &AtomicBool) -> Result<()> {
    while !over.load(Relaxed) {
        batches.round(counted)?;
    }
    Ok(())
}

#[test]
fn no_packet_is_lost_or_counted_twice_while_a_new_abi_takes_over() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    taken_over_under_traffic(&lab)
}

#[test]
fn no_packet_is_lost_or_counted_twice_while_a_new_abi_takes_over_on_clsact() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    without_tcx()?;
    taken_over_under_traffic(&lab)
}

fn taken_over_under_traffic(lab: &Lab) -> Result<()> {
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(lab)?;
    let previous = operator.of_the_previous_abi()?;
    let policies = policies();
    let batches = Batches::new(&peer, "peer0")?;
    drop(previous.apply(&policies[0]).exits(0).prints("generation 1"));
    ensure!(left()?.is_dir(), "it is another version");
    let before = filters(lab.host(), "edge0");

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // In the host's namespace, as the pins are.
        let flood = scope.spawn(|| lab.host().within(|| flood(&batches, &over)));
        let flooded = |rounds: u64| {
            let enough = batches.sent()[3] + rounds * u64::from(BATCH);
            while batches.sent()[3] < enough && !flood.is_finished() {
                thread::yield_now();
            }
        };
        flooded(8);
        let ran = operator.apply(&policies[1]);
        flooded(8);
        over.store(true, Relaxed);
        flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        drop(ran.exits(0).prints("generation 2").prints("swapped in"));
        anyhow::Ok(())
    })?;
    println!("{:?} packets by port", batches.sent());
    assert_counted(&batches, &operator);
    assert_eq!(filters(lab.host(), "edge0"), before, "one in the place of the other");
    drop(operator.run(&["status", "--check"]).exits(0));
    ensure!(!left()?.exists() && !Lab::bpffs().join(format!("portcullis/v{}", abi::VERSION - 1)).exists());

    // And on from there, as in any change.
    drop(operator.apply(&policies[0]).exits(0).prints("generation 3"));
    batches.round(counted)?;
    assert_counted(&batches, &operator);
    drop(operator.run(&["detach", "--all"]).exits(0));
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_takeover_that_is_killed_at_any_moment_is_completed_and_counts_every_packet_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    taken_over_by_the_killed(&lab)
}

#[test]
fn a_takeover_on_clsact_that_is_killed_at_any_moment_is_completed_and_counts_every_packet_once() -> Result<()>
{
    let Some(lab) = lab() else { return Ok(()) };
    without_tcx()?;
    taken_over_by_the_killed(&lab)
}

fn taken_over_by_the_killed(lab: &Lab) -> Result<()> {
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(lab)?;
    let previous = operator.of_the_previous_abi()?;
    let policies = policies();
    drop(previous.apply(&policies[0]).exits(0));
    let begun = Instant::now();
    drop(operator.apply(&policies[1]).exits(0));
    let whole = begun.elapsed();
    drop(operator.run(&["detach", "--all"]).exits(0));

    let rounds = times(8, 100);
    let (mut before, mut after) = (0, 0);
    let batches = Batches::new(&peer, "peer0")?;
    for round in 1..=rounds {
        batches.forget();
        drop(previous.apply(&policies[0]).exits(0));
        batches.round(counted)?;
        let path = operator.policy(&policies[1])?;
        let mut command = operator.command(&["apply", path.to_str().context("text")?]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // The swap comes last: most of what can be interrupted is there.
        thread::sleep(whole * 2 / 5 + whole * 3 / 5 * round / rounds);
        child.kill()?;
        child.wait()?;
        // Whichever enforces, both close and open the same, and all is counted.
        batches.round(counted)?;
        match known(&roots(), "edge0")? {
            Known::Other => before += 1,
            Known::Active(_) => after += 1,
            other => bail!("{other:?}"),
        }
        // The next command completes what was begun, and takes over what was not.
        drop(operator.apply(&policies[1]).exits(0));
        batches.round(counted)?;
        assert_counted(&batches, &operator);
        drop(operator.run(&["status", "--check"]).exits(0));
        drop(operator.run(&["detach", "--all"]).exits(0));
        assert_eq!(left_behind(), Vec::<String>::new());
        ensure!(!left()?.exists(), "the old pins are gone");
    }
    println!("{rounds} kills: {before} before the swap, {after} after it");
    Ok(())
}

/// A host that the version before closes, and a server that it talks to.
struct Closed {
    _servers: [EchoServer; 2],
    lab: Lab,
    operator: Operator,
    previous: Operator,
    outside: SocketAddr,
    policy: String,
}

impl Closed {
    fn by_the_previous_abi(lab: Lab) -> Result<Self> {
        let neighbour = lab.neighbour("edge0", "far0")?;
        let operator = Operator::new(&lab)?;
        let previous = operator.of_the_previous_abi()?;
        let outside = SocketAddr::new(Ip::V4.address(2), 7);
        let serve = |transport| EchoServer::start(&neighbour, transport, outside);
        let servers = [serve(Protocol::Tcp)?, serve(Protocol::Udp)?];
        let policy = policy(&[interface("edge0", &[])]);
        drop(previous.apply(&policy).exits(0));
        Ok(Self { _servers: servers, lab, operator, previous, outside, policy })
    }
}

#[test]
fn conversations_of_this_host_go_on_when_a_new_abi_takes_over() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let Closed { _servers, lab, operator, previous, outside, policy: closed } =
        Closed::by_the_previous_abi(lab)?;
    let mut talk = Talk::begin(lab.host(), outside, PATIENCE)?;
    talk.go_on(b"one.")?;
    let flows = |operator: &Operator| operator.packets("edge0", "flow-tcp");
    let counted = flows(&previous);
    assert!(counted > 0);

    // Others begin while it is taken over, and go on as well.
    let over = AtomicBool::new(false);
    let talks = thread::scope(|scope| {
        let talking = scope.spawn(|| {
            let mut talks = Vec::new();
            while !over.load(Relaxed) {
                let mut talk = Talk::begin(lab.host(), outside, PATIENCE)?;
                talk.go_on(b"new.")?;
                talks.push(talk);
                thread::sleep(Duration::from_millis(5));
            }
            anyhow::Ok(talks)
        });
        let ran = operator.apply(&closed);
        over.store(true, Relaxed);
        drop(ran.exits(0).prints("swapped in"));
        talking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    println!("{} conversations began meanwhile", talks.len());
    talk.go_on(b"two.")?;
    for mut talk in talks {
        talk.go_on(b"end.")?;
    }
    assert!(flows(&operator) > counted, "what the reason had counted is not forgotten");
    Ok(())
}

#[test]
fn conversations_of_this_host_go_on_when_a_new_abi_takes_over_on_clsact() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    without_tcx()?;
    let Closed { _servers, lab, operator, outside, policy: closed, .. } = Closed::by_the_previous_abi(lab)?;
    assert_eq!(filters(lab.host(), "edge0"), 1, "it is clsact");
    let mut talks =
        (0..20).map(|_| Talk::begin(lab.host(), outside, PATIENCE)).collect::<Result<Vec<_>>>()?;
    talks.iter_mut().try_for_each(|talk| talk.go_on(b"one."))?;
    drop(operator.apply(&closed).exits(0).prints("swapped in").prints("adopted"));
    assert_eq!(filters(lab.host(), "edge0"), 1, "one in the place of the other");
    talks.iter_mut().try_for_each(|talk| talk.go_on(b"two."))?;
    Ok(())
}

#[test]
fn what_another_abi_enforces_is_told_and_can_be_detached() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(&lab)?;
    let previous = operator.of_the_previous_abi()?;
    drop(previous.apply(&policies()[0]).exits(0));
    drop(operator.run(&["status", "--check"]).exits(3).prints("edge0: enforced by another version"));
    let path = operator.policy(&policies()[0])?;
    drop(operator.run(&["plan", path.to_str().context("text")?]).exits(0).prints("nothing would change"));
    drop(operator.run(&["detach", "--all"]).exits(0).prints("edge0: detached"));
    ensure!(!left()?.exists());
    ensure!(!lab.host().run("ip", &["link", "show", "dev", "edge0"])?.contains("prog/xdp"));

    // A policy that does not name the interface ends it as well, and keeps what it had counted.
    let peer = lab.silent_neighbour("edge1", "peer1")?;
    let batches = Batches::new(&peer, "peer1")?;
    drop(previous.apply(&policies()[0].replace("edge0", "edge1")).exits(0));
    batches.send_one()?;
    drop(operator.apply(&policies()[0]).exits(0).prints("edge1: detached"));
    drop(operator.run(&["counters", "--archived"]).exits(0).prints("edge1").prints(&BATCH.to_string()));

    // What is left of an interface that is gone is archived.
    drop(operator.run(&["detach", "--all"]).exits(0));
    drop(previous.apply(&policies()[0].replace("edge0", "edge1")).exits(0));
    batches.send_one()?;
    lab.host().run("ip", &["link", "delete", "edge1"])?;
    drop(operator.apply(&policies()[0]).exits(0));
    drop(operator.run(&["counters", "--archived"]).exits(0).prints("edge1").prints(&BATCH.to_string()));
    ensure!(!Lab::bpffs().join(format!("portcullis/v{}", abi::VERSION - 1)).exists());
    Ok(())
}
