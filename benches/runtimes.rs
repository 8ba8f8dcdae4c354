//! The loop beside other runtimes, in one run. Run: `cargo bench -p benches --features runtimes --bench runtimes`
//!
//! `ioloop_ratios` measures the same in pairs and prints a table; this is for watching one of them while code changes.

use benches::runtimes::CASES;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

/// What criterion takes for one iteration: enough for the cases that work in batches.
const AT_LEAST: u64 = 1_000;

fn cases(criterion: &mut Criterion) {
    for case in CASES {
        let mut group = criterion.benchmark_group(case.name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(AT_LEAST));
        for contender in case.contenders {
            // Made by the first call: what is filtered out sets nothing up.
            let mut measure = None;
            group.bench_function(contender.name, |bencher| {
                let measure = measure.get_or_insert_with(contender.prepare);
                bencher.iter_custom(|times| measure(times * AT_LEAST));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, cases);
criterion_main!(benches);
