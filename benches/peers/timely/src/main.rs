//! The word count and the capture of benches/peers on timely dataflow:
//!
//! ```text
//! timely-peer wordcount INPUT OUT WORKERS
//! timely-peer capture   INPUT OUT WORKERS POSTS_A_FILE
//! ```
//!
//! The last line on standard output is JSON with the seconds from the first post to the last
//! result.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Deserialize;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

/// The number of posts that a worker reads before it lets the dataflow work.
const POSTS_IN_STEP: usize = 256;

/// The part of a post that is counted.
#[derive(Deserialize)]
struct Post<'p> {
    #[serde(borrow)]
    tweet: Tweet<'p>,
}

#[derive(Deserialize)]
struct Tweet<'p> {
    #[serde(borrow)]
    text: Cow<'p, str>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (input, out) = (words[1].clone(), words[2].clone());
    let workers: usize = words[3].parse().expect("a number of workers");
    let posts_in_file = words.get(4).map_or(0, |posts| posts.parse().expect("posts in a file"));
    let is_capture = words[0] == "capture";
    let all_counts = Arc::new(Mutex::new(HashMap::new()));
    let begun = Instant::now();
    let counts_of_all = all_counts.clone();
    let folder = out.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let counts = Rc::new(RefCell::new(HashMap::new()));
        let lake = Rc::new(RefCell::new(Lake::new(&folder, index, posts_in_file)));
        let mut posts = InputHandle::new();
        let probe = ProbeHandle::new();
        worker.dataflow::<usize, _, _>(|scope| {
            let stream = posts.to_stream(scope);
            if is_capture {
                capture(stream, &probe, &lake);
            } else {
                word_count(stream, &probe, &counts);
            }
        });
        let file = BufReader::with_capacity(1 << 20, File::open(&input).expect("the input"));
        let mine = file.lines().skip(index).step_by(peers);
        for (number, line) in mine.enumerate() {
            posts.send(line.expect("a line"));
            if number % POSTS_IN_STEP == 0 {
                posts.advance_to(number + 1);
                while probe.less_than(posts.time()) {
                    worker.step();
                }
            }
        }
        posts.close();
        while !probe.done() {
            worker.step();
        }
        lake.borrow_mut().close();
        counts_of_all.lock().expect("no panic").extend(counts.take());
    });
    for result in guards.expect("workers that start").join() {
        result.expect("a worker that ends well");
    }
    let seconds = begun.elapsed().as_secs_f64();
    if !is_capture {
        let counts: HashMap<String, u64> =
            std::mem::take(&mut *all_counts.lock().expect("no panic"));
        let text = serde_json::to_string(&counts).expect("counts are JSON");
        fs::write(PathBuf::from(out).join("counts.json"), text).expect("a folder for the counts");
    }
    println!("{{\"seconds\": {seconds}}}");
}

type Items<'scope, T> = timely::dataflow::StreamVec<'scope, usize, T>;

fn word_count(
    posts: Items<'_, String>,
    probe: &ProbeHandle<usize>,
    counts: &Rc<RefCell<HashMap<String, u64>>>,
) {
    let by_word = Exchange::new(|word: &String| {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    });
    let words = posts.flat_map(|post| {
        let post: Post<'_> = serde_json::from_str(&post).expect("a post");
        post.tweet.text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    let counts = counts.clone();
    take_all(words, by_word, "count", probe, move |words| {
        let mut counts = counts.borrow_mut();
        for word in words.drain(..) {
            *counts.entry(word).or_default() += 1;
        }
    });
}

fn capture(posts: Items<'_, String>, probe: &ProbeHandle<usize>, lake: &Rc<RefCell<Lake>>) {
    let lake = lake.clone();
    take_all(posts, Pipeline, "lake", probe, move |posts| {
        let mut lake = lake.borrow_mut();
        for post in posts.drain(..) {
            lake.add(post);
        }
    });
}

/// Ends a dataflow: `take` gets the items that come to this worker.
fn take_all<T: 'static>(
    items: Items<'_, T>,
    pact: impl ParallelizationContract<usize, Vec<T>>,
    name: &str,
    probe: &ProbeHandle<usize>,
    mut take: impl FnMut(&mut Vec<T>) + 'static,
) {
    items
        .unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, name, |_, _| {
            move |input, _| input.for_each(|_, items| take(items))
        })
        .probe_with(probe);
}

/// Files of JSON arrays, each synced before it gets its name.
struct Lake {
    folder: PathBuf,
    worker: usize,
    posts_in_file: usize,
    open: Vec<String>,
    files: usize,
}

impl Lake {
    fn new(folder: &str, worker: usize, posts_in_file: usize) -> Self {
        Self { folder: folder.into(), worker, posts_in_file, open: Vec::new(), files: 0 }
    }

    fn add(&mut self, post: String) {
        serde_json::from_str::<serde::de::IgnoredAny>(&post).expect("a post");
        self.open.push(post);
        if self.open.len() == self.posts_in_file {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let text = format!("[{}]\n", self.open.join(",\n"));
        let part = self.folder.join(format!(".part-{}", self.worker));
        let mut file = File::create(&part).expect("a folder for the lake");
        file.write_all(text.as_bytes()).expect("room for the lake");
        file.sync_all().expect("a disk that syncs");
        let name = format!("{}-{}.json", self.worker, self.files);
        fs::rename(part, self.folder.join(name)).expect("a folder for the lake");
        self.files += 1;
        self.open.clear();
    }
}
