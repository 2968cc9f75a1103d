//! How long a conversation is remembered, of which nothing more is heard.

use std::time::Duration;

use anyhow::Result;
use aya::maps::{Array, MapData};
use portcullis::{
    datapath::{LoadOptions, ticks},
    evaluate::{Evaluator, Verdict},
    policy::{Enforcement, Flows, Settings},
};
use portcullis_common::{abi::map, flow::Set, slot::Reason};
use portcullis_tests::{
    host::Host,
    judge::{self, Judge},
    lab::Lab,
    packet::Ip,
    rules, splice,
};

use crate::{echo, sctp, sent, tcp, udp};

/// Bits of a flow's life that hold its time.
const TICKS: u64 = (1 << 40) - 1;

/// Short timeouts, each another one.
fn short() -> LoadOptions {
    let seconds = Duration::from_secs;
    let flows = Flows {
        tcp_opening: seconds(60),
        tcp_established: seconds(200),
        tcp_closing: seconds(40),
        udp: seconds(30),
        sctp: seconds(50),
        echo: seconds(20),
        ..judge::settings().flows
    };
    LoadOptions::with(Settings { flows, dhcp: false, ..judge::settings() })
}

/// What happens in a conversation.
#[derive(Clone)]
enum Step {
    /// The host sends it.
    Sends(Vec<u8>),
    /// It arrives, and must have this verdict.
    Receives(Vec<u8>, Reason),
    /// So many seconds pass.
    Passes(u64),
}

/// What happens in one, and what that shows.
type Course = (&'static str, Vec<Step>);

/// Holds: policy 8.
#[test]
fn a_silent_conversation_ends() -> Result<()> {
    use Step::{Passes, Receives, Sends};
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let no = Reason::UndocumentedTcp;
    let yes = Reason::FlowTcp;
    for ip in Ip::BOTH {
        let asks = || Sends(sent(tcp(ip, 50_000, 80, true, false)));
        let answers = |reason| Receives(tcp(ip, 80, 50_000, true, true).bytes(), reason);
        let talks = |reason| Receives(tcp(ip, 80, 50_000, false, true).bytes(), reason);
        let flags = |frame: Vec<u8>, bits: u8| {
            let at = frame.len() - 18 - 20 + 13;
            splice::set(&frame, at, 0x10 | bits)
        };
        let (fin, rst) = (0x01, 0x04);
        let ends_here = || Sends(flags(sent(tcp(ip, 50_000, 80, false, true)), fin));
        let breaks_here = || Sends(flags(sent(tcp(ip, 50_000, 80, false, true)), rst));
        let ends_there = |reason| Receives(flags(tcp(ip, 80, 50_000, false, true).bytes(), fin), reason);
        let breaks_there = |reason| Receives(flags(tcp(ip, 80, 50_000, false, true).bytes(), rst), reason);
        let datagram = || Sends(sent(udp(ip, 50_000, 53)));
        let answer = |reason| Receives(udp(ip, 53, 50_000).bytes(), reason);
        let associates = || Sends(sent(sctp(ip, 50_000, 36_412)));
        let heartbeat = |reason| Receives(sctp(ip, 36_412, 50_000).bytes(), reason);
        let ping = || Sends(sent(echo(ip, true, 7)));
        let pong = |reason| Receives(echo(ip, false, 7).bytes(), reason);

        let courses: Vec<Course> = vec![
            ("an answer in time", vec![asks(), Passes(55), answers(yes)]),
            ("an answer too late", vec![asks(), Passes(65), answers(no)]),
            ("a question again", vec![asks(), Passes(50), asks(), Passes(50), answers(yes)]),
            ("talk after long silence", vec![asks(), answers(yes), Passes(190), talks(yes)]),
            ("and again", vec![asks(), answers(yes), Passes(190), talks(yes), Passes(190), talks(yes)]),
            ("too long a silence", vec![asks(), answers(yes), Passes(205), talks(no)]),
            ("anew between the same ports", vec![asks(), Passes(300), asks(), answers(yes)]),
            (
                "the host has no more to say, the other goes on",
                vec![asks(), answers(yes), ends_here(), Passes(35), talks(yes), Passes(35), talks(yes)],
            ),
            (
                "the other has no more to say, or somebody says so in its name",
                vec![asks(), answers(yes), ends_there(yes), Passes(190), talks(yes), Passes(205), talks(no)],
            ),
            (
                "and the host ends it as well, later",
                vec![asks(), answers(yes), ends_there(yes), Passes(190), ends_here(), Passes(45), talks(no)],
            ),
            (
                "both have ended: what comes late does not keep it alive",
                vec![asks(), ends_there(yes), ends_here(), Passes(35), talks(yes), Passes(10), talks(no)],
            ),
            (
                "both have ended, the host first",
                vec![asks(), ends_here(), ends_there(yes), Passes(35), talks(yes), Passes(10), talks(no)],
            ),
            (
                "broken off by the other, or by somebody in its name",
                vec![asks(), breaks_there(yes), Passes(190), talks(yes), Passes(190), talks(yes)],
            ),
            (
                "broken off in the name of the other before it answered",
                vec![asks(), breaks_there(yes), breaks_there(yes), Passes(45), answers(yes)],
            ),
            (
                "broken off by the host",
                vec![asks(), answers(yes), breaks_here(), Passes(35), talks(yes), Passes(10), talks(no)],
            ),
            (
                "anew after it was broken off",
                vec![asks(), breaks_here(), asks(), Passes(55), answers(yes), Passes(190), talks(yes)],
            ),
            ("an end of nothing", vec![ends_here(), talks(no)]),
            (
                "an end that comes too late ends nothing",
                vec![asks(), answers(yes), Passes(205), ends_here(), talks(no)],
            ),
            (
                "datagrams",
                vec![
                    datagram(),
                    Passes(25),
                    answer(Reason::FlowUdp),
                    Passes(25),
                    answer(Reason::FlowUdp),
                    Passes(32),
                    answer(Reason::UndocumentedUdp),
                    datagram(),
                    answer(Reason::FlowUdp),
                ],
            ),
            (
                "questions keep it alive as well",
                vec![datagram(), Passes(25), datagram(), Passes(25), answer(Reason::FlowUdp)],
            ),
            (
                "an association",
                vec![
                    associates(),
                    Passes(45),
                    heartbeat(Reason::FlowSctp),
                    Passes(45),
                    associates(),
                    Passes(45),
                    heartbeat(Reason::FlowSctp),
                    Passes(52),
                    heartbeat(Reason::UndocumentedSctp),
                ],
            ),
            (
                "a ping",
                vec![
                    ping(),
                    Passes(15),
                    pong(Reason::FlowEcho),
                    Passes(15),
                    pong(Reason::FlowEcho),
                    Passes(22),
                    pong(Reason::UndocumentedIcmp),
                ],
            ),
        ];
        follow(&format!("{ip:?}"), &short(), &courses)?;
    }
    Ok(())
}

/// What is remembered for how many seconds after these steps, what is received then, and its reasons in time and late.
type Remembered = (&'static str, u64, Vec<Step>, Box<dyn Fn(Reason) -> Step>, [Reason; 2]);

/// With the times that the policy's language names where it sets none.
///
/// Holds: policy 8.
#[test]
fn a_conversation_is_remembered_for_the_times_that_are_documented() -> Result<()> {
    use Step::{Passes, Receives, Sends};
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    /// Seconds on either side of the time: the tick, and what the test itself takes.
    const NEAR: u64 = 20;
    const MINUTE: u64 = 60;
    let options = LoadOptions::with(Settings { dhcp: false, ..judge::settings() });
    let ip = Ip::V4;
    let asks = move || Sends(sent(tcp(ip, 50_000, 80, true, false)));
    let answers = move |reason| Receives(tcp(ip, 80, 50_000, true, true).bytes(), reason);
    let (fin, rst) = (0x01, 0x04);
    let flags = |frame: Vec<u8>, bits: u8| {
        let at = frame.len() - 18 - 20 + 13;
        splice::set(&frame, at, 0x10 | bits)
    };
    let segment = move |bits| Sends(flags(sent(tcp(ip, 50_000, 80, false, true)), bits));
    let comes = move |bits| Receives(flags(tcp(ip, 80, 50_000, false, true).bytes(), bits), Reason::FlowTcp);
    let yes = Reason::FlowTcp;
    let begun: Vec<Remembered> = vec![
        (
            "established TCP",
            124 * MINUTE,
            vec![asks(), answers(yes)],
            Box::new(answers),
            [yes, Reason::UndocumentedTcp],
        ),
        ("opening TCP", 4 * MINUTE, vec![asks()], Box::new(answers), [yes, Reason::UndocumentedTcp]),
        (
            "TCP that this host has ended",
            4 * MINUTE,
            vec![asks(), answers(yes), segment(fin)],
            Box::new(answers),
            [yes, Reason::UndocumentedTcp],
        ),
        (
            "TCP that this host has broken off",
            4 * MINUTE,
            vec![asks(), answers(yes), segment(rst)],
            Box::new(answers),
            [yes, Reason::UndocumentedTcp],
        ),
        (
            "TCP that both have ended",
            4 * MINUTE,
            vec![asks(), answers(yes), comes(fin), segment(fin)],
            Box::new(answers),
            [yes, Reason::UndocumentedTcp],
        ),
        (
            "UDP",
            5 * MINUTE,
            vec![Sends(sent(udp(ip, 50_000, 53)))],
            Box::new(|reason| Receives(udp(Ip::V4, 53, 50_000).bytes(), reason)),
            [Reason::FlowUdp, Reason::UndocumentedUdp],
        ),
        (
            "SCTP",
            5 * MINUTE,
            vec![Sends(sent(sctp(ip, 50_000, 36_412)))],
            Box::new(|reason| Receives(sctp(Ip::V4, 36_412, 50_000).bytes(), reason)),
            [Reason::FlowSctp, Reason::UndocumentedSctp],
        ),
        (
            "a ping",
            MINUTE,
            vec![Sends(sent(echo(ip, true, 7)))],
            Box::new(|reason| Receives(echo(Ip::V4, false, 7).bytes(), reason)),
            [Reason::FlowEcho, Reason::UndocumentedIcmp],
        ),
    ];
    for (says, time, steps, receives, [in_time, late]) in begun {
        let course = |passes, reason| {
            let mut course: Vec<Step> = steps.clone();
            course.extend([Passes(passes), receives(reason)]);
            (says, course)
        };
        follow(says, &options, &[course(time - NEAR, in_time), course(time + NEAR, late)])?;
    }
    Ok(())
}

/// Holds: policy 8.
#[test]
fn what_passed_without_a_rule_is_remembered_for_half_a_minute() -> Result<()> {
    use Step::{Passes, Receives, Sends};
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let options =
        LoadOptions::with(Settings { mode: Enforcement::Observe, dhcp: false, ..judge::settings() });
    for ip in Ip::BOTH {
        let comes = |reason| Receives(udp(ip, 53, 50_000).bytes(), reason);
        let leaves = || Sends(sent(udp(ip, 50_000, 53)));
        let (no, own) = (Reason::UndocumentedUdp, Reason::FlowUdp);
        follow(
            &format!("{ip:?}"),
            &options,
            &[
                ("what answers it begins nothing", vec![comes(no), Passes(20), leaves(), comes(no)]),
                ("later it is a question of this host's", vec![comes(no), Passes(40), leaves(), comes(own)]),
            ],
        )?;
    }
    Ok(())
}

/// Has the kernel and the model go through what happens in each conversation, one after the other.
fn follow(about: &str, options: &LoadOptions, courses: &[Course]) -> Result<()> {
    let rules = rules::parse("");
    let mut host = Host::new(&rules, options)?;
    for (says, steps) in courses {
        let mut seconds = Duration::ZERO;
        clear(&mut host.kernel)?;
        host.model = Evaluator::new(&rules, options.settings);
        for step in steps {
            match step {
                Step::Sends(frame) => {
                    host.model.leaving(frame, seconds);
                    host.kernel.leaving(frame)?;
                }
                Step::Passes(more) => {
                    seconds += Duration::from_secs(*more);
                    age(&mut host.kernel, Duration::from_secs(*more))?;
                }
                Step::Receives(frame, reason) => {
                    let verdict = Verdict::Reason(*reason);
                    let model = host.model.arriving(frame, seconds);
                    assert_eq!(model, verdict, "the model: {about} {says}, after {seconds:?}");
                    if let Err(other) = host.kernel.alone(frame, verdict)? {
                        panic!("the kernel: {about} {says}, after {seconds:?}: {other}");
                    }
                }
            }
        }
    }
    host.kernel.finish()
}

/// The flow table.
fn table(kernel: &mut Judge) -> Result<Array<&mut MapData, Set>> {
    let flows = kernel.programs().object().map_mut(map::FLOWS).expect("the object has flows");
    Ok(Array::try_from(flows)?)
}

/// Empties it.
fn clear(kernel: &mut Judge) -> Result<()> {
    let mut table = table(kernel)?;
    for index in 0..table.len() {
        if table.get(&index, 0)? != Set::default() {
            table.set(index, Set::default(), 0)?;
        }
    }
    Ok(())
}

/// Makes every flow older.
fn age(kernel: &mut Judge, by: Duration) -> Result<()> {
    let ticks = ticks(by)?;
    let mut table = table(kernel)?;
    for index in 0..table.len() {
        let mut set = table.get(&index, 0)?;
        if set == Set::default() {
            continue;
        }
        for entry in &mut set {
            if entry.key.ends != 0 {
                let state = entry.life.state();
                entry.life = entry.life.with(state, (entry.life.0 & TICKS) - ticks);
            }
        }
        table.set(index, set, 0)?;
    }
    Ok(())
}
