//! The script that mends what lacks. Pure.

use rolecall_api::Protocol;

use super::report::{Check, Diagnosis, Status};

/// One script: each statement under what it mends. What is no fault is there as a comment, and so is what no statement
/// mends.
pub(super) fn script(diagnosis: &Diagnosis) -> String {
    let comment = match diagnosis.protocol {
        Protocol::Mongodb => "//",
        Protocol::Postgres | Protocol::Redshift => "--",
    };
    let mut script = Script { comment, text: String::new() };
    let admin = diagnosis.admin_user.as_deref().unwrap_or("nobody");
    script.say(&format!(
        "What {admin:?}, the admin user of the DatabaseAdmin {}/{} ({}), lacks. Read it before you run it.",
        diagnosis.namespace, diagnosis.database, diagnosis.uri
    ));
    script.say(match diagnosis.protocol {
        Protocol::Postgres => {
            "To be run by a superuser, or by whoever has these rights: psql -v ON_ERROR_STOP=1 -f FILE"
        }
        Protocol::Redshift => "To be run by a superuser: psql -v ON_ERROR_STOP=1 -f FILE",
        Protocol::Mongodb => "To be run by whoever may change users and roles: mongosh --file FILE",
    });
    let faults = diagnosis.checks.iter().filter(|check| check.status == Status::Failed);
    let (mended, others): (Vec<&Check>, Vec<&Check>) = faults.partition(|check| !check.fix.is_empty());
    let mut run: Vec<&String> = Vec::new();
    for check in &mended {
        script.blank();
        script.say(&check.message);
        for statement in &check.fix {
            // Two checks may be about one right.
            if run.contains(&statement) {
                script.say("(above)");
            } else {
                script.text.push_str(&format!("{statement};\n"));
                run.push(statement);
            }
        }
    }
    if mended.is_empty() {
        script.blank();
        script.say("No statement is needed.");
    }
    section(&mut script, "No statement mends this:", others.into_iter());
    let unseen = diagnosis.checks.iter().filter(|check| check.status == Status::Unknown);
    section(&mut script, "This could not be looked at:", unseen);
    let optional =
        diagnosis.checks.iter().filter(|check| check.status == Status::Warning && !check.fix.is_empty());
    for (index, check) in optional.enumerate() {
        if index == 0 {
            script.blank();
            script.say("Not needed, but better. Take the comment away from what you want.");
        }
        script.say(&check.message);
        for statement in &check.fix {
            script.say(&format!("  {statement};"));
        }
    }
    script.text
}

fn section<'a>(script: &mut Script, title: &str, checks: impl Iterator<Item = &'a Check>) {
    for (index, check) in checks.enumerate() {
        if index == 0 {
            script.blank();
            script.say(title);
        }
        script.say(&format!("  {}: {}", check.area.as_str(), check.message));
    }
}

struct Script {
    comment: &'static str,
    text: String,
}

impl Script {
    /// A comment. Names come from databases: a line break in one must not end it, nor what ends lines in JavaScript.
    fn say(&mut self, line: &str) {
        for part in line.lines() {
            let part =
                crate::table::visible(part).replace('\u{2028}', "\\u{2028}").replace('\u{2029}', "\\u{2029}");
            self.text.push_str(&format!("{} {part}\n", self.comment));
        }
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Area, Verdict};
    use super::*;

    #[test]
    fn a_script_runs_what_mends_faults_and_nothing_else() {
        let check = |status, message: &str, fix: &[&str]| {
            Check::new(Area::Rights, status, message)
                .fixed_by(fix.iter().map(|text| (*text).to_owned()).collect())
        };
        let mut diagnosis = Diagnosis {
            api_version: "cli.rolecall.dev/v1",
            kind: "Diagnosis",
            namespace: "shop".to_owned(),
            database: "orders".to_owned(),
            protocol: Protocol::Postgres,
            uri: "orders-db.shop.svc:5432".to_owned(),
            admin_user: Some("adm".to_owned()),
            verdict: Verdict::Broken,
            checks: vec![
                check(
                    Status::Failed,
                    "may not create users\u{2028}\nDROP TABLE x",
                    &["ALTER ROLE \"adm\" CREATEROLE"],
                ),
                check(Status::Failed, "the same", &["ALTER ROLE \"adm\" CREATEROLE"]),
                check(Status::Failed, "does not answer", &[]),
                check(
                    Status::Warning,
                    "everybody may connect",
                    &["REVOKE CONNECT ON DATABASE \"a\" FROM PUBLIC"],
                ),
                check(Status::Unknown, "the triggers of \"b\"", &[]),
                check(Status::Ok, "may grant", &[]),
            ],
        };
        let text = script(&diagnosis);
        insta::assert_snapshot!(text);
        let runs: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
        assert_eq!(runs, ["ALTER ROLE \"adm\" CREATEROLE;"]);
        assert!(!text.contains('\u{2028}'), "it ends a comment of JavaScript");
        diagnosis.checks.clear();
        diagnosis.protocol = Protocol::Mongodb;
        assert!(script(&diagnosis).lines().all(|line| line.is_empty() || line.starts_with("//")));
    }
}
