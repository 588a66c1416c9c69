//! Rules of extensions that check statements about roles.
//!
//! They refuse with SQLSTATEs that the server itself has for logins, and with texts in any language. So which rule it
//! was follows from what the statement does, and from how the extension is set.

use crate::transport::message::{Message, Needs, Reply};

/// Parameters of credcheck that can be in the way, each with the value that is not.
const CREDCHECK: [(&str, &str); 11] = [
    ("credcheck.encrypted_password_allowed", "on"),
    ("credcheck.password_valid_max", "0"),
    ("credcheck.password_valid_until", "0"),
    ("credcheck.password_reuse_history", "0"),
    ("credcheck.username_min_length", "1"),
    ("credcheck.username_min_special", "0"),
    ("credcheck.username_min_digit", "0"),
    ("credcheck.username_min_upper", "0"),
    ("credcheck.username_min_lower", "0"),
    ("credcheck.username_contain", ""),
    ("credcheck.username_not_contain", ""),
];

/// One parameter as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    name: String,
    value: String,
}

/// Reads the parameters. Those that the server does not know are left out.
pub(crate) fn settings() -> Message {
    let names: Vec<String> = CREDCHECK.iter().map(|(name, _)| crate::quote::literal(name)).collect();
    Message::one(
        "reading the rules for roles and passwords",
        format!(
            "SELECT n.name, pg_catalog.current_setting(n.name, true) FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[])
WITH ORDINALITY AS n (name, place) WHERE pg_catalog.current_setting(n.name, true) IS NOT NULL ORDER BY n.place",
            names.join(", ")
        ),
    )
}

pub(crate) fn read(reply: &Reply) -> Vec<Setting> {
    let setting = |row: &tokio_postgres::SimpleQueryRow| {
        Some(Setting { name: row.get(0)?.to_owned(), value: row.get(1)?.to_owned() })
    };
    reply.rows().iter().filter_map(setting).collect()
}

/// What to do about a statement that was refused.
pub(crate) fn remedy(needs: &Needs, settings: &[Setting]) -> String {
    let strict: Vec<&Setting> = settings
        .iter()
        .filter(|setting| !CREDCHECK.contains(&(setting.name.as_str(), setting.value.as_str())))
        .collect();
    let concerned: Vec<&Setting> =
        strict.iter().copied().filter(|setting| concerns(needs, &setting.name)).collect();
    let rules = if concerned.is_empty() { strict } else { concerned };
    if rules.is_empty() {
        let known =
            if settings.is_empty() { "credcheck or passwordcheck, for example" } else { "not credcheck" };
        return format!(
            "a rule of an extension that checks roles and passwords is in the way ({known}: see shared_preload_libraries): relax it"
        );
    }
    let broken: Vec<String> =
        rules.iter().map(|setting| format!("{} = {}", setting.name, shown(&setting.value))).collect();
    let statements: Vec<String> = rules
        .iter()
        .map(|setting| {
            let value =
                CREDCHECK.iter().find(|(name, _)| *name == setting.name).map_or("", |(_, value)| value);
            format!("ALTER SYSTEM SET {} = {}", setting.name, shown(value))
        })
        .collect();
    let why = match needs {
        Needs::Verifier => " (passwords are sent as SCRAM verifiers only)",
        Needs::CreateRole => " (roles are created without a password and without VALID UNTIL)",
        _ => "",
    };
    format!(
        "the extension credcheck refuses it, by its rule {}{why}: run {}; SELECT pg_reload_conf()",
        broken.join(", "),
        statements.join("; ")
    )
}

/// Can this parameter refuse such a statement?
fn concerns(needs: &Needs, name: &str) -> bool {
    match needs {
        Needs::Verifier => {
            matches!(name, "credcheck.encrypted_password_allowed" | "credcheck.password_reuse_history")
        }
        Needs::CreateRole => {
            name.starts_with("credcheck.username_") || name == "credcheck.password_valid_max"
        }
        Needs::Role(_) => name.starts_with("credcheck.password_valid_"),
        _ => false,
    }
}

fn shown(value: &str) -> String {
    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { value.to_owned() } else { crate::quote::literal(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: format!("credcheck.{name}"),
            value: (*value).to_owned(),
        };
        settings.iter().map(setting).collect()
    }

    #[test]
    fn the_rule_that_such_a_statement_can_break_is_named() {
        let all = set(&[
            ("encrypted_password_allowed", "off"),
            ("password_valid_max", "365"),
            ("username_min_length", "1"),
        ]);
        let text = remedy(&Needs::Verifier, &all);
        assert!(text.contains("credcheck.encrypted_password_allowed = off"), "{text}");
        assert!(text.contains("ALTER SYSTEM SET credcheck.encrypted_password_allowed = on;"), "{text}");
        assert!(!text.contains("valid_max"), "{text}");
        let text = remedy(&Needs::CreateRole, &all);
        assert!(text.contains("credcheck.password_valid_max = 365") && !text.contains("encrypted"), "{text}");
        let text = remedy(&Needs::Role(String::new()), &all);
        assert!(text.contains("ALTER SYSTEM SET credcheck.password_valid_max = 0;"), "{text}");
        let names = set(&[("username_min_length", "8"), ("username_not_contain", ":,@")]);
        let text = remedy(&Needs::CreateRole, &names);
        assert!(text.contains("username_min_length = 8, credcheck.username_not_contain = ':,@'"), "{text}");
        assert!(text.contains("ALTER SYSTEM SET credcheck.username_not_contain = '';"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let text = remedy(&Needs::Verifier, &[]);
        assert!(text.contains("shared_preload_libraries") && !text.contains("ALTER SYSTEM"), "{text}");
        let text = remedy(&Needs::Verifier, &set(&[("encrypted_password_allowed", "on")]));
        assert!(text.contains("not credcheck") && !text.contains("ALTER SYSTEM"), "{text}");
    }
}
