//! The resources that the process uses, under the names that all exporters use. Read at each scrape.

use std::fmt;

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// See the module.
#[derive(Debug)]
pub(super) struct OfProcess;

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Where /proc is closed there is nothing to report.
        let Ok(process) = Process::myself() else { return Ok(()) };
        let Ok(stat) = process.stat() else { return Ok(()) };
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks);
        let name = "process_cpu_seconds";
        let help = "Processor time of the process, in seconds";
        cpu.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        let boot = procfs::boot_time_secs().ok();
        let open = process.fd_count().ok();
        let most = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        });
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", Some(stat.rss_bytes().get() as f64)),
            ("process_virtual_memory_bytes", "Virtual memory", Some(stat.vsize as f64)),
            ("process_threads", "Threads", Some(stat.num_threads as f64)),
            ("process_open_fds", "Open file descriptors", open.map(|open| open as f64)),
            ("process_max_fds", "How many file descriptors may be open", most),
            (
                "process_start_time_seconds",
                "When the process started, in Unix time",
                boot.map(|boot| boot as f64 + stat.starttime as f64 / ticks),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
