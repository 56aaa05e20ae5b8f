//! Tests the generator as a whole.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::Value as Tree;
use time::macros::format_description;

use super::*;
use crate::registry::ron_options;

fn posts(config: &Generate, numbers: impl IntoIterator<Item = u64>) -> Vec<(Platform, String)> {
    let mut by_number = config.by_number();
    let write = |number| {
        let mut bytes = Vec::new();
        let platform = by_number.write(number, &mut bytes);
        (platform, String::from_utf8(bytes).unwrap())
    };
    numbers.into_iter().map(write).collect()
}

fn tree(post: &str) -> Tree {
    serde_json::from_str(post).unwrap_or_else(|error| panic!("{error}: {post}"))
}

/// Returns the paths of the id, the time and the text in each platform's posts.
fn paths(platform: Platform) -> [&'static str; 3] {
    match platform {
        Platform::X => ["/tweet/id", "/tweet/created_at", "/tweet/text"],
        Platform::Facebook => ["/post/id", "/post/created_time", "/post/message"],
        Platform::YouTube => {
            ["/video/id", "/video/snippet/publishedAt", "/video/snippet/description"]
        }
        Platform::Bluesky => {
            ["/bsky/commit/rkey", "/bsky/commit/record/createdAt", "/bsky/commit/record/text"]
        }
        Platform::Mastodon => ["/toot/id", "/toot/created_at", "/toot/content"],
    }
}

fn at<'a>(post: &'a Tree, path: &str) -> &'a str {
    post.pointer(path).and_then(Tree::as_str).unwrap_or_else(|| panic!("{path} in {post}"))
}

fn of_platform(platform: Platform) -> Generate {
    Generate { platforms: vec![platform].try_into().unwrap(), ..Generate::default() }
}

/// Returns everything that `tasks` tasks hand over, in order, each from the given cursors.
fn run(
    config: &Generate,
    tasks: usize,
    cursors: &mut BTreeMap<String, Cursor>,
    rounds_max: usize,
) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let ids = config.splits().unwrap();
    for task in 0..tasks {
        let mine: Vec<_> = ids.iter().skip(task).step_by(tasks).collect();
        let cursor = |id: &String| cursors.get(id).cloned().unwrap_or(Cursor::Start);
        let splits: Vec<_> =
            mine.iter().map(|id| Split { id: (*id).clone(), cursor: cursor(id) }).collect();
        let mut shares = Share::of_splits(&splits).unwrap();
        let mut by_number = config.by_number();
        for _ in 0..rounds_max {
            let mut chunk = Chunk::default();
            shares.retain(|share| share.next < config.end());
            shares
                .iter_mut()
                .for_each(|share| chunk.add(share, &mut by_number, config.end(), POSTS_IN_A_ROW));
            let mut start = 0;
            for (end, _) in &chunk.ends {
                all.push(chunk.bytes[start..*end].to_vec());
                start = *end;
            }
            assert_eq!(chunk.rows.iter().map(|row| row.posts).sum::<usize>(), chunk.ends.len());
            cursors.extend(chunk.rows.into_iter().map(|row| (mine[row.split].clone(), row.cursor)));
        }
    }
    all
}

#[test]
fn every_post_is_well_formed_and_has_its_kind_its_id_its_time_and_its_text() {
    let config = Generate::default();
    let mut ids = HashSet::new();
    for (platform, post) in posts(&config, 0..5_000) {
        let tree = tree(&post);
        assert_eq!(tree.as_object().unwrap().keys().collect::<Vec<_>>(), [platform.kind()]);
        let [id, time, text] = paths(platform).map(|path| at(&tree, path));
        assert!(ids.insert((platform, id.to_owned())), "{id} comes twice");
        assert!(!time.is_empty() && !text.is_empty());
        assert!(!post.contains(['\n', '\r']));
        assert_eq!(
            tree.to_string().len(),
            post.len(),
            "a key comes twice, or something has an escape it needn't have"
        );
    }
}

#[test]
fn ids_are_distinct_at_any_rate_and_beyond_2_to_the_53() {
    for rate in [Some(0.001), Some(1_000.0), Some(10_000_000.0), None] {
        let rate = rate.map(|rate| Rate::try_from(rate).unwrap());
        for platform in Platform::ALL {
            let config = Generate { rate, ..of_platform(platform) };
            let id =
                |(_, post): (Platform, String)| at(&tree(&post), paths(platform)[0]).to_owned();
            let ids: HashSet<_> =
                posts(&config, (0..300).chain(70_000..70_300)).into_iter().map(id).collect();
            assert_eq!(ids.len(), 600, "{platform:?}");
        }
    }
    let (_, tweet) = &posts(&of_platform(Platform::X), [0])[0];
    assert!(at(&tree(tweet), "/tweet/id").parse::<u64>().unwrap() > 1 << 53);
}

#[test]
fn posts_weigh_what_the_platforms_posts_weigh() {
    let expected = [
        (Platform::X, 2_300..2_500),
        (Platform::Facebook, 2_000..3_500),
        (Platform::YouTube, 2_300..3_200),
        (Platform::Bluesky, 700..1_100),
        (Platform::Mastodon, 1_800..2_900),
    ];
    for (platform, range) in expected {
        let total: usize =
            posts(&of_platform(platform), 0..2_000).iter().map(|(_, post)| post.len()).sum();
        assert!(range.contains(&(total / 2_000)), "{platform:?}: {}", total / 2_000);
    }
}

#[test]
fn each_platform_writes_the_time_in_its_own_way() {
    let time = |platform| {
        let config = Generate { rate: Some(2.0.try_into().unwrap()), ..of_platform(platform) };
        let (_, post) = &posts(&config, [7_201])[0];
        at(&tree(post), paths(platform)[1]).to_owned()
    };
    assert_eq!(time(Platform::X), "2015-12-18T01:00:00.500Z");
    assert_eq!(time(Platform::Facebook), "2015-12-18T01:00:00+0000");
    assert_eq!(time(Platform::YouTube), "2015-12-18T01:00:00Z");
    assert_eq!(time(Platform::Bluesky), "2015-12-18T01:00:00.500Z");
    assert_eq!(time(Platform::Mastodon), "2015-12-18T01:00:00.500Z");
    let config = Generate { rate: Some(2.0.try_into().unwrap()), ..of_platform(Platform::Bluesky) };
    let (_, post) = &posts(&config, [7_201])[0];
    assert_eq!(tree(post).pointer("/bsky/time_us"), Some(&1_450_400_400_500_000_u64.into()));
    let date =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]");
    assert_eq!(config.time_of(7_201).format(date).unwrap(), "2015-12-18T01:00:00.500");
}

#[test]
fn entities_point_at_what_they_name() {
    let mut seen = 0;
    for (_, post) in posts(&of_platform(Platform::X), 0..2_000) {
        let tweet = tree(&post)["tweet"].take();
        let text: Vec<char> = tweet["text"].as_str().unwrap().chars().collect();
        for (list, sign, key) in
            [("hashtags", "#", "tag"), ("mentions", "@", "username"), ("urls", "", "url")]
        {
            for entity in tweet["entities"][list].as_array().unwrap() {
                let index = |key: &str| entity[key].as_u64().unwrap() as usize;
                let found: String = text[index("start")..index("end")].iter().collect();
                assert_eq!(found, format!("{sign}{}", entity[key].as_str().unwrap()));
                seen += 1;
            }
        }
    }
    assert!(seen > 2_000);
    for (_, post) in posts(&of_platform(Platform::Bluesky), 0..2_000) {
        let record = tree(&post)["bsky"]["commit"]["record"].take();
        for facet in record["facets"].as_array().into_iter().flatten() {
            let index = |key: &str| facet["index"][key].as_u64().unwrap() as usize;
            let found = &record["text"].as_str().unwrap()[index("byteStart")..index("byteEnd")];
            let feature = &facet["features"][0];
            let expected = match feature["$type"].as_str().unwrap() {
                "app.bsky.richtext.facet#tag" => format!("#{}", feature["tag"].as_str().unwrap()),
                "app.bsky.richtext.facet#link" => feature["uri"].as_str().unwrap().to_owned(),
                _ => found.to_owned(),
            };
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn texts_are_of_several_scripts() {
    let all: String =
        posts(&Generate::default(), 0..2_000).into_iter().map(|(_, post)| post).collect();
    for (script, range) in [
        ("Cyrillic", 'а'..='я'),
        ("Arabic", 'ا'..='ي'),
        ("Devanagari", 'अ'..='ह'),
        ("Thai", 'ก'..='ฮ'),
        ("kana", 'あ'..='ん'),
        ("CJK", '一'..='龥'),
        ("Hangul", '가'..='힣'),
        ("emoji", '\u{1f300}'..='\u{1f9ff}'),
    ] {
        assert!(all.chars().filter(|char| range.contains(char)).count() > 300, "{script}");
    }
}

#[test]
fn planted_bursts_can_be_seen_and_only_while_they_last() {
    let config = Generate { posts: Some(60_000), ..Generate::default() };
    let all = posts(&config, 0..60_000);
    let bursts: Vec<_> = config.bursts().collect();
    assert_eq!(bursts.len(), 3);
    for Burst { tag, posts, one_in } in bursts {
        let (in_text, in_html) = (format!("#{tag}"), format!("#<span>{tag}<"));
        let has =
            |(_, post): &&(Platform, String)| post.contains(&in_text) || post.contains(&in_html);
        let during = &all[posts.start as usize..posts.end as usize];
        let (times, expected) = (during.iter().filter(has).count(), during.len() / one_in as usize);
        assert!(
            times.abs_diff(expected) < expected / 4 + 10,
            "{tag}: {times}, expected {expected}"
        );
        let otherwise = all.iter().filter(has).count() - times;
        assert!(otherwise < 60, "{tag}: {otherwise}");
    }
}

#[test]
fn endless_posts_have_endless_bursts() {
    let config = Generate::default();
    assert!(config.bursts().nth(1_000).is_some());
    assert_eq!(Generate { posts: Some(3_000), ..config }.bursts().count(), 0);
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_every_machine() {
    let config = Generate { seed: 7, ..Generate::default() };
    let bytes: String = posts(&config, 0..1_000).into_iter().map(|(_, post)| post).collect();
    expect_test::expect!["54b30709e6311df2"]
        .assert_eq(&format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes.as_bytes())));
    let other = Generate { seed: 8, ..Generate::default() };
    assert_ne!(posts(&config, 0..10), posts(&other, 0..10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_parallelism_changes_nothing_about_the_posts(
        count in prop_oneof![0_u64..200, 1_000_u64..1_300],
        tasks in 1_usize..70,
        seed: u64,
    ) {
        let config = Generate { posts: Some(count), seed, ..Generate::default() };
        let mut all = run(&config, tasks, &mut BTreeMap::new(), 50);
        let mut expected: Vec<_> = posts(&config, 0..count).into_iter().map(|(_, post)| post.into_bytes()).collect();
        all.sort();
        expected.sort();
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn a_run_that_stops_anywhere_is_resumed_with_other_tasks(rounds in 0_usize..4, before in 1_usize..9, after in 1_usize..9) {
        let config = Generate { posts: Some(3_000), ..Generate::default() };
        let mut cursors = BTreeMap::new();
        let mut all = run(&config, before, &mut cursors, rounds);
        all.extend(run(&config, after, &mut cursors, 50));
        prop_assert_eq!(all.len(), 3_000);
        prop_assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 3_000);
        let done = |cursor: &Cursor| match cursor {
            Cursor::At(done) => done.parse::<u64>().unwrap(),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(cursors.values().map(done).sum::<u64>(), 3_000);
        let more = Generate { posts: Some(3_100), ..config };
        prop_assert_eq!(run(&more, after, &mut cursors, 50).len(), 100);
    }

    #[test]
    fn any_number_is_a_post(number: u64, seed: u64) {
        for (_, post) in posts(&Generate { seed, ..Generate::default() }, [number]) {
            tree(&post);
        }
    }
}

#[test]
fn cursors_that_no_run_wrote_are_refused() {
    let split = |id: &str, cursor: Cursor| Share::of_splits(&[Split { id: id.into(), cursor }]);
    assert_eq!(split("07", Cursor::At("2".into())).unwrap(), [Share { split: 0, next: 135 }]);
    assert_eq!(split("07", Cursor::End).unwrap(), []);
    for (id, at) in [("64", "1"), ("x", "1"), ("07", "-1"), ("07", "18446744073709551615")] {
        assert!(split(id, Cursor::At(at.into())).is_err());
    }
}

#[test]
fn a_configuration_is_read_and_explained_with_every_default() {
    let registry = crate::components::standard();
    let generate = registry.find("Generate").unwrap();
    assert_eq!(
        generate.read("Generate()").unwrap().explained,
        "Generate(posts:None,rate:None,speed:None,seed:1,platforms:[X,Facebook,YouTube,Bluesky,Mastodon])"
    );
    let given = "Generate(posts: 10, rate: 1000, speed: 60, seed: 3, platforms: [Twitter])";
    assert_eq!(
        generate.read(given).unwrap().explained,
        "Generate(posts:10,rate:1000.0,speed:60.0,seed:3,platforms:[X])"
    );
}

#[test]
fn the_speed_changes_when_posts_are_made_and_not_their_time() {
    let pace = |given: &str| ron_options().from_str::<Generate>(given).unwrap().pace();
    let rate = |rate: f64| Some(Rate::try_from(rate).unwrap());
    assert_eq!(pace("(rate: 20)"), rate(20.0));
    assert_eq!(pace("(rate: 20, speed: 600)"), rate(12_000.0));
    assert_eq!(pace("(rate: 20, speed: Max)"), None);
    assert_eq!(pace("(speed: 2)"), rate(2_000.0));
    assert_eq!(pace("()"), None);
    let fast: Generate = ron_options().from_str("(rate: 20, speed: 600)").unwrap();
    let slow: Generate = ron_options().from_str("(rate: 20)").unwrap();
    assert_eq!(posts(&fast, 0..50), posts(&slow, 0..50));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    for (given, why) in [
        ("(rate: 0)", "expected a rate from 0.001"),
        ("(platforms: [])", "expected at least one platform"),
        ("(platforms: [X, Twitter])", "expected each platform once, found X again"),
        ("(platforms: [Myspace])", "Myspace"),
        ("(post: 1)", "post"),
        ("(speed: 0)", "expected Max, or a factor"),
    ] {
        let error = ron_options().from_str::<Generate>(given).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn posts_of_a_slow_rate_are_made_nearly_in_the_order_of_their_times() {
    let in_a_row = |rate: f64| {
        let rate = Some(Rate::try_from(rate).unwrap());
        Generate { rate, ..Generate::default() }.posts_in_a_row()
    };
    assert_eq!([0.1, 8.0, 20.0, 50.0, 5_000.0].map(in_a_row), [1, 1, 3, 7, 16]);
    assert_eq!(Generate::default().posts_in_a_row(), 16);
}
