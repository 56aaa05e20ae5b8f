//! Splits a body, which may be cut anywhere, into lines.

use bytes::{Buf, Bytes, BytesMut};

/// The longest line that is accepted, in bytes: a post with everything that can come with it is
/// below 1 MiB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The received bytes of a body that don't make a whole line yet.
#[derive(Default)]
pub(super) struct Lines {
    rest: BytesMut,
    /// The length of the beginning that has no end of a line.
    searched: usize,
}

impl Lines {
    /// Adds received bytes.
    pub(crate) fn push(&mut self, chunk: &Bytes) {
        self.rest.extend_from_slice(chunk);
    }

    /// Returns the next line without its end. Keep-alives are empty lines, and are skipped. An
    /// `Err` is the beginning of a line that is too long.
    pub(crate) fn next(&mut self) -> Option<Result<Bytes, Bytes>> {
        loop {
            let Some(at) =
                memchr::memchr(b'\n', &self.rest[self.searched..]).map(|at| at + self.searched)
            else {
                self.searched = self.rest.len();
                let too_long = self.rest.len() > LINE_BYTES_MAX;
                return too_long.then(|| {
                    self.searched = 0;
                    Err(self.rest.split().freeze())
                });
            };
            let mut line = self.rest.split_to(at).freeze();
            self.rest.advance(1);
            self.searched = 0;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Bytes> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(&chunk.into());
            while let Some(line) = lines.next() {
                found.push(line.expect("no line is too long"));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn lines_are_the_same_wherever_the_body_is_cut(cuts in prop::collection::vec(0..60usize, 0..8)) {
            let body = "\r\n{\"a\":\"嵐🌀\"}\r\n\r\n\r\n{\"b\":2}\n{\"c\":\"\\r\\n\"}\r\n{\"cut".as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| body[cut[0]..cut[1]].to_vec());
            prop_assert_eq!(lines(chunks), ["{\"a\":\"嵐🌀\"}", "{\"b\":2}", "{\"c\":\"\\r\\n\"}"]);
        }
    }

    #[test]
    fn a_line_that_never_ends_is_given_up() {
        let mut lines = Lines::default();
        lines.push(&vec![b'a'; LINE_BYTES_MAX + 1].into());
        assert!(matches!(lines.next(), Some(Err(line)) if line.len() > LINE_BYTES_MAX));
        lines.push(&Bytes::from_static(b"b\r\n"));
        assert_eq!(lines.next(), Some(Ok(Bytes::from_static(b"b"))));
    }
}
