//! Configurations that are refused, each with what is said about it, and configurations that are accepted.
//!
//! `tests/config/bad/NAME.yaml` is refused with the text of `NAME.txt`. After a change of wording,
//! `UPDATE_EXPECTED=1 cargo test -p lb-daemon --test config` writes the texts anew: review them as any other change.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "config/machine.rs"]
mod machine;

use std::os::unix::fs::PermissionsExt;
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

#[test]
fn a_script_that_others_can_write_is_refused_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let path = script.display();
    let said = |mode: u32| {
        std::fs::set_permissions(&script, PermissionsExt::from_mode(mode)).unwrap();
        let text = format!(
            "services:\n  - name: web\n    address: 192.168.200.16:80\n    health:\n      - script: {{command: [{path}, -v]}}\n    \
             reals: [10.0.0.21]\n"
        );
        let parsed = config::parse(text.as_bytes(), Path::new("lbd.yaml"), &Machine);
        parsed
            .err()
            .map(|refused| refused.to_string())
            .unwrap_or_default()
    };
    assert_eq!(said(0o755), "");
    let (writable, plain) = (said(0o757), said(0o644));
    for part in [
        &format!(
            "lbd.yaml:5:17: service `web`: `{path}` is not safe to run: `{path}` can be changed by everybody\n"
        ),
        "\n  why: whoever can change it could run anything as the user of the script\n",
        &format!("\n  hint: `chmod go-w {path}`\n"),
    ] {
        assert!(writable.contains(part), "{writable}");
    }
    for part in [
        &format!("lbd.yaml:5:17: service `web`: `{path}` is not executable\n"),
        &format!("\n  hint: `chmod 755 {path}`\n"),
    ] {
        assert!(plain.contains(part), "{plain}");
    }
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
