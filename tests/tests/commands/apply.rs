//! `apply` and `detach`: all or nothing, and said in a sentence.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::process::CommandExt as _, process::Command};

use anyhow::Result;
use portcullis::{
    datapath::{Attachment, LoadOptions, Programs},
    generation::Roots,
    tables::Tables,
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Operator, Ran, attachment, lab},
};

use crate::{Edge, IMPATIENCE, PATIENCE, applied, enforced, left_behind, web};

#[test]
fn a_second_apply_is_swapped_in_and_counters_go_on() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web())
        .prints("edge0: enforcing 1 rule, generation 1, native XDP\n")
        .keeps_quiet_about("swapped in");
    assert!(edge.answers(PATIENCE)?);
    let before = edge.operator.packets("edge0", "web");
    assert!(before > 0, "the rule has counted");

    let more = policy(&[interface("edge0", &[allow("dns", "udp", "53"), allow("web", "tcp", "443")])]);
    applied(&edge.operator, &more).prints("edge0: enforcing 2 rules, generation 2, native XDP, swapped in\n");
    assert!(edge.operator.packets("edge0", "web") >= before, "the counter goes on");
    assert!(edge.answers(PATIENCE)?);
    assert!(edge.operator.packets("edge0", "web") > before);
    Ok(())
}

/// Holds: security pinned-objects.
#[test]
fn without_root_nothing_changes_and_a_sentence_says_what_is_missing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    let path = edge.operator.policy(&policy(&[interface("edge0", &[])]))?;
    let path = path.to_str().expect("text");

    let sentence = "needs root, or the capabilities";
    as_nobody(&edge.operator, &["apply", path])?.exits(1).complains(sentence).complains("sudo");
    as_nobody(&edge.operator, &["detach", "--all"])?.exits(1).complains(sentence);
    as_nobody(&edge.operator, &["agent", "--policy", path])?.exits(1).complains(sentence);
    assert_eq!(enforced(&edge.operator), before);

    // Whoever may not look must not be told that nothing is there.
    as_nobody(&edge.operator, &["status"])?.exits(1).complains(sentence).keeps_quiet_about("no interface");
    as_nobody(&edge.operator, &["counters"])?.exits(1).complains(sentence);
    // What is pinned lies where nobody else may enter.
    let folder = Lab::bpffs().join("portcullis");
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o077, 0, "{}", folder.display());
    // To check a policy needs no right at all.
    as_nobody(&edge.operator, &["check", path])?.exits(3).prints("valid: 1 interface");
    Ok(())
}

/// Runs the command as a user without rights.
fn as_nobody(operator: &Operator, args: &[&str]) -> Result<Ran> {
    const NOBODY: u32 = 65_534;
    // The build folder may be closed to others.
    let copy = Lab::state().join("portcullis");
    let original = operator.command(args);
    if !copy.exists() {
        fs::copy(original.get_program(), &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(copy);
    command.args(args).uid(NOBODY).gid(NOBODY);
    command.envs(original.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(Ran::of(command))
}

#[test]
fn a_missing_interface_is_named_with_those_that_exist() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let missing = policy(&[interface("edge7", &[])]);
    edge.operator.apply(&missing).exits(1).complains("there is no interface `edge7` here; there are: edge0");
    assert_eq!(left_behind(), Vec::<String>::new());
    edge.operator.run(&["status"]).exits(0).prints("no interface is enforced");
    Ok(())
}

#[test]
fn a_second_interface_that_is_missing_changes_nothing_on_the_first() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let both = policy(&[interface("edge0", &[]), interface("edge7", &[])]);
    edge.operator.apply(&both).exits(1).complains("`edge7`");
    assert_eq!(left_behind(), Vec::<String>::new(), "the first was not begun");
    assert!(edge.answers(PATIENCE)?);

    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    let pins = left_behind();
    edge.operator.apply(&both).exits(1).complains("`edge7`");
    assert_eq!(enforced(&edge.operator), before);
    assert_eq!(left_behind(), pins);
    assert!(edge.answers(PATIENCE)?, "the policy before it goes on");
    Ok(())
}

#[test]
fn a_policy_that_is_not_valid_leaves_the_one_before_it_alone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    edge.operator
        .apply("version = 1\n[[interface]]\nname = \"edge0\"\nrole = []\n")
        .exits(2)
        .complains("policy.toml:4:1: unknown field `role`")
        .complains("4 | role = []")
        .complains("help: ");
    edge.operator.run(&["apply", "/mnt/nothing.toml"]).exits(2).complains("/mnt/nothing.toml");
    edge.operator.run(&["apply", "/mnt"]).exits(2).complains("/mnt");
    assert_eq!(enforced(&edge.operator), before);
    assert!(edge.answers(PATIENCE)?);
    Ok(())
}

#[test]
fn another_tools_program_is_left_alone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    lab_neighbour(&edge, "edge1")?;
    let attachment = occupy("edge1")?;
    let occupant = attachment.program()?;

    let sentence = "another XDP program is attached to `edge1`: detach it first";
    let said = edge.operator.apply(&policy(&[interface("edge1", &[])])).exits(1).complains(sentence);
    assert_eq!(said.stderr.matches(sentence).count(), 1, "said once: {said}");
    assert_eq!(left_behind(), Vec::<String>::new());

    // An interface before it is not begun, one behind it neither.
    lab_neighbour(&edge, "edge2")?;
    let three = [interface("edge0", &[]), interface("edge1", &[]), interface("edge2", &[])];
    edge.operator.apply(&policy(&three)).exits(1).complains(sentence).keeps_quiet_about("edge0");
    assert_eq!(left_behind(), Vec::<String>::new());
    assert_eq!(attachment.program()?, occupant);
    assert!(edge.answers(PATIENCE)?);
    Ok(())
}

/// Attaches a program as another tool would, whose links are kept elsewhere.
fn occupy(interface: &str) -> Result<Attachment> {
    fs::create_dir(Lab::bpffs().join("other"))?;
    let attachment = attachment(interface, Lab::bpffs().join("other"));
    attachment.prepare(false)?;
    let load = || Programs::load(&Tables::deny_all(), &LoadOptions::default(), Some(attachment.pins()));
    // The library passes a map of 128 KiB by value, which the stack of a test's thread has no room for.
    let loaded = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, load)?;
        anyhow::Ok(thread.join().expect("loading does not panic")?)
    });
    attachment.attach(&loaded?)?;
    Ok(attachment)
}

/// One more interface on the protected host, without an address.
fn lab_neighbour(edge: &Edge, name: &str) -> Result<()> {
    let peer = format!("{name}x");
    edge.lab.host().run("ip", &["link", "add", name, "type", "veth", "peer", "name", &peer])?;
    edge.lab.host().run("ip", &["link", "set", name, "up"])?;
    Ok(())
}

#[test]
fn an_interface_that_the_policy_drops_is_detached() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    lab_neighbour(&edge, "edge1")?;
    applied(&edge.operator, &policy(&[interface("edge0", &[]), interface("edge1", &[])]));
    assert!(!edge.answers(IMPATIENCE)?);
    applied(&edge.operator, &policy(&[interface("edge1", &[])]))
        .prints("edge0: detached, as the policy does not name it any more\n");
    assert!(edge.answers(PATIENCE)?);
    edge.operator.run(&["status"]).exits(0).prints("edge1").keeps_quiet_about("edge0");
    edge.operator
        .run(&["counters", "--interface", "edge0"])
        .exits(1)
        .complains("`edge0` is not enforced; enforced: edge1");
    Ok(())
}

#[test]
fn a_reader_who_leaves_early_does_not_stop_what_was_begun() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    lab_neighbour(&edge, "edge1")?;
    applied(&edge.operator, &policy(&[interface("edge0", &[]), interface("edge1", &[])]));
    let path = edge.operator.policy(&policy(&[interface("edge1", &[])]))?;
    for (args, left) in [(&["apply", path.to_str().expect("text")][..], 1), (&["detach", "--all"], 0)] {
        let mut command = edge.operator.command(args);
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        assert_eq!(command.stdout(writer).status()?.code(), Some(0), "{args:?}");
        assert_eq!(enforced(&edge.operator).len(), left, "{args:?}");
    }
    Ok(())
}

#[test]
fn observe_on_the_command_line_wins_over_the_policy() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let path = edge.operator.policy(&policy(&[interface("edge0", &[])]))?;
    let path = path.to_str().expect("text");
    edge.operator.run(&["apply", "--observe", path]).exits(0).prints("observing (nothing is dropped)");
    assert!(edge.answers(PATIENCE)?);
    assert!(edge.operator.packets("edge0", "undocumented-tcp") > 0);
    edge.operator.run(&["apply", path]).exits(0).prints("enforcing");
    assert!(!edge.answers(IMPATIENCE)?);
    Ok(())
}

#[test]
fn while_another_command_holds_the_lock_nothing_changes() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    let roots = Roots::new(Operator::state(), Operator::lasting(), Lab::bpffs());
    let lock = roots.lock()?;
    let sentence = "another portcullis command is changing the policy";
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(1).complains(sentence);
    edge.operator.run(&["detach", "--all"]).exits(1).complains(sentence);
    // Looking needs no lock.
    assert_eq!(enforced(&edge.operator), before);
    drop(lock);
    applied(&edge.operator, &policy(&[interface("edge0", &[])]));
    Ok(())
}

#[test]
fn detach_lets_every_packet_pass_and_leaves_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &policy(&[interface("edge0", &[])]));
    assert!(!edge.answers(IMPATIENCE)?);
    edge.operator.run(&["detach"]).exits(2).complains("--all");
    edge.operator.run(&["detach", "edge7"]).exits(1).complains("`edge7` is not enforced; enforced: edge0");
    edge.operator.run(&["detach", "edge0"]).exits(0).prints("edge0: detached; every packet passes\n");
    assert!(edge.answers(PATIENCE)?);
    assert_eq!(left_behind(), Vec::<String>::new());
    edge.operator.run(&["detach", "--all"]).exits(0).prints("no interface is enforced");
    edge.operator.run(&["detach", "edge0"]).exits(1).complains("no interface is");
    Ok(())
}
