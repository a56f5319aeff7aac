//! A real server that comes and goes is kept out until it was well for a while.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_daemon::api::types::Place;
use tests::lab::Vip;
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, avoided, check, site, web};

/// So long it has to be well.
const HOLD: Duration = Duration::from_secs(3);

#[test]
fn a_real_server_that_comes_and_goes_is_kept_out_until_it_was_well_for_a_while() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let damping = format!(
        "damping: {{failures: 3, within: 1m, hold: {}s}}",
        HOLD.as_secs()
    );
    site.balance(&web(&site, &[0, 1], &[check("http: /healthz"), damping]))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    watch.until(real, Place::Up, PATIENCE)?;
    let fails = || {
        site.reals[0].set_sick(true)?;
        watch.until(real, Place::Down, DOWN)?;
        site.reals[0].set_sick(false)
    };
    for _ in 0..2 {
        fails()?;
        watch.until(real, Place::Up, UP)?;
    }
    fails()?;
    watch.until(real, Place::Held, UP)?;
    let held = Instant::now();
    avoided(&site, &watch, real)?;
    let shown = site.director.lbctl(&["health"])?;
    ensure!(shown.contains("held"), "{shown}");
    // Another verdict has it wait anew.
    std::thread::sleep(HOLD / 2);
    fails()?;
    watch.until(real, Place::Held, UP)?;
    let again = Instant::now();
    avoided(&site, &watch, real)?;
    watch.until(real, Place::Up, HOLD + UP)?;
    let (out, since) = (held.elapsed(), again.elapsed());
    let answers = site.client.curl(&Vip::Dr.url("/"), 20)?;
    println!("kept out for {out:.1?}, of which well in a row for {since:.1?}; hold is {HOLD:?}");
    ensure!(answers.from("r1") == 10, "{answers:?}");
    // It was well a little before this was seen.
    ensure!(since + Duration::from_millis(300) > HOLD, "{since:?}");
    Ok(())
}
