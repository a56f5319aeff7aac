//! The network as the engine needs it, so that tests can stand in for the kernel.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use ipnet::IpNet;

use crate::core::hop::{Link, NextHop};
use crate::io::bpf::{Hop, NextHop as Neighbour};
use crate::io::net::Net;

/// A future of a trait's method.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the engine asks of the network; [`Net`] says what each means.
pub trait Network: Send + Sync {
    /// Makes these addresses the watched ones.
    fn watch(&self, reals: Vec<IpAddr>) -> Later<'_, Result<(), String>>;
    /// The next hop of a watched address; `None` if there is no route to it.
    fn hop(&self, real: IpAddr) -> Option<NextHop>;
    /// Looks up the way to any address.
    fn resolve(&self, addr: IpAddr) -> Later<'_, Result<NextHop, String>>;
    /// All interfaces.
    fn links(&self) -> Vec<Link>;
    /// All addresses of the director, each with the index of its interface.
    fn addresses(&self) -> Vec<(u32, IpNet)>;
    /// Has the stack take packets from an interface whose source is an address of the director.
    fn accept_local(&self, interface: &str) -> Result<(), String>;
}

impl Network for Net {
    fn watch(&self, reals: Vec<IpAddr>) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            Self::watch(self, reals)
                .await
                .map_err(|err| err.to_string())
        })
    }

    fn hop(&self, real: IpAddr) -> Option<NextHop> {
        Self::hop(self, real)
    }

    fn resolve(&self, addr: IpAddr) -> Later<'_, Result<NextHop, String>> {
        Box::pin(async move {
            Self::resolve(self, addr)
                .await
                .map_err(|err| err.to_string())
        })
    }

    fn links(&self) -> Vec<Link> {
        Self::links(self)
    }

    fn addresses(&self) -> Vec<(u32, IpNet)> {
        Self::addresses(self)
    }

    fn accept_local(&self, interface: &str) -> Result<(), String> {
        Self::accept_local(self, interface).map_err(|err| err.to_string())
    }
}

/// A next hop as the data plane takes it: complete, or not resolved.
pub(crate) fn hop(next: Option<&NextHop>) -> Hop {
    let Some(next) = next else {
        return Hop::Unresolved;
    };
    if next.is_local() {
        return Hop::Local;
    }
    match (next.mac, next.src_mac, next.source) {
        (Some(mac), Some(src_mac), Some(src)) => Hop::Via(Neighbour {
            ifindex: next.ifindex,
            mac: mac.bytes(),
            src_mac: src_mac.bytes(),
            mtu: next.mtu,
            src,
        }),
        _ => Hop::Unresolved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::hop::{Mac, Reach, Via};

    fn neighbour() -> NextHop {
        NextHop {
            ifindex: 7,
            interface: "eth0".into(),
            via: Via::OnLink,
            source: Some(IpAddr::from([10, 0, 0, 1])),
            src_mac: Mac::new([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            mac: Mac::new([2, 0, 0, 0, 0, 2]),
            reach: Reach::Reachable,
        }
    }

    #[test]
    fn only_a_complete_hop_is_a_hop() {
        let Hop::Via(via) = hop(Some(&neighbour())) else {
            panic!()
        };
        assert_eq!(
            (via.ifindex, via.mac, via.mtu),
            (7, [2, 0, 0, 0, 0, 2], 1500)
        );
        assert_eq!(hop(None), Hop::Unresolved);
        assert_eq!(
            hop(Some(&NextHop {
                mac: None,
                ..neighbour()
            })),
            Hop::Unresolved
        );
        assert_eq!(
            hop(Some(&NextHop {
                src_mac: None,
                ..neighbour()
            })),
            Hop::Unresolved
        );
        assert_eq!(
            hop(Some(&NextHop {
                via: Via::Local,
                mac: None,
                src_mac: None,
                ..neighbour()
            })),
            Hop::Local
        );
    }

    #[test]
    fn a_neighbour_that_has_stopped_answering_keeps_its_last_mac() {
        assert!(matches!(
            hop(Some(&NextHop {
                reach: Reach::Failed,
                ..neighbour()
            })),
            Hop::Via(_)
        ));
    }
}
