//! Recognises common contents of files that aren't posts, and suggests a command that turns them
//! into posts.

/// The number of bytes that are examined.
const LOOKED_AT_MAX: usize = 4_096;

/// The first bytes of compressed files, the name of the format, and the command that decompresses
/// them.
const PACKED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\xfd7zXZ", "xz", "xz -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
];

/// Describes bytes that aren't a post and the command to convert them, if they are recognised.
pub(crate) fn hint(bytes: &[u8]) -> Option<String> {
    if let Some((_, name, command)) = PACKED.iter().find(|(begins, ..)| bytes.starts_with(begins)) {
        return Some(format!("this is compressed with {name}: `{command}` writes its lines"));
    }
    let looked_at = &bytes[..bytes.len().min(LOOKED_AT_MAX)];
    let zeros = looked_at.iter().filter(|byte| **byte == 0).count();
    if bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || zeros > 0 && zeros * 4 >= looked_at.len()
    {
        return Some("this is UTF-16: `iconv -f UTF-16 -t UTF-8` converts it to UTF-8".into());
    }
    let text = looked_at.strip_prefix(b"\xef\xbb\xbf").unwrap_or(looked_at).trim_ascii();
    match text {
        [b'[', ..] => Some(
            "this is a JSON array: expected one post per line (NDJSON), which `jq -c '.[]'` gives; files of a lake \
             are read by LocalReplay"
                .into(),
        ),
        b"{" | [b'{', b' ', ..] if !text.contains(&b'}') => Some(over_lines()),
        [b'{', ..] => of_object(text),
        _ => None,
    }
}

fn over_lines() -> String {
    "this is an object over several lines: expected one post per line (NDJSON), which `jq -c .` gives".into()
}

/// Describes text that begins as an object.
fn of_object(text: &[u8]) -> Option<String> {
    let is_there = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    if text.starts_with(b"{\"data\":")
        && (is_there(b"\"includes\":") || is_there(b"\"meta\":") || is_there(b"\"paging\":"))
    {
        return Some(
            "this is a page of an API's results: expected one post per line (NDJSON), which `jq -c '.data[]'` gives"
                .into(),
        );
    }
    let follows = [&b"}{"[..], b"} {", b"},{", b"}\t{"].iter().any(|between| is_there(between));
    follows.then(|| {
        "if these are several objects without a line break between them: expected one post per line (NDJSON), which \
         `jq -c .` gives"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Post;
    use super::*;

    #[test]
    fn files_as_people_have_them_are_told_what_to_do_with_them() {
        let utf16: Vec<u8> = "{\"tweet\":{}}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, expected) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip -dc"),
            (b"\x28\xb5\x2f\xfd\x00", "zstd -dc"),
            (b"BZh91AY", "bzip2 -dc"),
            (b"\xff\xfe{\x00", "UTF-16"),
            (&utf16, "UTF-16"),
            (b"[{\"tweet\":{\"id\":1}}]", "jq -c '.[]'"),
            (b"{\"tweet\":{\"id\":1}}{\"tweet\":{\"id\":2}}", "one post per line"),
            (b"{\"data\":[{\"id\":\"1\"}],\"meta\":{}}", "jq -c '.data[]'"),
            (b"{", "over several lines"),
        ] {
            assert!(Post::check(bytes.to_vec().into()).is_err(), "{expected}");
            assert!(hint(bytes).is_some_and(|hint| hint.contains(expected)), "{expected}");
        }
        assert_eq!(hint(b"{\"tweet\":1} x"), None);
        assert_eq!(hint(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = hint(&bytes);
        }
    }
}
