//! The parser of server-sent events, from pieces that may be cut anywhere.

/// The largest event that is accepted, in bytes.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The text behind `event:`.
    pub name: String,
    /// The text behind `data:`, with lines joined.
    pub data: Vec<u8>,
}

/// The received part of an event that isn't complete.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// True if the last piece ended with `\r`, so that its `\n` may follow.
    after_cr: bool,
}

impl Events {
    /// Parses a piece, and passes on the events that are complete with it.
    ///
    /// # Errors
    /// If an event is larger than 16 MiB.
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(Event),
    ) -> Result<(), String> {
        if piece.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.after_cr) && piece.first() == Some(&b'\n') {
            piece = &piece[1..];
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
            self.line.extend_from_slice(&piece[..end]);
            let cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if cr && piece.is_empty() {
                self.after_cr = true;
            } else if cr && piece[0] == b'\n' {
                piece = &piece[1..];
            }
            self.end_line(&mut each);
        }
        self.line.extend_from_slice(piece);
        if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err("an event is larger than 16 MiB".into());
        }
        Ok(())
    }

    fn end_line(&mut self, each: &mut impl FnMut(Event)) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                each(event);
            }
            return;
        }
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
            }
            // The line is a comment, such as the heartbeat, or a field that isn't needed.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let (mut parser, mut found) = (Events::default(), Vec::new());
        for piece in pieces {
            parser
                .push(piece, |event| {
                    found.push((event.name, String::from_utf8(event.data).unwrap()))
                })
                .unwrap();
        }
        found
    }

    const STREAM: &str = ":)\n:thump\n\nevent: update\ndata: {\"id\":\"1\"}\n\nevent:delete\r\ndata:7\r\n\r\n:thump\r\
                          data: é\ndata: 嵐\n\nevent: filters_changed\ndata\n\nevent: none\n\n";

    fn expected() -> Vec<(String, String)> {
        [("update", "{\"id\":\"1\"}"), ("delete", "7"), ("", "é\n嵐"), ("filters_changed", "")]
            .map(|(name, data)| (name.into(), data.into()))
            .into()
    }

    #[test]
    fn an_event_ends_with_an_empty_line() {
        assert_eq!(events(&[STREAM.as_bytes()]), expected());
        assert_eq!(events(&[b"event: update\ndata: {}\n"]), [], "it isn't whole");
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Events::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..20).any(|_| parser.push(&piece, |_| ()).is_err()));
    }

    proptest! {
        #[test]
        fn where_pieces_are_cut_changes_nothing(cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&STREAM.as_bytes()[from..]);
            prop_assert_eq!(events(&pieces), expected());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Events::default().push(&bytes, |_| ());
        }
    }
}
