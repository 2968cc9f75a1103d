use std::{
    fs,
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

/// What is read of a policy with these modes of the file, its folder and the one around it.
fn with_modes([file, inner, outer]: [u32; 3]) -> Result<Vec<u8>, String> {
    let root = tempfile::tempdir().expect("temporary folder");
    let place = root.path().join("outer/inner");
    fs::create_dir_all(&place).expect("folder");
    let path = place.join("policy.toml");
    fs::write(&path, "version = 1\n").expect("file");
    mode(&path, file);
    mode(&place, inner);
    mode(&root.path().join("outer"), outer);
    read_trusted(&path, 100).map_err(|error| error.to_string())
}

#[test]
fn what_only_its_owner_may_change_is_read() {
    assert_eq!(with_modes([0o644, 0o755, 0o755]), Ok(b"version = 1\n".to_vec()));
    assert_eq!(with_modes([0o600, 0o700, 0o711]), Ok(b"version = 1\n".to_vec()));
}

#[test]
fn what_others_may_change_is_refused_with_what_mends_it() {
    for (modes, path, mend) in [
        ([0o664, 0o755, 0o755], "policy.toml has mode 0664", "chmod g-w "),
        ([0o606, 0o755, 0o755], "policy.toml has mode 0606", "chmod o-w "),
        ([0o666, 0o755, 0o755], "policy.toml has mode 0666", "chmod go-w "),
        ([0o644, 0o777, 0o755], "inner has mode 0777", "chmod go-w "),
        ([0o644, 0o755, 0o775], "outer has mode 0775", "chmod g-w "),
        ([0o644, 0o1777, 0o755], "inner has mode 1777", "move it to a folder of yours"),
        ([0o644, 0o755, 0o1777], "outer has mode 1777", "move it to a folder of yours"),
    ] {
        let error = with_modes(modes).expect_err("others may write");
        assert!(error.contains(path) && error.contains(mend), "{error}");
    }
}

/// Holds: security trusted-files.
#[test]
fn the_whole_way_of_a_link_is_looked_at() {
    let root = tempfile::tempdir().expect("temporary folder");
    let (etc, open) = (root.path().join("etc"), root.path().join("open"));
    for folder in [&etc, &open] {
        fs::create_dir(folder).expect("folder");
    }
    let file = etc.join("real.toml");
    fs::write(&file, "version = 1\n").expect("file");
    for (link, target) in
        [("absolute.toml", file.as_path()), ("relative.toml", Path::new("../etc/./real.toml"))]
    {
        symlink(target, etc.join(link)).expect("link");
        assert_eq!(read_trusted(&etc.join(link), 100).expect("read"), b"version = 1\n");
    }
    // Whoever may write to the folder of a link decides where it leads, wherever that is.
    symlink(&file, open.join("policy.toml")).expect("link");
    symlink(open.join("policy.toml"), etc.join("there-and-back.toml")).expect("link");
    mode(&open, 0o777);
    for path in [open.join("policy.toml"), etc.join("there-and-back.toml")] {
        let error = read_trusted(&path, 100).expect_err("anybody may replace the link").to_string();
        assert!(error.contains("open has mode 0777"), "{error}");
    }
    symlink("loop", etc.join("loop")).expect("link");
    assert!(read_trusted(&etc.join("loop"), 100).is_err());
    let missing = read_trusted(&etc.join("missing"), 100).expect_err("nothing there");
    assert!(missing.is_missing(), "{missing}");
}

#[test]
fn what_never_ends_is_not_opened() {
    let root = tempfile::tempdir().expect("temporary folder");
    let pipe = root.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
    let socket = root.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let device = Path::new("/dev/zero");
    for (path, what) in [
        (pipe.as_path(), "a named pipe"),
        (&socket, "a socket"),
        (device, "a device"),
        (root.path(), "a folder"),
    ] {
        // Nobody writes to the pipe, so that opening it as usual would wait for ever.
        for read in [read, read_trusted] {
            let error = read(path, 100).expect_err("no file").to_string();
            assert!(error.contains(&format!("is {what}")) && error.contains("/dev/stdin"), "{error}");
        }
    }
}

#[test]
fn a_pipe_without_a_name_is_read_to_its_end() {
    for read in [read, read_trusted] {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let writing = std::thread::spawn(move || {
            // More than the pipe holds, so that the reader has to wait and read on.
            let text = vec![b'x'; 1 << 18];
            writer.write_all(&text).expect("somebody reads");
        });
        assert_eq!(read(Path::new(&path), 1 << 20).expect("read").len(), 1 << 18);
        writing.join().expect("written");
    }
}

#[test]
fn more_than_the_limit_is_refused() {
    let root = tempfile::tempdir().expect("temporary folder");
    let path = root.path().join("file");
    fs::write(&path, [0; 10]).expect("file");
    assert!(read(&path, 10).is_ok());
    assert!(read(&path, 9).expect_err("too large").to_string().contains("9 bytes"));
}

#[test]
fn what_is_written_is_whole_and_private() {
    let root = tempfile::tempdir().expect("temporary folder");
    let path = root.path().join("file.json");
    for text in ["first and longer", "second"] {
        write_private(&path, text.as_bytes()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), text);
    }
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 1, "nothing is left next to it");
}

#[test]
fn what_cannot_be_put_in_place_leaves_nothing() {
    let root = tempfile::tempdir().expect("temporary folder");
    let path = root.path().join("taken");
    fs::create_dir(&path).expect("folder");
    assert!(write_private(&path, b"text").is_err());
    assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 1, "nothing is left next to it");
}

#[test]
fn a_lock_is_one_file_for_everybody() {
    let root = tempfile::tempdir().expect("temporary folder");
    let path = root.path().join("lock");
    let inode = |file: File| file.metadata().expect("open").ino();
    let all: BTreeSet<u64> = std::thread::scope(|scope| {
        let begun: Vec<_> =
            (0..8).map(|_| scope.spawn(|| inode(open_lock(&path).expect("a lock")))).collect();
        begun.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(all.len(), 1);
    assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 1, "nothing is left next to it");
}
