//! Is the lab itself what the other tests take it for?

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use tests::lab::{Arms, Lab, Layout, Site, port, remove};
use tests::needs_lab;

#[test]
fn each_real_server_answers_by_its_name_and_serves_whole_files() -> Result<()> {
    needs_lab!();
    let site = Site::new(Layout {
        arms: Arms::Two,
        reals: 2,
        far: 1,
    })?;
    let sum = site.file("1m", 1 << 20)?;
    for real in site.reals.iter().chain(&site.far) {
        for web in [port::WEB, port::NAT_WEB] {
            let answers = site
                .client
                .curl(&format!("http://{}:{web}/", real.address), 3)?;
            ensure!(answers.from(real.host.name()) == 3, "{answers:?}");
        }
        for dns in [port::DNS, port::NAT_DNS] {
            let answers = site.client.dns(SocketAddrV4::new(real.address, dns), 3)?;
            ensure!(answers.from(real.host.name()) == 3, "{answers:?}");
        }
        ensure!(
            site.client
                .download(&format!("http://{}/files/1m", real.address))?
                == sum
        );
    }
    Ok(())
}

#[test]
fn a_request_that_nobody_answers_is_a_failure() -> Result<()> {
    needs_lab!();
    let site = Site::new(Layout {
        arms: Arms::One,
        reals: 1,
        far: 0,
    })?;
    let address = site.reals[0].address;
    let answers = site.client.curl(&format!("http://{address}:81/"), 2)?;
    ensure!(
        answers.total() == 0 && answers.failures.len() == 2,
        "{answers:?}"
    );
    ensure!(
        site.client
            .download(&format!("http://{address}/files/none"))
            .is_err()
    );
    let answers = site.client.dns(SocketAddrV4::new(address, 54), 1)?;
    ensure!(
        answers.total() == 0 && answers.failures.len() == 1,
        "{answers:?}"
    );
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab_that_panicked() -> Result<()> {
    needs_lab!();
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let lab = Lab::new().unwrap();
        let host = lab.host("host").unwrap();
        let sleep = host.start("sleep", &["sleep", "60"]).unwrap();
        send.send((lab.id().to_owned(), sleep.pid())).unwrap();
        // Nobody ends it but the lab.
        sleep.leave();
        panic!("as a failed test does");
    });
    let (id, pid) = receive.recv()?;
    ensure!(thread.join().is_err());
    ensure!(remove(&id).is_err(), "{id} is still there");
    let alive = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "));
    ensure!(!alive, "process {pid} still runs");
    for entry in std::fs::read_dir("/run/netns")? {
        ensure!(
            !entry?
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{id}-"))
        );
    }
    Ok(())
}
