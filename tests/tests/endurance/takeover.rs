//! A version with another ABI is put in place of the one before, under traffic and killed at any moment: nothing opens,
//! and every packet counts once.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Stdio,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis::{
    datapath::totals_in,
    generation::{Known, Roots, known},
};
use portcullis_common::{
    abi,
    slot::{FIRST_RULE, Reason},
};
use portcullis_tests::{
    assembly::Generator,
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, device, lab, left_behind},
    packet::{Frame, Ip},
    running::PATIENCE,
    traffic::{EchoServer, Protocol},
};

use crate::times;

/// Packets between two looks at the counters; veth queues 256.
const BATCH: u32 = 192;
/// Above every slot that is used here, in any version.
const END: u32 = FIRST_RULE as u32 + 64;

/// 443 is open in both, 1000 in the first, 2000 in the second, 444 in none.
fn policies() -> [String; 2] {
    let of = |allows: &[String]| policy(&[interface("edge0", allows)]);
    let both = allow("both", "tcp", "443");
    [of(&[both.clone(), allow("first", "udp", "1000")]), of(&[allow("second", "udp", "2000"), both])]
}

/// What is sent in turn, with how many packets of it were.
struct Traffic {
    /// Where it comes from.
    peer: Namespace,
    generator: Generator,
    packets: [(Vec<u8>, AtomicU64); 4],
}

impl Traffic {
    fn new(peer: &Namespace, interface: &str) -> Result<Self> {
        let frames = [
            Frame::syn(Ip::V4, 443),
            Frame::udp(Ip::V4, 1_000),
            Frame::udp(Ip::V6, 2_000),
            Frame::syn(Ip::V6, 444),
        ];
        let packets = frames.map(|frame| (frame.bytes(), AtomicU64::new(0)));
        let generator = peer.within(|| Generator::new(interface))?;
        Ok(Self { peer: peer.clone(), generator, packets })
    }

    fn sent(&self) -> [u64; 4] {
        self.packets.each_ref().map(|(_, count)| count.load(SeqCst))
    }

    /// Sends a batch of a packet.
    fn send(&self, frame: &[u8]) -> Result<()> {
        self.peer.within(|| self.generator.send(frame, BATCH))
    }

    /// Sends a batch of each packet, and waits after each until it was counted by one version or the other.
    fn round(&self) -> Result<()> {
        for (frame, count) in &self.packets {
            self.send(frame)?;
            count.fetch_add(BATCH.into(), SeqCst);
            let sent: u64 = self.sent().iter().sum();
            let since = Instant::now();
            loop {
                let counted = counted()?;
                ensure!(counted <= sent, "{counted} packets counted of {sent} sent");
                if counted == sent {
                    break;
                }
                ensure!(since.elapsed() < PATIENCE, "{} packets were never counted", sent - counted);
                thread::yield_now();
            }
        }
        Ok(())
    }

    fn flood(&self, over: &AtomicBool) -> Result<()> {
        while !over.load(Relaxed) {
            self.round()?;
        }
        Ok(())
    }

    /// Expects that everything that was sent is counted once, and under what it was.
    fn assert_counted(&self, operator: &Operator) {
        let sent = self.sent();
        let json = operator.counters("edge0");
        assert_eq!(json["total"]["packets"], sent.iter().sum::<u64>(), "every packet once: {json:#}");
        let bytes: u64 =
            self.packets.iter().zip(sent).map(|((frame, _), sent)| frame.len() as u64 * sent).sum();
        assert_eq!(json["total"]["bytes"], bytes, "every byte once");
        let packets = |name| operator.packets("edge0", name);
        assert_eq!(packets("both"), sent[0], "the port that stays open loses none");
        assert_eq!(
            packets(Reason::UndocumentedTcp.name()),
            sent[3],
            "the port that stays closed lets none in"
        );
        let (first, second) = (packets("first"), packets("second"));
        let closed = packets(Reason::UndocumentedUdp.name());
        assert_eq!(closed + first + second, sent[1] + sent[2], "the others are open or not");
        assert!(first > 0, "what a rule had counted that is gone");
    }
}

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

#[test]
fn no_packet_is_lost_or_counted_twice_while_a_new_abi_takes_over() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(&lab)?;
    let previous = operator.of_the_previous_abi()?;
    let policies = policies();
    let traffic = Traffic::new(&peer, "peer0")?;
    drop(previous.apply(&policies[0]).exits(0).prints("generation 1"));
    ensure!(left()?.is_dir(), "it is another version");

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // In the host's namespace, as the pins are.
        let flood = scope.spawn(|| lab.host().within(|| traffic.flood(&over)));
        let flooded = |rounds: u64| {
            let enough = traffic.sent()[3] + rounds * u64::from(BATCH);
            while traffic.sent()[3] < enough && !flood.is_finished() {
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
    println!("{:?} packets by port", traffic.sent());
    traffic.assert_counted(&operator);
    drop(operator.run(&["status", "--check"]).exits(0));
    ensure!(!left()?.exists() && !Lab::bpffs().join(format!("portcullis/v{}", abi::VERSION - 1)).exists());

    // And on from there, as in any change.
    drop(operator.apply(&policies[0]).exits(0).prints("generation 3"));
    traffic.round()?;
    traffic.assert_counted(&operator);
    drop(operator.run(&["detach", "--all"]).exits(0));
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_takeover_that_is_killed_at_any_moment_is_completed_and_counts_every_packet_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(&lab)?;
    let previous = operator.of_the_previous_abi()?;
    let policies = policies();
    drop(previous.apply(&policies[0]).exits(0));
    let begun = Instant::now();
    drop(operator.apply(&policies[1]).exits(0));
    let whole = begun.elapsed();
    drop(operator.run(&["detach", "--all"]).exits(0));

    let rounds = times(8, 100);
    let (mut before, mut after) = (0, 0);
    let traffic = Traffic::new(&peer, "peer0")?;
    for round in 1..=rounds {
        traffic.packets.iter().for_each(|(_, count)| count.store(0, SeqCst));
        drop(previous.apply(&policies[0]).exits(0));
        traffic.round()?;
        let path = operator.policy(&policies[1])?;
        let mut command = operator.command(&["apply", path.to_str().context("text")?]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // The swap comes last: most of what can be interrupted is there.
        thread::sleep(whole * 2 / 5 + whole * 3 / 5 * round / rounds);
        child.kill()?;
        child.wait()?;
        // Whichever enforces, both close and open the same, and all is counted.
        traffic.round()?;
        match known(&roots(), "edge0")? {
            Known::Other => before += 1,
            Known::Active(_) => after += 1,
            other => bail!("{other:?}"),
        }
        // The next command completes what was begun, and takes over what was not.
        drop(operator.apply(&policies[1]).exits(0));
        traffic.round()?;
        traffic.assert_counted(&operator);
        drop(operator.run(&["status", "--check"]).exits(0));
        drop(operator.run(&["detach", "--all"]).exits(0));
        assert_eq!(left_behind(), Vec::<String>::new());
        ensure!(!left()?.exists(), "the old pins are gone");
    }
    println!("{rounds} kills: {before} before the swap, {after} after it");
    Ok(())
}

/// A conversation that the host began, over either transport.
struct Talk {
    stream: TcpStream,
    socket: UdpSocket,
}

impl Talk {
    fn begin(host: &Namespace, server: SocketAddr) -> Result<Self> {
        host.within(|| {
            let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Self { stream, socket })
        })
    }

    fn go_on(&mut self, word: &[u8; 4]) -> Result<()> {
        let mut answer = [0; 4];
        self.stream.write_all(word)?;
        self.stream.read_exact(&mut answer)?;
        ensure!(&answer == word, "over TCP");
        self.socket.send(word)?;
        self.socket.recv(&mut answer)?;
        ensure!(&answer == word, "over UDP");
        Ok(())
    }
}

#[test]
fn conversations_of_this_host_go_on_when_a_new_abi_takes_over() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let previous = operator.of_the_previous_abi()?;
    let outside = SocketAddr::new(Ip::V4.address(2), 7);
    let _tcp = EchoServer::start(&neighbour, Protocol::Tcp, outside)?;
    let _udp = EchoServer::start(&neighbour, Protocol::Udp, outside)?;
    let closed = policy(&[interface("edge0", &[])]);
    drop(previous.apply(&closed).exits(0));
    let mut talk = Talk::begin(lab.host(), outside)?;
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
                let mut talk = Talk::begin(lab.host(), outside)?;
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
    let traffic = Traffic::new(&peer, "peer1")?;
    drop(previous.apply(&policies()[0].replace("edge0", "edge1")).exits(0));
    traffic.send(&traffic.packets[0].0)?;
    drop(operator.apply(&policies()[0]).exits(0).prints("edge1: detached"));
    drop(operator.run(&["counters", "--archived"]).exits(0).prints("edge1").prints(&BATCH.to_string()));

    // What is left of an interface that is gone is archived.
    drop(operator.run(&["detach", "--all"]).exits(0));
    drop(previous.apply(&policies()[0].replace("edge0", "edge1")).exits(0));
    traffic.send(&traffic.packets[0].0)?;
    lab.host().run("ip", &["link", "delete", "edge1"])?;
    drop(operator.apply(&policies()[0]).exits(0));
    drop(operator.run(&["counters", "--archived"]).exits(0).prints("edge1").prints(&BATCH.to_string()));
    ensure!(!Lab::bpffs().join(format!("portcullis/v{}", abi::VERSION - 1)).exists());
    Ok(())
}
