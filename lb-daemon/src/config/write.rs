//! A model as a file that a person would have written: what holds anyway is left out.

use std::fmt::{self, Display, Formatter};

use super::model::{Model, Service, VirtualRouter};
use super::spell::{self, Facet, Value};

/// A model in the words of a file, secrets and all; reading it gives an equal model.
pub struct Yaml<'m>(pub &'m Model);

/// Whether secrets are written as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrets {
    Written,
    Hidden,
}

/// A model in the words of a file, for everybody to read: without its secrets.
pub struct Shown<'m>(pub &'m Model);

impl Display for Yaml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, self.0, Secrets::Written)
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, self.0, Secrets::Hidden)
    }
}

fn write(f: &mut Formatter<'_>, model: &Model, secrets: Secrets) -> fmt::Result {
    for Facet { key, value, .. } in said(spell::top(model), secrets) {
        writeln!(f, "{key}: {value}")?;
    }
    for (part, facets) in spell::parts(model) {
        let entries: Vec<_> = said(facets, secrets).map(|f| (f.key, f.value)).collect();
        if !entries.is_empty() {
            writeln!(f, "{part}: {}", Value::Map(entries))?;
        }
    }
    if !model.vrrp.is_empty() {
        f.write_str("vrrp:\n")?;
    }
    for router in &model.vrrp {
        virtual_router(f, router, secrets)?;
    }
    if model.services.is_empty() {
        return f.write_str("services: []\n");
    }
    f.write_str("services:\n")?;
    model
        .services
        .iter()
        .try_for_each(|s| service(f, s, secrets))
}

fn said(facets: Vec<Facet>, secrets: Secrets) -> impl Iterator<Item = Facet> {
    let written = facets.into_iter().filter(|f| !f.default);
    written.map(move |f| match secrets {
        Secrets::Written => Facet {
            value: f.value.revealed(),
            ..f
        },
        Secrets::Hidden => f,
    })
}

/// The keys of an item of a list, a line each.
fn item(f: &mut Formatter<'_>, facets: Vec<Facet>, secrets: Secrets) -> fmt::Result {
    for (n, Facet { key, value, .. }) in said(facets, secrets).enumerate() {
        let bullet = if n == 0 { "- " } else { "  " };
        writeln!(f, "  {bullet}{key}: {value}")?;
    }
    Ok(())
}

fn virtual_router(f: &mut Formatter<'_>, router: &VirtualRouter, secrets: Secrets) -> fmt::Result {
    item(f, spell::virtual_router(router), secrets)
}

fn service(f: &mut Formatter<'_>, service: &Service, secrets: Secrets) -> fmt::Result {
    item(f, spell::service(service), secrets)?;
    if service.reals.is_empty() {
        return Ok(());
    }
    f.write_str("    reals:\n")?;
    for real in &service.reals {
        let mut entries: Vec<_> = said(spell::real(real, service), secrets)
            .map(|f| (f.key, f.value))
            .collect();
        let value = match entries.pop() {
            // Nothing is said but the address.
            Some((_, address)) if entries.is_empty() => address,
            Some(last) => {
                entries.push(last);
                Value::Map(entries)
            }
            None => continue,
        };
        writeln!(f, "      - {value}")?;
    }
    Ok(())
}
