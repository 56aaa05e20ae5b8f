//! Skips values of checked JSON: since the JSON is known to be well-formed, only quotes and
//! brackets are looked at, for a third of the cost of a check.

use super::marks::{BLOCK_BYTES, Marks, inside_quotes};

const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Returns a word with a bit set in the first byte of the (little-endian) `word` that is a quote or
/// a backslash. Bytes after the first one may be marked by mistake.
#[inline(always)]
fn quotes_and_backslashes(word: u64) -> u64 {
    let equals = |byte: u8| {
        let difference = word ^ (LOW_BITS * u64::from(byte));
        difference.wrapping_sub(LOW_BITS) & !difference
    };
    (equals(b'"') | equals(b'\\')) & HIGH_BITS
}

/// A position in checked JSON, which moves past whole syntactic elements. In malformed text it
/// moves to an arbitrary place, but doesn't panic.
pub(super) struct Skip<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Skip<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Moves past white space, and returns the next byte without taking it.
    #[inline(always)]
    pub(crate) fn space(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    /// Moves past `"key" :`, and returns the bytes between the quotes.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<&'a [u8]> {
        if self.space()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        self.string()?;
        let key = &self.bytes[start..self.at - 1];
        if self.space()? != b':' {
            return None;
        }
        self.at += 1;
        Some(key)
    }

    /// Moves past one value.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Option<()> {
        match self.space()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => self.scalar(),
        }
    }

    /// Moves past a string, from quote to quote.
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..)?;
            if let Some(word) = rest.first_chunk() {
                let stops = quotes_and_backslashes(u64::from_le_bytes(*word));
                if stops == 0 {
                    self.at += 8;
                    continue;
                }
                self.at += stops.trailing_zeros() as usize / 8;
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Moves past an object or a list, by blocks as long as there are whole ones.
    fn nested(&mut self) -> Option<()> {
        self.at += 1;
        let mut nesting = Nesting { depth: 1, is_in_string: false };
        while let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let marks = Marks::of(block);
            if marks.backslashes != 0 {
                if self.walk(&mut nesting, self.at + BLOCK_BYTES) {
                    return Some(());
                }
                continue;
            }
            let is_in_string = nesting.is_in_string;
            let inside = inside_quotes(marks.quotes) ^ if is_in_string { u64::MAX } else { 0 };
            let (opens, closes) = (marks.opens & !inside, marks.closes & !inside);
            let (opened, closed) = (opens.count_ones() as usize, closes.count_ones() as usize);
            if closed < nesting.depth {
                nesting.depth += opened;
                nesting.depth -= closed;
            } else if let Some(length) = nesting.end_among(opens, closes) {
                self.at += length;
                return Some(());
            }
            nesting.is_in_string = inside >> (BLOCK_BYTES - 1) != 0;
            self.at += BLOCK_BYTES;
        }
        self.walk(&mut nesting, self.bytes.len()).then_some(())
    }

    /// Moves on byte by byte until the nesting ends or this position is reached. Returns true at
    /// the end of the nesting.
    fn walk(&mut self, nesting: &mut Nesting, until: usize) -> bool {
        while self.at < until
            && let Some(byte) = self.peek()
        {
            self.at += 1;
            match byte {
                b'"' => nesting.is_in_string = !nesting.is_in_string,
                b'\\' if nesting.is_in_string => self.at += 1,
                _ if nesting.is_in_string => {}
                b'{' | b'[' => nesting.depth += 1,
                b'}' | b']' => {
                    nesting.depth -= 1;
                    if nesting.depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Moves past a number, `true`, `false` or `null`.
    #[inline(always)]
    fn scalar(&mut self) -> Option<()> {
        if !matches!(self.peek()?, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') {
            return None;
        }
        while let Some(byte) = self.peek()
            && !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
        {
            self.at += 1;
        }
        Some(())
    }
}

/// A position within an object or a list.
struct Nesting {
    /// The number of brackets that are open, at least 1.
    depth: usize,
    is_in_string: bool,
}

impl Nesting {
    /// Follows the brackets of a block. Returns the number of bytes up to the end of the nesting,
    /// if it ends in the block.
    fn end_among(&mut self, opens: u64, closes: u64) -> Option<usize> {
        let mut brackets = opens | closes;
        while brackets != 0 {
            let lowest = brackets & brackets.wrapping_neg();
            if closes & lowest == 0 {
                self.depth += 1;
            } else {
                self.depth -= 1;
            }
            if self.depth == 0 {
                return Some(lowest.trailing_zeros() as usize + 1);
            }
            brackets ^= lowest;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::DEPTH_MAX;
    use super::super::check::Scan;
    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let text = r#"["\\\\/a-c{}\[\],:\n日 ]{0,20}|[a-z{}\[\] ]{40,150}"#;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((text, inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_ends_where_a_check_ends(value in json(), pretty: bool, behind in "[,\\]} \n]{0,3}") {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let text = format!(" {text}{behind}");
            let (mut scan, mut skip) = (Scan::new(text.as_bytes()), Skip::new(text.as_bytes()));
            prop_assert!(scan.value(DEPTH_MAX).is_ok());
            prop_assert!(skip.value().is_some());
            prop_assert_eq!(skip.at, scan.at, "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"["\\{}\[\],:a1 ]{0,30}"#) {
            let mut skip = Skip::new(text.as_bytes());
            while skip.key().is_some() || skip.value().is_some() {}
        }
    }
}
