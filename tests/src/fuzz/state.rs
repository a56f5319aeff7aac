//! What the daemon remembers: a file that was damaged, or written by somebody else, is understood as what was meant or
//! not at all.

use std::cell::RefCell;
use std::fs;

use lb_daemon::io::health::record;
use lb_daemon::io::store::{Found, Item, Running, Store};
use tempfile::TempDir;

/// The first byte chooses which file it is, and whether its first line, which has a checksum, is made to be right.
pub(super) fn take(bytes: &[u8]) {
    let (choice, content) = super::choice(bytes);
    let items = [Item::Running, Item::Health, Item::Zeroed, Item::Drains];
    let item = items[choice / 2 % items.len()];
    DIRECTORY.with_borrow(|dir| {
        let store = Store::look(dir.path()).unwrap();
        if choice % 2 == 0 {
            fs::write(store.path(item), content).unwrap();
        } else {
            store.write(item, content).unwrap();
            let Found::Remembered(body) = store.read(item).unwrap() else {
                panic!("it cannot read what it has written");
            };
            assert_eq!(body, content);
        }
        let Ok(Found::Remembered(body)) = store.read(item) else {
            return;
        };
        match item {
            Item::Running => running(dir, &store),
            Item::Health => health(&body),
            // JSON of plain types.
            Item::Zeroed | Item::Drains => {}
        }
    });
}

/// A configuration that is understood is remembered as the same.
fn running(dir: &TempDir, store: &Store) {
    if let Ok(Found::Remembered(running)) = store.read_running() {
        let next = Store::open(&dir.path().join("next")).unwrap();
        next.write_running(&running).unwrap();
        let Ok(Found::Remembered(again)) = next.read_running() else {
            panic!("it cannot read what it has written");
        };
        assert_eq!(
            again,
            Running {
                origin: running.origin.or(again.origin),
                edited: running.edited || again.edited,
                ..running
            }
        );
    }
}

fn health(body: &[u8]) {
    let now = record::When::now();
    if let Ok(memory) = record::read(body, &now) {
        let written = record::write(&memory, now.clone());
        let again = record::read(&written, &now).expect("it reads what it has written");
        assert_eq!(memory, again);
    }
}

thread_local! {
    /// In memory where there is such a place.
    static DIRECTORY: RefCell<TempDir> = RefCell::new(
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
    );
}
