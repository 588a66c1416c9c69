//! What somebody notifies on the channel on which PostgreSQL announces that objects have changed.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use rolecall_engine::ChangedObjects;
use rolecall_engine::objects::ObjectClass;
use rolecall_postgres::parse_announcement;

fuzz_target!(|text: &str| {
    let ChangedObjects::These(objects) = parse_announcement(text) else { return };
    assert!(!objects.is_empty() && objects.len() <= 100);
    let letter = |class| match class {
        ObjectClass::Table => 'c',
        ObjectClass::Routine => 'p',
        ObjectClass::Schema => 'n',
        ObjectClass::Sequence | ObjectClass::Collection => unreachable!("nothing is named so"),
    };
    let named: BTreeSet<String> =
        objects.iter().map(|object| format!("{}{}", letter(object.class), object.id)).collect();
    assert_eq!(named, text.split(',').map(str::to_owned).collect(), "what is written is read");
});
