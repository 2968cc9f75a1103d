//! A flood over veth while policies are applied and the counters are read: every packet is judged once, by
//! one generation or the other, and the port that both keep open loses none.
//!
//! Nothing else is on the link: no addresses, no ARP, no IPv6. The sender waits for the receiver after
//! every batch, so that veth's queue never overflows; what was sent must then be what was counted.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis::datapath::{Attachment, Totals};
use portcullis_common::slot::{FIRST_RULE, Reason, Slot};
use portcullis_tests::{
    assembly::Generator,
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Operator, attachment, lab},
    packet::{Frame, Ip},
    running::PATIENCE,
};

use crate::times;

/// Packets between two looks at the counters; veth queues 256.
const BATCH: u32 = 192;
/// Above every slot that is used here.
const END: u32 = FIRST_RULE as u32 + 8;

/// The policies take turns: 443 is open in both, 1000 in the first, 2000 in the second, 444 in none.
fn policies() -> [String; 2] {
    let of = |allows: &[String]| policy(&[interface("edge0", allows)]);
    let both = allow("both", "tcp", "443");
    [
        of(&[both.clone(), allow("first", "udp", "1000")]),
        // The same rules in another place of the file.
        of(&[allow("second", "udp", "2000"), both]),
    ]
}

/// What is sent in turn, with how many packets of it were.
struct Traffic {
    generator: Generator,
    packets: [(Vec<u8>, AtomicU64); 4],
}

impl Traffic {
    fn new(interface: &str) -> Result<Self> {
        let frames = [
            Frame::syn(Ip::V4, 443),
            Frame::udp(Ip::V4, 1_000),
            Frame::udp(Ip::V6, 2_000),
            Frame::syn(Ip::V6, 444),
        ];
        let packets = frames.map(|frame| (frame.bytes(), AtomicU64::new(0)));
        Ok(Self { generator: Generator::new(interface)?, packets })
    }

    fn sent(&self) -> u64 {
        self.packets.iter().map(|(_, count)| count.load(SeqCst)).sum()
    }

    /// Sends a batch of each packet, and after each waits until all of it was counted; until it is over.
    fn flood(&self, attachment: &Attachment, over: &AtomicBool) -> Result<()> {
        let mut before = totals(attachment)?;
        while !over.load(Relaxed) {
            for (frame, count) in &self.packets {
                self.generator.send(frame, BATCH)?;
                count.fetch_add(BATCH.into(), SeqCst);
                let since = Instant::now();
                while before.sum().packets != self.sent() {
                    let after = totals(attachment)?;
                    let lower = |slot: &Slot| after.of(*slot).packets < before.of(*slot).packets;
                    if let Some(slot) = (0..Slot::try_from(END)?).find(lower) {
                        anyhow::bail!("slot {slot} went from {:?} to {:?}", before.of(slot), after.of(slot));
                    }
                    let (counted, sent) = (after.sum().packets, self.sent());
                    ensure!(counted <= sent, "{counted} packets counted of {sent} sent");
                    ensure!(since.elapsed() < PATIENCE, "{} packets were never counted", sent - counted);
                    before = after;
                    std::thread::yield_now();
                }
            }
        }
        Ok(())
    }
}

/// What was counted so far, by whichever generation.
fn totals(attachment: &Attachment) -> Result<Totals> {
    attachment.totals(END)?.context("the counters are pinned")
}

/// Holds: policy 1, readme atomic, readme counted-once.
#[test]
fn no_packet_is_lost_or_counted_twice_while_policies_are_applied() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let operator = Operator::new(&lab)?;
    let reloads = times(20, 1_000);
    let policies = policies();
    drop(operator.apply(&policies[0]).exits(0).prints("native XDP"));
    let attachment = attachment("edge0", Lab::bpffs());
    let traffic = peer.within(|| Traffic::new("peer0"))?;

    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let longest = std::thread::scope(|scope| {
        let flood = scope.spawn(|| peer.within(|| traffic.flood(&attachment, &over)));
        // Some of each under every policy, or until the flood has failed.
        let flooded = || {
            let enough = traffic.sent() + 8 * u64::from(BATCH);
            while traffic.sent() < enough && !flood.is_finished() {
                std::thread::yield_now();
            }
        };
        let mut longest = Duration::ZERO;
        let reloaded = (1..=reloads).try_for_each(|n| {
            flooded();
            let since = Instant::now();
            let ran = operator.apply(&policies[usize::from(n % 2 == 1)]);
            longest = longest.max(since.elapsed());
            ensure!(ran.code == Some(0), "{ran}");
            Ok(())
        });
        flooded();
        over.store(true, Relaxed);
        flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        reloaded.map(|()| longest)
    })?;

    let totals = totals(&attachment)?;
    let sent = traffic.packets.each_ref().map(|(_, count)| count.load(SeqCst));
    println!(
        "{reloads} reloads in {:.1} s, the longest in {longest:.1?}; {} packets sent, {sent:?} by port",
        begun.elapsed().as_secs_f64(),
        traffic.sent(),
    );
    operator.show("edge0", "flood");
    assert_eq!(totals.sum().packets, sent.iter().sum::<u64>(), "every packet once");
    let bytes =
        traffic.packets.iter().map(|(frame, count)| frame.len() as u64 * count.load(SeqCst)).sum::<u64>();
    assert_eq!(totals.sum().bytes, bytes, "every byte once");
    let packets = |name| operator.packets("edge0", name);
    assert_eq!(packets("both"), sent[0], "the port that stays open loses none");
    assert_eq!(packets(Reason::UndocumentedTcp.name()), sent[3], "the port that stays closed lets none in");
    let (first, second) = (packets("first"), packets("second"));
    let closed = packets(Reason::UndocumentedUdp.name());
    assert_eq!(closed, sent[1] - first + sent[2] - second, "the others are open or not");
    assert!(first > 0 && first < sent[1] && second > 0 && second < sent[2], "both policies judged");
    Ok(())
}
