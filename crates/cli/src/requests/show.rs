//! Requests for a terminal.

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{ApprovalNeed, ApprovalProgress, DatabaseSession, RequestedPermission, SessionRequest};

use super::decide::waiting;
use crate::sessions::span;
use crate::table::{Cell, Table};

/// How much of a hash is shown in a list: enough to tell requests apart, and what `--hash` takes.
const SHORT: usize = 12;

/// The sessions that wait, each in a line.
pub(super) fn table(sessions: &[DatabaseSession], namespaces: bool, now: Timestamp, colour: bool) -> String {
    if sessions.is_empty() {
        return String::new();
    }
    let mut headings = vec![
        "NAME", "ASKED BY", "USER", "DATABASE", "DBNAME", "ROLES", "FOR", "SINCE", "LEFT", "APPROVED", "HASH",
    ];
    if namespaces {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&headings);
    for session in sessions {
        let Ok((request, progress)) = waiting(session) else { continue };
        let mut row: Vec<Cell> = vec![
            session.name_any().into(),
            (&request.requested_by).into(),
            (&request.user.name).into(),
            (&request.server.name).into(),
            request.server.database_name.as_deref().unwrap_or("-").into(),
            roles(request).into(),
            duration(request).into(),
            span(now.duration_since(progress.requested_at.0)).into(),
            span(progress.expires_at.0.duration_since(now)).into(),
            progress.needs.iter().map(need).collect::<Vec<_>>().join(", ").into(),
            short(&request.hash).into(),
        ];
        if namespaces {
            row.insert(0, session.namespace().unwrap_or_default().into());
        }
        table.row(row);
    }
    table.render(colour)
}

/// Everything that one asks for.
pub(super) fn request(request: &SessionRequest, progress: &ApprovalProgress, now: Timestamp) -> String {
    let server = &request.server;
    let at = server.server_name.as_ref().map(|name| format!(", as {name}")).unwrap_or_default();
    let mut table = Table::plain();
    let mut row = |name: &str, text: String| table.row([Cell::from(name), Cell::from(text)]);
    row("Session", format!("{} in {}", request.session.name, request.session.namespace));
    row("Asked by", request.requested_by.clone());
    row("Reason", request.reason.clone().unwrap_or_else(|| "-".to_owned()));
    row("User", format!("{}, in the database {}", request.user.name, request.user.username));
    row("Server", format!("{} ({} at {}{at})", server.name, server.protocol, server.uri));
    row("Database", server.database_name.clone().unwrap_or_else(|| "-".to_owned()));
    row("Database roles", roles(request));
    let permissions = request.permissions.clone().unwrap_or_default();
    for entry in &permissions.allow {
        row("Permissions", permission(entry));
    }
    for entry in &permissions.deny {
        row("But not", permission(entry));
    }
    let rules: Vec<&str> = permissions.import_rules.iter().map(|rule| rule.name.as_str()).collect();
    if !rules.is_empty() {
        row("Labels by", rules.join(", "));
    }
    row("For", duration(request));
    row("Account after it", request.mode.clone());
    if let Some(role) = &request.reassign_to {
        row("What it owns to", role.clone());
    }
    for one in &progress.needs {
        row("Approved", need(one));
    }
    row("Time left", span(progress.expires_at.0.duration_since(now)));
    row("Hash", request.hash.clone());
    table.render(false)
}

fn short(hash: &str) -> &str {
    let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
    hash.get(..SHORT).unwrap_or(hash)
}

fn roles(request: &SessionRequest) -> String {
    if request.db_roles.is_empty() { "-".to_owned() } else { request.db_roles.join(", ") }
}

fn duration(request: &SessionRequest) -> String {
    request.duration.map_or_else(|| "until it is ended".to_owned(), |duration| duration.to_string())
}

fn need(need: &ApprovalNeed) -> String {
    format!("{}/{} {}", need.given, need.count, need.role)
}

fn permission(entry: &RequestedPermission) -> String {
    let labels: Vec<String> =
        entry.matching.iter().map(|(key, values)| format!("{key}: [{}]", values.join(", "))).collect();
    format!("{} where {{{}}}", entry.privileges.join(", "), labels.join(", "))
}

#[cfg(test)]
mod tests {
    use rolecall_api::{
        GoDuration, RequestedPermissions, RequestedServer, RequestedUser, RequestingSession, Time,
    };

    use super::*;

    #[test]
    fn everything_that_is_asked_for_is_shown() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let asked = SessionRequest {
            session: RequestingSession {
                namespace: "shop".into(),
                name: "alice-orders".into(),
                uid: "u".into(),
            },
            requested_by: "alice@example.com".into(),
            reason: Some("INC-1\u{1b}[2J".into()),
            user: RequestedUser { name: "alice".into(), username: "alice@example.com".into() },
            server: RequestedServer {
                name: "orders".into(),
                protocol: "postgres".into(),
                uri: "orders-db:5432".into(),
                database_name: Some("horizon".into()),
                ..RequestedServer::default()
            },
            mode: "BestEffortDrop".into(),
            reassign_to: Some("horizon_owner".into()),
            db_roles: vec!["reader".into(), "writer".into()],
            permissions: Some(RequestedPermissions {
                allow: vec![RequestedPermission {
                    matching: [("dept".to_owned(), vec!["hr".to_owned()])].into(),
                    privileges: vec!["SELECT".into()],
                }],
                ..RequestedPermissions::default()
            }),
            duration: Some(GoDuration::from_secs(3_600)),
            hash: "sha256:4c9f".into(),
        };
        let progress = ApprovalProgress {
            requested_at: Time(at("2126-01-01T10:00:00Z")),
            expires_at: Time(at("2126-01-01T11:00:00Z")),
            needs: vec![ApprovalNeed { role: "admins".into(), count: 2, given: 1, who: None }],
        };
        insta::assert_snapshot!(request(&asked, &progress, at("2126-01-01T10:30:00Z")), @r"
        Session            alice-orders in shop
        Asked by           alice@example.com
        Reason             INC-1\u{1b}[2J
        User               alice, in the database alice@example.com
        Server             orders (postgres at orders-db:5432)
        Database           horizon
        Database roles     reader, writer
        Permissions        SELECT where {dept: [hr]}
        For                1h
        Account after it   BestEffortDrop
        What it owns to    horizon_owner
        Approved           1/2 admins
        Time left          30m
        Hash               sha256:4c9f
        ");
    }
}
