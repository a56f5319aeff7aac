//! Programs that are told of real servers which come and go.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use tests::lab::poll;
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, check, script, site, web};

#[test]
fn programs_are_told_what_has_happened_and_end_with_all_that_they_have_started() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let folder = site.lab().folder();
    let file = |name: &str| -> Result<_> {
        // The program that is told of the return is nobody's.
        let path = folder.join(name);
        std::fs::write(&path, "")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(path)
    };
    let (down, up, child) = (file("down")?, file("up")?, file("child")?);
    let tell = |file: &Path| {
        format!(
            "{{ printf '%s|' \"$@\"; echo; id -un; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort; echo end; }} > {}",
            file.display()
        )
    };
    let hangs = format!(
        "{}\nsleep 1000 & echo $! > {}\nwait",
        tell(&down),
        child.display()
    );
    let (hangs, tells) = (
        script(&site, "hangs", &hangs)?,
        script(&site, "tells", &tell(&up))?,
    );
    let on_down = format!(
        "on_down: {{command: [{}, one, \"two words\"], timeout: 1s}}",
        hangs.display()
    );
    let on_up = format!("on_up: {{command: {}, user: nobody}}", tells.display());
    let more = [check("http: /healthz"), on_down, on_up];
    site.balance(&web(&site, &[0, 1], &more))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    watch.until(real, Place::Up, PATIENCE)?;
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, DOWN)?;
    let sleeper = poll("the program to hang", PATIENCE, || {
        let number = std::fs::read_to_string(&child)?;
        Ok(number.trim().parse::<u32>()?)
    })?;
    ensure!(runs(sleeper), "what it has started is not there");
    // Its time is not over, and nothing waits for it.
    site.reals[0].set_sick(false)?;
    watch.until(real, Place::Up, UP)?;
    ensure!(
        std::fs::read_to_string(&up)?.is_empty(),
        "the return is told before the failure is"
    );
    let told = |file: &Path| {
        poll("the program to be told", PATIENCE, || {
            let text = std::fs::read_to_string(file)?;
            text.strip_suffix("end\n")
                .map(str::to_owned)
                .context("it is not")
        })
    };
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let of = |event: &str, reason: &str| {
        format!(
            "LBD_EVENT={event}\nLBD_REAL={real}\nLBD_REASON={reason}\nLBD_SERVICE=it\n\
             LBD_SERVICE_ADDRESS=tcp 10.0.1.101:80\n{path}\n"
        )
    };
    let wanted =
        "one|two words|\nroot\n".to_owned() + &of("down", "http: status 503, wanted 200-299");
    let down = told(&down)?;
    ensure!(down == wanted, "{down}");
    let wanted = "|\nnobody\n".to_owned() + &of("up", "");
    let up = told(&up)?;
    ensure!(up == wanted, "{up}");
    poll("what it has started to end, too", PATIENCE, || {
        ensure!(!runs(sleeper), "it runs");
        Ok(())
    })?;
    let log = site.director.log();
    ensure!(log.contains("took too long and was killed"), "{log}");
    Ok(())
}

/// Whether a process runs: one that was killed may wait for its parent to notice.
fn runs(number: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
