//! How does another configuration come to run? Whole, or not at all.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{error, info};

use super::network::hop;
use super::roles::Roles;
use super::{Engine, Machine, Network, detached, machine, problem};
use crate::api::types::{Change, Problem};
use crate::config::{self, Model, Refusal};
use crate::core::desired::{Desired, Method};
use crate::core::diff;
use crate::core::hop::Reach;
use crate::io::clock;
use crate::io::store::Running;

impl Engine {
    /// Makes an edited configuration the running one. Returns what changed.
    pub(super) async fn change(&mut self, new: Model) -> Result<Vec<Change>, Problem> {
        let machine = Machine::look(&*self.network, &[&self.model, &new]).await;
        let new = checked(&self.model, new, &machine)?;
        let changes = self.switch(new).await?;
        if !changes.is_empty() {
            self.edited = true;
            self.remember();
        }
        Ok(changes)
    }

    /// Makes a valid configuration the running one. Returns what changed.
    pub(super) async fn switch(&mut self, new: Model) -> Result<Vec<Change>, Problem> {
        let changes = changes(&self.model, &new);
        if let Some(fixed) = fixed(&self.model, &new) {
            return Err(fixed);
        }
        if let Err(problem) = self.put(&new).await {
            let old = self.model.clone();
            if let Err(again) = self.put(&old).await {
                error!("cannot go back to what ran before: {again}");
                self.alarms.set(
                    "apply",
                    format!("the data plane is not as configured: {again}"),
                );
            }
            return Err(problem);
        }
        self.alarms.clear("apply");
        for change in &changes {
            info!("{} {}", change.sign, change.text);
        }
        self.model = new;
        self.drains.forget_removed(&self.model, &self.store);
        Ok(changes)
    }

    /// Makes the data plane equal to a configuration.
    pub(super) async fn put(&mut self, model: &Model) -> Result<(), Problem> {
        let interfaces = machine::interfaces(&*self.network, model).await;
        let plane = self.plane.as_deref_mut().ok_or_else(detached)?;
        // Also those that no configuration names any more but that still have connections.
        let known: HashSet<IpAddr> = plane.real_addresses().into_iter().collect();
        let reals: HashSet<IpAddr> = machine::reals(model).into_iter().collect();
        self.network
            .watch(
                known
                    .union(&reals)
                    .copied()
                    .chain(Roles::gateways(model))
                    .collect(),
            )
            .await
            .map_err(|err| problem("cannot watch the real servers", &err))?;
        await_hops(&*self.network, reals.difference(&known)).await;

        self.checks
            .configure(self.drains.over_health(model.health()))
            .await
            .map_err(|err| problem("cannot check the real servers", &err))?;
        let gate = self.plane()?.gate();
        self.roles.number(model, &gate);
        let desired = Desired {
            interfaces,
            ..self.desired_now(model)
        };
        let plane = self.plane.as_deref_mut().ok_or_else(detached)?;
        let network = &*self.network;
        let look = |addr: IpAddr| hop(network.hop(addr).as_ref());
        let wanted = (desired.interfaces.clone(), desired.mode);
        let attach = self.attached.as_ref() != Some(&wanted);
        let replace = self.replace;
        tokio::task::block_in_place(|| {
            if attach {
                plane
                    .set_interfaces(&wanted.0, wanted.1, replace)
                    .map_err(|err| problem("cannot run on the interfaces", &err))?;
            }
            plane
                .apply(&desired, &look)
                .map_err(|err| problem("cannot change the data plane", &err))
        })?;
        self.attached = Some(wanted);
        self.take_own_frames(model);
        self.let_replies_in(&desired);
        self.roles.run(model, &gate).await?;
        self.roles.follow_services(model, &self.checks.standings());
        for addr in Roles::gateways(model) {
            self.roles
                .follow_gateway(model, addr, self.network.hop(addr).as_ref());
        }
        Ok(())
    }

    /// A reply of a NAT real server whose client has to be looked for first is the stack's to send.
    fn let_replies_in(&mut self, desired: &Desired) {
        let mut reals = desired.services.iter().flat_map(|s| &s.reals);
        if !reals.any(|real| real.method == Method::Nat) {
            return;
        }
        for interface in &desired.interfaces {
            let key = format!("accept_local {interface}");
            match self.network.accept_local(interface) {
                Ok(()) => self.alarms.clear(&key),
                Err(err) => self.alarms.set(
                    &key,
                    format!(
                        "cannot set net.ipv4.conf.{interface}.accept_local, without which NAT may lose replies to clients \
                         that are not neighbours yet: {err}"
                    ),
                ),
            }
        }
    }

    /// Writes down what runs. When that fails, what runs goes on, and it is tried again later.
    pub(super) fn remember(&mut self) {
        let running = Running {
            model: self.model.clone(),
            origin: self.origin,
            edited: self.edited,
        };
        match self.store.write_running(&running) {
            Ok(()) => self.alarms.clear(UNSTORED),
            Err(err) => {
                if !self.alarms.has(UNSTORED) {
                    error!("the running configuration is not kept over a restart: {err}");
                }
                self.alarms.set(
                    UNSTORED,
                    format!("the running configuration is not kept over a restart: {err}"),
                );
            }
        }
    }

    /// Tries again what could not be written down.
    pub(super) fn remember_again(&mut self) {
        if self.alarms.has(UNSTORED) {
            self.remember();
        }
    }

    /// Tells the data plane the way to a real server as it is now.
    pub(super) fn follow_hop(&mut self, real: IpAddr) {
        let Some(plane) = self.plane.as_deref_mut() else {
            return;
        };
        if let Err(err) = plane.set_next_hop(real, hop(self.network.hop(real).as_ref())) {
            error!("cannot tell the data plane the way to {real}: {err}");
        }
    }
}

/// Waits until the next hops of real servers are known, or it is clear that one of them does not answer.
///
/// What is sent to a real server before that is lost: a new one is not to cost its first clients a second.
async fn await_hops(network: &dyn Network, reals: impl Iterator<Item = &IpAddr>) {
    let mut open: Vec<&IpAddr> = reals.collect();
    let deadline = clock::now() + ANSWER;
    loop {
        open.retain(|real| {
            let next = network.hop(**real);
            next.is_some_and(|next| next.reach == Reach::Unknown && next.mac.is_none())
        });
        if open.is_empty() || clock::now() >= deadline {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How long a next hop that is there may take to answer for the first time.
const ANSWER: Duration = Duration::from_millis(300);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(2);

/// The alarm while the running configuration could not be written down.
const UNSTORED: &str = "store";

/// What has to change for one configuration to become the other.
pub(super) fn changes(from: &Model, to: &Model) -> Vec<Change> {
    let plain = |change: diff::Change| Change {
        sign: change.sign.char(),
        text: change.text,
    };
    diff::changes(from, to).into_iter().map(plain).collect()
}

/// An edited configuration, if the rules and this machine allow it.
pub(super) fn checked(old: &Model, new: Model, machine: &Machine) -> Result<Model, Problem> {
    config::edited(old, new, machine).map_err(|refusals| refused(&refusals))
}

/// What is wrong with an edit.
fn refused(refusals: &[Refusal]) -> Problem {
    let Some(first) = refusals.first() else {
        return Problem::invalid("the change was refused");
    };
    let problem = Problem::invalid(first.what.clone()).hint(first.hint.clone());
    let others = refusals.iter().skip(1).map(|refusal| refusal.what.clone());
    let reasons: Vec<String> = first.why.iter().cloned().chain(others).collect();
    if reasons.is_empty() {
        problem
    } else {
        problem.why(reasons.join("\n"))
    }
}

/// What a running data plane cannot change.
fn fixed(from: &Model, to: &Model) -> Option<Problem> {
    let sizes = |model: &Model| (model.connections.max, model.limits);
    if sizes(from) != sizes(to) {
        return Some(
            Problem::invalid("`connections: max` and `limits` cannot change while the data plane runs")
                .why("they are the sizes of the pinned maps")
                .hint("take it down with `lbctl detach` (connections are lost) and start lbd again, or leave them as they are"),
        );
    }
    None
}
