//! How many descriptors the process may have open, and more of them.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// macOS reports a hard limit of "none", and refuses a soft one beyond its `OPEN_MAX` with EINVAL. What its
/// kernel would take beyond that (`kern.maxfilesperproc`) is only to be had from sysctl.
const SYSTEM_CEILING: Option<u64> = if cfg!(target_vendor = "apple") { Some(10_240) } else { None };

/// How many descriptors a process may have open: RLIMIT_NOFILE. "No limit" is [`u64::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescriptorLimit {
    /// The soft limit before the call; the same as `soft` if nothing was raised.
    pub before: u64,
    /// The soft limit, which is in force: opening one more fails with EMFILE.
    pub soft: u64,
    /// The hard limit, up to which a process may raise its soft limit by itself.
    pub hard: u64,
}

/// The limit on open descriptors, as it is.
#[must_use]
#[doc(alias = "RLIMIT_NOFILE")]
pub fn descriptor_limit() -> DescriptorLimit {
    let (soft, hard) = soft_and_hard();
    DescriptorLimit { before: soft, soft, hard }
}

/// Raises the soft limit on open descriptors to the hard one, and reports both.
///
/// A server needs a descriptor per connection, and the usual soft limit is 1024. It is that low for the sake
/// of `select`, which corrupts memory beyond it; a program that polls otherwise, as all of this project does,
/// may go up, and should do so once, at its start. Child processes inherit the raised limit.
///
/// On macOS the soft limit goes to 10,240 at most (`OPEN_MAX`), whatever the hard one says. A soft limit that
/// is higher already stays.
///
/// ```
/// let limit = netutil::raise_descriptor_limit()?;
/// println!("{} descriptors, was {}, could be {}", limit.soft, limit.before, limit.hard);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What `setrlimit` says, for instance in a sandbox that forbids the call; the limit is then what it was.
#[doc(alias = "setrlimit")]
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let (before, hard) = soft_and_hard();
    let goal = goal(before, hard, SYSTEM_CEILING);
    if goal != before {
        let maximum = Some(hard).filter(|hard| *hard != u64::MAX);
        setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum })?;
    }
    // Read back, because some systems take a smaller number than they are told and say nothing.
    Ok(DescriptorLimit { before, ..descriptor_limit() })
}

fn soft_and_hard() -> (u64, u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX))
}

/// As high as the hard limit and the system allow, and never down.
fn goal(soft: u64, hard: u64, ceiling: Option<u64>) -> u64 {
    soft.max(hard.min(ceiling.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_the_hard_limit() {
        assert_eq!(goal(1024, 524_288, None), 524_288);
        assert_eq!(goal(1024, 1024, None), 1024);
        assert_eq!(goal(1024, u64::MAX, None), u64::MAX);
    }

    #[test]
    fn a_ceiling_of_the_system_bounds_the_goal_and_lowers_nothing() {
        assert_eq!(goal(256, u64::MAX, Some(10_240)), 10_240);
        assert_eq!(goal(256, 4096, Some(10_240)), 4096);
        assert_eq!(goal(65_536, u64::MAX, Some(10_240)), 65_536);
    }
}
