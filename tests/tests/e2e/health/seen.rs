//! What people see of health: `lbctl health`, again and again too, and the log.

use anyhow::{Result, ensure};
use lb_daemon::api::types::{HealthReport, Place};
use tests::lab::{poll, program};
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, check, site, web};

#[test]
fn lbctl_health_shows_a_failure_and_the_return_while_they_happen() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let asked = check("http: /healthz, initial: down");
    site.balance(&web(&site, &[0, 1], &[asked]))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    watch.until(real, Place::Up, PATIENCE)?;
    let lbctl = program("lbctl")?;
    let socket = site.director.paths().socket.display().to_string();
    let words = [&lbctl, "--socket", &socket, "health", "--watch", "--json"];
    let watching = site.director.host().start("watching", &words)?;
    // A document a second, of which the last may not be there whole.
    let places = || -> Vec<Place> {
        let text = watching.output();
        let documents = serde_json::Deserializer::from_str(&text).into_iter::<HealthReport>();
        documents
            .map_while(Result::ok)
            .filter_map(|report| Some(report.services.first()?.reals.first()?.place))
            .collect()
    };
    let shown = |wanted: Place| {
        poll(&format!("{wanted:?} to be shown"), PATIENCE, || {
            let places = places();
            ensure!(places.last() == Some(&wanted), "{places:?}");
            Ok(())
        })
    };
    shown(Place::Up)?;
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, DOWN)?;
    shown(Place::Down)?;
    let down = site.director.lbctl(&["health", "--service", "it"])?;
    print!("{down}");
    for part in ["down", "status 503, wanted 200-299", "×"] {
        ensure!(down.contains(part), "no `{part}` in\n{down}");
    }
    site.reals[0].set_sick(false)?;
    watch.until(real, Place::Up, UP)?;
    shown(Place::Up)?;
    watching.kill()?;
    let log = site.director.log();
    for part in ["http: status 503, wanted 200-299", "up after"] {
        ensure!(log.contains(part), "no `{part}` in\n{log}");
    }
    Ok(())
}
