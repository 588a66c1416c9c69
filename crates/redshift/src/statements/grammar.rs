//! Every statement is read by a parser of Redshift's grammar that is not ours.
//!
//! It takes much of PostgreSQL's grammar as well, so that a statement has to be one of the kinds that are Redshift's own:
//! what it takes for another one proves nothing.

use rolecall_testbed::components::parse_redshift;
use serde_json::Value;

use super::rendered::all;

/// Kinds of statements that Redshift has.
const KINDS: [&str; 11] = [
    "access_statement",
    "alter_schema_statement",
    "alter_table_statement",
    "alter_user_statement",
    "create_role_statement",
    "create_user_statement",
    "drop_role_statement",
    "drop_user_statement",
    "select_statement",
    "set_statement",
    "transaction_statement",
];

/// What the parser takes for PostgreSQL's ALTER ROLE, though the manual of ALTER USER has it.
const AS_ALTER_ROLE: [&str; 4] = ["CONNECTION LIMIT 0", "NOCREATEDB", "RESET ", "PASSWORD 'md5"];

fn parse(statements: &[String]) -> Vec<Value> {
    let text = serde_json::to_string(statements).unwrap();
    serde_json::from_str(&parse_redshift(&text).unwrap()).unwrap()
}

/// What is wrong with a statement by what the parser says.
fn fault(sql: &str, parsed: &Value) -> Option<String> {
    let list = |key: &str| -> Vec<&str> {
        parsed[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    };
    let faults = list("faults");
    if !faults.is_empty() {
        return Some(format!("{sql}: {}", faults.join("; ")));
    }
    let is_known = |kind: &&str| {
        KINDS.contains(kind)
            || (*kind == "alter_role_statement"
                && sql.starts_with("ALTER USER ")
                && AS_ALTER_ROLE.iter().any(|form| sql.contains(form)))
    };
    match list("kinds").as_slice() {
        [one] if is_known(one) => None,
        kinds => Some(format!("{sql}: it is {kinds:?}")),
    }
}

#[test]
fn every_statement_is_one_of_redshift() {
    let statements: Vec<String> = all().into_iter().map(|statement| statement.sql).collect();
    let parsed = parse(&statements);
    assert_eq!(parsed.len(), statements.len());
    let faults: Vec<String> =
        statements.iter().zip(&parsed).filter_map(|(sql, parsed)| fault(sql, parsed)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_only_postgresql_has_is_noticed() {
    let statements = [
        "SET ROLE \"r\"; SELECT 1",
        "ALTER USER \"a\" NOLOGIN",
        "ALTER USER \"a\" VALID UNTIL 'infinity'",
        "CREATE ROLE IF NOT EXISTS \"r\"",
        "COMMENT ON ROLE \"r\" IS 'x'",
        "DROP OWNED BY \"a\"",
        "GRANT ROLE \"a\", ROLE \"b\" TO \"c\"",
        "GRANT SELECT ON \"s",
    ]
    .map(str::to_owned);
    for (sql, parsed) in statements.iter().zip(parse(&statements)) {
        assert!(fault(sql, &parsed).is_some(), "{sql}: {parsed}");
    }
}
