//! What is refused is refused before anything is changed, and says what to do.

use caps::{CapSet, Capability};
use lb_common::abi::ABI;
use lb_common::sched::Scheduler::Rr;
use lb_daemon::io::bpf::{Dataplane, StartError};
use lb_daemon::io::lock::LockError;
use lb_daemon::io::preflight::PreflightError;

use crate::running::xdp_on;
use crate::sandbox::{BPF_FS, Sandbox, desired, hop, ip, service};
use crate::table::Pinned;

/// Every error says what, on what, and what to do.
fn says(error: &StartError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts.iter().chain(&["hint: "]) {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn a_missing_capability_is_named() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    // Of this thread alone, which ends with the test.
    caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
    let error = sandbox.try_start().unwrap_err();
    assert!(matches!(
        error,
        StartError::Preflight(PreflightError::Capability(Capability::CAP_NET_ADMIN))
    ));
    says(&error, &["CAP_NET_ADMIN"]);
    assert!(!sandbox.pin_dir.exists());
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut options = sandbox.options();
    options.interfaces.push("eth99".into());
    let error = Dataplane::start(&options).unwrap_err();
    says(&error, &["eth99"]);
    assert!(!sandbox.pin_dir.exists());
}

#[test]
fn a_bpf_file_system_is_mounted_where_there_is_none() {
    let Some(sandbox) = Sandbox::without_bpf_fs() else {
        return;
    };
    let dataplane = sandbox.start();
    assert!(lb_daemon::io::preflight::on_bpf_fs(std::path::Path::new(
        BPF_FS
    )));
    drop(dataplane);
}

#[test]
fn where_none_can_be_mounted_the_command_is_named() {
    let Some(sandbox) = Sandbox::without_bpf_fs() else {
        return;
    };
    let mut options = sandbox.options();
    options.pin_dir = "/proc/lbd/pins".into();
    says(
        &Dataplane::start(&options).unwrap_err(),
        &["mount -t bpf bpf /proc/lbd/pins"],
    );
}

#[test]
fn a_second_daemon_is_told_the_firsts_pid() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let first = sandbox.start();
    let error = sandbox.try_start().unwrap_err();
    let StartError::Lock(LockError::Taken { pid, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(*pid, Some(std::process::id()));
    says(&error, &["pid ", "--pin-dir"]);
    drop(first);
    sandbox.start();
}

#[test]
fn another_program_on_an_interface_is_named_and_replaced_only_when_told() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut options = sandbox.options();
    options.pin_dir = sandbox.pin_dir.with_file_name("other");
    options.interfaces = vec!["lb1".into()];
    let other = Dataplane::start(&options).unwrap();
    let id = other.status().unwrap().program;

    let error = sandbox.try_start().unwrap_err();
    assert!(matches!(&error, StartError::Foreign { .. }), "{error}");
    says(&error, &["lb1", "`lb`", &format!("id {id}"), "--replace"]);
    assert!(!sandbox.pin_dir.join("maps").exists());
    assert_eq!((xdp_on("lb0"), xdp_on("lb1")), (None, Some(id)));

    let mut options = sandbox.options();
    options.replace = true;
    let ours = Dataplane::start(&options).unwrap();
    assert_eq!(xdp_on("lb1"), Some(ours.status().unwrap().program));
}

#[test]
fn maps_of_another_abi_are_left_as_they_are() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut first = sandbox.start();
    first
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    let program = first.status().unwrap().program;
    drop(first);
    let pinned = Pinned::open(&sandbox.pin_dir);
    let settings = pinned.settings();
    let other = lb_common::abi::Settings {
        abi: ABI + 7,
        ..settings
    };
    pinned.set_settings(other);

    let error = sandbox.try_start().unwrap_err();
    assert!(
        matches!(error, StartError::OtherAbi { found, needed: ABI, .. } if found == ABI + 7),
        "{error}"
    );
    says(&error, &["lbd --detach"]);
    assert_eq!(pinned.settings(), other);
    assert_eq!(
        xdp_on("lb0"),
        Some(program),
        "the old program no longer forwards"
    );

    pinned.set_settings(settings);
    let mut second = sandbox.start();
    assert_eq!(
        second
            .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
            .unwrap()
            .writes,
        0
    );
}

#[test]
fn maps_of_another_size_are_left_as_they_are_and_both_sizes_named() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    drop(sandbox.start());
    let program = xdp_on("lb0");
    let mut options = sandbox.options();
    options.capacity.connections = 10_000;
    let error = Dataplane::start(&options).unwrap_err();
    assert!(matches!(&error, StartError::OtherShape { .. }), "{error}");
    says(&error, &["CONNS4", "256 entries", "4096 entries"]);
    assert_eq!(xdp_on("lb0"), program);
    assert!(sandbox.start().status().unwrap().adopted);
}

#[test]
fn a_foreign_map_under_our_name_is_left_as_it_is() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    drop(sandbox.start());
    let path = sandbox.pin_dir.join("maps/REALS");
    std::fs::remove_file(&path).unwrap();
    let foreign = aya::maps::HashMap::<_, u32, u64>::create(5, 0).unwrap();
    foreign.pin(&path).unwrap();
    let error = sandbox.try_start().unwrap_err();
    says(
        &error,
        &[
            "REALS",
            "hash, keys of 4 bytes, values of 8 bytes, 5 entries",
            "array",
        ],
    );
    std::fs::remove_file(&path).unwrap();
    says(
        &sandbox.try_start().unwrap_err(),
        &["REALS", "nothing that can be opened"],
    );
}

#[test]
fn an_interface_that_refuses_takes_the_others_down_again() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    // Native mode wants frames that fit a page.
    ip(&["link", "set", "far1", "mtu", "9000"]);
    ip(&["link", "set", "lb1", "mtu", "9000"]);
    let mut options = sandbox.options();
    options.mode = lb_daemon::core::desired::XdpMode::Native;
    match Dataplane::start(&options) {
        Err(error) => {
            says(&error, &["lb1", "native"]);
            assert_eq!(xdp_on("lb0"), None);
            assert!(!sandbox.pin_dir.exists());
        }
        // The program takes large frames.
        Ok(dataplane) => drop(dataplane),
    }
}
