//! Messages on a pipe. Each message is JSON on one or more lines, followed by the line `end`.

use memchr::memchr;

use super::json::Flaw;

/// The longest message that a child may send. A longer message is treated as garbage. More would
/// let a child that never ends a line take this machine's memory.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The minimum room for one read. Smaller reads cost more system calls.
const READ_BYTES: usize = 64 << 10;

/// The end of a message.
pub(super) const END: &[u8] = b"\nend\n";

/// The bytes that were read from a pipe and aren't used yet.
#[derive(Default)]
pub(crate) struct Inbound {
    buffer: Vec<u8>,
    /// The number of bytes of `buffer` that were read.
    filled: usize,
    /// The position at which the message in progress begins.
    start: usize,
    /// The position at which the first unchecked line begins.
    line: usize,
    /// The position up to which that line is known to have no end.
    searched: usize,
}

impl Inbound {
    /// Returns the room for the next read.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.line -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.filled + READ_BYTES {
            self.buffer.resize((self.filled * 2).max(READ_BYTES * 2), 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// Notes that this number of bytes was read into the room.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Returns the next whole message; `None` if there is none yet.
    ///
    /// # Errors
    /// If the bytes aren't a message: the flaw.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, Flaw> {
        while let Some(length) = memchr(b'\n', &self.buffer[self.searched..self.filled]) {
            let end = self.searched + length;
            let line = &self.buffer[self.line..end];
            if matches!(line, b"end" | b"end\r") {
                let message = self.start..self.line;
                (self.start, self.line, self.searched) = (end + 1, end + 1, end + 1);
                let text = std::str::from_utf8(&self.buffer[message]);
                return match text.map(str::trim_end) {
                    Ok("") => Err("a message without content".into()),
                    Ok(text) => Ok(Some(text)),
                    Err(_) => Err("a message that isn't UTF-8".into()),
                };
            }
            if self.line == self.start && line.trim_ascii_start().first() != Some(&b'{') {
                return Err(format!("a line that isn't JSON: {}", quoted(line)));
            }
            (self.line, self.searched) = (end + 1, end + 1);
        }
        self.searched = self.filled;
        if self.filled - self.start > MESSAGE_BYTES_MAX {
            let begins = quoted(&self.buffer[self.start..self.start + 80]);
            return Err(format!(
                "more than {} MiB without a line \"end\", which begin with {begins}",
                MESSAGE_BYTES_MAX >> 20
            ));
        }
        Ok(None)
    }

    /// Returns the text of the message in progress as far as it was read, for people.
    pub(crate) fn rest(&self) -> String {
        quoted(&self.buffer[self.start..self.filled])
    }

    /// True if there may be another whole message in what was read.
    pub(crate) fn has_line(&self) -> bool {
        memchr(b'\n', &self.buffer[self.searched..self.filled]).is_some()
    }

    /// True if a message is in progress.
    pub(crate) fn is_within(&self) -> bool {
        self.start < self.filled
    }
}

/// Returns the beginning of a line in quotes, for people.
pub(super) fn quoted(line: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(line);
    let text = crate::printable::shortened(text.trim(), CHARS_MAX);
    format!("\"{}\"", crate::printable::printable_line(&text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(pieces: &[&[u8]]) -> Result<Vec<String>, Flaw> {
        let mut inbound = Inbound::default();
        let mut messages = Vec::new();
        for piece in pieces {
            inbound.room()[..piece.len()].copy_from_slice(piece);
            inbound.add(piece.len());
            while let Some(text) = inbound.next()? {
                messages.push(text.to_owned());
            }
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_are_cut(
            cuts in prop::collection::vec(0_usize..70, 0..6)
        ) {
            let text = b"{\"a\":\n1}\nend\n{\"b\":\"end\"}\r\nend\r\n{}\nend\n{\"rest\"";
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(messages(&pieces).unwrap(), ["{\"a\":\n1}", "{\"b\":\"end\"}", "{}"]);
        }

        #[test]
        fn any_bytes_are_messages_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = messages(&[&bytes]);
        }
    }

    #[test]
    fn what_is_no_message_is_named_with_its_line() {
        assert_eq!(
            messages(&[b"{}\nend\nTraceback (most recent call last):\n"]).unwrap_err(),
            "a line that isn't JSON: \"Traceback (most recent call last):\""
        );
        assert_eq!(messages(&[b"\nend\n"]).unwrap_err(), "a line that isn't JSON: \"\"");
        assert!(messages(&[b"{\"\xff\"}\nend\n"]).unwrap_err().contains("UTF-8"));
    }
}
