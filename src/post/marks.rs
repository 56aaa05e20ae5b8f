//! The quotes, backslashes and brackets among 64 bytes, as bits of four words: found at once, they
//! cost a tenth of a look at each byte. The method is that of simdjson (Langdale and Lemire (2019),
//! "Parsing Gigabytes of JSON per Second").

/// The number of bytes in a block.
pub(super) const BLOCK_BYTES: usize = 64;

/// The marks in a block: bit *n* stands for byte *n*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub quotes: u64,
    pub backslashes: u64,
    /// `{` and `[`.
    pub opens: u64,
    /// `}` and `]`.
    pub closes: u64,
}

impl Marks {
    /// Finds the marks of a block.
    #[inline]
    pub(super) fn of(block: &[u8; BLOCK_BYTES]) -> Self {
        // SAFETY: it needs SSE2, which every x86-64 has.
        #[cfg(target_arch = "x86_64")]
        let marks = unsafe { sse2::marks(block) };
        #[cfg(not(target_arch = "x86_64"))]
        let marks = portable::marks(block);
        marks
    }
}

/// Returns a word with a bit set for each byte behind an odd number of quotes, an opening quote
/// included.
#[inline]
pub(super) fn inside_quotes(mut quotes: u64) -> u64 {
    for distance in [1, 2, 4, 8, 16, 32] {
        quotes ^= quotes << distance;
    }
    quotes
}

/// The bit in which `[` and `{`, and `]` and `}`, differ.
const BRACE_BIT: u8 = 0x20;

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    use super::{BLOCK_BYTES, BRACE_BIT, Marks};

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn marks(block: &[u8; BLOCK_BYTES]) -> Marks {
        let mut marks = Marks { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
        let (words, _) = block.as_chunks::<8>();
        // A closure wouldn't have the feature, and couldn't be inlined.
        for part in 0..BLOCK_BYTES / 16 {
            let low = i64::from_le_bytes(words[2 * part]);
            let high = i64::from_le_bytes(words[2 * part + 1]);
            let bytes = _mm_set_epi64x(high, low);
            let braces = _mm_or_si128(bytes, _mm_set1_epi8(BRACE_BIT as i8));
            let shift = 16 * part;
            marks.quotes |= equal(bytes, b'"') << shift;
            marks.backslashes |= equal(bytes, b'\\') << shift;
            marks.opens |= equal(braces, b'{') << shift;
            marks.closes |= equal(braces, b'}') << shift;
        }
        marks
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> u64 {
        let equal = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        u64::from(_mm_movemask_epi8(equal) as u32)
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::{BLOCK_BYTES, BRACE_BIT, Marks};

    pub(super) fn marks(block: &[u8; BLOCK_BYTES]) -> Marks {
        let mut marks = Marks { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
        for (at, byte) in block.iter().enumerate() {
            let bit = |is: bool| u64::from(is) << at;
            marks.quotes |= bit(*byte == b'"');
            marks.backslashes |= bit(*byte == b'\\');
            marks.opens |= bit(byte | BRACE_BIT == b'{');
            marks.closes |= bit(byte | BRACE_BIT == b'}');
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_find_the_same(
            bytes in proptest::collection::vec(
                prop_oneof![proptest::sample::select(&b"\"\\{}[]a;"[..]), any::<u8>()],
                BLOCK_BYTES,
            ),
        ) {
            let block: &[u8; BLOCK_BYTES] = bytes.as_slice().try_into().expect("a block");
            prop_assert_eq!(Marks::of(block), portable::marks(block));
        }

        #[test]
        fn bytes_behind_an_odd_number_of_quotes_are_inside(quotes: u64) {
            let inside = inside_quotes(quotes);
            for at in 0..64 {
                let behind = (quotes << (63 - at)).count_ones();
                prop_assert_eq!(inside >> at & 1, u64::from(behind % 2));
            }
        }
    }
}
