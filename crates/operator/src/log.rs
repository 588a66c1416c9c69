//! The log. The audit log is not part of it: see [`crate::ledger`].
//!
//! What `--log` says decides what is logged, with one exception: some crates log statements or answers with passwords in
//! them at their lowest levels, and those lines are never written.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry, filter, fmt};

use crate::args::LogFormat;

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
    let harmless = filter::filter_fn(|metadata| !is_capped(metadata));
    let harmless = harmless.with_max_level_hint(LevelFilter::TRACE);
    let lines = fmt::layer().with_ansi(ansi).with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(wanted.and(harmless)).boxed()))
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
            tracing::info!("something else");
            tracing::debug!(target: "tokio_postgres::simple_query", "SCRAM-SHA-256$4096:");
            tracing::trace!(target: "kube_client::client", "an answer");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_logged() {
        assert!(!logged("warn", LogFormat::Text).contains("something else"));
        assert!(logged("info", LogFormat::Text).contains("something else"));
        let text = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "something else");
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
