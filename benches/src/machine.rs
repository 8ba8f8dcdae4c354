//! What the comparison asks of the machine: a CPU for each side, and enough descriptors.

use std::io;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// 16,000 connections, and some.
const DESCRIPTORS: u64 = 20_000;

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// The load generator's, this process's own.
    pub load: usize,
    /// The server's.
    pub server: usize,
}

impl Cpus {
    /// The CPUs of a server that has so many loops: its own, then others that nobody has, the load's at last.
    pub fn of_server(self, loops: usize) -> Vec<usize> {
        let all = available_parallelism().map_or(1, usize::from);
        let free = (0..all).filter(|cpu| *cpu != self.load && *cpu != self.server);
        [self.server].into_iter().chain(free).chain([self.load]).take(loops.max(1)).collect()
    }
}

/// Binds the calling thread to these CPUs. A process started from it inherits that.
///
/// # Errors
/// When there is no such CPU, or this process may not use it.
#[cfg(target_os = "linux")]
pub fn pin_to(cpus: &[usize]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    if cpus.iter().any(|cpu| *cpu >= CpuSet::MAX_CPU) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such CPU"));
    }
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

/// Only Linux lets a process choose its CPUs in a way that is used here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn pin_to(_cpus: &[usize]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets this process, and the servers it starts, have 20,000 descriptors, or as many as the system allows anyway.
///
/// # Errors
/// When the system refuses what it said it would allow.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_one_loop_has_its_cpu_alone_and_another_shares_the_loads_at_last() {
        let cpus = Cpus { load: 0, server: 1 };
        assert_eq!(cpus.of_server(1), [1]);
        let all = available_parallelism().map_or(1, usize::from);
        let most = cpus.of_server(all + 2);
        assert_eq!((most.first(), most.last()), (Some(&1), Some(&0)));
        assert_eq!(most.len(), all.max(2));
    }
}
