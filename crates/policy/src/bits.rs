//! Sets of small numbers.

/// A set of numbers below a limit that is fixed when it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bits(Box<[u64]>);

impl Bits {
    /// The empty set of numbers below `limit`.
    pub(crate) fn empty(limit: usize) -> Self {
        Self(vec![0; limit.div_ceil(64)].into())
    }

    pub(crate) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Becomes equal to a set with the same limit.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(crate) fn intersect_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    /// Of the numbers in `mentioned`, keeps those in `selected`; others stay as they are.
    pub(crate) fn restrict(&mut self, mentioned: &Self, selected: &Self) {
        for (word, (mentioned, selected)) in self.0.iter_mut().zip(mentioned.0.iter().zip(&selected.0)) {
            *word &= !mentioned | selected;
        }
    }

    /// The numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    i * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(numbers: &[usize]) -> Bits {
        let mut bits = Bits::empty(130);
        numbers.iter().for_each(|number| bits.insert(*number));
        bits
    }

    #[test]
    fn restricts_only_what_is_mentioned() {
        let mut set = bits(&[1, 64, 128]);
        set.restrict(&bits(&[1, 128]), &bits(&[128]));
        assert_eq!(set.iter().collect::<Vec<_>>(), [64, 128]);
    }
}
