//! Traces of reconciles over OTLP (gRPC, without TLS), for a collector that the environment names.
//!
//! Only spans are sent, never log lines. A span names the object that is
//! reconciled and why, and an account by its database user.

use std::env;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_ENDPOINT, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Sends spans. What is left is sent when this value is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Traces to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, for example `http://localhost:4317`; none where
    /// it is not set. Called within the runtime.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        if env::var_os(OTEL_EXPORTER_OTLP_ENDPOINT).is_none_or(|endpoint| endpoint.is_empty()) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_tonic().build();
        let exporter = exporter.with_context(|| format!("reading {OTEL_EXPORTER_OTLP_ENDPOINT}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder().with_service_name("rolecall-operator").with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        Ok(Some(Self(provider.build())))
    }

    /// What hands spans over, to be put on top of the log.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let own = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("rolecall_"));
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("rolecall")).with_filter(own)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that does not answer loses the last spans; the end does not wait for it.
        if let Err(error) = self.0.shutdown() {
            tracing::debug!(%error, "the last traces are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Sent(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Sent {
        fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
            self.0.lock().unwrap().extend(batch);
            ready(Ok(()))
        }
    }

    #[test]
    fn spans_of_ours_are_sent_and_no_log_lines() {
        let sent = Sent::default();
        let traces = Traces(SdkTracerProvider::builder().with_simple_exporter(sent.clone()).build());
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("reconcile", kind = "session");
            span.in_scope(|| {
                tracing::info!(username = "alice", "access");
                drop(tracing::info_span!(target: "kube_client", "HTTP"));
            });
        });
        drop(traces);
        let sent = sent.0.lock().unwrap();
        let names: Vec<&str> = sent.iter().map(|span| span.name.as_ref()).collect();
        assert_eq!(names, ["reconcile"]);
        assert!(sent[0].events.is_empty() && !format!("{sent:?}").contains("alice"), "{sent:?}");
    }
}
