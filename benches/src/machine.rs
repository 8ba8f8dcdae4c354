//! What the comparison asks of the machine: one CPU each, and enough descriptors.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// 4,096 connections, and some.
const DESCRIPTORS: u64 = 16_384;

/// Binds the calling thread to one CPU. A process started from it inherits that.
///
/// # Errors
/// When there is no such CPU, or this process may not use it.
#[cfg(target_os = "linux")]
pub fn pin_to(cpu: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such CPU"));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Only Linux lets a process choose its CPU in a way that is used here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn pin_to(_cpu: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets this process, and the servers it starts, have 16,384 descriptors, or as many as the system allows anyway.
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
