//! Batches of packets to ports that two policies open and close. Each is counted before the next is sent: veth queues
//! 256 packets, so nothing is lost on the way, and what was sent must be what is counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use portcullis_common::slot::Reason;
use portcullis_tests::{
    assembly::Generator,
    draft::{allow, interface, policy},
    lab::Namespace,
    operator::Operator,
    packet::{Frame, Ip},
    running::PATIENCE,
};

/// Packets between two looks at the counters.
pub(crate) const BATCH: u32 = 192;

/// 443 is open in both, 1000 in the first, 2000 in the second, 444 in none; the rule of both stands in another place.
pub(crate) fn policies() -> [String; 2] {
    let of = |allows: &[String]| policy(&[interface("edge0", allows)]);
    let both = allow("both", "tcp", "443");
    [of(&[both.clone(), allow("first", "udp", "1000")]), of(&[allow("second", "udp", "2000"), both])]
}

/// What is sent in turn, with how many packets of it were.
pub(crate) struct Batches {
    /// Where they come from.
    peer: Namespace,
    generator: Generator,
    packets: [(Vec<u8>, AtomicU64); 4],
}

impl Batches {
    pub(crate) fn new(peer: &Namespace, interface: &str) -> Result<Self> {
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

    /// How many packets to each port were sent.
    pub(crate) fn sent(&self) -> [u64; 4] {
        self.packets.each_ref().map(|(_, count)| count.load(SeqCst))
    }

    /// Forgets what was sent.
    pub(crate) fn forget(&self) {
        self.packets.iter().for_each(|(_, count)| count.store(0, SeqCst));
    }

    /// Sends a batch to the port that stays open.
    pub(crate) fn send_one(&self) -> Result<()> {
        self.send(&self.packets[0].0)
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        self.peer.within(|| self.generator.send(frame, BATCH))
    }

    /// Sends a batch of each packet, and waits after each until all that was sent is counted.
    pub(crate) fn round(&self, mut counted: impl FnMut() -> Result<u64>) -> Result<()> {
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

    /// Expects that everything that was sent is counted once, and under what it was. Gives what the rules of one
    /// policy alone have counted.
    pub(crate) fn assert_counted(&self, operator: &Operator) -> [u64; 2] {
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
        [first, second]
    }
}
