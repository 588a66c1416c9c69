//! What is counted of the audit log.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// See the module. Copies count together.
#[derive(Clone, Debug, Default)]
pub struct AuditCounters {
    /// Lines that were written.
    pub lines: Counter,
    /// Attempts to write that failed.
    pub failures: Counter,
    /// Lines that wait until they can be written.
    pub waiting: Gauge,
    /// Lines that were given up.
    pub lost: Counter,
}

impl AuditCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("audit_lines", "Lines of the audit log that were written", self.lines.clone());
        registry.register(
            "audit_write_failures",
            "Attempts to write to the audit log that failed: no access is given before one succeeds",
            self.failures.clone(),
        );
        registry.register(
            "audit_waiting_lines",
            "Lines about accesses that ended, which wait until the audit log can be written",
            self.waiting.clone(),
        );
        registry.register(
            "audit_lost_lines",
            "Lines of the audit log that were given up because too many waited",
            self.lost.clone(),
        );
    }
}
