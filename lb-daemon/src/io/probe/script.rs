//! Runs a program of the operator's.

use super::Good;
use super::error::ProbeError;
use super::talk::{Talk, quoted};
use crate::core::health::plan::{Check, Target};
use crate::core::health::probe::Script;
use crate::io::process::{self, Ended, Job};

/// How much of the output is kept.
const OUTPUT: usize = 4096;

/// Exit status 0 is up, 1 is down, 2 to 255 are up with weight `status - 2`, as with keepalived's `misc_dynamic`.
pub(super) async fn ask(script: &Script, check: &Check, talk: &Talk) -> Result<Good, ProbeError> {
    talk.begin("waiting for the script to end");
    talk.note(format!("$ {}", script.command.join(" ")));
    let job = Job {
        argv: &script.command,
        user: script.user.as_deref(),
        environment: environment(check),
        timeout: check.timing.timeout,
        output: OUTPUT,
    };
    let ended = process::run(job)
        .await
        .map_err(|error| ProbeError::Script(error.to_string()))?;
    talk.got(&ended.output);
    judge(&ended)
}

fn environment(check: &Check) -> Vec<(&'static str, String)> {
    let mut environment = vec![("LBD_CHECK", check.name.clone())];
    let (address, vip) = match check.target {
        Target::Address(address) => (address.ip(), None),
        Target::Vip { vip, real, .. } => (real, Some(vip)),
    };
    environment.push(("LBD_REAL_ADDRESS", address.to_string()));
    if let Target::Address(address) = check.target {
        environment.push(("LBD_REAL_PORT", address.port().to_string()));
    }
    environment.extend(vip.map(|vip| ("LBD_VIP", vip.to_string())));
    environment
}

fn judge(ended: &Ended) -> Result<Good, ProbeError> {
    let said = if ended.output.is_empty() {
        String::new()
    } else {
        format!(", it wrote {}", quoted(&ended.output))
    };
    match ended.status {
        Some(0) => Ok(Good::new(format!("exit status 0{said}"))),
        Some(1) => Err(ProbeError::Script(format!("exit status 1{said}"))),
        Some(status @ 2..=255) => {
            let weight = u16::try_from(status - 2).unwrap_or_default();
            Ok(Good {
                words: format!("exit status {status}, weight {weight}{said}"),
                weight: Some(weight),
            })
        }
        Some(status) => Err(ProbeError::Script(format!("exit status {status}{said}"))),
        None if ended.timed_out => Err(ProbeError::Script(format!(
            "it took too long and was killed{said}"
        ))),
        None => Err(ProbeError::Script(format!("killed by a signal{said}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_mean_what_keepalived_takes_them_for() {
        let ended = |status, timed_out| Ended {
            status,
            timed_out,
            output: vec![],
        };
        let weight = |status| {
            judge(&ended(Some(status), false))
                .map(|good| good.weight)
                .ok()
        };
        assert_eq!(weight(0), Some(None));
        assert_eq!(weight(1), None);
        assert_eq!(weight(2), Some(Some(0)));
        assert_eq!(weight(255), Some(Some(253)));
        assert!(judge(&ended(None, true)).is_err());
        assert!(judge(&ended(None, false)).is_err());
    }
}
