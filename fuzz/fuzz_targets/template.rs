//! Templates over traits, as roles have them, and over objects, as import rules have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_policy::{LabelTemplate, Template};

fuzz_target!(|text: &str| {
    let traits = [("teams".to_owned(), vec!["shop".to_owned(), "{{external.teams}}".to_owned()])].into();
    if let Ok(template) = Template::parse(text) {
        let expanded = template.expand(&traits);
        if let (Some(literal), Ok(expanded)) = (template.literal(), expanded) {
            assert_eq!(expanded, [literal], "nothing is expanded in it");
        }
    }
    let _ = LabelTemplate::parse(text);
});
