//! The demo: a front-end server of Skype for Business, protected by its own documentation.
//!
//! Two network namespaces, a veth pair, real sockets. What is printed is what the commands printed.

use std::{env, fs, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use portcullis_tests::{
    lab::{Lab, Namespace},
    packet::Ip,
    traffic::{EchoServer, Protocol, exchange},
};

const POLICY: &str = r#"version = 1

[[interface]]
name  = "edge0"
roles = ["skype-for-business-server-2015/front-end-server"]

[[interface.allow]]            # what no document covers
name     = "ssh"
protocol = "tcp"
ports    = 22
from     = ["203.0.113.0/24"]

[[interface.allow]]
name     = "ping"
protocol = ["icmp", "icmpv6"]
types    = "echo-request"
"#;

/// What the client tries: protocol, port, and whether the documents (or the policy) name it.
const ATTEMPTS: &[(Protocol, u16, bool, &str)] = &[
    (Protocol::Tcp, 5061, true, "SIP over TLS"),
    (Protocol::Tcp, 443, true, "web services"),
    (Protocol::Tcp, 8057, true, "web conferencing"),
    (Protocol::Udp, 1434, true, "SQL browser"),
    (Protocol::Udp, 50_000, true, "audio"),
    (Protocol::Udp, 60_000, true, "video"),
    (Protocol::Tcp, 3306, false, "a database that somebody left open"),
    (Protocol::Tcp, 23, false, "telnet"),
    (Protocol::Udp, 161, false, "SNMP"),
];

/// How long a client waits for an answer before it counts as dropped.
const PATIENCE: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate() -> Result<()> {
    let portcullis = env::var_os("PORTCULLIS").map(PathBuf::from);
    let portcullis = portcullis.context("PORTCULLIS must name the binary: run `cargo xtask demo`")?;
    let lab = Lab::enter()?;
    let client = lab.neighbour("edge0", "client0")?;
    let demo = Demo { lab, portcullis, policy: Lab::state().join("policy.toml") };
    fs::write(&demo.policy, POLICY)?;

    say("A front-end server (edge0: 203.0.113.1, 2001:db8::1) and a client (203.0.113.2, 2001:db8::2),");
    say("two network namespaces joined by a veth pair. The policy:");
    println!("\n{}", indent(POLICY));
    demo.run(&["check"], true, &[0, 3])?;
    demo.run(&["apply"], true, &[0])?;

    let servers = demo.serve(demo.lab.host(), 1)?;
    say("Every port below has a server that answers. The client tries each, over IPv4 and IPv6:");
    println!();
    for (protocol, port, documented, what) in ATTEMPTS {
        for ip in Ip::BOTH {
            let answered = exchange(&client, *protocol, SocketAddr::new(ip.address(1), *port), PATIENCE)?;
            let outcome = if answered { "answered" } else { "dropped" };
            println!("    {ip:?} {:>10}  {outcome:<9} {what}", format!("{protocol:?}/{port}").to_lowercase());
            ensure!(answered == *documented, "{protocol:?} {port} over {ip:?} was {outcome}");
        }
    }
    drop(servers);

    println!();
    say("The server itself asks the client's machine (DNS over UDP, HTTP over TCP): no rule opens the");
    say("ports that the replies come to, yet they come, because the server began.");
    println!();
    let _servers = demo.serve_at(&client, 2, &[(Protocol::Udp, 53), (Protocol::Tcp, 80)])?;
    for (protocol, port) in [(Protocol::Udp, 53), (Protocol::Tcp, 80)] {
        for ip in Ip::BOTH {
            let answered =
                exchange(demo.lab.host(), protocol, SocketAddr::new(ip.address(2), port), PATIENCE)?;
            let outcome = if answered { "answered" } else { "lost" };
            println!("    {ip:?} {:>10}  {outcome}", format!("{protocol:?}/{port}").to_lowercase());
            ensure!(answered, "the reply from {protocol:?} {port} over {ip:?} was lost");
        }
    }

    println!();
    demo.run(&["counters"], false, &[0])?;
    demo.run(&["status"], false, &[0])?;
    demo.run(&["detach", "--all"], false, &[0])?;
    say("Nothing of this is left: namespaces, programs and state ended with this process.");
    Ok(())
}

struct Demo {
    lab: Lab,
    portcullis: PathBuf,
    policy: PathBuf,
}

impl Demo {
    /// Runs the command as an operator would, and shows it.
    fn run(&self, args: &[&str], with_policy: bool, expected: &[i32]) -> Result<()> {
        let mut command = self.lab.host().command(&self.portcullis);
        command.args(args);
        let mut shown = format!("portcullis {}", args.join(" "));
        if with_policy {
            command.arg(&self.policy);
            shown.push_str(&format!(" {}", self.policy.display()));
        }
        command.env("PORTCULLIS_STATE", Lab::state().join("run")).env("PORTCULLIS_BPFFS", Lab::bpffs());
        println!("$ {shown}");
        let status = command.status().with_context(|| format!("cannot run {}", self.portcullis.display()))?;
        ensure!(status.code().is_some_and(|code| expected.contains(&code)), "`{shown}` failed: {status}");
        println!();
        Ok(())
    }

    /// Servers for every attempt, on both addresses of a side.
    fn serve(&self, namespace: &Namespace, side: u8) -> Result<Vec<EchoServer>> {
        let ports: Vec<(Protocol, u16)> =
            ATTEMPTS.iter().map(|(protocol, port, ..)| (*protocol, *port)).collect();
        self.serve_at(namespace, side, &ports)
    }

    fn serve_at(
        &self,
        namespace: &Namespace,
        side: u8,
        ports: &[(Protocol, u16)],
    ) -> Result<Vec<EchoServer>> {
        let addresses = ports.iter().flat_map(|(protocol, port)| {
            Ip::BOTH.map(|ip| (*protocol, SocketAddr::new(ip.address(side), *port)))
        });
        addresses.map(|(protocol, address)| EchoServer::start(namespace, protocol, address)).collect()
    }
}

fn say(text: &str) {
    println!("# {text}");
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}
