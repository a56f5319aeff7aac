//! A cable with weather: frames are lost, late, doubled, or come through in one direction only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};

use super::netns::Host;

/// What becomes of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// So many in a thousand are lost.
    pub lost: u64,
    /// So many in a thousand come twice.
    pub doubled: u64,
    /// They are late by up to this much, each by itself, so that they overtake each other.
    pub late: Duration,
    /// Nothing comes through.
    pub cut: bool,
}

/// What has become of so many frames, of both directions together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub came: u64,
    pub lost: u64,
    pub doubled: u64,
}

/// A cable between the `eth0` of two hosts. It ends with this.
pub(crate) struct Wire {
    /// From the first to the second host, and back.
    weather: [Arc<Mutex<Weather>>; 2],
    tally: Arc<Mutex<Tally>>,
    ends: Arc<AtomicBool>,
    _between: Host,
}

impl Wire {
    /// Connects two hosts. What happens follows from the seed and the moment.
    pub(crate) fn new(first: &Host, second: &Host, seed: u64) -> Self {
        let between = Host::new();
        between.cable("left", first, "eth0");
        between.cable("right", second, "eth0");
        let weather = [(), ()].map(|()| Arc::new(Mutex::new(Weather::default())));
        let ends = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (both, all, over) = (weather.clone(), Arc::clone(&tally), Arc::clone(&ends));
        between.call(move || {
            let [there, back] = both;
            let ((to_a, from_a), (to_b, from_b)) = (open("left"), open("right"));
            let directions = [(from_a, to_b, there, seed), (from_b, to_a, back, !seed)];
            for (from, to, weather, seed) in directions {
                let (all, over) = (Arc::clone(&all), Arc::clone(&over));
                thread::spawn(move || carry(from, to, &weather, &all, Random(seed), &over));
            }
        });
        Self {
            weather,
            tally,
            ends,
            _between: between,
        }
    }

    /// What has become of frames so far.
    pub(crate) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap()
    }

    /// The weather from the first to the second host, and back.
    pub(crate) fn set(&self, there: Weather, back: Weather) {
        for (place, weather) in self.weather.iter().zip([there, back]) {
            *place.lock().unwrap() = weather;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    fn count(&mut self, copies: u32) {
        self.came += 1;
        self.lost += u64::from(copies == 0);
        self.doubled += u64::from(copies > 1);
    }
}

fn open(name: &str) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let all = datalink::interfaces();
    let interface = all.iter().find(|i| i.name == name).unwrap();
    let config = datalink::Config {
        // As finely as lateness is counted.
        read_timeout: Some(Duration::from_millis(1)),
        ..datalink::Config::default()
    };
    match datalink::channel(interface, config).unwrap() {
        Channel::Ethernet(to, from) => (to, from),
        _ => unreachable!("there is no other kind"),
    }
}

fn carry(
    mut from: Box<dyn DataLinkReceiver>,
    mut to: Box<dyn DataLinkSender>,
    weather: &Mutex<Weather>,
    tally: &Mutex<Tally>,
    mut random: Random,
    over: &AtomicBool,
) {
    let mut under_way: BinaryHeap<Reverse<(Instant, Vec<u8>)>> = BinaryHeap::new();
    while !over.load(Ordering::Relaxed) {
        // Without a frame for a while it is an error.
        if let Ok(frame) = from.next() {
            let weather = *weather.lock().unwrap();
            let copies = match weather {
                Weather { cut: true, .. } => 0,
                Weather { lost, .. } if random.below(1_000) < lost => 0,
                Weather { doubled, .. } if random.below(1_000) < doubled => 2,
                _ => 1,
            };
            tally.lock().unwrap().count(copies);
            for _ in 0..copies {
                let late = random.below(weather.late.as_micros() as u64 + 1);
                let due = Instant::now() + Duration::from_micros(late);
                under_way.push(Reverse((due, frame.to_vec())));
            }
        }
        while under_way
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= Instant::now())
        {
            let Some(Reverse((_, frame))) = under_way.pop() else {
                break;
            };
            // The host at the other end may have gone.
            let _ = to.send_to(&frame, None);
        }
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (n ^ (n >> 31)) % end
    }
}
