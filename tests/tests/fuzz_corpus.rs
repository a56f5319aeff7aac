//! Does what was found interesting before still meet what must hold, as it is and with something changed at random?
//!
//! What is changed follows from the name of the file. `LB_MUTATIONS=10000` tries so many changes of each file, and prints each
//! input before it is tried.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::fuzz::{TARGETS, Target};

/// How many changes of each file are tried.
const MUTATIONS: u64 = 20;

/// The files of a target's corpus: names, in order, and what is in them.
fn corpus(target: &Target) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target.name);
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("there is no corpus {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((name, fs::read(entry.path())?));
    }
    files.sort_unstable();
    ensure!(files.len() > 5, "{}: only {}", target.name, files.len());
    Ok(files)
}

#[test]
fn every_target_takes_its_corpus() -> Result<()> {
    for target in TARGETS {
        for (name, bytes) in corpus(&target)? {
            // The harness shows it when what must hold does not.
            println!("{}/{name}", target.name);
            (target.take)(&bytes);
        }
    }
    Ok(())
}

#[test]
fn every_target_takes_its_corpus_with_something_changed() -> Result<()> {
    let said = std::env::var("LB_MUTATIONS").ok();
    let mutations = match &said {
        Some(text) => text.parse().context("LB_MUTATIONS is no number")?,
        None => MUTATIONS,
    };
    for target in TARGETS {
        let files = corpus(&target)?;
        let start = std::time::Instant::now();
        for (name, bytes) in &files {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            let mut dice = Dice(hasher.finish());
            for n in 0..mutations {
                let mut changed = bytes.clone();
                for _ in 0..=dice.below(4) {
                    dice.change(&mut changed, &files);
                }
                println!(
                    "{}/{name}, change {n}: {}",
                    target.name,
                    changed.escape_ascii()
                );
                (target.take)(&changed);
            }
        }
        let count = mutations * files.len() as u64;
        eprintln!("{}: {count} in {:.1?}", target.name, start.elapsed());
    }
    Ok(())
}

/// Each target has a program for libFuzzer, and each program has a target.
#[test]
fn every_target_has_a_program() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.context("a name of no text")?.to_owned();
        let text = fs::read_to_string(&path)?;
        ensure!(
            text.contains(&format!("tests::fuzz::take(\"{name}\", bytes)")),
            "{}: it tries another target",
            path.display()
        );
        programs.push(name);
    }
    programs.sort_unstable();
    ensure!(programs == TARGETS.map(|target| target.name));
    Ok(())
}

/// Numbers that follow from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Where a piece of so many bytes begins and ends.
    fn piece(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + self.below((length - start).min(32) + 1)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[(String, Vec<u8>)]) {
        let at = self.below(bytes.len());
        match (self.below(6), bytes.get_mut(at)) {
            (0 | 1, Some(byte)) => *byte ^= 1 << self.below(8),
            (2, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b' '][self.below(8)],
            (3, Some(_)) => {
                let piece = self.piece(bytes.len());
                bytes.drain(piece);
            }
            (4, Some(_)) => {
                let piece = self.piece(bytes.len());
                let twice = bytes[piece].to_vec();
                bytes.splice(at..at, twice);
            }
            _ => {
                let (_, other) = &others[self.below(others.len())];
                let piece = self.piece(other.len());
                bytes.splice(at..at, other[piece].iter().copied());
            }
        }
    }
}
