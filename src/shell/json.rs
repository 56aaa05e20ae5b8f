//! A reader of the JSON of one message. No tree is built: values become values of tuples at once.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr2;

use crate::post::DEPTH_MAX;
use crate::post::check::is_one_value;
use crate::value::Value;

/// A description of the flaw in a message.
pub(super) type Flaw = String;

/// A position in the text of a message, which moves over whole elements.
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    /// Starts at the beginning of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Skips white space, and returns the byte behind it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    /// Moves over this byte if it comes next. Returns true if it did.
    #[inline]
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[cold]
    fn expected(&self, what: &str) -> Flaw {
        let found = self.text[self.at..].chars().next();
        let found = found.map_or("the end".to_owned(), |found| format!("{found:?}"));
        format!("expected {what} at byte {}, found {found}", self.at + 1)
    }

    /// Moves over the brace that opens an object.
    pub(crate) fn object(&mut self) -> Result<(), Flaw> {
        if self.takes(b'{') { Ok(()) } else { Err(self.expected("an object")) }
    }

    /// Reads the next key of an object; `None` behind the last one. `is_first` must be true for the
    /// first call, and is false afterwards.
    #[inline]
    pub(crate) fn key(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, Flaw> {
        if self.takes(b'}') {
            return Ok(None);
        }
        if !std::mem::replace(is_first, false) && !self.takes(b',') {
            return Err(self.expected("\",\" or \"}\""));
        }
        let key = self.string()?;
        if self.takes(b':') { Ok(Some(key)) } else { Err(self.expected("\":\"")) }
    }

    /// Checks that nothing more comes.
    pub(crate) fn end(&mut self) -> Result<(), Flaw> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("nothing more")) }
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Flaw> {
        if !self.takes(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let mut is_plain = true;
        loop {
            match memchr2(b'"', b'\\', &self.text.as_bytes()[self.at..]) {
                None => {
                    self.at = self.text.len();
                    return Err(self.expected("the end of a string"));
                }
                Some(found) if self.text.as_bytes()[self.at + found] == b'"' => {
                    let raw = &self.text[start..self.at + found];
                    self.at += found + 1;
                    return if is_plain { Ok(Cow::Borrowed(raw)) } else { unescape(raw) };
                }
                Some(found) => {
                    is_plain = false;
                    // A character of several bytes may follow the backslash, although JSON has no
                    // such escape.
                    let escaped = self.text[self.at + found + 1..].chars().next();
                    self.at += found + 1 + escaped.map_or(0, char::len_utf8);
                }
            }
        }
    }

    /// Reads `true`, `false` or `null`. `null` is `None`.
    pub(crate) fn flag(&mut self) -> Result<Option<bool>, Flaw> {
        for (word, value) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
            if self.takes_word(word) {
                return Ok(value);
            }
        }
        Err(self.expected("true or false"))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.peek();
        let is_next = self.text[self.at..].starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Reads a whole number. `null` is `None`.
    pub(crate) fn whole_number(&mut self) -> Result<Option<i64>, Flaw> {
        if self.takes_word("null") {
            return Ok(None);
        }
        self.peek();
        let number = self.number_text();
        number.parse().map(Some).map_err(|_| format!("expected a whole number, found {number:?}"))
    }

    fn number_text(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.bytes().take_while(|byte| is_digit(byte)).count();
        self.at += length;
        &rest[..length]
    }

    /// Moves over one value of any type, and returns its text.
    pub(crate) fn raw(&mut self) -> Result<&'a str, Flaw> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => drop(self.string()?),
            Some(b'{' | b'[') => self.nested()?,
            Some(b'-' | b'0'..=b'9') => drop(self.number_text()),
            _ => drop(self.flag()?),
        }
        let raw = &self.text[start..self.at];
        if is_one_value(raw.as_bytes(), DEPTH_MAX) {
            return Ok(raw);
        }
        Err(format!("expected JSON, nested at most {DEPTH_MAX} deep, at byte {}", start + 1))
    }

    /// Moves over an object or a list without checking its inside.
    fn nested(&mut self) -> Result<(), Flaw> {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += self.text[self.at..].chars().next().map_or(1, char::len_utf8);
            if depth == 0 {
                return Ok(());
            }
        }
        Err(self.expected("the end of a value"))
    }

    /// Reads the elements of a list into `values`.
    pub(crate) fn list(&mut self, values: &mut Vec<Value>) -> Result<(), Flaw> {
        self.elements(DEPTH_MAX, values)
    }

    fn elements(&mut self, depth: usize, values: &mut Vec<Value>) -> Result<(), Flaw> {
        if !self.takes(b'[') {
            return Err(self.expected("a list"));
        }
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            let value = self.value(depth)?;
            values.push(value);
            if self.takes(b']') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.expected("\",\" or \"]\""));
            }
        }
    }

    /// Reads one value. Objects stay JSON, and so do numbers that don't fit into a number type.
    #[inline]
    fn value(&mut self, depth: usize) -> Result<Value, Flaw> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?.as_ref().into())),
            Some(b'{') => Ok(Value::Json(Bytes::copy_from_slice(self.raw()?.as_bytes()))),
            Some(b'[') => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("lists are nested more than {DEPTH_MAX} deep"))?;
                let mut values = Vec::new();
                self.elements(depth, &mut values)?;
                Ok(Value::List(Arc::from(values)))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't' | b'f' | b'n') => Ok(self.flag()?.map_or(Value::Null, Value::Bool)),
            // Python's `json` writes these words, which aren't JSON.
            Some(b'N') if self.takes_word("NaN") => Ok(Value::Float(f64::NAN)),
            Some(b'I') if self.takes_word("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ => Err(self.expected("a value")),
        }
    }

    fn number(&mut self) -> Result<Value, Flaw> {
        if self.takes_word("-Infinity") {
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let (start, text) = (self.at, self.number_text());
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Value::Int(number));
        }
        if !is_one_value(text.as_bytes(), 1) {
            return Err(format!("expected a number at byte {}, found {text:?}", start + 1));
        }
        let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        match text.parse::<f64>() {
            Ok(number) if !is_whole && number.is_finite() => Ok(Value::Float(number)),
            _ => Ok(Value::Json(Bytes::copy_from_slice(text.as_bytes()))),
        }
    }
}

/// Resolves the escapes in a string. Half of a surrogate pair, which is no character, becomes
/// U+FFFD.
#[cold]
fn unescape(raw: &str) -> Result<Cow<'_, str>, Flaw> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.as_bytes().get(at + 1).copied().unwrap_or(b' ');
        let simple = match code {
            b'"' | b'\\' | b'/' => Some(char::from(code)),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            _ => None,
        };
        if let Some(character) = simple {
            text.push(character);
            rest = &rest[at + 2..];
            continue;
        }
        let unit = unit(&rest[at..]).ok_or_else(|| format!("no escape of JSON in {raw:?}"))?;
        rest = &rest[at + 6..];
        let low = unit_of_pair(unit, rest);
        match low {
            Some(character) => {
                text.push(character);
                rest = &rest[6..];
            }
            None => text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// Reads the number in `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}

/// Returns the character of a surrogate pair whose second half is at the beginning of `rest`.
fn unit_of_pair(high: u32, rest: &str) -> Option<char> {
    if !(0xd800..0xdc00).contains(&high) {
        return None;
    }
    let low = unit(rest).filter(|low| (0xdc00..0xe000).contains(low))?;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<Value>, Flaw> {
        let mut values = Vec::new();
        let mut json = Json::new(text);
        json.list(&mut values)?;
        json.end()?;
        Ok(values)
    }

    #[test]
    fn values_of_all_types_are_read() {
        let text = "[null, true, -7, 1.5, \"a\\u00e9\\ud83d\\ude00\\n\", [\"x\", [1]], {\"a\": \
            [1, \"]\"]},\n\
                    12345678901234567890, NaN]";
        let expected = [
            Value::Null,
            Value::Bool(true),
            Value::Int(-7),
            Value::Float(1.5),
            "aé😀\n".into(),
            Value::List(Arc::from([Value::from("x"), Value::List(Arc::from([Value::Int(1)]))])),
            Value::Json("{\"a\": [1, \"]\"]}".into()),
            Value::Json("12345678901234567890".into()),
            Value::Float(f64::NAN),
        ];
        assert_eq!(values(text).unwrap(), expected);
        assert_eq!(values("[\"\\ud83d\"]").unwrap(), [Value::from("\u{fffd}")]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "[",
            "[1",
            "[1,]",
            "[\"a]",
            "[\"\\",
            "[\"\\é\"]",
            "[tru]",
            "[01x]",
            "[--1]",
            "[1]2",
            "[{\"a\":}]",
            "[{]",
            "[\"\\u12\"]",
            "[\"\\u00é\"]",
            "{}",
        ] {
            assert!(values(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(values(&deep).is_err());
        assert!(values(&format!("[{}", "{\"a\":".repeat(100_000))).is_err());
    }
}
