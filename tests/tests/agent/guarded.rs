//! What the agent reloads or follows locks nobody out: who asks, what is vital, and what is only tried.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::chown, net::UnixStream},
    time::Duration,
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::Operator,
    programs::soon,
    running::Running,
    traffic::{EchoServer, Protocol},
};
use serde_json::Value;

use crate::{Edge, IMPATIENCE, PATIENCE, opening, server};

/// Somebody from the neighbour who talks with a server of the protected host. This process holds the server's
/// end, as an SSH server does for whoever works in its session.
pub(crate) struct Session(TcpStream);

impl Session {
    pub(crate) fn begin(edge: &Edge, port: u16) -> Result<Self> {
        let stream = edge.neighbour.within(|| TcpStream::connect_timeout(&server(port), PATIENCE))?;
        let mut session = Self(stream);
        assert!(session.lives(PATIENCE)?);
        Ok(session)
    }

    /// Whether what is said is answered.
    pub(crate) fn lives(&mut self, patience: Duration) -> Result<bool> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.write_all(b"?")?;
        match self.0.read_exact(&mut [0]) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As the command writes it.
    pub(crate) fn told(&self) -> String {
        let (client, server): (SocketAddr, SocketAddr) =
            (self.0.local_addr().expect("bound"), self.0.peer_addr().expect("connected"));
        format!("tcp {client} > {server}")
    }
}

/// A policy for `edge0` whose port stands in a catalog file in a folder that the agent does not watch, so that a
/// change is noticed by a reload alone.
fn elsewhere(edge: &Edge, port: u16) -> Result<String> {
    let folder = std::path::Path::new("/mnt/elsewhere");
    if !folder.exists() {
        edge.lab.folder("elsewhere")?;
    }
    let hash = "0".repeat(64);
    fs::write(
        folder.join("mine.toml"),
        format!(
            "schema = 1\nsystem = \"mine\"\ntitle = \"Mine\"\n[[document]]\nid = \"ports\"\ntitle = \"Ports\"\n\
             language = \"en\"\nfile = \"ports.md\"\nsha256 = \"{hash}\"\n[[document.table]]\nname = \"servers\"\n\
             line = 1\n[[role]]\nname = \"web\"\ntitle = \"Web\"\n[[role.requirement]]\ndocument = \"ports\"\n\
             line = 2\ntable = \"servers\"\ndirection = \"inbound\"\nservice = \"web\"\nprotocols = [\"tcp\"]\n\
             ports = [\"{port}\"]\n"
        ),
    )?;
    Ok("version = 1\ncatalog = [\"../elsewhere/mine.toml\"]\n[[interface]]\nname = \"edge0\"\nroles = [\"mine/web\"]\n"
        .to_owned())
}

pub(crate) fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {event}"))
}

#[test]
fn a_reload_that_would_cut_the_callers_session_is_refused_and_force_overrides() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&elsewhere(&edge, 443)?, &[]);
    let mut session = Session::begin(&edge, 443)?;
    elsewhere(&edge, 8080)?;
    let sentence = format!("edge0: would cut your own session {}", session.told());
    edge.operator
        .run(&["reload"])
        .exits(1)
        .complains(&sentence)
        .complains("name     = \"tcp-443\"")
        .complains("the policy was refused, the one before it goes on")
        .complains("`--force` alone enforces it");
    assert!(text(&agent.event("refused"), "error").contains(&sentence));
    edge.operator.run(&["status"]).exits(0).prints("would cut your own session");
    assert!(session.lives(PATIENCE)?);
    edge.assert_open(443, 8080);

    edge.operator.run(&["reload", "--force"]).exits(0).complains(&format!("forced: {sentence}"));
    assert!(!session.lives(IMPATIENCE)?, "forced, it is cut");
    edge.operator.run(&["status"]).exits(0).keeps_quiet_about("refused");
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn an_agent_that_may_not_look_into_processes_believes_its_callers_words() -> Result<()> {
    const USER: u32 = 64_321;
    let Some(edge) = Edge::new()? else { return Ok(()) };
    for folder in [Operator::state(), Operator::lasting(), Lab::bpffs().join("portcullis")] {
        fs::create_dir(&folder)?;
        chown(&folder, Some(USER), Some(USER))?;
    }
    let path = edge.operator.policy(&elsewhere(&edge, 443)?)?;
    let arguments = ["agent", "--policy", path.to_str().expect("text")];
    let mut agent = Running::start(edge.operator.command_as(USER, "bpf,net_admin,perfmon", &arguments));
    agent.event("applied");
    let mut session = Session::begin(&edge, 443)?;
    elsewhere(&edge, 8080)?;
    let sentence = format!("edge0: would cut your own session {}", session.told());
    edge.operator.run(&["reload"]).exits(1).complains(&sentence);
    // One that there is not, as an old variable of the environment may name it, is nobody's.
    let mut asking = UnixStream::connect(Operator::state().join("control.sock"))?;
    asking.write_all(
        b"{\"request\":\"reload\",\"sessions\":[{\"remote\":\"198.51.100.7:9\",\"local\":\"203.0.113.1:443\"}]}\n",
    )?;
    let mut answer = String::new();
    asking.read_to_string(&mut answer)?;
    assert!(answer.contains("\"errors\":[]"), "{answer}");
    assert!(!session.lives(IMPATIENCE)?);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn what_the_host_cannot_do_without_is_vital_also_where_nobody_asked() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.lab.cover("/etc/resolv.conf", "nameserver 203.0.113.2\n")?;
    let mut agent = edge.agent(&opening(443), &[]);
    // A conversation of somebody keeps no policy from being enforced that the file says.
    let mut stranger = Session::begin(&edge, 443)?;
    edge.operator.policy(&opening(8080))?;
    agent.event("applied");
    assert!(!stranger.lives(IMPATIENCE)?);

    edge.operator
        .policy(&opening(443).replace("name = \"edge0\"", "name = \"edge0\"\noutbound = \"enforce\""))?;
    let refused = agent.event("refused");
    assert!(
        text(&refused, "error").contains("would drop the answers of the name server 203.0.113.2"),
        "{refused}"
    );
    edge.assert_open(8080, 443);
    edge.operator.run(&["reload"]).exits(1).complains("direction = \"out\"");
    edge.operator.run(&["reload", "--force"]).exits(0).complains("forced: edge0: would drop the answers");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn a_reload_that_is_tried_ends_by_itself_and_is_kept_where_it_is_confirmed() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&elsewhere(&edge, 443)?, &[]);
    elsewhere(&edge, 8080)?;
    edge.operator.run(&["reload", "--confirm", "2s"]).exits(2).complains("write 3s to 24h");
    edge.operator
        .run(&["reload", "--confirm", "3s"])
        .exits(0)
        .prints("the policy before comes back in 3 seconds; `portcullis confirm` keeps this one");
    let trying = agent.event("trying");
    assert_eq!(
        (trying["seconds"].as_f64(), trying["waits_for"].as_array().map(Vec::len)),
        (Some(3.0), Some(0))
    );
    edge.assert_open(8080, 443);
    agent.event("reverted");
    assert!(text(&agent.event("refused"), "error").contains("tried for 3 s, and was not confirmed"));
    edge.assert_open(443, 8080);

    edge.operator.run(&["reload", "--confirm", "60s"]).exits(0);
    edge.operator.run(&["confirm"]).exits(0);
    agent.event("kept");
    edge.assert_open(8080, 443);
    edge.operator.run(&["status"]).exits(0).keeps_quiet_about("refused").keeps_quiet_about("tried");
    edge.operator.run(&["reload"]).exits(0);
    edge.assert_open(8080, 443);
    Ok(())
}

/// A policy that lets in logins and something else.
pub(crate) fn with_logins(port: u16) -> String {
    policy(&[interface("edge0", &[allow("ssh", "tcp", "22"), allow("open", "tcp", &port.to_string())])])
}

#[test]
fn a_changed_file_that_silences_who_is_logged_in_is_taken_back_by_the_kernel() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _logins = EchoServer::start(edge.lab.host(), Protocol::Tcp, server(22))?;
    let mut agent = edge.agent(&with_logins(443), &["--trial", "4s"]);
    let mut session = Session::begin(&edge, 22)?;
    edge.operator.policy(&opening(8080))?;
    let trying = agent.event("trying");
    assert_eq!(trying["waits_for"], serde_json::json!([session.told()]));
    // It speaks all the while, and none of it arrives.
    assert!(!session.lives(IMPATIENCE)?);
    edge.assert_open(8080, 443);
    agent.event("reverted");
    let refused = agent.event("refused");
    let told = format!("it was tried for 4 s, and nothing was heard of {}", session.told());
    assert!(text(&refused, "error").contains(&told), "{refused}");
    edge.operator.run(&["status"]).exits(0).prints(&told);
    edge.assert_open(443, 8080);
    // What was said meanwhile is sent again, and answered.
    session.0.set_read_timeout(Some(PATIENCE))?;
    session.0.read_exact(&mut [0])?;
    assert!(session.lives(PATIENCE)?);
    // What is known to be good for the next boot is what holds.
    let good = fs::read_to_string(Operator::lasting().join("last-good.json"))?;
    assert!(good.contains("443") && !good.contains("8080"), "{good}");

    edge.operator.run(&["reload", "--force"]).exits(0);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_changed_file_is_kept_as_soon_as_one_who_is_logged_in_is_heard() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _logins = EchoServer::start(edge.lab.host(), Protocol::Tcp, server(22))?;
    let mut agent = edge.agent(&with_logins(443), &["--trial", "60s"]);
    // Somebody holds a connection, says nothing, and keeps nothing from being enforced.
    let _idle = Session::begin(&edge, 22)?;
    let mut session = Session::begin(&edge, 22)?;
    edge.operator.policy(&with_logins(8080))?;
    assert_eq!(agent.event("trying")["waits_for"].as_array().map(Vec::len), Some(2));
    edge.operator.run(&["status"]).exits(0).prints("tried for");
    assert!(session.lives(PATIENCE)?);
    agent.event("kept");
    edge.assert_open(8080, 443);
    edge.operator.run(&["status"]).exits(0).keeps_quiet_about("tried for").keeps_quiet_about("refused");
    let good = fs::read_to_string(Operator::lasting().join("last-good.json"))?;
    assert!(good.contains("8080"), "{good}");
    // One that ends is heard as well: the end takes packets of both sides.
    drop((session, _idle));
    let last = Session::begin(&edge, 22)?;
    edge.operator.policy(&with_logins(443))?;
    agent.event("trying");
    drop(last);
    agent.event("kept");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn where_nobody_is_logged_in_a_changed_file_is_enforced_at_once() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&with_logins(443), &["--trial", "60s"]);
    edge.operator.policy(&with_logins(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(8080, 443);
    soon("no trial", || {
        edge.operator.run(&["status", "--json"]).json()["interfaces"][0]["pending"].is_null()
    });
    Ok(())
}

#[test]
fn an_agent_whose_trial_is_switched_off_enforces_a_changed_file_at_once() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _logins = EchoServer::start(edge.lab.host(), Protocol::Tcp, server(22))?;
    // As the unit and the options of /etc/default stand one after the other.
    let mut agent = edge.agent(&with_logins(443), &["--trial", "60s", "--trial", "off"]);
    let mut session = Session::begin(&edge, 22)?;
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    let status = edge.operator.run(&["status", "--json"]).json();
    assert!(status["interfaces"][0]["pending"].is_null(), "{status:#}");
    assert!(!session.lives(IMPATIENCE)?);
    edge.assert_open(8080, 443);
    let path = Operator::policy_path();
    edge.operator
        .run(&["agent", "--policy", path.to_str().expect("text"), "--trial", "never"])
        .exits(2)
        .complains("`never` is no duration: write a number and its unit, as 90s, 5m or 1h, or off");
    Ok(())
}

#[test]
fn a_trial_of_the_agent_ends_without_it() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _logins = EchoServer::start(edge.lab.host(), Protocol::Tcp, server(22))?;
    let mut agent = edge.agent(&with_logins(443), &["--trial", "3s"]);
    let _session = Session::begin(&edge, 22)?;
    edge.operator.policy(&opening(8080))?;
    agent.event("trying");
    agent.signal(nix::sys::signal::Signal::SIGKILL);
    agent.end();
    soon("the policy before", || edge.answers(443, IMPATIENCE) && !edge.answers(8080, IMPATIENCE));
    assert!(Lab::state().join("policy.toml").exists());
    Ok(())
}
