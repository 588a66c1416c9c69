//! What is in one set of logical databases and not in another.

use std::collections::BTreeSet;

use rolecall_policy::DatabaseNames;

use crate::explain::NamesView;

/// The names in `all` that are not in `but`; `None`: there are none.
pub(super) fn difference(all: &DatabaseNames, but: &DatabaseNames) -> Option<NamesView> {
    use DatabaseNames::{AllExcept, Only};
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<String>>();
    match (all, but) {
        (AllExcept(all), AllExcept(but)) => only(list(&set(but) - &set(all))),
        (AllExcept(all), Only(but)) => Some(NamesView::AllExcept(list(&set(all) | &set(but)))),
        (Only(all), AllExcept(but)) => only(list(&set(all) & &set(but))),
        (Only(all), Only(but)) => only(list(&set(all) - &set(but))),
    }
}

fn only(names: Vec<String>) -> Option<NamesView> {
    (!names.is_empty()).then_some(NamesView::Only(names))
}

/// Whether a logical database is among them.
pub(super) fn has(names: &DatabaseNames, name: &str) -> bool {
    match names {
        DatabaseNames::AllExcept(names) => !names.iter().any(|other| other == name),
        DatabaseNames::Only(names) => names.iter().any(|other| other == name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_name_is_in_the_difference_if_it_is_in_the_one_and_not_in_the_other(
            all in names(), but in names(), name in "[a-d]",
        ) {
            let difference = difference(&all, &but);
            let is_in = match &difference {
                None => false,
                Some(NamesView::AllExcept(names)) => !names.contains(&name),
                Some(NamesView::Only(names)) => names.contains(&name),
            };
            proptest::prop_assert_eq!(is_in, has(&all, &name) && !has(&but, &name));
        }
    }

    fn names() -> impl proptest::strategy::Strategy<Value = DatabaseNames> {
        use proptest::prelude::*;
        (any::<bool>(), proptest::collection::vec("[a-c]", 0..3)).prop_map(|(except, names)| match except {
            true => DatabaseNames::AllExcept(names),
            false => DatabaseNames::Only(names),
        })
    }
}
