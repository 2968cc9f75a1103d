//! After an accident: the next `apply` mends it, and until then nobody is told that all is well.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    operator::{Operator, lab, manifests_of, pins_of},
};

use crate::{Edge, IMPATIENCE, PATIENCE, applied, enforced, left_behind, web};

/// Where the links and counters of `edge0` are pinned.
fn pin(name: &str) -> std::path::PathBuf {
    pins_of("edge0").join(name)
}

#[test]
fn lost_state_is_told_and_mended_by_the_next_apply() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    assert!(edge.answers(PATIENCE)?);
    fs::remove_dir_all(Operator::state())?;

    assert!(edge.answers(PATIENCE)?, "the kernel goes on");
    edge.operator
        .run(&["status"])
        .exits(0)
        .prints("edge0: enforced, but its state ")
        .prints("apply the policy again");
    let json = edge.operator.run(&["status", "--json"]).exits(0).json();
    assert_eq!(json["without_manifest"], serde_json::json!(["edge0"]));
    edge.operator.run(&["counters"]).exits(1).complains("edge0").complains("apply the policy again");

    applied(&edge.operator, &web()).prints("generation 1, native XDP, swapped in");
    assert_eq!(edge.operator.packets("edge0", "web"), 0, "counters begin anew");
    assert!(edge.answers(PATIENCE)?);
    assert!(edge.operator.packets("edge0", "web") > 0);
    Ok(())
}

#[test]
fn a_damaged_manifest_is_told_and_mended_by_the_next_apply() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    for damage in ["", "{", "{\"schema\":99}"] {
        let folder = manifests_of("edge0");
        for manifest in fs::read_dir(&folder)? {
            fs::write(manifest?.path(), damage)?;
        }
        edge.operator
            .run(&["status"])
            .exits(0)
            .prints("edge0: enforced, but")
            .prints("apply the policy again");
        edge.operator.run(&["counters"]).exits(1).complains("apply the policy again");
        applied(&edge.operator, &web()).prints("swapped in");
        assert!(edge.answers(PATIENCE)?);
        assert_eq!(enforced(&edge.operator).len(), 1);
    }
    Ok(())
}

#[test]
fn an_interrupted_first_attachment_is_begun_again() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    // As if the command had been killed between its two links: no ingress, and a manifest whose
    // program is gone, whole or half written.
    fs::remove_file(pin("ingress"))?;
    fs::write(manifests_of("edge0").join("1.json"), "{}")?;
    fs::write(manifests_of("edge0").join("2.new"), "{")?;
    edge.operator.run(&["status"]).exits(0).prints("no interface is enforced");
    edge.operator.run(&["counters"]).exits(1).complains("no interface is enforced");

    applied(&edge.operator, &policy(&[interface("edge0", &[])]))
        .prints("generation 1, native XDP\n")
        .keeps_quiet_about("swapped in");
    assert!(!edge.answers(IMPATIENCE)?);
    assert_eq!(fs::read_dir(manifests_of("edge0"))?.count(), 1, "{:?}", left_behind());
    edge.operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn what_an_interrupted_attachment_left_can_be_detached() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    fs::remove_file(pin("ingress"))?;
    fs::remove_file(pin("COUNTERS"))?;
    edge.operator.run(&["status"]).exits(0).prints("no interface is enforced");
    edge.operator.run(&["detach", "edge0"]).exits(0);
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_interface_that_is_made_anew_is_enforced_by_the_next_apply() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let first = lab.neighbour("edge0", "far0")?;
    applied(&operator, &web());
    lab.host().run("ip", &["link", "delete", "edge0"])?;
    drop(first);

    // Nothing is enforced any more, and nobody says that it was.
    operator
        .run(&["status"])
        .exits(0)
        .prints("edge0: not enforced any more")
        .prints("apply the policy again");
    operator.run(&["counters"]).exits(1).complains("edge0").complains("not enforced any more");
    operator.apply(&web()).exits(1).complains("there is no interface `edge0`");

    let edge = Edge::new(lab)?;
    assert!(edge.answers(PATIENCE)?);
    edge.operator.run(&["status"]).exits(0).prints("edge0: not enforced any more");
    applied(&edge.operator, &policy(&[interface("edge0", &[])])).keeps_quiet_about("swapped in");
    assert!(!edge.answers(IMPATIENCE)?, "the new interface is enforced");
    edge.operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_interface_that_is_renamed_does_not_take_another_ones_policy() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let ip = |args: &[&str]| edge.lab.host().run("ip", args);
    ip(&["link", "set", "edge0", "down"])?;
    ip(&["link", "set", "edge0", "name", "old0"])?;
    ip(&["link", "add", "edge0", "type", "veth", "peer", "name", "edge0x"])?;
    ip(&["link", "set", "edge0", "up"])?;
    // The name stands for another interface now, which has no program.
    edge.operator.run(&["status"]).exits(0).prints("old0 ").keeps_quiet_about("edge0");
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("dns", "udp", "53")])]))
        .keeps_quiet_about("swapped in");
    let shown = ip(&["link", "show", "dev", "edge0"])?;
    assert!(shown.contains("xdp"), "the program is on the interface of that name: {shown}");
    Ok(())
}

#[test]
fn looking_while_policies_change_never_says_that_none_is_enforced() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let path = Operator::policy_path();
    let path = path.to_str().expect("text");
    thread::scope(|scope| {
        let applying = scope.spawn(|| {
            for _ in 0..10 {
                edge.operator.run(&["apply", path]).exits(0);
            }
        });
        while !applying.is_finished() {
            edge.operator.run(&["status"]).exits(0).prints("edge0").keeps_quiet_about("enforced, but");
            edge.operator.run(&["counters"]).exits(0).prints("edge0");
        }
    });
    Ok(())
}

#[test]
fn an_apply_that_is_killed_at_any_moment_leaves_one_policy_or_the_other() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let other = policy(&[interface("edge0", &[allow("dns", "udp", "53"), allow("web", "tcp", "443")])]);
    let begun = Instant::now();
    applied(&edge.operator, &other);
    let whole = begun.elapsed();
    for step in 1..=STEPS {
        killed(&edge.operator, [&web(), &other][step as usize % 2], whole * step / STEPS)?;
        // Whichever it is, both let in the web, and what counts is known.
        assert!(edge.answers(PATIENCE)?);
        edge.operator.run(&["status"]).exits(0).prints("edge0").keeps_quiet_about("enforced, but");
        assert!(edge.operator.packets("edge0", "web") > 0);
    }
    applied(&edge.operator, &policy(&[interface("edge0", &[])])).prints("swapped in");
    assert!(!edge.answers(IMPATIENCE)?);
    Ok(())
}

#[test]
fn a_first_apply_that_is_killed_at_any_moment_can_be_repeated_and_undone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let closed = policy(&[interface("edge0", &[])]);
    let begun = Instant::now();
    applied(&edge.operator, &closed);
    let whole = begun.elapsed();
    edge.operator.run(&["detach", "--all"]).exits(0);
    for step in 1..=STEPS {
        killed(&edge.operator, &closed, whole * step / STEPS)?;
        edge.operator.run(&["status"]).exits(0).keeps_quiet_about("enforced, but");
        if step % 2 == 0 {
            // The one that was to be killed may have been done before.
            let said = edge.operator.apply(&closed).exits(0);
            assert!(said.stdout.contains("done in") || said.stdout.contains("edge0: unchanged"), "{said}");
            assert!(!edge.answers(IMPATIENCE)?);
        }
        edge.operator.run(&["detach", "--all"]).exits(0);
        assert!(edge.answers(PATIENCE)?);
        assert_eq!(left_behind(), Vec::<String>::new());
    }
    Ok(())
}

/// How many moments of an apply are tried.
const STEPS: u32 = 12;

/// An apply that is killed after a while, or is done before.
fn killed(operator: &Operator, text: &str, after: Duration) -> Result<()> {
    let path = operator.policy(text)?;
    let mut command = operator.command(&["apply", path.to_str().expect("text")]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(after);
    child.kill()?;
    child.wait()?;
    Ok(())
}
