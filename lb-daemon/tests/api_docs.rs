//! docs/api.md has every route, no other, and for each an example that curl takes.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its input has failed"
)]

use std::collections::BTreeSet;
use std::path::Path;

use lb_daemon::api::routes::{Route, routes};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    std::fs::read_to_string(path).unwrap()
}

/// The sections about routes: heading and text.
fn sections(document: &str) -> Vec<(&str, &str)> {
    let sections = document.split("\n### ").skip(1);
    sections
        .map(|section| section.split_once('\n').unwrap())
        .collect()
}

fn heading(route: &Route) -> String {
    let reads = if route.writes { "" } else { " (reads)" };
    format!("`{} {}`{reads}", route.method, route.path)
}

#[test]
fn every_route_is_documented_and_every_documented_route_exists() {
    let document = document();
    let documented: BTreeSet<String> = sections(&document)
        .iter()
        .map(|(heading, _)| (*heading).to_owned())
        .collect();
    let there: BTreeSet<String> = routes().iter().map(heading).collect();
    assert_eq!(documented, there);
}

#[test]
fn every_route_has_an_example_for_curl_that_leads_to_it() {
    let document = document();
    for (heading, text) in sections(&document) {
        let (method, path) = heading
            .trim_matches('`')
            .split('`')
            .next()
            .unwrap()
            .split_once(' ')
            .unwrap();
        let example = text
            .split("```sh\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let example = example.unwrap_or_else(|| panic!("{heading} has no example"));
        assert!(
            example.starts_with("curl --unix-socket /run/lbd/lbd.sock "),
            "{heading}: {example}"
        );
        let says = match (
            example.split_once("-X "),
            example.contains(" -d '") || example.contains("--data-binary"),
        ) {
            (Some((_, rest)), _) => rest.split(' ').next().unwrap(),
            (None, true) => "POST",
            (None, false) => "GET",
        };
        assert_eq!(says, method, "{heading}");
        let url = example.split("http://lbd").nth(1).unwrap();
        let used = url.split(['\'', ' ', '?', '\n']).next().unwrap();
        let (used, path): (Vec<_>, Vec<_>) = (used.split('/').collect(), path.split('/').collect());
        let same = |(used, path): (&&str, &&str)| {
            path.starts_with('{') && !used.is_empty() || used == path
        };
        assert!(
            used.len() == path.len() && used.iter().zip(&path).all(same),
            "{heading}: {used:?}"
        );
    }
}
