//! Configurations that are refused, each with what is said about it, and configurations that are accepted.
//!
//! `tests/config/bad/NAME.yaml` is refused with the text of `NAME.txt`. After a change of wording,
//! `UPDATE_EXPECTED=1 cargo test -p lb-daemon --test config` writes the texts anew: review them as any other change.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "config/machine.rs"]
mod machine;

use std::path::{Path, PathBuf};

use lb_daemon::config::{self, Anywhere};
use machine::Machine;

fn corpus(kind: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind);
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_is_refused_with_the_words_beside_it() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let files = corpus("bad");
    let count = files.len();
    let mut wrong = Vec::new();
    for file in files {
        let name = Path::new(file.file_name().unwrap());
        let bytes = std::fs::read(&file).unwrap();
        let said = match config::parse(&bytes, name, &Machine) {
            Err(refused) => format!("{refused}\n"),
            Ok(_) => {
                wrong.push(format!("{} is accepted", name.display()));
                continue;
            }
        };
        let beside = file.with_extension("txt");
        if update {
            std::fs::write(&beside, &said).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if said != expected {
            wrong.push(format!(
                "-- {}\n{said}-- expected\n{expected}",
                name.display()
            ));
        }
        for line in said.lines() {
            assert!(line.chars().count() < 250, "{}: {line}", name.display());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 60, "only {count} bad files");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_good_file_and_every_example_is_accepted() {
    let examples = std::fs::read_dir(repository().join("configs")).unwrap();
    let examples = examples
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut count = 0;
    for file in corpus("good").into_iter().chain(examples) {
        // Examples are for another machine than the one of the bad files.
        if let Err(refused) = config::load(&file, &Anywhere) {
            panic!("{refused}");
        }
        count += 1;
    }
    assert!(count >= 8, "only {count} files");
}

#[test]
fn the_reference_is_what_the_tables_say() {
    let path = repository().join("docs/configuration.md");
    let text = config::reference();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == text,
        "docs/configuration.md is stale; hint: UPDATE_EXPECTED=1 cargo test -p lb-daemon --test config"
    );
}

#[test]
fn every_configuration_in_the_documents_is_accepted() {
    let mut found = 0;
    for entry in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            if let Err(refused) = config::parse(block.as_bytes(), &path, &Anywhere) {
                panic!("{refused}\n{block}");
            }
            found += 1;
        }
    }
    assert!(found >= 2, "only {found} examples");
}
