//! Which of a master's addresses do its own connections come from?

use std::net::{IpAddr, UdpSocket};

use super::netns::Host;
use super::site::*;

/// Of all addresses of a master this is the nearest to the client's, 2001:db8::9: the kernel would take it, were it as good as others.
const VIP: &str = "2001:db8::8";

/// Whoever is master, we or keepalived, has an address without a network of its own as one that no connection comes from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_network_is_nobodys_source() {
    if skipped() {
        return;
    }
    let site = Site::new(V3_IPV6);
    let ours = site
        .start_ours(150, &format!("excluded: [\"{VIP}/128\"],"))
        .await;
    site.addresses_with(true, 10 * SECOND).await;
    is_no_source(&site.ours).await;
    ours.vrrp.stop();
    let excluded = format!("virtual_ipaddress_excluded {{\n  {VIP}/128\n }}");
    let theirs = site.start_theirs(150, &excluded);
    site.addresses_with(false, 10 * SECOND).await;
    is_no_source(&site.theirs).await;
    drop(theirs);
}

/// Waits until a host has the address, and looks at it and at where connections come from.
async fn is_no_source(host: &Host) {
    let shown = || host.call(|| output(&format!("ip -6 -oneline address show to {VIP}/128")));
    until("it has the address", 5 * SECOND, async || {
        !shown().is_empty()
    })
    .await;
    let text = shown();
    for word in ["deprecated", "valid_lft forever", "preferred_lft 0sec"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let source = host.call(|| {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.connect("[2001:db8::9]:9").unwrap();
        socket.local_addr().unwrap().ip()
    });
    assert_ne!(source, VIP.parse::<IpAddr>().unwrap());
}
