//! What is in the grammar and what is not.

use super::parse;

fn code(text: &str) -> Option<&'static str> {
    parse(text).err().map(|error| error.code)
}

#[test]
fn statements_that_are_sent_are_known() {
    for text in [
        "CREATE USER \"alice\" PASSWORD DISABLE CONNECTION LIMIT 0",
        "CREATE USER \"a\" WITH PASSWORD 'Abcdefg1' NOCREATEDB NOCREATEUSER SYSLOG ACCESS RESTRICTED \
         CONNECTION LIMIT 0 SESSION TIMEOUT 3600",
        "CREATE USER a EXTERNALID \"x\" PASSWORD DISABLE",
        "ALTER USER \"alice\" CONNECTION LIMIT UNLIMITED",
        "ALTER USER \"alice\" RESET SESSION TIMEOUT",
        "ALTER USER \"alice\" RESET search_path",
        "ALTER USER \"alice\" PASSWORD 'md5d41d8cd98f00b204e9800998ecf8427e' VALID UNTIL 'infinity'",
        "ALTER USER \"alice\" NOLOGIN",
        "ALTER USER \"alice\" LOGIN PASSWORD 'Abcdefg1'",
        "DROP USER IF EXISTS \"a\"",
        "DROP USER \"a\", \"b\"",
        "CREATE ROLE \"teleport-auto-user\"",
        "DROP ROLE \"r\" FORCE",
        "GRANT ROLE \"r\" TO \"alice\" WITH ADMIN OPTION",
        "GRANT ROLE \"r\" TO ROLE \"s\"",
        "GRANT ROLE \"sys:superuser\" TO \"teleport-admin\"",
        "REVOKE ROLE \"r\" FROM \"alice\"",
        "REVOKE ADMIN OPTION FOR \"r\" FROM \"u\"",
        "GRANT CREATE USER, ACCESS SYSTEM TABLE TO ROLE \"r\"",
        "GRANT SELECT, INSERT ON TABLE \"s\".\"t\", \"s\".\"v\" TO ROLE \"r\"",
        "GRANT USAGE, CREATE ON SCHEMA \"s\" TO ROLE \"r\"",
        "GRANT EXECUTE ON FUNCTION \"s\".\"f\"(integer, character varying, numeric(10,2)) TO ROLE \"r\"",
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO \"teleport-admin\" WITH GRANT OPTION",
        "GRANT SELECT FOR TABLES IN SCHEMA \"s\" TO ROLE \"r\"",
        "REVOKE ALL ON SCHEMA \"s\" FROM ROLE \"r\"",
        "SELECT process, user_name, db_name FROM stv_sessions",
        "SELECT usename FROM pg_user WHERE usename IN ('a', 'b\\'c') AND usesuper = true ORDER BY usename DESC",
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
        "BEGIN; SET statement_timeout TO 1000; LOCK TABLE s.t; COMMIT",
    ] {
        assert_eq!(parse(text).err(), None, "{text}");
    }
}

#[test]
fn what_postgresql_knows_and_the_server_does_not_is_a_syntax_error() {
    for text in [
        "SET ROLE \"r\"",
        "CREATE ROLE \"r\" LOGIN",
        "CREATE ROLE IF NOT EXISTS \"r\"",
        "DROP ROLE IF EXISTS \"r\"",
        "CREATE USER \"a\"",
        "CREATE USER \"a\" PASSWORD NULL",
        "CREATE USER \"a\" CONNECTION LIMIT 0 PASSWORD DISABLE",
        "CREATE USER \"a\" PASSWORD DISABLE IN ROLE \"r\"",
        "ALTER USER \"a\" NOSUPERUSER",
        "ALTER USER \"a\" PASSWORD NULL",
        "ALTER USER \"a\" RESET ALL",
        "ALTER USER \"a\" NOCREATEDB, NOCREATEUSER",
        "ALTER USER \"a\" NOCREATEDB NOCREATEUSER",
        "ALTER ROLE \"a\" CONNECTION LIMIT 0",
        "GRANT ROLE \"r\" TO \"a\" WITH INHERIT TRUE",
        "GRANT \"r\" TO \"a\"",
        "GRANT ROLE sys:superuser TO \"a\"",
        "GRANT CONNECT ON DATABASE dev TO \"a\"",
        "REVOKE SELECT ON TABLE t FROM ROLE \"r\" CASCADE",
        "DO $$ BEGIN END $$",
        "SAVEPOINT s",
        "LISTEN x",
        "COMMENT ON ROLE \"r\" IS 'x'",
        "DROP OWNED BY \"a\"",
        "REASSIGN OWNED BY \"a\" TO \"b\"",
        "SELECT E'x'",
        "SELECT 'unterminated\\'",
        "DROP USER user",
    ] {
        assert_eq!(code(text), Some("42601"), "{text}");
    }
}

#[test]
fn names_are_not_longer_than_127_bytes() {
    let name = "x".repeat(127);
    assert_eq!(code(&format!("CREATE ROLE \"{name}\"")), None);
    assert_eq!(code(&format!("CREATE ROLE \"{name}x\"")), Some("42622"));
}
