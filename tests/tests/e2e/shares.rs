//! Does wrr share requests exactly by weight, and follow a change at once?

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use tests::lab::{Answers, Arms, Vip, port};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::two_armed;

/// Weights, and how many requests make a number of whole rounds.
const CASES: &[(&[u16], u32)] = &[
    (&[1, 1, 1], 300),
    (&[5, 3, 1], 270),
    (&[100, 1], 202),
    (&[0, 1], 50),
];

#[test]
fn weights_are_followed_exactly() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(3)?;
    let mut configuration = Configuration::new(Arms::Two);
    for (index, (weights, _)) in CASES.iter().enumerate() {
        configuration.service(
            &format!("case{index}"),
            "tcp",
            &listener(index),
            Method::Nat,
        );
        for (real, &weight) in site.reals.iter().zip(*weights) {
            configuration.real(&format!("{}:{}", real.address, port::NAT_WEB), weight);
        }
    }
    site.balance(configuration.text())?;
    for (index, (weights, requests)) in CASES.iter().enumerate() {
        let answers = site
            .client
            .curl(&format!("http://{}/", listener(index)), *requests)?;
        shared(&answers, weights, *requests)?;
    }
    Ok(())
}

#[test]
fn services_that_share_a_real_server_are_told_apart_by_nat() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(1)?;
    let real = site.reals[0].address;
    let mut configuration = Configuration::new(Arms::Two);
    let (web, dns) = ([1000, 1001], [1002, 1003]);
    let listener = |port| SocketAddrV4::new(Vip::Nat.address(), port);
    for (protocol, listeners, target) in [("tcp", web, port::NAT_WEB), ("udp", dns, port::NAT_DNS)]
    {
        for port in listeners {
            let address = listener(port).to_string();
            configuration.service(&format!("s{port}"), protocol, &address, Method::Nat);
            configuration.real(&format!("{real}:{target}"), 1);
        }
    }
    site.balance(configuration.text())?;
    // To the real server, each of these connections looks like the one before.
    for round in 0..5 {
        for port in web {
            let name = site.client.visit(listener(port), Some(40_000));
            let name = name.and_then(|mut visit| visit.ask());
            let name = name.with_context(|| format!("round {round}"))?;
            ensure!(name == "r1", "{name}");
        }
    }
    for port in dns {
        let answers = site.client.dns(listener(port), 1)?;
        ensure!(answers.from("r1") == 1, "{answers:?}");
    }
    Ok(())
}

#[test]
fn an_edited_weight_holds_from_the_next_connection_on() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(3)?;
    let configuration = Configuration::new(Arms::Two).with(Method::Dr, &site.reals);
    site.balance(configuration.text())?;
    let service = Vip::Dr.web().to_string();
    for (weights, requests) in CASES {
        for (index, real) in site.reals.iter().enumerate() {
            let weight = weights.get(index).copied().unwrap_or(0).to_string();
            let real = real.address.to_string();
            site.director
                .lbctl(&["edit-real", "-t", &service, "-r", &real, "-w", &weight])?;
        }
        let answers = site.client.curl(&Vip::Dr.url("/"), *requests)?;
        shared(&answers, weights, *requests)?;
    }
    Ok(())
}

#[test]
fn services_and_real_servers_come_and_go_without_a_failed_request() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(2)?;
    site.balance(
        Configuration::new(Arms::Two)
            .with(Method::Dr, &site.reals)
            .text(),
    )?;
    let (service, real) = (
        Vip::Tun.web().to_string(),
        site.reals[0].address.to_string(),
    );
    ensure!(
        site.client.curl(&Vip::Tun.url("/"), 1)?.total() == 0,
        "there is no such service yet"
    );

    site.director
        .lbctl(&["add-service", "-t", &service, "-s", "rr"])?;
    site.director
        .lbctl(&["add-real", "-t", &service, "-r", &real, "-i"])?;
    shared(&site.client.curl(&Vip::Tun.url("/"), 10)?, &[1], 10)?;

    let other = site.reals[1].address.to_string();
    site.director
        .lbctl(&["add-real", "-t", &service, "-r", &other, "-i", "-w", "7"])?;
    shared(&site.client.curl(&Vip::Tun.url("/"), 10)?, &[1, 1], 10)?;

    site.director
        .lbctl(&["del-real", "-t", &service, "-r", &real])?;
    shared(&site.client.curl(&Vip::Tun.url("/"), 10)?, &[0, 1], 10)?;

    site.director.lbctl(&["del-service", "-t", &service])?;
    ensure!(
        site.client.curl(&Vip::Tun.url("/"), 1)?.total() == 0,
        "the service is gone"
    );
    ensure!(
        site.director
            .lbctl(&["del-service", "-t", &service])
            .is_err(),
        "and cannot go twice"
    );
    Ok(())
}

/// All requests were answered, by `r1`, `r2`, … in the proportion of their weights.
fn shared(answers: &Answers, weights: &[u16], requests: u32) -> Result<()> {
    ensure!(answers.failures.is_empty(), "{weights:?}: {answers:?}");
    let round: u32 = weights.iter().copied().map(u32::from).sum();
    for (index, &weight) in weights.iter().enumerate() {
        let expected = requests * u32::from(weight) / round;
        let got = answers.from(&format!("r{}", index + 1));
        ensure!(
            got == u64::from(expected),
            "weights {weights:?}: r{} has {got} of {requests}: {answers:?}",
            index + 1
        );
    }
    ensure!(
        answers.total() == u64::from(requests),
        "{weights:?}: {answers:?}"
    );
    Ok(())
}

fn listener(case: usize) -> String {
    format!("{}:{}", Vip::Nat.address(), 1000 + case)
}
