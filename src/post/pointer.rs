//! Parses JSON pointers (RFC 6901), and finds the values of many of them in one pass.

use super::fields::string;
use super::skip::Skip;

/// A key of a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointerKey {
    name: String,
    /// The index in a list that the key stands for.
    index: Option<usize>,
}

/// Parses a JSON pointer: keys with a slash in front of each, in which `~1` is a slash and `~0` a
/// tilde. The empty pointer, which would mean the whole post, isn't accepted: the field `post` has
/// that.
///
/// # Errors
/// If the pointer is malformed: the error says why, and at which character.
pub(crate) fn parse_pointer(pointer: &str) -> Result<Vec<PointerKey>, String> {
    if pointer.is_empty() {
        return Err(
            "expected a JSON pointer such as \"/tweet/user/id_str\", found \"\"; the whole \
                    post is the field \"post\""
                .into(),
        );
    }
    let Some(keys) = pointer.strip_prefix('/') else {
        return Err(format!(
            "expected a JSON pointer, which begins with \"/\", such as \"/tweet/user/id_str\"; \
             found \"{pointer}\""
        ));
    };
    let mut place = 1;
    let mut parsed = Vec::new();
    for key in keys.split('/') {
        parsed.push(parse_key(key).map_err(|at| {
            format!(
                "bad JSON pointer \"{pointer}\": expected ~0 (a tilde) or ~1 (a slash) at \
                 character {}",
                place + at + 1
            )
        })?);
        place += key.chars().count() + 1;
    }
    Ok(parsed)
}

/// Parses one key. The error is the position of the flaw.
fn parse_key(key: &str) -> Result<PointerKey, usize> {
    let mut name = String::with_capacity(key.len());
    let mut characters = key.chars().enumerate();
    while let Some((at, character)) = characters.next() {
        name.push(match character {
            '~' => match characters.next() {
                Some((_, '0')) => '~',
                Some((_, '1')) => '/',
                _ => return Err(at),
            },
            other => other,
        });
    }
    // According to RFC 6901, "01" isn't an index.
    let is_index = name == "0" || (!name.starts_with('0') && !name.starts_with('+'));
    let index = if is_index { name.parse().ok() } else { None };
    Ok(PointerKey { name, index })
}

/// Pointers as a tree, which shares their common beginnings.
#[derive(Default)]
pub(crate) struct PointerTree {
    root: PointerNode,
    slots: usize,
}

#[derive(Default)]
struct PointerNode {
    /// The pointers that end here.
    slots: Vec<usize>,
    below: Vec<(PointerKey, PointerNode)>,
}

/// The end of a search.
enum Ended {
    /// All pointers have their values.
    AllFound,
    /// The JSON isn't well-formed.
    Flawed,
}

/// A search in progress.
struct Search<'a, F> {
    json: &'a [u8],
    skip: Skip<'a>,
    missing: usize,
    found: F,
}

impl PointerTree {
    /// Adds a pointer, whose value is reported with this number.
    pub(crate) fn add(&mut self, keys: Vec<PointerKey>, slot: usize) {
        let mut node = &mut self.root;
        for key in keys {
            let known = node.below.iter().position(|(other, _)| *other == key);
            let at = known.unwrap_or_else(|| {
                node.below.push((key, PointerNode::default()));
                node.below.len() - 1
            });
            node = &mut node.below[at].1;
        }
        node.slots.push(slot);
        self.slots = self.slots.max(slot + 1);
    }

    /// Returns the number of values to report.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Calls `found` with the number of each pointer that has a value in checked JSON, and with the
    /// value. Reads each byte at most once, and none after the last value.
    pub(crate) fn find<'a>(&self, json: &'a [u8], found: impl FnMut(usize, &'a [u8])) {
        let mut search = Search { json, skip: Skip::new(json), missing: self.slots, found };
        // In a checked post, the search only ends because everything was found.
        let _ = search.value(&self.root);
    }
}

impl<'a, F: FnMut(usize, &'a [u8])> Search<'a, F> {
    /// Moves past a value, and searches it for the values of a node.
    fn value(&mut self, node: &PointerNode) -> Result<(), Ended> {
        let first = self.skip.space();
        let start = self.skip.at;
        match first {
            Some(b'{') if !node.below.is_empty() => self.object(node)?,
            Some(b'[') if !node.below.is_empty() => self.list(node)?,
            _ => self.skip.value().ok_or(Ended::Flawed)?,
        }
        for slot in &node.slots {
            (self.found)(*slot, &self.json[start..self.skip.at]);
            self.missing -= 1;
        }
        if self.missing == 0 { Err(Ended::AllFound) } else { Ok(()) }
    }

    fn object(&mut self, node: &PointerNode) -> Result<(), Ended> {
        // If a key occurs twice, the first one counts.
        let mut seen = vec![false; node.below.len()];
        let mut before = b'{';
        loop {
            match self.skip.space() {
                Some(b'}') => break,
                Some(byte) if byte == before => self.skip.at += 1,
                _ => return Err(Ended::Flawed),
            }
            if before == b'{' && self.skip.space() == Some(b'}') {
                break;
            }
            before = b',';
            let key = self.skip.key().ok_or(Ended::Flawed)?;
            let wanted = node.below.iter().position(|(wanted, _)| is_key(key, &wanted.name));
            match wanted.filter(|at| !std::mem::replace(&mut seen[*at], true)) {
                Some(at) => self.value(&node.below[at].1)?,
                None => self.skip.value().ok_or(Ended::Flawed)?,
            }
        }
        self.skip.at += 1;
        Ok(())
    }

    fn list(&mut self, node: &PointerNode) -> Result<(), Ended> {
        let mut before = b'[';
        for index in 0.. {
            match self.skip.space() {
                Some(b']') => break,
                Some(byte) if byte == before => self.skip.at += 1,
                _ => return Err(Ended::Flawed),
            }
            if before == b'[' && self.skip.space() == Some(b']') {
                break;
            }
            before = b',';
            match node.below.iter().find(|(key, _)| key.index == Some(index)) {
                Some((_, below)) => self.value(below)?,
                None => self.skip.value().ok_or(Ended::Flawed)?,
            }
        }
        self.skip.at += 1;
        Ok(())
    }
}

/// Returns true if a key as written in JSON equals this name.
fn is_key(written: &[u8], name: &str) -> bool {
    if !written.contains(&b'\\') {
        return written == name.as_bytes();
    }
    let quoted = [b"\"", written, b"\""].concat();
    string(&quoted).is_some_and(|decoded| decoded == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Returns the values that a search finds for pointers, as text.
    fn found(json: &str, pointers: &[&str]) -> Vec<Option<String>> {
        let mut tree = PointerTree::default();
        for (slot, pointer) in pointers.iter().enumerate() {
            tree.add(parse_pointer(pointer).unwrap(), slot);
        }
        let mut values = vec![None; pointers.len()];
        tree.find(json.as_bytes(), |slot, value| {
            assert!(values[slot].is_none(), "{json}: {} is reported twice", pointers[slot]);
            values[slot] = Some(String::from_utf8(value.to_vec()).unwrap());
        });
        values
    }

    #[track_caller]
    fn check(json: &str, pointer: &str, expected: Option<&str>) {
        assert_eq!(found(json, &[pointer])[0].as_deref(), expected, "{pointer} in {json}");
    }

    #[test]
    fn values_are_found_at_their_pointers() {
        let json = r#"{ "t" : { "a": [1, {"b": "x"}, [] ], "a/b": 2, "m~n": {}, "": 3 } }"#;
        check(json, "/t/a/0", Some("1"));
        check(json, "/t/a/1/b", Some("\"x\""));
        check(json, "/t/a/2", Some("[]"));
        check(json, "/t/a/3", None);
        check(json, "/t/a/01", None);
        check(json, "/t/a/b", None);
        check(json, "/t/a~1b", Some("2"));
        check(json, "/t/m~0n", Some("{}"));
        check(json, "/t/", Some("3"));
        check(json, "/t/a", Some(r#"[1, {"b": "x"}, [] ]"#));
        check(r#"{"t":{}}"#, "/t/a", None);
        check(r#"{"t":[]}"#, "/t/0", None);
        check(r#"{"t":1}"#, "/t/0/1", None);
    }

    #[test]
    fn the_first_of_two_keys_counts_however_it_is_written() {
        check(r#"{"t":{"a":1,"a":2}}"#, "/t/a", Some("1"));
        check(r#"{"t":{"\u0061":1,"a":2}}"#, "/t/a", Some("1"));
        check(r#"{"t":{"a":{"x":1},"a":{"b":2}}}"#, "/t/a/b", None);
    }

    #[test]
    fn pointers_that_share_keys_are_all_found() {
        let json = r#"{"t":{"a":{"b":1,"c":2},"d":3}}"#;
        let pointers = ["/t/a/c", "/t/d", "/t/a", "/t/a/b", "/t/x", "/t/a"];
        let values = found(json, &pointers);
        let expected = [
            Some("2"),
            Some("3"),
            Some(r#"{"b":1,"c":2}"#),
            Some("1"),
            None,
            Some(r#"{"b":1,"c":2}"#),
        ];
        assert_eq!(values, expected.map(|value| value.map(String::from)));
    }

    #[test]
    fn a_bad_pointer_is_told_with_its_place() {
        let flaw = |pointer: &str| parse_pointer(pointer).unwrap_err();
        assert!(flaw("").contains("the whole post is the field \"post\""), "{}", flaw(""));
        assert!(flaw("tweet/id").contains("begins with \"/\""), "{}", flaw("tweet/id"));
        assert_eq!(
            flaw("/tweet/é~2"),
            "bad JSON pointer \"/tweet/é~2\": expected ~0 (a tilde) or ~1 (a slash) at character 9"
        );
        assert!(flaw("/a~").ends_with("at character 3"), "{}", flaw("/a~"));
    }

    /// Generates JSON with few keys, so that pointers often find a value.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let key = prop_oneof!["[ab~/]", Just("\"\u{e9}\n".to_owned()), "[0-2]"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pointers_find_what_serde_json_finds(
            json in any_json(),
            keys in prop::collection::vec(
                prop::collection::vec(
                    prop_oneof!["[ab]", "[0-2]", Just("~0".to_owned()), Just("\"é\n".to_owned())],
                    1..4,
                ),
                1..5,
            ),
            spaces: bool,
        ) {
            let pointers: Vec<_> = keys.iter().map(|keys| format!("/{}", keys.join("/"))).collect();
            let text = if spaces { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
            let text = text.unwrap();
            let values = found(&text, &pointers.iter().map(String::as_str).collect::<Vec<_>>());
            for (pointer, value) in pointers.iter().zip(values) {
                let value: Option<Value> = value.map(|value| serde_json::from_str(&value).unwrap());
                prop_assert_eq!(value.as_ref(), json.pointer(pointer), "{} in {}", pointer, &text);
            }
        }
    }
}
