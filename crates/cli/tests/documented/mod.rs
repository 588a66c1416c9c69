//! The pages of the documentation that describe what `-o json` prints.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// The page that the others refer to for what they have in common.
const COMMON: &str = "explain-json.md";

/// Objects of which the keys are names of the user's own.
const MAPS: [&str; 5] = ["labels", "dbRoles", "counts", "traits", "match"];

/// A page, below `docs`.
pub(crate) fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).expect("the documentation has the page")
}

/// Asserts that the page names every field of what a command printed. Fields of Kubernetes itself are not asked for:
/// `value` is what is the command's own.
pub(crate) fn names_every_field(name: &str, value: &Value) {
    let mut known = words(&page(name));
    known.extend(words(&page(COMMON)));
    let mut fields = BTreeSet::new();
    collect(value, &mut fields);
    assert!(fields.len() > 3, "{name}: there is something to look at: {value}");
    let missing: Vec<&String> = fields.difference(&known).collect();
    assert!(missing.is_empty(), "docs/{name} does not say what {missing:?} is");
}

/// The words that are written as code.
fn words(page: &str) -> BTreeSet<String> {
    let code = page.split('`').skip(1).step_by(2);
    let word =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect::<Vec<_>>();
    code.flat_map(word).collect()
}

fn collect(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields.insert(name.clone());
                match value {
                    Value::Object(map) if MAPS.contains(&name.as_str()) => {
                        map.values().for_each(|value| collect(value, fields));
                    }
                    value => collect(value, fields),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}
