//! Being a real server: seeing what a machine is like, changing it, keeping it so, and undoing that.
//!
//! What has to change is decided in [`crate::core::backend`]. Here it is done: all of it or nothing, and written down
//! first, so that it can be undone whatever happens meanwhile.

mod error;
mod files;
mod keep;
mod kernel;
mod observe;
mod record;

use std::path::PathBuf;

use crate::core::backend::check::{Finding, check};
use crate::core::backend::{Change, Facts, Role, lasting, plan};

pub use error::BackendError;
pub use keep::{Kept, keep};
pub use record::Record;

use files::File;
use kernel::Kernel;
use record::Guard;

/// Where the state directory is unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/lbd";
/// Where the program that takes packets out of tunnels is pinned unless told otherwise.
pub const PIN_DIR: &str = "/sys/fs/bpf/lbd-backend";

/// Where things are that a preparation writes.
#[derive(Clone, Debug)]
pub struct Places {
    /// What goes before `/etc`; `/` but in tests.
    pub root: PathBuf,
    /// Where it is remembered what was before.
    pub state_dir: PathBuf,
    /// Where the program for tunnels is pinned.
    pub pin_dir: PathBuf,
}

/// This machine, as far as it is a real server.
#[derive(Debug)]
pub struct Backend {
    places: Places,
    kernel: Kernel,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// What changed in the kernel, in order.
    pub changes: Vec<Change>,
    /// Files that were written or removed.
    pub files: Vec<PathBuf>,
    /// What could not be put back.
    pub left: Vec<Change>,
}

impl Backend {
    /// Opens this machine, in the network namespace of the calling thread. Within a tokio runtime only.
    ///
    /// # Errors
    ///
    /// The kernel gives no netlink socket.
    pub fn open(places: Places) -> Result<Self, BackendError> {
        Ok(Self {
            places,
            kernel: Kernel::open()?,
        })
    }

    /// What this machine was prepared for, if it was.
    ///
    /// # Errors
    ///
    /// What was written down cannot be read.
    pub fn record(&self) -> Result<Option<Record>, BackendError> {
        record::read(&self.places.state_dir)
    }

    /// The interface that leads to everything.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub async fn default_interface(&self) -> Result<Option<String>, BackendError> {
        let routes = self.kernel.default_routes().await?;
        let best = routes.into_iter().min_by_key(|route| route.metric);
        if let Some(route) = best {
            return Ok(Some(route.interface));
        }
        let routes = self.kernel.default_routes6().await?.into_iter();
        let routes = routes.filter(|route| !route.interface.is_empty());
        let best = routes.min_by_key(|route| route.metric);
        Ok(best.map(|route| route.interface))
    }

    /// Looks at everything that a role asks for.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub async fn check(&self, role: &Role) -> Result<Vec<Finding>, BackendError> {
        Ok(check(role, &self.facts(role).await?))
    }

    /// Makes this machine a real server. All of it is done, or nothing.
    ///
    /// # Errors
    ///
    /// Something is in the way, or failed and was taken back.
    pub async fn prepare(&self, role: &Role, dry_run: bool) -> Result<Done, BackendError> {
        let guard = self.guard(dry_run).await?;
        let former = self.record()?;
        let (done, record, files) = match self.plan(role, former.as_ref()).await {
            Ok(plan) => plan,
            Err(err) => {
                if let (Some(guard), None) = (guard, former) {
                    guard.forget()?;
                }
                return Err(err);
            }
        };
        let Some(guard) = guard else {
            return Ok(done);
        };
        guard.write(&record)?;
        match (self.carry_out(role, &done.changes, &files).await, former) {
            (Ok(()), _) => Ok(done),
            (Err(err), Some(former)) => {
                guard.write(&former)?;
                Err(err)
            }
            (Err(err), None) => {
                guard.forget()?;
                Err(err)
            }
        }
    }

    /// What is to be done for a role, what is to be remembered then, and the files that are to be written.
    async fn plan(
        &self,
        role: &Role,
        former: Option<&Record>,
    ) -> Result<(Done, Record, Vec<File>), BackendError> {
        let facts = self.facts(role).await?;
        let before = former.map_or(&[][..], |record| &record.before);
        let changes = plan::prepare(role, &facts, before)?;
        observe::writable(&changes)?;
        let mut made = former.map_or(Vec::new(), |record| record.made.clone());
        let files = files::of_role(&self.places, &lasting(role, &facts));
        let files = files::missing(files, &made)?;
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        made.retain(|path| !paths.contains(path));
        made.extend(paths.iter().cloned());
        let record = Record {
            role: role.clone(),
            pin_dir: self.places.pin_dir.clone(),
            before: plan::remember(before, &changes),
            made,
        };
        let done = Done {
            changes,
            files: paths,
            left: Vec::new(),
        };
        Ok((done, record, files))
    }

    /// Puts everything back as it was.
    ///
    /// # Errors
    ///
    /// This machine was not prepared, or something cannot be put back; then it can be tried again.
    pub async fn undo(&self, dry_run: bool) -> Result<Done, BackendError> {
        let guard = self.guard(dry_run).await?;
        let Some(record) = self.record()? else {
            if let Some(guard) = guard {
                guard.forget()?;
            }
            return Err(BackendError::NotPrepared);
        };
        let facts = self.facts_at(&record.role, &record.pin_dir).await?;
        let changes = plan::undo(&record.before, &facts);
        let done = Done {
            changes,
            files: record.made.clone(),
            left: Vec::new(),
        };
        let Some(guard) = guard else {
            return Ok(done);
        };
        observe::writable(&done.changes)?;
        for change in &done.changes {
            self.kernel.carry_out(change, &record.pin_dir).await?;
        }
        files::remove(&record.made)?;
        let facts = self.facts_at(&record.role, &record.pin_dir).await?;
        guard.forget()?;
        Ok(Done {
            left: plan::undo(&record.before, &facts),
            ..done
        })
    }

    /// Leave to change this machine, unless it is only looked at.
    async fn guard(&self, dry_run: bool) -> Result<Option<Guard>, BackendError> {
        if dry_run {
            return Ok(None);
        }
        observe::may_change()?;
        Guard::take(&self.places.state_dir).await.map(Some)
    }

    async fn carry_out(
        &self,
        role: &Role,
        changes: &[Change],
        files: &[File],
    ) -> Result<(), BackendError> {
        let mut done = 0;
        let result = async {
            for change in changes {
                self.kernel.carry_out(change, &self.places.pin_dir).await?;
                done += 1;
            }
            let facts = self.facts(role).await?;
            match plan::missing(role, &facts).into_iter().next() {
                Some(change) => Err(BackendError::NoEffect(change.new.item())),
                None => files::write(files),
            }
        }
        .await;
        let Err(err) = result else {
            return Ok(());
        };
        let mut left = Vec::new();
        for change in changes.iter().take(done).rev() {
            let back = Change {
                old: change.new.clone(),
                new: change.old.clone(),
            };
            if self
                .kernel
                .carry_out(&back, &self.places.pin_dir)
                .await
                .is_err()
            {
                left.push(back.new.item());
            }
        }
        Err(BackendError::RolledBack {
            why: Box::new(err),
            left,
        })
    }

    async fn facts(&self, role: &Role) -> Result<Facts, BackendError> {
        self.facts_at(role, &self.places.pin_dir).await
    }

    async fn facts_at(
        &self,
        role: &Role,
        pin_dir: &std::path::Path,
    ) -> Result<Facts, BackendError> {
        observe::facts(&self.kernel, role, pin_dir).await
    }
}
