//! The whole life of an enforcement, from the first `apply` to `detach`, with the real command, real
//! interfaces and real packets. Also run on an older kernel (`cargo xtask vm`), where the egress program
//! hangs on clsact in place of TCX.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, Ran, lab, left_behind},
    packet::Ip,
    talk::Talk,
    traffic::{EchoServer, Protocol, exchange},
    without_tcx::filters,
};

/// How long anything that must come may take, on an emulated machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long what must not come is waited for.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// What stands on an interface, as iproute2 tells it.
struct Standing {
    xdp: bool,
    egress_filters: usize,
}

/// Whether nothing is left on an interface. The kernel takes XDP off a moment after its pin is gone.
fn let_go(host: &Namespace, interface: &str) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Standing { xdp, egress_filters } = standing(host, interface)?;
        if !xdp || Instant::now() > deadline {
            return Ok(!xdp && egress_filters == 0);
        }
        std::thread::sleep(POLL);
    }
}

fn standing(host: &Namespace, interface: &str) -> Result<Standing> {
    let link = host.run("ip", &["link", "show", "dev", interface])?;
    Ok(Standing { xdp: link.contains("prog/xdp"), egress_filters: filters(host, interface) })
}

#[test]
fn an_enforcement_from_beginning_to_end() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let mut servers = Vec::new();
    for ip in Ip::BOTH {
        for port in [443, 8443] {
            let server = SocketAddr::new(ip.address(1), port);
            servers.push(EchoServer::start(lab.host(), Protocol::Tcp, server)?);
        }
    }
    let outside = SocketAddr::new(Ip::V4.address(2), 7);
    servers.push(EchoServer::start(&neighbour, Protocol::Tcp, outside)?);
    servers.push(EchoServer::start(&neighbour, Protocol::Udp, outside)?);
    let open = |port: &str| policy(&[interface("edge0", &[allow("web", "tcp", port)])]);
    let reaches = |port, patience| -> Result<bool> {
        let mut all = true;
        for ip in Ip::BOTH {
            all &= exchange(&neighbour, Protocol::Tcp, SocketAddr::new(ip.address(1), port), patience)?;
        }
        Ok(all)
    };

    let begun = Instant::now();
    operator.apply(&open("443")).exits(0).prints("generation 1");
    println!("applied after {:?}", begun.elapsed());
    let first = standing(lab.host(), "edge0")?;
    assert!(first.xdp, "the ingress program stands on the interface");
    println!("the egress program hangs on {}", if first.egress_filters == 0 { "TCX" } else { "clsact" });
    assert!(reaches(443, PATIENCE)?, "what a rule opens is open");
    assert!(!reaches(8443, IMPATIENCE)?, "what no rule opens is closed");
    assert!(operator.packets("edge0", "undocumented-tcp") > 0);

    let mut talk = Talk::begin(lab.host(), outside, PATIENCE)?;
    talk.go_on(b"one.")?;
    assert!(operator.packets("edge0", "flow-tcp") > 0, "replies come by their flow");
    assert!(operator.packets("edge0", "flow-udp") > 0);

    operator.apply(&open("8443")).exits(0).prints("generation 2").prints("swapped in");
    talk.go_on(b"two.")?;
    assert!(reaches(8443, PATIENCE)?, "the new rule holds");
    assert!(!reaches(443, IMPATIENCE)?, "the old one does not");
    assert_eq!(
        standing(lab.host(), "edge0")?.egress_filters,
        first.egress_filters,
        "one in the place of the other"
    );
    // The egress program of the second generation records what begins now.
    Talk::begin(lab.host(), outside, PATIENCE)?.go_on(b"new.")?;
    let status = operator.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["interfaces"][0]["generation"], 2);

    // A filter by hand that is gone stands for an attachment that was interrupted: made anew.
    if first.egress_filters > 0 {
        lab.host().run("tc", &["qdisc", "delete", "dev", "edge0", "clsact"])?;
        operator.apply(&open("443")).exits(0);
        assert_eq!(standing(lab.host(), "edge0")?.egress_filters, 1);
        Talk::begin(lab.host(), outside, PATIENCE)?.go_on(b"anew")?;
    }

    operator.run(&["detach", "--all"]).exits(0);
    assert!(let_go(lab.host(), "edge0")?, "both programs are gone");
    assert!(reaches(443, PATIENCE)? && reaches(8443, PATIENCE)?, "nothing is enforced any more");
    let left: Vec<_> = std::fs::read_dir(Lab::bpffs().join("portcullis"))?.collect();
    assert!(left.is_empty(), "pins that are left: {left:?}");
    Ok(())
}

/// A host that serves a port on `edge0`, and a neighbour that asks.
struct Served {
    _server: EchoServer,
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

const SERVED: u16 = 8080;

impl Served {
    fn new(lab: Lab) -> Result<Self> {
        let neighbour = lab.neighbour("edge0", "far0")?;
        let server =
            EchoServer::start(lab.host(), Protocol::Tcp, SocketAddr::new(Ip::V4.address(1), SERVED))?;
        let operator = Operator::new(&lab)?;
        Ok(Self { _server: server, neighbour, operator, lab })
    }

    fn ip(&self, words: &str) -> Result<String> {
        self.lab.host().run("ip", &words.split(' ').collect::<Vec<_>>())
    }

    fn reaches(&self, patience: Duration) -> Result<bool> {
        exchange(&self.neighbour, Protocol::Tcp, SocketAddr::new(Ip::V4.address(1), SERVED), patience)
    }

    /// Gives an interface another name, while it is down: before Linux 6.2 the kernel renames no other.
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.ip(&format!("link set dev {from} down"))?;
        self.ip(&format!("link set dev {from} name {to}"))?;
        self.ip(&format!("link set dev {to} up"))?;
        Ok(())
    }
}

/// A policy that lets nothing in.
fn closed() -> String {
    policy(&[interface("edge0", &[])])
}

#[test]
fn a_renamed_interface_stays_closed_when_another_gets_its_name() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let served = Served::new(lab)?;
    let operator = &served.operator;
    operator.apply(&closed()).exits(0);
    served.rename("edge0", "old0")?;
    served.ip("link add edge0 type veth peer name far1")?;

    let path = operator.policy(&closed())?;
    let planned = operator.run(&["plan", path.to_str().expect("text")]).exits(3);
    planned.prints("edge0: would be enforced for the first time").keeps_quiet_about("old0");
    let said = operator.apply(&closed()).exits(0).prints("edge0: enforcing 0 rules, generation 1");
    said.prints("old0: stays enforced as it was as `edge0`").keeps_quiet_about("swapped in");
    for name in ["old0", "edge0"] {
        assert!(standing(served.lab.host(), name)?.xdp, "{name}");
        operator.run(&["status"]).exits(0).prints(&format!("{name} "));
    }
    assert!(!served.reaches(IMPATIENCE)?, "the first is as closed as it was");
    assert!(operator.packets("old0", "undocumented-tcp") > 0, "and counted");
    // Again, and once more when the policy says something else of the name.
    operator.apply(&policy(&[interface("edge0", &[allow("web", "tcp", "443")])])).exits(0);
    assert!(!served.reaches(IMPATIENCE)?);

    // A policy that knows neither name ends both, and says so.
    served.ip("link add other0 type veth peer name far2")?;
    let said = operator.apply(&policy(&[interface("other0", &[])])).exits(0);
    said.prints("old0: detached").prints("edge0: detached");
    assert!(let_go(served.lab.host(), "old0")? && let_go(served.lab.host(), "edge0")?);
    assert!(served.reaches(PATIENCE)?);
    Ok(())
}

#[test]
fn names_that_are_exchanged_leave_each_interface_its_counters() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let served = Served::new(lab)?;
    served.ip("link add edge1 type veth peer name far1")?;
    let both = policy(&[interface("edge0", &[]), interface("edge1", &[allow("x", "tcp", "1")])]);
    served.operator.apply(&both).exits(0);
    assert!(!served.reaches(IMPATIENCE)?);
    let counted = served.operator.packets("edge0", "undocumented-tcp");
    assert!(counted > 0);
    served.rename("edge0", "swap0")?;
    served.rename("edge1", "edge0")?;
    served.rename("swap0", "edge1")?;
    // Each is still judged as before, under the name that it has now.
    assert!(served.operator.packets("edge1", "undocumented-tcp") >= counted);
    assert_eq!(served.operator.packets("edge0", "undocumented-tcp"), 0);
    served.operator.apply(&both).exits(0).prints("edge0: enforcing 0 rules, generation 2");
    assert!(served.operator.packets("edge1", "undocumented-tcp") >= counted);
    assert!(!served.reaches(IMPATIENCE)?);
    Ok(())
}

#[test]
fn an_interface_with_the_number_of_one_that_is_gone_is_not_taken_for_it() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let add = |name: &str| {
        lab.host().run("ip", &["link", "add", name, "index", "77", "type", "veth", "peer", "name", "far0"])
    };
    add("edge0")?;
    operator.apply(&closed()).exits(0);
    lab.host().run("ip", &["link", "delete", "edge0"])?;
    add("other0")?;
    operator.run(&["status"]).exits(0).prints("edge0: not enforced any more").keeps_quiet_about("other0");
    let other = closed().replace("edge0", "other0");
    operator.apply(&other).exits(0).prints("other0: enforcing 0 rules, generation 1");
    assert!(standing(lab.host(), "other0")?.xdp);
    operator.run(&["status"]).exits(0).prints("other0").keeps_quiet_about("edge0");

    // The same name and number again: what it counted goes on.
    lab.host().run("ip", &["link", "delete", "other0"])?;
    add("other0")?;
    operator.apply(&other).exits(0).prints("other0: enforcing 0 rules, generation 2");
    assert!(standing(lab.host(), "other0")?.xdp);
    operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_apply_in_another_network_namespace_leaves_the_first_alone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let served = Served::new(lab)?;
    let operator = &served.operator;
    operator.apply(&closed()).exits(0);
    assert!(!served.reaches(IMPATIENCE)?);

    // An interface of the same name there, and the folders of the first.
    served.neighbour.run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "edge0x"])?;
    let path = operator.policy(&closed())?;
    let there = |state: &Path, words: &[&str]| {
        let mut command = served.neighbour.command(operator.binary());
        command.args(words).env("PORTCULLIS_STATE", state);
        command.env("PORTCULLIS_BPFFS", Lab::bpffs()).env("PORTCULLIS_LASTING", Lab::state().join("there"));
        Ran::of(command)
    };
    let apply = ["apply", path.to_str().expect("text")];
    there(&Operator::state(), &apply)
        .exits(1)
        .complains("is the state folder of another network namespace, in which `edge0` is enforced")
        .complains("--state");
    there(&Operator::state(), &["detach", "--all"]).exits(1).complains("another network namespace");
    assert!(!served.reaches(IMPATIENCE)?, "the first goes on");
    assert!(operator.packets("edge0", "undocumented-tcp") > 0);

    // With a state folder of its own it is protected, too; the BPF file system may be the same.
    let state = Lab::state().join("other");
    there(&state, &apply).exits(0).prints("edge0: enforcing 0 rules, generation 1");
    for namespace in [served.lab.host(), &served.neighbour] {
        assert!(standing(namespace, "edge0")?.xdp);
    }
    there(&state, &["detach", "--all"]).exits(0).prints("edge0: detached");
    assert!(!served.reaches(IMPATIENCE)?, "the first goes on");
    let other = policy(&[interface("edge0", &[allow("web", "tcp", "443")])]);
    operator.apply(&other).exits(0).prints("generation 2");
    Ok(())
}

#[test]
fn an_interface_that_was_moved_to_another_network_namespace_stays_closed_there() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let served = Served::new(lab)?;
    let operator = &served.operator;
    operator.apply(&closed()).exits(0);
    let container = served.lab.host().link("inner0", "outer0")?;
    served.ip(&format!("link set edge0 netns {}", container.path()))?;
    operator
        .run(&["status"])
        .exits(0)
        .prints("edge0: in another network namespace now, and still judged there");

    served.ip("link add edge0 type veth peer name far1")?;
    operator.apply(&closed()).exits(0).prints("edge0: enforcing 0 rules, generation 1");
    assert!(standing(served.lab.host(), "edge0")?.xdp);
    assert!(standing(&container, "edge0")?.xdp, "it is not opened by what is done here");
    operator.run(&["detach", "--all"]).exits(0);
    assert!(let_go(&container, "edge0")?);
    Ok(())
}

#[test]
fn a_bpf_file_system_that_ends_with_the_command_is_refused() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    lab.host().run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far0"])?;
    let path = operator.policy(&closed())?;
    let apply = format!("{} apply {}", operator.binary().display(), path.display());
    // As `ip netns exec` does: mounts of the command's own, with a new sysfs.
    let alone = |script: &str| {
        let mut command = operator.command(&[]);
        command.env("PORTCULLIS_BPFFS", "/sys/fs/bpf");
        let mut unshare = lab.host().command("unshare");
        unshare.args(["--mount", "sh", "-c", &format!("mount -t sysfs sysfs /sys && {script}")]);
        unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(unshare)
    };
    for script in [format!("exec {apply}"), format!("mount -t bpf bpf /sys/fs/bpf && exec {apply}")] {
        let said = alone(&script).exits(1).keeps_quiet_about("enforcing");
        said.complains("/sys/fs/bpf ends with this command").complains("--bpffs");
        assert!(!standing(lab.host(), "edge0")?.xdp);
    }
    operator.run(&["status"]).exits(0).prints("no interface is enforced");
    // One that others have mounted, too, stays.
    let bound = format!("mount --bind {} /sys/fs/bpf && exec {apply}", Lab::bpffs().display());
    alone(&bound).exits(0).prints("edge0: enforcing");
    assert!(standing(lab.host(), "edge0")?.xdp);
    operator.run(&["status"]).exits(0).prints("edge0");
    Ok(())
}

#[test]
fn a_renamed_interface_is_let_go() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    for args in [&["down"][..], &["name", "wan0"], &["up"]] {
        let dev = if args[0] == "up" { "wan0" } else { "edge0" };
        lab.host().run("ip", &[&["link", "set", "dev", dev], args].concat())?;
    }
    operator.run(&["detach", "--all"]).exits(0);
    assert!(let_go(lab.host(), "wan0")?);
    Ok(())
}
