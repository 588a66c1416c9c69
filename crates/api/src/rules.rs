//! Admission rules that several fields share: the CEL expression, and what the author of a bad value reads.
//!
//! The API server puts the field's path before the message. Rules of one field stand at the field.

/// A rule: expression and message.
pub(crate) type Rule = (&'static str, &'static str);

/// Whether a text holds no template, or one and no other braces, which is all that the syntax allows.
macro_rules! one_template {
    ($text:literal) => {
        concat!(
            "!(",
            $text,
            ".contains('{{') || ",
            $text,
            ".contains('}}')) || ",
            $text,
            r".matches('^[^{}]*[{]{2}[^{}]*[^{}\\s][^{}]*[}]{2}[^{}]*$')"
        )
    };
}

const ONE_TEMPLATE_MESSAGE: &str =
    "must hold at most one template {{...}} and no braces beside it, for example team-{{external.team}}";

/// For a text that may hold a trait template.
pub(crate) const ONE_TEMPLATE: Rule = (one_template!("self"), ONE_TEMPLATE_MESSAGE);

/// [`ONE_TEMPLATE`] for the keys of a map, which have no schema of their own.
pub(crate) const KEYS_ONE_TEMPLATE: Rule =
    (concat!("self.all(key, ", one_template!("key"), ")"), ONE_TEMPLATE_MESSAGE);

/// For a text that may hold a template of an object.
pub(crate) const ONE_OBJECT_TEMPLATE: Rule = (
    r"self.matches('^[^{}]*({{\\s*obj[.](protocol|database(_service_name)?|object_kind|schema|name)\\s*}}[^{}]*)?$')",
    "must hold no braces but those of one template {{obj.VARIABLE}}, where VARIABLE is protocol, \
     database_service_name, object_kind, database, schema or name",
);

/// For a label selector.
pub(crate) const WILDCARD_KEY: Rule = (
    r"!('*' in self) || self['*'] == ['*']",
    r#"must be {"*": ["*"]} to select everything; beside the key * no other value stands, name the key of a label"#,
);

/// For the keys of labels.
pub(crate) const NO_BLANK_KEY: Rule = (r"self.all(key, key.matches('\\S'))", "must not have a blank key");

/// For a list of privileges.
pub(crate) const SOME_PRIVILEGE: Rule =
    ("size(self) > 0", "must name one privilege at least, for example SELECT; or take the whole entry away");

/// For a privilege: one that some kind of object in some engine has. Blanks around it and case do not matter.
pub(crate) const KNOWN_PRIVILEGE: Rule = (
    "self.trim().upperAscii() in ['*', \
     'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN', \
     'USAGE', 'EXECUTE', 'CREATE', \
     'FIND', 'REMOVE', 'BYPASSDOCUMENTVALIDATION', 'CHANGESTREAM', 'COLLMOD', 'COLLSTATS', 'COMPACT', \
     'CONVERTTOCAPPED', 'CREATECOLLECTION', 'CREATEINDEX', 'DROPCOLLECTION', 'DROPINDEX', 'INDEXSTATS', \
     'KILLCURSORS', 'LISTINDEXES', 'PLANCACHEINDEXFILTER', 'PLANCACHEREAD', 'PLANCACHEWRITE', 'REINDEX', \
     'RENAMECOLLECTIONSAMEDB', 'STORAGEDETAILS', 'VALIDATE']",
    "must be one privilege: SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, MAINTAIN, USAGE, \
     EXECUTE or CREATE, or for MongoDB an action on collections such as find",
);

/// For a privilege that a role allows.
pub(crate) const NO_PRIVILEGE_WILDCARD: Rule = (
    "self.trim() != '*'",
    "must name a privilege; * stands in deny only, where it takes every privilege away",
);

/// For a database role that a role allows.
pub(crate) const NO_ROLE_WILDCARD: Rule =
    ("self != '*'", "must name a database role; * stands in deny only, where it takes every role away");

/// For the name of something in a database.
pub(crate) const SHORT_NAME: Rule = (
    "size(bytes(self)) <= 63",
    "must not be longer than 63 bytes, the limit of database servers; letters beyond ASCII take several",
);

/// For the name of something in a database.
pub(crate) const NO_CONTROL_CHARACTERS: Rule =
    (r"!self.matches('\\p{Cc}')", "must not hold control characters");

/// What comes before the comparison of a duration: `duration()` fails on what Go cannot read, without a good answer.
macro_rules! duration {
    ($comparison:literal) => {
        concat!(r"self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms|us|ns))+$') && duration(self) ", $comparison)
    };
}

/// For a duration.
pub(crate) const POSITIVE: Rule = (
    duration!("> duration('0s')"),
    "must be a duration longer than 0s, for example 1h30m; its units are h, m, s, ms, us and ns",
);

/// For a duration.
pub(crate) const NOT_NEGATIVE: Rule = (
    duration!(">= duration('0s')"),
    "must be a duration, 0s or longer, for example 5m; its units are h, m, s, ms, us and ns",
);
