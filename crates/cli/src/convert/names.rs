//! Names that Kubernetes takes.

use std::collections::BTreeMap;

/// Longest name of an object.
const MAX_NAME: usize = 253;

/// The names that Teleport's resources get, each its own within a kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<(&'static str, String), String>);

impl Names {
    /// The name of a resource: its own where Kubernetes takes it, else the nearest that is free.
    pub(super) fn name(&mut self, kind: &'static str, theirs: &str) -> String {
        if let Some(ours) = self.0.get(&(kind, theirs.to_owned())) {
            return ours.clone();
        }
        let near = nearest(theirs);
        let taken = |name: &str| self.0.iter().any(|((other, _), ours)| *other == kind && ours == name);
        let mut ours = near.clone();
        let mut number = 1;
        while taken(&ours) {
            number += 1;
            ours = format!("{near}-{number}");
        }
        self.0.insert((kind, theirs.to_owned()), ours.clone());
        ours
    }
}

/// Whether Kubernetes takes this as a name.
pub(super) fn is_name(name: &str) -> bool {
    nearest(name) == name
}

/// Lower-case letters, digits, `-` and `.`, each part between dots with a letter or digit at both ends.
fn nearest(name: &str) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' })
        .collect();
    // Room for a number behind it.
    let cut = &plain[..plain.len().min(MAX_NAME - 10)];
    let parts: Vec<&str> =
        cut.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "unnamed".to_owned() } else { parts.join(".") }
}

/// Whether Kubernetes takes this as a label.
pub(super) fn is_label(key: &str, value: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_label_name = |text: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.len() <= 63
            && ends(text.chars().next())
            && ends(text.chars().last())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    prefix.is_none_or(|prefix| prefix.len() <= MAX_NAME && is_name(prefix))
        && is_label_name(name)
        && (value.is_empty() || is_label_name(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_near_and_never_shared() {
        let mut names = Names::default();
        assert_eq!(names.name("role", "dept_hr"), "dept-hr");
        assert_eq!(names.name("role", "dept-hr"), "dept-hr-2");
        assert_eq!(names.name("role", "dept_hr"), "dept-hr");
        assert_eq!(names.name("user", "dept_hr"), "dept-hr");
        for (theirs, ours) in [
            ("Alice@Example.com", "alice-example.com"),
            ("_.a-.b", "a.b"),
            ("ÄÖ", "unnamed"),
            ("", "unnamed-2"),
        ] {
            assert_eq!(names.name("user", theirs), ours);
        }
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        for (key, value, is) in [
            ("env", "prod", true),
            ("teleport.dev/db-admin", "", true),
            ("env", "Payments & Orders", false),
            ("a b", "", false),
            ("/x", "", false),
            ("a/b/c", "", false),
        ] {
            assert_eq!(is_label(key, value), is, "{key}={value}");
        }
    }
}
