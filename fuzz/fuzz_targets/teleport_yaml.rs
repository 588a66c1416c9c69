//! Teleport's resources, as `kubectl rolecall convert` reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_cli::convert::{convert, render};
use rolecall_cli::input::parse_documents;
use rolecall_cli::output::Output;

fuzz_target!(|text: &str| {
    let Ok(documents) = parse_documents(text, "fuzz.yaml") else { return };
    let Ok((objects, _)) = convert(&documents) else { return };
    let yaml = render(&objects, Output::Yaml, false).unwrap();
    let read = parse_documents(&yaml, "converted.yaml").unwrap();
    assert_eq!(read.len(), objects.len(), "what is written is read");
});
