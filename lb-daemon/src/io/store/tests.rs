use std::os::unix::fs::{MetadataExt, PermissionsExt};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("a/b")).unwrap();
    (dir, store)
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(&store.dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn running() -> Running {
    let text = b"services: [{name: web, address: 192.0.2.1:80, reals: [192.0.2.21, 192.0.2.22]}]";
    Running {
        model: config::parse(text, Path::new("f"), &Anywhere).unwrap(),
        origin: Some(Digest::of(text)),
        edited: false,
    }
}

#[test]
fn what_is_written_is_read_by_the_next_start() {
    let (_dir, store) = store();
    assert_eq!(store.read_running().unwrap(), Found::Nothing);
    store.write_running(&running()).unwrap();
    store.write(Item::Health, b"{}").unwrap();
    let next = Store::open(&store.dir).unwrap();
    assert_eq!(next.read_running().unwrap(), Found::Remembered(running()));
    for (origin, edited) in [(None, true), (running().origin, true), (None, false)] {
        let other = Running {
            origin,
            edited,
            ..running()
        };
        next.write_running(&other).unwrap();
        assert_eq!(next.read_running().unwrap(), Found::Remembered(other));
    }
    assert_eq!(
        next.read(Item::Health).unwrap(),
        Found::Remembered(b"{}".to_vec())
    );
    next.remove(Item::Running).unwrap();
    next.remove(Item::Running).unwrap();
    assert_eq!(next.read_running().unwrap(), Found::Nothing);
}

#[test]
fn what_is_remembered_already_is_not_written_again() {
    let (_dir, store) = store();
    let inode = || fs::metadata(store.path(Item::Health)).unwrap().ino();
    store.write(Item::Health, b"{}").unwrap();
    let first = inode();
    store.write(Item::Health, b"{}").unwrap();
    assert_eq!(inode(), first);
    store.write(Item::Health, b"{ }").unwrap();
    assert_ne!(inode(), first);
    let Found::Remembered(body) = store.read(Item::Health).unwrap() else {
        panic!("nothing is remembered");
    };
    assert_eq!(body, b"{ }");
}

#[test]
fn the_file_is_a_configuration_by_itself_and_for_root_only() {
    let (_dir, store) = store();
    store.write_running(&running()).unwrap();
    let path = store.path(Item::Running);
    assert_eq!(config::load(&path, &Anywhere).unwrap(), running().model);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(&store.dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn every_damage_of_one_byte_or_one_cut_is_noticed_and_moved_aside() {
    let (_dir, store) = store();
    store.write_running(&running()).unwrap();
    let path = store.path(Item::Running);
    let good = fs::read(&path).unwrap();
    let damaged = (0..good.len()).map(|n| {
        let mut bad = good.clone();
        bad[n] ^= 0x20;
        bad
    });
    let cut = (0..good.len()).map(|n| good[..n].to_vec());
    for bad in damaged.chain(cut) {
        fs::write(&path, &bad).unwrap();
        let Found::Unusable(unusable) = store.read_running().unwrap() else {
            panic!("not noticed: {}", String::from_utf8_lossy(&bad));
        };
        assert_eq!(fs::read(unusable.aside.unwrap()).unwrap(), bad);
        assert_eq!(store.read_running().unwrap(), Found::Nothing);
    }
    assert_eq!(names(&store).len(), ASIDE as usize, "the oldest make room");
}

#[test]
fn the_state_of_a_later_version_is_kept_for_it() {
    let (_dir, store) = store();
    let path = store.path(Item::Running);
    fs::write(&path, "# lbd state 7 running.yaml 3 00000000\nabc").unwrap();
    let Found::Unusable(unusable) = store.read_running().unwrap() else {
        panic!("read a later version");
    };
    assert_eq!(
        unusable.to_string(),
        format!(
            "the state `{0}` cannot be used: it is of version 7 of the state, and this lbd writes version 1; \
             hint: it is kept as `{0}.unusable.1`; remove that when it is of no use",
            path.display()
        )
    );
}

#[test]
fn who_only_looks_leaves_what_cannot_be_used_where_it_is() {
    let (_dir, store) = store();
    fs::write(store.path(Item::Running), "damaged").unwrap();
    let before = names(&store);
    let guest = Store::look(&store.dir).unwrap();
    assert!(matches!(guest.read_running().unwrap(), Found::Unusable(_)));
    assert_eq!(names(&store), before);
    assert!(Store::look(&store.dir.join("none")).is_none());
}

#[test]
fn what_this_version_would_not_accept_is_moved_aside_too() {
    let (_dir, store) = store();
    store
        .write(Item::Running, b"services: [{adress: x}]")
        .unwrap();
    let Found::Unusable(unusable) = store.read_running().unwrap() else {
        panic!("accepted");
    };
    assert!(
        unusable.why.contains("there is no key `adress`"),
        "{}",
        unusable.why
    );
}

#[test]
fn what_a_killed_daemon_left_half_written_is_removed() {
    let (_dir, store) = store();
    store.write_running(&running()).unwrap();
    fs::write(store.dir.join(".lbd-new-abc"), "half").unwrap();
    Store::open(&store.dir).unwrap();
    assert_eq!(names(&store), ["running.yaml"]);
}

#[test]
fn a_directory_that_cannot_be_one_is_an_error_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("x")).unwrap_err().to_string();
    assert!(error.contains("hint: name a place"), "{error}");
}

#[test]
fn the_old_file_is_kept_and_a_failed_write_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, backup) = (dir.path().join("f"), dir.path().join("f.bak"));
    let mode = || fs::Permissions::from_mode(0o640);
    replace(&file, b"one", mode(), Some(&backup)).unwrap();
    assert!(!backup.exists());
    replace(&file, b"two", mode(), Some(&backup)).unwrap();
    assert_eq!(fs::read(&backup).unwrap(), b"one");
    assert_eq!(fs::read(&file).unwrap(), b"two");
    // The backup cannot be made: a directory is in its place.
    let taken = dir.path().join("taken");
    fs::create_dir_all(taken.join("x")).unwrap();
    assert!(replace(&file, b"three", mode(), Some(&taken)).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"two");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn saving_keeps_the_file_before_its_permissions_and_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("real.yaml"), dir.path().join("lbd.yaml"));
    fs::write(&file, "# mine\nservices: []\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let digest = save(&link, &running().model).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(config::load(&link, &Anywhere).unwrap(), running().model);
    assert_eq!(Digest::of_file(&link), Some(digest));
    let backup = dir.path().join("real.yaml.bak");
    assert_eq!(
        fs::read_to_string(backup).unwrap(),
        "# mine\nservices: []\n"
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o604
    );

    let new = dir.path().join("new.yaml");
    save(&new, &running().model).unwrap();
    assert_eq!(config::load(&new, &Anywhere).unwrap(), running().model);
    assert!(save(&dir.path().join("no/such/dir.yaml"), &running().model).is_err());
}

/// In a mount namespace of this thread's own, so that nothing is left behind.
#[test]
fn a_full_disk_leaves_what_was_remembered() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let test = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let dir = tempfile::tempdir().unwrap();
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=64k"),
        )?;
        let store = Store::open(dir.path()).unwrap();
        store.write_running(&running()).unwrap();
        let error = store
            .write(Item::Running, &vec![b'x'; 1 << 20])
            .unwrap_err();
        assert!(error.to_string().contains("hint: make room"), "{error}");
        assert_eq!(
            names(&store),
            ["running.yaml"],
            "nothing half written stays"
        );
        assert_eq!(store.read_running().unwrap(), Found::Remembered(running()));
        nix::mount::umount(dir.path())
    };
    if let Err(error) = std::thread::spawn(test).join().unwrap() {
        println!("SKIP: a file system of its own needs root: {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_in_a_state_file_make_the_reader_panic(bytes: Vec<u8>) {
        let (_dir, store) = store();
        fs::write(store.path(Item::Running), &bytes).unwrap();
        let unusable = matches!(store.read_running().unwrap(), Found::Unusable(_));
        prop_assert!(unusable);
    }
}
