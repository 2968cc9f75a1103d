//! Folders of the agent's user, who plants links in them while root's commands work there: no file of root's
//! elsewhere changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    unistd::{Uid, setfsuid},
};
use portcullis_tests::{
    lab::Lab,
    operator::{Operator, Ran, device, pins},
};

use crate::{Edge, Noise, opening};

/// The agent's user.
const USER: u32 = 1234;

/// What is root's alone, as it was before.
struct Treasure {
    folder: PathBuf,
    before: BTreeMap<PathBuf, Row>,
}

/// Owner, group, mode, number of names, time of change and content.
type Row = (u32, u32, u32, u64, i64, String);

impl Treasure {
    /// Files with every name that is used in folders of the agent, where links may lead to.
    fn new(lab: &Lab) -> Result<Self> {
        let folder = lab.folder("treasure")?;
        for file in [
            "file",
            "lock",
            "control.sock",
            "last-good.json",
            "edge0.json",
            "edge0/1.json",
            "edge0/keep",
            "1/policy.toml",
            "1/revision.json",
            "1/interfaces/edge0.json",
            "interfaces/edge0/keep",
            "revisions/1/keep",
            "hits/edge0.json",
        ] {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().expect("a folder"))?;
            fs::write(&file, "root's own\n")?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
        }
        let before = Self::look(&folder)?;
        Ok(Self { folder, before })
    }

    fn look(folder: &Path) -> Result<BTreeMap<PathBuf, Row>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let (path, data) = (entry.path(), entry.metadata()?);
                let content = if data.is_file() { fs::read_to_string(&path)? } else { String::new() };
                let row = (data.uid(), data.gid(), data.mode(), data.nlink(), data.mtime_nsec(), content);
                found.insert(path.clone(), row);
                if data.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(found)
    }

    #[track_caller]
    fn assert_untouched(&self, after: &str) {
        let now = Self::look(&self.folder).expect("it can be read");
        let paths = self.before.keys().chain(now.keys());
        let changed: BTreeSet<_> = paths.filter(|path| self.before.get(*path) != now.get(*path)).collect();
        assert!(changed.is_empty(), "after {after}, of root's own files changed: {changed:?}");
    }
}

/// A state folder, a lasting one and one for pins that are the agent's user's.
fn give_folders() -> Result<()> {
    for folder in [Operator::state(), Operator::lasting(), Lab::bpffs().join("portcullis")] {
        fs::create_dir_all(&folder)?;
        chown(&folder, Some(USER), Some(USER))?;
    }
    Ok(())
}

/// Commands of root that change something, and those that only look; what comes of them does not matter here.
fn work(edge: &Edge, port: u16) {
    let policy = edge.operator.policy(&opening(port)).expect("written");
    let policy = policy.to_str().expect("text");
    for arguments in [&["apply", policy][..], &["status"], &["counters"], &["rollback"], &["detach", "--all"]]
    {
        let ran: Ran = edge.operator.run(arguments);
        assert!(matches!(ran.code, Some(0..=3)) && !ran.stderr.contains("panicked"), "{ran}");
    }
}

/// Holds: security planted-links.
#[test]
fn links_that_the_agents_user_planted_are_not_followed() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let treasure = Treasure::new(&edge.lab)?;
    let (state, lasting) = (Operator::state(), Operator::lasting());
    let file = treasure.folder.join("file");
    let planted = [
        (lasting.join("last-good.new"), file.clone()),
        (lasting.join("last-good.json"), file.clone()),
        (state.join("lock"), file.clone()),
        (state.join("control.sock"), file.clone()),
        (state.join("interfaces"), treasure.folder.clone()),
        (state.join("interfaces/edge0"), treasure.folder.join("edge0")),
        (state.join("revisions"), treasure.folder.clone()),
        (state.join("revisions/1"), treasure.folder.join("1")),
        (state.join("hits"), treasure.folder.clone()),
        (state.join("hits/edge0.new"), file.clone()),
        (state.join("hits/edge0.json"), file.clone()),
        (state.join("archive"), treasure.folder.clone()),
        (Lab::bpffs().join("portcullis"), treasure.folder.clone()),
        (pins(), treasure.folder.clone()),
        (pins().join("edge0"), treasure.folder.join("edge0")),
    ];
    for (link, target) in planted {
        give_folders()?;
        let parent = link.parent().expect("a folder");
        for folder in parent.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if !folder.exists() {
                fs::create_dir(folder)?;
                chown(folder, Some(USER), Some(USER))?;
            }
        }
        if link.is_dir() {
            fs::remove_dir(&link)?;
        }
        symlink(&target, &link)?;
        std::os::unix::fs::lchown(&link, Some(USER), Some(USER))?;
        work(&edge, 443);
        treasure.assert_untouched(&format!("{} -> {}", link.display(), target.display()));
        for folder in [&state, &lasting, &Lab::bpffs().join("portcullis")] {
            if folder.is_symlink() {
                fs::remove_file(folder)?;
            } else {
                fs::remove_dir_all(folder)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_planted_link_is_refused_with_its_name() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    give_folders()?;
    symlink("/etc", Operator::state().join("interfaces"))?;
    let said = edge.operator.apply(&opening(443)).exits(1);
    said.complains("/mnt/state/run/interfaces is not what this command or the agent made there")
        .complains("remove it");
    Ok(())
}

#[test]
fn an_agent_of_root_listens_where_another_user_planted_a_link() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let treasure = Treasure::new(&edge.lab)?;
    give_folders()?;
    let socket = Operator::state().join("control.sock");
    symlink(treasure.folder.join("control.sock"), &socket)?;
    let _agent = edge.agent(&opening(443), &[]);
    edge.operator.run(&["reload"]).exits(0);
    assert_eq!(fs::symlink_metadata(&socket)?.mode() & 0o7777, 0o600);
    treasure.assert_untouched("a start of the agent");
    Ok(())
}

#[test]
fn a_state_folder_that_a_link_of_root_leads_to_is_used() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let elsewhere = edge.lab.folder("elsewhere")?;
    symlink(&elsewhere, Operator::state())?;
    edge.operator.apply(&opening(443)).exits(0);
    assert!(elsewhere.join("interfaces").join(device("edge0").to_string()).is_dir());
    edge.assert_open(443, 8080);
    Ok(())
}

/// Holds: security planted-links.
#[test]
fn what_root_makes_in_the_agents_folders_is_the_agents() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    give_folders()?;
    edge.operator.apply(&opening(443)).exits(0);
    edge.operator.run(&["counters"]).exits(0);
    let mut folders = vec![Operator::state(), Operator::lasting(), pins()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let data = fs::symlink_metadata(&path)?;
            assert_eq!((data.uid(), data.gid()), (USER, USER), "{}", path.display());
            files += usize::from(data.is_file());
            if data.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(files > 8, "{files} files");
    // What only its owner may use must let the agent itself go on.
    let path = Operator::policy_path();
    let arguments = ["apply", path.to_str().expect("text")];
    Ran::of(edge.operator.command_as(USER, "bpf,net_admin,perfmon", &arguments)).exits(0);
    Ok(())
}

/// Holds: security planted-links.
#[test]
fn links_that_come_and_go_while_root_works_lead_nowhere() -> Result<()> {
    /// How often root works; the links come and go some ten thousand times meanwhile.
    const TIMES: u16 = 12;
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let treasure = Treasure::new(&edge.lab)?;
    give_folders()?;
    let (state, lasting) = (Operator::state(), Operator::lasting());
    let (folder, file) = (treasure.folder.clone(), treasure.folder.join("file"));
    let shelf = pins();
    let swapped = vec![
        (state.join("lock"), file.clone()),
        (state.join("interfaces"), folder.clone()),
        (state.join("revisions"), folder.clone()),
        (state.join("hits"), folder.clone()),
        (lasting.join("last-good.json"), file.clone()),
        (lasting.join("last-good.new"), file.clone()),
        (shelf.join("FLOWS"), file.clone()),
        (shelf.join("edge0"), folder.join("edge0")),
        (shelf.join("edge0/COUNTERS"), file.clone()),
        (shelf.join("edge0/ingress"), file.clone()),
    ];
    let plant = move || {
        for (name, target) in &swapped {
            // As anybody would: what is not there yet is planted, what is there is exchanged for a moment.
            let beside = name.with_extension("beside").with_file_name("beside");
            let _ = symlink(target, &beside);
            if renameat2(AT_FDCWD, &beside, AT_FDCWD, name, RenameFlags::RENAME_EXCHANGE).is_ok() {
                thread::sleep(Duration::from_micros(50));
                let _ = renameat2(AT_FDCWD, &beside, AT_FDCWD, name, RenameFlags::RENAME_EXCHANGE);
            } else if symlink(target, name).is_ok() {
                thread::sleep(Duration::from_micros(50));
                let _ = fs::remove_file(name);
            }
            let _ = fs::remove_file(&beside);
        }
    };
    let noise = Noise::start(move || {
        // Of this thread alone, and without root's rights to files (setfsuid(2)).
        setfsuid(Uid::from_raw(USER));
        plant();
    });
    for turn in 0..TIMES {
        work(&edge, if turn % 2 == 0 { 443 } else { 8080 });
        treasure.assert_untouched(&format!("turn {turn}"));
    }
    drop(noise);
    Ok(())
}
