//! Documents of somebody who means harm: what they name is not fetched, read or run, and what they propose opens only
//! where an administrator names their roles.

use std::fs;

use anyhow::Result;
use nix::libc;
use portcullis_tests::{
    denied::{Call, forbid},
    operator::{Ran, lab},
};

use crate::Edge;

/// Holds: security untrusted-document.
#[test]
fn a_document_is_read_and_nothing_that_it_names() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let folder = edge.lab.folder("untrusted")?;
    let secret = folder.join("secret.md");
    fs::write(&secret, "| Role | Port |\n| --- | --- |\n| Secret server | TCP 4711 |\n")?;
    fs::write(folder.join("secret.csv"), "Role,Port\nSecret server,TCP 4711\n")?;
    let (secret, owned) = (secret.display().to_string(), folder.join("owned"));
    let run = format!("$(touch {0}) `touch {0}` ; touch {0}", owned.display());
    let documents = [
        (
            "page.html",
            format!(
                "<!DOCTYPE html [<!ENTITY x SYSTEM \"file://{secret}\">]><link rel=stylesheet href=\"http://203.0.113.2/a\">\
                 <script src=\"http://203.0.113.2/b\"></script><iframe src=\"file://{secret}\"></iframe>&x;\
                 <table><tr><th>Role<th>Port<tr><td>Web server {run}<td>TCP 443</table>"
            ),
        ),
        (
            "page.md",
            format!(
                "![x](file://{secret})\n\n| Role | Port |\n| --- | --- |\n| Web server {run} | TCP 443 |\n"
            ),
        ),
        (
            "page.rst",
            format!(
                ".. include:: {secret}\n\n.. csv-table:: Ports\n   :file: secret.csv\n\n.. csv-table:: Others\n   \
                 :header: Role, Port\n\n   Web server {run}, TCP 443\n"
            ),
        ),
        (
            "page.adoc",
            format!("include::{secret}[]\n\n|===\n|Role |Port\n\n|Web server {run}\n|TCP 443\n|===\n"),
        ),
    ];
    let without_sockets = |args: &[&str]| {
        let mut command = edge.operator.command(args);
        command.current_dir(&folder);
        forbid(&mut command, Call::Any(libc::SYS_socket));
        Ran::of(command)
    };
    for (name, text) in documents {
        fs::write(folder.join(name), text)?;
        let path = folder.join(name).display().to_string();
        for format in ["toml", "json"] {
            let said = without_sockets(&["import", "--format", format, &path]).exits(0).prints("443");
            assert!(!said.stdout.contains("4711"), "{said}");
        }
        assert!(!owned.exists(), "{name} was run");
    }
    // Whoever had a socket would not have come so far.
    assert_eq!(without_sockets(&["reload"]).code, None);
    Ok(())
}

/// Holds: security untrusted-document.
#[test]
fn what_a_document_proposes_opens_nothing_unless_its_role_is_named() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let folder = edge.lab.folder("proposed")?;
    let document = folder.join("ports.md");
    fs::write(
        &document,
        "| Role | Port |\n| --- | --- |\n| Web server | TCP 443 |\n| Back door | TCP 1-65535 |\n",
    )?;
    let document = document.display().to_string();
    let drafted = edge.operator.run(&["import", "--system", "mine", &document]).exits(0).stdout;
    assert!(drafted.contains("back-door") && drafted.contains("ports = [\"any\"]"), "{drafted}");
    fs::write(folder.join("mine.toml"), drafted)?;
    let opened = |roles: &str| -> Result<Vec<String>> {
        let policy = folder.join("policy.toml");
        let text = format!(
            "version = 1\ncatalog = [\"mine.toml\"]\n[[interface]]\nname = \"edge0\"\nroles = [{roles}]\n"
        );
        fs::write(&policy, text)?;
        let plan = edge.operator.run(&["plan", "--json", &policy.display().to_string()]).exits(3).json();
        let changes = plan["interfaces"][0]["changes"].as_array().cloned().unwrap_or_default();
        Ok(changes.iter().filter_map(|change| change["what"].as_str().map(str::to_owned)).collect())
    };
    assert_eq!(opened("")?, Vec::<String>::new());
    assert_eq!(opened("\"mine/web-server\"")?, ["tcp/443"]);
    Ok(())
}
