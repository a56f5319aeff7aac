//! The socket's file: made so that it never takes a living daemon's place and never follows a link.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};

use super::peer::{Access, Peer};

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A symbolic link is in its place.
    #[error(
        "will not make the control socket {0}: it is a symbolic link\nhint: remove the link, or give another --socket"
    )]
    Symlink(PathBuf),
    /// Something else is in its place.
    #[error(
        "will not make the control socket {0}: something that is not a socket is there\nhint: move it away, or give another --socket"
    )]
    Occupied(PathBuf),
    /// A daemon answers on it.
    #[error(
        "the control socket {path} is in use: another lbd{} answers there\n\
         hint: stop it first, or give this one another --socket",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The socket's path.
        path: PathBuf,
        /// Who answers, where the kernel tells.
        pid: Option<i32>,
    },
    /// It could not be made.
    #[error("cannot {action} the control socket {path}: {source}\nhint: {hint}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
}

/// A listening socket and its file, which is removed with it.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    inode: (u64, u64),
}

impl ControlSocket {
    /// Makes the socket at `path`, with the mode and group that `access` says.
    ///
    /// A file that a dead daemon left is replaced in one step: there is no moment without a socket.
    pub fn bind(path: &Path, access: &Access) -> Result<(UnixListener, Self), SocketError> {
        let failed = |action, hint| {
            move |source: io::Error| SocketError::Io {
                action,
                path: path.to_owned(),
                source,
                hint,
            }
        };
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed(
                "make the directory of",
                "give a --socket that lbd may write",
            ))?;
        }
        check_place(path)?;

        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match check_place(&fresh) {
            Err(SocketError::InUse { pid, .. }) => {
                let path = path.to_owned();
                return Err(SocketError::InUse { path, pid });
            }
            other => other?,
        }
        remove_if_there(&fresh).map_err(failed(
            "clear the place of",
            "remove the file with `.new` at its end",
        ))?;

        let listener = UnixListener::bind(&fresh).map_err(failed(
            "make",
            "the path may have about 100 bytes, and lbd must be allowed to write there",
        ))?;
        let made = (|| {
            if let Some(group) = access.group {
                std::os::unix::fs::lchown(&fresh, None, Some(group))?;
            }
            let mode = Mode::from_bits_truncate(access.socket_mode());
            fchmodat(AT_FDCWD, &fresh, mode, FchmodatFlags::NoFollowSymlink)?;
            let metadata = fs::symlink_metadata(&fresh)?;
            listener.set_nonblocking(true)?;
            fs::rename(&fresh, path)?;
            Ok((metadata.dev(), metadata.ino()))
        })();
        match made {
            Ok(inode) => Ok((
                listener,
                Self {
                    path: path.to_owned(),
                    inode,
                },
            )),
            Err(source) => {
                let _ = fs::remove_file(&fresh);
                Err(failed(
                    "set up",
                    "lbd must own the directory, and be in the group that the configuration names",
                )(source))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The place is free, or holds the socket of a daemon that is gone.
fn check_place(path: &Path) -> Result<(), SocketError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let hint = "give a --socket that lbd may reach";
            return Err(SocketError::Io {
                action: "look at",
                path: path.to_owned(),
                source,
                hint,
            });
        }
    };
    if metadata.is_symlink() {
        return Err(SocketError::Symlink(path.to_owned()));
    }
    if !metadata.file_type().is_socket() {
        return Err(SocketError::Occupied(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        // Whatever else it answers, somebody may be listening.
        answer => Err(SocketError::InUse {
            path: path.to_owned(),
            pid: answer
                .ok()
                .and_then(|stream| Some(Peer::of(stream.as_fd()).ok()?.pid)),
        }),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const ROOT_ONLY: Access = Access {
        owner: 0,
        group: None,
        others_read: false,
    };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        (dir, path)
    }

    #[test]
    fn a_new_socket_has_the_mode_that_access_says_and_goes_with_its_owner() {
        let (_dir, path) = place();
        let (listener, socket) = ControlSocket::bind(
            &path,
            &Access {
                others_read: true,
                ..ROOT_ONLY
            },
        )
        .unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o666
        );
        UnixStream::connect(&path).unwrap();
        drop((listener, socket));
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced() {
        let (_dir, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let (_listener, _socket) = ControlSocket::bind(&path, &ROOT_ONLY).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_living_daemons_socket_is_left_alone() {
        let (_dir, path) = place();
        let (_listener, _socket) = ControlSocket::bind(&path, &ROOT_ONLY).unwrap();
        assert!(matches!(
            ControlSocket::bind(&path, &ROOT_ONLY),
            Err(SocketError::InUse { pid: Some(pid), .. }) if pid.unsigned_abs() == std::process::id()
        ));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_link_is_not_followed_and_a_file_not_overwritten() {
        let (dir, path) = place();
        let target = dir.path().join("precious");
        fs::write(&target, "x").unwrap();
        symlink(&target, &path).unwrap();
        assert!(matches!(
            ControlSocket::bind(&path, &ROOT_ONLY),
            Err(SocketError::Symlink(_))
        ));
        assert!(matches!(
            ControlSocket::bind(&target, &ROOT_ONLY),
            Err(SocketError::Occupied(_))
        ));
        assert_eq!(fs::read_to_string(&target).unwrap(), "x");
    }

    #[test]
    fn a_socket_that_took_our_place_is_not_removed_with_ours() {
        let (_dir, path) = place();
        let (listener, socket) = ControlSocket::bind(&path, &ROOT_ONLY).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop((listener, socket));
        assert!(path.exists());
    }
}
