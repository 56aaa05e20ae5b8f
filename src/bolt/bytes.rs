//! The encoding of saved state: whole numbers as LEB128, floats as their bits, texts with their
//! lengths.

/// A writer of values, one after the other.
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// Writes a whole number: small ones take one byte.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Writes a whole number that may be negative.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Writes a float with all its bits.
    pub fn float(&mut self, number: f64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a float of less precision with all its bits.
    pub fn short_float(&mut self, number: f32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a hash, in which all bytes are significant.
    pub fn hash(&mut self, hash: u64) {
        self.0.extend_from_slice(&hash.to_le_bytes());
    }

    /// Writes a text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// A reader of values that a [`Writer`] wrote. Each call returns `None` if the next bytes are
/// another value.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a whole number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.0.split_off_first()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Reads a whole number of 32 bits.
    pub fn number_u32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// Reads a whole number that may be negative.
    pub fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Reads a float.
    pub fn float(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(self.0.split_off(..8)?.try_into().ok()?))
    }

    /// Reads a float of less precision.
    pub fn short_float(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.0.split_off(..4)?.try_into().ok()?))
    }

    /// Reads a hash.
    pub fn hash(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.0.split_off(..8)?.try_into().ok()?))
    }

    /// Reads a text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Reads bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.0.split_off(..length)
    }

    /// Returns `None` if bytes are left.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
