//! What a machine can deny: space, memory, a writable folder, the BPF file system, single commands of the
//! kernel. Each is told in a sentence, and what was enforced before still is.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use portcullis_tests::{
    denied::{Call, deny},
    draft::{allow, interface, policy},
    edge::{Edge, IMPATIENCE},
    lab::Lab,
    operator::{Operator, Ran, enforced, left_behind},
    running::PATIENCE,
};

/// Which of the two ports answer.
fn open(edge: &Edge) -> [bool; 2] {
    [443, 8080].map(|port| edge.answers(port, if port == 443 { PATIENCE } else { IMPATIENCE }))
}

/// Expects that a command failed with this sentence, and that the policy before it goes on.
#[track_caller]
fn unharmed(edge: &Edge, ran: Ran, sentence: &str, before: &[serde_json::Value]) {
    println!("{}", ran.stderr.trim_end());
    drop(ran.exits(1).complains(sentence).keeps_quiet_about("enforcing"));
    assert_eq!(enforced(&edge.operator), before, "nothing else is enforced");
    assert_eq!(open(edge), [true, false]);
}

/// A policy that lets in 443.
fn narrow() -> String {
    policy(&[interface("edge0", &[allow("web", "tcp", "443")])])
}

/// One that lets in 8080, too; with a source, so that every kind of table is in use.
fn wide() -> String {
    let sources = portcullis_tests::draft::allow_from("more", "tcp", "8080", &["203.0.113.0/24"]);
    policy(&[interface("edge0", &[allow("web", "tcp", "443"), sources])])
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let state = Operator::state();
    fs::create_dir(&state)?;
    mount(Some("disk"), &state, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=256k"))?;
    drop(edge.operator.apply(&narrow()).exits(0));
    let before = enforced(&edge.operator);
    fill(&state.join("ballast"))?;
    unharmed(&edge, edge.operator.apply(&wide()), "No space left on device", &before);
    fs::remove_file(state.join("ballast"))?;
    drop(edge.operator.apply(&wide()).exits(0));
    assert_eq!(open(&edge), [true, true]);
    Ok(())
}

#[test]
fn a_disk_that_is_full_from_the_beginning_leaves_nothing_behind() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let state = Operator::state();
    fs::create_dir(&state)?;
    mount(Some("disk"), &state, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=16k"))?;
    fill(&state.join("ballast"))?;
    let ran = edge.operator.apply(&narrow());
    println!("{}", ran.stderr.trim_end());
    drop(ran.exits(1).complains("No space left on device"));
    assert_eq!(open(&edge), [true, true], "nothing is enforced");
    assert_eq!(enforced(&edge.operator), Vec::<serde_json::Value>::new());
    Ok(())
}

#[test]
fn a_state_folder_that_cannot_be_written_is_told_and_changes_nothing() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let state = Operator::state();
    fs::create_dir(&state)?;
    mount(Some("run"), &state, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    drop(edge.operator.apply(&narrow()).exits(0));
    let before = enforced(&edge.operator);
    let none = None::<&str>;
    mount(none, &state, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none)?;
    unharmed(&edge, edge.operator.apply(&wide()), "Read-only file system", &before);
    // Looking needs no writing.
    drop(edge.operator.run(&["counters"]).exits(0).prints("web"));
    mount(none, &state, none, MsFlags::MS_REMOUNT, none)?;
    drop(edge.operator.apply(&wide()).exits(0));
    Ok(())
}

#[test]
fn a_missing_bpf_file_system_is_mounted_where_the_kernel_has_a_folder_for_it_or_told() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    umount2(&Lab::bpffs(), MntFlags::MNT_DETACH)?;
    let path = edge.operator.policy(&narrow())?;
    let path = path.to_str().context("text")?;

    // Never over a folder that may be meant for something else.
    let ran = edge.operator.run(&["apply", path]).exits(1);
    println!("{}", ran.stderr.trim_end());
    drop(ran.complains("/mnt/bpf is no BPF file system").complains("mount -t bpf bpf /mnt/bpf"));

    // The lab's own view of the folder: the machine's stays as it is.
    let kernels = "/sys/fs/bpf";
    while umount2(kernels, MntFlags::MNT_DETACH).is_ok() {}
    let apply = ["apply", path, "--bpffs", kernels];
    let mut refused = edge.operator.command(&apply);
    deny(&mut refused, Call::Any(libc::SYS_mount), libc::EPERM);
    let ran = Ran::of(refused).exits(1);
    println!("{}", ran.stderr.trim_end());
    drop(ran.complains("/sys/fs/bpf is no BPF file system").complains("mount -t bpf bpf /sys/fs/bpf"));
    assert_eq!(open(&edge), [true, true]);

    // Who has nothing to do mounts nothing.
    drop(
        edge.operator.run(&["confirm", "--bpffs", kernels]).exits(1).complains("there is nothing to confirm"),
    );
    drop(edge.operator.run(&["rollback", "--bpffs", kernels]).exits(1).complains("nothing to roll back"));
    let ran = edge.operator.run(&apply).exits(0);
    drop(ran.prints("mounted a BPF file system at /sys/fs/bpf"));
    assert_eq!(open(&edge), [true, false]);
    drop(edge.operator.run(&["detach", "--all", "--bpffs", kernels]).exits(0));
    Ok(())
}

/// Commands of bpf(2) by which a policy is put in place, with what the kernel may answer.
const COMMANDS: &[(&str, u32, i32)] = &[
    ("BPF_MAP_CREATE", 0, libc::ENOMEM),
    ("BPF_MAP_LOOKUP_ELEM", 1, libc::ENOMEM),
    ("BPF_MAP_UPDATE_ELEM", 2, libc::ENOMEM),
    ("BPF_PROG_LOAD", 5, libc::ENOMEM),
    ("BPF_OBJ_PIN", 6, libc::ENOSPC),
    ("BPF_OBJ_GET", 7, libc::ENOMEM),
    ("BPF_PROG_TEST_RUN", 10, libc::ENOMEM),
    ("BPF_PROG_GET_FD_BY_ID", 13, libc::ENOMEM),
    ("BPF_OBJ_GET_INFO_BY_FD", 15, libc::ENOMEM),
    ("BPF_BTF_LOAD", 18, libc::ENOMEM),
    ("BPF_MAP_FREEZE", 22, libc::ENOMEM),
    ("BPF_LINK_CREATE", 28, libc::ENOMEM),
    ("BPF_LINK_UPDATE", 29, libc::ENOMEM),
];

/// How the kernel's answer is told.
fn reason(error: i32) -> &'static str {
    match error {
        libc::ENOSPC => "No space left on device",
        libc::ENOMEM => "Cannot allocate memory",
        _ => panic!("no text for error {error}"),
    }
}

/// Holds: readme atomic.
#[test]
fn a_kernel_that_refuses_a_command_changes_nothing() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    drop(edge.operator.apply(&narrow()).exits(0));
    let path = edge.operator.policy(&wide())?;
    let mut failed = Vec::new();
    for (name, command, error) in COMMANDS {
        let before = enforced(&edge.operator);
        let mut apply = edge.operator.command(&["apply", path.to_str().context("text")?]);
        deny(&mut apply, Call::Bpf(*command), *error);
        let ran = Ran::of(apply);
        println!("{name}: exit code {:?}: {}", ran.code, ran.stderr.trim_end());
        if ran.code == Some(0) {
            // It can do without; then the policy is whole.
            assert_eq!(open(&edge), [true, true], "{name}");
            drop(edge.operator.apply(&narrow()).exits(0));
            edge.operator.policy(&wide())?;
        } else {
            failed.push(*name);
            unharmed(&edge, ran, reason(*error), &before);
        }
    }
    for name in ["BPF_MAP_CREATE", "BPF_PROG_LOAD", "BPF_LINK_UPDATE"] {
        assert!(failed.contains(&name), "{name} cannot be done without; {failed:?}");
    }
    drop(edge.operator.apply(&wide()).exits(0));
    assert_eq!(open(&edge), [true, true]);
    Ok(())
}

#[test]
fn a_first_policy_that_the_kernel_refuses_leaves_nothing_behind() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy(&narrow())?;
    for (name, command, error) in COMMANDS {
        let mut apply = edge.operator.command(&["apply", path.to_str().context("text")?]);
        deny(&mut apply, Call::Bpf(*command), *error);
        let ran = Ran::of(apply);
        println!("{name}: exit code {:?}: {}", ran.code, ran.stderr.trim_end());
        if ran.code == Some(0) {
            assert_eq!(open(&edge), [true, false], "{name}");
            drop(edge.operator.run(&["detach", "--all"]).exits(0));
        } else {
            drop(ran.exits(1).complains(reason(*error)));
            assert_eq!(open(&edge), [true, true], "{name}: nothing is enforced");
        }
        assert_eq!(enforced(&edge.operator), Vec::<serde_json::Value>::new(), "{name}");
        let programs: Vec<_> = left_behind().into_iter().filter(|path| path.ends_with("gress")).collect();
        assert_eq!(programs, Vec::<String>::new(), "{name}");
    }
    drop(edge.operator.apply(&narrow()).exits(0));
    assert_eq!(open(&edge), [true, false]);
    Ok(())
}

/// Writes until the disk is full.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let piece = [0; 1024];
    while file.write_all(&piece).is_ok() {}
    Ok(())
}
