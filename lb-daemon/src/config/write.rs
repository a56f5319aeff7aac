//! A model as a file that a person would have written: what holds anyway is left out.

use std::fmt::{self, Display, Formatter};

use super::model::{Model, Service};
use super::spell::{self, Facet, Value};

/// A model in the words of a file; reading it gives an equal model.
pub struct Yaml<'m>(pub &'m Model);

impl Display for Yaml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(model) = self;
        for Facet { key, value, .. } in said(spell::top(model)) {
            writeln!(f, "{key}: {value}")?;
        }
        for (part, facets) in spell::parts(model) {
            let entries: Vec<_> = said(facets).map(|f| (f.key, f.value)).collect();
            if !entries.is_empty() {
                writeln!(f, "{part}: {}", Value::Map(entries))?;
            }
        }
        if model.services.is_empty() {
            return f.write_str("services: []\n");
        }
        f.write_str("services:\n")?;
        model.services.iter().try_for_each(|s| service(f, s))
    }
}

fn said(facets: Vec<Facet>) -> impl Iterator<Item = Facet> {
    facets.into_iter().filter(|f| !f.default).map(|f| Facet {
        value: f.value.revealed(),
        ..f
    })
}

fn service(f: &mut Formatter<'_>, service: &Service) -> fmt::Result {
    for (n, Facet { key, value, .. }) in said(spell::service(service)).enumerate() {
        let bullet = if n == 0 { "- " } else { "  " };
        writeln!(f, "  {bullet}{key}: {value}")?;
    }
    if service.reals.is_empty() {
        return Ok(());
    }
    f.write_str("    reals:\n")?;
    for real in &service.reals {
        let mut entries: Vec<_> = said(spell::real(real, service))
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
