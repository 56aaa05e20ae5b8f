//! Expected values, and the differences between an expected and an actual value.

use std::fmt;

use serde_json::Value;

/// The expectation about a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Any value.
    Any,
    /// Null, true, false, a number or a text.
    Is(Value),
    /// An object with these members, and any others.
    Object(Vec<(String, Pattern)>),
    /// A list of exactly these values.
    List(Vec<Pattern>),
    /// A text that contains this text.
    Contains(String),
    /// A number between these two, both included.
    Between(f64, f64),
}

/// A difference between an expected and an actual value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// The place: `count`, `post.tweet.id`, `topics[1]`.
    pub path: String,
    /// The expected value.
    pub expected: String,
    /// The actual value; `None` if the member is missing.
    pub found: Option<String>,
}

/// The largest relative difference between equal numbers: two computations of a number may differ
/// in the last bits.
const RELATIVE_ERROR_MAX: f64 = 1e-9;

impl Pattern {
    /// Returns the pattern of a JSON value. Objects may have further members.
    pub fn of_json(json: &Value) -> Self {
        match json {
            Value::Object(members) => Self::Object(
                members.iter().map(|(name, value)| (name.clone(), Self::of_json(value))).collect(),
            ),
            Value::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            scalar => Self::Is(scalar.clone()),
        }
    }

    /// Returns true if a value matches the pattern.
    pub fn matches(&self, found: &Value) -> bool {
        match (self, found) {
            (Self::Any, _) => true,
            (Self::Is(Value::Number(expected)), Value::Number(found)) => same(expected, found),
            (Self::Is(expected), found) => expected == found,
            (Self::Object(members), Value::Object(found)) => members
                .iter()
                .all(|(name, pattern)| found.get(name).is_some_and(|value| pattern.matches(value))),
            (Self::List(items), Value::Array(found)) => {
                items.len() == found.len()
                    && items.iter().zip(found).all(|(item, value)| item.matches(value))
            }
            (Self::Contains(part), Value::String(text)) => text.contains(part),
            (Self::Between(least, most), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| (*least..=*most).contains(&number))
            }
            _ => false,
        }
    }

    /// Returns the places where a value differs from the pattern.
    pub fn differences(&self, found: &Value) -> Vec<FieldDifference> {
        let mut differences = Vec::new();
        self.add_differences(String::new(), Some(found), &mut differences);
        differences
    }

    fn add_differences(
        &self,
        path: String,
        found: Option<&Value>,
        into: &mut Vec<FieldDifference>,
    ) {
        match (self, found) {
            (Self::Object(members), Some(Value::Object(object))) => {
                for (name, pattern) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    pattern.add_differences(format!("{path}{dot}{name}"), object.get(name), into);
                }
            }
            (Self::List(items), Some(Value::Array(values))) if items.len() == values.len() => {
                for (position, (item, value)) in items.iter().zip(values).enumerate() {
                    item.add_differences(format!("{path}[{position}]"), Some(value), into);
                }
            }
            (_, found) => {
                if !found.is_some_and(|found| self.matches(found)) {
                    let (expected, found) = (self.to_string(), found.map(Value::to_string));
                    into.push(FieldDifference { path, expected, found });
                }
            }
        }
    }
}

fn same(expected: &serde_json::Number, found: &serde_json::Number) -> bool {
    if expected == found {
        return true;
    }
    // Whole numbers are compared exactly: a float can't tell large ids apart.
    let is_whole = |number: &serde_json::Number| number.is_i64() || number.is_u64();
    let (Some(a), Some(b)) = (expected.as_f64(), found.as_f64()) else { return false };
    !(is_whole(expected) && is_whole(found))
        && (a - b).abs() <= RELATIVE_ERROR_MAX * a.abs().max(b.abs())
}

/// Prints JSON, and the words of a topology file for patterns that JSON can't express.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Is(value) => write!(f, "{value}"),
            Self::Contains(part) => write!(f, "Contains({})", Value::from(part.as_str())),
            Self::Between(least, most) => write!(f, "Between({least}, {most})"),
            Self::Object(members) => {
                f.write_str("{")?;
                for (position, (name, pattern)) in members.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{}:{pattern}", Value::from(name.as_str()))?;
                }
                f.write_str("}")
            }
            Self::List(items) => {
                f.write_str("[")?;
                for (position, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if position > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_names_the_members_that_matter_at_every_depth() {
        let pattern = Pattern::of_json(&json!({"post": {"tweet": {"id": 1}}, "topics": ["a"]}));
        let found =
            json!({"post": {"tweet": {"id": 1, "text": "x"}}, "kind": "t", "topics": ["a"]});
        assert!(pattern.matches(&found));
        let other = json!({"post": {"tweet": {"id": 2}}, "topics": ["a", "b"]});
        let paths: Vec<_> =
            pattern.differences(&other).into_iter().map(|difference| difference.path).collect();
        assert_eq!(paths, ["post.tweet.id", "topics"]);
    }

    #[test]
    fn large_whole_numbers_are_told_apart_and_floats_may_differ_in_their_last_bits() {
        let is = |expected: Value, found: Value| Pattern::Is(expected).matches(&found);
        assert!(!is(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)));
        assert!(is(json!(0.3), json!(0.1 + 0.2)));
        assert!(is(json!(1), json!(1.0)));
        assert!(!is(json!(1), json!("1")));
    }

    #[test]
    fn a_text_may_be_named_by_a_part_and_a_number_by_its_bounds() {
        assert!(Pattern::Contains("orm".into()).matches(&json!("storm")));
        assert!(!Pattern::Contains("orm".into()).matches(&json!(1)));
        assert!(Pattern::Between(1.0, 2.0).matches(&json!(2)));
        assert!(!Pattern::Between(1.0, 2.0).matches(&json!(2.1)));
        assert!(Pattern::Any.matches(&Value::Null));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_is_as_expected_exactly_where_nothing_differs(a in any_json(), b in any_json()) {
            let pattern = Pattern::of_json(&a);
            prop_assert!(pattern.matches(&a));
            prop_assert_eq!(pattern.matches(&b), pattern.differences(&b).is_empty());
        }
    }
}
