//! Replacing a file: afterwards it is the old one or the new one, whatever happens meanwhile.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// How the names of files begin that are not complete yet.
const PREFIX: &str = ".lbd-new-";

/// Replaces a file, or makes it: the new bytes are on the disk before the name is theirs. `backup` is where the old
/// file is kept.
pub fn replace(
    path: &Path,
    bytes: &[u8],
    permissions: Permissions,
    backup: Option<&Path>,
) -> io::Result<()> {
    let dir = directory(path);
    let mut new = temporary(dir)?;
    new.write_all(bytes)?;
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    if let Some(backup) = backup {
        keep(path, backup)?;
    }
    new.persist(path).map_err(|failed| failed.error)?;
    File::open(dir)?.sync_all()
}

/// Makes sure that a file which is as it should be is on the disk: nothing is written if it is there already.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(directory(path))?.sync_all()
}

/// Keeps the old file under another name. It keeps its own name too, so that there is no moment without it.
fn keep(path: &Path, backup: &Path) -> io::Result<()> {
    let old = match fs::read(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut copy = temporary(directory(backup))?;
    copy.write_all(&old)?;
    copy.as_file()
        .set_permissions(fs::metadata(path)?.permissions())?;
    copy.as_file().sync_all()?;
    copy.persist(backup).map_err(|failed| failed.error)?;
    Ok(())
}

/// A new file with a name of its own, which goes away by itself unless it is made permanent.
fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(PREFIX).tempfile_in(dir)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Removes what a daemon left that was killed while it wrote.
pub(super) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // Somebody else may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
