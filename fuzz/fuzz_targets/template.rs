//! Templates over traits, as roles have them, and over objects, as import rules have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_policy::{LabelTemplate, Template};

fuzz_target!(|text: &str| {
    let traits = [("teams".to_owned(), vec!["shop".to_owned(), "{{external.teams}}".to_owned()])].into();
    if let Ok(template) = Template::parse(text) {
        let expanded = template.expand(&traits);
        if let (Some(literal), Ok(expanded)) = (template.literal(), expanded) {
            let kept: Vec<&str> = Some(literal).filter(|literal| !literal.is_empty()).into_iter().collect();
            assert_eq!(expanded, kept, "nothing is expanded in it, and nothing is left of an empty one");
        }
    }
    let _ = LabelTemplate::parse(text);
});
