//! What a piece of work costs.

use std::{env, fs, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Does `work` and prints its cost as one line of JSON: `cpu` and `wall` in seconds, `rss_mb` the
/// most memory the process held meanwhile, `idle_mb` what it held before, and `flushes`, the calls
/// of fsync and fdatasync. `times` is how often the work does what is counted.
pub(crate) fn measure<T>(workload: &str, times: usize, work: impl FnOnce() -> T) -> T {
    // Forgets the peak of the preparation. Where that is not allowed, the peak is the greater one.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (idle, flushed) = (status_mb("VmRSS:"), flushes());
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let done = work();
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let times = times as f64;
    let flushed = flushes().zip(flushed).map(|(after, before)| (after - before) as f64 / times);
    println!(
        "{}",
        json!({
            "workload": workload,
            "cpu": cpu / times,
            "wall": wall / times,
            "idle_mb": idle,
            "rss_mb": status_mb("VmHWM:"),
            "flushes": flushed,
        })
    );
    done
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn status_mb(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kb: f64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    kb / 1024.0
}

/// Flushes so far, of which strace writes a line each: run.R has the first run under it.
fn flushes() -> Option<usize> {
    let lines = fs::read_to_string(env::var_os("BENCH_FLUSHES")?).ok()?;
    Some(lines.matches("sync(").count())
}
