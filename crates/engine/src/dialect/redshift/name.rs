//! Names that users and roles can have on Redshift.

use super::OWN_PREFIX;

/// The longest name of a user. The list of sessions has room for 50 bytes, of which a login with IAM takes up to five
/// (`IAMA:`): sessions of longer names could not be told apart, and an end could not be proven.
pub const MAX_USER_BYTES: usize = 45;

/// The longest identifier that the server keeps whole.
pub const MAX_ROLE_BYTES: usize = 127;

/// Words that cannot be names. GetClusterCredentials refuses them as users, and CREATE ROLE as roles.
const RESERVED: &[&str] = &[
    "aes128",
    "aes256",
    "all",
    "allowoverwrite",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "authorization",
    "az64",
    "backup",
    "between",
    "binary",
    "blanksasnull",
    "both",
    "bytedict",
    "bzip2",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "connect",
    "constraint",
    "create",
    "credentials",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "current_user_id",
    "default",
    "deferrable",
    "deflate",
    "defrag",
    "delta",
    "delta32k",
    "desc",
    "disable",
    "distinct",
    "do",
    "else",
    "emptyasnull",
    "enable",
    "encode",
    "encrypt",
    "encryption",
    "end",
    "except",
    "explicit",
    "false",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "globaldict256",
    "globaldict64k",
    "grant",
    "group",
    "gzip",
    "having",
    "identity",
    "ignore",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "language",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "lun",
    "luns",
    "lzo",
    "lzop",
    "minus",
    "mostly16",
    "mostly32",
    "mostly8",
    "natural",
    "new",
    "not",
    "notnull",
    "null",
    "nulls",
    "off",
    "offline",
    "offset",
    "oid",
    "old",
    "on",
    "only",
    "open",
    "or",
    "order",
    "outer",
    "overlaps",
    "parallel",
    "partition",
    "percent",
    "permissions",
    "pivot",
    "placing",
    "primary",
    "public",
    "raw",
    "readratio",
    "recover",
    "references",
    "rejectlog",
    "resort",
    "respect",
    "restore",
    "right",
    "select",
    "session_user",
    "similar",
    "snapshot",
    "some",
    "start",
    "sysdate",
    "system",
    "table",
    "tag",
    "tdes",
    "text255",
    "text32k",
    "then",
    "timestamp",
    "to",
    "top",
    "trailing",
    "true",
    "truncatecolumns",
    "union",
    "unique",
    "unnest",
    "unpivot",
    "user",
    "using",
    "verbose",
    "wallet",
    "when",
    "where",
    "with",
    "without",
];

/// Is it one of the words that can be no name, in whatever case?
pub fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    RESERVED.binary_search(&lower.as_str()).is_ok()
}

/// Why nobody can be a user of this name.
///
/// What is left has neither quotes nor backslashes, so that it is the same in every kind of literal.
pub fn user_fault(name: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+.@-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("on Redshift it must begin with a letter from A to Z".to_owned());
    }
    if let Some(other) = name.chars().find(|c| !is_allowed(*c)) {
        return Some(format!(
            "it has the character {other:?}, and on Redshift a name has letters from A to Z, digits and _ + . @ - only"
        ));
    }
    if name.len() > MAX_USER_BYTES {
        return Some(format!(
            "it has {} bytes, and the sessions of a user of Redshift can be told apart by {MAX_USER_BYTES} at most",
            name.len()
        ));
    }
    if is_reserved(name) {
        return Some("it is a reserved word of Redshift".to_owned());
    }
    if name == "rdsdb" || name.starts_with(OWN_PREFIX) {
        return Some("the name is the server's or Rolecall's own".to_owned());
    }
    None
}

/// Why no server can have a role of this name.
pub fn role_fault(role: &str) -> Option<String> {
    let named = role.strip_prefix("sys:").unwrap_or(role);
    let why = if named.is_empty() || role.len() > MAX_ROLE_BYTES {
        format!("names have 1 to {MAX_ROLE_BYTES} bytes")
    } else if named.contains([':', '/', '.']) || role.contains(char::is_control) {
        "a name has no colon, slash, dot or control character".to_owned()
    } else if is_reserved(role) {
        "it is a reserved word".to_owned()
    } else {
        return None;
    };
    Some(format!("no Redshift cluster can have a role {role:?}: {why}; correct dbRoles"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_found_in_any_case() {
        assert!(RESERVED.is_sorted());
        for word in ["tag", "TAG", "Snapshot", "public", "user", "aes128", "without"] {
            assert!(is_reserved(word), "{word}");
        }
        assert!(!is_reserved("alice") && !is_reserved(""));
    }

    #[test]
    fn users_have_names_that_sessions_and_iam_can_show() {
        for name in ["alice", "alice@example.com", "a+b", "Bob.Smith", "x-1_2", "remote-bob-leaf"] {
            assert_eq!(user_fault(name), None, "{name}");
        }
        assert_eq!(user_fault(&"x".repeat(45)), None);
        let long = "x".repeat(46);
        for name in [
            "1a",
            "_a",
            "@a",
            "a b",
            "it's",
            "back\\slash",
            "say \"hi\"",
            "ü",
            "a:b",
            "a/b",
            "a,b",
            "tag",
            "Public",
            "rdsdb",
            "rolecall_x",
            &long,
            "",
        ] {
            assert!(user_fault(name).is_some(), "{name}");
        }
    }

    #[test]
    fn roles_have_no_colon_slash_or_dot() {
        for role in ["reader", "sys:superuser", "it's \"x\" \\", &"x".repeat(127)] {
            assert_eq!(role_fault(role), None, "{role}");
        }
        let long = "x".repeat(128);
        for role in ["", "sys:", "a:b", "sys:a:b", "a/b", "a.b", "a\nb", "nul\0", "group", &long] {
            assert!(role_fault(role).is_some(), "{role:?}");
        }
    }
}
