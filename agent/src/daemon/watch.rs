//! Tells when a file may have changed: written in place, replaced by a rename, or behind a symbolic
//! link that was switched.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{datapath::chain, files::reversed};

/// An editor writes in several steps: a change counts when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(100);
/// A folder may never be quiet: a change counts at the latest after this long.
const LONGEST: Duration = Duration::from_secs(1);

/// A watch on one file.
pub(super) struct FileWatch {
    file: PathBuf,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    events: mpsc::UnboundedReceiver<()>,
    /// When the first and the last event happened that were not told yet. Kept here because
    /// [`Self::changed`] may be dropped while it waits.
    untold: Option<(Instant, Instant)>,
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
        let watcher = notify::recommended_watcher(notice).with_context(failed)?;
        let file = std::path::absolute(file).with_context(failed)?;
        let mut watch = Self { file, watcher, watched: BTreeSet::new(), events, untold: None };
        watch.follow()?;
        Ok(watch)
    }

    /// Returns when something happened and then nothing for a while. Where it is dropped before, the
    /// next call goes on in its place.
    pub(super) async fn changed(&mut self) {
        let mut now = match self.untold {
            Some((_, last)) => last,
            None => {
                if self.events.recv().await.is_none() {
                    return std::future::pending().await;
                }
                Instant::now()
            }
        };
        loop {
            let first = self.untold.map_or(now, |(first, _)| first);
            self.untold = Some((first, now));
            let due = (now + QUIET).min(first + LONGEST);
            match timeout_at(due, self.events.recv()).await {
                Ok(Some(())) if Instant::now() < due => now = Instant::now(),
                _ => break,
            }
        }
        self.untold = None;
        // Before whoever waits reads the file, so that no change falls between the two.
        if let Err(error) = self.follow() {
            log::warn!("{}", chain(error.as_ref()));
        }
    }

    /// Watches what the file's links lead to now, and nothing else.
    fn follow(&mut self) -> Result<()> {
        let folders = folders(&self.file);
        for gone in std::mem::take(&mut self.watched).difference(&folders) {
            // A folder that was removed is not watched any more.
            let _ = self.watcher.unwatch(gone);
        }
        for folder in folders {
            // Also where it was watched already: it may be another folder under the same name.
            self.watcher
                .watch(&folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("cannot watch {} for {}", folder.display(), self.file.display()))?;
            self.watched.insert(folder);
        }
        Ok(())
    }
}

/// The folder of a file, or the last on the way to it that there is, and the folder of each link on the
/// way; free of links themselves.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    /// As many links as the kernel follows (MAXSYMLINKS of include/linux/namei.h).
    const MAX_LINKS: usize = 40;
    let mut folders = BTreeSet::new();
    let mut links = 0;
    let mut folder = PathBuf::from("/");
    let mut rest = reversed(file);
    while let Some(name) = rest.pop() {
        if name == ".." {
            folder.pop();
            continue;
        }
        let path = folder.join(name);
        if let Ok(target) = std::fs::read_link(&path).as_deref() {
            folders.insert(folder.clone());
            links += 1;
            if links > MAX_LINKS {
                break;
            }
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            rest.extend(reversed(target));
        } else if rest.is_empty() || !path.exists() {
            // Where a folder is missing, the one above it will tell when it is made.
            folders.insert(folder);
            break;
        } else {
            folder = path;
        }
    }
    folders
}
