//! Do services come and go as lines of ipvsadm?

use std::fs;

use anyhow::{Result, ensure};
use lb_daemon::api::types::Service;
use tests::lab::{Site, program};
use tests::needs_lab;

use crate::configuration::Method;
use crate::sites::of_all_methods;

/// Has `lbctl restore` read a file.
fn restore(site: &Site, text: &str) -> Result<String> {
    let file = site.director.host().folder().join("rules");
    fs::write(&file, text)?;
    let line = format!(
        "{} --socket {} restore < {}",
        program("lbctl")?,
        site.director.paths().socket.display(),
        file.display()
    );
    site.director.host().run(&["sh", "-c", &line])
}

/// What is listed, but for names and counts.
fn listed(site: &Site) -> Result<Vec<String>> {
    let services: Vec<Service> = site.director.ask(&["list"])?;
    let service = |service: Service| {
        let reals = service.reals.into_iter();
        let reals: Vec<_> = reals
            .map(|real| (real.address, real.method, real.weight))
            .collect();
        format!("{} {} {reals:?}", service.listener, service.scheduler)
    };
    Ok(services.into_iter().map(service).collect())
}

#[test]
fn what_was_dumped_and_cleared_is_restored_whole_or_not_at_all() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(3)?;
    let before = listed(&site)?;
    let dumped = site.director.lbctl(&["-S", "-n"])?;
    let lines = dumped.lines().count();
    ensure!(lines == 6 + 18, "{lines} lines:\n{dumped}");

    let said = site.director.lbctl(&["-C"])?;
    ensure!(said.contains("6 services"), "{said}");
    ensure!(listed(&site)?.is_empty());

    // The last service is there twice: its line is named, and those before it are taken back.
    let (first, _) = dumped.split_once('\n').unwrap_or_default();
    let refusal = restore(&site, &format!("{dumped}{first}\n"));
    let said = refusal.unwrap_or_else(|error| format!("{error:#}"));
    ensure!(
        said.contains("line 25") && said.contains("nothing was added"),
        "{said}"
    );
    ensure!(listed(&site)?.is_empty(), "{:?}", listed(&site)?);

    let said = restore(&site, &dumped)?;
    ensure!(said.contains("6 services with 18 real servers"), "{said}");
    let after = listed(&site)?;
    ensure!(after == before, "{after:#?}\nbefore {before:#?}");
    let again = site.director.lbctl(&["-S", "-n"])?;
    ensure!(again == dumped, "{again}\nbefore\n{dumped}");
    for method in Method::ALL {
        let answers = site.client.curl(&method.vip().url("/"), 9)?;
        for real in ["r1", "r2", "r3"] {
            ensure!(answers.from(real) == 3, "{method:?}: {answers:?}");
        }
    }
    Ok(())
}
