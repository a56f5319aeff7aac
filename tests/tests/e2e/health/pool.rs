//! Quorum, sorry server, weights, reloads, restarts, and what becomes of established connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use tests::lab::{Asked, Pace, Vip, poll, port};
use tests::needs_lab;

use super::{
    DOWN, PATIENCE, TIMING, UP, Watch, addresses, at, check, logged_at, script, seconds_of_day,
    service, site, web,
};

/// The data plane follows a verdict within this time.
const SWITCH: f64 = 0.2;

#[test]
fn the_sorry_server_comes_with_the_loss_of_the_quorum_and_goes_with_it() -> Result<()> {
    needs_lab!();
    let mut site = site(3)?;
    let sorry = format!("sorry: {}", site.reals[2].address);
    let told = site.lab().folder().join("told");
    let tell = format!("echo $LBD_EVENT $LBD_SERVICE >> {}", told.display());
    let script = script(&site, "tell", &tell)?;
    let quorum = format!(
        "quorum: {{weight: 2, on_up: {0}, on_down: {0}}}",
        script.display()
    );
    let more = [check("http: /healthz"), quorum, sorry];
    site.balance(&web(&site, &[0, 1], &more))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    watch.until(real, Place::Up, PATIENCE)?;
    let pace = Pace::start(&site.client, Vip::Dr.web(), 200);
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, DOWN)?;
    std::thread::sleep(Duration::from_millis(700));
    let list = site.director.lbctl(&["list"])?;
    let lost_at = logged_at(&site, "quorum lost")?;
    site.reals[0].set_sick(false)?;
    watch.until(real, Place::Up, UP)?;
    std::thread::sleep(Duration::from_millis(700));
    let asked = pace.stop()?;
    let gained_at = logged_at(&site, "quorum gained")?;

    let failed = asked.iter().filter(|a| a.answer.is_err()).count();
    let at = |a: &Asked| seconds_of_day(a.wall);
    let wrong_after_loss = asked
        .iter()
        .filter(|a| at(a) > lost_at && at(a) < gained_at && !a.is_from("r3"))
        .map(|a| at(a) - lost_at)
        .fold(0.0, f64::max);
    let wrong_after_gain = asked
        .iter()
        .filter(|a| at(a) > gained_at && a.is_from("r3"))
        .map(|a| at(a) - gained_at)
        .fold(0.0, f64::max);
    println!(
        "quorum lost {:.0} ms after the failure began; sorry in {:.1} ms after that, out {:.1} ms after the quorum was \
         gained; {failed} of {} requests failed",
        1e3 * (lost_at - seconds_of_day(std::time::SystemTime::now())
            + began.elapsed().as_secs_f64()),
        1e3 * wrong_after_loss,
        1e3 * wrong_after_gain,
        asked.len()
    );
    ensure!(wrong_after_loss <= SWITCH && wrong_after_gain <= SWITCH);
    let sorry = asked.iter().filter(|a| a.is_from("r3")).count();
    ensure!(sorry > 50, "the sorry server has answered {sorry} requests");
    ensure!(
        failed == 0,
        "all servers serve all the time, and {failed} requests failed"
    );
    ensure!(
        list.contains(" aside") && list.contains(" sorry") && list.contains(" down"),
        "{list}"
    );
    poll("the programs of the quorum", PATIENCE, || {
        let told = std::fs::read_to_string(&told)?;
        ensure!(told == "quorum_lost it\nquorum_gained it\n", "{told}");
        Ok(())
    })
}

#[test]
fn no_request_goes_to_a_dead_real_server_while_another_lives() -> Result<()> {
    needs_lab!();
    let mut site = site(3)?;
    let sorry = format!("sorry: {}", site.reals[2].address);
    site.balance(&web(&site, &[0, 1], &[check("http: /healthz"), sorry]))?;
    let watch = Watch::new(&site)?;
    let reals = [site.reals[0].web(), site.reals[1].web()];
    for real in reals {
        watch.until(real, Place::Up, PATIENCE)?;
    }
    let pace = Pace::start(&site.client, Vip::Dr.web(), 200);
    // Who fails or returns, and who serves from then on.
    let mut verdicts: Vec<(f64, &[&str])> = Vec::new();
    for (n, fails, serve) in [
        (0, true, &["r2"][..]),
        (1, true, &["r3"]),
        (1, false, &["r2"]),
        (0, false, &["r1", "r2"]),
    ] {
        let (place, within, words) = match fails {
            true => (Place::Down, DOWN, "down:"),
            false => (Place::Up, UP, "up after"),
        };
        site.reals[n].set_sick(fails)?;
        watch.until(reals[n], place, within)?;
        std::thread::sleep(Duration::from_millis(700));
        let words = format!("real {}: {words}", reals[n]);
        verdicts.push((logged_at(&site, &words)?, serve));
    }
    let asked = pace.stop()?;
    let ends = verdicts.iter().skip(1).map(|&(at, _)| at);
    for (&(since, serve), end) in verdicts.iter().zip(ends.chain([f64::MAX])) {
        let at = |a: &Asked| seconds_of_day(a.wall) - since;
        let within = || asked.iter().filter(|a| at(a) > 0.0 && at(a) < end - since);
        let right = |a: &&Asked| serve.iter().any(|name| a.is_from(name));
        let last = within().filter(|a| !right(a)).map(at).fold(0.0, f64::max);
        println!(
            "{serve:?} after {:.1} ms: {} requests in {:.2} s",
            1e3 * last,
            within().count(),
            within().map(at).fold(0.0, f64::max)
        );
        ensure!(last <= SWITCH, "{serve:?}: {last} s after the verdict");
        for name in serve {
            let its = within().filter(|a| a.is_from(name)).count();
            ensure!(its > 30, "{serve:?}: {name} answered {its} requests");
        }
    }
    let failed = asked.iter().filter(|a| a.answer.is_err()).count();
    println!("{failed} of {} requests failed", asked.len());
    ensure!(
        failed == 0,
        "one of them serves all the time, and {failed} requests failed"
    );
    Ok(())
}

#[test]
fn a_drain_counts_against_the_quorum_and_hysteresis_keeps_the_side() -> Result<()> {
    needs_lab!();
    let mut site = site(4)?;
    let told = site.lab().folder().join("told");
    let tell = format!("echo $LBD_EVENT $LBD_REASON >> {}", told.display());
    let tell = script(&site, "tell", &tell)?;
    let quorum = format!(
        "quorum: {{weight: 2, hysteresis: 1, on_up: {0}, on_down: {0}}}",
        tell.display()
    );
    let sorry = format!("sorry: {}", site.reals[3].address);
    let more = [check("http: /healthz"), quorum, sorry];
    site.balance(&web(&site, &[0, 1, 2], &more))?;
    let watch = Watch::new(&site)?;
    let reals: Vec<_> = site.reals.iter().map(tests::lab::Real::web).collect();
    watch.until(reals[0], Place::Up, PATIENCE)?;
    let drain = |verb: &str, n: usize| {
        let words = [verb, "--service", "it", &reals[n].to_string()];
        site.director.lbctl(&words).map(drop)
    };
    // Each of these serves, and nobody else.
    let serve = |what: &str, names: &[&str]| -> Result<()> {
        let answers = site.client.curl(&Vip::Dr.url("/"), 12)?;
        let each = 12 / names.len() as u64;
        let fair = names.iter().all(|name| answers.from(name) == each);
        ensure!(fair && answers.failures.is_empty(), "{what}: {answers:?}");
        Ok(())
    };
    serve("all are well", &["r1", "r2", "r3"])?;
    drain("drain", 0)?;
    serve("live weight 2", &["r2", "r3"])?;
    site.reals[1].set_sick(true)?;
    watch.until(reals[1], Place::Down, DOWN)?;
    serve("live weight 1: not below 2 - 1", &["r3"])?;
    drain("drain", 2)?;
    serve("live weight 0", &["r4"])?;
    drain("undrain", 2)?;
    serve("live weight 1", &["r4"])?;
    site.reals[1].set_sick(false)?;
    watch.until(reals[1], Place::Up, UP)?;
    serve("live weight 2: below 2 + 1", &["r4"])?;
    drain("undrain", 0)?;
    serve("live weight 3", &["r1", "r2", "r3"])?;
    poll("the programs of the quorum", PATIENCE, || {
        let told = std::fs::read_to_string(&told)?;
        let wanted = "quorum_lost live weight 0, quorum 2\nquorum_gained live weight 3, quorum 2\n";
        ensure!(told == wanted, "{told}");
        Ok(())
    })
}

#[test]
fn without_any_live_real_server_clients_are_refused_until_one_returns() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    site.balance(&web(&site, &[0, 1], &[check("http: /healthz")]))?;
    let watch = Watch::new(&site)?;
    let reals = [site.reals[0].web(), site.reals[1].web()];
    watch.until(reals[0], Place::Up, PATIENCE)?;
    for real in &site.reals {
        real.set_sick(true)?;
    }
    for real in reals {
        watch.until(real, Place::Down, DOWN)?;
    }
    let before = Instant::now();
    let answers = site.client.curl(&Vip::Dr.url("/"), 1)?;
    let took = before.elapsed();
    ensure!(
        answers.failures.len() == 1 && took < Duration::from_secs(1),
        "{took:?} {answers:?}"
    );
    site.reals[1].set_sick(false)?;
    let (up, _) = watch.until(reals[1], Place::Up, UP)?;
    let answers = site.client.curl(&Vip::Dr.url("/"), 20)?;
    println!("refused in {took:.0?}; up again after {up:.0?}");
    ensure!(answers.from("r2") == 20, "{answers:?}");
    Ok(())
}

#[test]
fn what_is_known_of_a_real_server_outlives_reloads_removals_and_crashes() -> Result<()> {
    needs_lab!();
    let mut site = site(3)?;
    let checked = check("http: /healthz");
    site.balance(&web(&site, &[0, 1, 2], std::slice::from_ref(&checked)))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    let address = real.to_string();
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, PATIENCE)?;
    let opened = watch.conns(real)?;
    let nothing_new = |what: &str| -> Result<()> {
        let answers = site.client.curl(&Vip::Dr.url("/"), 12)?;
        ensure!(
            answers.total() == 12 && answers.from("r1") == 0,
            "{what}: {answers:?}"
        );
        Ok(())
    };
    // A reload that changes something else.
    site.director.configure(&web(
        &site,
        &[0, 1, 2],
        &[checked.clone(), "slow_start: 1s".into()],
    ))?;
    site.director.lbctl(&["reload"])?;
    ensure!(
        watch.look(real)?.0 == Place::Down,
        "a reload has made it well"
    );
    nothing_new("after a reload")?;
    ensure!(watch.conns(real)? == opened);
    // Removed, and added again.
    site.director
        .configure(&web(&site, &[1, 2], std::slice::from_ref(&checked)))?;
    site.director.lbctl(&["reload"])?;
    site.director
        .configure(&web(&site, &[1, 2, 0], std::slice::from_ref(&checked)))?;
    site.director.lbctl(&["reload"])?;
    ensure!(
        watch.look(real)?.0 == Place::Down,
        "it was added as a well one"
    );
    nothing_new("after it was added again")?;
    // A person's weight 0 is no check's business.
    site.director
        .lbctl(&["edit-real", "--service", "it", "-r", &address, "-w", "0"])?;
    site.reals[0].set_sick(false)?;
    watch.until(real, Place::Up, PATIENCE)?;
    nothing_new("with weight 0")?;
    site.director
        .lbctl(&["edit-real", "--service", "it", "-r", &address, "-w", "1"])?;
    let answers = site.client.curl(&Vip::Dr.url("/"), 12)?;
    ensure!(answers.from("r1") == 4, "{answers:?}");
    // A crash.
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, PATIENCE)?;
    let state = site.director.paths().state.join("health.json");
    poll("the state to be written", PATIENCE, || {
        let text = std::fs::read_to_string(&state)?;
        ensure!(text.contains(&format!("\"{address}\"")), "{text}");
        Ok(())
    })?;
    site.director.kill()?;
    let killed = site.client.curl(&Vip::Dr.url("/"), 12)?;
    ensure!(
        killed.total() == 12 && killed.from("r1") == 0,
        "without lbd: {killed:?}"
    );
    site.director.start()?;
    ensure!(
        watch.look(real)?.0 == Place::Down,
        "a restart has made it well"
    );
    let answers = site.client.curl(&Vip::Dr.url("/"), 12)?;
    ensure!(
        answers.total() == 12 && answers.from("r1") == 0,
        "after a crash: {answers:?}"
    );
    Ok(())
}

#[test]
fn connections_of_a_dead_real_server_are_kept_or_reset_as_the_service_says() -> Result<()> {
    needs_lab!();
    for (vip, word, reset) in [
        (Vip::Dr, "keep", false),
        (Vip::Dr, "reset", true),
        (Vip::Tun, "reset", true),
        (Vip::Nat, "reset", true),
    ] {
        let mut site = site(2)?;
        let more = [check("http: /healthz"), format!("dead_connections: {word}")];
        let reals = addresses(&site, &[0, 1]);
        site.balance(&service("tcp", 80, vip, &reals, &more))?;
        let watch = Watch::new(&site)?;
        let mut streams = site.client.inside(|| {
            let open = |_| TcpStream::connect(vip.web()).context("cannot connect");
            (0..2).map(open).collect::<Result<Vec<_>>>()
        })?;
        let names: Vec<String> = streams.iter_mut().map(page).collect::<Result<_>>()?;
        let index = names.iter().position(|name| name == "r1");
        let stream = &mut streams[index.with_context(|| format!("{names:?}"))?];
        site.reals[0].signal_web(Signal::SIGSTOP)?;
        watch.until(site.reals[0].web(), Place::Down, DOWN)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let broken = poll("an answer of the network", Duration::from_secs(3), || {
            // The reset comes with the first packet, and is seen with the next call.
            match stream
                .write_all(b" ")
                .and_then(|()| stream.read(&mut [0; 1]))
            {
                Ok(n) => Ok(format!("read {n} bytes")),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => Ok("silence".to_owned()),
                    _ => Ok(error.to_string()),
                },
            }
        })?;
        println!("{vip:?}, {word}: {broken}");
        ensure!(
            broken.contains("reset") == reset,
            "{vip:?}, {word}: {broken}"
        );
        site.reals[0].signal_web(Signal::SIGCONT)?;
    }
    Ok(())
}

#[test]
fn udp_flows_of_a_dead_real_server_move_with_their_next_datagram() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    // It goes on to answer whoever asks it still.
    let file = site.lab().folder().join("well");
    std::fs::write(&file, "1\n")?;
    let well = format!("health: {{file: {}, {TIMING}}}", file.display());
    let [first, second] = [0, 1].map(|n: usize| site.reals[n].address);
    let reals = [format!("{{address: {first}, {well}}}"), second.to_string()];
    site.balance(&service("udp", port::DNS, Vip::Dr, &reals, &[]))?;
    let watch = Watch::new(&site)?;
    let real = at(&site, 0, port::DNS);
    watch.until(real, Place::Up, PATIENCE)?;
    // Of a client with the same ports each time.
    let ask = || site.client.dns(Vip::Dr.dns(), 20);
    for _ in 0..3 {
        let answers = ask()?;
        ensure!(
            (answers.from("r1"), answers.from("r2")) == (10, 10),
            "{answers:?}"
        );
    }
    ensure!(watch.conns(real)? == 10, "these are other flows each time");
    std::fs::write(&file, "-1\n")?;
    watch.until(real, Place::Down, DOWN)?;
    let answers = ask()?;
    ensure!(answers.from("r2") == 20, "{answers:?}");
    Ok(())
}

#[test]
fn a_persistent_client_leaves_a_dead_real_server_unless_it_only_lost_its_weight() -> Result<()> {
    needs_lab!();
    for (word, stays) in [("remove", false), ("weight_zero", true)] {
        let mut site = site(2)?;
        let more = [
            check("http: /healthz"),
            format!("on_failure: {word}"),
            "persistence: 5m".to_owned(),
        ];
        site.balance(&web(&site, &[0, 1], &more))?;
        let watch = Watch::new(&site)?;
        let ask = || site.client.curl(&Vip::Dr.url("/"), 4);
        let first = ask()?;
        let (its, other) = if first.from("r1") == 4 {
            (0, 1)
        } else {
            (1, 0)
        };
        let names = ["r1", "r2"];
        ensure!(first.from(names[its]) == 4, "{first:?}");
        site.reals[its].set_sick(true)?;
        watch.until(site.reals[its].web(), Place::Down, DOWN)?;
        let then = ask()?;
        println!("{word}: {:?}, then {:?}", first.by_name, then.by_name);
        let serves = names[if stays { its } else { other }];
        ensure!(then.from(serves) == 4, "{word}: {then:?}");
        // Nobody else goes there in either case.
        let strangers = site.router.curl(&Vip::Dr.url("/"), 4)?;
        ensure!(strangers.from(names[other]) == 4, "{word}: {strangers:?}");
    }
    Ok(())
}

/// Fetches a page over a connection that stays.
fn page(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..read]);
    let (_, body) = text.split_once("\r\n\r\n").context("no whole answer")?;
    Ok(body.to_owned())
}
