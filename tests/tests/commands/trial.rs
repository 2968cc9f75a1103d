//! A trial ends by itself, whatever became of everybody who began it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use portcullis::{
    compile::compile,
    datapath::{LoadOptions, Programs, Role, SecondSet},
};
use portcullis_common::slot::{FIRST_RULE, Reason};
use portcullis_tests::{
    draft::{allow, interface, policy},
    judge,
    lab::Lab,
    operator::{Operator, Ran, lab},
    packet::{Frame, Ip},
    rules,
    traffic::{EchoServer, Protocol, exchange},
};
use serde_json::Value;

use crate::{Edge, IMPATIENCE, PATIENCE, applied, left_behind, web};

/// Whoever waits for a trial to end looks so often.
const LOOK: Duration = Duration::from_millis(20);

fn closed() -> String {
    policy(&[interface("edge0", &[])])
}

fn tried(operator: &Operator, text: &str, time: &str) -> Ran {
    let path = operator.policy(text).expect("the lab's folder can be written");
    operator.run(&["apply", "--force", "--confirm", time, path.to_str().expect("text")])
}

/// How a trial stands, as `status` tells programs.
fn pending(operator: &Operator) -> Value {
    let status = operator.run(&["status", "--json"]).exits(0).json();
    status["interfaces"][0]["pending"].clone()
}

#[test]
fn a_session_that_a_trial_cuts_lives_again_though_everybody_was_killed() -> Result<()> {
    const TRIAL: Duration = Duration::from_secs(5);
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let ssh = SocketAddr::new(Ip::V4.address(1), 22);
    let _server = EchoServer::start(edge.lab.host(), Protocol::Tcp, ssh)?;
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]));
    let connect = || edge.neighbour.within(|| TcpStream::connect_timeout(&ssh, PATIENCE));
    let (mut idle, mut busy) = (connect()?, connect()?);
    for stream in [&mut idle, &mut busy] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"a")?;
        stream.read_exact(&mut [0])?;
    }

    let path = edge.operator.policy(&web())?;
    let args = ["apply", "--force", "--confirm", "5s", path.to_str().expect("text")];
    let before = Instant::now();
    let mut child = edge.operator.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while pending(&edge.operator)["stage"] != "trial" {
        assert!(before.elapsed() < PATIENCE, "the trial does not begin");
        thread::sleep(LOOK);
    }
    // Killed, or done: nothing that runs knows of the trial any more.
    child.kill()?;
    child.wait()?;
    let begun = Instant::now();

    // While the trial lasts, the session is cut, and no other is let in.
    busy.write_all(b"b")?;
    busy.set_read_timeout(Some(IMPATIENCE))?;
    assert!(busy.read(&mut [0]).is_err(), "the session should be cut");
    while before.elapsed() < TRIAL - Duration::from_secs(1) {
        assert!(!exchange(&edge.neighbour, Protocol::Tcp, ssh, IMPATIENCE)?, "the trial lets nobody in");
    }
    // Nobody did anything; the kernel's clock alone brings the session back.
    while !exchange(&edge.neighbour, Protocol::Tcp, ssh, IMPATIENCE)? {
        assert!(begun.elapsed() < TRIAL + Duration::from_secs(1), "not back within six seconds");
    }
    idle.write_all(b"c")?;
    idle.read_exact(&mut [0])?;
    assert!(begun.elapsed() < TRIAL + Duration::from_secs(1), "the session is not back within six seconds");
    // What was sent meanwhile was lost, and TCP sends it again.
    busy.set_read_timeout(Some(PATIENCE))?;
    busy.read_exact(&mut [0])?;

    let stage = pending(&edge.operator);
    assert_eq!((&stage["stage"], &stage["enforced_before"]), (&"ended".into(), &true.into()));
    edge.operator.run(&["status"]).exits(0).prints("has ended unconfirmed; the policy before it holds");
    // What counts is told in the words of the policy that holds.
    assert!(edge.operator.packets("edge0", "ssh") > 0);
    assert!(edge.operator.packets("edge0", "undocumented-tcp") > 0);

    edge.operator.run(&["confirm"]).exits(1).complains("the trial had ended");
    assert_eq!(pending(&edge.operator), Value::Null, "and is tidied up");
    assert!(exchange(&edge.neighbour, Protocol::Tcp, ssh, PATIENCE)?);
    Ok(())
}

#[test]
fn what_is_confirmed_stays_and_can_be_rolled_back() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let operator = &edge.operator;
    applied(operator, &web());
    operator.run(&["confirm"]).exits(1).complains("there is nothing to confirm");
    tried(operator, &closed(), "60s")
        .exits(0)
        .prints("edge0: trying 0 rules")
        .prints("comes back in 60 seconds");
    assert!(!edge.answers(IMPATIENCE)?);
    operator.run(&["status"]).exits(0).prints("trial").prints("portcullis confirm");
    assert!(pending(operator)["seconds_left"].as_f64().is_some_and(|left| left > 30.0 && left < 60.0));
    operator.apply(&web()).exits(1).complains("a trial is running");

    operator.run(&["confirm"]).exits(0).prints("edge0: enforcing 0 rules").prints("swapped in");
    assert_eq!(pending(operator), Value::Null);
    assert!(!edge.answers(IMPATIENCE)?);
    operator.run(&["rollback"]).exits(0);
    assert!(edge.answers(PATIENCE)?, "the policy before the trial");
    Ok(())
}

#[test]
fn rollback_ends_a_trial_at_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &closed());
    applied(&edge.operator, &web());
    assert!(edge.answers(PATIENCE)?);
    let counted = edge.operator.packets("edge0", "web");
    tried(&edge.operator, &closed(), "5m").exits(0);
    assert!(!edge.answers(IMPATIENCE)?);
    edge.operator.run(&["rollback"]).exits(0).prints("edge0: enforcing 1 rule");
    assert!(edge.answers(PATIENCE)?, "the policy before the trial, not the one before that");
    assert!(edge.operator.packets("edge0", "web") > counted, "its counter goes on");
    assert_eq!(pending(&edge.operator), Value::Null);
    Ok(())
}

#[test]
fn where_nothing_was_enforced_nothing_is_when_the_trial_has_ended() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    tried(&edge.operator, &closed(), "6s").exits(0);
    assert!(!edge.answers(IMPATIENCE)?);
    ended(&edge.operator);
    assert!(edge.answers(PATIENCE)?);
    edge.operator.run(&["status"]).exits(0).prints("nothing is dropped, as before it");
    edge.operator.run(&["rollback"]).exits(0).prints("edge0: a trial had ended unconfirmed");
    assert_eq!(left_behind(), Vec::<String>::new());
    // Confirmed, it is enforced like any other; given up early, it is gone.
    tried(&edge.operator, &closed(), "60s").exits(0);
    edge.operator.run(&["rollback"]).exits(0).prints("edge0: detached, as nothing was enforced there before");
    assert_eq!(left_behind(), Vec::<String>::new());
    tried(&edge.operator, &closed(), "60s").exits(0);
    edge.operator.run(&["confirm"]).exits(0);
    assert!(!edge.answers(IMPATIENCE)?);
    Ok(())
}

/// Waits until a trial has ended by itself.
fn ended(operator: &Operator) {
    let deadline = Instant::now() + PATIENCE;
    while pending(operator)["stage"] != "ended" {
        assert!(Instant::now() < deadline, "the trial does not end");
        thread::sleep(LOOK);
    }
}

#[test]
fn without_an_agent_every_command_tells_what_holds_after_a_trial() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let operator = &edge.operator;
    applied(operator, &web());
    let good = fs::read(Operator::lasting().join("last-good.json"))?;
    let kept = Operator::state().join("web.toml");
    fs::write(&kept, web())?;
    let kept = kept.to_str().expect("text");
    tried(operator, &closed(), "3s").exits(0);
    operator.run(&["plan", kept]).exits(3);
    let begun = Instant::now();
    while pending(operator)["stage"] != "ended" {
        assert!(begun.elapsed() < PATIENCE, "the trial does not end");
        thread::sleep(LOOK);
    }
    // Nothing was tidied up, and nobody tells the tried policy for the one that holds.
    operator.run(&["plan", kept]).exits(0);
    let list = operator.run(&["rollback", "--list", "--json"]).exits(0).json();
    assert_eq!(list["active"], 1, "{list}");
    let status = operator.run(&["status", "--json"]).exits(0).json();
    let told = &status["interfaces"][0];
    assert_eq!((&told["mode"], &told["rules"], &told["revision"]), (&"enforce".into(), &1.into(), &1.into()));
    let counters = operator.counters("edge0");
    let rules: Vec<_> = counters["rules"].as_array().into_iter().flatten().collect();
    assert!(rules.iter().any(|rule| rule["service"] == "web" && rule["retired"] == false), "{counters}");
    operator.run(&["shadow"]).exits(1);
    assert_eq!(fs::read(Operator::lasting().join("last-good.json"))?, good);
    assert_eq!(pending(operator)["stage"], "ended", "looking changes nothing");
    Ok(())
}

#[test]
fn a_confirmation_that_comes_in_the_last_second_is_refused() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    tried(&edge.operator, &closed(), "6s").exits(0);
    let deadline = Instant::now() + PATIENCE;
    while pending(&edge.operator)["seconds_left"].as_f64().is_none_or(|left| left > 1.0) {
        assert!(Instant::now() < deadline, "the trial does not go on");
        thread::sleep(LOOK);
    }
    edge.operator.run(&["confirm"]).exits(1).complains("trial");
    ended(&edge.operator);
    assert!(edge.answers(PATIENCE)?, "the policy before it holds");
    applied(&edge.operator, &closed())
        .prints("edge0: a trial had ended unconfirmed; what was before it is in place");
    Ok(())
}

#[test]
fn interfaces_that_a_trial_does_not_name_stay_enforced_until_it_is_confirmed() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    edge.lab.host().run("ip", &["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    let names = || -> Vec<String> {
        let of = |interface: &Value| interface["interface"].as_str().expect("text").to_owned();
        crate::enforced(&edge.operator).iter().map(of).collect()
    };
    applied(&edge.operator, &policy(&[interface("edge0", &[]), interface("edge1", &[])]));
    tried(&edge.operator, &closed(), "60s").exits(0);
    assert_eq!(names(), ["edge0", "edge1"]);
    edge.operator.run(&["rollback"]).exits(0);
    assert_eq!(names(), ["edge0", "edge1"]);
    tried(&edge.operator, &closed(), "60s").exits(0);
    edge.operator.run(&["confirm"]).exits(0).prints("edge1: detached");
    assert_eq!(names(), ["edge0"]);
    Ok(())
}

#[test]
fn bad_times_are_refused() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    for time in ["0s", "2s", "25h", "5", "soon"] {
        tried(&operator, &web(), time).exits(2).complains(time);
    }
    Ok(())
}

/// Nanoseconds of the kernel's clock.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock can be read");
    u64::try_from(Duration::from(time).as_nanos()).expect("it fits")
}

#[test]
fn verdicts_and_counters_are_exact_around_the_deadline() -> Result<()> {
    /// The clock that programs read is up to one tick late; none is longer than at 100 a second.
    const TICK: u64 = 10_000_000;
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let (new, old) =
        (rules::parse("tcp/22 from 198.51.100.0/24\nudp/53"), rules::parse("tcp/22 from 203.0.113.2/32"));
    // Rules of different identity have different slots.
    let [never, dns, ssh] = [0, 1, 2].map(|number| FIRST_RULE + number);
    let (new_slots, old_slots) = (vec![never, dns], vec![ssh]);
    let tables = |rules, slots: &[u16]| compile(rules, slots).expect("small rules").tables;
    let (first, second) = (tables(&new, &new_slots), tables(&old, &old_slots));
    // Loading may take a while on a busy machine.
    let deadline = now() + 3_000_000_000;
    let set = SecondSet { tables: second, settings: judge::settings(), role: Role::After(deadline) };
    let options = LoadOptions { second: Some(set), ..judge::options() };
    let mut programs = Programs::load(&first, &options, None)?;
    let (syn, datagram) = (Frame::syn(Ip::V4, 22).bytes(), Frame::udp(Ip::V6, 53).bytes());
    let (mut early, mut late) = (0, 0);
    // Runs by their action, which tells the policy that decided and so the slot.
    let mut decided = [[0_u64; 2]; 2];
    while now() < deadline + 300_000_000 {
        for (n, (frame, before, after)) in [(&syn, 1, 2), (&datagram, 2, 1)].into_iter().enumerate() {
            let begun = now();
            let (action, _) = programs.judge(frame, 1)?;
            if now() < deadline {
                assert_eq!(action, before, "before the deadline");
                early += 1;
            } else if begun > deadline + TICK {
                assert_eq!(action, after, "after the deadline");
                late += 1;
            }
            decided[n][usize::from(action == after)] += 1;
        }
    }
    assert!(early > 100 && late > 100, "{early} before, {late} after");
    let packets = |slot| programs.total(slot).map(|counter| counter.packets);
    let [source, ssh, dns, closed, never] =
        [Reason::Source.slot(), ssh, dns, Reason::UndocumentedUdp.slot(), never].map(packets);
    assert_eq!([[source?, ssh?], [dns?, closed?]], decided, "each packet in the slot of its policy");
    assert_eq!(never?, 0);
    Ok(())
}
