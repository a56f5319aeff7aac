//! What does a program need to run in a guest?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

/// The libraries of a program, and the loader that it names. A static program has none.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = sh::command("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text.lines().find(|line| line.ends_with("not found")) {
        anyhow::bail!("{}: {}", program.display(), line.trim());
    }
    Ok(paths(&text).collect())
}

/// The paths that ldd names: `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux.so.2 (0x…)`.
fn paths(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines()
        .filter_map(|line| line.trim().rsplit_once(" (0x"))
        .map(|(line, _)| line.split_once(" => ").map_or(line, |(_, path)| path))
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
}

/// A program without its debugging symbols, which are the most of it.
pub(super) fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = super::guest::folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join(format!("stripped-{}", std::process::id()));
    let mut strip = sh::command("strip");
    sh::output(strip.arg("-o").arg(&copy).arg(program))?;
    let content = fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()));
    fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    content
}

/// All files in a folder and below.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f71)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f72)\n";
        let all: Vec<PathBuf> = paths(text).collect();
        assert_eq!(
            all,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(paths("\tnot a dynamic executable\n").count(), 0);
    }
}
