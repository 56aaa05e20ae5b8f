use std::collections::BTreeMap;

use super::*;

/// Returns the features of a post, by the names of the fields.
pub(crate) fn features_of_post(post: Post) -> BTreeMap<&'static str, Value> {
    told(post, &Features::default()).0
}

/// Returns the features of a post, its keys, and true if the post counts as drifted.
fn told(post: Post, config: &Features) -> (BTreeMap<&'static str, Value>, Vec<String>, bool) {
    let mut bolt = FeaturesBolt::new(config, &[Fields::of_posts()]).unwrap();
    let features = bolt.extractor.extract(&post, NeededFeatures::ALL);
    let common = CommonValues::of(&features, bolt.extractor.rate(&features));
    let topics = Value::List([Value::from("storms")].into());
    let mut keys = Vec::new();
    if may_have_keys(&features) {
        bolt.each_key(&topics, &common, features.facts.relation.repost_of.is_some(), |key| {
            keys.push(key[1].as_text().unwrap().to_owned());
        });
    }
    let values = bolt.values(&post, topics, common, &features);
    (FEATURES.into_iter().zip(values).collect(), keys, !features.facts.is_as_expected)
}

fn post(json: &str) -> Post {
    Post::check(json.as_bytes().to_vec().into()).unwrap()
}

/// Formats a value as JSON.
fn json(value: &Value) -> String {
    let mut json = Vec::new();
    crate::tuple::value_to_json(value, &mut json);
    String::from_utf8(json).unwrap()
}

/// Checks the known fields: `name value`, one per line, in order. Fields that are null or an empty
/// list are left out, and so are `post`, `kind` and `topics`.
#[track_caller]
fn check(text: &str, expected: &str) {
    let (features, ..) = told(post(text), &Features::default());
    let mut known = Vec::new();
    for field in FEATURES.into_iter().skip(3) {
        let value = json(&features[field]);
        if value != "null" && value != "[]" {
            known.push(format!("{field} {value}"));
        }
    }
    let expected: Vec<_> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(known, expected, "{text}");
}

#[test]
fn a_tweet_of_v1_1() {
    check(
        r##"{"tweet":{"created_at":"Fri Jul 12 23:40:37 +0000 2019","id":1149834587453210625,
        "id_str":"1149834587453210625","text":"cut…","truncated":true,"in_reply_to_status_id":5,
        "in_reply_to_status_id_str":"5","quoted_status_id_str":"6","user":{"id":7,"id_str":"7",
        "name":"Ann","screen_name":"Ann_1","followers_count":262,"friends_count":252,
        "statuses_count":1769,"verified":false,"created_at":"Sat Feb 16 13:40:25 +0000 2013"},
        "extended_tweet":{"full_text":"I love the #Storm &lt;3 @Bob $abc https://t.co/a",
        "entities":{"hashtags":[{"text":"Storm"}],"symbols":[{"text":"abc"}],
        "urls":[{"url":"https://t.co/a","expanded_url":"https://www.example.co.uk/a"}],
        "user_mentions":[{"screen_name":"Bob","id_str":"8"}]},
        "extended_entities":{"media":[{"type":"photo"},{"type":"animated_gif"}]}},
        "entities":{"hashtags":[],"urls":[]},"retweet_count":3,"favorite_count":4,"reply_count":1,
        "quote_count":0,"lang":"en","timestamp_ms":"1562974837123",
        "received_at":"2019-07-12T23:40:40.5Z"}}"##,
        r##"stream "default"
        platform "x"
        post_id "1149834587453210625"
        created_at "2019-07-12T23:40:37.000000Z"
        received_at "2019-07-12T23:40:40.500000Z"
        author_id "7"
        author_handle "Ann_1"
        author_name "Ann"
        author_followers 262
        author_following 252
        author_posts 1769
        author_verified false
        author_created_at "2013-02-16T13:40:25.000000Z"
        lang "en"
        lang_source "given"
        text "I love the #Storm <3 @Bob $abc https://t.co/a"
        hashtags ["storm"]
        cashtags ["ABC"]
        mentions ["bob"]
        urls ["https://www.example.co.uk/a"]
        domains ["example.co.uk"]
        media ["photo","gif"]
        reply_to "5"
        quote_of "6"
        relation "quote"
        likes 4
        reposts 3
        replies 1
        quotes 0
        sentiment 0.7964
        terms ["love"]"##,
    );
}

#[test]
fn a_tweet_of_v2() {
    let members = r##""text":"#Storm over @Bob","created_at":"2024-01-15T10:35:00.000Z",
        "author_id":"7","conversation_id":"3","lang":"und","attachments":{"media_keys":["3_1","7_2"],
        "poll_ids":["9"]},"referenced_tweets":[{"type":"replied_to","id":"3"}],
        "entities":{"hashtags":[{"tag":"Storm"}],"mentions":[{"username":"Bob","id":"8"}],
        "urls":[{"url":"https://t.co/a","expanded_url":"https://x.com/a/photo/1","media_key":"3_1"},
        {"url":"https://t.co/b","expanded_url":"https://short.example/b",
        "unwound_url":"https://news.example.org/b"}]},"public_metrics":{"retweet_count":1,
        "reply_count":2,"like_count":3,"quote_count":4,"bookmark_count":5,"impression_count":6}"##;
    let includes = r#""includes":{"users":[{"id":"8","username":"Bob"},{"id":"7","username":"Ann",
        "name":"A","verified":true,"created_at":"2013-02-16T13:40:25.000Z","public_metrics":
        {"followers_count":1,"following_count":2,"tweet_count":3}}],
        "media":[{"media_key":"7_2","type":"video"}]}"#;
    let told = r##"stream "default"
        platform "x"
        post_id "10"
        created_at "2024-01-15T10:35:00.000000Z"
        author_id "7"
        author_handle "Ann"
        author_name "A"
        author_followers 1
        author_following 2
        author_posts 3
        author_verified true
        author_created_at "2013-02-16T13:40:25.000000Z"
        text "#Storm over @Bob"
        hashtags ["storm"]
        mentions ["bob"]
        urls ["https://news.example.org/b"]
        domains ["example.org"]
        media ["photo","video","poll"]
        reply_to "3"
        conversation_id "3"
        relation "reply"
        likes 3
        reposts 1
        replies 2
        quotes 4
        views 6
        bookmarks 5"##;
    check(&format!(r#"{{"tweet":{{"id":"10",{members},{includes}}}}}"#), told);
    check(&format!(r#"{{"tweet":{{"data":{{"id":"10",{members}}},{includes}}}}}"#), told);
    let renamed = members
        .replace("referenced_tweets", "referenced_posts")
        .replace("retweet_count", "repost_count");
    check(&format!(r#"{{"tweet":{{"id":"10",{renamed},{includes}}}}}"#), told);
}

#[test]
fn a_tweet_without_the_fields_that_have_to_be_asked_for() {
    check(
        r##"{"tweet":{"id":"1345434652891373571","text":"there was a #Storm in the night, says @Bob: http://Example.org/a."}}"##,
        r##"stream "default"
        platform "x"
        post_id "1345434652891373571"
        created_at "2021-01-02T18:19:52.873000Z"
        lang "en"
        lang_source "detected"
        text "there was a #Storm in the night, says @Bob: http://Example.org/a."
        hashtags ["storm"]
        mentions ["bob"]
        urls ["http://Example.org/a"]
        domains ["example.org"]
        relation "original"
        sentiment 0.0
        terms ["night"]"##,
    );
}

#[test]
fn a_repost_has_the_words_and_the_marks_of_what_it_reposts() {
    check(
        r##"{"tweet":{"id":"2","text":"RT @Ann: a st…","author_id":"7","created_at":"2024-01-15T10:35:00Z",
        "lang":"en","referenced_tweets":[{"type":"retweeted","id":"1"}],
        "entities":{"mentions":[{"username":"Ann"}]},
        "includes":{"tweets":[{"id":"1","text":"a storm #b","attachments":{"media_keys":["3_1"]},
        "entities":{"hashtags":[{"tag":"b"}]}}]}}}"##,
        r##"stream "default"
        platform "x"
        post_id "2"
        created_at "2024-01-15T10:35:00.000000Z"
        author_id "7"
        lang "en"
        lang_source "given"
        text "a storm #b"
        hashtags ["b"]
        mentions ["ann"]
        media ["photo"]
        repost_of "1"
        relation "repost"
        sentiment 0.0
        terms ["storm"]"##,
    );
}

#[test]
fn a_post_of_facebook() {
    check(
        r##"{"post":{"id":"12_34","message":"Der Sturm #Böe kam in der Nacht: https://fb.example/a","from":{"id":"12","name":"A Page"},
        "created_time":"2019-07-13T01:40:37+0200","message_tags":[{"id":"1","name":"Ann B"}],
        "shares":{"count":10},"comments":{"data":[],"summary":{"total_count":13}},
        "reactions":{"data":[],"summary":{"total_count":125}},"parent_id":"12_33",
        "attachments":{"data":[{"media_type":"link","url":"https://l.facebook.com/l.php?u=x",
        "unshimmed_url":"https://engineering.example.org/a"},
        {"media_type":"album","subattachments":{"data":[{"type":"photo"},{"type":"video"}]}}]}}}"##,
        r##"stream "default"
        platform "facebook"
        post_id "12_34"
        created_at "2019-07-12T23:40:37.000000Z"
        author_id "12"
        author_name "A Page"
        lang "de"
        lang_source "detected"
        text "Der Sturm #Böe kam in der Nacht: https://fb.example/a"
        hashtags ["böe"]
        mentions ["ann b"]
        urls ["https://fb.example/a","https://engineering.example.org/a"]
        domains ["fb.example","example.org"]
        media ["link-card","photo","video"]
        repost_of "12_33"
        relation "repost"
        likes 125
        reposts 10
        replies 13
        terms ["sturm","kam","nacht"]"##,
    );
}

#[test]
fn a_video_of_youtube() {
    check(
        r##"{"video":{"kind":"youtube#video","id":"abc-_DEF","snippet":{"publishedAt":"2019-07-12T23:40:37.000Z",
        "channelId":"UC-1","title":"Storm #live","description":"at https://example.org/b","channelTitle":"A Channel",
        "tags":["Rain","big storm"],"defaultLanguage":"en-GB"},
        "statistics":{"viewCount":"123","likeCount":"4"}}}"##,
        r##"stream "default"
        platform "youtube"
        post_id "abc-_DEF"
        created_at "2019-07-12T23:40:37.000000Z"
        author_id "UC-1"
        author_name "A Channel"
        lang "en"
        lang_source "given"
        text "Storm #live\nat https://example.org/b"
        hashtags ["live","rain"]
        urls ["https://example.org/b"]
        domains ["example.org"]
        media ["video"]
        relation "original"
        likes 4
        views 123
        sentiment 0.0
        terms ["storm"]"##,
    );
}

#[test]
fn an_event_of_bluesky() {
    check(
        r##"{"bsky":{"did":"did:plc:a","time_us":1783126923456789,"kind":"commit","commit":{"rev":"3r",
        "operation":"create","collection":"app.bsky.feed.post","rkey":"3k","record":{"$type":"app.bsky.feed.post",
        "text":"ü @Ann.bsky.social #Storm","createdAt":"1999-01-01T00:00:00Z","langs":["de-AT"],"tags":["Rain"],
        "facets":[{"index":{"byteStart":3,"byteEnd":19},"features":[{"did":"did:plc:b"}]},
        {"index":{"byteStart":20,"byteEnd":26},"features":[{"tag":"Storm"}]},
        {"index":{"byteStart":0,"byteEnd":99},"features":[{"did":"did:plc:c"}]}],
        "reply":{"root":{"uri":"at://r"},"parent":{"uri":"at://p"}},
        "embed":{"$type":"app.bsky.embed.recordWithMedia","record":{"record":{"uri":"at://q"}},
        "media":{"images":[{},{}]}}}}}}"##,
        r##"stream "default"
        platform "bluesky"
        post_id "at://did:plc:a/app.bsky.feed.post/3k"
        created_at "2026-07-04T01:02:03.456789Z"
        author_id "did:plc:a"
        lang "de"
        lang_source "given"
        text "ü @Ann.bsky.social #Storm"
        hashtags ["storm","rain"]
        mentions ["ann.bsky.social","did:plc:c"]
        media ["photo","photo"]
        reply_to "at://p"
        quote_of "at://q"
        conversation_id "at://r"
        relation "quote""##,
    );
    check(
        r##"{"bsky":{"did":"did:plc:a","time_us":1783126923456789,"kind":"commit","commit":{"rev":"3r",
        "operation":"create","collection":"app.bsky.feed.repost","rkey":"3k","record":{
        "$type":"app.bsky.feed.repost","subject":{"uri":"at://s"}}}}}"##,
        r##"stream "default"
        platform "bluesky"
        post_id "at://did:plc:a/app.bsky.feed.repost/3k"
        created_at "2026-07-04T01:02:03.456789Z"
        author_id "did:plc:a"
        repost_of "at://s"
        relation "repost""##,
    );
}

#[test]
fn a_toot() {
    check(
        r##"{"toot":{"id":"117","created_at":"2019-07-12T23:40:37.123Z","uri":"https://b.example/s/9","language":"en",
        "in_reply_to_id":"116","replies_count":1,"reblogs_count":2,"favourites_count":3,"quotes_count":4,
        "edited_at":"2020-01-01T00:00:00.000Z",
        "content":"<p>a <a href=\"https://b.example/tags/storm\" class=\"mention hashtag\">#<span>Storm</span></a> &amp; <a href=\"https://b.example/@d\" class=\"u-url mention\">@<span>d</span></a> <a class='x' href='https://news.example.org/?a=1&amp;b=2'>here</a>&hellip;</p>",
        "tags":[{"name":"Storm"}],"mentions":[{"acct":"D@e.example","username":"D"}],
        "media_attachments":[{"type":"image"},{"type":"gifv"},{"type":"audio"}],"poll":null,
        "card":{"url":"https://card.example.com/a"},
        "account":{"id":"5","acct":"ann","display_name":"Ann","uri":"https://b.example/users/ann","bot":true,
        "followers_count":7,"following_count":8,"statuses_count":9,"created_at":"2018-01-01T00:00:00.000Z"}}}"##,
        r##"stream "edits"
        platform "mastodon"
        post_id "https://b.example/s/9"
        created_at "2019-07-12T23:40:37.123000Z"
        edited_at "2020-01-01T00:00:00.000000Z"
        author_id "https://b.example/users/ann"
        author_handle "ann"
        author_name "Ann"
        author_followers 7
        author_following 8
        author_posts 9
        author_bot true
        author_created_at "2018-01-01T00:00:00.000000Z"
        lang "en"
        lang_source "given"
        text "\na #Storm & @d here…\n"
        hashtags ["storm"]
        mentions ["d@e.example"]
        urls ["https://news.example.org/?a=1&b=2","https://card.example.com/a"]
        domains ["example.org","example.com"]
        media ["photo","gif","audio","link-card"]
        reply_to "116"
        relation "reply"
        likes 3
        reposts 2
        replies 1
        quotes 4
        sentiment 0.0"##,
    );
}

#[test]
fn any_post_that_has_a_text() {
    check(
        "{\"note\":{\"text\":\"caf\u{65}\u{301} #Sol\\u0000\"}}",
        r##"stream "default"
        platform "note"
        text "café #Sol"
        hashtags ["sol"]
        relation "original"
        terms ["café"]"##,
    );
}

#[test]
fn deletions_and_gaps_pass_with_what_is_known() {
    check(
        r#"{"delete":{"kind":"toot","id":"117","instance":"b.example","created_at":"2019-07-12T23:40:37Z"}}"#,
        r#"stream "deletes"
        platform "mastodon"
        post_id "117"
        created_at "2019-07-12T23:40:37.000000Z"
        relation "original""#,
    );
    check(
        r#"{"gap":{"id":"g","kind":"tweet","why":"w","created_at":"2019-07-12T23:40:37Z"}}"#,
        r#"stream "gaps"
        platform "x"
        post_id "g"
        created_at "2019-07-12T23:40:37.000000Z"
        relation "original""#,
    );
}

#[test]
fn a_post_has_a_key_for_each_hashtag_term_domain_and_mention() {
    let json = r##"{"toot":{"id":"1","created_at":"2019-07-12T23:40:37Z","language":"en",
        "content":"Storm <a href=\"https://www.example.org/a\">x</a>","tags":[{"name":"Rain"}],
        "mentions":[{"acct":"ann"}]REFRESHED}}"##;
    let config = Features::default();
    let (_, keys, _) = told(post(&json.replace("REFRESHED", "")), &config);
    assert_eq!(keys, ["#rain", "storm", "example.org", "@ann"]);
    let (_, keys, _) = told(post(&json.replace("REFRESHED", r#","refreshed":"1h""#)), &config);
    assert!(keys.is_empty(), "a post that is read again says nothing new");
}

#[test]
fn options_leave_out_what_takes_time() {
    let json =
        r#"{"note":{"text":"The storm came over the sea in the night, and nobody loved it"}}"#;
    let given = Features { language: LanguageSource::Given, ..Features::default() };
    assert_eq!(told(post(json), &given).0["lang"], Value::Null);
    let unrated = Features { sentiment: false, ..Features::default() };
    let (features, ..) = told(post(json), &unrated);
    assert_eq!((&features["lang"], &features["sentiment"]), (&Value::from("en"), &Value::Null));
}

#[test]
fn the_stream_of_keys_has_the_types_that_are_asked_for() {
    let json = r##"{"note":{"text":"@ann: a storm #rain at https://www.example.org/a"}}"##;
    for (keys, expected) in [
        (vec![KeyType::Hashtag], vec!["#rain"]),
        (vec![KeyType::Mention, KeyType::Term, KeyType::Term], vec!["storm", "@ann"]),
        (vec![KeyType::Domain], vec!["example.org"]),
    ] {
        let config = Features { keys, ..Features::default() };
        let mut bolt = FeaturesBolt::new(&config, &[Fields::of_posts()]).unwrap();
        let post = post(json);
        // Nothing else is looked for where only the keys are taken.
        for needed in [NeededFeatures::ALL, bolt.needed_for_keys] {
            bolt.extractor.extract(&post, needed);
            let names = bolt
                .key_names()
                .flat_map(|(_, sign, names)| names.iter().map(move |name| format!("{sign}{name}")));
            assert_eq!(names.collect::<Vec<_>>(), expected, "{needed:?}");
        }
        assert!(bolt.extractor.lists.cashtags.is_empty());
    }
    let config = Features { keys: Vec::new(), ..Features::default() };
    let problems = config.streams(&[Fields::of_posts()]).unwrap_err();
    assert_eq!(problems[0].what, "expected at least one type of keys");
}

#[test]
fn posts_that_are_not_as_their_kind_should_be_are_counted() {
    let at = r#""created_at":"2019-07-12T23:40:37Z""#;
    for (json, has_drifted) in [
        (format!(r#"{{"tweet":{{"id":"1",{at}}}}}"#), false),
        (r#"{"tweet":{"id":"1"}}"#.into(), true),
        (format!(r#"{{"tweet":{{{at}}}}}"#), true),
        (r#"{"tweet":[]}"#.into(), true),
        (format!(r#"{{"thread":{{"id":"1",{at}}}}}"#), true),
        (r#"{"toot":{"id":"1","published":"2019-07-12T23:40:37Z"}}"#.into(), true),
        (r#"{"bsky":{"did":"d","time_us":1,"kind":"identity","identity":{}}}"#.into(), false),
        (r#"{"bsky":{"did":"d","time_us":1,"kind":"commit","commit":{}}}"#.into(), true),
        (r#"{"delete":{"status":{"id":1}}}"#.into(), false),
        (r#"{"delete":{"what":1}}"#.into(), true),
    ] {
        assert_eq!(told(post(&json), &Features::default()).2, has_drifted, "{json}");
    }
}

#[test]
fn an_input_without_posts_is_a_problem() {
    let problems =
        Features::default().streams(&[Fields::of_posts(), Fields::new(["pots"])]).unwrap_err();
    assert_eq!(problems[0].what, "expected a field \"post\", but an input declares \"pots\"");
    let streams = Features::default().streams(&[Fields::new(["post"])]).unwrap();
    assert_eq!(streams.id(KEYS), Some(KEYS_STREAM));
}

#[test]
fn a_time_has_six_digits_behind_the_second() {
    use time::macros::datetime;
    let told = |time| super::time(Some(time));
    assert_eq!(told(datetime!(0001-02-03 04:05:06 UTC)), "0001-02-03T04:05:06.000000Z".into());
    assert_eq!(
        told(datetime!(2019-12-31 23:59:59.999_999_9 +1)),
        "2019-12-31T22:59:59.999999Z".into()
    );
    assert_eq!(super::time(None), Value::Null);
}
