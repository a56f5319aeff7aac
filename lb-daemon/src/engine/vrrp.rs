//! Requests about virtual routers.

use tokio::sync::broadcast;

use super::{Engine, Request};
use crate::api::types::{self, FailedOver, Problem, Rejected, VrrpEvent};
use crate::config::model::VirtualRouter;
use crate::core::vrrp::{State, Version};
use crate::io::clock;
use crate::io::vrrp::RouterReport;
use crate::io::vrrp::notify::state_name;

/// How all virtual routers are.
#[derive(Clone, Copy, Debug)]
pub struct ReadVrrp;

impl Request for ReadVrrp {
    type Answer = types::Vrrp;

    async fn perform(self, engine: &mut Engine) -> Result<types::Vrrp, Problem> {
        let report = engine.roles.report().await?;
        let one = |said: &VirtualRouter| {
            let is = report.routers.iter().find(|r| r.name == said.name)?;
            Some(router(said, is))
        };
        Ok(types::Vrrp {
            realtime: report.not_realtime.is_none() && !report.routers.is_empty(),
            late_timers: report.late,
            latest_timer: u64::try_from(report.latest.as_millis()).unwrap_or(u64::MAX),
            unread: report.unread.others,
            unread_of_masters: report.unread.masters,
            routers: engine.model.vrrp.iter().filter_map(one).collect(),
        })
    }
}

/// Another director is to be master.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Of which virtual router.
    pub router: String,
}

impl Request for Failover {
    type Answer = FailedOver;

    async fn perform(self, engine: &mut Engine) -> Result<FailedOver, Problem> {
        let router = self.router;
        match engine.roles.failover(&router).await? {
            Some(State::Master) => Ok(FailedOver {
                router,
                before: "master".to_owned(),
            }),
            Some(state) => {
                let name = state_name(state).to_ascii_lowercase();
                Err(
                    Problem::failed(format!("virtual router `{router}` is not master here"))
                        .why(format!("its state is {name}"))
                        .hint("`lbctl vrrp` says who is master; ask there"),
                )
            }
            None => {
                let names = engine.model.vrrp.iter().map(|r| r.name.as_str());
                let problem = Problem::not_found(format!("there is no virtual router `{router}`"));
                Err(match crate::config::nearest::nearest(&router, names) {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint("`lbctl vrrp` lists them"),
                })
            }
        }
    }
}

/// What happens to virtual routers from now on.
#[derive(Clone, Copy, Debug)]
pub struct FollowVrrp;

impl Request for FollowVrrp {
    type Answer = broadcast::Receiver<VrrpEvent>;

    async fn perform(self, engine: &mut Engine) -> Result<Self::Answer, Problem> {
        Ok(engine.roles.listen())
    }
}

fn router(said: &VirtualRouter, is: &RouterReport) -> types::VirtualRouter {
    let since = is
        .since
        .map(|since| clock::now().saturating_duration_since(since).as_secs());
    let millis = said.interval.duration().as_millis();
    // A master has heard of none, or of those that it was above.
    let other = (is.state != State::Master).then_some(is.master).flatten();
    types::VirtualRouter {
        name: said.name.clone(),
        interface: said.interface.clone(),
        virtual_router_id: said.vrid,
        version: match said.version {
            Version::V2 => 2,
            Version::V3 => 3,
        },
        state: state_name(is.state).to_ascii_lowercase(),
        since,
        priority: is.priority,
        base_priority: said.priority.get(),
        moved_by: is.moved_by.clone(),
        faults: is.faults.clone(),
        advert_interval: u64::try_from(millis).unwrap_or(u64::MAX),
        source: is.source.map(|a| a.to_string()),
        virtual_mac: is.virtual_mac.map(|mac| mac.to_string()),
        master: other.map(|a| a.to_string()),
        master_priority: other.and(is.master_priority),
        addresses: said
            .all_addresses()
            .map(|a| format!("{}/{}", a.addr, a.prefix))
            .collect(),
        group: said.group.clone(),
        masterships: is.masterships,
        claims: is.claims,
        claimed_by: is.claimed_by.map(|mac| mac.to_string()),
        sent: is.sent,
        heard: is.heard,
        rejected: is
            .rejects
            .iter()
            .map(|(reject, packets)| Rejected {
                reason: reject.name().to_owned(),
                about: reject.to_string(),
                packets: *packets,
            })
            .collect(),
    }
}
