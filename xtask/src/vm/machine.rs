//! Boots a kernel with an image under an emulator and says which tests failed in there.
//!
//! The emulator translates every instruction (TCG): slower than the host by an order of magnitude, but
//! it runs anywhere, as anybody, also inside another virtual machine.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use xtask::skip::Skipped;

use super::{Image, Packages};

/// What the guest prints when it begins, before the kernel's release.
pub(super) const BEGIN: &str = "portcullis-guest begins";
/// What the guest prints after each test, before its name and exit code.
pub(super) const END: &str = "portcullis-guest ended";

/// What the guest prints before each line that skipped tests have written down.
pub(super) const SKIPPED: &str = "portcullis-guest skipped ";

/// How long all tests may take. On two idle processors that are emulated they take some ten minutes: the verifier of
/// Linux 6.1 joins few paths, and each load is long there.
const PATIENCE: Duration = Duration::from_secs(2_400);
/// Lines of the kernel's own messages that are shown where the guest came to no end.
const KERNEL_LINES: usize = 30;

/// Runs the guest to its end and shows what it prints. Gives the tests that were skipped there.
///
/// # Errors
///
/// Where it cannot be started, a test fails, or not all of `tests` come to an end.
pub(crate) fn boot(
    packages: &Packages,
    image: &Image,
    tests: &[&str],
    folder: &Path,
) -> Result<Vec<Skipped>> {
    let kernel_log = folder.join("kernel.log");
    let guest = Guest::start(packages, image, &kernel_log)?;
    let (mut ended, mut skipped) = (Vec::new(), String::new());
    let deadline = Instant::now() + PATIENCE;
    while let Ok(line) = guest.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(release) = line.strip_prefix(BEGIN) {
            println!("Linux{release} is up");
        } else if let Some(end) = line.strip_prefix(END) {
            ended.push(end.trim().to_owned());
        } else if let Some(test) = line.strip_prefix(SKIPPED) {
            skipped.push_str(test);
            skipped.push('\n');
        } else {
            println!("{line}");
        }
    }
    let wanted: Vec<String> = tests.iter().map(|test| format!("{test} 0")).collect();
    if ended == wanted {
        return Skipped::parse(&skipped);
    }
    let failed: Vec<&String> = ended.iter().filter(|end| !wanted.contains(end)).collect();
    if ended.len() < wanted.len() {
        let log = fs::read_to_string(&kernel_log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        println!("the kernel's last messages (all of them in {}):", kernel_log.display());
        lines[lines.len().saturating_sub(KERNEL_LINES)..].iter().for_each(|line| println!("  {line}"));
        bail!("the guest ended, or {PATIENCE:?} passed, after {} of {} tests", ended.len(), wanted.len());
    }
    bail!("failed on Linux {} (test, exit code): {failed:?}", packages.release);
}

/// A running emulator; killed when dropped.
struct Guest {
    emulator: Child,
    lines: Receiver<String>,
}

impl Guest {
    fn start(packages: &Packages, image: &Image, kernel_log: &Path) -> Result<Self> {
        let emulator = packages.file("usr/bin/qemu-system-x86_64")?;
        let mut command = packages.command(&emulator);
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(packages.file(folder)?);
        }
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"])
            .arg("-kernel")
            .arg(packages.kernel())
            .arg("-initrd")
            .arg(&image.archive)
            .args(["-append", "console=ttyS0 panic=-1"])
            .arg("-serial")
            .arg(format!("file:{}", kernel_log.display()))
            .args(["-serial", "stdio"]);
        let errors = kernel_log.with_file_name("emulator.log");
        let stderr = File::create(&errors).with_context(|| format!("cannot make {}", errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut emulator = command.spawn().context("cannot run the emulator")?;
        let output = emulator.stdout.take().context("its output is a pipe")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { emulator, lines })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended; both are fine then.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}
