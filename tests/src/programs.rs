//! Programs that others wrote, at work in the lab: found once, and gone with the test however it ends.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use xtask::{
    debian::{self, Program},
    places::Places,
    skip::{Need, skip},
};

use crate::{
    lab::Namespace,
    operator::Ran,
    running::{PATIENCE, Running},
};

/// How often is looked whether a condition holds.
const POLL: Duration = Duration::from_millis(20);

/// The programs that a test needs.
pub struct Programs(BTreeMap<&'static str, Program>);

impl Programs {
    /// Finds programs, or says which is missing, and gives nothing.
    #[must_use]
    pub fn find(needed: &[&'static str]) -> Option<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in one");
        let places = Places::from_environment(workspace);
        let mut found = BTreeMap::new();
        for name in needed {
            let Some(program) = debian::find(&places, name) else {
                let reason =
                    format!("`{name}` is missing; `cargo xtask setup` unpacks it from Debian's package");
                skip(Need::Program((*name).to_owned()), &reason);
                return None;
            };
            found.insert(*name, program);
        }
        Some(Self(found))
    }

    /// Where a program lies that needs no libraries but the system's, and ends by itself.
    ///
    /// # Panics
    ///
    /// Where the program was not asked for.
    #[must_use]
    pub fn path(&self, name: &str) -> &Path {
        &self.0.get(name).unwrap_or_else(|| panic!("{name} was not asked for")).path
    }

    /// A program in a namespace, ready for arguments. It runs in process namespaces of its own: when it is
    /// killed, so is everything that it started; and it is killed with the test's thread.
    ///
    /// # Panics
    ///
    /// Where the program was not asked for.
    #[must_use]
    pub fn command(&self, namespace: &Namespace, name: &str) -> Command {
        self.wrapped(namespace, name, &[])
    }

    fn wrapped(&self, namespace: &Namespace, name: &str, wrapper: &[&str]) -> Command {
        let program = self.0.get(name).unwrap_or_else(|| panic!("{name} was not asked for"));
        let mut command = namespace.command("unshare");
        // The shell is what dies with its parent, and takes the others along: a program that gives up
        // privileges, as dnsmasq does, loses that wish (prctl(2), `PR_SET_PDEATHSIG`).
        command.args(["--pid", "--fork", "--kill-child", "--", "sh", "-c", "\"$@\"; exit $?", "sh"]);
        command.args(wrapper).arg(&program.path);
        command.stdin(Stdio::null());
        if let Some(libraries) = &program.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // SAFETY: between fork and exec only `prctl`, a plain system call, is made.
        unsafe {
            command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
        }
        command
    }

    /// Starts a program that goes on until it is dropped.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    #[must_use]
    pub fn start(&self, namespace: &Namespace, name: &str, args: &[&str]) -> Running {
        let mut command = self.command(namespace, name);
        command.args(args);
        Running::start(command)
    }

    /// Runs a program to its end, or kills it after so many seconds: its exit code is 124 then.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    #[must_use]
    pub fn run(&self, namespace: &Namespace, name: &str, seconds: u32, args: &[&str]) -> Ran {
        let mut command = self.wrapped(namespace, name, &["timeout", &seconds.to_string()]);
        command.args(args);
        Ran::of(command)
    }
}

/// A condition that must come true soon.
///
/// # Panics
///
/// Where it does not.
#[track_caller]
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what} did not come in {PATIENCE:?}");
        thread::sleep(POLL);
    }
}

/// Waits until some program of a namespace has a socket on this port.
///
/// # Panics
///
/// Where none has in time, or iproute2 is missing.
#[track_caller]
pub fn listens(namespace: &Namespace, port: u16) {
    let filter = format!("sport = :{port}");
    let args = ["--no-header", "--listening", "--numeric", "--tcp", "--udp", &filter];
    soon(&format!("a socket on port {port}"), || {
        !namespace.run("ss", &args).expect("ss lists sockets").is_empty()
    });
}
