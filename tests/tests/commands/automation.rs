//! What scripts rely on: exit codes, JSON of one form, and commands that change nothing where nothing is to be
//! done.

use std::{fs, io::Write as _, process::Stdio};

use anyhow::Result;
use nix::mount::{MsFlags, mount};
use portcullis_tests::{
    draft::{allow, allow_from, interface, policy},
    operator::{Operator, Ran, enforced, lab, pins_of},
};
use serde_json::Value;

use crate::{Edge, PATIENCE, applied, web};

/// Runs a command that reads `input`.
fn fed(operator: &Operator, args: &[&str], input: &str) -> Result<(Option<i32>, String)> {
    let mut command = operator.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes())?;
    let ended = child.wait_with_output()?;
    Ok((ended.status.code(), String::from_utf8(ended.stdout)?))
}

#[test]
fn a_policy_that_is_in_place_is_left_alone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    edge.operator.apply(&web()).exits(0).prints("edge0: unchanged, enforcing 1 rule, generation 1\n");
    let path = Operator::policy_path();
    let path = path.to_str().expect("text");
    let json = edge.operator.run(&["apply", "--json", path]).exits(0).json();
    assert_eq!((&json["schema"], &json["unchanged"]), (&1.into(), &true.into()));
    assert_eq!(json["interfaces"][0]["generation"], 1);
    assert_eq!(enforced(&edge.operator), before, "neither program nor generation is another one");

    // Other texts, other settings and other rules are not the same.
    applied(&edge.operator, &format!("{}\n# more\n", web())).prints("generation 2");
    edge.operator.run(&["apply", "--observe", path]).exits(0).prints("generation 3");
    edge.operator.run(&["apply", path]).exits(0).prints("enforcing 1 rule, generation 4");
    let json = edge.operator.run(&["apply", "--json", path]).exits(0).json();
    assert_eq!(json["unchanged"], true);
    assert!(edge.answers(PATIENCE)?);
    Ok(())
}

#[test]
fn what_is_missing_of_a_policy_in_place_is_not_unchanged() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    for name in ["egress", "ingress", "COUNTERS"] {
        fs::remove_file(pins_of("edge0").join(name))?;
        applied(&edge.operator, &web()).keeps_quiet_about("unchanged");
        edge.operator.apply(&web()).exits(0).prints("unchanged");
        assert!(edge.answers(PATIENCE)?, "{name}");
    }
    fs::remove_dir_all(Operator::state())?;
    fs::create_dir_all(Operator::state())?;
    applied(&edge.operator, &web()).keeps_quiet_about("unchanged");
    Ok(())
}

#[test]
fn apply_says_to_programs_what_it_says_to_people_and_quietly_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let path = edge.operator.policy(&web())?;
    let path = path.to_str().expect("text");
    let json = edge.operator.run(&["apply", "--json", path]).exits(0).json();
    assert_eq!((&json["unchanged"], &json["revision"]), (&false.into(), &1.into()));
    let edge0 = &json["interfaces"][0];
    assert_eq!((&edge0["interface"], &edge0["stage"]), (&"edge0".into(), &"enforce".into()));
    assert_eq!((&edge0["rules"], &edge0["replaced"]), (&1.into(), &false.into()));
    assert!(json["milliseconds"]["loading"].is_u64(), "{json:#}");
    for more in [&["--quiet"][..], &["-q", "--observe"]] {
        let said = edge.operator.run(&[&["apply", path], more].concat()).exits(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{more:?}");
    }
    let missing = edge.operator.policy(&policy(&[interface("edge7", &[])]))?;
    let said = edge.operator.run(&["apply", "--json", missing.to_str().expect("text")]).exits(1).json();
    let message = said["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("there is no interface `edge7` here"), "{said:#}");
    Ok(())
}

#[test]
fn several_files_are_checked_and_standard_input() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let folder = lab.folder("checked")?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(path.to_str().expect("text").to_owned())
    };
    let fine = file("fine.toml", &policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]))?;
    let twice = [allow("ssh", "tcp", "22"), allow("again", "tcp", "22")];
    let noted = file("noted.toml", &policy(&[interface("edge0", &twice)]))?;
    let warned = file("warned.toml", &web())?;
    let bad = file("bad.toml", "version = 1\n[interface]\nname = \"edge0\"\n")?;

    let code = |args: &[&str]| operator.run(&[&["check"], args].concat()).code;
    for (args, expected) in [
        (&[fine.as_str()][..], 0),
        (&[&noted], 3),
        (&["--fail-on", "note", &noted], 3),
        (&["--fail-on", "warning", &noted], 0),
        (&["--fail-on", "warning", &warned], 3),
        (&["--fail-on", "warning", &fine, &warned], 3),
        (&["--fail-on", "warning", &bad, &fine], 2),
    ] {
        assert_eq!(code(args), Some(expected), "{args:?}");
    }
    let said = operator.run(&["check", &bad, &noted, &fine]).exits(2);
    said.complains("bad.toml:2:1: ").prints("noted.toml: valid").prints("fine.toml: valid");
    let json = operator.run(&["check", "--json", &bad, &noted]).exits(2).json();
    assert_eq!(json["policies"][0], serde_json::json!({ "file": bad, "valid": false, "interfaces": 0 }));
    assert_eq!(json["policies"][1], serde_json::json!({ "file": noted, "valid": true, "interfaces": 1 }));
    assert_eq!(
        json["errors"],
        serde_json::json!([{
            "file": bad, "line": 2, "column": 1, "text": "[interface]",
            "message": "`[interface]` is one table, and `interface` is a list of tables",
            "help": "write `[[interface]]`, also where there is only one",
        }])
    );
    assert_eq!(
        (&json["findings"][0]["file"], &json["findings"][0]["severity"]),
        (&noted.into(), &"note".into())
    );

    let (code, said) = fed(&operator, &["check", "-"], &web())?;
    assert_eq!(code, Some(3));
    assert!(said.starts_with("<stdin>:4:8: warning: edge0: nothing opens tcp/22"), "{said}");
    operator.run(&["check", "-", "-"]).exits(1).complains("name `-` once");
    Ok(())
}

#[test]
fn a_policy_from_standard_input_is_applied_and_goes_by_that_name() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let (code, said) = fed(&edge.operator, &["apply", "-"], &web())?;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(enforced(&edge.operator)[0]["policy"], "<stdin>");
    let (code, said) = fed(&edge.operator, &["plan", "-"], &web())?;
    assert_eq!((code, said.as_str()), (Some(0), "edge0: nothing would change\n"));
    Ok(())
}

#[test]
fn every_command_takes_the_same_policy_where_none_is_named() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    // Over the system's own folder, for this test alone.
    let place = edge.lab.folder("etc")?;
    let [above, work] = ["above", "work"].map(|name| place.join(name));
    fs::create_dir(&above)?;
    fs::create_dir(&work)?;
    let layers = format!("lowerdir=/etc,upperdir={},workdir={}", above.display(), work.display());
    mount(Some("etc"), "/etc", Some("overlay"), MsFlags::empty(), Some(layers.as_str()))?;
    fs::create_dir_all("/etc/portcullis")?;
    fs::write("/etc/portcullis/policy.toml", web())?;
    edge.operator.run(&["check"]).exits(3).prints("/etc/portcullis/policy.toml:4:8: ");
    edge.operator.run(&["plan"]).exits(3).prints("edge0");
    edge.operator.run(&["apply"]).exits(0).prints("edge0: enforcing");
    assert_eq!(enforced(&edge.operator)[0]["policy"], "/etc/portcullis/policy.toml");
    for command in ["agent", "boot"] {
        edge.operator.run(&[command, "--help"]).exits(0).prints("[default: /etc/portcullis/policy.toml]");
    }
    Ok(())
}

#[test]
fn every_json_document_has_its_form() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let path = Operator::policy_path();
    let path = path.to_str().expect("text");
    let system = "skype-for-business-server-2015";
    let role = format!("{system}/director");
    let document = edge.lab.folder("documents")?.join("ports.md");
    fs::write(&document, "| Role | Port |\n| --- | --- |\n| Web server | TCP 443 |\n")?;
    let document = document.to_str().expect("text");
    for args in [
        &["catalog", "list", "--json"][..],
        &["catalog", "show", "--json", system],
        &["catalog", "show", "--json", &role],
        &["diff", "--json", system, system],
        &["check", "--json", path],
        &["plan", "--json", path],
        &["apply", "--json", path],
        &["status", "--json"],
        &["counters", "--json"],
        &["counters", "--json", "--archived"],
        &["doctor", "--json"],
        &["rollback", "--list", "--json"],
        &["import", "--format", "json", document],
        &["apply", "--json", "--shadow", path],
        &["shadow", "--json"],
        &["confirm", "--json"],
        &["rollback", "--json"],
        &["detach", "--json", "--all"],
        // What goes wrong.
        &["shadow", "--json"],
        &["confirm", "--json"],
        &["rollback", "--json"],
        &["detach", "--json", "none"],
        &["reload", "--json"],
        &["import", "--format", "json", "/mnt/none.md"],
        &["plan", "--json", "/mnt/none.toml"],
        &["catalog", "show", "--json", "none"],
        &["counters", "--json", "--interface", "none"],
        &["counters", "--json", "--by", "colour"],
    ] {
        let said = edge.operator.run(args);
        assert_eq!(said.json()["schema"], 1, "{said}");
        // An import also tells people what it could not read, as what it prints is kept in a file.
        assert!(said.stderr.is_empty() || args[0] == "import", "{said}");
    }
    Ok(())
}

#[test]
fn whatever_changes_something_says_so_to_programs_or_quietly_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let ports = |port: &str| policy(&[interface("edge0", &[allow("web", "tcp", port)])]);
    let apply = |port: &str, more: &[&str]| -> Result<()> {
        let path = edge.operator.policy(&ports(port))?;
        edge.operator.run(&[&["apply", "--force", path.to_str().expect("text")], more].concat()).exits(0);
        Ok(())
    };
    let json = |args: &[&str]| {
        let said = edge.operator.run(args).exits(0);
        assert_eq!(said.stderr, "", "{said}");
        said.json()
    };
    let quiet = |args: &[&str]| {
        let said = edge.operator.run(args).exits(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{args:?}");
    };
    let stage = |json: &Value| {
        let edge0 = &json["interfaces"][0];
        (edge0["interface"].clone(), edge0["stage"].clone(), edge0["generation"].clone())
    };
    let enforced_as = |generation: u64| ("edge0".into(), "enforce".into(), generation.into());

    apply("80", &[])?;
    apply("81", &["--confirm", "60s"])?;
    assert_eq!(stage(&json(&["confirm", "--json"])), enforced_as(3));
    apply("82", &["--shadow"])?;
    quiet(&["confirm", "--quiet"]);
    let back = json(&["rollback", "--json"]);
    assert_eq!(stage(&back), enforced_as(6));
    assert_eq!(back["revision"], 2, "{back}");
    quiet(&["rollback", "-q"]);
    assert_eq!(json(&["detach", "--json", "edge0"])["detached"], serde_json::json!(["edge0"]));
    assert_eq!(json(&["detach", "--json", "--all"])["detached"], serde_json::json!([]));
    quiet(&["detach", "--quiet", "--all"]);
    let said = edge.operator.run(&["confirm", "--json"]).exits(1);
    assert_eq!(said.stderr, "");
    let message = said.json()["errors"][0]["message"].clone();
    assert_eq!(message, "there is nothing to confirm: no trial and no shadow is running");
    edge.operator.run(&["rollback", "--list", "--force"]).exits(2);
    Ok(())
}

#[test]
fn counters_are_summed_up_for_programs_too() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(
        &edge.operator,
        &policy(&[interface("edge0", &[allow("web", "tcp", "443"), allow("dns", "udp", "53")])]),
    );
    assert!(edge.answers(PATIENCE)?);
    let by = |by: &str| -> Value {
        let json = edge.operator.run(&["counters", "--json", "--by", by]).exits(0).json();
        assert_eq!(json["by"], by);
        json["interfaces"][0].clone()
    };
    let rules = by("rule");
    let packets = &rules["rules"][0]["packets"];
    assert!(packets.as_u64().is_some_and(|packets| packets > 0), "{rules:#}");
    let roles = by("role");
    assert!(roles.get("rules").is_none(), "{roles:#}");
    assert_eq!((&roles["roles"][0]["role"], &roles["roles"][0]["packets"]), (&Value::Null, packets));
    assert_eq!(roles["roles"][0]["rules"], 2);
    let services = by("service");
    let web = services["services"].as_array().into_iter().flatten().find(|sum| sum["service"] == "web");
    assert_eq!(&web.expect("there")["packets"], packets);
    let reasons = by("reason");
    assert!(reasons.get("rules").is_none() && reasons["reasons"].is_array(), "{reasons:#}");
    Ok(())
}

#[test]
fn no_command_ends_otherwise_because_its_reader_has_gone() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let path = Operator::policy_path();
    let path = path.to_str().expect("text");
    let wide = edge.lab.folder("wide")?.join("wide.toml");
    fs::write(&wide, policy(&[interface("edge0", &[allow_from("web", "tcp", "443", &["10.0.0.0/8"])])]))?;
    let wide = wide.to_str().expect("text");
    for (args, code) in [
        (&["completions", "bash"][..], 0),
        (&["completions", "zsh"], 0),
        (&["--help"], 0),
        (&["catalog", "list"], 0),
        (&["catalog", "list", "--json"], 0),
        (&["check", path], 3),
        (&["check", "--json", path], 3),
        (&["plan", wide], 3),
        (&["plan", "--json", wide], 3),
        (&["doctor"], 0),
        (&["rollback", "--list"], 0),
        (&["counters", "--watch", "1"], 0),
        (&["apply", "/mnt/none.toml"], 2),
        (&["apply", "--json", "/mnt/none.toml"], 2),
        (&["nonsense"], 2),
    ] {
        let mut command = edge.operator.command(args);
        for is_both in [false, true] {
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            command.stderr(if is_both { writer.try_clone()?.into() } else { Stdio::piped() }).stdout(writer);
            let ended = command.spawn()?.wait_with_output()?;
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(code), "{args:?}: {complaint}");
            assert!(!complaint.contains("panicked"), "{args:?}: {complaint}");
        }
    }
    Ok(())
}

#[test]
fn usage_errors_name_what_was_typed_and_nothing_else() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    // The lab's folders are set by variables: nobody typed them.
    let usage = |args: &[&str]| -> String {
        let said = operator.run(args).exits(2);
        assert!(!said.stderr.contains("--state") && said.stdout.is_empty(), "{said}");
        said.stderr
    };
    assert_eq!(
        usage(&["chek"]),
        "portcullis: unrecognized subcommand 'chek'\n  = help: did you mean `check`?\n"
    );
    assert_eq!(
        usage(&["detach"]),
        "portcullis: the following required arguments were not provided: <INTERFACE|--all>\n  \
         = help: `portcullis detach --help` shows what can be written\n"
    );
    assert_eq!(
        usage(&["apply", "--confirm", "60s", "--shadow"]),
        "portcullis: the argument '--confirm <DURATION>' cannot be used with '--shadow'\n  \
         = help: `portcullis apply --help` shows what can be written\n"
    );
    let mut command = operator.command(&["boot"]);
    command.env("PORTCULLIS_FAIL_MODE", "shut");
    let said = Ran::of(command).exits(2).complains("invalid value 'shut' for 'PORTCULLIS_FAIL_MODE'");
    assert!(!said.stderr.contains("--fail-mode"), "{said}");
    Ok(())
}

#[test]
fn an_option_of_the_agent_that_its_unit_has_is_replaced_by_a_later_one() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let typed = ["agent", "--trial", "60s", "--trial", "5s", "--policy", "/mnt/none.toml"];
    operator.run(&typed).exits(2).complains("/mnt/none.toml");
    Ok(())
}
