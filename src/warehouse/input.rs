//! The kinds of inputs that a warehouse accepts, recognised by their fields.

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
    /// Finds the layout of an input.
    ///
    /// # Errors
    /// If fields are missing; the error names the expected and the missing ones.
    pub fn of(fields: &Fields) -> Result<Self, String> {
        if TrendLayout::is_of(fields) {
            return TrendLayout::of(fields).map(Self::Trends);
        }
        RowLayout::of(fields).map(Self::Posts).map_err(|missing| {
            format!(
                "expected the fields \"{}\", as Features declares them, those of Trends, or a \
                    field \"post\" \
                 alone; found {fields}, which has no \"{}\"",
                DEMANDED.join("\", \""),
                missing.join("\" and no \"")
            )
        })
    }

    /// Returns the tables for the input's tuples, for people.
    pub fn tables(&self) -> &'static str {
        match self {
            Self::Posts(_) => "table posts and those beside it",
            Self::Trends(_) => "table trends",
        }
    }

    /// Checks that a tuple has its required values before it is stored.
    ///
    /// # Errors
    /// If values are missing; the error names them.
    pub fn check(&self, values: &[Value]) -> Result<(), String> {
        match self {
            Self::Posts(layout) => layout.check(values),
            Self::Trends(layout) => layout.check(values),
        }
    }

    /// Reads a tuple.
    ///
    /// # Errors
    /// If the tuple can't be a row; the reason goes into its dead letter.
    pub fn read(&self, values: &[Value], reading: RowReading) -> Result<WarehouseRow, String> {
        match self {
            Self::Posts(layout) => read(layout, values, reading),
            Self::Trends(layout) => layout.read(values).map(WarehouseRow::Trend),
        }
    }
}
