//! An operator in the lab: runs the command as a person would, and reads what it says.
//!
//! What is run is the real binary: `PORTCULLIS` names it, or it stands beside the test's own folder,
//! where `cargo build` leaves it; missing there, it is built once.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use portcullis::{
    datapath::{Attachment, Device, namespace},
    generation::Roots,
};
use portcullis_common::abi;

use crate::lab::{Lab, Namespace};

/// Whoever works on the protected host of a lab.
pub struct Operator {
    host: Namespace,
    binary: &'static Path,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    shown: String,
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A lab of the calling test's own, or `None` without root; then says so.
///
/// # Panics
///
/// Where root cannot make a lab.
#[must_use]
pub fn lab() -> Option<Lab> {
    Lab::enter_as_root().expect("root can make a lab")
}

impl Operator {
    /// Whoever works on the protected host of `lab`.
    ///
    /// # Errors
    ///
    /// Where the binary is missing and cannot be built.
    pub fn new(lab: &Lab) -> Result<Self> {
        Ok(Self { host: lab.host().clone(), binary: binary()? })
    }

    /// The same with the command as it is with the ABI before this one: other slots, another version.
    ///
    /// # Errors
    ///
    /// Where that cannot be built.
    pub fn of_the_previous_abi(&self) -> Result<Self> {
        static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let binary = BINARY.get_or_init(|| previous_abi().map_err(|error| format!("{error:#}")));
        match binary {
            Ok(binary) => Ok(Self { host: self.host.clone(), binary }),
            Err(error) => bail!("{error}"),
        }
    }

    /// Writes a policy and gives its path, always the same.
    ///
    /// # Errors
    ///
    /// Where the lab's folder cannot be written.
    pub fn policy(&self, text: &str) -> Result<PathBuf> {
        let path = Self::policy_path();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Where [`Self::policy`] writes.
    #[must_use]
    pub fn policy_path() -> PathBuf {
        Lab::state().join("policy.toml")
    }

    /// The state folder that the commands are told.
    #[must_use]
    pub fn state() -> PathBuf {
        Lab::state().join("run")
    }

    /// The lasting folder that the commands are told.
    #[must_use]
    pub fn lasting() -> PathBuf {
        Lab::state().join("lasting")
    }

    /// The command that is under test.
    #[must_use]
    pub fn binary(&self) -> &Path {
        self.binary
    }

    /// The command with its folders set, ready for arguments.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(self.binary);
        command.args(args);
        command.env("PORTCULLIS_STATE", Self::state()).env("PORTCULLIS_BPFFS", Lab::bpffs());
        command.env("PORTCULLIS_LASTING", Self::lasting());
        // What a developer has set must not decide what is tested.
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// The command as another user with these capabilities alone, as setpriv(1) names them: `bpf,net_admin`.
    #[must_use]
    pub fn command_as(&self, user: u32, capabilities: &str, args: &[&str]) -> Command {
        let plain = self.command(args);
        let mut command = self.host.command("setpriv");
        let given: String =
            capabilities.split(',').filter(|name| !name.is_empty()).map(|name| format!(",+{name}")).collect();
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
        command.arg(format!("--inh-caps=-all{given}")).arg(format!("--ambient-caps=-all{given}"));
        command.arg("--no-new-privs").arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Writes a policy and applies it.
    ///
    /// # Panics
    ///
    /// Where the lab's folder cannot be written.
    #[must_use]
    pub fn apply(&self, text: &str) -> Ran {
        let path = self.policy(text).expect("the lab's folder can be written");
        self.run(&["apply", path.to_str().expect("the lab's paths are text")])
    }

    /// The counters of an interface, as the command gives them to programs.
    ///
    /// # Panics
    ///
    /// Where the command fails or does not print JSON.
    #[must_use]
    pub fn counters(&self, interface: &str) -> Value {
        let json = self.run(&["counters", "--json", "--interface", interface]).exits(0).json();
        json["interfaces"][0].clone()
    }

    /// What the rule or the reason of this name, or the rule of this `document:line`, has counted on an
    /// interface, in packets.
    ///
    /// # Panics
    ///
    /// As [`Self::counters`], and where there is no such rule or reason.
    #[must_use]
    pub fn packets(&self, interface: &str, name: &str) -> u64 {
        let counters = self.counters(interface);
        let named = |row: &Value| row["service"] == name || row["reason"] == name || origin(row) == name;
        let found = rows(&counters).find(|row| named(row));
        let found = found.unwrap_or_else(|| panic!("nothing is counted as `{name}` in {counters:#}"));
        found["packets"].as_u64().expect("packets are a number")
    }

    /// Prints what was counted on an interface, by rule and document line.
    ///
    /// # Panics
    ///
    /// As [`Self::counters`].
    pub fn show(&self, interface: &str, title: &str) {
        println!("{title}:");
        for row in rows(&self.counters(interface)).filter(|row| row["packets"] != 0) {
            let name = row["reason"].as_str().unwrap_or_else(|| row["service"].as_str().unwrap_or_default());
            let (packets, bytes) = (row["packets"].to_string(), row["bytes"].to_string());
            println!("{packets:>10} packets {bytes:>12} bytes  {name} {}", origin(row));
        }
    }
}

/// Where a rule stands, as `document:line`; nothing for a reason.
fn origin(row: &Value) -> String {
    row["document"].as_str().map_or_else(String::new, |document| format!("{document}:{}", row["line"]))
}

/// Every rule and reason of one interface's counters.
pub fn rows(counters: &Value) -> impl Iterator<Item = &Value> {
    let of = |key: &str| counters[key].as_array().into_iter().flatten();
    of("rules").chain(of("reasons"))
}

/// What is enforced, without what it has counted: equal before and after means that nothing changed.
///
/// # Panics
///
/// Where the command fails or does not print JSON.
#[must_use]
pub fn enforced(operator: &Operator) -> Vec<Value> {
    let mut status = operator.run(&["status", "--json"]).exits(0).json();
    let mut interfaces = std::mem::take(status["interfaces"].as_array_mut().expect("a list of interfaces"));
    for interface in &mut interfaces {
        for counted in ["accepted", "dropped", "total", "last_hit"] {
            interface.as_object_mut().expect("an object").remove(counted).expect("counted");
        }
    }
    interfaces
}

/// Where everything is pinned that the interfaces of the calling thread's network namespace share, and below it
/// what is theirs.
///
/// # Panics
///
/// Where the kernel does not tell the namespace.
#[must_use]
pub fn pins() -> PathBuf {
    let namespace = namespace().expect("a namespace is known by its cookie");
    Lab::bpffs().join("portcullis").join(format!("v{}", abi::VERSION)).join(namespace.to_string())
}

/// The attachment of an interface of the calling thread's network namespace, with its pins on this BPF file system.
///
/// # Panics
///
/// Where the pins cannot be read.
#[must_use]
pub fn attachment(interface: &str, bpffs: PathBuf) -> Attachment {
    let roots = Roots::new(Operator::state(), Operator::lasting(), bpffs);
    roots.attachment(interface).expect("the pins can be read")
}

/// The device that the pins and manifests of an interface belong to.
///
/// # Panics
///
/// As [`attachment`].
#[must_use]
pub fn device(interface: &str) -> Device {
    attachment(interface, Lab::bpffs()).device()
}

/// Where an interface's own objects are pinned.
#[must_use]
pub fn pins_of(interface: &str) -> PathBuf {
    pins().join(device(interface).index.to_string())
}

/// Where an interface's manifests lie.
#[must_use]
pub fn manifests_of(interface: &str) -> PathBuf {
    Operator::state().join("interfaces").join(device(interface).to_string())
}

/// The names of everything below the pins and the state folder.
#[must_use]
pub fn left_behind() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.push(entry.path().display().to_string());
            walk(&entry.path(), found);
        }
    }
    let mut found = Vec::new();
    walk(&pins(), &mut found);
    walk(&Operator::state().join("interfaces"), &mut found);
    found
}

impl Ran {
    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        let Output { status, stdout, stderr } = command.output().expect("the command can be started");
        let text = |bytes| String::from_utf8(bytes).expect("the command prints text");
        Self { shown, code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Expects an exit code.
    ///
    /// # Panics
    ///
    /// On another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of {self}");
        assert!(!self.stderr.contains("panicked"), "a panic of {self}");
        self
    }

    /// Expects a part of standard output.
    ///
    /// # Panics
    ///
    /// Where it is missing.
    #[track_caller]
    pub fn prints(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "`{part}` is missing in the output of {self}");
        self
    }

    /// Expects that something is not on standard output.
    ///
    /// # Panics
    ///
    /// Where it is.
    #[track_caller]
    pub fn keeps_quiet_about(self, part: &str) -> Self {
        assert!(!self.stdout.contains(part), "`{part}` should be missing in the output of {self}");
        self
    }

    /// Expects a part of standard error.
    ///
    /// # Panics
    ///
    /// Where it is missing.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "`{part}` is missing in the complaint of {self}");
        self
    }

    /// Expects that something is not on standard error.
    ///
    /// # Panics
    ///
    /// Where it is.
    #[track_caller]
    pub fn complains_not(self, part: &str) -> Self {
        assert!(!self.stderr.contains(part), "`{part}` should be missing in the complaint of {self}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// Where it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, code, stdout, stderr } = self;
        write!(f, "{shown}\nexit code {code:?}\n--- printed\n{stdout}--- complained\n{stderr}")
    }
}

/// The binary under test; looked for once.
fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

/// The command with the ABI before this one, which is always built from these sources.
fn previous_abi() -> Result<PathBuf> {
    let profile = profile()?;
    let path = profile.join("portcullis-previous-abi");
    let features = ["--features", "portcullis/previous-abi"];
    let built = build(&profile, &[&["--bin", "portcullis-previous-abi"][..], &features].concat());
    ensure!(built && path.is_file(), "{} cannot be built", path.display());
    Ok(path)
}

/// `target/<profile>`: tests lie in `target/<profile>/deps`.
fn profile() -> Result<PathBuf> {
    let test = env::current_exe().context("cannot tell where this test lies")?;
    Ok(test.ancestors().nth(2).context("this test lies in no target folder")?.to_owned())
}

fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os("PORTCULLIS") {
        let path = std::path::absolute(named)?;
        ensure!(path.is_file(), "PORTCULLIS names {}, which is no file", path.display());
        return Ok(path);
    }
    let profile = profile()?;
    let path = profile.join("portcullis");
    // A binary that is there may be of another day: cargo knows, and is quick where nothing changed.
    let built = build(&profile, &["--bin", "portcullis"]);
    ensure!(built || path.is_file(), "{} is missing and cannot be built", path.display());
    Ok(path)
}

fn build(profile: &Path, what: &[&str]) -> bool {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Together with the tests, so that libraries are built with the same features for both.
    cargo.args(["build", "--quiet", "--package", "portcullis", "--package", env!("CARGO_PKG_NAME")]);
    cargo.args(what);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.status().is_ok_and(|status| status.success())
}
