//! Tells when a file may have changed: written in place, replaced by a rename, or behind a symbolic
//! link that was switched.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::mpsc, time::timeout};

/// An editor writes in several steps: a change counts when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(100);

/// A watch on one file.
pub(super) struct FileWatch {
    /// Dropped, it would stop watching.
    _watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<()>,
}

impl FileWatch {
    /// Watches the folders of the file and of whatever it links to: a file that is replaced is
    /// another file, but stands in the same folder.
    pub(super) fn new(file: &Path) -> Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let notice = move |event: notify::Result<notify::Event>| {
            // Reading the file is itself an access event.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // Nobody listens any more only when the agent is stopping.
                let _ = sender.send(());
            }
        };
        let failed = || format!("cannot watch {}", file.display());
        let mut watcher = notify::recommended_watcher(notice).with_context(failed)?;
        for folder in folders(file) {
            watcher.watch(&folder, RecursiveMode::NonRecursive).with_context(failed)?;
        }
        Ok(Self { _watcher: watcher, events })
    }

    /// Returns when something happened and then nothing for a while.
    pub(super) async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            return std::future::pending().await;
        }
        while let Ok(Some(())) = timeout(QUIET, self.events.recv()).await {}
    }
}

/// The folder of a file, and of each link on the way to it.
fn folders(file: &Path) -> Vec<PathBuf> {
    /// As many links as the kernel follows (MAXSYMLINKS of include/linux/namei.h).
    const MAX_LINKS: usize = 40;
    let mut folders = Vec::new();
    let mut path = file.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let target = std::fs::read_link(&path).map(|target| folder.join(target));
        if !folders.contains(&folder) {
            folders.push(folder);
        }
        match target {
            Ok(target) => path = target,
            Err(_) => break,
        }
    }
    folders
}
