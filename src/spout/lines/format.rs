//! Recognises the format of a file by its first bytes: lines, compressed lines, or another known
//! format.

/// The number of bytes at the beginning of a file that are examined. More would recognise a page of
/// results in a single line of over one megabyte, but each file costs a read at the start.
pub(super) const SNIFFED_BYTES: usize = 64 << 10;

/// The format of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines, as far as the beginning shows.
    Lines,
    Gzip,
    Zstd,
    /// Another format: its name, the position at which it was recognised, and what to do.
    Other(String),
}

/// The first bytes of other formats, with their names and the programs that decompress or convert
/// them.
const OTHERS: [(&[u8], &str, &str); 9] = [
    (b"\xff\xfe\x00\x00", "UTF-32 text", "iconv -f UTF-32 -t UTF-8 FILE"),
    (b"\xff\xfe", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE"),
    (b"{\x00", "UTF-16 text", "iconv -f UTF-16LE -t UTF-8 FILE"),
    (b"\x00{", "UTF-16 text", "iconv -f UTF-16BE -t UTF-8 FILE"),
    (b"\xfd7zXZ\x00", "an xz file", "xz -dc FILE"),
    (b"BZh", "a bzip2 file", "bzip2 -dc FILE"),
    (b"PK\x03\x04", "a zip file", "unzip -p FILE"),
    (b"PAR1", "a Parquet file", "duckdb -c \"COPY (FROM 'FILE') TO 'FILE.ndjson'\""),
];

/// Recognises the format of a file. `is_whole` is true if the head is the whole file; `has_kind` is
/// true if a line may be any object.
pub(super) fn sniff(head: &[u8], is_whole: bool, has_kind: bool) -> Format {
    if head.starts_with(b"\x1f\x8b") {
        return Format::Gzip;
    }
    if head.starts_with(b"\x28\xb5\x2f\xfd") {
        return Format::Zstd;
    }
    for (magic, name, command) in OTHERS {
        if head.starts_with(magic) {
            return other(name, 1, command);
        }
    }
    let mark = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let blank = head[mark..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let begin = mark + blank;
    let text = &head[begin..];
    let (name, command) = match text.first() {
        Some(b'[') if is_array(text, is_whole) => ("a JSON array", "jq -c '.[]' FILE".to_owned()),
        Some(b'{') => match object(text, is_whole, has_kind) {
            Some(found) => found,
            None => return Format::Lines,
        },
        _ => return Format::Lines,
    };
    other(name, begin + 1, &command)
}

fn other(name: &str, byte: usize, command: &str) -> Format {
    Format::Other(format!(
        "it is {name} (from byte {byte}): expected a JSON object on each line, as `{command}` makes them"
    ))
}

/// Returns true for an array that isn't only a bad line among other lines.
fn is_array(text: &[u8], is_whole: bool) -> bool {
    let value = Value::of(text);
    let Some(end) = value.end else {
        return value.breaks || is_whole || text.len() >= SNIFFED_BYTES / 2;
    };
    value.breaks || text[1..].trim_ascii_start().starts_with(b"{") && is_blank(&text[end..])
}

/// Returns the format of a text that begins with an object, if it isn't lines.
fn object(text: &[u8], is_whole: bool, has_kind: bool) -> Option<(&'static str, String)> {
    let value = Value::of(text);
    let line_ends = text.iter().position(|byte| *byte == b'\n');
    let page = value
        .array
        .as_deref()
        .map(|key| ("a page of results", format!("jq -c '.[\"{key}\"][]' FILE")));
    if value.breaks {
        let second = line_ends.map(|at| &text[at + 1..]).unwrap_or_default();
        let second = second.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // The first line is the end of a cut one, and whole lines follow.
        if Value::of(second).end.is_some_and(|end| is_blank(&second[end..]))
            && second.starts_with(b"{")
        {
            return None;
        }
        return page.or_else(|| Some(("JSON over several lines", "jq -c . FILE".into())));
    }
    let end = value.end?;
    let rest = text[end..].trim_ascii_start();
    let is_only_line = line_ends.is_none_or(|at| is_blank(&text[at..]));
    if rest.starts_with(b"{") && line_ends.is_none_or(|at| end < at) && is_only_line {
        return Some(("JSON objects without line breaks between them", "jq -c . FILE".into()));
    }
    page.filter(|_| !has_kind && is_whole && is_blank(rest))
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

/// The first JSON value of a text, as far as its brackets and strings show.
struct Value {
    /// Its end, if the text contains it.
    end: Option<usize>,
    /// True if a line ends within the value.
    breaks: bool,
    /// The first member of the outermost object that is an array of objects.
    array: Option<String>,
}

impl Value {
    fn of(text: &[u8]) -> Self {
        let mut value = Self { end: None, breaks: false, array: None };
        let (mut depth, mut at) = (0_usize, 0);
        let mut string = 0..0;
        while at < text.len() {
            match text[at] {
                b'"' => {
                    let Some(end) = end_of_string(text, at) else { return value };
                    string = at + 1..end;
                    at = end;
                }
                b'{' => depth += 1,
                b'[' => {
                    let opens_object = text[at + 1..].trim_ascii_start().starts_with(b"{");
                    if depth == 1 && text[0] == b'{' && opens_object && value.array.is_none() {
                        value.array =
                            Some(String::from_utf8_lossy(&text[string.clone()]).into_owned());
                    }
                    depth += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        value.end = Some(at + 1);
                        return value;
                    }
                }
                b'\n' => value.breaks = true,
                _ => {}
            }
            at += 1;
        }
        value
    }
}

/// Returns the end of the string that begins at a quote, on the same line.
fn end_of_string(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], is_whole: bool, expected: Option<&str>) {
        let found = sniff(head, is_whole, false);
        match (found, expected) {
            (Format::Lines, None) => {}
            (Format::Other(what), Some(expected)) => assert!(what.contains(expected), "{what}"),
            (found, _) => panic!("{}: {found:?}", head.escape_ascii()),
        }
    }

    #[test]
    fn what_is_not_lines_is_named_with_what_to_do() {
        check(b"\xff\xfe{\x00", true, Some("UTF-16 text (from byte 1)"));
        check(b"{\x00\"\x00", true, Some("iconv -f UTF-16LE"));
        check(b"\xfd7zXZ\x00..", true, Some("xz -dc FILE"));
        check(b"[{\"a\":{}},{\"a\":{}}]", true, Some("`jq -c '.[]' FILE`"));
        check(
            b"\xef\xbb\xbf \n[\n{\"a\":{}},\n{\"a\":{}}\n]\n",
            true,
            Some("a JSON array (from byte 6)"),
        );
        check(b"[\n{\"a\":{}}\n,{\"a\":{}}", false, Some("a JSON array"));
        check(b"{\"data\":[{\"id\":1}],\"meta\":{}}\n", true, Some("a page of results"));
        check(b"{\n \"meta\": {},\n \"items\": [\n {", false, Some("jq -c '.[\"items\"][]' FILE"));
        check(b"{\n  \"tweet\": {\n  }\n}\n", true, Some("JSON over several lines"));
        check(b"{\"a\":{}}{\"a\":{}}", true, Some("without line breaks"));
        check(b"{\"a\":{}} {\"a\":{}}\n", true, Some("without line breaks"));
        assert_eq!(sniff(b"\x1f\x8b\x08", false, false), Format::Gzip);
        assert_eq!(sniff(b"\x28\xb5\x2f\xfd", false, false), Format::Zstd);
    }

    #[test]
    fn bad_lines_among_others_are_lines() {
        for head in [
            &b""[..],
            b"hello",
            b"[1]\n{\"a\":{}}\n",
            b"[1]",
            b"{\"a\":{\"b\":\"[{\\\"\"}}\n{\"a\":{}}\n",
            b"{\"tweet\":{\"id\":1,\"text\":\"cu\n{\"tweet\":{\"id\":2}}\n",
            b"{\"tweet\":{\"urls\":[{\"a\":1}]}}\n",
            b"{\"tweet\":{\"urls\":[{\"a\":1}]}",
            b"{\"a\":{}}{\"a\":{}}\n{\"a\":{}}\n",
        ] {
            check(head, true, None);
        }
        assert_eq!(sniff(b"{\"data\":[{\"id\":1}]}\n", true, true), Format::Lines);
    }
}
