//! Is what cannot be right refused with a hint, by `lbctl` and from the file, and nothing changed by it?

use anyhow::{Context, Result, bail, ensure};
use lb_daemon::api::types::Service;
use tests::lab::Site;
use tests::needs_lab;

use crate::sites::two_armed;

const WEB: &str = "10.0.1.101:80";
/// The VIP of a service that is not there yet.
const NEW: &str = "10.0.1.102:80";
const NEW6: &str = "[fd00:1::102]:80";
const CACHES: &str = "10.20.0.0/16:80";

/// The same by `lbctl` and as an item of `services`, and what is said of it by both.
struct Case {
    words: Vec<String>,
    item: String,
    says: &'static [&'static str],
}

/// A service at this address, with these flags or this key.
fn add(address: &str, flags: &str, key: &str, says: &'static [&'static str]) -> Case {
    let words = ["add-service", "-t", address].into_iter();
    Case {
        words: words
            .chain(flags.split_whitespace())
            .map(str::to_owned)
            .collect(),
        item: format!("{{name: new, address: \"{address}\"{key}}}"),
        says,
    }
}

fn cases(site: &Site) -> Vec<Case> {
    let [first, third] = [0, 2].map(|n: usize| site.reals[n].address);
    let real = |words: &str, keys: &str, says| Case {
        words: words.split_whitespace().map(str::to_owned).collect(),
        item: format!("{{name: new, address: \"{NEW}\", reals: [{keys}]}}"),
        says,
    };
    vec![
        real(
            &format!("edit-real -t {WEB} -r {first} -x 10 -y 20"),
            &format!("{{address: {first}, upper: 10, lower: 20}}"),
            &["`lower` (20) is above `upper` (10)"],
        ),
        real(
            &format!("add-real -t {WEB} -r {third} -g"),
            &third.to_string(),
            &[
                "there are 4 real servers",
                "the limit over all services is 3",
            ],
        ),
        add(
            NEW,
            "-p 300 -M 33",
            ", persistence: {timeout: 5m, mask: 33}",
            &["33 bits", "has 32"],
        ),
        add(
            NEW6,
            "-p 300 -M 129",
            ", persistence: {timeout: 5m, mask: 129}",
            &["129", "128"],
        ),
        add(
            NEW,
            "-p 0",
            ", persistence: 0s",
            &["from 1s to 24855d3h14m7s"],
        ),
        add(
            NEW,
            "-p 2147483648",
            ", persistence: 2147483648s",
            &["from 1s to 24855d3h14m7s"],
        ),
        add(
            NEW,
            "-s wcl",
            ", scheduler: wcl",
            &["did you mean `wlc`", "rr, wrr, lc, sed, nq, sh"],
        ),
        add(
            "10.0.1.102:0",
            "",
            "",
            &["port 0 stands for all ports, and needs persistence"],
        ),
        add(CACHES, "", "", &["10.20.0.0/16:80", "`caches`"]),
        add("10.20.5.0/16:80", "", "", &["10.20.0.0/16"]),
    ]
}

/// A director with a service, and one for a network; it may have no more real servers than it has.
fn configuration(site: &Site, more: &str) -> String {
    let [first, second] = [0, 1].map(|n: usize| site.reals[n].address);
    let item = |item: &str| format!("  - {item}\n");
    let more = if more.is_empty() {
        String::new()
    } else {
        item(more)
    };
    format!(
        "interfaces: [eth0, eth1]
connections: {{max: 20000}}
limits: {{reals: 3}}
services:
  - {{name: web, address: \"{WEB}\", reals: [{first}, {second}]}}
  - {{name: caches, address: \"{CACHES}\", scheduler: dh, reals: [{first}]}}
{more}"
    )
}

/// What is balanced, how, and to whom.
fn state(site: &Site) -> Result<String> {
    let services: Vec<Service> = site.director.ask(&["list"])?;
    let rules = site.director.lbctl(&["dump"])?;
    Ok(format!("{rules}\n{services:#?}"))
}

#[test]
fn what_cannot_be_right_is_refused_and_changes_nothing() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(3)?;
    let good = configuration(&site, "");
    site.balance(&good)?;
    let before = state(&site)?;
    for case in cases(&site) {
        let words: Vec<&str> = case.words.iter().map(String::as_str).collect();
        refused(&site, &words, case.says).with_context(|| words.join(" "))?;
        site.director.configure(&configuration(&site, &case.item))?;
        let said = refused(&site, &["reload"], case.says).with_context(|| case.item.clone())?;
        // Line and column: of the new service, or of all of them where it is one too many.
        let there = ["lbd.yaml:7:", "lbd.yaml:5:3: there are 4 real servers"];
        ensure!(there.iter().any(|place| said.contains(place)), "{said}");
    }
    ensure!(
        state(&site)? == before,
        "{before}\nis now\n{}",
        state(&site)?
    );
    // What is right is taken still.
    site.director.configure(&good)?;
    site.director.lbctl(&["reload"])?;
    site.director.lbctl(&["add-service", "-t", NEW])?;
    ensure!(state(&site)? != before, "a new service makes no difference");
    Ok(())
}

/// What `lbctl` says when it refuses.
fn refused(site: &Site, words: &[&str], says: &[&str]) -> Result<String> {
    let Err(error) = site.director.lbctl(words) else {
        bail!("it was taken");
    };
    let said = format!("{error:#}");
    // What no director could take is an error of usage, and says itself what to write.
    let [refusal, usage] = [("1", "hint:"), ("2", "write `")].map(|(status, hint)| {
        said.contains(&format!("exit status: {status}\n")) && said.contains(hint)
    });
    ensure!(refusal || usage, "{said}");
    for part in says {
        ensure!(said.contains(part), "no `{part}` in\n{said}");
    }
    Ok(said)
}
