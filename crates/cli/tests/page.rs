//! The report's page in a real browser: what its search and filters show, and that nothing of what people wrote runs.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use rolecall_ledger::{Chain, Entry, Event};
use rolecall_testbed::{components, environment};

const EVIL: &str =
    "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

/// Accesses of 20 users on 5 databases, 100 of each user; every tenth is still there.
fn log() -> String {
    let mut chain = Chain::new("c0ffee", None);
    let begun: Timestamp = "2026-09-01T00:00:00Z".parse().expect("a time");
    let mut text = String::new();
    let mut write = |entry: &Entry, minutes: i64| {
        let sealed = chain.seal(entry, begun + SignedDuration::from_mins(minutes)).expect("it can be made");
        chain.accept(&sealed.head);
        text.push_str(&sealed.text);
        text.push('\n');
    };
    write(&Entry { algorithm: "SHA-256".into(), ..Entry::new(Event::Start) }, 0);
    for number in 0..2_000_i64 {
        let access = |event| Entry {
            namespace: "shop".into(),
            session: format!("session-{number}"),
            uid: format!("uid-{number}"),
            user: format!("user{:02}", number % 20),
            database: format!("db{}", number % 5),
            username: format!("user{:02}", number % 20),
            why: if number == 7 { EVIL.to_owned() } else { format!("INC-{number}") },
            ..Entry::new(event)
        };
        write(&access(Event::Active), 60 * number);
        if number % 10 != 0 {
            let ended = Entry { reason: "Expired".into(), proven: true, ..access(Event::Ended) };
            write(&ended, 60 * number + 30);
        }
    }
    text
}

/// The page as the browser shows it at an address with this after the `#`.
fn shown(browser: &(std::path::PathBuf, Vec<(&'static str, String)>), folder: &Path, after: &str) -> String {
    let (program, libraries) = browser;
    let address = format!("file://{}#{after}", folder.join("report.html").display());
    let output = Command::new(program)
        .env_clear()
        .envs(environment(folder))
        .envs(libraries.iter().map(|(name, value)| (*name, value)))
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(address)
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many rows of accesses are shown, and how many lines of the timeline.
fn rows(page: &str) -> (usize, usize) {
    let visible = |class: &str| {
        let start = format!("<tr class=\"{class}\"");
        let rows = page.split(&start).skip(1);
        rows.filter(|row| !row.split('>').next().unwrap_or_default().contains(" hidden")).count()
    };
    (visible("access"), visible("lane"))
}

#[test]
#[ignore = "it downloads a browser: cargo xtask test --full"]
fn search_and_filters_show_what_they_say_and_nothing_that_people_wrote_is_run() {
    let browser = components::chromium().expect("the browser");
    let folder = tempfile::tempdir().expect("a directory can be made");
    let ledger = folder.path().join("audit.jsonl");
    std::fs::write(&ledger, log()).expect("it is written");
    let made = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"))
        .env_clear()
        .envs(environment(Path::new("/nonexistent")))
        .args(["report", "--offline", "-o", "html", "--until", "2026-12-01", "-f"])
        .arg(&ledger)
        .output()
        .expect("the program starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(folder.path().join("report.html"), &made.stdout).expect("it is written");
    for (after, accesses, lanes) in [
        ("", 2_000, 20),
        // A link to a part of the page filters nothing.
        ("timeline", 2_000, 20),
        ("user=user03", 100, 1),
        ("database=db2", 400, 4),
        ("user=user03&database=db2", 0, 0),
        ("state=active", 200, 2),
        ("q=inc-1999", 1, 1),
        ("q=user03 session-3", 1, 1),
        ("q=onerror", 1, 1),
        // One begins every hour; those that are still there are there on every later day, too.
        ("from=2026-09-02&to=2026-09-02&state=ended", 22, 18),
        ("to=2026-09-01", 24, 20),
    ] {
        let page = shown(&browser, folder.path(), after);
        let exact = rows(&page);
        if after.starts_with("q=user03") {
            assert!(exact.0 >= accesses && exact.1 == lanes, "{after}: {exact:?}");
        } else {
            assert_eq!(exact, (accesses, lanes), "{after}");
        }
        assert!(page.contains(&format!("{} of 2000 accesses", exact.0)), "{after}");
        assert!(page.contains("<title>Access report"), "{after}: what somebody wrote was run");
    }
}
