//! A flood over veth while policies are applied and the counters are read: every packet is judged once, by
//! one generation or the other, and the port that both keep open loses none.
//!
//! Nothing else is on the link: no addresses, no ARP, no IPv6. The sender waits for the receiver after
//! every batch, so that veth's queue never overflows; what was sent must then be what was counted.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis::datapath::{Attachment, Totals};
use portcullis_common::slot::{FIRST_RULE, Slot};
use portcullis_tests::{
    lab::Lab,
    operator::{Operator, attachment, lab},
};

use crate::{
    batches::{BATCH, Batches, policies},
    times,
};

/// Above every slot that is used here.
const END: u32 = FIRST_RULE as u32 + 8;

/// Sends and counts until it is over; no counter goes down meanwhile.
fn flood(batches: &Batches, attachment: &Attachment, over: &AtomicBool) -> Result<()> {
    let mut before = totals(attachment)?;
    while !over.load(Relaxed) {
        batches.round(|| {
            let after = totals(attachment)?;
            let lower = |slot: &Slot| after.of(*slot).packets < before.of(*slot).packets;
            if let Some(slot) = (0..Slot::try_from(END)?).find(lower) {
                bail!("slot {slot} went from {:?} to {:?}", before.of(slot), after.of(slot));
            }
            before = after;
            Ok(before.sum().packets)
        })?;
    }
    Ok(())
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
    let batches = Batches::new(&peer, "peer0")?;

    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let longest = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&batches, &attachment, &over));
        // Some of each under every policy, or until the flood has failed.
        let flooded = || {
            let sent = || batches.sent().iter().sum::<u64>();
            let enough = sent() + 8 * u64::from(BATCH);
            while sent() < enough && !flood.is_finished() {
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

    let sent = batches.sent();
    println!(
        "{reloads} reloads in {:.1} s, the longest in {longest:.1?}; {} packets sent, {sent:?} by port",
        begun.elapsed().as_secs_f64(),
        sent.iter().sum::<u64>(),
    );
    operator.show("edge0", "flood");
    let [first, second] = batches.assert_counted(&operator);
    assert!(first > 0 && first < sent[1] && second > 0 && second < sent[2], "both policies judged");
    Ok(())
}
