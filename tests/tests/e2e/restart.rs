//! Does traffic go on while lbd is killed, stopped and started again, and end when it is taken out?

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Stats, Status};
use tests::lab::{Site, Vip, poll};
use tests::needs_lab;

use crate::configuration::Method;
use crate::load;
use crate::sites::of_all_methods;

#[test]
fn kill_and_restart_under_load_fails_no_request() -> Result<()> {
    needs_lab!();
    let mut site = of_all_methods(3)?;
    let large = site.file("100m", 100 << 20)?;
    let load = load::start(&site, &Method::ALL);
    thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        let before = connections(&site)?;
        site.director.kill()?;
        // Nobody is there: what comes now is forwarded by the pinned program alone.
        ensure!(
            site.client.download(&Vip::Nat.url("/files/100m"))? == large,
            "100 MB differ"
        );
        thread::sleep(Duration::from_millis(500));
        let time = site.director.start()?;
        println!("lbd took {time:?} to adopt what is pinned");
        ensure!(
            time < Duration::from_secs(1),
            "lbd took {time:?} to adopt what is pinned"
        );
        let after = connections(&site)?;
        ensure!(
            after >= before && before > 0,
            "{before} connections scheduled before, {after} after"
        );
        thread::sleep(Duration::from_millis(500));
    }
    load::stop_without_a_failure(load)
}

#[test]
fn stop_and_start_under_load_fails_no_request() -> Result<()> {
    needs_lab!();
    let mut site = of_all_methods(3)?;
    let load = load::start(&site, &Method::ALL);
    thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        site.director.stop()?;
        thread::sleep(Duration::from_millis(500));
        site.director.start()?;
    }
    load::stop_without_a_failure(load)
}

#[test]
fn what_was_changed_by_lbctl_holds_after_a_crash() -> Result<()> {
    needs_lab!();
    let mut site = of_all_methods(3)?;
    let (service, real) = (Vip::Dr.web().to_string(), site.reals[0].address.to_string());
    site.director
        .lbctl(&["edit-real", "-t", &service, "-r", &real, "-w", "0"])?;
    site.director
        .lbctl(&["del-service", "-u", &Vip::Dr.dns().to_string()])?;
    let before = site.director.lbctl(&["list"])?;
    site.director.kill()?;
    site.director.start()?;
    let answers = site.client.curl(&Vip::Dr.url("/"), 30)?;
    ensure!(
        answers.failures.is_empty() && answers.from("r1") == 0,
        "{answers:?}"
    );
    ensure!(
        site.client.dns(Vip::Dr.dns(), 1)?.total() == 0,
        "a removed service answers"
    );
    ensure!(!before.contains(&Vip::Dr.dns().to_string()), "{before}");
    Ok(())
}

#[test]
fn detach_leaves_nothing_in_the_kernel() -> Result<()> {
    needs_lab!();
    let site = of_all_methods(3)?;
    ensure!(site.client.curl(&Vip::Dr.url("/"), 3)?.total() == 3);
    ensure!(has_program(&site)?, "no program is attached");
    site.director.lbctl(&["detach"])?;
    nothing_is_left(&site)?;

    // The same without a daemon to ask.
    let mut site = of_all_methods(3)?;
    site.director.kill()?;
    ensure!(has_program(&site)?, "the program went with the daemon");
    let line = site.director.command_line()?;
    let words: Vec<&str> = line
        .iter()
        .map(String::as_str)
        .chain(["--detach"])
        .collect();
    site.director.host().run(&words)?;
    nothing_is_left(&site)
}

#[test]
fn a_program_that_somebody_takes_off_is_back_within_a_second() -> Result<()> {
    needs_lab!();
    let mut site = of_all_methods(3)?;
    let links = site.director.paths().pins.join("links");
    // As with a daemon of before: it has not made these links itself.
    site.director.kill()?;
    site.director.start()?;
    for link in std::fs::read_dir(&links)? {
        std::fs::remove_file(link?.path())?;
    }
    let missed = poll("the program to be back", Duration::from_secs(1), || {
        let status: Status = site.director.ask(&["status"])?;
        ensure!(
            status.interfaces.len() == 2 && std::fs::read_dir(&links)?.count() == 2,
            "{:?}",
            status.interfaces
        );
        Ok(())
    });
    missed.with_context(|| site.director.log())?;
    ensure!(
        site.director.log().contains("was taken off eth0, eth1"),
        "{}",
        site.director.log()
    );
    for method in Method::ALL {
        let answers = site.client.curl(&method.vip().url("/"), 9)?;
        ensure!(answers.total() == 9, "{method:?}: {answers:?}");
    }
    Ok(())
}

fn nothing_is_left(site: &Site) -> Result<()> {
    ensure!(!has_program(site)?, "a program is still attached");
    let pins = &site.director.paths().pins;
    let left = std::fs::read_dir(pins).map(Iterator::count).unwrap_or(0);
    ensure!(left == 0, "{left} pins are left in {}", pins.display());
    ensure!(
        site.client.curl(&Vip::Dr.url("/"), 1)?.total() == 0,
        "requests are still balanced"
    );
    Ok(())
}

/// Whether an XDP program is attached to an interface of the director.
fn has_program(site: &Site) -> Result<bool> {
    let links = site.director.host().run(&["ip", "link", "show"])?;
    Ok(links.contains("xdp"))
}

/// Connections scheduled so far.
fn connections(site: &Site) -> Result<u64> {
    let stats: Stats = site.director.ask(&["stats"])?;
    Ok(stats.totals.conns)
}
