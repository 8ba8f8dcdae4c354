//! What several of the tests need.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for one test, removed at the end. In the system's place for such, because a Unix
/// socket's path must be short.
pub(crate) struct TestDir {
    path: PathBuf,
}

impl TestDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netutil-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether this machine has an IPv6 loopback. Prints a line if not, so that a skipped test can be seen.
pub(crate) fn has_ipv6(test: &str) -> bool {
    let available = TcpListener::bind("[::1]:0").is_ok();
    if !available {
        println!("{test}: skipped, no IPv6 on this machine");
    }
    available
}

/// Whether the descriptor is close-on-exec, as the kernel tells it.
#[cfg(target_os = "linux")]
pub(crate) fn is_close_on_exec(fd: &impl std::os::fd::AsRawFd) -> bool {
    const O_CLOEXEC: u32 = 0o2000000;
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("the descriptor is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("a line with flags").trim();
    u32::from_str_radix(flags, 8).expect("an octal number") & O_CLOEXEC != 0
}

/// Whether the descriptor is nonblocking. Where nobody can tell, on Windows, a listener's accept tells.
#[cfg(unix)]
pub(crate) fn is_nonblocking(fd: &impl std::os::fd::AsFd) -> bool {
    socket2::SockRef::from(fd).nonblocking().expect("the descriptor is open")
}

#[cfg(not(unix))]
pub(crate) fn is_nonblocking(listener: &TcpListener) -> bool {
    listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
