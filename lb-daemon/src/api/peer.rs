//! Who is at the other end of the socket, and what may they do?

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{getsockopt, sockopt};

/// The process at the other end of a connection, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id when it connected.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

impl Peer {
    /// The peer of a connected Unix socket.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        Ok(Self {
            pid: credentials.pid(),
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: supplementary_groups(socket)?,
        })
    }

    fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing.
    None,
    /// Ask.
    Read,
    /// Ask and change.
    Write,
}

/// Who may do what: root and the daemon's own user write, and so does one group; others may be allowed to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The daemon's own user.
    pub owner: u32,
    /// The group that may write.
    pub group: Option<u32>,
    /// Everybody else may read.
    pub others_read: bool,
}

impl Access {
    /// What this peer may do.
    pub fn right(&self, peer: &Peer) -> Right {
        let trusted = peer.uid == 0
            || peer.uid == self.owner
            || self.group.is_some_and(|group| peer.is_in(group));
        match (trusted, self.others_read) {
            (true, _) => Right::Write,
            (false, true) => Right::Read,
            (false, false) => Right::None,
        }
    }

    /// The mode of the socket's file: who has no right at all cannot even connect.
    pub fn socket_mode(&self) -> u32 {
        match (self.others_read, self.group) {
            (true, _) => 0o666,
            (false, Some(_)) => 0o660,
            (false, None) => 0o600,
        }
    }
}

/// The peer's supplementary groups (`SO_PEERGROUPS`).
#[expect(unsafe_code, reason = "no safe wrapper of SO_PEERGROUPS exists")]
fn supplementary_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut bytes =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the option writes at most `bytes` bytes, which is the length of the vector's initialised part,
        // and both pointers are to live, exclusively borrowed locals.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let len = usize::try_from(bytes).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(len);
            return Ok(groups);
        }
        let err = io::Error::last_os_error();
        // ERANGE: there are more groups, and `bytes` says how many.
        if err.raw_os_error() != Some(libc::ERANGE) || len <= groups.len() {
            return Err(err);
        }
        groups.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    const SOMEBODY: Peer = Peer {
        pid: 7,
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
    };

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = Peer::of(a.as_fd()).unwrap();
        assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(peer.uid, nix::unistd::getuid().as_raw());
        let mut groups: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|g| g.as_raw())
            .collect();
        groups.sort_unstable();
        let mut seen = peer.groups;
        seen.sort_unstable();
        assert_eq!(seen, groups);
    }

    #[test]
    fn root_the_owner_and_the_group_write_others_read_if_allowed() {
        let access = Access {
            owner: 200,
            group: Some(50),
            others_read: true,
        };
        assert_eq!(access.right(&Peer { uid: 0, ..SOMEBODY }), Right::Write);
        assert_eq!(
            access.right(&Peer {
                uid: 200,
                ..SOMEBODY
            }),
            Right::Write
        );
        assert_eq!(
            access.right(&Peer {
                gid: 50,
                ..SOMEBODY
            }),
            Right::Write
        );
        assert_eq!(
            access.right(&Peer {
                groups: vec![4, 50],
                ..SOMEBODY
            }),
            Right::Write
        );
        assert_eq!(access.right(&SOMEBODY), Right::Read);
        assert_eq!(
            Access {
                others_read: false,
                ..access
            }
            .right(&SOMEBODY),
            Right::None
        );
        assert_eq!(
            Access {
                group: None,
                ..access
            }
            .right(&Peer {
                gid: 50,
                ..SOMEBODY
            }),
            Right::Read
        );
    }

    #[test]
    fn the_files_mode_keeps_out_who_has_no_right() {
        let access = Access {
            owner: 0,
            group: None,
            others_read: false,
        };
        assert_eq!(access.socket_mode(), 0o600);
        assert_eq!(
            Access {
                group: Some(50),
                ..access
            }
            .socket_mode(),
            0o660
        );
        assert_eq!(
            Access {
                others_read: true,
                ..access
            }
            .socket_mode(),
            0o666
        );
    }
}
