//! Parts of what enforces an interface that somebody takes away: noticed within a second, told, and put back.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    draft::{interface, policy},
    operator::{Operator, enforced, manifests_of, pins, pins_of},
    programs::soon,
    running::Running,
    tampering::end_link,
    traffic::{Protocol, exchange},
    without_tcx::{filters, without_tcx},
};

use crate::{Edge, IMPATIENCE, Noise, opening, server};

/// Longest time from the deed to the event, in seconds.
const NOTICED: f64 = 1.0;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Does something to `edge0`, and expects that these parts are told to be missing within a second, and then to be back.
#[track_caller]
fn mended_after(agent: &mut Running, missing: &[&str], deed: impl FnOnce() -> Result<()>) {
    let begun = now();
    deed().expect("it can be done");
    let done = now();
    let told = agent.event("tampered");
    assert_eq!(told["interface"], "edge0");
    // What is done in several steps may be noticed in between.
    let parts: Vec<&str> =
        told["missing"].as_array().expect("a list").iter().filter_map(|part| part.as_str()).collect();
    assert!(
        !parts.is_empty() && parts.iter().all(|part| missing.contains(part)),
        "{parts:?}, not {missing:?}"
    );
    let after = told["time"].as_f64().expect("a time") - done;
    println!("{parts:?}: told after {after:.3} s; it took {:.3} s to do", done - begun);
    assert!(after < NOTICED, "told after {after} s");
    assert_eq!(agent.event("mended")["interface"], "edge0");
}

#[track_caller]
fn is_whole(edge: &Edge) {
    soon("nothing is missing", || edge.operator.run(&["status", "--check"]).code == Some(0));
    edge.assert_open(443, 8080);
}

#[test]
fn pins_and_a_manifest_that_somebody_removes_open_nothing_and_are_put_back() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    let (before, counted) = (enforced(&edge.operator), edge.operator.packets("edge0", "open"));
    let own = pins_of("edge0");
    let manifest: PathBuf = fs::read_dir(manifests_of("edge0"))?.next().expect("one")?.path();

    // Somebody who tries the closed port meanwhile, again and again.
    let got_in = Arc::new(AtomicU32::new(0));
    let (neighbour, count) = (edge.neighbour.clone(), Arc::clone(&got_in));
    let knocking = Noise::start(move || {
        let answered = exchange(&neighbour, Protocol::Tcp, server(8080), IMPATIENCE / 10);
        count.fetch_add(u32::from(matches!(answered, Ok(true))), Ordering::Relaxed);
    });
    let remove = |path: PathBuf| move || -> Result<()> { Ok(fs::remove_file(path)?) };
    mended_after(&mut agent, &["ingress-pin"], remove(own.join("ingress")));
    mended_after(&mut agent, &["egress-pin"], remove(own.join("egress")));
    mended_after(&mut agent, &["counters"], remove(own.join("COUNTERS")));
    for shared in ["FLOWS", "FLOW_SETTINGS", "FLOW_COUNTERS", "FLOW_MARKS"] {
        mended_after(&mut agent, &["flows"], remove(pins().join(shared)));
    }
    mended_after(&mut agent, &["manifest"], remove(manifest));
    let all = ["ingress-pin", "egress-pin", "counters", "flows", "manifest"];
    mended_after(&mut agent, &all, || {
        // Whatever was put back already while it went on is removed the next time.
        for folder in [pins(), Operator::state().join("interfaces")] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    });
    is_whole(&edge);
    drop(knocking);
    assert_eq!(got_in.load(Ordering::Relaxed), 0, "connections to the closed port");
    assert_eq!(enforced(&edge.operator), before, "it is the same generation");
    assert!(edge.operator.packets("edge0", "open") >= counted, "what was counted is not forgotten");
    Ok(())
}

#[test]
fn programs_that_somebody_takes_off_an_interface_are_attached_again() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");
    let own = pins_of("edge0");
    // The kernel keeps this from working while there is a link.
    assert!(edge.lab.host().run("ip", &["link", "set", "dev", "edge0", "xdp", "off"]).is_err());
    edge.assert_open(443, 8080);

    mended_after(&mut agent, &["ingress"], || end_link(&own.join("ingress")));
    is_whole(&edge);
    mended_after(&mut agent, &["egress"], || end_link(&own.join("egress")));
    is_whole(&edge);
    mended_after(&mut agent, &["ingress", "egress"], || {
        end_link(&own.join("egress"))?;
        end_link(&own.join("ingress"))
    });
    is_whole(&edge);
    mended_after(
        &mut agent,
        &["ingress", "egress", "ingress-pin", "egress-pin", "counters", "flows"],
        || {
            end_link(&own.join("egress"))?;
            end_link(&own.join("ingress"))?;
            fs::remove_dir_all(pins()).or_else(|error| match error.kind() {
                io::ErrorKind::DirectoryNotEmpty => Ok(()),
                _ => Err(error.into()),
            })
        },
    );
    is_whole(&edge);
    assert!(edge.operator.packets("edge0", "open") > counted, "what was counted is not forgotten");
    Ok(())
}

#[test]
fn a_filter_that_somebody_takes_off_an_interface_without_tcx_is_put_back() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    without_tcx()?;
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    let is_there = || filters(edge.lab.host(), "edge0") == 1;
    assert!(is_there() && !pins_of("edge0").join("egress").exists(), "it is a filter, and no link");
    let counted = edge.operator.packets("edge0", "open");
    let tc = |words: &str| edge.lab.host().run("tc", &words.split(' ').collect::<Vec<_>>()).map(drop);

    mended_after(&mut agent, &["egress"], || tc("filter delete dev edge0 egress"));
    is_whole(&edge);
    assert!(is_there(), "the filter");
    mended_after(&mut agent, &["egress"], || tc("qdisc delete dev edge0 clsact"));
    is_whole(&edge);
    assert!(is_there(), "the filter and its qdisc");
    mended_after(&mut agent, &["ingress"], || end_link(&pins_of("edge0").join("ingress")));
    is_whole(&edge);
    assert!(is_there(), "it stands alone");
    mended_after(&mut agent, &["ingress-pin"], || Ok(fs::remove_file(pins_of("edge0").join("ingress"))?));
    is_whole(&edge);
    assert!(edge.operator.packets("edge0", "open") > counted, "what was counted is not forgotten");

    // Without an agent it is told, and mended by the next apply.
    agent.signal(Signal::SIGTERM);
    agent.end();
    tc("filter delete dev edge0 egress")?;
    edge.operator.run(&["status", "--check"]).exits(3).prints("edge0: missing: the egress program");
    edge.operator.apply(&opening(443)).exits(0);
    edge.operator.run(&["status", "--check"]).exits(0);
    assert!(is_there(), "the filter");
    edge.operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(filters(edge.lab.host(), "edge0"), 0);
    Ok(())
}

#[test]
fn what_a_command_put_in_place_is_held_too() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.operator.apply(&opening(8080)).exits(0);
    // The agent has read the same file, perhaps.
    soon("the new policy alone", || edge.answers(8080, IMPATIENCE) && !edge.answers(443, IMPATIENCE));
    edge.operator.run(&["reload"]).exits(0);
    mended_after(&mut agent, &["ingress-pin"], || Ok(fs::remove_file(pins_of("edge0").join("ingress"))?));
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn what_a_command_ends_on_purpose_is_not_put_back() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &["--stream", "1"]);
    edge.assert_open(443, 8080);
    edge.operator.run(&["detach", "edge0"]).exits(0);
    assert!(edge.answers(8080, crate::PATIENCE), "it is open although the agent held the links");
    // It has looked a few times when two seconds have passed for it.
    let uptime = || edge.operator.run(&["status", "--json"]).json()["agent"]["uptime"].as_u64();
    let begun = uptime();
    soon("two seconds of the agent", || uptime() > begun.map(|begun| begun + 2));
    edge.operator.run(&["status"]).exits(0).prints("edge0: NOT PROTECTED: it was detached by hand");
    edge.operator.run(&["status", "--check"]).exits(3);
    agent.signal(Signal::SIGTERM);
    let told = agent.line(|line| line.contains("\"tampered\"") || line.contains("\"stopped\""));
    assert!(told.contains("stopped"), "{told}");
    Ok(())
}

#[test]
fn status_check_tells_programs_whether_all_is_well() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let check = |code: i32, part: &str| {
        let said = edge.operator.run(&["status", "--check"]).exits(code).prints(part);
        drop(edge.operator.run(&["status"]).exits(0).prints(part));
        drop(said);
        let json = edge.operator.run(&["status", "--check", "--json"]).exits(code).json();
        assert_eq!(json["well"], code == 0, "{json}");
    };
    check(3, "no interface is enforced");
    edge.operator.apply(&opening(443)).exits(0);
    check(0, "edge0");

    // Without an agent it is told, and mended by the next apply.
    for (part, path) in [
        ("edge0: missing: the pin of the egress link", pins_of("edge0").join("egress")),
        ("edge0: missing: the flows", pins().join("FLOW_SETTINGS")),
        ("edge0: enforced, but its counters are missing", pins_of("edge0").join("COUNTERS")),
    ] {
        fs::remove_file(path)?;
        check(3, part);
        edge.assert_open(443, 8080);
        edge.operator.apply(&opening(443)).exits(0);
        check(0, "edge0");
    }
    end_link(&pins_of("edge0").join("ingress"))?;
    check(3, "edge0: not enforced any more");
    edge.operator.apply(&opening(443)).exits(0);
    check(0, "edge0");

    let agent = edge.agent(&opening(443), &[]);
    check(0, "edge0");
    edge.operator.policy("version = 9\n")?;
    soon("a refusal", || edge.operator.run(&["status", "--check"]).code == Some(3));
    check(3, "the policy file is refused");
    edge.operator.policy(&policy(&[interface("edge0", &[]), interface("later0", &[])]))?;
    soon("an interface that is awaited", || {
        edge.operator.run(&["status"]).stdout.contains("later0: not there yet")
    });
    check(3, "later0: not there yet");
    drop(agent);
    Ok(())
}
