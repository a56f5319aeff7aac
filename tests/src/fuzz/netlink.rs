//! What the kernel says of interfaces, addresses, neighbours and routes: what cannot be read of it hides nothing else.

use lb_daemon::io::net::{Change, changes};

/// 192.0.2.80/24 is gone from interface 7 (`RTM_DELADDR`, in the order of bytes of most machines).
const GONE: [u8; 32] = [
    32, 0, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 24, 0, 0, 7, 0, 0, 0, 8, 0, 2, 0, 192, 0,
    2, 80,
];

pub(super) fn take(said: &[u8]) {
    let all = changes(said);
    // No message is shorter than its header.
    assert!(all.len() <= said.len() / 16, "more than there is room for");
    let with_one_before = changes(&[&GONE, said].concat());
    let (first, rest) = with_one_before.split_first().expect("the first is read");
    assert!(
        matches!(first, Change::AddressGone(7, net) if net.to_string() == "192.0.2.80/24"),
        "{first:?}"
    );
    assert_eq!(rest, all, "what stands before it changes it");
}
