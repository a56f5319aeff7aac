//! What is asked over HTTP, and inside TLS?

use hyper::header::{HeaderName, HeaderValue};

use super::super::super::node::{Kind, shown};
use super::super::super::refusal::Refusal;
use super::super::super::value::{number, truth, word};
use super::super::{Decoder, Map, keys};
use super::text::{
    digest, host, method, path, pattern, request_path, server_name, statuses, wrong,
};
use super::{BODY_LIMIT, Here};
use crate::core::health::probe::{BodyRule, Http, HttpVersion, Probe, Statuses, Tls};

/// A request of which nothing is said.
pub(super) fn http_by_default(tls: Option<Tls>) -> Probe {
    Probe::Http(Box::new(Http {
        tls,
        version: HttpVersion::One,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        status: Statuses::default(),
        body: Vec::new(),
        body_limit: BODY_LIMIT,
    }))
}

impl<'n, 't> Here<'_, 'n, 't> {
    /// A request over HTTP, or HTTPS if there is TLS.
    pub(super) fn http(mut self, tls: Option<Tls>) -> Option<Probe> {
        let Probe::Http(mut http) = http_by_default(tls) else {
            return None;
        };
        if let Some(path) = self.alone(request_path) {
            http.path = path?;
            return Some(Probe::Http(http));
        }
        let map = self.map(&keys::HTTP)?;
        let decoder = &mut *self.decoder;
        http.path = decoder
            .value(&map, "path", request_path)
            .unwrap_or(http.path);
        http.host = decoder.value(&map, "host", host);
        http.method = decoder.value(&map, "method", method).unwrap_or(http.method);
        let words = [("1.1", HttpVersion::One), ("2", HttpVersion::Two)];
        http.version = decoder
            .value(&map, "version", |text| word(text, &words))
            .unwrap_or(http.version);
        let limit = decoder.value(&map, "body_limit", |text| number(text, 1..=4 << 20));
        http.body_limit = limit.map_or(BODY_LIMIT, |limit| limit as usize);
        http.headers = headers(decoder, &map);
        http.status = self
            .values(&map, "status", statuses)
            .map_or(http.status, Statuses::new);
        let contains = self
            .values(&map, "contains", |text| Ok(text.to_owned()))
            .unwrap_or_default();
        http.body
            .extend(contains.into_iter().map(BodyRule::Contains));
        http.body.extend(
            self.values(&map, "matches", pattern)
                .unwrap_or_default()
                .into_iter()
                .map(BodyRule::Matches),
        );
        let unwanted = self
            .values(&map, "matches_not", pattern)
            .unwrap_or_default();
        http.body
            .extend(unwanted.into_iter().map(BodyRule::MatchesNot));
        http.body.extend(
            self.decoder
                .value(&map, "digest", digest)
                .map(BodyRule::Digest),
        );
        match &mut http.tls {
            Some(tls) => *tls = self.tls_keys(&map),
            None => self.no_tls(&map),
        }
        Some(Probe::Http(http))
    }

    /// Keys of TLS where there is none.
    fn no_tls(&mut self, map: &Map<'n, 't>) {
        for key in ["sni", "ca", "verify"] {
            if let Some(node) = map.get(key) {
                let what = format!("{}`{key}` means nothing without TLS", map.subject);
                self.decoder
                    .refuse(Refusal::new(what, "write `https:`, or remove it").at(node.span));
            }
        }
    }

    fn tls_keys(&mut self, map: &Map<'n, 't>) -> Tls {
        let decoder = &mut *self.decoder;
        let tls = Tls {
            name: decoder.value(map, "sni", server_name),
            ca: decoder.value(map, "ca", path),
            verify: decoder.value(map, "verify", truth).unwrap_or(true),
        };
        if let (false, Some(_), Some(node)) = (tls.verify, &tls.ca, map.get("ca")) {
            let what = format!(
                "{}with `verify: false` no authority is asked for",
                map.subject
            );
            decoder.refuse(Refusal::new(what, "remove `ca` or `verify`").at(node.span));
        }
        tls
    }

    /// TLS below another protocol: `true`, or keys.
    pub(super) fn tls(&mut self, map: &Map<'n, 't>) -> Option<Tls> {
        let node = map.get("tls")?;
        if let Kind::Scalar(_) = &node.kind {
            return self.decoder.value(map, "tls", truth)?.then(Tls::default);
        }
        let map = self.decoder.map(node, &keys::TLS, self.subject)?;
        Some(self.tls_keys(&map))
    }
}

fn headers(decoder: &mut Decoder, map: &Map<'_, '_>) -> Vec<(String, String)> {
    let Some(node) = map.get("headers") else {
        return Vec::new();
    };
    let Kind::Map(entries) = &node.kind else {
        let what = format!(
            "{}`headers` is {}, not names with values",
            map.subject,
            node.describe()
        );
        decoder.refuse(Refusal::new(what, "write `headers: {NAME: VALUE}`").at(node.span));
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let what = format!("{}`{}` is not a header", map.subject, shown(&name.text));
        let reserved = ["host", "connection", "content-length", "transfer-encoding"];
        if HeaderName::from_bytes(name.text.as_bytes()).is_err() {
            let hint = "a name has letters, digits and `-`, without spaces";
            decoder.refuse(Refusal::new(what, hint).at(name.span));
        } else if reserved.contains(&name.text.to_ascii_lowercase().as_str()) {
            let what = format!(
                "{}the header `{}` is made by the check itself",
                map.subject, name.text
            );
            decoder
                .refuse(Refusal::new(what, "remove it; `host` has a key of its own").at(name.span));
        } else {
            let value =
                decoder.scalar(
                    value,
                    "headers",
                    map.subject,
                    |text| match HeaderValue::from_str(text) {
                        Ok(_) => Ok(text.to_owned()),
                        Err(_) => Err(wrong(
                            "a value is text on one line",
                            "remove what cannot be printed",
                        )),
                    },
                );
            headers.extend(value.map(|value| (name.text.clone().into_owned(), value)));
        }
    }
    headers
}
