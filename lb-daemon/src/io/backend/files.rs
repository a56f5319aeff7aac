//! Which files make a real server one again after a reboot?

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::error::BackendError;
use super::{Places, STATE_DIR};
use crate::core::backend::Setting;
use crate::io::store::replace;

/// Parameters that are set early at each boot, before the first packet.
const SYSCTLS: &str = "etc/sysctl.d/60-lbd-backend.conf";
/// The unit that sets everything and keeps it.
const UNIT: &str = "lbd-backend.service";
/// Where packages have their units.
const PACKAGED: [&str; 2] = ["usr/lib/systemd/system", "lib/systemd/system"];
/// Where administrators have theirs.
const OWN: &str = "etc/systemd/system";
/// What is started at boot.
const WANTED: &str = "etc/systemd/system/multi-user.target.wants";
/// The unit as it is shipped, and the lbd that it starts.
const UNIT_TEXT: &str = include_str!("../../../../configs/lbd-backend.service");
const UNIT_LBD: &str = "/usr/local/sbin/lbd";

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Where.
    pub path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Link(PathBuf),
}

/// The files of a role. Where there is no systemd, only the parameters.
pub(super) fn of_role(places: &Places, lasting: &[Setting]) -> Vec<File> {
    let mut all = Vec::new();
    if !lasting.is_empty() {
        all.push(File {
            path: places.root.join(SYSCTLS),
            content: Content::Text(sysctls(lasting)),
        });
    }
    let own = places.root.join(OWN);
    if own.is_dir() {
        let packaged = PACKAGED
            .iter()
            .map(|dir| Path::new(dir).join(UNIT))
            .find(|path| places.root.join(path).is_file());
        let unit = packaged.clone().unwrap_or(Path::new(OWN).join(UNIT));
        if packaged.is_none() {
            all.push(File {
                path: own.join(UNIT),
                content: Content::Text(unit_text(places)),
            });
        }
        all.push(File {
            path: places.root.join(WANTED).join(UNIT),
            content: Content::Link(Path::new("/").join(unit)),
        });
    }
    all
}

/// Those that are not as they are to be. A file that is another's is not overwritten.
pub(super) fn missing(files: Vec<File>, made: &[PathBuf]) -> Result<Vec<File>, BackendError> {
    let mut all = Vec::new();
    for file in files {
        if file.is_there() {
            continue;
        }
        if file.path.symlink_metadata().is_ok() && !made.contains(&file.path) {
            return Err(BackendError::FileInTheWay(file.path));
        }
        all.push(file);
    }
    Ok(all)
}

/// Writes them; where one cannot be written, those before it are removed again.
pub(super) fn write(files: &[File]) -> Result<(), BackendError> {
    for (at, file) in files.iter().enumerate() {
        if let Err(err) = file.write() {
            let written: Vec<PathBuf> = files.iter().take(at).map(|f| f.path.clone()).collect();
            remove(&written)?;
            return Err(BackendError::file("write", &file.path)(err));
        }
    }
    Ok(())
}

/// Removes files; those that are gone are not missed.
pub(super) fn remove(paths: &[PathBuf]) -> Result<(), BackendError> {
    for path in paths {
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(BackendError::file("remove", path)(err));
            }
            _ => {}
        }
    }
    Ok(())
}

impl File {
    fn is_there(&self) -> bool {
        match &self.content {
            Content::Text(text) => fs::read_to_string(&self.path).is_ok_and(|now| now == *text),
            Content::Link(to) => fs::read_link(&self.path).is_ok_and(|now| now == *to),
        }
    }

    fn write(&self) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        match &self.content {
            Content::Text(text) => {
                let mode = Permissions::from_mode(0o644);
                replace(&self.path, text.as_bytes(), mode, None)
            }
            Content::Link(to) => symlink(to, &self.path),
        }
    }
}

/// A minus says that an interface which is not there is no error.
fn sysctls(lasting: &[Setting]) -> String {
    let mut text = "# What makes this machine a real server of a load balancer. `lbctl backend undo` removes this.\n".to_owned();
    for setting in lasting {
        if let Setting::Sysctl {
            name,
            value: Some(value),
        } = setting
        {
            text.push_str(&format!("-{name} = {value}\n"));
        }
    }
    text
}

fn unit_text(places: &Places) -> String {
    let lbd = std::env::current_exe().map(|exe| exe.with_file_name("lbd"));
    let mut lbd = match lbd {
        Ok(lbd) if lbd.is_file() => lbd.display().to_string(),
        _ => UNIT_LBD.to_owned(),
    };
    if places.state_dir != Path::new(STATE_DIR) {
        lbd.push_str(&format!(" --state-dir {}", places.state_dir.display()));
    }
    UNIT_TEXT.replace(UNIT_LBD, &lbd)
}
