//! The admin user's own session: what nobody else may decide about it.
//!
//! `ALTER DATABASE ... SET` is open to whoever owns the logical database, `ALTER ROLE ... SET` to whoever has ADMIN OPTION
//! on the admin user. So what decides who the session is, whether it comes up and what its statements mean is pinned in
//! the startup packet, which nothing that is stored precedes. It is set once more after the login, as a login event
//! trigger may have set it otherwise; and what else is stored for the database or the role goes back to the server's
//! built-in value.

use std::time::Duration;

use crate::quote::literal;
use crate::transport::backends::Backends;
use crate::transport::config::Config;
use crate::transport::version::Dialect;

/// Distinguishes a session that got our startup packet from one that somebody else opened.
pub(crate) const MARK: &str = "rolecall.connection";

/// The statements to prepare on each connection to a server of this version, by name.
pub(crate) type Prepared = fn(Dialect) -> Vec<(&'static str, String)>;

/// A setting of the session.
#[derive(Clone, Debug)]
struct Setting {
    name: &'static str,
    value: String,
    /// The first version that knows it.
    since: u16,
}

/// How a session is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Startup {
    /// The version, where it is known: settings that older ones do not know can be pinned at the login, too.
    pub(crate) dialect: Option<Dialect>,
    /// The search path is pinned at the login; otherwise after it, for the sake of a login event trigger.
    pub(crate) pins_search_path: bool,
    /// Nothing is pinned at the login: something in between does not let it through.
    pub(crate) bare: bool,
}

impl Startup {
    /// Another way to begin it, where the server refused this one with a SQLSTATE.
    pub(crate) fn otherwise(self, code: &str) -> Option<Self> {
        if self.bare {
            return None;
        }
        match (code, self.dialect) {
            // A pooler knows few settings of the startup packet. PostgreSQL says so only of what no client sends.
            ("08P01", _) => Some(Self { bare: true, ..self }),
            // Another server, and an older one.
            ("42704", Some(dialect)) if dialect.0 > 15 => Some(Self { dialect: Some(Dialect(15)), ..self }),
            // It was over before transaction_timeout could be set.
            ("25P04", None) => Some(Self { dialect: Some(Dialect(17)), ..self }),
            // 16 and older have no login event triggers.
            (_, Some(dialect)) if dialect.0 < 17 => None,
            _ if self.pins_search_path && may_be_of_a_trigger(code) => {
                Some(Self { pins_search_path: false, ..self })
            }
            _ => None,
        }
    }

    /// The `options` of the startup packet.
    pub(crate) fn options(self, config: &Config, mark: &str) -> String {
        if self.bare {
            return String::new();
        }
        let known = self.dialect.unwrap_or(Dialect(15));
        let mut settings = settings(config);
        settings.retain(|setting| {
            setting.since <= known.0 && (self.pins_search_path || setting.name != "search_path")
        });
        for setting in &mut settings {
            if setting.name == "lock_timeout" {
                // Whoever owns a database can lock its catalogues. Less than all the time there is for the login.
                setting.value = milliseconds(config.lock_timeout.min(config.connect_timeout / 2));
            }
        }
        let only_at_login = [
            ("session_authorization", config.admin_user.as_str()),
            ("local_preload_libraries", ""),
            (MARK, mark),
        ];
        let all = settings.iter().map(|setting| (setting.name, setting.value.as_str())).chain(only_at_login);
        all.map(|(name, value)| format!("-c {name}={}", escaped(value))).collect::<Vec<_>>().join(" ")
    }
}

/// The first message of a session: sets what is pinned, resets what else is stored, prepares what is too
/// large to be planned each time, and reads whose session it is.
pub(crate) fn set_up(config: &Config, dialect: Dialect, prepared: Prepared) -> Vec<String> {
    let mut statements = assignments(config, dialect, "SET");
    statements.push(UNSTORED.to_owned());
    statements.push(identity(config, dialect));
    statements.push("DEALLOCATE ALL".to_owned());
    statements.extend(prepared(dialect).into_iter().map(|(_, statement)| statement));
    statements
}

/// What a session says of itself: its backend (as [`Backends::note`] wants it), its users, the mark of its startup packet,
/// and all that is pinned.
pub(crate) fn identity(config: &Config, dialect: Dialect) -> String {
    let pinned: Vec<String> = settings(config)
        .iter()
        .filter(|setting| setting.since <= dialect.0)
        .map(|setting| {
            let name = literal(setting.name);
            format!("{name}, pg_catalog.current_setting({name}, true)")
        })
        .collect();
    format!(
        "{}, SESSION_USER, CURRENT_USER, pg_catalog.current_setting({}, true),
  pg_catalog.json_build_object({})",
        Backends::QUERY,
        literal(MARK),
        pinned.join(", ")
    )
}

/// What makes a message independent of the session that it meets, as statements before its own.
pub(crate) fn self_contained(
    config: &Config,
    dialect: Dialect,
    prepared: Prepared,
    sql: &str,
) -> Vec<String> {
    let mut statements = assignments(config, dialect, "SET LOCAL");
    let needed: Vec<String> = prepared(dialect)
        .into_iter()
        .filter(|(name, _)| sql.contains(&format!("EXECUTE {name}")))
        .map(|(_, statement)| statement)
        .collect();
    if !needed.is_empty() {
        // Others of our connections may have met the same session.
        statements.push("DEALLOCATE ALL".to_owned());
        statements.extend(needed);
    }
    statements
}

/// Sets back what is stored for the database or the role, as far as everybody may set it.
const UNSTORED: &str =
    "SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.boot_val, false)) FROM pg_catalog.pg_settings s
WHERE s.source IN ('database', 'user', 'database user') AND s.context = 'user'";

fn assignments(config: &Config, dialect: Dialect, verb: &str) -> Vec<String> {
    settings(config)
        .iter()
        .filter(|setting| setting.since <= dialect.0)
        .map(|setting| format!("{verb} {} = {}", setting.name, literal(&setting.value)))
        .collect()
}

/// What is pinned. Everything is qualified as well; search_path is pinned because operators are looked up in it, too.
fn settings(config: &Config) -> Vec<Setting> {
    let read_only = if config.read_only { "on" } else { "off" };
    [
        ("role", "none", 0),
        ("search_path", "pg_catalog", 0),
        // What ends an access must survive a crash right after.
        ("synchronous_commit", "on", 0),
        // How long the pool keeps a connection is for the pool to decide.
        ("idle_session_timeout", "0", 0),
        ("idle_in_transaction_session_timeout", "10000", 0),
        ("statement_timeout", &milliseconds(config.statement_timeout), 0),
        ("lock_timeout", &milliseconds(config.lock_timeout), 0),
        ("transaction_timeout", &milliseconds(2 * config.statement_timeout), 17),
        ("default_transaction_read_only", read_only, 0),
        ("default_transaction_isolation", "read committed", 0),
        ("default_transaction_deferrable", "off", 0),
        // What CREATE ROLE grants to its creator beyond ADMIN OPTION: nothing.
        ("createrole_self_grant", "", 16),
        ("row_security", "off", 0),
        ("jit", "off", 0),
        ("plan_cache_mode", "force_generic_plan", 0),
        ("client_min_messages", "warning", 0),
        ("standard_conforming_strings", "on", 0),
        ("DateStyle", "ISO", 0),
        ("TimeZone", "UTC", 0),
        // Our own checks fail on purpose.
        ("exit_on_error", "off", 0),
        ("plpgsql.extra_errors", "none", 0),
        ("plpgsql.extra_warnings", "none", 0),
        // They would write verifiers into the server's log.
        ("debug_print_parse", "off", 0),
        ("debug_print_rewritten", "off", 0),
        ("debug_print_plan", "off", 0),
        // As the client sets them for its side.
        ("tcp_user_timeout", "30000", 0),
        ("tcp_keepalives_idle", "30", 0),
        ("tcp_keepalives_interval", "10", 0),
        ("tcp_keepalives_count", "3", 0),
    ]
    .map(|(name, value, since)| Setting { name, value: value.to_owned(), since })
    .into()
}

/// May this SQLSTATE come from a login event trigger that does not find its tables or functions? Not where it is of a
/// class that the server itself uses for logins: connection, authentication, resources, state, operator, system.
fn may_be_of_a_trigger(code: &str) -> bool {
    !code.is_empty()
        && !["08", "28", "3D", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

/// As the server parses `options`: split at spaces, with a backslash as the escape character.
fn escaped(value: &str) -> String {
    let escape = |c: char| [(c == '\\' || c.is_whitespace()).then_some('\\'), Some(c)];
    value.chars().flat_map(escape).flatten().collect()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::transport::config::Auth;

    fn config(admin: &str) -> Config {
        Config::new("db", 5432, admin, Auth::Password(SecretString::from("x")))
    }

    fn prepared(_: Dialect) -> Vec<(&'static str, String)> {
        ["rolecall_guard", "rolecall_observe"]
            .map(|name| (name, format!("PREPARE {name} AS SELECT 1")))
            .into()
    }

    const FIRST: Startup = Startup { dialect: None, pins_search_path: true, bare: false };

    #[test]
    fn what_a_newer_version_knows_is_sent_to_none_that_may_be_older() {
        let options = FIRST.options(&config("adm"), "mark");
        assert!(!options.contains("transaction_timeout=") && !options.contains("createrole_self_grant"));
        assert!(options.contains("-c role=none ") && options.ends_with(" -c rolecall.connection=mark"));
        let options = Startup { dialect: Some(Dialect(17)), ..FIRST }.options(&config("adm"), "mark");
        assert!(
            options.contains(" -c transaction_timeout=60000 ")
                && options.contains(" -c createrole_self_grant= ")
        );
        assert!(!set_up(&config("adm"), Dialect(15), prepared).join(";").contains("transaction_timeout"));
    }

    #[test]
    fn a_name_of_any_kind_stays_one_word() {
        let options = FIRST.options(&config(r"the \ admin"), "mark");
        assert!(options.contains(r"-c session_authorization=the\ \\\ admin -c"), "{options}");
        assert!(options.contains(r"default_transaction_isolation=read\ committed"), "{options}");
    }

    #[test]
    fn a_login_that_is_refused_is_tried_in_the_ways_that_may_help() {
        let tried = |mut startup: Startup, code: &str| {
            let mut ways = Vec::new();
            while let Some(next) = startup.otherwise(code) {
                ways.push(next);
                startup = next;
            }
            ways
        };
        for code in ["28000", "28P01", "3D000", "53300", "55000", "57P03", "58P01", ""] {
            assert!(tried(FIRST, code).is_empty(), "{code}");
        }
        for code in ["42P01", "P0001", "42883", "42501"] {
            let ways = tried(FIRST, code);
            assert!(
                matches!(*ways, [Startup { pins_search_path: false, bare: false, .. }]),
                "{code}: {ways:?}"
            );
            assert!(tried(Startup { dialect: Some(Dialect(16)), ..FIRST }, code).is_empty());
        }
        assert!(matches!(*tried(FIRST, "08P01"), [Startup { bare: true, .. }]));
        assert_eq!(tried(FIRST, "25P04")[0].dialect, Some(Dialect(17)));
        let other = tried(Startup { dialect: Some(Dialect(18)), ..FIRST }, "42704");
        assert_eq!(other[0].dialect, Some(Dialect(15)));
    }

    #[test]
    fn a_message_for_any_session_prepares_what_it_uses() {
        let config = config("adm");
        let plain = self_contained(&config, Dialect(17), prepared, "ALTER ROLE x NOLOGIN");
        assert!(plain.iter().all(|statement| statement.starts_with("SET LOCAL ")), "{plain:?}");
        assert_eq!(plain[0], "SET LOCAL role = 'none'");
        let with = self_contained(&config, Dialect(17), prepared, "EXECUTE rolecall_guard (1)");
        let rest = &with[plain.len()..];
        assert!(
            rest[0] == "DEALLOCATE ALL" && rest[1].starts_with("PREPARE rolecall_guard") && rest.len() == 2
        );
    }
}
