//! Which objects of a logical database have changed, as a server announces it.

use std::collections::BTreeSet;

use futures::stream::BoxStream;

use crate::objects::ObjectRef;

/// More objects than this are not told apart: looking at all of them costs less then.
pub const MOST_CHANGED: usize = 500;

/// Which objects have changed, at most once for each poll: what happens in between is put together. It ends when the
/// connection is lost.
pub type Changes = BoxStream<'static, ChangedObjects>;

/// What has changed. A hint: it says where to look, not what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedObjects {
    /// It is not known which: any of them.
    All,
    /// No others than these, which may be gone.
    These(BTreeSet<ObjectRef>),
}

impl ChangedObjects {
    /// Adds what else has changed. From [`MOST_CHANGED`] on it is all of them.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::These(these), Self::These(others)) => {
                these.extend(others);
                if these.len() > MOST_CHANGED {
                    *self = Self::All;
                }
            }
        }
    }

    /// Has nothing changed?
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::These(these) if these.is_empty())
    }
}

impl Default for ChangedObjects {
    /// Nothing has changed.
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectClass;

    fn these(ids: std::ops::Range<u32>) -> ChangedObjects {
        ChangedObjects::These(ids.map(|id| ObjectRef { class: ObjectClass::Table, id }).collect())
    }

    #[test]
    fn what_is_too_much_to_tell_apart_is_everything_and_stays_so() {
        let mut changed = ChangedObjects::default();
        assert!(changed.is_nothing());
        changed.add(these(1..3));
        changed.add(these(2..4));
        assert_eq!(changed, these(1..4));
        changed.add(these(0..MOST_CHANGED as u32));
        assert_eq!(changed, these(0..MOST_CHANGED as u32));
        changed.add(these(1_000..1_001));
        assert_eq!(changed, ChangedObjects::All);
        changed.add(these(1..2));
        assert_eq!(changed, ChangedObjects::All);
        let mut changed = these(1..2);
        changed.add(ChangedObjects::All);
        assert_eq!(changed, ChangedObjects::All);
    }
}
