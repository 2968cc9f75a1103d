//! What others wrote into documents, catalogs, policies and names does nothing to the terminal of whoever reads
//! what a command says of it.

use std::{cell::Cell, fs, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    lab::Lab,
    operator::{Operator, Ran, lab},
    packet::Ip,
    running::Running,
    traffic::{EchoServer, Protocol, exchange},
};

use crate::{IMPATIENCE, PATIENCE};

/// A clear screen, another title, C1 controls, an override and an isolate of direction, what has no width, and
/// a line that looks like one of the command.
const EVIL: &str = "evil\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}live\u{2066}a\u{200b}b\u{feff}c\u{ad}d\re\nportcullis: all is well";
/// How it begins where it is shown.
const SHOWN: &str = "evil\\u{1b}[2J";
/// The same in a name, which may not hold everything.
const EVIL_FILE: &str = "evil\u{1b}[2J\u{202e}\u{200b}\nportcullis: all is well";
const EVIL_INTERFACE: &str = "e\u{1b}[1m\u{202e}0";

/// What no terminal is to be given: written independently of what the command escapes.
fn is_harmful(character: char) -> bool {
    let unseen = "\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
                  \u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}";
    character != '\n' && (u32::from(character) < 0x20 || (0x7f..0xa0).contains(&u32::from(character)))
        || unseen.contains(character)
}

/// Looks at what a command said; with `shows`, it must have shown what others wrote.
#[track_caller]
fn assert_harmless(ran: &Ran, shows: bool) {
    for (stream, text) in [("standard output", &ran.stdout), ("standard error", &ran.stderr)] {
        let harmful: Vec<String> = text
            .chars()
            .filter(|character| is_harmful(*character))
            .map(|c| c.escape_unicode().to_string())
            .collect();
        assert!(harmful.is_empty(), "{harmful:?} on {stream} of {}", ran.to_string().escape_debug());
        let forged = text.lines().find(|line| line.starts_with("portcullis: all is well"));
        assert_eq!(forged, None, "{stream} of {ran}");
    }
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(all.contains(SHOWN) || all.contains("e\\u{1b}[1m"), shows, "{ran}");
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    let escape = |character: char| match character {
        '"' | '\\' => format!("\\{character}"),
        ' '..='~' => character.to_string(),
        other => format!("\\U{:08X}", u32::from(other)),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// A catalog file in which every text that is free is evil.
fn catalog(port: u16) -> String {
    let evil = quoted(EVIL);
    let hash = "0".repeat(64);
    format!(
        "schema = 1\nsystem = \"mine\"\ntitle = {evil}\n\
         [[document]]\nid = \"ports\"\ntitle = {evil}\nlanguage = \"en\"\nfile = {evil}\nsha256 = \"{hash}\"\n\
         [[document.table]]\nname = \"servers\"\nline = 12\n\
         [[role]]\nname = \"web\"\ntitle = {evil}\ndocumented = [{evil}]\n\
         [[role.requirement]]\ndocument = \"ports\"\nline = {port}\ntable = \"servers\"\ndirection = \"inbound\"\n\
         service = {evil}\nprotocols = [\"tcp\"]\nports = [\"{port}\"]\napplication = {evil}\nnotes = [{evil}]\n\
         [[name]]\ndocument = \"ports\"\nline = 30\nscheme = \"https\"\nhost = {evil}\npurpose = {evil}\n\
         [[ipsec_exception]]\ndocument = \"ports\"\nline = 40\nrule = {evil}\nsource = {evil}\ndestination = {evil}\n\
         protocols = [\"udp\"]\nsource_ports = {evil}\ndestination_ports = {evil}\nauthentication = {evil}\n\
         direction = \"inbound\"\n"
    )
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = Lab::state().join(name);
    fs::write(&path, text).expect("the lab's folder can be written");
    path
}

/// Holds: security terminal.
#[test]
fn no_command_passes_on_what_moves_a_terminal() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour(EVIL_INTERFACE, "far0")?;
    let server = |port| SocketAddr::new(Ip::V4.address(1), port);
    let _server = EchoServer::start(lab.host(), Protocol::Tcp, server(443))?;
    let operator = Operator::new(&lab)?;
    let run = |args: &[&str]| operator.run(args);

    let (old, new) = (write("old.toml", &catalog(443)), write("new.toml", &catalog(444)));
    let (old, new) = (old.to_str().expect("text"), new.to_str().expect("text"));
    let policy = format!(
        "version = 1\ncatalog = [\"old.toml\"]\n[[interface]]\nname = \"*\"\nroles = [\"mine/web\"]\n\
         [[interface.allow]]\nname = {}\nprotocol = \"tcp\"\nports = 1\n",
        quoted(EVIL)
    );
    let path = write(&format!("{EVIL_FILE}.toml"), &policy);
    let path = path.to_str().expect("text");

    assert_harmless(&run(&["catalog", "list", "--catalog", old]).exits(0), true);
    assert_harmless(&run(&["catalog", "show", "mine", "--catalog", old]).exits(0), true);
    assert_harmless(&run(&["catalog", "show", "mine/web", "--catalog", old]).exits(0), true);
    assert_harmless(&run(&["diff", old, new]).exits(3), true);
    assert_harmless(&run(&["check", path]).exits(3), true);
    assert_harmless(&run(&["plan", path]).exits(3), true);
    assert_harmless(&run(&["apply", path]).exits(0), true);
    assert!(exchange(&neighbour, Protocol::Tcp, server(443), PATIENCE)?);
    assert_harmless(&run(&["counters", "--all"]).exits(0), true);
    assert_harmless(&run(&["counters", "--by", "service"]).exits(0), true);
    assert_harmless(&run(&["status"]).exits(0), true);
    assert_harmless(&run(&["rollback", "--list"]).exits(0), true);
    assert_harmless(&run(&["doctor"]), true);

    let other = write("other.toml", &policy.replace("old.toml", "new.toml"));
    let other = other.to_str().expect("text");
    assert_harmless(&run(&["apply", "--shadow", other]).exits(0), true);
    assert!(exchange(&neighbour, Protocol::Tcp, server(443), PATIENCE)?);
    assert!(!exchange(&neighbour, Protocol::Tcp, server(444), IMPATIENCE)?);
    assert_harmless(&run(&["shadow"]).exits(3), true);
    assert_harmless(&run(&["confirm"]).exits(0), true);
    assert_harmless(&run(&["counters", "--archived"]).exits(0), true);

    // What is wrong with a file is told in its words.
    let wrong = write(
        &format!("wrong-{EVIL_FILE}.toml"),
        &policy.replace("mine/web", &EVIL.escape_default().to_string().replace("\\u{", "\\U{")),
    );
    assert_harmless(&run(&["check", wrong.to_str().expect("text")]).exits(2), true);
    let unknown = write("unknown.toml", &policy.replace("\"mine/web\"", &quoted(EVIL)));
    assert_harmless(&run(&["check", unknown.to_str().expect("text")]).exits(2), true);
    assert_harmless(&run(&["apply", unknown.to_str().expect("text")]).exits(2), true);
    let raw = write(
        "raw.toml",
        "version = 1\n[[interface]]\nname = \"evil\u{1b}[2J\u{202e}\"\nmode = \"\u{9b}\"\n",
    );
    assert_harmless(&run(&["check", raw.to_str().expect("text")]).exits(2), true);
    let catalog = write("broken.toml", &catalog(443).replace("inbound", &EVIL.escape_default().to_string()));
    assert_harmless(&run(&["catalog", "list", "--catalog", catalog.to_str().expect("text")]).exits(2), true);
    let raw = write("raw-catalog.toml", "schema = 1\nsystem = \"evil\u{1b}[2J\u{202e}\u{9b}\"\n");
    assert_harmless(&run(&["catalog", "list", "--catalog", raw.to_str().expect("text")]).exits(2), true);
    for arguments in
        [&["apply", EVIL_FILE][..], &["check", EVIL_FILE], &["diff", EVIL_FILE, old], &["import", EVIL_FILE]]
    {
        assert_harmless(&run(arguments), true);
    }
    assert_harmless(&run(&["counters", "--interface", EVIL]).exits(1), true);
    assert_harmless(&run(&["catalog", "show", EVIL]).exits(2), true);
    assert_harmless(&run(&["import", old, "--format", EVIL]).exits(2), true);
    assert_harmless(&run(&["--evil", EVIL]).exits(2), false);
    assert_harmless(&run(&["detach", "--all"]).exits(0), true);
    Ok(())
}

/// Holds: security terminal.
#[test]
fn what_an_import_reports_is_escaped_and_files_stay_as_they_are() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let evil = EVIL.replace(['\r', '\n'], " ");
    let document = write(
        "evil.md",
        &format!(
            "# {evil}\n\n| Role | Service | Protocol | Port |\n|---|---|---|---|\n| Web | {evil} | TCP | 443 |\n\
             | Web | {evil} | TCP | {evil} |\n"
        ),
    );
    let document = document.to_str().expect("text");
    let mut ran = operator.run(&["import", document]).exits(0);
    // A catalog file, as it is written to a file.
    ran.stdout.clear();
    assert_harmless(&ran, true);
    assert_harmless(&operator.run(&["import", document, "--explain", "5"]).exits(0), true);
    assert_harmless(&operator.run(&["import", document, "--explain", "6"]).exits(0), true);
    // JSON is for programs, and says what the document says.
    let json = operator.run(&["import", document, "--format", "json"]).exits(0).json();
    let service = json["requirements"][0]["service"].as_str().expect("text");
    assert!(service.contains('\u{202e}') && service.contains("live"), "{service:?}");
    Ok(())
}

/// Holds: security terminal.
#[test]
fn what_the_agent_logs_is_escaped_and_its_events_stay_json() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _neighbour = lab.neighbour(EVIL_INTERFACE, "far0")?;
    let operator = Operator::new(&lab)?;
    let text = |port: &str| {
        format!(
            "version = 1\n[[interface]]\nname = \"*\"\n[[interface.allow]]\nname = {}\nprotocol = \"tcp\"\nports = {port}\n",
            quoted(EVIL)
        )
    };
    let path = write(&format!("{EVIL_FILE}.toml"), &text("443"));
    let mut agent = Running::start(operator.command(&["agent", "--policy", path.to_str().expect("text")]));
    let applied = agent.event("applied");
    assert_eq!(applied["interface"], EVIL_INTERFACE);
    fs::write(&path, text("443").replace("tcp", "evil\\u001b[2J\\u202e"))?;
    agent.event("refused");
    let said = operator.run(&["reload"]).exits(2);
    assert_harmless(&said, true);
    assert_harmless(&operator.run(&["status"]).exits(0), true);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
    let logged = Cell::new(0);
    agent.complaint(|line| {
        let is_harmless = !line.chars().any(is_harmful) && !line.starts_with("portcullis: all is well");
        assert!(is_harmless, "the log of the agent holds what moves a terminal: {}", line.escape_debug());
        logged.set(logged.get() + 1);
        line.contains("stopped")
    });
    assert!(logged.get() >= 3, "{} lines", logged.get());
    Ok(())
}
