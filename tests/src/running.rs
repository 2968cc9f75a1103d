//! A command that goes on until it is stopped, and what it prints meanwhile.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long anything that must happen may take, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running command; killed when dropped.
pub struct Running {
    child: Child,
    /// Standard input, where it is a pipe.
    input: Option<ChildStdin>,
    /// Lines of standard output.
    printed: Receiver<String>,
    /// Lines of standard error.
    complained: Receiver<String>,
    /// What was read so far, for whoever must find out why a test failed.
    seen: Vec<String>,
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be started");
        let printed = follow(child.stdout.take().expect("it is a pipe"));
        let complained = follow(child.stderr.take().expect("it is a pipe"));
        let input = child.stdin.take();
        Self { child, input, printed, complained, seen: Vec::new() }
    }

    /// Writes a line to standard input.
    ///
    /// # Panics
    ///
    /// Where that is no pipe, or was closed.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input is a pipe");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the command reads its input");
    }

    /// Closes standard input.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// The next line of standard output that is `wanted`; those before it are passed over.
    ///
    /// # Panics
    ///
    /// Where none comes in time.
    #[track_caller]
    pub fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        next(&self.printed, &mut self.seen, wanted)
    }

    /// The next line of standard error that is `wanted`.
    ///
    /// # Panics
    ///
    /// As [`Self::line`].
    #[track_caller]
    pub fn complaint(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        next(&self.complained, &mut self.seen, wanted)
    }

    /// The next event of this kind, of those that the agent prints as JSON lines.
    ///
    /// # Panics
    ///
    /// As [`Self::line`], and on a line that is no JSON or has no time.
    #[track_caller]
    pub fn event(&mut self, kind: &str) -> Value {
        let parse = |line: &str| -> Value {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(event["time"].as_f64().is_some_and(|time| time > 1e9), "no time in {line}");
            event
        };
        parse(&self.line(|line| parse(line)["event"] == kind))
    }

    /// Whether it has printed a line that is `unwanted` on standard error, of those that were not read
    /// yet. Does not wait.
    pub fn has_complained(&mut self, unwanted: impl Fn(&str) -> bool) -> bool {
        let mut lines = self.complained.try_iter();
        lines.any(|line| unwanted(&line))
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// Where the command has already ended.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().try_into().expect("process identifiers are small"));
        kill(process, signal).expect("the command is running");
    }

    /// Waits until the command ends by itself.
    ///
    /// # Panics
    ///
    /// Where it does not.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its output ends with it: wait for that instead of asking again and again.
        loop {
            match self.printed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().expect("a child can be waited for");
                }
                Err(RecvTimeoutError::Timeout) => panic!("still running after:\n{}", self.seen.join("\n")),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; both are fine then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver): (Sender<String>, _) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[track_caller]
fn next(lines: &Receiver<String>, seen: &mut Vec<String>, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                seen.push(line.clone());
                if wanted(&line) {
                    return line;
                }
            }
            Err(error) => {
                panic!("the line that was waited for did not come ({error}) after:\n{}", seen.join("\n"))
            }
        }
    }
}
