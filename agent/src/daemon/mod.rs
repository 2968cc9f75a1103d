//! The agent: keeps a policy file enforced, and tells what is counted.
//!
//! Enforcement itself needs no process; the agent only follows the file and the interfaces, applies what is
//! valid and refuses what is not, and streams events. When it stops, everything stays in place.

mod agent;
mod answers;
mod beginning;
mod changes;
mod control;
mod event;
mod follow;
mod kernel_log;
mod links;
mod manner;
mod mend;
mod routing;
mod service;
mod trials;
mod trying;
mod watch;
mod work;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{Interval, MissedTickBehavior, interval},
};

use self::{
    agent::Agent,
    control::{Asked, Control},
    event::{Event, emit},
    kernel_log::KernelLog,
    links::LinkWatch,
    manner::Asking,
    trials::Due,
    watch::FileWatch,
    work::{SHORT, Worker},
};
use crate::{
    datapath::{chain, ends_with_this_process, ensure_bpffs},
    generation::Roots,
};

pub use self::{
    control::{Answer, Reload, Request, Standing, Status, Trial, Watched, ask},
    work::Busy,
};

/// What the agent is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Policy file.
    pub policy: PathBuf,
    /// How often counters are streamed.
    pub stream: Option<Duration>,
    /// How long changed files are tried that somebody must be heard for.
    pub trial: Option<Duration>,
    /// How often they are read, so that it is known when rules counted.
    pub sample: Duration,
    /// Level of the kernel program's diagnostics; 0 is off.
    pub kernel_log_level: u8,
}

/// How often it is looked whether a trial has ended.
const TRIALS: Duration = Duration::from_secs(1);
/// How often it is looked whether something was taken away.
const WHOLE: Duration = Duration::from_millis(300);
/// How long work that was begun may take to end when the agent stops.
const STOPPING: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where the first policy cannot be applied, or standard output is gone. A later policy that cannot
/// be applied is an event, and the one before it goes on.
pub async fn run(roots: &Roots, settings: &Settings) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // Before the first reading, so that no change falls between the two.
    let mut changes = FileWatch::new(&settings.policy)?;
    let links = Arc::new(LinkWatch::new()?);
    let mut tick = settings.stream.map(ticker);
    let mut trials = ticker(TRIALS);
    let mut whole = ticker(WHOLE);
    let mut sample = ticker(settings.sample);

    let is_new = ensure_bpffs(&roots.bpffs)?;
    if ends_with_this_process(&roots.bpffs, is_new) {
        log::warn!(
            "{}: this BPF file system ends with the agent, and enforcement with it",
            roots.bpffs.display()
        );
    }
    roots.create_state()?;
    let mut control = Control::new(&roots.state)?;
    let stopping = Arc::new(AtomicBool::new(false));
    let agent = Agent::new(roots.clone(), settings.clone(), Arc::clone(&links), Arc::clone(&stopping));
    let mut told = Told::new(&agent);
    let mut kernel_log = KernelLog::default();
    let mut worker = Worker::Idle(Box::new(agent));
    // Those who asked for a reload while something else was done; those who asked how everything stands, and
    // until when that may wait for short work.
    let mut asking: VecDeque<Asking> = VecDeque::new();
    let mut looking: Vec<(oneshot::Sender<Answer>, Instant)> = Vec::new();
    let mut watchdog = service::watchdog().map(ticker);
    worker.begin("applying the policy for the first time", Agent::begin);

    loop {
        let (idle, retry) = (worker.is_idle(), worker.idle().and_then(|agent| agent.retry()));
        if !looking.is_empty() {
            if let Some(agent) = worker.idle() {
                told.look(agent);
            }
            let now = Instant::now();
            for (answer, _) in looking.extract_if(.., |(_, latest)| idle || *latest <= now) {
                // Whoever asked may have lost patience.
                let _ = answer.send(Answer::Status(told.status(worker.busy())));
            }
        }
        if worker.idle().is_some_and(|agent| !agent.is_waiting())
            && let Some(asking) = asking.pop_front()
        {
            worker.begin("reloading the policy", move |agent| agent.reload_for(asking));
            continue;
        }
        tokio::select! {
            done = worker.done() => {
                done?;
                if let Some(agent) = worker.idle() {
                    for generation in agent.followed.drain(..) {
                        kernel_log.follow(roots, generation);
                    }
                    told.tell(agent);
                }
            }
            () = links.changed(), if idle => {
                worker.begin("following the interfaces", Agent::follow_interfaces);
            }
            () = until(retry), if idle => worker.begin("trying again", Agent::try_again),
            () = changes.changed(), if idle => {
                worker.begin("reloading the policy", |agent| agent.reload(false));
            }
            _ = hangup.recv(), if idle => {
                service::reloading();
                told.is_reloading();
                worker.begin("reloading the policy", |agent| agent.reload(true));
            }
            Asked { request, process, answer } = control.asked() => match request {
                Request::Reload(request) => asking.extend(Asking::of(request, process, answer)),
                Request::Status => looking.push((answer, Instant::now() + SHORT)),
            },
            () = until(looking.first().map(|(_, latest)| *latest)), if !idle => {}
            () = next(&mut watchdog) => if worker.is_well() { service::alive() },
            () = next(&mut tick), if idle => worker.begin("streaming counters", |agent| agent.stream()),
            _ = sample.tick(), if idle => worker.begin("reading the counters", |agent| agent.sample()),
            _ = trials.tick(), if idle => {
                match worker.idle().map_or(Due::Nothing, Agent::due) {
                    Due::Nothing => {}
                    Due::Keep => worker.begin("keeping what was tried", Agent::keep_trial),
                    Due::Forget => worker.begin("noting what became of a trial", Agent::forget_trial),
                    Due::TidyUp => worker.begin("tidying up a trial", Agent::tidy_up),
                    Due::Reload => worker.begin("reloading the policy", |agent| agent.reload(true)),
                }
            }
            _ = whole.tick(), if idle => {
                if worker.idle().is_some_and(Agent::is_tampered_with) {
                    worker.begin("putting back what was taken away", Agent::mend);
                } else if worker.idle().is_some_and(Agent::forwards_otherwise) {
                    worker.begin("following what this host forwards", Agent::follow_forwarding);
                }
            }
            () = kernel_log.drain() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    service::stopping();
    stopping.store(true, Ordering::Relaxed);
    // What was begun is brought to its end; whatever does not end is as safe as if it were killed.
    match tokio::time::timeout(STOPPING, async {
        if worker.is_idle() { Ok(()) } else { worker.done().await }
    })
    .await
    {
        Ok(Err(error)) => log::warn!("{}", chain(error.as_ref())),
        Ok(Ok(())) => {}
        Err(_) => log::warn!("stopped in the middle of {}", worker.what()),
    }
    log::info!("stopped; enforcement stays in place (`portcullis detach` ends it)");
    emit(&Event::Stopped)
}

/// What the agent was last known to be like, told while it is at work.
struct Told {
    started: Instant,
    status: Status,
    /// The line that the service manager knows; none before the first policy is in place, and while it
    /// is reloaded on demand.
    summary: Option<String>,
}

impl Told {
    fn new(agent: &Agent) -> Self {
        let policy = agent.settings.policy.display().to_string();
        let status = Status { pid: std::process::id(), policy, ..Status::default() };
        Self { started: Instant::now(), status, summary: None }
    }

    fn is_reloading(&mut self) {
        self.summary = None;
    }

    /// After work: tells the service manager what changed.
    fn tell(&mut self, agent: &Agent) {
        let summary = agent.summary();
        match &self.summary {
            None => service::ready(&summary),
            Some(told) if *told != summary => service::status(&summary),
            Some(_) => {}
        }
        self.summary = Some(summary);
        self.look(agent);
    }

    /// Looks how everything stands now.
    fn look(&mut self, agent: &Agent) {
        match agent.status() {
            Ok(status) => self.status = status,
            Err(error) => log::warn!("{}", chain(error.as_ref())),
        }
    }

    fn status(&self, busy: Option<Busy>) -> Status {
        Status { uptime: self.started.elapsed().as_secs(), busy, ..self.status.clone() }
    }
}

fn ticker(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// That moment; never, where none is set.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The next tick; never, where nothing is to be streamed.
async fn next(tick: &mut Option<Interval>) {
    match tick {
        Some(tick) => {
            tick.tick().await;
        }
        None => std::future::pending().await,
    }
}
