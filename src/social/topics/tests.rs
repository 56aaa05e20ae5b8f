use bytes::Bytes;

use super::*;

fn post(json: &str) -> Post {
    Post::check(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

#[track_caller]
fn check(topic: &str, json: &str, matches: bool) {
    let topics = Topics::new(&[topic.parse().unwrap()]);
    assert_eq!(topics.want(&post(json)), matches, "{topic} in {json}");
}

fn tweet(text: &str) -> String {
    serde_json::json!({ "tweet": { "id": "1", "text": text } }).to_string()
}

#[test]
fn all_words_have_to_stand_there_whole_and_in_any_case() {
    check("rust lang", &tweet("The Lang called RUST!"), true);
    check("rust lang", &tweet("rusty language"), false);
    check("rust", &tweet("trust"), false);
    check("café", &tweet("CAFÉ."), true);
    check("嵐", &tweet("大嵐です"), true);
    check("\"rust lang\"", &tweet("a Rust lang."), true);
    check("\"rust lang\"", &tweet("rust and lang"), false);
    check("storm -rust", &tweet("a storm"), true);
    check("storm -rust", &tweet("a storm in rust"), false);
}

#[test]
fn signs_are_found_in_the_text_and_in_what_the_platform_says() {
    check("#storm", &tweet("it is #Storm, now"), true);
    check("#storm", &tweet("it is #stormy"), false);
    check("#storm", &tweet("storm"), false);
    check(
        "#storm",
        r#"{"tweet":{"entities":{"hashtags":[{"start":0,"end":3,"tag":"Storm"}]}}}"#,
        true,
    );
    check("#storm", r#"{"tweet":{"entities":{"hashtags":[{"text":"STORM"}]}}}"#, true);
    check("$tsla", &tweet("buy $TSLA"), true);
    check("@nws", &tweet("thanks @NWS!"), true);
    check("@nws", &tweet("mail me@nws.example"), false);
    check(
        "#storm",
        r#"{"toot":{"content":"<p>a <a href=\"x\">#<span>Storm</span></a></p>"}}"#,
        true,
    );
    check("#storm", r#"{"toot":{"content":"","tags":[{"name":"storm"}]}}"#, true);
    check("#storm", r#"{"video":{"snippet":{"title":"t","tags":["a","storm"]}}}"#, true);
    let facet = r##"{"bsky":{"did":"d","commit":{"record":{"text":"x","facets":[{"features":[{"tag":"storm"}]}]}}}}"##;
    check("#storm", facet, true);
}

#[test]
fn authors_languages_and_places_are_known_by_each_platforms_names() {
    let stream = r#"{"tweet":{"author_id":"7","lang":"en","includes":{"users":[{"id":"7","username":"NWS"}]}}}"#;
    check("from:nws", stream, true);
    check("from:7", stream, true);
    check("from:other", stream, false);
    check("lang:en from:@nws", stream, true);
    check("lang:de from:nws", stream, false);
    check("from:nws", r#"{"tweet":{"user":{"screen_name":"NWS"}}}"#, true);
    check(
        "from:did:plc:abc",
        r#"{"bsky":{"did":"did:plc:abc","commit":{"record":{"langs":["en-GB"]}}}}"#,
        true,
    );
    check(
        "lang:en from:did:plc:abc",
        r#"{"bsky":{"did":"did:plc:abc","commit":{"record":{"langs":["en-GB"]}}}}"#,
        true,
    );
    check("from:a@b.example", r#"{"toot":{"account":{"acct":"a@b.example"}}}"#, true);
    let page = Topic::try_from(Written::Place(Place::Page("12".into()))).unwrap();
    assert!(Topics::new(std::slice::from_ref(&page)).want(&post(r#"{"post":{"id":"12_34"}}"#)));
    assert!(!Topics::new(&[page]).want(&post(r#"{"post":{"id":"13_34"}}"#)));
    let channel = Topic::try_from(Written::Place(Place::Channel("UC-1".into()))).unwrap();
    assert!(Topics::new(&[channel]).want(&post(r#"{"video":{"snippet":{"channelId":"UC-1"}}}"#)));
}

#[test]
fn what_a_platform_matched_by_a_rule_has_that_topic() {
    check(
        "#storm",
        r##"{"tweet":{"text":"x","matching_rules":[{"id":"1","tag":"#storm"}]}}"##,
        true,
    );
    check(
        "#storm",
        r##"{"tweet":{"text":"x","matching_rules":[{"id":"1","tag":"waterspout:#storm"}]}}"##,
        true,
    );
    check(
        "#storm",
        r##"{"tweet":{"text":"x","matching_rules":[{"id":"1","tag":"waterspout~#storm"}]}}"##,
        false,
    );
    let topics = Topics::new(&["a".parse().unwrap(), "b".parse().unwrap(), "c".parse().unwrap()]);
    let value = topics.of(&post(r#"{"tweet":{"text":"c a"}}"#));
    let Value::List(names) = value else { panic!("no list") };
    assert_eq!(names.iter().filter_map(Value::as_text).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_topic_without_anything_to_look_for_is_refused() {
    for bad in ["", "  ", "-rust", "from:", "\"open", "\"\"", "#", "@"] {
        assert!(bad.parse::<Topic>().is_err(), "{bad}");
    }
}

#[test]
fn topics_are_read_from_ron_and_written_back() {
    let options = ron::Options::default();
    let read: Vec<Topic> =
        options.from_str(r##"["rust lang", "#storm", Page("12"), Channel("UC-1")]"##).unwrap();
    let names: Vec<_> = read.iter().map(Topic::name).collect();
    assert_eq!(names, ["rust lang", "#storm", "Page(12)", "Channel(UC-1)"]);
    let written = options.to_string(&read).unwrap();
    assert_eq!(options.from_str::<Vec<Topic>>(&written).unwrap(), read, "{written}");
}
