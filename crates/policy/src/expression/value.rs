//! Values while an expression is evaluated.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::spec::{Labels, Traits};

/// A value; cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    Built(Rc<str>),
    List(Rc<[Value<'a>]>),
    /// The values of a trait.
    Texts(&'a [String]),
    Map(Rc<BTreeMap<String, Value<'a>>>),
    Labels(&'a Labels),
    Traits(&'a Traits),
}

impl<'a> Value<'a> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Built(text) => Some(text),
            _ => None,
        }
    }

    /// How many items a list has or entries a map.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::Texts(texts) => Some(texts.len()),
            Self::Map(map) => Some(map.len()),
            Self::Labels(labels) => Some(labels.len()),
            Self::Traits(traits) => Some(traits.len()),
            _ => None,
        }
    }

    /// The items of a list.
    pub(super) fn item(&self, index: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(index).cloned(),
            Self::Texts(texts) => texts.get(index).map(|text| Self::Text(text)),
            _ => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Texts(_))
    }

    /// Whether it is a map and has the key.
    pub(super) fn has_key(&self, key: &str) -> Option<bool> {
        match self {
            Self::Map(map) => Some(map.contains_key(key)),
            Self::Labels(labels) => Some(labels.contains_key(key)),
            Self::Traits(traits) => Some(traits.contains_key(key)),
            _ => None,
        }
    }

    /// A map's value at the key. Labels and traits have one at every key.
    pub(super) fn at(&self, key: &str) -> Option<Self> {
        match self {
            Self::Map(map) => map.get(key).cloned(),
            Self::Labels(labels) => Some(Self::Text(labels.get(key).map_or("", |value| value))),
            Self::Traits(traits) => Some(Self::Texts(traits.get(key).map_or(&[], |values| values))),
            _ => None,
        }
    }

    /// What macros go through: the items of a list, the keys of a map in order.
    pub(super) fn items(&self) -> Option<Box<dyn Iterator<Item = Self> + '_>> {
        Some(match self {
            Self::List(items) => Box::new(items.iter().cloned()),
            Self::Texts(texts) => Box::new(texts.iter().map(|text| Self::Text(text))),
            Self::Map(map) => Box::new(map.keys().map(|key| Self::Built(key.as_str().into()))),
            Self::Labels(labels) => Box::new(labels.keys().map(|key| Self::Text(key))),
            Self::Traits(traits) => Box::new(traits.keys().map(|key| Self::Text(key))),
            _ => return None,
        })
    }

    /// What comparing or copying it costs, in steps; what is beyond `most` is not counted any more. Lists can share
    /// parts, so that going through one can take far longer than it took to build it.
    pub(super) fn cost(&self, most: usize) -> usize {
        let mut cost = self.text().map_or(0, |text| text.len() / 32);
        if self.count().is_some() {
            for item in self.items().into_iter().flatten() {
                if cost > most {
                    break;
                }
                cost += 1 + item.cost(most - cost);
                let value = if self.is_list() { None } else { item.text().and_then(|key| self.at(key)) };
                if let Some(value) = value {
                    cost += value.cost(most.saturating_sub(cost));
                }
            }
        }
        cost
    }

    /// Equality: numbers by value, whatever their type; values of other types that differ are unequal.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(_) | Self::Double(_), Self::Int(_) | Self::Double(_)) => {
                self.compare(other) == Some(Ordering::Equal)
            }
            _ => {
                if let (Some(a), Some(b)) = (self.text(), other.text()) {
                    return a == b;
                }
                if self.count().is_none() || self.count() != other.count() {
                    return false;
                }
                if self.is_list() && other.is_list() {
                    return self
                        .items()
                        .into_iter()
                        .flatten()
                        .zip(other.items().into_iter().flatten())
                        .all(|(a, b)| a.equals(&b));
                }
                !self.is_list()
                    && !other.is_list()
                    && self.items().into_iter().flatten().all(|key| {
                        let key = key.text().unwrap_or_default();
                        other.has_key(key) == Some(true)
                            && matches!((self.at(key), other.at(key)), (Some(a), Some(b)) if a.equals(&b))
                    })
            }
        }
    }

    /// Order of numbers, strings and truth values; `None` for anything else.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => compare_int_to_double(*a, *b),
            (Self::Double(a), Self::Int(b)) => compare_int_to_double(*b, *a).map(Ordering::reverse),
            _ => Some(self.text()?.cmp(other.text()?)),
        }
    }
}

/// Compares exactly: an `i64` has more digits than an `f64` can represent.
fn compare_int_to_double(int: i64, double: f64) -> Option<Ordering> {
    // 2^63, the first double beyond every i64; its negative is the first one.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= LIMIT {
        return Some(Ordering::Less);
    }
    if double < -LIMIT {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    Some(int.cmp(&(whole as i64)).then(0.0_f64.total_cmp(&(double - whole + 0.0))))
}
