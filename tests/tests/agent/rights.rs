//! Files and kernel objects that others could have made.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

use anyhow::Result;
use portcullis_tests::{
    lab::Lab,
    operator::{manifests_of, pins},
};

use crate::{Edge, opening};

fn mode(path: &std::path::Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

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
    Ok(())
}

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

#[test]
fn a_pinned_map_of_another_shape_is_refused() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&opening(443)).exits(0);
    fs::remove_file(pins().join("FLOWS"))?;
    fs::rename(pins().join("FLOW_PORTS"), pins().join("FLOWS"))?;
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
