//! A set of a few values.

/// A set that mostly has one value, in the order of its values. A tree would take the memory of eleven for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallSet<T>(Vec<T>);

impl<T> Default for SmallSet<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> SmallSet<T> {
    /// Adds a value, unless it is there.
    pub fn insert(&mut self, value: T) {
        if let Err(at) = self.0.binary_search(&value) {
            // Not the four places that a vector begins with.
            if self.0.len() < 4 {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, value);
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, value: &T) {
        if let Ok(at) = self.0.binary_search(value) {
            self.0.remove(at);
        }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a SmallSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_each_value_once_in_order() {
        let mut set = SmallSet::default();
        for value in [3, 1, 2, 3, 1] {
            set.insert(value);
        }
        assert!(set.iter().eq(&[1, 2, 3]));
        set.remove(&2);
        set.remove(&9);
        assert!((&set).into_iter().eq(&[1, 3]) && !set.is_empty());
        set.remove(&1);
        set.remove(&3);
        assert!(set.is_empty());
    }

    #[test]
    fn one_value_takes_the_memory_of_one() {
        let mut set = SmallSet::default();
        set.insert(7);
        assert_eq!(set.0.capacity(), 1);
    }
}
