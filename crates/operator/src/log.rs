//! The log, and the audit log within it.
//!
//! What `--log` says decides what is logged, with two exceptions. Audit lines (target `audit`) are always written:
//! whoever turns the log down must not lose who had access to what. And some crates log statements or answers with
//! passwords in them at their lowest levels: those lines are never written.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry, filter, fmt};

use crate::args::LogFormat;

/// The target of audit lines.
pub const AUDIT: &str = "audit";

/// The levels below which crates must never log: there they log whole statements, verifiers of passwords included, or
/// what the API server answered.
const CAPS: [(&str, LevelFilter); 2] =
    [("tokio_postgres", LevelFilter::INFO), ("kube_client", LevelFilter::DEBUG)];

/// What writes the log. `directives` are those of `--log`.
///
/// # Errors
///
/// When they cannot be read.
pub fn subscriber<W>(
    directives: &str,
    format: LogFormat,
    ansi: bool,
    writer: W,
) -> Result<impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync, filter::ParseError>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    use filter::FilterExt;

    let wanted = EnvFilter::try_new(directives)?;
    let others = filter::filter_fn(|metadata| !is_audit(metadata) && !is_capped(metadata));
    let others = others.with_max_level_hint(LevelFilter::TRACE);
    let audit = filter::filter_fn(is_audit).with_max_level_hint(LevelFilter::INFO);
    let lines = || -> Box<dyn Layer<Registry> + Send + Sync> {
        let lines = fmt::layer().with_ansi(ansi).with_writer(writer.clone());
        match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        }
    };
    Ok(tracing_subscriber::registry()
        .with(vec![lines().with_filter(wanted.and(others)).boxed(), lines().with_filter(audit).boxed()]))
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.target() == AUDIT
}

fn is_capped(metadata: &Metadata<'_>) -> bool {
    CAPS.iter().any(|(target, most)| {
        let inside = metadata
            .target()
            .strip_prefix(target)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        inside && *metadata.level() > *most
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(directives: &str, format: LogFormat) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber = subscriber(directives, format, false, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: AUDIT, access = "ended", "access");
            tracing::info!("something else");
            tracing::debug!(target: "tokio_postgres::simple_query", "SCRAM-SHA-256$4096:");
            tracing::trace!(target: "kube_client::client", "an answer");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn audit_lines_are_written_once_whatever_the_filter_says() {
        for directives in
            ["info", "warn", "off", "rolecall_operator=debug", "audit=off", "audit=error,trace", "trace"]
        {
            for format in [LogFormat::Text, LogFormat::Json] {
                let text = logged(directives, format);
                let lines = text.lines().filter(|line| line.contains("ended")).count();
                assert_eq!(lines, 1, "--log {directives}: {text}");
            }
        }
        assert!(!logged("warn", LogFormat::Text).contains("something else"));
        assert!(logged("info", LogFormat::Text).contains("something else"));
    }

    #[test]
    fn audit_lines_are_json_where_the_log_is() {
        let text = logged("off", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["target"], &line["access"]), (&"audit".into(), &"ended".into()));
    }

    #[test]
    fn what_the_driver_says_about_statements_is_never_logged() {
        for directives in [
            "trace",
            "tokio_postgres=trace",
            "tokio_postgres::simple_query=debug",
            "info,tokio_postgres::simple_query=trace,kube_client::client=trace",
        ] {
            let text = logged(directives, LogFormat::Text);
            assert!(!text.contains("SCRAM") && !text.contains("an answer"), "--log {directives}: {text}");
        }
    }
}
