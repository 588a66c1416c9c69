//! The answer as a comment on a pull request.
//!
//! Names come from manifests that anybody may have proposed: they stand in code spans, so that they are neither markup
//! nor mentions.

use rolecall_policy::Protocol;

use super::summary::{self, Sign};
use super::view::{AccessChange, Change, PlanView, SessionEffect, When};
use crate::table::visible;

/// The most objects that are listed for an access, and the most accesses: a comment has a size limit.
const OBJECTS: usize = 20;
const ACCESSES: usize = 50;

/// The answer in Markdown (GitHub's flavour, which GitLab and Gitea read as well).
pub fn markdown(plan: &PlanView) -> String {
    let mut text = format!("### Database access\n\n**{}**\n", summary::sentence(plan));
    for notice in &plan.notices {
        text.push_str(&format!("\n> {}\n", plain(notice)));
    }
    if !plan.accesses.is_empty() {
        text.push_str("\n| user | database | gained | lost | live sessions |\n|---|---|---|---|---|\n");
        for access in plan.accesses.iter().take(ACCESSES) {
            text.push_str(&row(access));
        }
        if plan.accesses.len() > ACCESSES {
            text.push_str(&format!("\n{} more are left out.\n", plan.accesses.len() - ACCESSES));
        }
    }
    if !plan.changes.is_empty() {
        text.push_str("\n<details><summary>Changed objects</summary>\n\n| | kind | name | fields |\n|---|---|---|---|\n");
        for change in &plan.changes {
            let word = match change.change {
                Change::Created => "created",
                Change::Changed => "changed",
                Change::Deleted => "deleted",
            };
            let fields: Vec<String> = change.fields.iter().map(|field| code(field)).collect();
            text.push_str(&format!(
                "| {word} | {} | {} | {} |\n",
                change.kind,
                code(&change.name),
                fields.join(", ")
            ));
        }
        text.push_str("\n</details>\n");
    }
    let with_statements =
        plan.accesses.iter().take(ACCESSES).filter(|access| !access.statements.statements.is_empty());
    for access in with_statements {
        text.push_str(&statements(access));
    }
    text
}

fn row(access: &AccessChange) -> String {
    let lines = summary::lines(access, OBJECTS);
    let of = |sign: Sign| {
        let lines = lines.iter().filter(|line| line.sign == sign);
        lines.map(|line| format!("{}: {}", line.what, code(&line.text))).collect::<Vec<_>>()
    };
    let (gained, mut lost) = (of(Sign::Gained), of(Sign::Lost));
    lost.extend(of(Sign::Other));
    let sessions = access.sessions.iter().map(|session| {
        let text = code(&summary::session(session));
        if session.effect == SessionEffect::Ends { format!("**{text}**") } else { text }
    });
    let sessions: Vec<String> = sessions.collect();
    let grows = if access.grows { " **grows**" } else { "" };
    format!(
        "| {}{grows} | {} | {} | {} | {} |\n",
        code(&access.user),
        code(&access.database),
        gained.join("<br>"),
        lost.join("<br>"),
        sessions.join("<br>")
    )
}

fn statements(access: &AccessChange) -> String {
    let when = match access.statements.when {
        When::Now => "at once",
        When::NextSession => "with the next session",
    };
    let language = if access.protocol == Protocol::Mongodb { "js" } else { "sql" };
    let lines: Vec<String> =
        access.statements.statements.iter().map(|statement| format!("{};", shown(statement))).collect();
    let lines = lines.join("\n");
    let fence = "`".repeat(longest_run(&lines).max(2) + 1);
    format!(
        "\n<details><summary>{} on {}: what runs {when}</summary>\n\n{fence}{language}\n{lines}\n{fence}\n\n</details>\n",
        html(&access.user),
        html(&access.database)
    )
}

/// Control characters as escapes, but for line breaks.
fn shown(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The text in a code span, also within a table.
fn code(text: &str) -> String {
    let text = visible(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    if text.is_empty() {
        String::new()
    } else if fence.len() == 1 {
        format!("`{text}`")
    } else {
        format!("{fence} {text} {fence}")
    }
}

/// The text with nothing in it that is markup.
fn plain(text: &str) -> String {
    let mut escaped = String::new();
    for c in visible(text).chars() {
        if c.is_ascii_punctuation()
            && !matches!(c, '.' | ',' | ':' | ';' | '\'' | '"' | '-' | '/' | '&' | '<' | '>')
        {
            escaped.push('\\');
        }
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn html(text: &str) -> String {
    let text = visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<code>{text}</code>")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_neither_markup_nor_mentions() {
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(code("@all\n<b>"), "`@all\\n<b>`");
        assert_eq!(plain("*x* <b> @all"), "\\*x\\* &lt;b&gt; \\@\u{200b}all");
        assert_eq!(html("<a>&"), "<code>&lt;a&gt;&amp;</code>");
    }
}
