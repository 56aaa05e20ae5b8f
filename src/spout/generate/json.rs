//! Writes JSON text into a buffer: fixed parts are copied, variable parts are formatted here.

use time::OffsetDateTime;

use super::draw::Draw;

pub(super) const BASE64: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The alphabet of DIDs and CIDs.
pub(super) const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The alphabet of the AT protocol's time-ordered ids, in the order of its digits.
pub(super) const BASE32_SORTED: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";

/// A moment in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub u64);

impl Moment {
    pub(crate) fn millis(self) -> u64 {
        self.0 / 1_000
    }

    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    pub(crate) fn after(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds * 1_000_000))
    }

    pub(crate) fn before(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds * 1_000_000))
    }

    /// Returns the date in UTC; for times after the year 9999, where timestamps end, the epoch.
    pub(crate) fn date(self) -> OffsetDateTime {
        let seconds = OffsetDateTime::from_unix_timestamp(self.seconds().cast_signed());
        seconds.unwrap_or(OffsetDateTime::UNIX_EPOCH)
            + time::Duration::microseconds((self.0 % 1_000_000) as i64)
    }
}

/// JSON text that is being written.
pub(super) struct Json<'a>(pub &'a mut Vec<u8>);

impl Json<'_> {
    /// Writes JSON text unchanged.
    pub(crate) fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// Writes the text between the quotes of a string.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        let mut rest = text.as_bytes();
        while let Some(at) = memchr::memchr2(b'"', b'\n', rest) {
            self.0.extend_from_slice(&rest[..at]);
            self.0.extend_from_slice(if rest[at] == b'"' { b"\\\"" } else { b"\\n" });
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        self
    }

    /// Writes a whole number.
    pub(crate) fn int(&mut self, number: impl Into<u64>) -> &mut Self {
        self.0.extend_from_slice(itoa::Buffer::new().format(number.into()).as_bytes());
        self
    }

    /// Writes `true` or `false`.
    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    /// Writes the last `length` digits of a number in base 2^n, with an alphabet of that size.
    pub(crate) fn digits(&mut self, number: u64, length: u32, alphabet: &[u8]) -> &mut Self {
        let bits = alphabet.len().trailing_zeros();
        for place in (0..length).rev() {
            let digit = number.checked_shr(place * bits).unwrap_or(0) as usize;
            self.0.push(alphabet[digit & (alphabet.len() - 1)]);
        }
        self
    }

    /// Writes random digits.
    pub(crate) fn random(&mut self, draw: &mut Draw, length: u32, alphabet: &[u8]) -> &mut Self {
        let at_once = 64 / alphabet.len().trailing_zeros();
        for done in (0..length).step_by(at_once as usize) {
            self.digits(draw.long(), at_once.min(length - done), alphabet);
        }
        self
    }

    /// Writes `2015-12-18T00:00:00.000Z`.
    pub(crate) fn millis(&mut self, moment: Moment) -> &mut Self {
        let millis = (moment.millis() % 1_000) as u32;
        self.second(moment).raw(".").padded(millis, 3).raw("Z")
    }

    /// Writes `2015-12-18T00:00:00`.
    pub(crate) fn second(&mut self, moment: Moment) -> &mut Self {
        let (hour, minute, second) = moment.date().to_hms();
        self.day(moment)
            .raw("T")
            .padded(hour, 2)
            .raw(":")
            .padded(minute, 2)
            .raw(":")
            .padded(second, 2)
    }

    /// Writes `2015-12-18`.
    pub(crate) fn day(&mut self, moment: Moment) -> &mut Self {
        let date = moment.date();
        let (year, month, day) = (date.year().unsigned_abs(), u8::from(date.month()), date.day());
        self.padded(year, 4).raw("-").padded(month, 2).raw("-").padded(day, 2)
    }

    fn padded(&mut self, number: impl Into<u32>, length: usize) -> &mut Self {
        let mut number = number.into();
        let start = self.0.len();
        self.0.resize(start + length, b'0');
        for digit in self.0[start..].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self
    }

    /// Writes several values with commas between them.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.raw("[");
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Json<'_>), expected: &str) {
        let mut bytes = Vec::new();
        write(&mut Json(&mut bytes));
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn what_varies_is_formatted() {
        let moment = Moment(1_450_396_800_012_345);
        check(|json| _ = json.millis(moment), "2015-12-18T00:00:00.012Z");
        check(|json| _ = json.second(moment.after(3_661)), "2015-12-18T01:01:01");
        check(|json| _ = json.day(moment.before(1)), "2015-12-17");
        check(|json| _ = json.text("a \"b\"\nc"), r#"a \"b\"\nc"#);
        check(|json| _ = json.int(u64::MAX), "18446744073709551615");
        check(|json| _ = json.digits(0x1af, 4, HEX), "01af");
        check(|json| _ = json.digits(u64::MAX, 13, BASE32), "p777777777777");
        check(|json| _ = json.list([1_u64, 2], |json, number| _ = json.int(number)), "[1,2]");
    }

    #[test]
    fn moments_beyond_the_calendar_do_no_harm() {
        check(|json| _ = json.day(Moment(u64::MAX)), "1970-01-01");
    }
}
