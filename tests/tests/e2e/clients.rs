//! Where do clients of persistent services, of groups and of whole networks come out?

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::{Answers, Arms, Site, Vip, poll, port};
use tests::needs_lab;

use crate::configuration::Configuration;
use crate::sites::{service, two_armed};

/// A site of two real servers with no service yet.
fn site() -> Result<Site> {
    let mut site = two_armed(2)?;
    site.balance(&format!(
        "{} []\n",
        Configuration::new(Arms::Two).text().trim_end()
    ))?;
    Ok(site)
}

/// Adds both real servers to a service.
fn add_reals(site: &Site, service: &[&str], method: &str) -> Result<()> {
    for real in &site.reals {
        let address = real.address.to_string();
        let words = [&["add-real"], service, &["-r", &address, method]].concat();
        site.director.lbctl(&words)?;
    }
    Ok(())
}

/// All requests were answered by one real server: which.
fn only(answers: &Answers) -> Result<String> {
    ensure!(
        answers.failures.is_empty() && answers.by_name.len() == 1,
        "{answers:?}"
    );
    Ok(answers.by_name.keys().cloned().collect())
}

/// The other real server's name and the address of each.
fn other(name: &str) -> &'static str {
    if name == "r1" { "r2" } else { "r1" }
}

fn address(site: &Site, name: &str) -> String {
    let real = site.reals.iter().find(|real| real.host.name() == name);
    real.map_or(String::new(), |real| real.address.to_string())
}

#[test]
fn a_persistent_client_stays_until_it_is_told_to_leave() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let web = Vip::Dr.web().to_string();
    let lbctl = |words: &[&str]| site.director.lbctl(words);
    let curl = || site.client.curl(&Vip::Dr.url("/"), 10);
    lbctl(&[
        "add-service",
        "-t",
        &web,
        "--name",
        "web",
        "-s",
        "rr",
        "-p",
        "300",
    ])?;
    add_reals(&site, &["-t", &web], "-g")?;
    let first = only(&curl()?)?;
    let templates = || -> Result<Vec<u32>> {
        let reals = service(&site, "web")?.reals;
        Ok(reals.iter().map(|real| real.persistent).collect())
    };
    // They are counted by walks over the tables.
    poll(
        "the template to be counted",
        Duration::from_secs(15),
        || {
            let mut counted = templates()?;
            counted.sort_unstable();
            ensure!(counted == [0, 1], "{counted:?}");
            Ok(())
        },
    )?;

    // Without weight it keeps its clients; but not with the setting that says so.
    let real = address(&site, &first);
    lbctl(&["edit-real", "-t", &web, "-r", &real, "-w", "0"])?;
    ensure!(only(&curl()?)? == first);
    lbctl(&["edit-service", "-t", &web, "-p", "300", "--leave-quiesced"])?;
    let second = only(&curl()?)?;
    ensure!(second == other(&first), "{second}");
    lbctl(&["edit-real", "-t", &web, "-r", &real, "-w", "1"])?;
    ensure!(only(&curl()?)? == second, "it does not go back");
    Ok(())
}

#[test]
fn a_client_of_all_ports_has_one_real_server_for_all() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let all = format!("{}:0", Vip::Dr.address());
    let words = ["add-service", "-t", &all, "-s", "rr", "-p", "300"];
    site.director.lbctl(&words)?;
    add_reals(&site, &["-t", &all], "-g")?;
    let first = only(&site.client.curl(&Vip::Dr.url("/"), 5)?)?;
    let url = format!("http://{}:{}/", Vip::Dr.address(), port::NAT_WEB);
    ensure!(only(&site.client.curl(&url, 5)?)? == first);
    Ok(())
}

#[test]
fn a_group_by_nat_keeps_the_port_that_the_client_chose() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let listener = |port| format!("{}:{port}", Vip::Nat.address());
    let (web, more) = (listener(port::WEB), listener(port::NAT_WEB));
    let words = ["add-service", "-t", &web, "-t", &more, "-s", "rr"];
    site.director.lbctl(&words)?;
    add_reals(&site, &["-t", &web], "-m")?;
    for address in [&web, &more] {
        let answers = site.client.curl(&format!("http://{address}/"), 10)?;
        ensure!(
            answers.from("r1") == 5 && answers.from("r2") == 5,
            "{address}: {answers:?}"
        );
    }
    Ok(())
}

#[test]
fn each_address_of_a_network_is_served_and_one_may_have_a_service_of_its_own() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let curl = |vip: Vip| site.client.curl(&vip.url("/"), 10);
    let network = "10.0.1.0/24:80";
    let words = ["add-service", "-t", network, "-s", "rr"];
    site.director.lbctl(&words)?;
    add_reals(&site, &["-t", network], "-g")?;
    for vip in [Vip::Dr, Vip::Tun] {
        let answers = curl(vip)?;
        ensure!(
            answers.from("r1") == 5 && answers.from("r2") == 5,
            "{answers:?}"
        );
    }
    let own = Vip::Tun.web().to_string();
    site.director.lbctl(&["add-service", "-t", &own])?;
    let second = address(&site, "r2");
    site.director
        .lbctl(&["add-real", "-t", &own, "-r", &second, "-g"])?;
    ensure!(only(&curl(Vip::Tun)?)? == "r2");
    site.director.lbctl(&["del-service", "-t", &own])?;
    let answers = curl(Vip::Tun)?;
    ensure!(answers.by_name.len() == 2, "{answers:?}");
    Ok(())
}
