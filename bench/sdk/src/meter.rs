//! What a piece of work costs.

use std::{fs, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Does `work` and prints its cost as one line of JSON: `cpu` and `wall` in seconds, `rss_mb` the
/// most memory the process held meanwhile. `times` is how often the work does what is counted.
pub(crate) fn measure<T>(workload: &str, times: usize, work: impl FnOnce() -> T) -> T {
    // Forgets the peak of the preparation. Where that is not allowed, the peak is the greater one.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let done = work();
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let times = times as f64;
    println!(
        "{}",
        json!({"workload": workload, "cpu": cpu / times, "wall": wall / times, "rss_mb": peak_mb()})
    );
    done
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb: f64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    kb / 1024.0
}
