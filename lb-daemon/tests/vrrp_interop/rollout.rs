//! Signing is introduced, and its key changed, on one director after the other: does nobody take over meanwhile, and who is
//! heeded in the end?

use std::time::Duration;

use lb_daemon::core::vrrp::State;

use super::forgery;
use super::keepalived::Keepalived;
use super::ours::{self, Ours};
use super::site::*;
use super::takeover::no_complaint;

/// Slow enough for a keepalived that reads its configuration anew on a busy machine.
const SLOW: Case = Case {
    interval: Duration::from_millis(300),
    ..V3
};
const SLOW_IPV6: Case = Case { v6: true, ..SLOW };
const SLOW_UNICAST: Case = Case {
    unicast: true,
    ..SLOW
};

/// One sweep over all directors: which key signs, and what becomes of advertisements that are not signed.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    active: u8,
    mode: &'static str,
}

const fn sweep(active: u8, mode: &'static str) -> Sweep {
    Sweep { active, mode }
}

/// From nothing to the second key.
const SWEEPS: [Sweep; 4] = [
    sweep(1, "receive-only"),
    sweep(1, "permissive"),
    sweep(1, "enforce"),
    sweep(2, "enforce"),
];

impl Sweep {
    /// As we are told it.
    fn ours(self) -> String {
        let Self { active, mode } = self;
        let keys = [1, 2].map(|id| format!("{{id: {id}, key: \"{}\"}}", key(id)));
        let keys = keys.join(", ");
        format!("auth: {{hmac: {{keys: [{keys}], active: {active}, mode: {mode}}}}}, ")
    }

    /// As keepalived is told it.
    fn theirs(self) -> String {
        let Self { active, mode } = self;
        let keys = [1, 2].map(|id| format!("key {id} {}\n  ", key(id)));
        let keys = keys.concat();
        format!("auth_hmac {{\n  {keys}active_key {active}\n  mode {mode}\n }}")
    }
}

fn key(id: u8) -> String {
    format!("hex:{}", format!("{id:02x}").repeat(32))
}

/// Waits until a backup of ours has heard some more, and sees that it is one still, which has heeded all.
async fn goes_on_hearing(ours: &Ours, step: &str) {
    let heard = ours.report().await.heard;
    until("the backup hears the master", 5 * SECOND, async || {
        ours.report().await.heard >= heard + 5
    })
    .await;
    let report = ours.report().await;
    let seen = (report.state, report.masterships, report.rejects);
    assert_eq!(seen, (State::Backup, 0, vec![]), "{step}");
}

/// Two of ours; then neither forged nor repeated advertisements are heeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_is_introduced_without_a_takeover_and_then_keeps_strangers_out() {
    if skipped() {
        return;
    }
    let site = Site::new(V3);
    let first = Ours::start(&site.theirs, site.plan_of_a_second(150)).await;
    site.addresses_with(false, 10 * SECOND).await;
    let second = site.start_ours(100, "").await;
    goes_on_hearing(&second, "nothing is signed").await;
    for step in SWEEPS.map(Sweep::ours) {
        let plan = site.plan_of_a_second(150);
        first
            .configure(ours::Plan {
                extra: &step,
                ..plan
            })
            .await;
        goes_on_hearing(&second, &step).await;
        second.configure(site.plan_of_ours(100, &step)).await;
        goes_on_hearing(&second, &step).await;
    }

    forgery::try_all(&site.client, THEIRS.parse().unwrap());
    for director in [&second, &first] {
        until("each reason is counted", 2 * SECOND, async || {
            let report = director.report().await;
            let mut seen: Vec<_> = report.rejects.iter().map(|(r, n)| (r.name(), *n)).collect();
            seen.sort_unstable();
            let mut expected = vec![("auth_hmac", 1), ("auth_missing", 1)];
            // The kernel keeps from a director what comes from its own address.
            if director.is(State::Backup).await {
                expected.push(("auth_replay", 1_000));
            }
            seen == expected
        })
        .await;
    }
    assert_eq!(second.report().await.masterships, 0);
    assert_eq!(first.report().await.masterships, 1);
}

/// keepalived is master, and each step is taken there first.
async fn they_sign_first(case: Case) {
    let site = Site::new(case);
    let theirs = site.start_theirs(150, "");
    site.addresses_with(false, 10 * SECOND).await;
    let ours = site.start_ours(100, "").await;
    goes_on_hearing(&ours, "nothing is signed").await;
    for sweep in SWEEPS {
        theirs.reload(site.plan_of_theirs(150, &sweep.theirs()));
        goes_on_hearing(&ours, &format!("{sweep:?} there")).await;
        ours.configure(site.plan_of_ours(100, &sweep.ours())).await;
        goes_on_hearing(&ours, &format!("{sweep:?} on both sides")).await;
    }
    println!("{case:?}: keepalived has introduced keys, and changed them, while it was master");

    // It signs no more, and is not heeded any more.
    theirs.reload(site.plan_of_theirs(150, ""));
    let became = async || ours.report().await.state == State::Master;
    until("who does not sign is not heeded", 10 * SECOND, became).await;
    let rejects = ours.report().await.rejects;
    let names: Vec<_> = rejects.iter().map(|(reject, _)| reject.name()).collect();
    assert_eq!(names, ["auth_missing"]);
    theirs.reload(site.plan_of_theirs(150, &SWEEPS[3].theirs()));
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("  it signs again, and is master alone after {took:?}");
}

/// We are master, and each step is taken here first.
async fn we_sign_first(case: Case) {
    let site = Site::new(case);
    let ours = site.start_ours(150, "").await;
    site.addresses_with(true, 10 * SECOND).await;
    let theirs = site.start_theirs(100, "");
    until("keepalived is a backup", 10 * SECOND, async || {
        theirs.log().contains("Entering BACKUP STATE")
    })
    .await;
    let is_backup = async |step: &str| {
        let sent = ours.report().await.sent;
        until("we say something", 5 * SECOND, async || {
            ours.report().await.sent >= sent + 6
        })
        .await;
        let is_master = theirs.log().contains("Entering MASTER STATE");
        assert!(!is_master, "{step}: {}", theirs.log());
        let report = ours.report().await;
        let seen = (report.state, report.masterships);
        assert_eq!(seen, (State::Master, 1), "{step}");
    };
    for sweep in SWEEPS {
        ours.configure(site.plan_of_ours(150, &sweep.ours())).await;
        is_backup(&format!("{sweep:?} here")).await;
        theirs.reload(site.plan_of_theirs(100, &sweep.theirs()));
        is_backup(&format!("{sweep:?} on both sides")).await;
    }
    no_complaint(&theirs.log(), 0..0);
    println!("{case:?}: we have introduced keys, and changed them, while we were master");

    // We sign no more, and are not heeded any more.
    ours.configure(site.plan_of_ours(150, "")).await;
    until("who does not sign is not heeded", 10 * SECOND, async || {
        theirs.log().contains("Entering MASTER STATE")
    })
    .await;
    ours.configure(site.plan_of_ours(150, &SWEEPS[3].ours()))
        .await;
    let took = site.addresses_with(true, 15 * SECOND).await;
    println!("  we sign again, and are master alone after {took:?}");
}

macro_rules! beside_keepalived {
    ($($name:ident: $what:ident($case:ident);)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if !skipped() && Keepalived::can_sign() {
                    $what($case).await;
                }
            }
        )+
    };
}

beside_keepalived! {
    keepalived_introduces_signing_as_master: they_sign_first(SLOW);
    keepalived_introduces_signing_as_backup: we_sign_first(SLOW);
    keepalived_introduces_signing_by_unicast_as_master: they_sign_first(SLOW_UNICAST);
    keepalived_introduces_signing_by_unicast_as_backup: we_sign_first(SLOW_UNICAST);
    keepalived_introduces_signing_of_ipv6_as_master: they_sign_first(SLOW_IPV6);
    keepalived_introduces_signing_of_ipv6_as_backup: we_sign_first(SLOW_IPV6);
}
