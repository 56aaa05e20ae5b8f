//! Checks in one pass that a line is one well-formed JSON object. Keeps only a bit per open
//! bracket, so neither memory nor stack use depends on the input.

use std::ops::Range;

use super::DEPTH_MAX;

/// The other results of a successful check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The range of the object, without the white space around it.
    pub range: Range<usize>,
    /// True if the object contains line breaks (which can only be outside of strings).
    pub line_breaks: bool,
}

/// Checks that a text is an object with exactly one key.
pub(super) fn post(bytes: &[u8]) -> Result<Checked, String> {
    whole(bytes, one_key)
}

/// Checks that a text is an object, nested at most `levels` deep, including its own level.
pub(super) fn object(bytes: &[u8], levels: usize) -> Result<Checked, String> {
    whole(bytes, |scan| scan.value(levels))
}

/// Checks that a text begins with a post, whatever comes after it. The text may end anywhere: then
/// the flaw is at its end, or so close to it that a literal may have been cut off.
pub(crate) fn leading_post(bytes: &[u8]) -> Result<Checked, Flaw> {
    let mut scan = Scan::new(bytes);
    match scan.peek() {
        Some(b'{') => element(&mut scan, one_key),
        _ => Err(Flaw::expected(0, "a post")),
    }
}

/// Returns true if these bytes are one JSON value of any type, nested at most `levels` deep.
/// Doesn't check that its strings are UTF-8.
pub(crate) fn is_one_value(bytes: &[u8], levels: usize) -> bool {
    let mut scan = Scan::new(bytes);
    scan.value(levels).is_ok() && scan.space().is_none()
}

/// Moves past the braces of a post and their content.
fn one_key(scan: &mut Scan<'_>) -> Result<(), Flaw> {
    scan.at += 1;
    if scan.space() == Some(b'}') {
        return Err(Flaw::wrong(scan.at, "expected one key that names the kind, found none"));
    }
    scan.key()?;
    scan.value(DEPTH_MAX - 1)?;
    match scan.space() {
        Some(b'}') => scan.at += 1,
        Some(b',') => {
            return Err(Flaw::wrong(scan.at, "expected one key that names the kind, found more"));
        }
        _ => return Err(Flaw::expected(scan.at, "\"}\"")),
    }
    Ok(())
}

/// Checks the surroundings of an object, which are the same for a post and a bare object: the text
/// before it and after it, and its UTF-8.
fn whole(
    bytes: &[u8],
    body: impl FnOnce(&mut Scan<'_>) -> Result<(), Flaw>,
) -> Result<Checked, String> {
    let mut scan = Scan::new(bytes);
    if scan.space() != Some(b'{') {
        return Err(format!("expected an object, found {}", name_of(bytes, scan.at)));
    }
    let checked = element(&mut scan, body).map_err(|flaw| flaw.text(bytes))?;
    if scan.space().is_some() {
        return Err(Flaw::expected(scan.at, "nothing more").text(bytes));
    }
    Ok(checked)
}

/// Moves past an object, and then checks its UTF-8.
fn element(
    scan: &mut Scan<'_>,
    body: impl FnOnce(&mut Scan<'_>) -> Result<(), Flaw>,
) -> Result<Checked, Flaw> {
    let start = scan.at;
    scan.line_breaks = false;
    body(scan)?;
    // Text that isn't ASCII is rare, so the standard library checks it in a second pass.
    if scan.seen & HIGH_BITS != 0
        && let Err(error) = std::str::from_utf8(&scan.bytes[start..scan.at])
    {
        return Err(Flaw::wrong(start + error.valid_up_to(), "not UTF-8"));
    }
    Ok(Checked { range: start..scan.at, line_breaks: scan.line_breaks })
}

/// Names the content of a line that begins with this byte, for a message.
fn name_of(bytes: &[u8], at: usize) -> String {
    match bytes.get(at) {
        Some(b'[') => "an array".into(),
        Some(b'"') => "a string".into(),
        Some(b'-' | b'0'..=b'9') => "a number".into(),
        _ => found(bytes, at),
    }
}

fn found(bytes: &[u8], at: usize) -> String {
    match bytes.get(at) {
        None => "the end".into(),
        Some(byte @ b' '..=b'~') => format!("\"{}\"", char::from(*byte)),
        Some(byte) => format!("byte 0x{byte:02x}"),
    }
}

/// An error and its place. Its text is only made when it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flaw {
    /// The byte that doesn't fit, from 0.
    pub at: usize,
    what: &'static str,
    expected: bool,
}

impl Flaw {
    #[cold]
    fn expected(at: usize, what: &'static str) -> Self {
        Self { at, what, expected: true }
    }

    #[cold]
    fn wrong(at: usize, what: &'static str) -> Self {
        Self { at, what, expected: false }
    }

    /// Returns the text of the error, without the place.
    pub(crate) fn what(self, bytes: &[u8]) -> String {
        let Self { at, what, expected } = self;
        if expected { format!("expected {what}, found {}", found(bytes, at)) } else { what.into() }
    }

    fn text(self, bytes: &[u8]) -> String {
        let Self { at, what, expected } = self;
        if expected {
            format!("expected {what} at byte {}, found {}", at + 1, found(bytes, at))
        } else {
            format!("{what} at byte {}", at + 1)
        }
    }
}

const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Returns a word with a bit set in the first byte of the (little-endian) `word` that ends a run of
/// plain text in a string: a quote, a backslash or a control character. Bytes after the first one
/// may be marked by mistake.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let equals = |byte: u8| {
        let difference = word ^ (LOW_BITS * u64::from(byte));
        difference.wrapping_sub(LOW_BITS) & !difference
    };
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (equals(b'"') | equals(b'\\') | control) & HIGH_BITS
}

/// A position in JSON text, which moves past whole syntactic elements.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    pub at: usize,
    line_breaks: bool,
    /// All words of all strings, combined by OR: tells if any character isn't ASCII.
    seen: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, line_breaks: false, seen: 0 }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space, and returns the next byte without taking it.
    #[inline(always)]
    pub(crate) fn space(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks = true,
                other => return Some(other),
            }
            self.at += 1;
        }
    }

    /// Moves past `"key" :`, and returns the bytes between the quotes.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<&'a [u8], Flaw> {
        if self.space() != Some(b'"') {
            return Err(Flaw::expected(self.at, "a key in quotes"));
        }
        let start = self.at + 1;
        self.string()?;
        let key = &self.bytes[start..self.at - 1];
        if self.space() != Some(b':') {
            return Err(Flaw::expected(self.at, "\":\""));
        }
        self.at += 1;
        Ok(key)
    }

    /// Moves past one value, nested at most `levels` deep.
    pub(crate) fn value(&mut self, levels: usize) -> Result<(), Flaw> {
        debug_assert!(levels <= DEPTH_MAX);
        // The open brackets, the innermost one in the lowest bit: 1 for an object, 0 for an array.
        let mut open = 0_u128;
        let mut depth = 0;
        loop {
            let bracket = match self.space() {
                Some(b'"') => {
                    self.string()?;
                    None
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                    None
                }
                Some(bracket @ (b'{' | b'[')) => Some(bracket),
                _ => {
                    self.literal()?;
                    None
                }
            };
            if let Some(bracket) = bracket {
                if depth == levels {
                    return Err(Flaw::wrong(self.at, "nested too deep"));
                }
                self.at += 1;
                depth += 1;
                open = open << 1 | u128::from(bracket == b'{');
                // In ASCII, both closing brackets come two after their opening ones.
                if self.space() != Some(bracket + 2) {
                    if bracket == b'{' {
                        self.key()?;
                    }
                    continue;
                }
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let in_object = open & 1 == 1;
                match self.space() {
                    Some(b',') => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    _ => {
                        return Err(Flaw::expected(
                            self.at,
                            if in_object { "\",\" or \"}\"" } else { "\",\" or \"]\"" },
                        ));
                    }
                }
                self.at += 1;
                depth -= 1;
                open >>= 1;
            }
        }
    }

    /// Moves past a string, from quote to quote.
    #[inline(always)]
    fn string(&mut self) -> Result<(), Flaw> {
        self.at += 1;
        loop {
            self.plain_text();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(Flaw::wrong(self.at, "control character in a string")),
                None => return Err(Flaw::expected(self.at, "the end of a string")),
            }
        }
    }

    /// Moves to the next byte that isn't plain text, or to the end.
    #[inline(always)]
    fn plain_text(&mut self) {
        while let Some(word) = self.bytes[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*word);
            self.seen |= word;
            let stops = stops(word);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte < b' ' || byte == b'"' || byte == b'\\' {
                return;
            }
            self.seen |= u64::from(byte);
            self.at += 1;
        }
    }

    /// Moves past an escape. The code that reads the text decides which code point `\uXXXX` gives,
    /// and if it is half of a pair.
    fn escape(&mut self) -> Result<(), Flaw> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(Flaw::expected(self.at, "a hexadecimal digit"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Flaw::expected(self.at, "an escape")),
        }
        Ok(())
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), Flaw> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Flaw::expected(self.at, "a digit")) } else { Ok(()) }
    }

    fn literal(&mut self) -> Result<(), Flaw> {
        let rest = &self.bytes[self.at..];
        let literal =
            [&b"null"[..], b"true", b"false"].into_iter().find(|literal| rest.starts_with(literal));
        self.at += literal.ok_or_else(|| Flaw::expected(self.at, "a value"))?.len();
        Ok(())
    }
}
