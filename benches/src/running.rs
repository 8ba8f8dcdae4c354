//! A server that runs, pinned to its CPU, and that is gone when this is dropped.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{Cpus, pin_to};
use crate::process_cost::children;
use crate::server::Launch;

/// An interpreter under callgrind takes a while.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A started server. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts it and waits until it listens. `wrapper` are words put before its own (a profiler).
    ///
    /// Must be called on a thread that outlives it, as the main thread does: the server is told to die with who started it.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen within a minute.
    pub fn start(launch: &Launch, wrapper: &[OsString], cpus: Cpus) -> io::Result<Running> {
        if Path::new(&launch.words[0]).is_absolute() && !Path::new(&launch.words[0]).exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "not built"));
        }
        let words = [&die_with_parent(), wrapper, &launch.words].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A child inherits the CPUs of the thread that starts it, from its first instruction on.
        pin_to(&cpus.of_server(launch.loops))?;
        let spawned = command.spawn();
        let back = pin_to(&[cpus.load]);
        let mut child = spawned?;
        let stdout = child.stdout.take();
        let mut running = Running { child, address: (Ipv4Addr::LOCALHOST, launch.port.unwrap_or(0)).into() };
        back?;
        match (launch.port, stdout) {
            (None, Some(stdout)) => running.address.set_port(announced_port(stdout)?),
            _ => running.wait_until_it_accepts()?,
        }
        Ok(running)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that is the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it is still there after a minute.
    pub fn stop(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.wait_for(STOP, |running| Ok(running.child.try_wait()?.is_some()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or_else(|| io::Error::other("no process id"))?, signal)?)
    }

    /// Waits until it has ended; gives its status, and when that was to within a millisecond.
    ///
    /// # Errors
    /// When it is still there after so long.
    pub fn wait(&mut self, at_most: Duration) -> io::Result<(ExitStatus, Instant)> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, Instant::now()));
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_until_it_accepts(&mut self) -> io::Result<()> {
        self.wait_for(START, |running| match running.child.try_wait()? {
            Some(status) => Err(io::Error::other(format!("ended with {status}"))),
            None => Ok(TcpStream::connect(running.address).is_ok()),
        })
    }

    fn wait_for(
        &mut self,
        time: Duration,
        mut done: impl FnMut(&mut Running) -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + time;
        while !done(self)? {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let workers = children(self.pid());
        // It may be gone already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for worker in workers.into_iter().filter_map(process) {
            let _ = kill_process(worker, Signal::KILL);
        }
    }
}

fn process(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Reads what the server prints, on a thread of its own so that the wait has an end, until the line that says where it
/// listens; goes on reading so that the server never waits for a full pipe.
fn announced_port(stdout: ChildStdout) -> io::Result<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.filter_map(|line| port_of(&line)).for_each(|port| {
            // After the first one nobody listens any more.
            let _ = sender.send(port);
        });
    });
    receiver.recv_timeout(START).map_err(|_| io::Error::other("the server did not say where it listens"))
}

/// `listening on 127.0.0.1:8888`, also as a URL or on all interfaces.
fn port_of(line: &str) -> Option<u16> {
    let address = line.strip_prefix("listening on ")?.trim_end().trim_end_matches('/');
    address.rsplit(':').next()?.parse().ok()
}

/// Where `setpriv` is installed, a server ends even when this process is killed before it can stop it.
fn die_with_parent() -> Vec<OsString> {
    let words = ["setpriv", "--pdeathsig", "KILL", "--"];
    let mut probe = Command::new(words[0]);
    probe.args(&words[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let works = probe.status().is_ok_and(|status| status.success());
    if works { words.map(OsString::from).to_vec() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_whatever_form_it_is_announced() {
        assert_eq!(port_of("listening on 127.0.0.1:8888"), Some(8888));
        assert_eq!(port_of("listening on http://[::1]:8888/"), Some(8888));
        assert_eq!(port_of("listening on 0.0.0.0:1\n"), Some(1));
        for other in ["ready", "listening on", "listening on 127.0.0.1", "listening on 127.0.0.1:99999"] {
            assert_eq!(port_of(other), None, "{other}");
        }
    }
}
