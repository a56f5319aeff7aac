//! The program on a real server.

use std::net::IpAddr;

use lb_common::decap::Decap;
use lb_daemon::core::desired::XdpMode;
use lb_daemon::io::bpf::{DecapOptions, Decapsulator, detach};

use crate::running::xdp_on;
use crate::sandbox::Sandbox;

fn options(sandbox: &Sandbox) -> DecapOptions {
    DecapOptions {
        pin_dir: sandbox.pin_dir.with_file_name("decap"),
        interfaces: vec!["lb0".into()],
        mode: XdpMode::Auto,
        replace: false,
    }
}

#[test]
fn its_addresses_outlive_the_daemon() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let options = options(&sandbox);
    let [a, b, c] = ["10.0.0.1", "10.0.0.2", "fd00::3"].map(|text| text.parse::<IpAddr>().unwrap());
    let mut first = Decapsulator::start(&options).unwrap();
    assert_eq!(first.set_addresses(&[a, b]).unwrap(), 2);
    assert_eq!(first.set_addresses(&[b, a]).unwrap(), 0);
    let program = xdp_on("lb0");
    assert!(program.is_some());
    drop(first);

    let mut second = Decapsulator::start(&options).unwrap();
    assert_eq!(xdp_on("lb0"), program);
    let mut kept = second.addresses().unwrap();
    kept.sort();
    assert_eq!(kept, [a, b]);
    assert_eq!(second.set_addresses(&[b, c]).unwrap(), 2);
    let mut kept = second.addresses().unwrap();
    kept.sort();
    assert_eq!(kept, [b, c]);
    assert_eq!(second.count(Decap::TakenOff).unwrap(), 0);
    assert_eq!(second.interfaces().unwrap().len(), 1);
    assert_eq!(second.detach().unwrap().interfaces, ["lb0"]);
    assert_eq!(xdp_on("lb0"), None);
    assert!(!options.pin_dir.exists());
}

#[test]
fn a_director_and_a_real_server_do_not_share_an_interface() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let director = sandbox.start();
    let error = Decapsulator::start(&options(&sandbox))
        .unwrap_err()
        .to_string();
    assert!(error.contains("lb0") && error.contains("`lb`"), "{error}");
    drop(director);
    detach(&sandbox.pin_dir).unwrap();
    Decapsulator::start(&options(&sandbox)).unwrap();
}
