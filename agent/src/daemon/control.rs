//! The control socket: what commands ask of the running agent.
//!
//! One request and one answer a connection, each one line of JSON, over `<state>/control.sock` with mode
//! 0600. Root and the agent's own user are answered, by the credentials that the kernel tells
//! (`SO_PEERCRED` of unix(7)); everybody else is hung up on. A request is short and comes at once, or not
//! at all.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream as Blocking},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, listen as listen_on, socket},
        stat::{Mode, fchmod},
    },
    unistd::Uid,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::work::Busy;
use crate::{
    datapath::chain,
    files::{self, Held},
    guard::Cut,
    host::Session,
    problem::Complaint,
    schema::Formed,
};

/// Longest request: a hundred bytes for each session that the caller may be working in.
const MAX_REQUEST: u64 = 16 << 10;
/// Longest answer that a command reads: hundreds of bytes for each interface.
const MAX_ANSWER: u64 = 16 << 20;
/// How long whoever connects may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a command waits for its answer: a reload may wait for another command to end.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted.
const QUEUE: i32 = 128;
/// Connections at a time; others wait in the socket's queue.
const CONNECTIONS: usize = 8;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Read the policy file again now.
    Reload(Reload),
    /// Tell what is watched.
    Status,
}

/// How the policy file is to be read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// The sessions that the caller may be working in. What the kernel says of its process counts more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
    /// Apply it even if it locks somebody out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Only try it for so many seconds, unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<f64>,
}

/// A trial that a reload has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// How long it goes on, in seconds.
    pub seconds: f64,
    /// The conversations of which one must be heard for the policy to be kept; none where somebody must
    /// confirm it.
    pub waits_for: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// What came of a reload.
    Reload {
        /// Interfaces with the generation that is in place now.
        applied: Vec<(String, u64)>,
        /// Why the policy was refused; the one before it goes on then.
        errors: Vec<Complaint>,
        /// Whether the policy is not valid, rather than refused by the kernel or the guard.
        invalid: bool,
        /// What the policy cuts, or would.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cuts: Vec<Cut>,
        /// The trial that it is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial: Option<Trial>,
    },
    /// What the agent watches.
    Status(Status),
    /// The request is not understood.
    Misunderstood {
        /// Why.
        error: String,
    },
}

/// What the agent watches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// For how many seconds it has been running.
    pub uptime: u64,
    /// Its policy file.
    pub policy: String,
    /// What it is doing right now; the rest is then as it was before.
    #[serde(default)]
    pub busy: Option<Busy>,
    /// Why that file, as it is now, is refused; the policy before it goes on.
    pub refused: Option<String>,
    /// Every interface of the policy.
    pub interfaces: Vec<Watched>,
}

/// One interface that the agent watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Its name.
    pub interface: String,
    /// How it stands.
    pub standing: Standing,
    /// Why it is not protected, or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a watched interface stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is protected.
    Protected,
    /// It is there and is not protected.
    Unprotected,
    /// It is not there.
    Awaited,
    /// It cannot be judged, and only a pattern covers it.
    Skipped,
}

/// Asks the agent that runs with this state folder; `None` where none does.
///
/// # Errors
///
/// Where there is one that does not answer, or may not be asked.
pub fn ask(state: &Path, request: &Request) -> Result<Option<Answer>> {
    let path = path(state);
    let failed = || format!("the agent at {} cannot be asked", path.display());
    let Some(mut stream) = connect(&path).with_context(failed)? else { return Ok(None) };
    stream.set_write_timeout(Some(PATIENCE)).with_context(failed)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).with_context(failed)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut answer = String::new();
    let asked =
        stream.write_all(&line).and_then(|()| BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer));
    let hung_up = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
    };
    if asked.as_ref().err().is_some_and(hung_up) || matches!(asked, Ok(0)) {
        bail!("the agent at {} hung up: it answers root and its own user", path.display());
    }
    asked.with_context(failed)?;
    serde_json::from_str(&answer).map(Some).with_context(failed)
}

/// Connects to the socket that lies at a path; `None` where nobody listens.
fn connect(path: &Path) -> io::Result<Option<Blocking>> {
    let Some(socket) = Held::existing(path)? else { return Ok(None) };
    match Blocking::connect(socket.path()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Makes the socket with its mode, so that there is no moment at which others could connect, and no name
/// whose mode is changed afterwards.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The name takes the mode that the socket has (`unix_bind_bsd` in net/unix/af_unix.c).
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let name = Held::new_name(path)?;
    nix::sys::socket::bind(fd.as_raw_fd(), &UnixAddr::new(name.path())?)?;
    listen_on(&fd, Backlog::new(QUEUE)?)?;
    UnixListener::from_std(fd.into())
}

fn path(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// The agent's end of the socket; the name goes with it.
pub(super) struct Control {
    path: PathBuf,
    requests: mpsc::Receiver<Asked>,
}

/// A request, the process that it comes from, and where its answer goes.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) process: Option<i32>,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Control {
    /// Begins to listen. The state folder is there.
    pub(super) fn new(state: &Path) -> Result<Self> {
        let path = path(state);
        let failed = || format!("cannot listen on {}", path.display());
        if connect(&path).is_ok_and(|answers| answers.is_some()) {
            bail!("another agent is running already: it answers on {}", path.display());
        }
        match files::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(failed),
            _ => {}
        }
        let listener = bind(&path).with_context(failed)?;
        let (sender, requests) = mpsc::channel(CONNECTIONS);
        tokio::spawn(listen(listener, sender));
        Ok(Self { path, requests })
    }

    /// The next request.
    pub(super) async fn asked(&mut self) -> Asked {
        match self.requests.recv().await {
            Some(asked) => asked,
            // The listener ends with the runtime alone.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that is left behind is told from one that is in use when the next agent starts.
        let _ = files::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, sender: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &sender).await {
                        log::warn!("control socket: {}", chain(error.as_ref()));
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Too many open files, for example; it passes.
                log::warn!("control socket: {error}");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, sender: &mpsc::Sender<Asked>) -> Result<()> {
    let peer = stream.peer_cred().context("cannot tell who asks")?;
    let (user, process) = (peer.uid(), peer.pid().filter(|process| *process > 0));
    if user != 0 && user != Uid::effective().as_raw() {
        bail!("the user with number {user} may not ask");
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(read.take(MAX_REQUEST));
    timeout(PATIENCE, reader.read_line(&mut line)).await.context("whoever connected asked nothing")??;
    if line.is_empty() {
        // Only to see whether somebody listens.
        return Ok(());
    }
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            sender.send(Asked { request, process, answer }).await.context("the agent is stopping")?;
            answered.await.context("the agent is stopping")?
        }
        Err(error) => Answer::Misunderstood { error: error.to_string() },
    };
    let mut line = serde_json::to_vec(&Formed::new(&answer))?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await.context("whoever asked does not read the answer")??;
    Ok(())
}
