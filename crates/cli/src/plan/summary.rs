//! What both forms for people say.

use super::view::{AccessChange, Difference, ObjectDifference, PlanView, SessionChange, SessionEffect};

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Gained,
    Lost,
    Other,
}

/// One thing that differs.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) sign: Sign,
    pub(super) what: &'static str,
    pub(super) text: String,
}

/// The answer in one sentence.
pub(super) fn sentence(plan: &PlanView) -> String {
    let count = |of: &dyn Fn(&AccessChange) -> bool| plan.accesses.iter().filter(|access| of(access)).count();
    let grow = count(&|access| access.grows);
    let rest = plan.accesses.len() - grow;
    let effects = |effect| {
        let sessions = plan.accesses.iter().flat_map(|access| &access.sessions);
        sessions.filter(|session| session.effect == effect).count()
    };
    let mut parts = Vec::new();
    match (grow, rest) {
        (0, 0) if plan.grows => parts.push("Access grows".to_owned()),
        (0, 0) => parts.push("Nobody's access changes".to_owned()),
        (0, rest) => parts.push(format!("{} without growing", accesses(rest))),
        (grow, 0) => parts.push(format!("{} grow{}", number(grow), if grow == 1 { "s" } else { "" })),
        (grow, rest) => parts.push(format!(
            "{} grow{}, {} more change{} without growing",
            number(grow),
            if grow == 1 { "s" } else { "" },
            rest,
            if rest == 1 { "s" } else { "" }
        )),
    }
    for (effect, one, several) in [
        (SessionEffect::Ends, "ends", "end"),
        (SessionEffect::ExpiresEarlier, "expires earlier", "expire earlier"),
        (SessionEffect::Changes, "goes on with other rights", "go on with other rights"),
        (SessionEffect::Starts, "starts", "start"),
    ] {
        match effects(effect) {
            0 => {}
            1 => parts.push(format!("1 live session {one}")),
            many => parts.push(format!("{many} live sessions {several}")),
        }
    }
    format!("{}.", parts.join("; "))
}

fn number(accesses: usize) -> String {
    if accesses == 1 { "1 access".to_owned() } else { format!("{accesses} accesses") }
}

fn accesses(count: usize) -> String {
    if count == 1 { "1 access changes".to_owned() } else { format!("{count} accesses change") }
}

/// Whose access it is, and which way it goes.
pub(super) fn heading(access: &AccessChange) -> String {
    let AccessChange { user, username, database, .. } = access;
    let called = if user == username { String::new() } else { format!(" ({username} in databases)") };
    let verdict = match (access.allowed_before, access.allowed_after) {
        (false, true) => "access is new",
        (true, false) => "access is lost",
        _ if access.grows => "access grows",
        _ => "access changes",
    };
    format!("{user}{called} on {database}: {verdict}")
}

/// What differs, gains first. At most so many objects are named.
pub(super) fn lines(access: &AccessChange, most: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (sign, difference) in [(Sign::Gained, &access.gained), (Sign::Lost, &access.lost)] {
        of_difference(sign, difference, &mut lines);
    }
    for option in &access.options {
        let text = format!("{} {} -> {}", option.option, option.before, option.after);
        lines.push(Line { sign: Sign::Other, what: "option", text });
    }
    if let Some(objects) = &access.objects {
        of_objects(objects, most, &mut lines);
    }
    for blocked in &access.blocked {
        let text = format!("{}: {}", blocked.reason, blocked.message);
        lines.push(Line { sign: Sign::Other, what: "no session", text });
    }
    lines
}

fn of_difference(sign: Sign, difference: &Difference, lines: &mut Vec<Line>) {
    if let Some(names) = &difference.database_names {
        lines.push(Line { sign, what: "logical databases", text: names.to_string() });
    }
    for (role, given_by) in &difference.db_roles {
        let text = format!("{role} ({})", given_by.join(", "));
        lines.push(Line { sign, what: "database role", text });
    }
    for permission in &difference.permissions {
        lines.push(Line { sign, what: "object permissions", text: permission.clone() });
    }
}

fn of_objects(objects: &[ObjectDifference], most: usize, lines: &mut Vec<Line>) {
    for object in objects.iter().take(most) {
        let ObjectDifference { kind, database, schema, name, .. } = object;
        let path = match schema.as_str() {
            "" => format!("{database}.{name}"),
            schema if schema == name => format!("{database}.{name}"),
            _ => format!("{database}.{schema}.{name}"),
        };
        for (sign, privileges) in [(Sign::Gained, &object.gained), (Sign::Lost, &object.lost)] {
            if !privileges.is_empty() {
                let privileges: Vec<&str> = privileges.iter().map(|privilege| privilege.as_str()).collect();
                let text = format!("{} on {kind} {path}", privileges.join(", "));
                lines.push(Line { sign, what: "object", text });
            }
        }
    }
    if objects.len() > most {
        let text = format!("{} more", objects.len() - most);
        lines.push(Line { sign: Sign::Other, what: "objects", text });
    }
}

/// What becomes of a live session.
pub(super) fn session(session: &SessionChange) -> String {
    let on = session.database_name.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
    let effect = match session.effect {
        SessionEffect::Ends if session.waits => "ends, and waits until it is allowed again",
        SessionEffect::Ends => "ends",
        SessionEffect::Changes => "goes on with other rights",
        SessionEffect::Starts => "has waited, and starts",
        SessionEffect::ExpiresEarlier => "expires earlier",
    };
    let why = session.why.as_ref().map(|why| format!(" ({}: {})", why.reason, why.message));
    format!("{}{on} {effect}{}", session.name, why.unwrap_or_default())
}
