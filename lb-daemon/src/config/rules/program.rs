//! May a program be run?
//!
//! Only if nobody but root, and the user that it runs as, can change it: whoever else could would run what they like.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

/// Why a program may not be run.
pub(super) struct Untrusted {
    pub(super) what: String,
    pub(super) why: Option<&'static str>,
    pub(super) hint: String,
}

const STICKY: u32 = 0o1000;
const OTHERS: u32 = 0o002;
const GROUP: u32 = 0o020;

/// Whether a program may be run as a user; else as the daemon's own.
pub(super) fn trusted(program: &Path, user: Option<&str>) -> Result<(), Untrusted> {
    let shown = program.display();
    let runs_as = match user {
        None => geteuid().as_raw(),
        Some(name) => match User::from_name(name) {
            Ok(Some(user)) => user.uid.as_raw(),
            Ok(None) | Err(_) => {
                return Err(Untrusted {
                    what: format!("there is no user `{name}`, as whom `{shown}` is to run"),
                    why: None,
                    hint: format!("create it with `adduser --system {name}`, or name another one"),
                });
            }
        },
    };
    let unusable = |what: String, hint: &str| Untrusted {
        what,
        why: None,
        hint: hint.to_owned(),
    };
    let file = fs::metadata(program).map_err(|error| {
        unusable(
            format!("`{shown}` cannot be run: {error}"),
            "name an existing program",
        )
    })?;
    if !file.is_file() {
        return Err(unusable(
            format!("`{shown}` is not a program"),
            "name a file",
        ));
    }
    if file.permissions().mode() & 0o111 == 0 {
        let hint = format!("`chmod 755 {shown}`");
        return Err(Untrusted {
            what: format!("`{shown}` is not executable"),
            why: None,
            hint,
        });
    }
    // The way that is written and the one that links lead to: each step of both can be exchanged.
    let real = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_owned());
    let steps = program.ancestors().chain(real.ancestors());
    for step in steps {
        let Ok(metadata) = fs::metadata(step) else {
            continue;
        };
        if let Some(how) = changeable(&metadata, runs_as) {
            return Err(Untrusted {
                what: format!("`{shown}` is not safe to run: {}", how.words(step)),
                why: Some("whoever can change it could run anything as the user of the script"),
                hint: how.hint(step),
            });
        }
    }
    Ok(())
}

/// How somebody else can change a file or directory.
enum How {
    Writable(&'static str),
    Owned(u32),
}

fn changeable(metadata: &Metadata, runs_as: u32) -> Option<How> {
    let mode = metadata.permissions().mode();
    let owner = metadata.uid();
    if owner != 0 && owner != runs_as && owner != geteuid().as_raw() {
        return Some(How::Owned(owner));
    }
    // In a sticky directory only the owner of a file can exchange it, and the owner of each step is looked at.
    if metadata.is_dir() && mode & STICKY != 0 {
        return None;
    }
    if mode & OTHERS != 0 {
        return Some(How::Writable("everybody"));
    }
    (mode & GROUP != 0 && metadata.gid() != 0).then_some(How::Writable("a group"))
}

impl How {
    fn words(&self, step: &Path) -> String {
        let step = step.display();
        match self {
            Self::Writable(who) => format!("`{step}` can be changed by {who}"),
            Self::Owned(uid) => format!("`{step}` belongs to {}", name(*uid)),
        }
    }

    fn hint(&self, step: &Path) -> String {
        let step: PathBuf = step.to_owned();
        match self {
            Self::Writable(_) => format!("`chmod go-w {}`", step.display()),
            Self::Owned(_) => format!("`chown root {}`", step.display()),
        }
    }
}

fn name(uid: u32) -> String {
    let user = User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| format!("`{}`", user.name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn program(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refused(path: &Path, user: Option<&str>) -> String {
        trusted(path, user)
            .err()
            .map(|u| format!("{}; hint: {}", u.what, u.hint))
            .unwrap_or_default()
    }

    #[test]
    fn a_program_that_others_can_change_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(refused(&program(dir.path(), "good", 0o755), None), "");
        for (name, mode, says) in [
            ("plain", 0o644, "is not executable"),
            ("world", 0o757, "can be changed by everybody"),
        ] {
            let path = program(dir.path(), name, mode);
            assert!(
                refused(&path, None).contains(says),
                "{name}: {}",
                refused(&path, None)
            );
        }
        assert!(refused(&dir.path().join("missing"), None).contains("No such file"));
        assert!(refused(dir.path(), None).contains("is not a program"));
        assert!(
            refused(
                &program(dir.path(), "x", 0o755),
                Some("nobody-of-that-name")
            )
            .contains("no user")
        );
    }

    #[test]
    fn neither_is_one_in_a_directory_that_others_can_change_nor_one_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        let path = program(&open, "script", 0o755);
        assert_eq!(refused(&path, None), "");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(&path, None).contains("open` can be changed by everybody"));
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(refused(&link, None).contains("open` can be changed by everybody"));
        // As in /tmp: others can write, and cannot exchange what is not theirs.
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(refused(&path, None), "");
    }

    #[test]
    fn one_that_belongs_to_somebody_else_is_not_run_as_root() {
        if !geteuid().is_root() {
            eprintln!("SKIP: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = program(dir.path(), "theirs", 0o755);
        let nobody = User::from_name("nobody")
            .unwrap()
            .expect("there is a nobody");
        nix::unistd::chown(&path, Some(nobody.uid), None).unwrap();
        assert!(refused(&path, None).contains("belongs to `nobody`"));
        assert_eq!(
            refused(&path, Some("nobody")),
            "",
            "as themselves they may run what they like"
        );
    }
}
