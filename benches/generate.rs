//! How fast posts are made up, without anything that takes them: a core's share of `Generate` is
//! what any measurement that it feeds can reach at most.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use waterspout::spout::generate::{Generate, Platform, Platforms};

/// As many posts as the spout hands over between two waits, or so.
const POSTS: u64 = 512;

fn platforms(platforms: &[Platform]) -> Generate {
    let platforms: Platforms = platforms.to_vec().try_into().expect("each is named once");
    Generate { platforms, ..Generate::default() }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("generate");
    let all = ("all".to_owned(), platforms(&Platform::ALL));
    let each = Platform::ALL.map(|platform| (platform.kind().to_owned(), platforms(&[platform])));
    for (name, config) in [all].into_iter().chain(each) {
        let mut posts = config.by_number();
        let mut buffer = Vec::new();
        (0..POSTS).for_each(|number| _ = posts.write(number, &mut buffer));
        println!("{name}: {} bytes a post", buffer.len() as u64 / POSTS);
        for (unit, throughput) in [
            ("bytes", Throughput::Bytes(buffer.len() as u64)),
            ("posts", Throughput::Elements(POSTS)),
        ] {
            group.throughput(throughput);
            group.bench_function(BenchmarkId::new(unit, &name), |bencher| {
                bencher.iter(|| {
                    buffer.clear();
                    (0..POSTS).for_each(|number| _ = posts.write(number, &mut buffer));
                    buffer.len()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
