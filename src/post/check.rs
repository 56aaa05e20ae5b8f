//! One pass over a line that says whether it is one well-formed JSON object. It keeps nothing but a
//! bit per open bracket, so neither its memory nor its stack depends on the input.

use std::ops::Range;

use super::DEPTH_MAX;

/// What a check found out beside "well-formed".
#[derive(Debug)]
pub(crate) struct Checked {
    /// Where the object stands, without the white space around it.
    pub range: Range<usize>,
    /// Whether there are line breaks in it (they can only stand outside strings).
    pub line_breaks: bool,
}

/// Checks that this is an object with exactly one key.
pub(super) fn post(bytes: &[u8]) -> Result<Checked, String> {
    whole(bytes, one_key)
}

/// Checks that this is an object, nested at most `levels` deep, its own level included.
pub(super) fn object(bytes: &[u8], levels: usize) -> Result<Checked, String> {
    whole(bytes, |scan| scan.value(levels))
}

/// Checks that a text begins with a post, whatever comes behind it. The text may end anywhere: then
/// the flaw is at its end, or so near to it that a literal may have been cut.
pub(crate) fn leading_post(bytes: &[u8]) -> Result<Checked, Flaw> {
    let mut scan = Scan::new(bytes);
    match scan.peek() {
        Some(b'{') => element(&mut scan, one_key),
        _ => Err(Flaw::expected(0, "a post")),
    }
}

/// True if these bytes are one JSON value of any type, nested at most `levels` deep. That its texts
/// are UTF-8 isn't checked.
pub(crate) fn is_one_value(bytes: &[u8], levels: usize) -> bool {
    let mut scan = Scan::new(bytes);
    scan.value(levels).is_ok() && scan.space().is_none()
}

/// Moves over the braces of a post and what is between them.
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

/// What a post and a bare object have in common: what is before, behind, and in all strings of it.
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

/// Moves over an object, and checks what is only known behind it.
fn element(
    scan: &mut Scan<'_>,
    body: impl FnOnce(&mut Scan<'_>) -> Result<(), Flaw>,
) -> Result<Checked, Flaw> {
    let start = scan.at;
    scan.line_breaks = false;
    body(scan)?;
    // Text that isn't ASCII is rare enough to be looked at a second time, by the standard library.
    if scan.seen & HIGH_BITS != 0
        && let Err(error) = std::str::from_utf8(&scan.bytes[start..scan.at])
    {
        return Err(Flaw::wrong(start + error.valid_up_to(), "not UTF-8"));
    }
    Ok(Checked { range: start..scan.at, line_breaks: scan.line_breaks })
}

/// What a line that begins like this holds, for a message.
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

/// What is wrong, and where. The text is only made when it is wanted.
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

    /// What is wrong, without the place.
    pub fn what(self, bytes: &[u8]) -> String {
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

/// A bit in the first byte of the (little-endian) word that ends a run of plain text in a string: a
/// quote, a backslash or a control character. Bytes behind the first one may be marked by mistake.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let equals = |byte: u8| {
        let difference = word ^ (LOW_BITS * u64::from(byte));
        difference.wrapping_sub(LOW_BITS) & !difference
    };
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (equals(b'"') | equals(b'\\') | control) & HIGH_BITS
}

/// A place in JSON text, which moves over whole syntactic elements.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    pub at: usize,
    line_breaks: bool,
    /// All words of all strings, or-ed: tells whether anything isn't ASCII.
    seen: u64,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, line_breaks: false, seen: 0 }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space, and shows what comes behind it.
    #[inline(always)]
    pub fn space(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks = true,
                other => return Some(other),
            }
            self.at += 1;
        }
    }

    /// Moves over `"key" :`, and gives what stands between the quotes.
    #[inline(always)]
    pub fn key(&mut self) -> Result<&'a [u8], Flaw> {
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

    /// Moves over one value, nested at most `levels` deep.
    pub fn value(&mut self, levels: usize) -> Result<(), Flaw> {
        debug_assert!(levels <= DEPTH_MAX);
        // What is open, innermost in the lowest bit: 1 for an object, 0 for an array.
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
                // Both closing brackets come two behind their opening ones in ASCII.
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

    /// Moves over a string, from quote to quote.
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

    /// Moves over an escape. Which code point `\uXXXX` gives, and whether it is half of a pair, is
    /// left to whoever reads the text.
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
