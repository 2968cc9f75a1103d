//! Sessions that last: an HTTPS download and two SSH sessions, one in each direction, while the policy is
//! replaced a hundred times under them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{fcntl, sys::stat::Mode, unistd::mkfifo};
use portcullis_tests::{
    draft::{allow, interface, policy, role},
    lab::Namespace,
    operator::Ran,
    programs::{listens, soon},
    running::{PATIENCE, Running},
    traffic::{EchoServer, Protocol},
};
use serde_json::Value;

use crate::Edge;

const RELOADS: u32 = 100;
/// HTTPS as the document of a front-end server has it.
const HTTPS: &str = "server-ports-ja:63";
const HOST: &str = "203.0.113.1";
const NEIGHBOUR: &str = "203.0.113.2";

/// Two policies that both let in HTTPS and SSH, and differ in much else.
fn policies() -> [String; 2] {
    let ssh = allow("ssh", "tcp", "22");
    let of = |name: &str, allows: &[String]| {
        let role = role(&format!("skype-for-business-server-2015/{name}"));
        policy(&[interface("edge0", &[&[role], allows].concat())])
    };
    [
        of("front-end-server", std::slice::from_ref(&ssh)),
        of("front-end-server-with-mediation", &[allow("dns", "udp", "53"), ssh, allow("nfs", "tcp", "2049")]),
    ]
}

#[test]
fn sessions_outlive_a_hundred_reloads() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    let policies = policies();
    edge.apply(&policies[0]);
    let before = account(&edge);
    let _servers =
        (sshd(&edge, edge.host()), sshd(&edge, &edge.neighbour), web_server(&edge, edge.host(), HOST));
    // The host's own port is not among those that the document opens: answers need its flow.
    edge.host().within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 29999"))?;
    let mut download = download(&edge, &edge.neighbour, HOST);
    // The neighbour's session is let in by a rule; the answers to the host's own are replies.
    let mut sessions = [session(&edge, &edge.neighbour, HOST), session(&edge, edge.host(), NEIGHBOUR)];
    for session in &mut sessions {
        exchange(session, "the first line");
    }

    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let (fed, spoken) = thread::scope(|scope| -> Result<_> {
        let feeder = scope.spawn(|| feed(Path::new("/mnt/sessions/www/data"), &over));
        let speakers = sessions.map(|session| scope.spawn(|| speak(session, &over)));
        let reloaded = (1..=RELOADS).try_for_each(|n| {
            let ran = edge.operator.apply(&policies[usize::from(n % 2 == 1)]);
            ensure!(ran.code == Some(0), "{ran}");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let spoken =
            speakers.map(|speaker| speaker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let fed = feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reloaded?;
        Ok((fed?, spoken))
    })?;
    let lasted = begun.elapsed();

    assert_eq!(download.line(|_| true), format!("0 200 {fed}"), "curl's exit code, HTTP's status, bytes");
    assert_eq!(download.end().code(), Some(0));
    println!("{RELOADS} reloads in {:.1} s", lasted.as_secs_f64());
    println!("HTTPS: {fed} bytes without an error");
    for (direction, (lines, longest)) in ["to the host", "from the host"].into_iter().zip(spoken) {
        println!("SSH {direction}: {lines} lines there and back, the slowest in {longest:.1?}");
    }
    assert!(edge.counted(HTTPS) > u64::from(RELOADS) && edge.counted("ssh") > u64::from(RELOADS));
    assert!(edge.counted("flow-tcp") > u64::from(RELOADS));
    assert_eq!(edge.counted("undocumented-tcp"), 0);
    let after = account(&edge);
    let packets: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    println!("{packets:?} packets sent by the neighbour, arrived, and counted");
    assert!(packets.iter().all(|&count| count == packets[0]), "each packet arrives and is counted once");
    edge.operator.show("edge0", "sessions");
    Ok(())
}

#[test]
fn sessions_that_run_when_enforcement_begins_lose_nothing() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    let _servers = (
        sshd(&edge, edge.host()),
        sshd(&edge, &edge.neighbour),
        web_server(&edge, &edge.neighbour, NEIGHBOUR),
    );
    let stun = SocketAddr::new(NEIGHBOUR.parse()?, 3478);
    let _echo = EchoServer::start(&edge.neighbour, Protocol::Udp, stun)?;
    edge.host().within(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 29999"))?;
    // The host's own: a download, a session, and datagrams from a socket that does not say to whom. The
    // neighbour's session needs a rule.
    let mut download = download(&edge, edge.host(), NEIGHBOUR);
    let mut sessions = [session(&edge, &edge.neighbour, HOST), session(&edge, edge.host(), NEIGHBOUR)];
    for session in &mut sessions {
        exchange(session, "the first line");
    }
    let socket = edge.host().within(|| UdpSocket::bind("0.0.0.0:0"))?;

    let (over, words) = (AtomicBool::new(false), AtomicU64::new(0));
    let (fed, spoken) = thread::scope(|scope| -> Result<_> {
        let feeder = scope.spawn(|| feed(Path::new("/mnt/sessions/www/data"), &over));
        let speakers = sessions.map(|session| scope.spawn(|| speak(session, &over)));
        let talker = scope.spawn(|| talk(&socket, stun, &words, &over));
        let more = |count| {
            let enough = words.load(Ordering::Relaxed) + count;
            soon("more datagrams", || words.load(Ordering::Relaxed) > enough || talker.is_finished());
        };
        more(50);
        let ran = edge.operator.apply(&policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]));
        more(200);
        over.store(true, Ordering::Relaxed);
        let spoken =
            speakers.map(|speaker| speaker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let fed = feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        talker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        drop(ran.exits(0).prints("edge0: adopted 2 conversations that this host had begun"));
        Ok((fed?, spoken))
    })?;

    assert_eq!(download.line(|_| true), format!("0 200 {fed}"), "curl's exit code, HTTP's status, bytes");
    assert_eq!(download.end().code(), Some(0));
    println!(
        "HTTPS from the neighbour: {fed} bytes; datagrams there and back: {}",
        words.load(Ordering::Relaxed)
    );
    for (direction, (lines, longest)) in ["to the host", "from the host"].into_iter().zip(spoken) {
        println!("SSH {direction}: {lines} lines there and back, the slowest in {longest:.1?}");
    }
    for reason in ["undocumented-tcp", "undocumented-udp", "source"] {
        assert_eq!(edge.counted(reason), 0, "{reason}");
    }
    for accepted in ["ssh", "flow-tcp", "flow-udp"] {
        assert!(edge.counted(accepted) > 0, "{accepted}");
    }
    // TCP also sends again what came too late, on a busy machine: what counts is that all that was sent has
    // arrived, and none of it was dropped.
    let [sent, arrived, counted] = account(&edge);
    println!(
        "{sent} packets sent by the neighbour, {arrived} arrived, {counted} of them since enforcement began"
    );
    assert_eq!(sent, arrived);
    assert!(counted > 0 && counted < arrived, "it began in between");
    edge.operator.show("edge0", "sessions from before");
    Ok(())
}

/// Sends words until it is over; each must come back before the next one is sent.
fn talk(socket: &UdpSocket, to: SocketAddr, words: &AtomicU64, over: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    while !over.load(Ordering::Relaxed) {
        let word = words.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut echo = [0; 8];
        socket.send_to(&word, to)?;
        socket.recv_from(&mut echo).context("a datagram was lost")?;
        ensure!(echo == word, "another word came back");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn neither_session_begins_where_its_port_is_not_named() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    let _servers = (sshd(&edge, edge.host()), web_server(&edge, edge.host(), HOST));
    drop(curl(&edge, edge.host(), "2").exits(0));
    // curl: 28 is "operation timed out". ssh: 255 is "an error occurred".
    drop(curl(&edge, &edge.neighbour, "1").exits(28));
    let refused = edge.counted("undocumented-tcp");
    assert!(refused > 0);
    let mut session = session(&edge, &edge.neighbour, HOST);
    session.complaint(|line| line.contains("Connection timed out"));
    assert_eq!(session.end().code(), Some(255));
    assert!(edge.counted("undocumented-tcp") > refused);
    edge.operator.show("edge0", "closed");
    Ok(())
}

/// Packets that the neighbour has sent, that have arrived at the host's interface, and that were counted
/// there, at a moment when none was on its way.
fn account(edge: &Edge) -> [u64; 3] {
    let packets = |namespace: &Namespace, interface, direction: &str| -> u64 {
        let shown = namespace.run("ip", &["-json", "-statistics", "link", "show", "dev", interface]);
        let shown: Value = serde_json::from_str(&shown.expect("it is there")).expect("ip prints JSON");
        shown[0]["stats64"][direction]["packets"].as_u64().expect("packets are a number")
    };
    let mut account = [0; 3];
    soon("silence", || {
        let sent = packets(&edge.neighbour, "far0", "tx");
        let counted = edge.operator.counters("edge0")["total"]["packets"].as_u64();
        account = [sent, packets(edge.host(), "edge0", "rx"), counted.expect("packets are a number")];
        account[1] == sent && packets(&edge.neighbour, "far0", "tx") == sent
    });
    account
}

/// Keys, certificate and known hosts, made for this test alone.
fn edge() -> Result<Option<Edge>> {
    let Some(edge) = Edge::new(&["curl", "openssl", "ssh", "ssh-keygen", "sshd"])? else { return Ok(None) };
    let folder = edge.lab.folder("sessions")?;
    let path = |name: &str| folder.join(name).display().to_string();
    for key in ["host", "user"] {
        let args = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
        drop(edge.programs.run(edge.host(), "ssh-keygen", 10, &args).exits(0));
    }
    fs::copy(path("user.pub"), path("authorized"))?;
    let key = fs::read_to_string(path("host.pub"))?;
    fs::write(path("known"), format!("{HOST} {key}{NEIGHBOUR} {key}"))?;

    let kind =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    let name = format!("subjectAltName=IP:{HOST},IP:{NEIGHBOUR}");
    let named = ["-subj", "/CN=lab", "-addext", &name, "-keyout", &path("web.key"), "-out", &path("web.pem")];
    drop(edge.programs.run(edge.host(), "openssl", 10, &[&kind[..], &named].concat()).exits(0));
    fs::create_dir(path("www"))?;
    fs::write(path("www/page"), "a page\n")?;
    mkfifo(Path::new(&path("www/data")), Mode::S_IRUSR | Mode::S_IWUSR)?;

    // sshd gives up its privileges to a user of its own, in a folder of its own.
    edge.lab.empty("/run")?;
    fs::create_dir("/run/sshd")?;
    let users = fs::read_to_string("/etc/passwd")?;
    if !users.lines().any(|user| user.starts_with("sshd:")) {
        edge.lab
            .cover("/etc/passwd", &format!("{users}sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n"))?;
    }
    Ok(Some(edge))
}

fn sshd(edge: &Edge, namespace: &Namespace) -> Running {
    let files = ["-o", "HostKey=/mnt/sessions/host", "-o", "AuthorizedKeysFile=/mnt/sessions/authorized"];
    let how = ["-o", "UsePAM=no", "-o", "StrictModes=no", "-o", "PidFile=none", "-o", "PermitRootLogin=yes"];
    let args = [&["-D", "-e", "-f", "/dev/null", "-p", "22"][..], &files, &how].concat();
    let server = edge.programs.start(namespace, "sshd", &args);
    listens(namespace, 22);
    server
}

/// A session that sends back each line.
fn session(edge: &Edge, from: &Namespace, to: &str) -> Running {
    let mut command = edge.programs.command(from, "ssh");
    command.args([
        "-F",
        "/dev/null",
        "-i",
        "/mnt/sessions/user",
        "-o",
        "UserKnownHostsFile=/mnt/sessions/known",
    ]);
    command.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=1"]);
    command.args(["-o", "ConnectionAttempts=1", &format!("root@{to}"), "cat"]).stdin(Stdio::piped());
    Running::start(command)
}

#[track_caller]
fn exchange(session: &mut Running, line: &str) {
    session.say(line);
    assert_eq!(session.line(|_| true), line);
}

/// Speaks until it is over, then hangs up; gives how many lines came back, and the longest wait for one.
fn speak(mut session: Running, over: &AtomicBool) -> (u64, Duration) {
    let (mut lines, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        lines += 1;
        let asked = Instant::now();
        exchange(&mut session, &format!("line {lines}"));
        longest = longest.max(asked.elapsed());
    }
    session.hang_up();
    assert_eq!(session.end().code(), Some(0), "the session ends without an error");
    (lines, longest)
}

fn web_server(edge: &Edge, namespace: &Namespace, address: &str) -> Running {
    let mut command = edge.programs.command(namespace, "openssl");
    command.current_dir("/mnt/sessions/www").args(["s_server", "-quiet", "-WWW"]);
    command.args(["-key", "/mnt/sessions/web.key", "-cert", "/mnt/sessions/web.pem"]);
    command.args(["-accept", &format!("{address}:443")]);
    let server = Running::start(command);
    listens(namespace, 443);
    server
}

/// Asks for a small page.
fn curl(edge: &Edge, from: &Namespace, seconds: &str) -> Ran {
    let url = format!("https://{HOST}/page");
    let args = ["--silent", "--cacert", "/mnt/sessions/web.pem", "--max-time", seconds, &url];
    edge.programs.run(from, "curl", 10, &args)
}

/// A download that lasts until [`feed`] has no more; then it prints its exit code, the status and the
/// number of bytes.
fn download(edge: &Edge, from: &Namespace, to: &str) -> Running {
    let mut command = edge.programs.command(from, "curl");
    command.args(["--silent", "--show-error", "--cacert", "/mnt/sessions/web.pem", "--output", "/dev/null"]);
    // Slow enough to leave the machine to the reloads; silence is an error.
    command.args(["--limit-rate", "16M", "--speed-limit", "1", "--speed-time", "10"]);
    command.args([
        "--write-out",
        "%{exitcode} %{http_code} %{size_download}\\n",
        &format!("https://{to}/data"),
    ]);
    Running::start(command)
}

/// Writes what is downloaded, until it is over; gives the number of bytes.
fn feed(pipe: &Path, over: &AtomicBool) -> Result<u64> {
    // Opens only when the server has opened it for reading.
    let mut opened = None;
    soon("the server's interest", || {
        opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(pipe).ok();
        opened.is_some()
    });
    let mut pipe: File = opened.context("it is open")?;
    fcntl::fcntl(&pipe, fcntl::F_SETFL(fcntl::OFlag::empty()))?;
    let piece = [0x5a; 1 << 16];
    let mut written = 0;
    while !over.load(Ordering::Relaxed) {
        pipe.write_all(&piece).context("the server has stopped reading")?;
        written += piece.len() as u64;
    }
    Ok(written)
}
