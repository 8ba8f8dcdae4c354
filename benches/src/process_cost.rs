//! What a process has cost: the scheduler's own count of its run time, and its peak memory.

use std::fs;
use std::io;
use std::ops::Sub;
use std::time::Duration;

/// Run time of all threads of a process and of its children, as `/proc/PID/task/*/schedstat` counts it, in nanoseconds.
///
/// The count of a running thread is brought up to date when it leaves the CPU or at a timer tick: read it while
/// the server is idle and it is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Spent running.
    pub ran: Duration,
    /// Spent runnable while something else had the CPU: how much the measurement was disturbed.
    pub waited: Duration,
    /// How many threads there are.
    pub threads: usize,
}

impl Cpu {
    /// Reads the count of the process `pid` and of the workers it has started.
    ///
    /// # Errors
    /// When the process is gone or the kernel keeps no such count.
    pub fn of(pid: u32) -> io::Result<Cpu> {
        let mut sum = Cpu::default();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may have ended since the folder was read.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let mut nanos = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
            sum.ran += Duration::from_nanos(nanos.next().unwrap_or_default());
            sum.waited += Duration::from_nanos(nanos.next().unwrap_or_default());
            sum.threads += 1;
        }
        for child in children(pid) {
            // It may have ended, too.
            let Ok(cpu) = Cpu::of(child) else { continue };
            sum.ran += cpu.ran;
            sum.waited += cpu.waited;
            sum.threads += cpu.threads;
        }
        Ok(sum)
    }
}

/// The processes that this one has started and that are still there. None where the kernel does not say.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// What came between two readings. A thread that has ended in between takes its count along: never less than nothing.
impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        let ran = self.ran.saturating_sub(before.ran);
        Cpu { ran, waited: self.waited.saturating_sub(before.waited), threads: self.threads }
    }
}

/// Starts the peak of [`peak_rss_bytes`] anew, from what the process and its children hold now.
///
/// # Errors
/// When the process is gone or belongs to somebody else.
pub fn reset_peak_rss(pid: u32) -> io::Result<()> {
    children(pid).into_iter().try_for_each(reset_peak_rss)?;
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The most memory the process has held at once since it began or [`reset_peak_rss`], and each of its children likewise.
///
/// # Errors
/// When the process is gone.
pub fn peak_rss_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    let own =
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no VmHWM in the status of the process"))?;
    Ok(children(pid).into_iter().filter_map(|child| peak_rss_bytes(child).ok()).sum::<u64>() + own)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_computes_is_seen_to_run() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        // The count moves at the latest with the next tick of the scheduler.
        let moved = (0..u64::MAX).find(|_| Cpu::of(pid).unwrap().ran > before.ran);
        assert!(moved.is_some());
        assert!(peak_rss_bytes(pid).unwrap() > 0);
    }

    #[test]
    fn what_a_child_has_cost_is_its_parents() {
        let mut parent = Command::new("sh");
        // The shell waits for a child that computes until the shell's standard input ends.
        let script = "while :; do :; done & read line; kill $!";
        let mut parent = parent.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = parent.id();
        let moved = (0..u64::MAX).find(|_| {
            let alone = children(pid).into_iter().filter_map(|child| Cpu::of(child).ok());
            alone.map(|cpu| cpu.ran).sum::<Duration>() > Duration::ZERO
        });
        assert!(moved.is_some());
        assert!(Cpu::of(pid).unwrap().threads >= 2);
        drop(parent.stdin.take());
        parent.wait().unwrap();
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(Cpu::of(u32::MAX).is_err());
        assert!(peak_rss_bytes(u32::MAX).is_err());
    }
}
