//! Tests have the same result for every user, in every place.

use std::process::Command;

use anyhow::{Result, ensure};

/// What a caller may have set for other work.
const CALLERS: [(&str, &str); 20] = [
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("KUBECONFIG", "/nonexistent/kubeconfig"),
    ("PGHOST", "elsewhere"),
    ("PGTZ", "Asia/Tokyo"),
    ("PGUSER", "somebody"),
    ("RUST_LOG", "trace"),
    ("ROLECALL_CLUSTER_NAME", "elsewhere"),
    ("ROLECALL_LEADER_ELECT", "true"),
    ("ROLECALL_LISTEN", "127.0.0.1:9"),
    ("ROLECALL_LOG", "off"),
    ("ROLECALL_LOG_FORMAT", "json"),
    ("ROLECALL_RESYNC_INTERVAL", "24h"),
    ("ROLECALL_USER", "somebody"),
    ("AWS_PROFILE", "nonexistent"),
    ("NO_COLOR", "1"),
    ("LC_ALL", "de_DE.UTF-8"),
    ("TZ", "Pacific/Kiritimati"),
    ("XDG_CONFIG_HOME", "/nonexistent"),
];

#[test]
fn nothing_that_the_caller_has_set_plays_a_part() -> Result<()> {
    // An operator in this process, one as a process, and kubectl.
    let tests = [
        "sessions::a_session_gives_access_until_it_is_deleted",
        "process::sigterm_ends_it_in_order_and_leaves_accesses_as_they_are",
    ];
    let output = Command::new(std::env::current_exe()?).arg("--exact").args(tests).envs(CALLERS).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(stdout.contains("2 passed"), "{stdout}");
    Ok(())
}
