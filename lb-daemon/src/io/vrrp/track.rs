//! Looking at what virtual routers track, apart from interfaces, which the VRRP thread sees by itself.
//!
//! Programs, processes and files are looked at by a task each. Services and gateways are told of by whoever knows them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::debug;

use super::{Finding, Teller, Vrrp, VrrpError, Wanted};
use crate::config::model::{Script, Track, Tracked};
use crate::io::process::{self, Job};

/// How often processes and files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How much of a program's output is read; nobody looks at it.
const OUTPUT: usize = 256;

/// The tasks that look.
#[derive(Debug, Default)]
pub struct Trackers {
    routers: BTreeMap<String, (Vec<Track>, Vec<JoinHandle<()>>)>,
}

impl Trackers {
    /// Looks at what these virtual routers track, and at nothing else. What is looked at already goes on.
    pub fn follow(&mut self, wanted: &[Wanted], vrrp: &Vrrp) -> Result<(), VrrpError> {
        let mut before = std::mem::take(&mut self.routers);
        for Wanted { router, .. } in wanted {
            let same = before
                .remove(&router.name)
                .filter(|(tracks, _)| *tracks == router.track);
            let kept = match same {
                Some(kept) => kept,
                None => (router.track.clone(), start(router, vrrp)?),
            };
            if let Some((_, tasks)) = self.routers.insert(router.name.clone(), kept) {
                tasks.iter().for_each(JoinHandle::abort);
            }
        }
        for (_, tasks) in before.into_values() {
            tasks.iter().for_each(JoinHandle::abort);
        }
        Ok(())
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        let all = self.routers.values().flat_map(|(_, tasks)| tasks);
        all.for_each(JoinHandle::abort);
    }
}

fn start(
    router: &crate::config::model::VirtualRouter,
    vrrp: &Vrrp,
) -> Result<Vec<JoinHandle<()>>, VrrpError> {
    let mut tasks = Vec::new();
    for (n, track) in router.track.iter().enumerate() {
        let tell = Tell {
            teller: vrrp.teller()?,
            router: router.name.clone(),
            track: n,
        };
        match &track.what {
            Tracked::Script(script) => tasks.push(tokio::spawn(run(script.clone(), tell))),
            Tracked::Process(name) => {
                let name = name.clone();
                tasks.push(tokio::spawn(look(tell, move || {
                    Finding::Up(is_running(&name))
                })));
            }
            Tracked::File(path) => {
                let path = path.clone();
                tasks.push(tokio::spawn(look(tell, move || {
                    Finding::Number(number_in(&path))
                })));
            }
            Tracked::Interface(_) | Tracked::Service(_) | Tracked::Gateway(_) => {}
        }
    }
    Ok(tasks)
}

/// Whom to tell of what.
struct Tell {
    teller: Teller,
    router: String,
    track: usize,
}

impl Tell {
    /// Tells; false when nobody listens any more.
    fn tell(&self, finding: Finding) -> bool {
        self.teller.found(&self.router, self.track, finding).is_ok()
    }
}

/// Looks again and again.
async fn look(tell: Tell, what: impl Fn() -> Finding + Clone + Send + 'static) {
    let mut timer = tokio::time::interval(LOOK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        // Files may be slow to read.
        let Ok(found) = tokio::task::spawn_blocking(what.clone()).await else {
            return;
        };
        if !tell.tell(found) {
            return;
        }
    }
}

/// Runs a program again and again.
async fn run(script: Script, tell: Tell) {
    let mut timer = tokio::time::interval(script.interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut verdict = Verdict::default();
    loop {
        timer.tick().await;
        let job = Job {
            argv: &script.command,
            user: script.user.as_deref(),
            environment: Vec::new(),
            timeout: script.timeout,
            output: OUTPUT,
        };
        let good = match process::run(job).await {
            Ok(ended) => ended.status == Some(0),
            Err(err) => {
                debug!("{err}");
                false
            }
        };
        if let Some(up) = verdict.see(good, &script)
            && !tell.tell(Finding::Up(up))
        {
            return;
        }
    }
}

/// Believes a program when it has said the same often enough; the first time at once.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    up: Option<bool>,
    against: u8,
}

impl Verdict {
    /// What is believed now, if that has changed.
    fn see(&mut self, good: bool, script: &Script) -> Option<bool> {
        let Some(up) = self.up else {
            self.up = Some(good);
            return self.up;
        };
        if up == good {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let enough = if good { script.rise } else { script.fall };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.up = Some(good);
        self.up
    }
}

/// Whether a process of this name runs.
fn is_running(name: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        // One that ends meanwhile has no name any more.
        .any(|entry| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        })
}

/// The number in a file; 0 where there is none.
fn number_in(path: &Path) -> i32 {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(32).read_to_string(&mut text));
    read.ok()
        .and_then(|_| text.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_believed_at_first_and_later_when_it_insists() {
        let script = Script {
            rise: 2,
            fall: 3,
            ..Script::new(Vec::new())
        };
        let mut verdict = Verdict::default();
        let mut see = |good| verdict.see(good, &script);
        assert_eq!(see(true), Some(true));
        assert_eq!([see(false), see(false), see(true)], [None; 3]);
        assert_eq!(
            [see(false), see(false), see(false)],
            [None, None, Some(false)]
        );
        assert_eq!([see(true), see(true)], [None, Some(true)]);
    }

    #[test]
    fn a_file_without_a_number_is_a_0() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weight");
        assert_eq!(number_in(&path), 0);
        for (text, number) in [("7\n", 7), (" -3 ", -3), ("", 0), ("seven", 0)] {
            fs::write(&path, text).unwrap();
            assert_eq!(number_in(&path), number, "{text:?}");
        }
    }

    #[test]
    fn a_process_is_known_by_the_kernels_name() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(is_running(own.trim_end()));
        assert!(!is_running("no-such-process"));
    }
}
