use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn check(line: impl Into<Vec<u8>>) -> Result<Post, String> {
    Post::check(Bytes::from(line.into()))
}

fn refused(line: impl Into<Vec<u8>>) -> String {
    check(line).expect_err("this is no post")
}

/// Makes a post of this depth: its own object, and arrays under its key.
fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn a_post_comes_out_byte_for_byte_as_it_came_in() {
    for line in [
        r#"{"tweet":{"text":"ab","id":1150000000000000001}}"#,
        r#"{ "tweet" : { "n" : [ -0.0 , 1e999 , 1.50E+3 , 123456789012345678901234567890 ] } }"#,
        r#"{"a":"\ud800 \udfff\u0000 \" \\ \/ \b\f\n\r\t"}"#,
        "{\"日本\":\"Ünïcödé 🦀\"}",
        "{\t\"a\":\t\"\u{7f}\u{2028}\"}",
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"":[true,false,null,"",{},[]]}"#,
        r#"{"a":{"b":1,"b":2}}"#,
    ] {
        assert_eq!(check(line).unwrap().as_bytes(), line.as_bytes());
    }
}

#[test]
fn white_space_around_a_post_is_cut_off_without_a_copy() {
    let line = Bytes::from_static(b" \t\r\n{\"a\": 1}\r\n");
    let post = Post::check(line.clone()).unwrap();
    assert_eq!(&post[..], b"{\"a\": 1}");
    assert_eq!(post.as_ptr(), line[4..].as_ptr());
}

#[test]
fn line_breaks_between_the_elements_become_spaces() {
    assert_eq!(&check("{\r\n\"a\"\n:\r[1,\n2]\n}\n").unwrap()[..], b"{  \"a\" : [1, 2] }");
    assert_eq!(
        &Post::wrap("k", b"\n{\n\"a\": \"\\n\"}\n").unwrap()[..],
        b"{\"k\":{ \"a\": \"\\n\"}}"
    );
}

#[test]
fn whatever_is_no_object_is_named() {
    assert_eq!(refused("[1]"), "expected an object, found an array");
    assert_eq!(refused(" \"a\""), "expected an object, found a string");
    assert_eq!(refused("-1"), "expected an object, found a number");
    assert_eq!(refused("hello"), "expected an object, found \"h\"");
    assert_eq!(refused(" "), "expected an object, found the end");
    assert_eq!(refused(b"\xff\xfe{"), "expected an object, found byte 0xff");
}

#[test]
fn exactly_one_key_names_the_kind() {
    assert_eq!(refused("{}"), "expected one key that names the kind, found none at byte 2");
    assert_eq!(
        refused(r#"{"a":1,"b":2}"#),
        "expected one key that names the kind, found more at byte 7"
    );
    assert_eq!(
        refused(r#"{"a":1,"a":2}"#),
        "expected one key that names the kind, found more at byte 7"
    );
}

#[test]
fn bad_json_is_refused_with_its_position() {
    for (line, what) in [
        ("{\"a\":1", "expected \"}\" at byte 7, found the end"),
        ("{\"a\":1}x", "expected nothing more at byte 8, found \"x\""),
        ("{\"a\":1}{\"a\":1}", "expected nothing more at byte 8, found \"{\""),
        ("{\"a\":1,}", "expected one key that names the kind, found more at byte 7"),
        ("{\"a\":[1,]}", "expected a value at byte 9, found \"]\""),
        ("{\"a\":[1}", "expected \",\" or \"]\" at byte 8, found \"}\""),
        ("{\"a\":{\"b\":1]}", "expected \",\" or \"}\" at byte 12, found \"]\""),
        ("{\"a\":{\"b\":1,}}", "expected a key in quotes at byte 13, found \"}\""),
        ("{\"a\" 1}", "expected \":\" at byte 6, found \"1\""),
        ("{a:1}", "expected a key in quotes at byte 2, found \"a\""),
        ("{\"a", "expected the end of a string at byte 4, found the end"),
        ("{\"a\":\"\\x\"}", "expected an escape at byte 8, found \"x\""),
        ("{\"a\":\"\\u12g4\"}", "expected a hexadecimal digit at byte 11, found \"g\""),
        ("{\"a\":\"\u{1}\"}", "control character in a string at byte 7"),
        ("{\"a\":\"0123456\n89\"}", "control character in a string at byte 14"),
        ("{\"a\":01}", "expected \"}\" at byte 7, found \"1\""),
        ("{\"a\":1.}", "expected a digit at byte 8, found \"}\""),
        ("{\"a\":-}", "expected a digit at byte 7, found \"}\""),
        ("{\"a\":1e+}", "expected a digit at byte 9, found \"}\""),
        ("{\"a\":nul}", "expected a value at byte 6, found \"n\""),
        ("{\"a\":NaN}", "expected a value at byte 6, found \"N\""),
        ("{\"a\":\u{a0}1}", "expected a value at byte 6, found byte 0xc2"),
    ] {
        assert_eq!(refused(line), what, "{line}");
    }
}

#[test]
fn invalid_utf_8_is_refused_wherever_it_stands() {
    for bad in
        [&b"\x80"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe6\x97", b"\xff"]
    {
        for length in 0..20 {
            let before = "x".repeat(length);
            let line = [b"{\"a\":\"", before.as_bytes(), bad, b"\"}"].concat();
            assert_eq!(refused(line), format!("not UTF-8 at byte {}", 7 + length));
            let key = [b"{\"", before.as_bytes(), bad, b"\":0}"].concat();
            assert_eq!(refused(key), format!("not UTF-8 at byte {}", 3 + length));
        }
    }
}

#[test]
fn a_post_is_nested_at_most_128_deep_and_a_million_brackets_need_no_stack() {
    assert!(check(nested(DEPTH_MAX)).is_ok());
    assert_eq!(refused(nested(DEPTH_MAX + 1)), "nested too deep at byte 133");
    assert_eq!(refused(nested(1_000_000)), "nested too deep at byte 133");
    assert_eq!(
        refused(format!("{{\"a\":{}", "[".repeat(1_000_000))),
        "nested too deep at byte 133"
    );
    assert!(refused("{\"a\":".repeat(1_000_000)).starts_with("nested too deep"));
    let wide = format!("{{\"a\":[{}0]}}", "[],{},".repeat(1_000));
    assert!(check(wide).is_ok());
}

#[test]
fn wrapping_takes_any_object_and_counts_as_a_level() {
    assert_eq!(&Post::wrap("log \"x\"", b" {} ").unwrap()[..], br#"{"log \"x\"":{}}"#);
    assert_eq!(&Post::wrap("log", br#"{"a":1,"b":2}"#).unwrap()[..], br#"{"log":{"a":1,"b":2}}"#);
    assert!(Post::wrap("log", nested(DEPTH_MAX - 1).as_bytes()).is_ok());
    assert!(Post::wrap("log", nested(DEPTH_MAX).as_bytes()).is_err());
    assert_eq!(Post::wrap("log", b"[1]").unwrap_err(), "expected an object, found an array");
    assert_eq!(
        Post::wrap("log", b"{\"a\":1").unwrap_err(),
        "expected \",\" or \"}\" at byte 7, found the end"
    );
}

/// Generates any JSON, with the numbers and the white space that people and programs write.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| serde_json::to_string(&number).expect("a number")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text")),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let member = (any::<String>(), inner.clone()).prop_map(|(key, value)| {
            format!("{}: {value}", serde_json::to_string(&key).expect("a text"))
        });
        prop_oneof![
            prop::collection::vec(inner, 0..6)
                .prop_map(|values| format!("[{}]", values.join(" ,"))),
            prop::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{ {}}}", members.join(","))),
        ]
    })
}

/// Returns the result that `check` must have, according to serde_json. (These inputs aren't nested
/// more deeply than it accepts, and have no numbers that it refuses because they don't fit any
/// type.)
fn is_a_post(line: &[u8]) -> bool {
    let one_key = |text: &str| serde_json::from_str::<OneKey>(text).is_ok();
    serde_json::from_slice::<Value>(line).is_ok() && std::str::from_utf8(line).is_ok_and(one_key)
}

/// A count of keys before duplicates are merged.
struct OneKey;

impl<'de> serde::Deserialize<'de> for OneKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> serde::de::Visitor<'de> for Keys {
            type Value = OneKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one key")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<OneKey, A::Error> {
                let mut keys = 0;
                while map.next_entry::<String, serde::de::IgnoredAny>()?.is_some() {
                    keys += 1;
                }
                if keys == 1 {
                    Ok(OneKey)
                } else {
                    Err(serde::de::Error::invalid_length(keys, &self))
                }
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

proptest! {
    #[test]
    fn every_object_with_one_key_is_taken_as_it_is(key: String, value in json()) {
        let line = format!("{{{}:{value}}}", serde_json::to_string(&key).expect("a text"));
        prop_assert_eq!(check(line.clone()).map(|post| post.to_vec()), Ok(line.into_bytes()));
    }

    #[test]
    fn a_damaged_line_is_taken_only_if_serde_json_takes_it_too(
        key: String, value in json(), at: prop::sample::Index, byte in prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:0\\ \n".to_vec())], how in 0..3,
    ) {
        let mut line = format!("{{{}:{value}}}", serde_json::to_string(&key).expect("a text")).into_bytes();
        let at = at.index(line.len());
        match how {
            0 => line[at] = byte,
            1 => line.insert(at, byte),
            _ => line.truncate(at),
        }
        // `Value` refuses a number beyond the range of f64, which a mutated exponent may give, and
        // half of a surrogate pair.
        let serde_only = serde_json::from_slice::<Value>(&line).err().map(|error| error.to_string());
        prop_assume!(!serde_only.is_some_and(|e| e.contains("out of range") || e.contains("surrogate") || e.contains("hex escape")));
        prop_assert_eq!(check(line.clone()).is_ok(), is_a_post(&line), "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn any_bytes_at_all_give_an_answer(line: Vec<u8>, brackets in "[\\[\\]{}\",:0-9a\\\\u ]{0,64}") {
        prop_assert_eq!(check(line.clone()).is_ok(), is_a_post(&line));
        let line = format!("{{\"a\":{brackets}}}").into_bytes();
        let _ = check(line);
    }
}
