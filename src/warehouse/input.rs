//! The kinds of inputs that a warehouse takes, told apart by their fields.

use super::row::{DEMANDED, RowLayout, RowReading, WarehouseRow, read};
use super::trend::TrendLayout;
use crate::tuple::Fields;
use crate::value::Value;

/// The positions of the fields of an input.
#[derive(Clone, Debug)]
pub enum InputLayout {
    /// Tuples of `Features`: posts, deletions, gaps.
    Posts(RowLayout),
    /// Tuples of `Trends`.
    Trends(TrendLayout),
}

impl InputLayout {
    /// The layout of an input.
    ///
    /// # Errors
    /// Which fields were expected and which are missing.
    pub fn of(fields: &Fields) -> Result<Self, String> {
        if TrendLayout::is_of(fields) {
            return TrendLayout::of(fields).map(Self::Trends);
        }
        RowLayout::of(fields).map(Self::Posts).map_err(|missing| {
            format!(
                "expected the fields \"{}\", as Features declares them, those of Trends, or a field \"post\" \
                 alone; found {fields}, which has no \"{}\"",
                DEMANDED.join("\", \""),
                missing.join("\" and no \"")
            )
        })
    }

    /// The tables that its tuples go into, for people.
    pub fn tables(&self) -> &'static str {
        match self {
            Self::Posts(_) => "table posts and those beside it",
            Self::Trends(_) => "table trends",
        }
    }

    /// Checks what has to be there before a tuple is written down.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, values: &[Value]) -> Result<(), String> {
        match self {
            Self::Posts(layout) => layout.check(values),
            Self::Trends(layout) => layout.check(values),
        }
    }

    /// Reads a tuple.
    ///
    /// # Errors
    /// Why it is no row, for its dead letter.
    pub fn read(&self, values: &[Value], reading: RowReading) -> Result<WarehouseRow, String> {
        match self {
            Self::Posts(layout) => read(layout, values, reading),
            Self::Trends(layout) => layout.read(values).map(WarehouseRow::Trend),
        }
    }
}
