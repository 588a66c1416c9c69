//! The moves of a session from phase to phase, as docs/lifecycle.md lists them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

const TEXT: &str = include_str!("../../../../docs/lifecycle.md");

/// From which phase to which.
pub(super) type Move = (String, String);

/// The moves that the documentation lists.
pub(super) static DOCUMENTED: LazyLock<BTreeSet<Move>> = LazyLock::new(|| {
    let rows = TEXT.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let from = cells.next()?.trim().trim_matches('`');
        let to = cells.next()?.trim().strip_prefix('`')?.strip_suffix('`')?;
        Some((from.to_owned(), to.to_owned()))
    });
    rows.collect()
});

#[test]
fn what_is_over_stays_over() {
    assert!(DOCUMENTED.len() > 5, "{DOCUMENTED:?}");
    assert!(DOCUMENTED.iter().all(|(from, _)| from != "Ended" && from != "Rejected"), "{DOCUMENTED:?}");
}
