//! Files and kernel objects that others could have made.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    path::Path,
};

use anyhow::Result;
use nix::{sys::stat::Mode, unistd::mkfifo};
use portcullis_tests::{
    lab::Lab,
    operator::{Operator, Ran, manifests_of, pins},
    running::Running,
};

use crate::{Edge, opening};

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Holds: security trusted-files.
#[test]
fn a_policy_that_others_could_have_written_is_not_enforced() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy(&opening(443))?;
    let name = path.to_str().expect("text");
    mode(&path, 0o666)?;
    edge.operator
        .run(&["apply", name])
        .exits(2)
        .complains("policy.toml has mode 0666")
        .complains("chmod go-w /mnt/state/policy.toml");
    edge.operator.run(&["agent", "--policy", name]).exits(2).complains("chmod go-w");
    edge.operator.run(&["check", name]).complains_not("mode");
    mode(&path, 0o644)?;
    chown(&path, Some(1234), None)?;
    edge.operator
        .run(&["apply", name])
        .exits(2)
        .complains("user with number 1234")
        .complains("chown 0 /mnt/state/policy.toml");
    chown(&path, Some(0), None)?;
    mode(&Lab::state(), 0o777)?;
    edge.operator.run(&["apply", name]).exits(2).complains("/mnt/state has mode 0777");
    mode(&Lab::state(), 0o755)?;
    edge.operator.run(&["apply", name]).exits(0);

    let mut agent = edge.agent(&opening(443), &[]);
    mode(&path, 0o664)?;
    edge.operator.run(&["reload"]).exits(2).complains("chmod g-w");
    agent.event("refused");
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security trusted-files.
#[test]
fn a_policy_that_others_could_have_replaced_is_not_enforced() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let (outer, inner) = (edge.lab.folder("outer")?, Path::new("/mnt/outer/inner"));
    fs::create_dir(inner)?;
    let real = inner.join("policy.toml");
    fs::write(&real, opening(443))?;
    let apply = |path: &Path| edge.operator.run(&["apply", path.to_str().expect("text")]);
    apply(&real).exits(0);

    // The folder around its folder belongs to nobody of ours, or others may write to it.
    chown(&outer, Some(1234), None)?;
    apply(&real)
        .exits(2)
        .complains("/mnt/outer belongs to the user with number 1234")
        .complains("chown 0 /mnt/outer");
    chown(&outer, Some(0), None)?;
    mode(&outer, 0o775)?;
    apply(&real).exits(2).complains("chmod g-w /mnt/outer");
    mode(&outer, 0o1777)?;
    apply(&real).exits(2).complains("/mnt/outer has mode 1777").complains("move it to a folder of yours");
    mode(&outer, 0o755)?;

    // A link of somebody else's, and one in somebody else's folder, lead to a file of root's.
    let link = Lab::state().join("link.toml");
    symlink(&real, &link)?;
    apply(&link).exits(0);
    lchown(&link, Some(1234), None)?;
    apply(&link).exits(2).complains("/mnt/state/link.toml is a symbolic link of the user with number 1234");
    let theirs = edge.lab.folder("theirs")?;
    symlink(&real, theirs.join("policy.toml"))?;
    chown(&theirs, Some(1234), None)?;
    apply(&theirs.join("policy.toml")).exits(2).complains("/mnt/theirs belongs to the user with number 1234");
    symlink(theirs.join("policy.toml"), Lab::state().join("detour.toml"))?;
    apply(&Lab::state().join("detour.toml")).exits(2).complains("/mnt/theirs belongs to");

    // What whoever called sudo has written is as good as root's.
    chown(&theirs, Some(1234), None)?;
    let mut command = edge.operator.command(&["apply", "/mnt/theirs/policy.toml"]);
    command.env("SUDO_UID", "1234");
    Ran::of(command).exits(0);
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security regular-files.
#[test]
fn a_policy_that_never_ends_is_refused_at_once() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = Operator::policy_path();
    let name = path.to_str().expect("text");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // Nobody will ever write to it.
    for arguments in [&["apply", name][..], &["plan", name], &["check", name], &["agent", "--policy", name]] {
        let mut ran = Running::start(edge.operator.command(arguments));
        assert_eq!(ran.end().code(), Some(2), "{arguments:?}");
    }
    edge.operator.run(&["apply", name]).exits(2).complains("policy.toml is a named pipe");
    edge.operator.run(&["apply", "/dev/zero"]).exits(2).complains("/dev/zero is a device");

    fs::remove_file(&path)?;
    let mut agent = edge.agent(&opening(443), &[]);
    let pipe = Lab::state().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fs::rename(&pipe, &path)?;
    agent.event("refused");
    edge.operator.run(&["reload"]).exits(2).complains("policy.toml is a named pipe");
    edge.operator.run(&["status"]).exits(0).prints("policy.toml is a named pipe");
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security regular-files.
#[test]
fn a_policy_that_a_command_prints_is_read_to_its_end() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.policy(&opening(443))?;
    for line in [
        "sleep 0.2; cat | \"$0\" apply /dev/stdin",
        "\"$0\" apply <(sleep 0.2; cat)",
        "\"$0\" apply /dev/stdin",
    ] {
        let plain = edge.operator.command(&[]);
        let mut command = edge.lab.host().command("bash");
        command.args(["-c", line]).arg(plain.get_program()).stdin(fs::File::open(Operator::policy_path())?);
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Ran::of(command).exits(0);
        edge.assert_open(443, 8080);
        edge.operator.run(&["detach", "--all"]).exits(0);
    }
    Ok(())
}

/// Holds: security trusted-files.
#[test]
fn a_catalog_file_that_others_could_have_written_is_not_enforced() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let catalog = Lab::state().join("mine.toml");
    fs::write(
        &catalog,
        "schema = 1\nsystem = \"mine\"\ntitle = \"Mine\"\n\n[[role]]\nname = \"web\"\ntitle = \"Web\"\n",
    )?;
    let text = opening(443).replace("version = 1", "version = 1\ncatalog = [\"mine.toml\"]");
    mode(&catalog, 0o646)?;
    edge.operator.apply(&text).exits(2).complains("chmod o-w /mnt/state/mine.toml");
    mode(&catalog, 0o644)?;
    edge.operator.apply(&text).exits(0);
    let theirs = edge.lab.folder("theirs")?;
    fs::rename(&catalog, theirs.join("mine.toml"))?;
    chown(&theirs, Some(1234), None)?;
    let text = text.replace("mine.toml", "../theirs/mine.toml");
    edge.operator.apply(&text).exits(2).complains("/mnt/theirs belongs to the user with number 1234");
    Ok(())
}

/// Holds: security trusted-files.
#[test]
fn state_that_others_could_have_written_is_not_believed() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&opening(443)).exits(0);
    let folder = manifests_of("edge0");
    for entry in fs::read_dir(&folder)? {
        mode(&entry?.path(), 0o666)?;
    }
    edge.operator.run(&["status"]).exits(0).prints("edge0: enforced, but").prints("chmod go-w");
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security pinned-objects.
#[test]
fn nothing_is_changed_where_others_could_write_to_the_state_folder() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    fs::create_dir(Operator::state())?;
    for (bits, mend) in [(0o777, "chmod go-w /mnt/state/run"), (0o1777, "/mnt/state/run has mode 1777")] {
        mode(&Operator::state(), bits)?;
        edge.operator.apply(&opening(443)).exits(1).complains(mend);
        assert_eq!(fs::read_dir(Operator::state())?.count(), 0, "nothing was written there");
    }
    mode(&Operator::state(), 0o755)?;
    edge.operator.apply(&opening(443)).exits(0);
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security pinned-objects.
#[test]
fn a_pinned_map_of_another_shape_is_refused() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&opening(443)).exits(0);
    fs::remove_file(pins().join("FLOWS"))?;
    fs::rename(pins().join("FLOW_MARKS"), pins().join("FLOWS"))?;
    let said = edge.operator.apply(&opening(8080)).exits(1).complains("FLOWS is shaped otherwise");
    said.complains("portcullis detach --all");
    edge.assert_open(443, 8080);
    edge.operator.run(&["detach", "--all"]).exits(0);
    edge.operator.apply(&opening(8080)).exits(0);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn nothing_is_mounted_over_a_folder_that_is_meant_for_something_else() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy(&opening(443))?;
    let folder = Lab::state().join("empty");
    fs::create_dir(&folder)?;
    for folder in [folder.to_str().expect("text"), "/mnt/missing", "/mnt/state"] {
        let said = edge.operator.run(&["apply", path.to_str().expect("text"), "--bpffs", folder]).exits(1);
        said.complains(&format!("{folder} is no BPF file system")).complains("mount -t bpf bpf");
    }
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains("/mnt/state") && !mounts.contains("/mnt/missing"), "{mounts}");
    Ok(())
}
