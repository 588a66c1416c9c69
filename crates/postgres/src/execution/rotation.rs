//! Where the next accounts are created, and what has to be done for that: a decision, and nothing else.

use crate::reads::creators::{Creators, Found};
use crate::statements::creators::Pair;

/// What follows from the creator roles that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// The open pair that accounts are created in, and how many it holds. `None`: the admin user creates them itself.
    pub(super) open: Option<(Pair, usize)>,
    /// It has to be made.
    pub(super) make: bool,
    /// The group has to be made before.
    pub(super) make_group: bool,
    /// Open ones that are full.
    pub(super) close: Vec<Pair>,
    /// Closed ones that hold nothing any more.
    pub(super) drop: Vec<Pair>,
}

/// The decision. `size`: about how many accounts each holds, and up to how many roles the admin user holds all itself.
pub(super) fn decide(found: &Creators, size: usize) -> Rotation {
    let usable = size > 0 && !found.superuser && !found.no_passwords;
    if !usable || (found.pairs.is_empty() && found.direct < size) {
        return Rotation::default();
    }
    let mut pairs: Vec<(Pair, &Found)> = found.pairs.iter().map(|one| (pair(one), one)).collect();
    pairs.sort_by_key(|(pair, _)| pair.number());
    let choose = |which: &dyn Fn(&Found) -> bool| {
        pairs.iter().filter(|(_, found)| which(found)).map(|(pair, _)| pair.clone()).collect::<Vec<_>>()
    };
    let with_room = pairs.iter().find(|(_, found)| found.open && found.held < size);
    let next = pairs.iter().filter_map(|(pair, _)| pair.number()).max().map_or(1, |last| last + 1);
    let open = with_room
        .map_or_else(|| (Pair::new(&found.group, next), 0), |(pair, found)| (pair.clone(), found.held));
    Rotation {
        make: with_room.is_none(),
        make_group: with_room.is_none() && !found.has_group,
        close: choose(&|found| found.open && found.held >= size),
        drop: choose(&|found| !found.open && found.held == 0),
        open: Some(open),
    }
}

fn pair(found: &Found) -> Pair {
    Pair { creator: found.creator.clone(), holder: found.holder.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(direct: usize, pairs: &[(u64, bool, usize)]) -> Creators {
        let pairs = pairs
            .iter()
            .map(|&(number, open, held)| {
                let Pair { creator, holder } = Pair::new("g", number);
                Found { creator, holder, open, held }
            })
            .collect();
        Creators { group: "g".to_owned(), has_group: true, direct, pairs, ..Creators::default() }
    }

    #[test]
    fn few_accounts_need_no_creator() {
        assert_eq!(decide(&found(99, &[]), 100), Rotation::default());
        assert_eq!(decide(&found(1000, &[]), 0), Rotation::default());
    }

    #[test]
    fn superusers_and_servers_that_restrict_passwords_have_none() {
        for found in [
            Creators { superuser: true, ..found(1000, &[]) },
            Creators { no_passwords: true, ..found(1000, &[(1, true, 5)]) },
        ] {
            assert_eq!(decide(&found, 100), Rotation::default());
        }
    }

    #[test]
    fn the_first_pair_comes_with_the_group() {
        let first = decide(&Creators { has_group: false, ..found(100, &[]) }, 100);
        assert_eq!(first.open, Some((Pair::new("g", 1), 0)));
        assert!(first.make && first.make_group && first.close.is_empty() && first.drop.is_empty());
    }

    #[test]
    fn the_first_open_pair_with_room_is_used() {
        let rotation = decide(&found(0, &[(10, true, 3), (9, true, 7), (8, false, 2)]), 10);
        assert_eq!(rotation, Rotation { open: Some((Pair::new("g", 9), 7)), ..Rotation::default() });
    }

    #[test]
    fn a_full_pair_is_closed_and_another_one_made() {
        let rotation = decide(&found(0, &[(1, false, 10), (2, true, 10)]), 10);
        assert_eq!(rotation.open, Some((Pair::new("g", 3), 0)));
        assert!(rotation.make && !rotation.make_group);
        assert_eq!(rotation.close, [Pair::new("g", 2)]);
    }

    #[test]
    fn a_closed_pair_without_accounts_goes_and_an_open_one_stays() {
        let rotation = decide(&found(0, &[(1, false, 0), (2, true, 0)]), 10);
        assert_eq!(rotation.drop, [Pair::new("g", 1)]);
        assert_eq!(rotation.open, Some((Pair::new("g", 2), 0)));
    }
}
