//! Which share of new connections does a real server get, by its checks and by its time?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use tests::lab::{Asked, Pace, Vip, poll};
use tests::needs_lab;

use super::{
    DOWN, PATIENCE, TIMING, UP, Watch, check, logged_at, script, seconds_of_day, site, web,
};

/// As [`web`], but weights count.
fn weighted(configuration: &str) -> String {
    configuration.replace("scheduler: rr", "scheduler: wrr")
}

#[test]
fn a_real_server_that_returns_gets_its_share_step_by_step() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let more = [check("http: /healthz"), "slow_start: 5s".to_owned()];
    site.balance(&weighted(&web(&site, &[0, 1], &more)))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, PATIENCE)?;
    let pace = Pace::start(&site.client, Vip::Dr.web(), 200);
    site.reals[0].set_sick(false)?;
    watch.until(real, Place::Up, UP)?;
    let line = site.director.lbctl(&["health"])?;
    std::thread::sleep(Duration::from_millis(6500));
    let asked = pace.stop()?;
    let up_at = logged_at(&site, "up after")?;
    // In each second there are two of the ten steps: with t tenths it gets t of t + 10.
    let step = |tenths: f64| tenths / (tenths + 10.0);
    let wanted = (0..6).map(|second| {
        let tenths = f64::from(2 * second + 1);
        (step(tenths.min(10.0)) + step((tenths + 1.0).min(10.0))) / 2.0
    });
    let share = |second: usize| -> Result<f64> {
        let since = |a: &Asked| seconds_of_day(a.wall) - up_at - second as f64;
        let within: Vec<&Asked> = asked
            .iter()
            .filter(|a| (0.0..1.0).contains(&since(a)))
            .collect();
        ensure!(within.len() > 100, "{} requests only", within.len());
        let its = within.iter().filter(|a| a.is_from("r1")).count();
        Ok(its as f64 / within.len() as f64)
    };
    for (second, wanted) in wanted.enumerate() {
        let share = share(second)?;
        println!("second {second}: share {share:.2}, should be {wanted:.2}");
        ensure!((share - wanted).abs() < 0.06, "second {second}: {share}");
    }
    let failed = asked.iter().filter(|a| a.answer.is_err()).count();
    ensure!(failed == 0, "{failed} requests failed");
    ensure!(line.contains("up, 10 %"), "{line}");
    Ok(())
}

#[test]
fn files_and_scripts_set_weights_but_never_over_a_persons_zero() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let folder = site.lab().folder();
    let (weight, status) = (folder.join("weight"), folder.join("status"));
    std::fs::write(&weight, "3\n")?;
    std::fs::write(&status, "3\n")?;
    let script = script(
        &site,
        "ask",
        &format!("echo asked; exit $(cat {})", status.display()),
    )?;
    let real = |n: usize, what: &str| {
        let address = site.reals[n].address;
        format!("{{address: {address}, weight: 5, health: {{{what}, {TIMING}}}}}")
    };
    let reals = [
        real(0, &format!("file: {}", weight.display())),
        real(1, &format!("script: {}", script.display())),
    ];
    let configuration = super::service("tcp", 80, Vip::Dr, &reals, &[]);
    site.balance(&weighted(&configuration))?;
    let watch = Watch::new(&site)?;
    let shared = |first: u64, of: u32| {
        poll(&format!("{first} of {of} to r1"), PATIENCE, || {
            let answers = site.client.curl(&Vip::Dr.url("/"), of)?;
            let fits = answers.from("r1") == first && answers.total() == u64::from(of);
            ensure!(fits, "{answers:?}");
            Ok(())
        })
    };
    // Weight 3 to exit status 3, less 2.
    shared(9, 12)?;
    let say = |file: &std::path::Path, what: &str| {
        std::fs::write(file, what).with_context(|| file.display().to_string())
    };
    say(&status, "5")?;
    shared(6, 12)?;
    say(&status, "0")?;
    shared(3, 8)?;
    say(&weight, "0")?;
    shared(0, 8)?;
    ensure!(
        watch.look(site.reals[0].web())?.0 == Place::Up,
        "weight 0 is no failure"
    );
    say(&weight, "-1")?;
    watch.until(site.reals[0].web(), Place::Down, DOWN)?;
    say(&weight, "3")?;
    watch.until(site.reals[0].web(), Place::Up, UP)?;
    say(&status, "1")?;
    let (_, words) = watch.until(site.reals[1].web(), Place::Down, DOWN)?;
    ensure!(
        words == "script: exit status 1, it wrote `asked`",
        "{words}"
    );
    say(&status, "0")?;
    watch.until(site.reals[1].web(), Place::Up, UP)?;
    shared(3, 8)?;
    // A person says 0, and the file something else.
    let address = site.reals[0].web().to_string();
    let edit = ["edit-real", "--service", "it", "-r", &address, "-w", "0"];
    site.director.lbctl(&edit)?;
    shared(0, 8)?;
    say(&weight, "9")?;
    poll("the file to be read again", PATIENCE, || {
        let (_, words) = watch.look(site.reals[0].web())?;
        ensure!(words.contains('9'), "{words}");
        Ok(())
    })?;
    let answers = site.client.curl(&Vip::Dr.url("/"), 8)?;
    ensure!(answers.from("r2") == 8, "{answers:?}");
    Ok(())
}
