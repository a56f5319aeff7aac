//! What has to change, and in which order?

use super::facts::Facts;
use super::refusal::Refusal;
use super::role::Role;
use super::setting::{Change, Setting};
use super::wanted::{obstacles, wanted};

/// What makes a machine the real server that `role` says. `before` is how things were that an earlier preparation has
/// changed: those that the role does not ask for any more become so again.
///
/// # Errors
///
/// What stands in the way. Then nothing may be changed.
pub fn prepare(role: &Role, facts: &Facts, before: &[Setting]) -> Result<Vec<Change>, Refusal> {
    if let Some(refusal) = obstacles(role, facts).into_iter().next() {
        return Err(refusal);
    }
    let wanted = wanted(role, facts);
    let gone: Vec<Setting> = before
        .iter()
        .filter(|was| !wanted.iter().any(|w| w.setting.is_same_item(was)))
        .cloned()
        .collect();
    let mut changes = undo(&gone, facts);
    changes.extend(missing(role, facts));
    Ok(changes)
}

/// What is not as the role asks for, whatever stands in the way elsewhere.
pub fn missing(role: &Role, facts: &Facts) -> Vec<Change> {
    wanted(role, facts)
        .into_iter()
        .filter(|wanted| !wanted.is_met(facts))
        .map(|wanted| Change {
            old: facts.now(&wanted.setting),
            new: wanted.setting,
        })
        .collect()
}

/// What puts things back as they were, the last one first.
pub fn undo(before: &[Setting], facts: &Facts) -> Vec<Change> {
    let back = before.iter().rev().map(|was| Change {
        old: facts.now(was),
        new: was.clone(),
    });
    back.filter(|change| change.old != change.new).collect()
}

/// How things were before the first of all changes: what was remembered and is still changed, and what these changes
/// are about to change.
pub fn remember(before: &[Setting], changes: &[Change]) -> Vec<Setting> {
    let undone = |was: &Setting| changes.iter().any(|change| change.new == *was);
    let mut all: Vec<Setting> = before.iter().filter(|was| !undone(was)).cloned().collect();
    for change in changes {
        let known = |was: &Setting| was.is_same_item(&change.old);
        if !before.iter().any(known) {
            all.push(change.old.clone());
        }
    }
    all
}
