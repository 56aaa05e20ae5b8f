//! Random numbers from ChaCha8, keyed by the seed and by the purpose.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of random numbers. Each purpose has a separate sequence, so that one post's draws
/// never depend on those of another.
#[derive(Clone, Copy)]
pub(super) enum For {
    /// The post with this number.
    Post(u64),
    /// The burst of the period with this number.
    Burst(u64),
}

/// A sequence of random numbers: the same on every machine. Only whole numbers are used, since the
/// last bits of floating-point functions differ between platforms.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64, what: For) -> Self {
        let (kind, number) = match what {
            For::Post(number) => (0_u8, number),
            For::Burst(number) => (1, number),
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        key[16] = kind;
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Returns 32 random bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Returns 64 random bits.
    pub(crate) fn long(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `bound`; the distribution is even enough for bounds far below 2^32.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(bound)) >> 32) as u32
    }

    /// Returns true once in `times`, on average.
    pub(crate) fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Returns a count as found on social media: mostly small, occasionally large, below
    /// 2^`bits_max`.
    pub(crate) fn count(&mut self, bits_max: u32) -> u64 {
        let bits = self.bits();
        skewed(bits.into(), bits_max)
    }

    /// Returns a random element.
    pub(crate) fn of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len() as u32) as usize]
    }
}

/// Returns a number whose length in bits is evenly distributed between 0 and `bits_max`, from at
/// least 32 random bits.
pub(super) fn skewed(random: u64, bits_max: u32) -> u64 {
    let length = (random & 0xff) as u32 * (bits_max + 1) / 256;
    (random >> 8) & ((1 << length) - 1)
}

/// Permutes all 64-bit numbers without a visible pattern (the finaliser of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
