//! What does another program make of our advertisements?

use std::process::Command;

use lb_daemon::core::vrrp::State;

use super::site::*;

/// What our advertisements look like to somebody else's dissector.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tshark_finds_no_error_in_our_advertisements() {
    if skipped() {
        return;
    }
    for case in [V2, V3, V3_IPV6] {
        let site = Site::new(case);
        let ours = site.start_ours(150, "").await;
        until("we are master", 10 * SECOND, async || {
            ours.is(State::Master).await
        })
        .await;
        let text = site.client.call(|| {
            let mut tshark = Command::new("tshark");
            tshark.args([
                "-i",
                "eth0",
                "-c",
                "3",
                "-a",
                "duration:20",
                "-V",
                "-f",
                "ip proto 112 or ip6 proto 112",
            ]);
            match tshark.output() {
                Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
                Err(_) => None,
            }
        });
        let Some(text) = text else {
            println!("SKIP: tshark is not installed; `cargo xtask setup` does");
            return;
        };
        assert!(
            text.contains("Virtual Router Redundancy Protocol"),
            "{text}"
        );
        for complaint in [
            "Malformed",
            "incorrect",
            "Expert Info (Error",
            "Expert Info (Warn",
            "[Bad",
        ] {
            assert!(!text.contains(complaint), "{complaint}: {text}");
        }
        assert!(
            text.contains("[correct]") || text.contains("Checksum Status: Good"),
            "{text}"
        );
    }
}
