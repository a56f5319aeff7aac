//! Each part of a request over HTTP, and each judgement of the answer, with nginx as the judge of what arrived.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use tests::lab::{Site, poll};
use tests::needs_lab;

use super::tls::Authority;
use super::{PATIENCE, Watch, nginx, site, web};

/// Where nginx speaks plainly, where it takes HTTP/2 by prior knowledge, and where TLS.
const PORTS: [u16; 3] = [8000, 8001, 8443];
/// The name that the server has.
const NAME: &str = "www.lab";
/// Another name of its certificate.
const INNER: &str = "inner.lab";
const BODY: &str = "build 1234, all is well";

/// One answer for who asks rightly, another for who does not.
fn servers(certificate: &str, key: &str) -> String {
    let [plain, two, tls] = PORTS;
    let listen = format!(
        "listen {plain}; listen {two} http2; listen {tls} ssl http2; ssl_certificate {certificate}; \
         ssl_certificate_key {key};"
    );
    format!(
        "server {{ {listen} server_name other.lab; return 404; }}
    server {{
        {listen}
        server_name {NAME};
        location = /method {{ if ($request_method != OPTIONS) {{ return 405; }} return 204; }}
        location = /headers {{
            if ($http_x_token != \"open sesame\") {{ return 403; }}
            if ($http_accept != text/plain) {{ return 406; }}
            return 200;
        }}
        location = /query {{ return 200 \"$args\"; }}
        location = /body {{ return 200 \"{BODY}\"; }}
        location = /version {{ return 200 \"$server_protocol\"; }}
        location = /sni {{ return 200 \"$ssl_server_name\"; }}
        location = /teapot {{ return 418; }}
        location = /moved {{ return 302 /elsewhere; }}
    }}
"
    )
}

/// Checks as they are written, whether they pass, and what is said.
fn checks(ca: &str, digest: &str) -> Vec<(String, bool, String)> {
    let [plain, two, tls] = PORTS;
    let mut checks = Vec::new();
    let mut add = |port: u16, what: String, passes: bool, says: &str| {
        let kind = if port == tls { "https" } else { "http" };
        checks.push((
            format!("{kind}: {{{what}}}, port: {port}"),
            passes,
            says.to_owned(),
        ));
    };
    // The same over each way.
    for (port, version, more) in [
        (plain, "1.1", String::new()),
        (two, "2", String::new()),
        (tls, "1.1", format!(", ca: {ca}")),
        (tls, "2", format!(", ca: {ca}")),
    ] {
        let mut ask = |path: &str, what: &str, passes, says: &str| {
            let what = format!("path: {path}, host: {NAME}, version: \"{version}\"{more}{what}");
            add(port, what, passes, says);
        };
        ask(
            "/version",
            &format!(", matches: '^HTTP/{version}(\\.0)?$'"),
            true,
            "status 200",
        );
        ask(
            "/method",
            ", method: OPTIONS, status: 204",
            true,
            "status 204",
        );
        ask("/method", "", false, "status 405");
        let token = r#"X-Token: "open sesame""#;
        ask(
            "/headers",
            &format!(", headers: {{{token}, Accept: text/plain}}"),
            true,
            "status 200",
        );
        ask(
            "/headers",
            &format!(", headers: {{{token}}}"),
            false,
            "status 406",
        );
        ask("/headers", "", false, "status 403");
        ask(
            "'/query?deep=1&x=y'",
            ", contains: deep=1&x=y",
            true,
            "body as expected",
        );
        ask("/teapot", "", false, "status 418, wanted 200-299");
        ask(
            "/teapot",
            ", status: [204, 410-420, 500]",
            true,
            "status 418",
        );
        ask(
            "/teapot",
            ", status: [204, 419-599]",
            false,
            "status 418, wanted 204, 419-599",
        );
        ask("/moved", "", false, "status 302");
        ask("/moved", ", status: 300-399", true, "status 302");
        ask(
            "/body",
            ", contains: [build, well]",
            true,
            "body as expected",
        );
        ask(
            "/body",
            ", contains: [build, ill]",
            false,
            "the body lacks `ill`",
        );
        ask(
            "/body",
            r", matches: '^build \d+,.*well$'",
            true,
            "body as expected",
        );
        ask(
            "/body",
            r", matches: '^build \d{5}'",
            false,
            "does not match",
        );
        ask("/body", ", matches_not: error", true, "body as expected");
        ask(
            "/body",
            ", matches_not: '[0-9]+'",
            false,
            "the body matches",
        );
        ask(
            "/body",
            &format!(", digest: \"md5:{digest}\""),
            true,
            "body as expected",
        );
        ask(
            "/body",
            &format!(", digest: \"md5:{}\"", "0".repeat(32)),
            false,
            "another digest",
        );
        ask(
            "/body",
            ", contains: well, body_limit: 10",
            false,
            "in its first 10 bytes",
        );
    }
    // Without its name, another server answers.
    add(plain, "path: /body".to_owned(), false, "status 404");
    // The name of the certificate, and that of the request.
    let sni =
        |sni: &str| format!("path: /sni, host: {NAME}, ca: {ca}, sni: {sni}, contains: {sni}");
    add(tls, sni(INNER), true, "body as expected");
    add(tls, sni("strange.lab"), false, "name");
    let unknown = format!("path: /body, host: {NAME}");
    add(tls, unknown.clone(), false, "UnknownIssuer");
    add(tls, format!("{unknown}, verify: false"), true, "status 200");
    // A server that speaks another version, or no TLS.
    add(
        plain,
        format!("path: /body, host: {NAME}, version: \"2\""),
        false,
        "HTTP",
    );
    add(two, format!("path: /body, host: {NAME}"), false, "");
    checks.push((
        format!("https: {{path: /body, host: {NAME}, ca: {ca}}}, port: {plain}"),
        false,
        "TLS".to_owned(),
    ));
    checks
}

#[test]
fn nginx_gets_the_request_that_was_configured_and_its_answer_is_judged_so() -> Result<()> {
    needs_lab!();
    let mut site = site(1)?;
    let authority = Authority::new("ours", &site.lab().folder())?;
    let host = &site.reals[0].host;
    let files = authority.sign(host.folder(), &[NAME, INNER], 2100)?;
    let [certificate, key] = files.map(|file| file.display().to_string());
    let _nginx = nginx::start(host, PORTS[0], &servers(&certificate, &key))?;
    let digest = genhash(&site)?;
    let checks = checks(&authority.file().to_string(), &digest);
    let mut lines = vec!["health:".to_owned()];
    for (n, (what, ..)) in checks.iter().enumerate() {
        lines.push(format!(
            "  - {{name: c{n}, {what}, interval: 3s, timeout: 1s}}"
        ));
    }
    site.balance(&web(&site, &[0], &lines))?;
    let watch = Watch::new(&site)?;
    let mut wrong = String::new();
    for (n, (what, passes, says)) in checks.iter().enumerate() {
        let last = poll("an answer", PATIENCE, || {
            let report = watch.report()?;
            let real = report.services[0].reals.first().context("no real server")?;
            let check = real
                .checks
                .iter()
                .find(|check| check.name == format!("c{n}"));
            check
                .and_then(|check| check.last.clone())
                .context("none yet")
        })?;
        if last.passed != *passes || !last.words.contains(says) {
            writeln!(wrong, "{what}: passed {}: {}", last.passed, last.words)?;
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    println!("{} requests were answered as they should be", checks.len());
    Ok(())
}

/// The digest of the body, by the tool that keepalived brings for it.
fn genhash(site: &Site) -> Result<String> {
    let (address, port) = (site.reals[0].address.to_string(), PORTS[0].to_string());
    let words = [
        "genhash", "-s", &address, "-p", &port, "-V", NAME, "-u", "/body",
    ];
    let said = site.director.host().run(&words)?;
    let word = said
        .rsplit([' ', '='])
        .map(str::trim)
        .find(|word| word.len() == 32);
    word.map(str::to_owned).context(said.clone())
}
