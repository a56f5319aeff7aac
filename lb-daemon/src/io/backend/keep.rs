//! How does a real server stay one?
//!
//! The kernel tells of addresses, interfaces and routes that change. Of parameters below `/proc/sys` it does not, so they are
//! read again four times a second.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use rtnetlink::MulticastGroup;

use super::error::BackendError;
use super::record::Guard;
use super::{Backend, Places, Record};
use crate::core::backend::check::{Standing, check};
use crate::core::backend::plan;

/// How often everything is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// What comes at once is looked at once.
const SETTLE: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Everything was looked at for the first time, and is as it must be from now on.
    Begun(String),
    /// Something was not as it must be, and was put back.
    PutBack {
        /// What.
        item: String,
        /// As it was found.
        found: String,
        /// As it is now.
        now: String,
    },
    /// Something is wrong that cannot be put back by us.
    Wrong(String),
    /// What was wrong is so no more.
    Mended(String),
}

/// Keeps this machine the real server that it was prepared to be, until that is undone. `tell` hears what happens, and
/// with `None` that all is well, each time that everything was looked at.
///
/// # Errors
///
/// The machine was not prepared, or cannot be looked at.
pub async fn keep(places: Places, mut tell: impl FnMut(Option<Kept>)) -> Result<(), BackendError> {
    let backend = Backend::open(places)?;
    let mut events = pin!(events()?);
    let mut trouble = BTreeSet::new();
    let mut first = true;
    loop {
        let undone = match first {
            true => Err(BackendError::NotPrepared),
            false => Ok(()),
        };
        // The lock would make the state directory again, which goes with the record.
        if backend.record()?.is_none() {
            return undone;
        }
        let guard = Guard::take(&backend.places.state_dir).await?;
        let Some(record) = backend.record()? else {
            guard.forget()?;
            return undone;
        };
        let now = pass(&backend, &record, &mut tell).await?;
        drop(guard);
        if first {
            tell(Some(Kept::Begun(record.role.to_string())));
            first = false;
        }
        for new in now.difference(&trouble) {
            tell(Some(Kept::Wrong(new.clone())));
        }
        for gone in trouble.difference(&now) {
            tell(Some(Kept::Mended(gone.clone())));
        }
        trouble = now;
        tell(None);
        match tokio::time::timeout(EVERY, events.next()).await {
            Ok(Some(())) => tokio::time::sleep(SETTLE).await,
            Ok(None) => tokio::time::sleep(EVERY).await,
            Err(_) => {}
        }
        while let Some(Some(())) = events.next().now_or_never() {}
    }
}

/// Looks at everything, and puts back what can be. What is still wrong then.
async fn pass(
    backend: &Backend,
    record: &Record,
    tell: &mut impl FnMut(Option<Kept>),
) -> Result<BTreeSet<String>, BackendError> {
    let facts = backend.facts_at(&record.role, &record.pin_dir).await?;
    let missing = plan::missing(&record.role, &facts);
    let mut trouble = BTreeSet::new();
    for change in &missing {
        match backend.kernel.carry_out(change, &record.pin_dir).await {
            Ok(()) => tell(Some(Kept::PutBack {
                item: change.new.item(),
                found: change.old.state(),
                now: change.new.state(),
            })),
            Err(err) => {
                trouble.insert(format!("{}: {err}", change.new.item()));
            }
        }
    }
    let facts = match missing.is_empty() {
        true => facts,
        false => backend.facts_at(&record.role, &record.pin_dir).await?,
    };
    let bad = check(&record.role, &facts).into_iter();
    let bad = bad.filter(|f| f.standing == Standing::Bad && f.wanted.is_none());
    trouble.extend(bad.map(|finding| finding.found));
    Ok(trouble)
}

/// A word for each thing that the kernel says has changed.
fn events() -> Result<impl Stream<Item = ()>, BackendError> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv6Route,
    ];
    let (connection, _, messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(|err| BackendError::Kernel {
            what: "hear of changes".to_owned(),
            why: err.to_string(),
        })?;
    tokio::spawn(connection);
    Ok(messages.map(drop))
}
