//! Does `lbctl doctor` find over IPv6 what it finds over IPv4?

use anyhow::{Result, ensure};
use lb_daemon::api::types::Standing;
use tests::lab::{Site, Vip, port};
use tests::needs_lab;

use crate::doctor::{doctor, finds};
use crate::sites::two_armed;

/// Real servers by direct routing and by NAT.
fn balanced() -> Result<Site> {
    let mut site = two_armed(2)?;
    site.add_ipv6()?;
    let mut text = "interfaces: [eth0, eth1]\nconnections: {max: 20000}\nservices:\n".to_owned();
    for (method, vip, port) in [("dr", Vip::Dr, port::WEB), ("nat", Vip::Nat, port::NAT_WEB)] {
        let reals: Vec<String> = site
            .reals
            .iter()
            .map(|real| format!("\"[{}]:{port}\"", real.address6()))
            .collect();
        text += &format!(
            "  - {{address: \"[{}]:80\", method: {method}, reals: [{}]}}\n",
            vip.address6(),
            reals.join(", ")
        );
    }
    for real in &site.reals {
        real.prepare_for([Vip::Dr.address6().into()], "dr")?;
    }
    site.balance(&text)?;
    Ok(site)
}

#[test]
fn what_breaks_forwarding_over_ipv6_is_named() -> Result<()> {
    needs_lab!();
    let site = balanced()?;
    let visit = doctor(&site)?;
    visit.is_well()?;
    for (check, count) in [
        ("forwarding", 1),
        ("vip", 2),
        ("arp", 2),
        ("neighbour", 2),
        ("on-link", 2),
        ("probe", 4),
        ("nat-return", 2),
    ] {
        let good = visit.of(check, Standing::Good);
        ensure!(good.len() == count, "{check}: {good:?}");
    }

    let (director, r2) = (site.director.host(), &site.reals[1].host);
    r2.ip(&["route replace default via fd00:2::254"])?;
    let mends = Some("on fd00:2::12: lbctl backend prepare --method nat --gateway fd00:2::1");
    finds(&site, "nat-return", ["fd00:2::12", ""], mends)?;
    r2.ip(&["route replace default via fd00:2::1"])?;

    director.set(&[("ipv6/conf/all/forwarding", "0")])?;
    let mends = Some("sysctl -w net.ipv6.conf.all.forwarding=1");
    finds(&site, "forwarding", ["", "net.ipv6"], mends)?;
    director.set(&[("ipv6/conf/all/forwarding", "1")])?;
    doctor(&site)?.is_well()?;

    // What the way of a tunnel carries is found out without the tunnel.
    let vip = format!("[{}]:80", Vip::Tun.address6());
    let real = format!("[{}]:80", site.reals[1].address6());
    site.director
        .lbctl(&["add-service", "-t", &vip, "-s", "rr"])?;
    site.director
        .lbctl(&["add-real", "-t", &vip, "-r", &real, "-i"])?;
    let visit = doctor(&site)?;
    let advice = visit.of("tunnel-mtu", Standing::Advice);
    ensure!(
        advice.len() == 1 && advice[0].evidence.contains("leaves 1460"),
        "{advice:?}"
    );
    r2.ip(&["link set eth0 mtu 1400"])?;
    let visit = doctor(&site)?;
    let bad = visit.of("tunnel-mtu", Standing::Bad);
    ensure!(
        bad.len() == 1 && bad[0].evidence.contains("1400 bytes arrive"),
        "{bad:?}"
    );
    Ok(())
}

/// A real server that has the VIP on an interface answers neighbour solicitations for it, and takes the clients.
#[test]
fn a_real_server_that_answers_for_an_ipv6_vip_is_named_with_its_mac() -> Result<()> {
    needs_lab!();
    let site = balanced()?;
    let other = site.lab().host("other")?;
    site.lab()
        .connect(&other, "eth0", "front", "10.0.1.20/24")?;
    other.set(&[("ipv6/conf/eth0/disable_ipv6", "0")])?;
    other.ip(&["address add fd00:1::20/64 dev eth0 nodad"])?;
    let vip = format!("[{}]:80", Vip::Dr.address6());
    let real = ["add-real", "-t", &vip, "-r", "[fd00:1::20]:80", "-g"];
    site.director.lbctl(&real)?;
    let bad = doctor(&site)?;
    ensure!(bad.of("arp", Standing::Bad).is_empty());
    ensure!(bad.of("neighbour", Standing::Bad).is_empty());

    other.ip(&["address add fd00:1::101/128 dev eth0 nodad"])?;
    let visit = doctor(&site)?;
    let bad = visit.of("arp", Standing::Bad);
    let mac = other.mac("eth0")?;
    ensure!(
        bad.len() == 1
            && bad[0].what
                == "real server fd00:1::20 answers neighbour discovery for VIP fd00:1::101"
            && bad[0].evidence.contains(&mac),
        "{bad:?}"
    );
    other.ip(&["address del fd00:1::101/128 dev eth0"])?;
    ensure!(doctor(&site)?.of("arp", Standing::Bad).is_empty());

    // One that is silent is said to be.
    other.ip(&["link set eth0 down"])?;
    let visit = doctor(&site)?;
    let bad = visit.of("neighbour", Standing::Bad);
    ensure!(
        bad.len() == 1 && bad[0].what.contains("fd00:1::20"),
        "{bad:?}"
    );
    Ok(())
}
