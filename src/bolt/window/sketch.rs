//! Mergeable summaries of many values, which don't depend on the order of the values: an exact sum,
//! HyperLogLog, and DDSketch.

use std::collections::{BTreeMap, BTreeSet};

use crate::bolt::bytes::{Reader, Writer};

/// A sum of floats without any rounding until it is read (Shewchuk, "Adaptive Precision
/// Floating-Point Arithmetic", 1997): partial sums that don't overlap. A plain sum would depend on
/// the order in its last digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExactSum {
    partials: Vec<f64>,
}

impl ExactSum {
    /// Adds a finite number.
    pub(crate) fn add(&mut self, number: f64) {
        let mut rest = number;
        let mut kept = 0;
        for at in 0..self.partials.len() {
            let mut partial = self.partials[at];
            if rest.abs() < partial.abs() {
                std::mem::swap(&mut rest, &mut partial);
            }
            let high = rest + partial;
            let low = partial - (high - rest);
            if low != 0.0 {
                self.partials[kept] = low;
                kept += 1;
            }
            rest = high;
        }
        self.partials.truncate(kept);
        self.partials.push(rest);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.partials.iter().for_each(|partial| self.add(*partial));
    }

    /// Returns the sum, rounded once.
    pub(crate) fn value(&self) -> f64 {
        let Some((last, rest)) = self.partials.split_last() else { return 0.0 };
        let (mut high, mut low) = (*last, 0.0);
        let mut left = rest;
        while let Some((partial, before)) = left.split_last() {
            let sum = high + partial;
            low = partial - (sum - high);
            high = sum;
            left = before;
            if low != 0.0 {
                break;
            }
        }
        // Exactly between two floats, the smaller partial sums decide which float is nearer.
        if let Some(below) = left.last()
            && (low < 0.0 && *below < 0.0 || low > 0.0 && *below > 0.0)
        {
            let twice = low * 2.0;
            let sum = high + twice;
            if twice == sum - high {
                high = sum;
            }
        }
        high
    }

    fn encode(&self, into: &mut Writer<'_>) {
        into.number(self.partials.len() as u64);
        self.partials.iter().for_each(|partial| into.float(*partial));
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut partials = Vec::new();
        for _ in 0..from.number()? {
            partials.push(from.float()?);
        }
        Some(Self { partials })
    }
}

/// A sum of whole numbers and floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// The sum of the whole numbers, with room for 2^64 of them.
    whole: i128,
    floats: ExactSum,
    /// The number of values, and the number of floats among them.
    pub numbers: u64,
    floats_count: u64,
}

impl Sum {
    /// Adds a whole number.
    pub fn add_whole(&mut self, number: i64) {
        self.whole += i128::from(number);
        self.numbers += 1;
    }

    /// Adds a finite float.
    pub fn add_float(&mut self, number: f64) {
        self.floats.add(number);
        self.numbers += 1;
        self.floats_count += 1;
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.whole += other.whole;
        self.floats.merge(&other.floats);
        self.numbers += other.numbers;
        self.floats_count += other.floats_count;
    }

    /// Returns the sum if it is a whole number that fits, with no float in it.
    pub fn as_whole(&self) -> Option<i64> {
        if self.floats_count > 0 { None } else { i64::try_from(self.whole).ok() }
    }

    /// Returns the sum.
    pub fn value(&self) -> f64 {
        let mut sum = self.floats.clone();
        sum.add(self.whole as f64);
        sum.value()
    }

    /// Appends the sum to a saved state.
    pub fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(&self.whole.to_le_bytes());
        into.number(self.numbers);
        into.number(self.floats_count);
        self.floats.encode(into);
    }

    /// Reads the output of [`encode`](Self::encode).
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let whole = i128::from_le_bytes(from.bytes()?.try_into().ok()?);
        let (numbers, floats_count) = (from.number()?, from.number()?);
        Some(Self { whole, numbers, floats_count, floats: ExactSum::decode(from)? })
    }
}

/// The number of different values that are counted exactly, by their hashes. A larger number costs
/// 8 bytes for each; beyond it, 16 KB estimate the count.
const EXACT_MAX: usize = 1_024;

/// 2^14 registers: a standard error of 0.8 %.
const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// The number of different values: exact for a few, then HyperLogLog (Flajolet et al. 2007), read
/// by the estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches",
/// 2017), which needs no tables of corrections. Registers hold maxima, so the order of values
/// doesn't matter.
#[derive(Clone, Debug, PartialEq)]
pub enum Distinct {
    Exact(BTreeSet<u64>),
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(BTreeSet::new())
    }
}

fn register(hash: u64) -> (usize, u8) {
    let index = (hash >> (64 - REGISTER_BITS)) as usize;
    // The bit after the end stops the count of leading zeros at 50.
    let rest = hash << REGISTER_BITS | 1 << (REGISTER_BITS - 1);
    (index, rest.leading_zeros() as u8 + 1)
}

impl Distinct {
    /// Adds a value by its hash.
    pub fn add(&mut self, hash: u64) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT_MAX {
                    *self = Self::Registers(registers_of(hashes));
                }
            }
            Self::Registers(registers) => {
                let (index, rank) = register(hash);
                registers[index] = registers[index].max(rank);
            }
        }
    }

    /// Merges the values of another counter.
    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(hashes) => hashes.iter().for_each(|hash| self.add(*hash)),
            Self::Registers(others) => {
                if let Self::Exact(hashes) = self {
                    *self = Self::Registers(registers_of(hashes));
                }
                if let Self::Registers(registers) = self {
                    for (own, other) in registers.iter_mut().zip(others.iter()) {
                        *own = (*own).max(*other);
                    }
                }
            }
        }
    }

    /// Returns the number of different values.
    pub fn count(&self) -> u64 {
        match self {
            Self::Exact(hashes) => hashes.len() as u64,
            Self::Registers(registers) => estimate(registers),
        }
    }

    /// Appends the values to a saved state.
    pub fn encode(&self, into: &mut Writer<'_>) {
        match self {
            Self::Exact(hashes) => {
                into.number(hashes.len() as u64);
                hashes.iter().for_each(|hash| into.hash(*hash));
            }
            Self::Registers(registers) => {
                into.number(REGISTERS as u64);
                into.0.extend_from_slice(&registers[..]);
            }
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::try_from(from.number()?).ok()?;
        if count == REGISTERS {
            let registers: [u8; REGISTERS] = from.0.split_off(..REGISTERS)?.try_into().ok()?;
            return Some(Self::Registers(Box::new(registers)));
        }
        let mut hashes = BTreeSet::new();
        for _ in 0..count {
            hashes.insert(from.hash()?);
        }
        Some(Self::Exact(hashes))
    }
}

fn registers_of(hashes: &BTreeSet<u64>) -> Box<[u8; REGISTERS]> {
    let mut registers = Box::new([0; REGISTERS]);
    for (index, rank) in hashes.iter().map(|hash| register(*hash)) {
        registers[index] = registers[index].max(rank);
    }
    registers
}

/// Computes Ertl's improved raw estimator.
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const RANKS: usize = 64 - REGISTER_BITS as usize;
    let mut of_rank = [0_u32; RANKS + 2];
    for rank in registers {
        of_rank[usize::from(*rank).min(RANKS + 1)] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(of_rank[RANKS + 1])) / m);
    for rank in (1..=RANKS).rev() {
        z = 0.5 * (z + f64::from(of_rank[rank]));
    }
    z += m * sigma(f64::from(of_rank[0]) / m);
    (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The relative error of a quantile. A smaller one takes more bins: 1 % about 230 for each factor
/// of 100 between the least and the largest number.
const QUANTILE_ERROR: f64 = 0.01;

/// A histogram with bins that are 2 % wide: DDSketch (Masson, Rim and Lee, "DDSketch: a fast and
/// fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019). Bins hold counts,
/// so the order of numbers doesn't matter; all floats together need at most 72,000 bins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles {
    negative: BTreeMap<i32, u64>,
    zeros: u64,
    positive: BTreeMap<i32, u64>,
}

fn gamma() -> f64 {
    (1.0 + QUANTILE_ERROR) / (1.0 - QUANTILE_ERROR)
}

fn bin_of(number: f64) -> i32 {
    (number.ln() / gamma().ln()).ceil() as i32
}

/// Returns the number in the middle of a bin, at most 1 % from all numbers in the bin.
fn middle(bin: i32) -> f64 {
    2.0 * (f64::from(bin) * gamma().ln()).exp() / (gamma() + 1.0)
}

impl Quantiles {
    /// Adds a finite number.
    pub fn add(&mut self, number: f64) {
        let (bins, size) = match number {
            _ if number > 0.0 => (&mut self.positive, number),
            _ if number < 0.0 => (&mut self.negative, -number),
            _ => {
                self.zeros += 1;
                return;
            }
        };
        *bins.entry(bin_of(size)).or_default() += 1;
    }

    /// Adds the numbers of another one.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        for (bins, others) in
            [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)]
        {
            for (bin, count) in others {
                *bins.entry(*bin).or_default() += count;
            }
        }
    }

    /// Returns the number at this quantile; `None` without numbers.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let negative = self.negative.iter().rev().map(|(bin, count)| (-middle(*bin), *count));
        let zeros = (self.zeros > 0).then_some((0.0, self.zeros));
        let positive = self.positive.iter().map(|(bin, count)| (middle(*bin), *count));
        let all: Vec<(f64, u64)> = negative.chain(zeros).chain(positive).collect();
        let count: u64 = all.iter().map(|(_, count)| count).sum();
        let rank = (part * count.saturating_sub(1) as f64) as u64;
        let mut before = 0;
        for (number, count) in all {
            before += count;
            if before > rank {
                return Some(number);
            }
        }
        None
    }

    /// Appends the numbers to a saved state.
    pub fn encode(&self, into: &mut Writer<'_>) {
        into.number(self.zeros);
        for bins in [&self.negative, &self.positive] {
            into.number(bins.len() as u64);
            for (bin, count) in bins {
                into.signed((*bin).into());
                into.number(*count);
            }
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let zeros = from.number()?;
        let mut both = [BTreeMap::new(), BTreeMap::new()];
        for bins in &mut both {
            for _ in 0..from.number()? {
                bins.insert(i32::try_from(from.signed()?).ok()?, from.number()?);
            }
        }
        let [negative, positive] = both;
        Some(Self { negative, zeros, positive })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::stable_hash;
    use crate::value::Value;

    fn distinct(values: impl Iterator<Item = i64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.for_each(|value| distinct.add(stable_hash([&Value::Int(value)])));
        distinct
    }

    #[test]
    fn few_values_are_counted_exactly_and_many_within_three_percent() {
        for count in [0, 1, 100, 1_024, 1_025, 5_000, 50_000, 400_000] {
            let found = distinct((0..count).chain(0..count / 2)).count();
            let error = found.abs_diff(count as u64) as f64 / (count as f64).max(1.0);
            assert!(if count <= 1_024 { error == 0.0 } else { error < 0.03 }, "{count}: {found}");
        }
    }

    #[test]
    fn values_in_any_order_and_merged_are_the_same() {
        let forward = distinct(0..3_000);
        assert_eq!(forward, distinct((0..3_000).rev()));
        for cut in [10, 1_500, 2_990] {
            let mut merged = distinct(0..cut);
            merged.merge(&distinct(cut - 5..3_000));
            assert_eq!(merged, forward);
        }
    }

    #[test]
    fn a_sum_is_rounded_once() {
        let sum = |numbers: &[f64]| {
            let mut sum = ExactSum::default();
            numbers.iter().for_each(|number| sum.add(*number));
            sum.value()
        };
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 10_000_000_000_000_002.0);
        assert_eq!(sum(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn sums_and_quantiles_do_not_depend_on_the_order(
            mut numbers in prop::collection::vec(-1e9_f64..1e9, 1..100), cut in any::<prop::sample::Index>(),
        ) {
            let summary = |numbers: &[f64]| {
                let (mut sum, mut quantiles) = (Sum::default(), Quantiles::default());
                for number in numbers {
                    sum.add_float(*number);
                    sum.add_whole(*number as i64);
                    quantiles.add(*number);
                }
                (sum, quantiles)
            };
            let (sum, quantiles) = summary(&numbers);
            let cut = cut.index(numbers.len());
            let (mut merged_sum, mut merged) = summary(&numbers[cut..]);
            let (first_sum, first) = summary(&numbers[..cut]);
            merged_sum.merge(&first_sum);
            merged.merge(&first);
            prop_assert_eq!(merged_sum.value().to_bits(), sum.value().to_bits());
            prop_assert_eq!(&merged, &quantiles);
            let mut bytes = Vec::new();
            sum.encode(&mut Writer(&mut bytes));
            quantiles.encode(&mut Writer(&mut bytes));
            let mut reader = Reader(&bytes);
            prop_assert_eq!(Sum::decode(&mut reader), Some(sum));
            prop_assert_eq!(Quantiles::decode(&mut reader), Some(quantiles.clone()));
            numbers.sort_by(f64::total_cmp);
            for part in [0.0, 0.5, 0.9, 1.0] {
                let exact = numbers[(part * (numbers.len() - 1) as f64) as usize];
                let found = quantiles.quantile(part).unwrap();
                prop_assert!((found - exact).abs() <= 0.0101 * exact.abs(), "{found} {exact}");
            }
        }
    }
}
