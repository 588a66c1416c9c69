//! Names that tests of one process do not share.

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this process uses: `name` with a number.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
