//! A flood over veth while the programs are swapped and the counters are read: every packet is judged
//! once, by one generation or the other, and the port that both keep open loses none.
//!
//! Nothing else is on the link: no addresses, no ARP, no IPv6. The sender waits for the receiver after
//! every batch, so that veth's queue never overflows; what was sent must then be what was counted.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    compile,
    datapath::{Attached, Attachment, LoadOptions, Mode, Pins, Programs},
};
use portcullis_common::slot::{FIRST_RULE, Reason, Slot};
use portcullis_tests::{
    assembly::Generator,
    judge,
    lab::Lab,
    packet::{Frame, Ip},
    rules,
};

/// Swaps under load.
const SWAPS: u64 = 20;
/// Packets that are at least sent during each.
const AT_LEAST: u64 = 100_000;
/// Packets after which a swap that has not ended is taken for stuck.
const AT_MOST: u64 = 5_000_000;
/// Packets between two looks at the counters; veth queues 256.
const BATCH: u32 = 192;
/// How long the last batch may be on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The generations take turns. Rules keep their slots: 443 is open in both, 1000 in the first, 2000 in
/// the second.
const GENERATIONS: [(&str, [Slot; 2]); 2] = [
    ("tcp/443\n udp/1000", [FIRST_RULE, FIRST_RULE + 1]),
    ("tcp/443\n udp/2000", [FIRST_RULE, FIRST_RULE + 2]),
];
const END: u32 = FIRST_RULE as u32 + 3;

fn load(generation: u64, pins: &Pins) -> Result<Programs> {
    let (text, slots) = GENERATIONS[usize::from(generation % 2 == 1)];
    let compiled = compile::compile(&rules::parse(text), &slots)?;
    let options = LoadOptions { dhcp: false, ..judge::options() };
    Ok(Programs::load(&compiled.tables, &options, Some(pins))?)
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

    /// Sends a batch of one packet and waits until all of it was counted.
    fn batch(&self, which: usize, attachment: &Attachment) -> Result<()> {
        let (frame, count) = &self.packets[which];
        self.generator.send(frame, BATCH)?;
        count.fetch_add(BATCH.into(), SeqCst);
        let since = Instant::now();
        loop {
            let counted = total(attachment)?;
            let sent = self.sent();
            ensure!(counted <= sent, "{counted} packets counted of {sent} sent");
            if counted == sent {
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "{} packets were never counted", sent - counted);
            std::thread::yield_now();
        }
    }
}

/// All packets that were counted so far, by whichever generation.
fn total(attachment: &Attachment) -> Result<u64> {
    let totals = attachment.totals(END)?.context("the counters are pinned")?;
    Ok(totals.sum().packets)
}

#[test]
fn no_packet_is_lost_or_counted_twice_while_generations_are_swapped() -> Result<()> {
    let Some(lab) = Lab::enter_as_root()? else { return Ok(()) };
    let peer = lab.silent_neighbour("edge0", "peer0")?;
    let pins = Pins::new(&Lab::bpffs(), "edge0");
    let attachment = Attachment::new("edge0", pins.clone());
    attachment.prepare(false)?;
    let attached = attachment.attach(&mut load(0, &pins)?)?;
    assert_eq!(attached, Attached::New { mode: Mode::Native, fallback: None });

    let traffic = peer.within(|| Traffic::new("peer0"))?;
    // Of each swap: loaded, so flood; flooding, so swap; both done.
    let turn = Barrier::new(2);
    let swapped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| peer.within(|| flood(&traffic, &attachment, &turn, &swapped)));
        let mut result = Ok(());
        for generation in 1..=SWAPS {
            let programs = load(generation, &pins);
            turn.wait();
            let attached =
                programs.and_then(|mut programs| Ok(attachment.attach(&mut programs)? == Attached::Replaced));
            swapped.store(true, SeqCst);
            turn.wait();
            swapped.store(false, SeqCst);
            // The flood goes on to the end, or it would wait for ever.
            result = result.and(attached.and_then(|replaced| {
                ensure!(replaced, "swap {generation} attached anew");
                Ok(())
            }));
        }
        let flooded = flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(flooded)
    })?;

    let totals = attachment.totals(END)?.context("the counters are pinned")?;
    let sent = traffic.packets.each_ref().map(|(_, count)| count.load(SeqCst));
    println!(
        "{} packets sent, {sent:?} by port; counted: {:?}",
        traffic.sent(),
        totals.used().collect::<Vec<_>>()
    );
    let packets = |slot| totals.of(slot).packets;
    let (first, second) = (packets(FIRST_RULE + 1), packets(FIRST_RULE + 2));
    assert_eq!(totals.sum().packets, sent.iter().sum::<u64>(), "every packet once");
    assert_eq!(packets(FIRST_RULE), sent[0], "the port that stays open loses none");
    assert_eq!(
        packets(Reason::UndocumentedUdp.slot()),
        sent[1] - first + sent[2] - second,
        "UDP is open or not"
    );
    assert_eq!(packets(Reason::UndocumentedTcp.slot()), sent[3], "the closed port stays closed");
    let unused: Vec<_> = totals
        .used()
        .filter(|(slot, _)| {
            !(FIRST_RULE..FIRST_RULE + 3).contains(slot) && *slot > Reason::UndocumentedUdp.slot()
        })
        .collect();
    assert!(unused.is_empty(), "nothing else was counted: {unused:?}");
    let bytes =
        traffic.packets.iter().map(|(frame, count)| frame.len() as u64 * count.load(SeqCst)).sum::<u64>();
    assert_eq!(totals.sum().bytes, bytes, "every byte once");
    assert!(first > 0 && first < sent[1] && second > 0 && second < sent[2], "both generations judged");
    Ok(())
}

/// Sends during each swap, and for as long again as it takes to see the new generation at work.
fn flood(traffic: &Traffic, attachment: &Attachment, turn: &Barrier, swapped: &AtomicBool) -> Result<()> {
    let mut result = Ok(());
    for _ in 0..SWAPS {
        let before = traffic.sent();
        let mut which = 0;
        let mut batch = || {
            which = (which + 1) % traffic.packets.len();
            traffic.batch(which, attachment)
        };
        // A batch of each before the swap, so that it begins under load.
        result = result.and_then(|()| (0..4).try_for_each(|_| batch()));
        turn.wait();
        while result.is_ok() && !(swapped.load(SeqCst) && traffic.sent() - before >= AT_LEAST) {
            result = batch();
            let during = traffic.sent() - before;
            if result.is_ok() && during > AT_MOST {
                result = Err(anyhow::anyhow!("the swap did not end within {during} packets"));
            }
        }
        // A batch of each behind it.
        result = result.and_then(|()| (0..4).try_for_each(|_| batch()));
        turn.wait();
    }
    result
}
