//! Decompresses the files of [`pack`](super::pack) or any other tool: gzip with any number of
//! members, Zstandard with any number of frames. Works from chunk to chunk, and never produces more
//! text than there is room for, even if a few bytes expand to a lot of text.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::form::Compression;
use super::scan::{Spot, Trouble};

/// The default number of bytes of text that are produced at a time.
const TEXT_BYTES: usize = 256 << 10;

/// A decompressor of one file that comes in chunks.
pub struct Unpacker(Kind);

enum Kind {
    Gzip(Box<MultiGzDecoder<Input>>),
    Zstd {
        decoder: Box<Decoder<'static>>,
        input: Input,
        /// True if the bytes so far end with a complete frame.
        whole: bool,
    },
}

/// The result of one step.
enum Made {
    /// Text.
    Text,
    /// No text without more input.
    Wants,
    /// The file ended at a valid place.
    End,
}

impl Unpacker {
    /// Creates the decompressor for the beginning of a file; `None` for a file that isn't
    /// compressed.
    ///
    /// # Errors
    /// If there isn't enough memory for it.
    pub fn of(compression: Compression) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => {
                Some(Self(Kind::Gzip(Box::new(MultiGzDecoder::new(Input::default())))))
            }
            Compression::Zstd => {
                let decoder = Box::new(Decoder::new()?);
                Some(Self(Kind::Zstd { decoder, input: Input::default(), whole: false }))
            }
        })
    }

    /// Appends text to `text`, up to its capacity, which must not be exhausted. Returns false at
    /// the end. `more` appends the next bytes of the file, and returns false at its end.
    ///
    /// # Errors
    /// If `more` fails, or the file is damaged; the error has the offset of the damage in the file.
    pub fn fill(
        &mut self,
        text: &mut Vec<u8>,
        mut more: impl FnMut(&mut Vec<u8>) -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        debug_assert!(text.len() < text.capacity(), "text has room");
        loop {
            match self.step(text) {
                Ok(Made::Text) => return Ok(true),
                Ok(Made::End) => return Ok(false),
                Ok(Made::Wants) => self.input().refill(&mut more)?,
                Err(error) => {
                    let at = Spot::Byte(self.input().taken);
                    return Err(Trouble::Damage {
                        at,
                        what: format!("it can't be unpacked: {error}"),
                    });
                }
            }
        }
    }

    fn input(&mut self) -> &mut Input {
        match &mut self.0 {
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Zstd { input, .. } => input,
        }
    }

    fn step(&mut self, text: &mut Vec<u8>) -> io::Result<Made> {
        match &mut self.0 {
            Kind::Gzip(decoder) => gunzip(decoder, text),
            Kind::Zstd { decoder, input, whole } => unzstd(decoder, input, whole, text),
        }
    }
}

fn gunzip(decoder: &mut MultiGzDecoder<Input>, text: &mut Vec<u8>) -> io::Result<Made> {
    // The decompressor writes into bytes that are initialised. Of a large buffer only the next part
    // is, since memory that was never written to costs nothing.
    let before = text.len();
    text.resize(text.capacity().min(before + TEXT_BYTES), 0);
    let read = decoder.read(&mut text[before..]);
    text.truncate(before + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => Ok(Made::End),
        Ok(_) => Ok(Made::Text),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Made::Wants),
        Err(error) => Err(error),
    }
}

fn unzstd(
    decoder: &mut Decoder<'_>,
    input: &mut Input,
    whole: &mut bool,
    text: &mut Vec<u8>,
) -> io::Result<Made> {
    let before = text.len();
    loop {
        let none_left = input.rest().is_empty();
        if none_left && !input.ended {
            return Ok(Made::Wants);
        }
        if none_left && *whole {
            return Ok(Made::End);
        }
        // Even without new bytes, the decoder may hold text that there was no room for.
        let (mut from, mut to) =
            (InBuffer::around(input.rest()), OutBuffer::around_pos(text, before));
        *whole = decoder.run(&mut from, &mut to)? == 0;
        let taken = from.pos();
        input.consume(taken);
        if text.len() > before {
            return Ok(Made::Text);
        }
        if none_left && !*whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The bytes of a file that have arrived.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    /// The number of these bytes that were consumed.
    at: usize,
    /// The number of bytes of the file that were consumed.
    taken: u64,
    ended: bool,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn refill(
        &mut self,
        more: &mut impl FnMut(&mut Vec<u8>) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        self.bytes.clear();
        self.at = 0;
        self.bytes.reserve(TEXT_BYTES);
        self.ended = !more(&mut self.bytes)?;
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Input {
    /// Returns `WouldBlock` if no bytes are left: the decoder keeps its state, and is called again.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && !self.ended {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(self.rest())
        }
    }

    fn consume(&mut self, taken: usize) {
        self.at += taken;
        self.taken += taken as u64;
    }
}

/// Passes the text of a file to `take`, piece by piece.
///
/// # Errors
/// If `more` or `take` fails, or the file is damaged.
pub fn unpack(
    compression: Compression,
    mut more: impl FnMut(&mut Vec<u8>) -> Result<bool, Trouble>,
    mut take: impl FnMut(&[u8]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut unpacker = super::reader::unpacker(compression)?;
    let mut text = Vec::with_capacity(TEXT_BYTES);
    loop {
        text.clear();
        let going_on = match &mut unpacker {
            None => more(&mut text)?,
            Some(unpacker) => unpacker.fill(&mut text, &mut more)?,
        };
        take(&text)?;
        if !going_on {
            return Ok(());
        }
    }
}

/// Returns the length and the CRC-32 of the text in a file's bytes; `None` if it can't be
/// decompressed.
pub fn measure(compression: Compression, bytes: &[u8]) -> Option<(u64, u32)> {
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    let more = |input: &mut Vec<u8>| {
        input.extend_from_slice(bytes);
        Ok(false)
    };
    let take = |text: &[u8]| {
        length += text.len() as u64;
        checksum.update(text);
        Ok(())
    };
    unpack(compression, more, take).ok().map(|()| (length, checksum.finalize()))
}

/// Passes the text of a file on the disk to `take`, piece by piece.
///
/// # Errors
/// If the file can't be read or decompressed, or `take` fails.
pub fn unpack_file(
    compression: Compression,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> crate::error::Result<()> {
    let failed = |what: &str, cause| super::disk::failed(what, path, cause);
    let file = File::open(path).map_err(|cause| failed("open", cause))?;
    let more = |input: &mut Vec<u8>| super::reader::fill(input, &file, path);
    let take = |text: &[u8]| take(text).map_err(|cause| Trouble::Store(failed("unpack", cause)));
    unpack(compression, more, take).map_err(|trouble| trouble.at(&path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lake::pack::pack;

    /// Decompresses bytes that come in pieces of one size, into pieces of text of another size.
    fn unpacked(
        compression: Compression,
        bytes: &[u8],
        piece: usize,
        room: usize,
    ) -> Result<Vec<u8>, Trouble> {
        let mut unpacker = Unpacker::of(compression).unwrap().unwrap();
        let (mut text, mut pieces) = (Vec::new(), bytes.chunks(piece));
        loop {
            let mut chunk = Vec::with_capacity(room);
            let going_on = unpacker.fill(&mut chunk, |input| {
                let next = pieces.next();
                input.extend_from_slice(next.unwrap_or_default());
                Ok(next.is_some())
            })?;
            text.append(&mut chunk);
            if !going_on {
                return Ok(text);
            }
        }
    }

    const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

    fn packed(compression: Compression, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(compression, &mut &text[..], text.len() as u64, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn several_members_and_frames_are_one_text() {
        for compression in BOTH {
            let parts: [&[u8]; 4] = [b"[{\"a\":1}", b"", &b",{\"b\":2}".repeat(100_000), b"]"];
            let bytes: Vec<u8> = parts.iter().flat_map(|part| packed(compression, part)).collect();
            assert!(unpacked(compression, &bytes, 7, 1000).unwrap() == parts.concat());
            assert_eq!(
                measure(compression, &bytes),
                Some((800_009, crc32fast::hash(&parts.concat())))
            );
        }
    }

    #[test]
    fn what_breaks_off_or_was_never_packed_is_damaged() {
        for compression in BOTH {
            let bytes = packed(compression, &b"{\"a\":1}\n".repeat(1000));
            for cut in [0, 1, 5, bytes.len() / 2, bytes.len() - 1] {
                let trouble = unpacked(compression, &bytes[..cut], 3, 100).unwrap_err();
                let Trouble::Damage { at: Spot::Byte(at), .. } = trouble else {
                    panic!("{trouble:?}")
                };
                assert!(at <= cut as u64, "{at} of {cut}");
            }
            assert!(unpacked(compression, b"[{\"a\":1}]", 3, 100).is_err());
            let trailing = [&bytes[..], b"rest"].concat();
            assert!(unpacked(compression, &trailing, 1000, 100).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn a_few_bytes_make_no_more_text_than_there_is_room_for() {
        for compression in BOTH {
            let bytes = packed(compression, &vec![b' '; 64 << 20]);
            let mut unpacker = Unpacker::of(compression).unwrap().unwrap();
            let mut text = Vec::with_capacity(1000);
            let more = |input: &mut Vec<u8>| {
                input.extend_from_slice(&bytes);
                Ok(false)
            };
            assert!(unpacker.fill(&mut text, more).unwrap());
            assert_eq!(text.capacity(), 1000);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_unpacks_what_was_packed(text in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1usize..50, piece in 1usize..3000, room in 1usize..3000) {
            let text = text.repeat(repeat);
            for compression in BOTH {
                let bytes = packed(compression, &text);
                prop_assert!(bytes == packed(compression, &text), "the same text is packed the same way");
                prop_assert!(unpacked(compression, &bytes, piece, room).unwrap() == text);
            }
        }

        #[test]
        fn no_flipped_byte_passes_for_another_text(text in prop::collection::vec(0u8..4, 1..3000), at in any::<prop::sample::Index>(), mask in 1u8..) {
            for compression in BOTH {
                let mut bytes = packed(compression, &text);
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
                if let Ok(found) = unpacked(compression, &bytes, 1000, 1000) {
                    prop_assert!(found == text, "byte {} of {:?}", at, compression);
                }
            }
        }
    }
}
