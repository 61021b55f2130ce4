//! Every fuzz target on its seeds and on seeded random damage to them, on any toolchain. A failure prints
//! the target, the number that replays it and the input.

use fastrand::Rng;
use hearth_fuzz::{TARGETS, Target, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Damaged inputs a target: some thousands find the coarse faults in a second or two.
const MUTATIONS: u64 = 4000;

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
    let folder = Path::new("corpus").join(target.name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    seeds.extend(files.iter().map(|file| std::fs::read(file).expect("a readable seed")));
    seeds
}

fn attack(target: &Target, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let shown = &input[..input.len().min(2048)];
        panic!("{}, {what}, {} bytes: {}", target.name, input.len(), shown.escape_ascii());
    }
}

#[test]
fn no_target_falls_over() {
    for target in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            attack(target, &format!("seed {number}"), seed);
        }
        for number in 0..MUTATIONS {
            let mut rng = Rng::with_seed(number);
            let (one, two) = (rng.usize(0..seeds.len()), rng.usize(0..seeds.len()));
            let input = mutate::mutate(&mut rng, &seeds[one], &seeds[two]);
            attack(target, &format!("mutation {number}"), &input);
        }
    }
}

#[test]
fn every_corpus_belongs_to_a_target() {
    let corpus = Path::new("corpus");
    for entry in std::fs::read_dir(corpus).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "no target is called {name:?}");
    }
}
