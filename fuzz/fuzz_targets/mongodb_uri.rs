//! Addresses of MongoDB servers, as DatabaseAdmins have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_mongodb::Address;

fuzz_target!(|text: &str| {
    match Address::parse(text) {
        Ok(address) => assert_eq!(address, Address::parse(&address.uri()).unwrap(), "what is written is read"),
        // It may be a password.
        Err(error) if text.contains('@') => assert!(!error.to_string().contains(text) || text.len() < 8),
        Err(_) => {}
    }
});
