//! What commands ask of the running agent.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Operator, Ran},
    programs::soon,
    running::Running,
};

use crate::{Edge, opening};

fn socket() -> std::path::PathBuf {
    Operator::state().join("control.sock")
}

#[test]
fn a_reload_is_answered_with_what_came_of_it() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.run(&["reload"]).exits(1).complains("no agent is running");
    let mut agent = edge.agent(&opening(443), &[]);

    edge.operator.run(&["reload"]).exits(0).prints("edge0: generation 2");
    agent.event("applied");

    // Whoever is quicker, the agent by itself or the command: the answer is that of the file as it is.
    edge.operator.policy(&opening(8080))?;
    edge.operator.run(&["reload"]).exits(0).prints("edge0: generation");
    edge.assert_open(8080, 443);

    edge.operator.policy(&opening(443).replace("tcp", "tpc"))?;
    let said = edge.operator.run(&["reload"]).exits(2);
    said.complains("the policy was refused, the one before it goes on").complains("policy.toml:8:12: `tpc`");
    let said = edge.operator.run(&["status"]).exits(0).prints("the policy file is refused as it is now");
    said.prints("`tpc` is no protocol");
    edge.assert_open(8080, 443);

    edge.operator.policy(&opening(443))?;
    edge.operator.run(&["reload"]).exits(0);
    edge.operator.run(&["status"]).exits(0).keeps_quiet_about("refused");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn status_tells_what_the_agent_watches() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let text = policy(&[interface("edge0", &[allow("open", "tcp", "443")]), interface("later0", &[])]);
    let mut agent = edge.agent(&text, &[]);
    agent.event("awaited");
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    let agent_status = &status["agent"];
    assert!(agent_status["pid"].as_u64().is_some_and(|pid| pid > 0), "{agent_status}");
    assert_eq!(agent_status["interfaces"][0]["interface"], "edge0");
    assert_eq!(agent_status["interfaces"][0]["standing"], "protected");
    assert_eq!(agent_status["interfaces"][1]["interface"], "later0");
    assert_eq!(agent_status["interfaces"][1]["standing"], "awaited");
    edge.operator
        .run(&["status"])
        .exits(0)
        .prints("later0: not there yet")
        .prints("follows /mnt/state/policy.toml");

    edge.operator.run(&["detach", "edge0"]).exits(0);
    let said = edge.operator.run(&["status"]).exits(0);
    said.prints("edge0: NOT PROTECTED: it was detached by hand");

    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
    assert!(!socket().exists(), "the socket goes with the agent");
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    assert!(status["agent"].is_null(), "{status}");
    Ok(())
}

#[test]
fn there_is_one_agent_and_it_takes_over_what_a_killed_one_left() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut first = edge.agent(&opening(443), &[]);
    let path = Operator::policy_path();
    let second = edge.operator.run(&["agent", "--policy", path.to_str().expect("text")]);
    second.exits(1).complains("another agent is running already");
    first.signal(Signal::SIGKILL);
    first.end();
    assert!(socket().exists(), "nobody removed it");
    let _third = edge.agent(&opening(443), &[]);
    edge.operator.run(&["reload"]).exits(0);
    Ok(())
}

#[test]
fn a_reload_says_to_programs_what_it_says_to_people_and_quietly_nothing() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let json = edge.operator.run(&["reload", "--json"]).exits(1).json();
    let message = json["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("no agent is running"), "{json:#}");
    let _agent = edge.agent(&opening(443), &[]);
    edge.operator.policy(&opening(8080))?;
    let said = edge.operator.run(&["reload", "--json"]).exits(0);
    assert_eq!(said.stderr, "");
    let json = said.json();
    assert_eq!((&json["schema"], &json["interfaces"][0]["interface"]), (&1.into(), &"edge0".into()));
    assert!(json["interfaces"][0]["generation"].as_u64().is_some_and(|generation| generation > 1), "{json}");
    let said = edge.operator.run(&["reload", "--quiet"]).exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));

    let json = edge.operator.run(&["reload", "--json", "--confirm", "30s"]).exits(0).json();
    assert_eq!((&json["trial_seconds"], &json["waits_for"]), (&30.0.into(), &serde_json::json!([])));
    edge.operator.run(&["confirm", "--quiet"]).exits(0);

    // A file that is not valid is told as `apply` does.
    let path = edge.operator.policy(&opening(443).replace("tcp", "tpc"))?;
    let path = path.to_str().expect("text");
    let said = edge.operator.run(&["reload", "--json"]).exits(2);
    assert_eq!(said.stderr, "");
    let applied = edge.operator.run(&["apply", "--json", path]).exits(2).json();
    assert_eq!((&said.json()["errors"], &applied["errors"][0]["line"]), (&applied["errors"], &8.into()));
    Ok(())
}

/// Holds: security control-socket.
#[test]
fn what_is_no_request_is_answered_or_hung_up_on() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _agent = edge.agent(&opening(443), &[]);
    let ask = |bytes: &[u8]| -> Result<String> {
        let mut stream = UnixStream::connect(socket())?;
        // It may hang up while this is being written.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        Ok(answer)
    };
    for request in ["explode", "status", "reload"] {
        let answer = ask(format!("{{\"request\":\"{request}\"}}\n").as_bytes())?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        assert_eq!(answer["schema"], 1, "{answer}");
        assert_eq!(answer["answer"], if request == "explode" { "misunderstood" } else { request });
    }
    assert!(ask(b"\xff\xfe\n")?.is_empty());
    let endless = vec![b'x'; 1 << 20];
    assert!(ask(&endless)?.contains("misunderstood"), "it is cut off, and is no request");
    let silent: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(socket())).collect::<Result<_, _>>()?;
    // Those who say nothing are let go after a while.
    edge.operator.run(&["reload"]).exits(0);
    drop(silent);
    Ok(())
}

/// Holds: security control-socket.
#[test]
fn other_users_are_not_answered() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _agent = edge.agent(&opening(443), &[]);
    let mode =
        |path: &std::path::Path| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    assert_eq!(mode(&socket())?, 0o600);
    assert_eq!(mode(&Operator::state())?, 0o700);
    // Also where somebody has opened both.
    fs::set_permissions(socket(), fs::Permissions::from_mode(0o666))?;
    fs::set_permissions(Operator::state(), fs::Permissions::from_mode(0o755))?;
    let said = Ran::of(edge.operator.command_as(65534, "", &["reload"]));
    said.exits(1).complains("hung up: it answers root and its own user");
    assert_eq!(edge.operator.counters("edge0")["generation"], 1, "nothing was reloaded");
    Ok(())
}

#[test]
fn while_another_command_holds_the_lock_the_agent_answers_lives_and_stops() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    fs::create_dir(Operator::state())?;
    let take = || -> Result<Flock<fs::File>> {
        let lock = fs::File::create(Operator::state().join("lock"))?;
        Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
    };
    let busy = || {
        let asked = Instant::now();
        let status = edge.operator.run(&["status", "--json"]).exits(0).json();
        assert!(asked.elapsed() < Duration::from_secs(2), "the answer took {:?}", asked.elapsed());
        status["agent"]["busy"]["with"].as_str().map(str::to_owned)
    };
    // Its messages are read as they come: a manager that does not read would stop whoever tells it something.
    let manager = UnixDatagram::bind(Lab::state().join("manager.sock"))?;
    let beats = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&beats);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // Ends with the test's process.
        while let Ok(length) = manager.recv(&mut bytes) {
            let is_beat = String::from_utf8_lossy(&bytes[..length]).contains("WATCHDOG=1");
            heard.fetch_add(u64::from(is_beat), Ordering::Relaxed);
        }
    });
    let lives = || {
        let before = beats.load(Ordering::Relaxed);
        soon("signs of life", || beats.load(Ordering::Relaxed) > before + 1);
    };

    let lock = take()?;
    let path = edge.operator.policy(&opening(443))?;
    let mut command = edge.operator.command(&["agent", "--policy", path.to_str().expect("text")]);
    command.env("NOTIFY_SOCKET", Lab::state().join("manager.sock")).env("WATCHDOG_USEC", "200000");
    let mut agent = Running::start(command);
    soon("an agent that is busy", || busy().as_deref() == Some("applying the policy for the first time"));
    edge.operator.run(&["status"]).exits(0).prints("it has been applying the policy for the first time for");
    lives();
    drop(lock);
    agent.event("applied");
    edge.assert_open(443, 8080);

    let lock = take()?;
    edge.operator.policy(&opening(8080))?;
    soon("a reload that waits", || busy().as_deref() == Some("reloading the policy"));
    lives();
    let asked = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(6), "it stopped after {:?}", asked.elapsed());
    drop(lock);
    edge.assert_open(443, 8080);
    Ok(())
}
