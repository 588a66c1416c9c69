//! Exact names, globs and regular expressions, as roles and import rules have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_policy::Pattern;

fuzz_target!(|input: (&str, &str)| {
    let (text, value) = input;
    let Ok(pattern) = Pattern::new(text) else { return };
    let matches = pattern.matches(value);
    assert_eq!(matches, Pattern::new(pattern.as_str()).unwrap().matches(value));
    if !text.contains(['*', '?', '^', '$']) && text == value {
        assert!(matches, "a name matches itself");
    }
});
