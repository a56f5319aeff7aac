//! Which frames the data plane is told to be for this host.

use super::fakes::{Bench, FILE};
use crate::core::hop::Mac;
use crate::engine::{Network, Plane};
use crate::io::net::NetEvent;

fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_taken_at_the_mac_that_the_interface_has_now() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let gate = bench.plane.gate();
    let taken = || [1, 7, 9].map(|last| gate.own_macs().has(2, mac(last)));
    assert_eq!(taken(), [true, false, false]);
    *bench.network.mac.lock().unwrap() = Some(mac(7));
    let links = bench.network.links();
    let eth0 = links
        .into_iter()
        .find(|link| &*link.name == "eth0")
        .unwrap();
    engine.on_network(NetEvent::LinkChanged(eth0)).await;
    assert_eq!(taken(), [false, true, false]);
}
