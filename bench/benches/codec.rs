//! The sealed chunks of values: encoding and decoding recorded values and made ones, at the sizes of a
//! head's chunk and of a block's, at full speed and as small as can be, and decoding at every level of vectors
//! that the machine has.
//!
//! To be held on an idle machine, at 1,024 values: decoding 1 G values a second with AVX-512 and 0.6 G with
//! AVX2, encoding 150 M.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearth_kernels::arch::Level;
use hearth_kernels::codec::{Effort, times, values};
use std::hint::black_box;

/// Columns of one kind.
struct Kind {
    name: &'static str,
    columns: Vec<Vec<f64>>,
}

/// The recorded series that move; those that rest cost nothing.
fn recorded() -> Kind {
    let path = "../kernels/corpus/node_exporter.chunks";
    let bytes = std::fs::read(path).expect("the corpus is there");
    let mut columns = Vec::new();
    let mut at = times::decode(&bytes, &mut Vec::new()).expect("a chunk of times");
    while at < bytes.len() {
        let mut column = Vec::new();
        at += values::decode(&bytes[at..], &mut column).expect("a chunk of values");
        columns.push(column);
    }
    columns.retain(|column| column.iter().any(|value| *value != column[0]));
    Kind { name: "recorded", columns }
}

fn made(name: &'static str, mut value: impl FnMut(f64) -> f64) -> Kind {
    // Knuth's MMIX constants: any fixed sequence will do.
    let mut state = 1u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut column = || (0..1024).map(|_| value(unit())).collect();
    Kind { name, columns: (0..16).map(|_| column()).collect() }
}

fn kinds() -> Vec<Kind> {
    let (mut requests, mut ticks, mut sum) = (0.0, 0.0, 0.0);
    vec![
        recorded(),
        made("counter", |unit| {
            requests += (unit * 20.0).floor();
            requests
        }),
        made("cpu_seconds", |unit| {
            ticks += (unit * 30.0).floor();
            ticks / 100.0
        }),
        made("gauge", |unit| (unit * 3000.0).floor() / 100.0),
        made("full_precision", |unit| unit + 50.0),
        made("sum", |unit| {
            sum += unit;
            sum
        }),
    ]
}

fn codec(criterion: &mut Criterion) {
    let kinds = kinds();
    for samples in [1024, 128] {
        for (effort, name) in [(Effort::Fast, "chunk"), (Effort::Small, "small_chunk")] {
            let mut group = criterion.benchmark_group(format!("{name}_{samples}"));
            kinds.iter().for_each(|kind| measure(&mut group, kind, samples, effort));
            group.finish();
        }
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, kind: &Kind, samples: usize, effort: Effort) {
    let chunks: Vec<&[f64]> = kind.columns.iter().flat_map(|c| c.chunks(samples)).collect();
    group.throughput(Throughput::Elements((chunks.len() * samples) as u64));
    let mut encoded = Vec::new();
    group.bench_function(BenchmarkId::new("encode", kind.name), |bencher| {
        bencher.iter(|| {
            encoded.clear();
            chunks.iter().for_each(|chunk| values::encode(black_box(chunk), effort, &mut encoded));
        });
    });
    encoded.clear();
    chunks.iter().for_each(|chunk| values::encode(chunk, effort, &mut encoded));
    for level in Level::ALL {
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new(format!("decode_{level:?}"), kind.name), |bencher| {
            bencher.iter(|| {
                let mut at = 0;
                while at < encoded.len() {
                    out.clear();
                    at += values::decode_on(level, black_box(&encoded[at..]), &mut out)
                        .expect("a chunk of values");
                }
            });
        });
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
