//! Bounds on what people write, far beyond what they need: what is larger is a fault, not a load.

use crate::fault::Faults;

/// Bytes of one pattern or template.
pub(crate) const MAX_TEXT: usize = 1024;

/// Entries of one list or map.
const MAX_ENTRIES: usize = 1024;

/// Regular expressions of one object that are small when compiled.
pub(crate) const MAX_REGEXES: usize = 1024;

/// Regular expressions of one object that are not.
pub(crate) const MAX_LARGE_REGEXES: usize = 16;

/// The message for a text that is too long.
pub(crate) fn check_text(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT { Err(format!("is longer than {MAX_TEXT} bytes")) } else { Ok(()) }
}

/// How many entries of a list or map to read: all, or none and a fault where they are too many.
pub(crate) fn entries(len: usize, path: &str, faults: &mut Faults) -> usize {
    if len > MAX_ENTRIES {
        faults.add(path, format_args!("has {len} entries: the most are {MAX_ENTRIES}"));
        return 0;
    }
    len
}
