//! Label expressions (CEL), as roles have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_policy::Expression;

fuzz_target!(|source: &str| {
    let Ok(expression) = Expression::compile(source) else { return };
    let labels = [("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "ä b".to_owned())].into();
    let traits = [("teams".to_owned(), vec!["shop".to_owned(), "prod".to_owned()])].into();
    let first = expression.evaluate(&labels, &traits).ok();
    assert_eq!(first, expression.evaluate(&labels, &traits).ok(), "it is a function of its input");
});
