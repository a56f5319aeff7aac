//! ARP and neighbour advertisements: no frame says that somebody is where nobody can be.

use lb_daemon::core::neighbour::arp;
use lb_daemon::core::vrrp::announced;

pub(super) fn take(frame: &[u8]) {
    if let Ok(heard) = arp::parse(frame) {
        assert!(!heard.addr.is_unspecified() && !heard.addr.is_multicast());
        assert_eq!(heard.mac.bytes()[0] & 1, 0, "the MAC of a group");
        assert_eq!(
            announced(false, frame),
            Some((heard.addr.into(), heard.mac)),
            "who watches over addresses hears something else"
        );
    }
    for v6 in [false, true] {
        if let Some((addr, mac)) = announced(v6, frame) {
            assert_eq!(addr.is_ipv6(), v6);
            assert_eq!(mac.bytes()[0] & 1, 0, "the MAC of a group");
        }
    }
}
