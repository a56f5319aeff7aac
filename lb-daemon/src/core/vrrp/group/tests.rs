use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::core::vrrp::{Claim, Heard, Interval, Priority, Version};

fn settings(vrid: u8) -> Settings {
    let interval = Interval::centis(100).unwrap();
    let vip = Ipv4Addr::new(192, 0, 2, vrid);
    Settings::new(Version::V3, vrid, interval, vec![vip.into()])
}

/// Two in one group, and one by itself.
struct Pair {
    router: Router,
    start: Instant,
    now: Instant,
    out: Vec<(usize, Effect)>,
}

impl Pair {
    fn started() -> Self {
        let mut router = Router::new();
        let start = Instant::now();
        let address = IpAddr::from([192, 0, 2, 10]);
        router.add("outside".into(), settings(1), address, Some(0));
        router.add("inside".into(), settings(2), address, Some(0));
        router.add("alone".into(), settings(3), address, None);
        let mut pair = Self {
            router,
            start,
            now: start,
            out: Vec::new(),
        };
        for n in 0..3 {
            pair.tell(n, Event::Start);
        }
        pair
    }

    fn tell(&mut self, n: usize, event: Event) {
        self.router.handle(self.now, n, event, &mut self.out);
    }

    /// Runs to a time, while the instances in `heard` hear a master of priority 200 every second.
    fn run_to(&mut self, seconds: u64, heard: &[usize]) {
        let end = self.start + Duration::from_secs(seconds);
        while self.now < end {
            for n in heard {
                self.tell(*n, advert(200));
            }
            let until = self.now + Duration::from_secs(1);
            while let Some(due) = self.router.due().filter(|due| *due <= until) {
                self.router.tick(due, &mut self.out);
            }
            self.now = until;
        }
    }

    fn states(&self) -> [State; 3] {
        [0, 1, 2].map(|n| self.router.instances()[n].machine().state())
    }
}

fn advert(priority: u8) -> Event {
    Event::Advert(Heard {
        source: [192, 0, 2, 20].into(),
        claim: Claim::Priority(Priority::new(priority).unwrap()),
        interval: Interval::centis(100).unwrap(),
    })
}

use State::{Backup, Fault, Master, Stopped};

#[test]
fn a_group_is_master_only_when_every_member_can_be() {
    let mut pair = Pair::started();
    pair.run_to(10, &[1]);
    assert_eq!(
        pair.states(),
        [Backup, Backup, Master],
        "inside still has a master"
    );
    pair.run_to(20, &[]);
    assert_eq!(pair.states(), [Master, Master, Master]);
}

#[test]
fn a_member_that_is_outranked_takes_the_others_along() {
    let mut pair = Pair::started();
    pair.run_to(10, &[]);
    assert_eq!(pair.states(), [Master; 3]);
    pair.out.clear();
    pair.tell(0, advert(200));
    assert_eq!(pair.states(), [Backup, Backup, Master]);
    // The other says that it leaves, so that its successor need not wait.
    assert!(pair.out.contains(&(1, Effect::Send(Claim::Resigns))));
    assert!(pair.out.contains(&(1, Effect::Release)));
}

#[test]
fn a_fault_of_one_is_a_fault_of_all_until_none_has_one() {
    let mut pair = Pair::started();
    pair.run_to(10, &[]);
    pair.tell(0, Event::Fault);
    assert_eq!(pair.states(), [Fault, Fault, Master]);
    pair.tell(1, Event::Fault);
    pair.tell(0, Event::Heal);
    assert_eq!(pair.states(), [Fault, Fault, Master], "inside has one too");
    pair.tell(1, Event::Heal);
    assert_eq!(pair.states(), [Backup, Backup, Master]);
    pair.run_to(20, &[]);
    assert_eq!(pair.states(), [Master; 3]);
}

#[test]
fn a_member_that_starts_while_another_has_a_fault_waits_too() {
    let mut pair = Pair::started();
    pair.tell(1, Event::Stop);
    pair.tell(0, Event::Fault);
    pair.tell(1, Event::Start);
    assert_eq!(pair.states(), [Fault, Fault, Backup]);
}

#[test]
fn whoever_asserts_itself_makes_the_others_announce_themselves() {
    let mut pair = Pair::started();
    pair.run_to(10, &[]);
    pair.out.clear();
    pair.tell(0, advert(50));
    let announced = |n| pair.out.contains(&(n, Effect::Announce));
    assert_eq!([0, 1, 2].map(announced), [true, true, false]);
}

#[test]
fn stopping_one_ends_the_mastership_of_the_others() {
    let mut pair = Pair::started();
    pair.run_to(10, &[]);
    pair.tell(0, Event::Stop);
    assert_eq!(pair.states(), [Stopped, Backup, Master]);
    pair.run_to(20, &[]);
    assert_eq!(pair.states(), [Stopped, Backup, Master]);
}

#[test]
fn an_owner_in_a_group_is_master_as_soon_as_the_others_can_be() {
    let mut router = Router::new();
    let address = IpAddr::from([192, 0, 2, 10]);
    let owner = |vrid| Settings {
        priority: Priority::OWNER,
        ..settings(vrid)
    };
    router.add("a".into(), owner(1), address, Some(0));
    router.add("b".into(), owner(2), address, Some(0));
    let (now, mut out) = (Instant::now(), Vec::new());
    router.handle(now, 0, Event::Start, &mut out);
    router.handle(now, 1, Event::Start, &mut out);
    router.tick(now, &mut out);
    let states: Vec<_> = router
        .instances()
        .iter()
        .map(|i| i.machine().state())
        .collect();
    assert_eq!(states, [Master, Master]);
}

#[test]
fn a_group_is_handed_over_whole_and_serves_until_it_is() {
    let mut pair = Pair::started();
    pair.run_to(5, &[]);
    assert_eq!(pair.states(), [State::Master; 3]);
    pair.out.clear();
    pair.tell(1, Event::Failover);
    let resign = Effect::Send(Claim::Resigns);
    assert_eq!(pair.out, [(0, resign), (1, resign)]);
    pair.out.clear();
    pair.tell(0, advert(50));
    assert_eq!(pair.states(), [State::Backup, State::Backup, State::Master]);
    let released = pair.out.iter().filter(|(_, e)| *e == Effect::Release);
    assert_eq!(released.count(), 2);
    assert!(!pair.out.contains(&(1, resign)), "it was said already");
}
