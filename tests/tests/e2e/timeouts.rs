//! Do connections end when the timeouts say, and who remembers the timeouts?

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_daemon::api::types::Timeouts;
use tests::lab::{Arms, Site, Vip, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::{connections, two_armed};

fn timeouts(site: &Site) -> Result<(u64, u64, u64)> {
    let Timeouts { tcp, tcp_fin, udp } = site.director.ask(&["list", "--timeout"])?;
    Ok((tcp, tcp_fin, udp))
}

#[test]
fn they_hold_from_the_next_packet_on_and_over_a_restart() -> Result<()> {
    needs_lab!();
    let mut site = two_armed(1)?;
    let configuration = Configuration::new(Arms::Two).with(Method::Dr, &site.reals);
    site.balance(configuration.text())?;
    ensure!(site.client.dns(Vip::Dr.dns(), 2)?.total() == 2);
    let told = site.director.lbctl(&["list", "--timeout"])?;
    ensure!(told == "Timeout (tcp tcpfin udp): 900 120 300\n", "{told}");

    site.director.lbctl(&["set-timeout", "--udp", "3s"])?;
    site.director.lbctl(&["set", "1000", "0", "0"])?;
    ensure!(timeouts(&site)? == (1000, 120, 3), "{:?}", timeouts(&site)?);
    // One of the two flows sees another packet; the other one's timer runs as it was set.
    ensure!(site.client.dns(Vip::Dr.dns(), 1)?.total() == 1);
    let now = connections(&site, &[])?;
    let mut left: Vec<u32> = now.iter().map(|flow| flow.expires).collect();
    left.sort_unstable();
    ensure!(left.len() == 2 && left[0] <= 3 && left[1] > 280, "{now:?}");
    poll("the first flow to expire", Duration::from_secs(6), || {
        let now = connections(&site, &[])?;
        ensure!(now.len() == 1 && now[0].expires > 280, "{now:?}");
        Ok(())
    })?;

    site.director.kill()?;
    site.director.start()?;
    ensure!(timeouts(&site)? == (1000, 120, 3), "{:?}", timeouts(&site)?);
    // A service's own come first.
    let dns = Vip::Dr.dns().to_string();
    site.director
        .lbctl(&["set-timeout", "-u", &dns, "--udp", "60"])?;
    ensure!(site.client.dns(Vip::Dr.dns(), 1)?.total() == 1);
    let now = connections(&site, &[])?;
    ensure!(
        now.iter().any(|flow| (55..=60).contains(&flow.expires)),
        "{now:?}"
    );

    // The file has none of it, and a reload makes what runs what the file says.
    let diff = site.director.lbctl(&["diff"])?;
    ensure!(diff.contains("udp"), "{diff}");
    site.director.lbctl(&["reload"])?;
    ensure!(
        timeouts(&site)? == (900, 120, 300),
        "{:?}",
        timeouts(&site)?
    );
    Ok(())
}
