//! How full the table gets, and how well the hash spreads.

use super::*;
use lb_common::{
    conn::{Meta, State},
    net::{Be16, Be32, Flow4, Proto},
    table::{Insert, Place, SLOTS_PER_BUCKET, Table},
};

const BUCKETS: u32 = 1 << 14;
const SLOTS: usize = BUCKETS as usize * SLOTS_PER_BUCKET;

/// A secret as it is drawn at start, but the same in each run.
fn key(seed: u64) -> [u64; 2] {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [(); 2].map(|()| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// Clients as they come: some addresses in a row, some ports in a row.
fn flow(n: u32) -> Flow4 {
    Flow4 {
        client: Be32::from_host(0x0A00_0000 + n / 64),
        vip: Be32::from_host(0xCB00_710A),
        client_port: Be16::from_host(32_768 + (n % 64) as u16),
        vip_port: Be16::from_host(80),
        proto: Proto::Tcp,
    }
}

#[test]
fn at_two_thirds_nobody_is_turned_away() {
    let buckets = buckets(BUCKETS);
    let mut firsts = Vec::new();
    let mut shares = Vec::new();
    for seed in 1..=5u64 {
        let table = Table::new(&buckets[..], BUCKETS - 1, key(seed));
        let loads = Tally::new(1);
        let now = Tick(1);
        let mut first_away = None;
        let mut at_two_thirds = (0, 0);
        for n in 0..SLOTS as u32 {
            let meta = Meta::new(Proto::Tcp, State::Established, 0, now.plus(ESTABLISHED));
            let place = table.place(&flow(n));
            if !matches!(
                table.insert(&flow(n), &place, meta, now, spare(now), &loads),
                Insert::Done(_)
            ) {
                first_away.get_or_insert(n);
            }
            if n as usize == SLOTS * 2 / 3 {
                let alternate: u32 = buckets.iter().map(|b| b.lines[0].note.load(SeqCst)).sum();
                at_two_thirds = (n + 1 - loads.of(0).total(), alternate);
            }
        }
        let first =
            f64::from(first_away.expect("it cannot hold more than its slots")) / SLOTS as f64;
        let all = SLOTS as f64 * 2.0 / 3.0;
        let (away, alternate) = (
            f64::from(at_two_thirds.0) / all,
            f64::from(at_two_thirds.1) / all,
        );
        let end = 1.0 - f64::from(loads.of(0).total()) / SLOTS as f64;
        println!(
            "first turned away at {:.1} % full; at two thirds {:.4} % turned away, {:.1} % in the alternate; \
             offered as many flows as slots, {:.1} % turned away",
            first * 100.0,
            away * 100.0,
            alternate * 100.0,
            end * 100.0,
        );
        firsts.push(first);
        shares.push(away);
        for i in 0..BUCKETS {
            table.sweep_where(i, now, |_| true, &loads);
        }
        assert_eq!(loads.of(0).conns, 0);
        assert!(buckets.iter().all(|b| b.lines[0].note.load(SeqCst) == 0));
    }
    assert!(shares.iter().all(|&share| share < 0.002), "{shares:?}");
    assert!(firsts.iter().all(|&first| first > 0.4), "{firsts:?}");
}

/// The spread of `n` items is that of chance when the sum of squared deviations is about the number of cells.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = counts.iter().map(|&n| f64::from(n)).sum::<f64>() / counts.len() as f64;
    counts
        .iter()
        .map(|&n| (f64::from(n) - expected).powi(2) / expected)
        .sum::<f64>()
        / counts.len() as f64
}

#[test]
fn clients_in_a_row_spread_like_chance_in_every_part_of_a_place() {
    const CELLS: u32 = 1 << 12;
    type Clients = fn(u32) -> (u32, u16);
    let patterns: [(&str, Clients); 4] = [
        ("ports of one client", |n| (0x0A00_0001, n as u16)),
        ("addresses, one port", |n| (0x0A00_0000 + n, 40_000)),
        ("every 256th address", |n| (n << 8, 40_000)),
        ("both at once", |n| (0x0A00_0000 + n, 1024 ^ n as u16)),
    ];
    for (name, client) in patterns {
        for seed in 1..=20u64 {
            let key = key(seed);
            let mut home = vec![0; CELLS as usize];
            let mut alternate = home.clone();
            let mut away = vec![0; CELLS as usize / 2];
            let mut first = [0i32; 2];
            for n in 0..65_536 {
                let (addr, port) = client(n);
                let place = Place::of(
                    Be32::from_host(addr),
                    Be16::from_host(port),
                    Proto::Tcp,
                    CELLS - 1,
                    key,
                );
                assert!(
                    place.home < CELLS && place.alternate < CELLS && place.home != place.alternate
                );
                home[place.home as usize] += 1;
                alternate[place.alternate as usize] += 1;
                away[(place.home ^ place.alternate) as usize / 2] += 1;
                first[place.first as usize] += 1;
            }
            for (part, counts) in [
                ("home", &home),
                ("alternate", &alternate),
                ("distance", &away),
            ] {
                let chi = chi_square(counts);
                assert!(chi < 1.15, "{name}, key {key:x?}: {part} {chi:.2}");
            }
            assert!(first[0].abs_diff(first[1]) < 2000, "{name}: {first:?}");
        }
    }
}
