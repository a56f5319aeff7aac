//! What must values be together, and on this machine?
//!
//! The same rules judge a file and an edit by `lbctl`: a refusal names the value by its [`Path`], and a file knows
//! where that is written.

mod health;
mod machine;
mod program;
mod real;
mod service;
mod vrrp;

pub(super) use real::too_many;

use super::environment::Environment;
use super::model::Model;
use super::node::Path;
use super::refusal::{Findings, Refusal};

/// Everything that is wrong with a model.
pub(super) fn check(model: &Model, environment: &dyn Environment) -> Findings {
    let mut found = Findings::default();
    limits(model, &mut found);
    service::check(model, &mut found);
    real::check(model, &mut found);
    health::check(model, environment, &mut found);
    vrrp::check(model, environment, &mut found);
    machine::check(model, environment, &mut found);
    found
}

fn limits(model: &Model, found: &mut Findings) {
    let services = model.services.len();
    if services > model.limits.services as usize {
        found.push(
            Refusal::new(
                format!("there are {services} services"),
                format!("write `limits: {{services: {services}}}` or more, or remove services"),
            )
            .why(format!("the limit is {}", model.limits.services))
            .of(Path::top()
                .key("services")
                .item(model.limits.services as usize)),
        );
    }
    let reals: usize = model.services.iter().map(|s| s.reals.len()).sum();
    if reals > model.limits.reals as usize {
        found.push(
            Refusal::new(
                format!("there are {reals} real servers"),
                format!("write `limits: {{reals: {reals}}}` or more, or remove real servers"),
            )
            .why(format!(
                "the limit over all services is {}",
                model.limits.reals
            ))
            .of(Path::top().key("services")),
        );
    }
}

/// The path of a service.
fn service_path(n: usize) -> Path {
    Path::top().key("services").item(n)
}
