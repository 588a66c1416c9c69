//! Clocks, event triggers, pg_hba.conf: what of them is a fault, and what is good to know. Pure.

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_engine::MARKER;
use rolecall_engine::dialect::sql::identifier;
use rolecall_engine::examine::{EventTrigger, Examination, Hba, HbaRule};
use rolecall_pki::credentials::CLOCK_SKEW;

use super::report::{Area, Check, Status};

/// When the server was asked, and the API server before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The server's own, and this machine's before and after it was asked.
    pub(super) server: Option<(Timestamp, Timestamp, Timestamp)>,
    /// The API server's, to the second, and this machine's when it had answered.
    pub(super) cluster: Option<(Timestamp, Timestamp)>,
}

/// A difference that is worth a line, in milliseconds: less may be the way there.
const NOTICEABLE: i64 = 5_000;

/// By how much the clocks differ. The operator's is not known; it runs in the cluster.
pub(super) fn clocks(clocks: Clocks) -> Vec<Check> {
    let here = "this machine";
    let ahead = |milliseconds: i64| {
        let seconds = milliseconds.abs() / 1_000;
        let which = if milliseconds > 0 { "ahead of" } else { "behind" };
        format!("{seconds} s {which}")
    };
    // Half the way there and back is the server's moment.
    let server = clocks.server.map(|(server, before, after)| {
        server.as_millisecond() - (before.as_millisecond() + after.as_millisecond()) / 2
    });
    let cluster = clocks.cluster.map(|(cluster, here)| {
        let difference = cluster.as_millisecond() - here.as_millisecond();
        // It counts seconds.
        if (-1_500..500).contains(&difference) { 0 } else { difference }
    });
    let limit = i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(i64::MAX);
    let mut checks = Vec::new();
    if let (Some(server), Some(cluster)) = (server, cluster) {
        let between = server - cluster;
        let text = format!("the server's clock is {} the API server's", ahead(between));
        checks.push(match between.abs() {
            0..NOTICEABLE => Check::ok(Area::Clock, "the clocks of the server and of the API server agree"),
            off if off < limit => Check::new(Area::Clock, Status::Warning, format!("{text}: let both follow NTP")),
            _ => Check::failed(
                Area::Clock,
                format!(
                    "{text}: certificates that are issued for users may not be valid yet, or not any more, when they are shown; let both follow NTP"
                ),
            ),
        });
    }
    let own = server.map(|off| (off, "the server's")).or(cluster.map(|off| (off, "the API server's")));
    if let Some((off, whose)) = own.filter(|(off, _)| off.abs() >= NOTICEABLE) {
        checks.push(Check::new(
            Area::Clock,
            Status::Warning,
            format!("{whose} clock is {} that of {here}: one of the two is wrong", ahead(off)),
        ));
    } else if checks.is_empty()
        && let Some((_, whose)) = own
    {
        checks.push(Check::ok(Area::Clock, format!("{whose} clock agrees with that of {here}")));
    }
    checks
}

/// Event triggers run in the sessions of the operator, and can make its statements fail.
pub(super) fn event_triggers(found: &[EventTrigger]) -> Vec<Check> {
    if found.is_empty() {
        return vec![Check::ok(Area::EventTriggers, "no event trigger runs in the operator's sessions")];
    }
    found
        .iter()
        .map(|trigger| {
            let EventTrigger { database, name, event, function, owner } = trigger;
            let what = match event.as_str() {
                "login" => "at each login of the operator; what fails in it refuses the login",
                _ => "when the operator grants rights on objects; what fails in it undoes that",
            };
            Check::new(
                Area::EventTriggers,
                Status::Warning,
                format!(
                    "the event trigger {name:?} of the logical database {database:?} (on {event}, function {function}, owner {owner:?}) runs {what}: let its function name what it uses by schema, and let the admin user pass"
                ),
            )
        })
        .collect()
}

/// Can the users of a session get past pg_hba.conf? What cannot be read is no fault: few may.
pub(super) fn hba(hba: &Hba, admin: &DatabaseAdmin) -> Vec<Check> {
    let users = &admin.spec.user_credentials;
    if admin.spec.protocol != Protocol::Postgres {
        return Vec::new();
    }
    let (method, methods): (&str, &[&str]) = match () {
        () if users.x509.is_some() => ("cert", &["cert"]),
        () if users.password.is_some() => ("scram-sha-256", &["scram-sha-256", "md5", "password"]),
        // RDS has its own rules, which nobody reads.
        () => return Vec::new(),
    };
    let line = format!("hostssl all +{} all {method}", identifier(MARKER));
    match hba {
        Hba::None => Vec::new(),
        Hba::Closed => vec![Check::new(
            Area::Hba,
            Status::Note,
            format!(
                "the admin user may not read pg_hba.conf; users of sessions need a line such as: {line} (before any line that refuses them; a superuser sees the lines by SELECT * FROM pg_hba_file_rules, and SELECT pg_reload_conf() applies changes)"
            ),
        )],
        Hba::Rules(rules) => of_rules(rules, methods, &line),
    }
}

fn of_rules(rules: &[HbaRule], methods: &[&str], line: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = rules
        .iter()
        .filter_map(|rule| {
            let fault = rule.fault.as_ref()?;
            let message = format!(
                "line {} of pg_hba.conf is not understood ({fault}), so that no change of the file takes effect",
                rule.line
            );
            Some(Check::new(Area::Hba, Status::Warning, message))
        })
        .collect();
    let lets_in = |rule: &&HbaRule| {
        let for_users = rule
            .users
            .iter()
            .any(|user| user == "all" || user.strip_prefix('+').is_some_and(|role| role == MARKER));
        let by_method = methods.contains(&rule.method.as_str())
            || (methods.contains(&"cert")
                && rule.options.iter().any(|option| option == "clientcert=verify-full"));
        matches!(rule.connection.as_str(), "host" | "hostssl") && for_users && by_method
    };
    checks.push(match rules.iter().find(lets_in) {
        Some(rule) => Check::ok(
            Area::Hba,
            format!("line {} of pg_hba.conf lets users of sessions in ({})", rule.line, rule.method),
        ),
        None => Check::new(
            Area::Hba,
            Status::Warning,
            format!(
                "no line of pg_hba.conf lets users of sessions in, by the looks of it: add {line} before the first line that refuses them, and run SELECT pg_reload_conf()"
            ),
        ),
    });
    checks
}

/// All of it.
pub(super) fn checks(found: &Examination, admin: &DatabaseAdmin) -> Vec<Check> {
    let unread = found
        .unread
        .iter()
        .map(|what| Check::new(Area::EventTriggers, Status::Unknown, format!("could not be read: {what}")));
    let triggers = match admin.spec.protocol {
        Protocol::Postgres => event_triggers(&found.event_triggers),
        Protocol::Mongodb | Protocol::Redshift => Vec::new(),
    };
    triggers.into_iter().chain(unread).chain(hba(&found.hba, admin)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    fn of(server: Option<i64>, cluster: Option<i64>) -> Vec<Status> {
        let here = 1_700_000_000_000;
        let found = clocks(Clocks {
            server: server.map(|off| (at(here + off), at(here - 50), at(here + 50))),
            cluster: cluster.map(|off| (at(here + off), at(here))),
        });
        found.into_iter().map(|check| check.status).collect()
    }

    #[test]
    fn clocks_are_compared_with_each_other_and_with_this_machine() {
        assert_eq!(of(Some(20), Some(-900)), [Status::Ok]);
        assert_eq!(of(Some(20_000), Some(0)), [Status::Warning, Status::Warning]);
        assert_eq!(of(Some(-90_000), Some(0)), [Status::Failed, Status::Warning]);
        // This machine is wrong, and the two others agree.
        assert_eq!(of(Some(90_000), Some(90_000)), [Status::Ok, Status::Warning]);
        assert_eq!(of(None, Some(-900)), [Status::Ok]);
        assert_eq!(of(Some(70_000), None), [Status::Warning]);
        assert!(of(None, None).is_empty());
    }

    fn rule(connection: &str, users: &[&str], method: &str) -> HbaRule {
        HbaRule {
            line: 7,
            connection: connection.to_owned(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            method: method.to_owned(),
            ..HbaRule::default()
        }
    }

    #[test]
    fn a_line_that_lets_users_in_is_looked_for() {
        let admin = |credentials: serde_json::Value| -> DatabaseAdmin {
            serde_json::from_value(json!({"metadata": {"name": "orders"}, "spec": {
                "protocol": "postgres", "uri": "db", "auth": {}, "userCredentials": credentials}}))
            .expect("it is one")
        };
        let by_certificate = admin(json!({"x509": {"caSecretRef": {"name": "ca"}}}));
        let status = |rules: Vec<HbaRule>, admin: &DatabaseAdmin| {
            hba(&Hba::Rules(rules), admin).into_iter().map(|check| check.status).collect::<Vec<_>>()
        };
        let marker = rule("hostssl", &["+teleport-auto-user"], "cert");
        assert_eq!(status(vec![marker.clone()], &by_certificate), [Status::Ok]);
        assert_eq!(status(vec![rule("local", &["all"], "cert")], &by_certificate), [Status::Warning]);
        assert_eq!(status(vec![rule("hostssl", &["bob"], "cert")], &by_certificate), [Status::Warning]);
        let password = admin(json!({"password": {}}));
        assert_eq!(status(vec![marker], &password), [Status::Warning]);
        assert_eq!(status(vec![rule("host", &["all"], "scram-sha-256")], &password), [Status::Ok]);
        let option =
            HbaRule { options: vec!["clientcert=verify-full".to_owned()], ..rule("host", &["all"], "trust") };
        assert_eq!(status(vec![option], &by_certificate), [Status::Ok]);
        let fault = HbaRule { fault: Some("bad".to_owned()), ..HbaRule::default() };
        assert_eq!(status(vec![fault], &by_certificate), [Status::Warning, Status::Warning]);
        let closed = hba(&Hba::Closed, &by_certificate).remove(0);
        assert!(
            closed.status == Status::Note
                && closed.message.contains("hostssl all +\"teleport-auto-user\" all cert")
        );
    }
}
