//! The receiving end of sd_listen_fds(3): what the environment promises, and the descriptors themselves. What has been handed over
//! goes before.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd};
use socket2::{Domain, Protocol, SockRef, Type};

use super::{Activated, ActivatedSocket, ActivatedSockets, ActivationError, handed_over};
use crate::close_exec::set_close_exec;

/// Far more than a unit has, and little enough to ask each whether it is there.
const MAX_DESCRIPTORS: u32 = 4096;

/// How much of a variable's value an error repeats.
const SHOWN_CHARS: usize = 255;

/// The name of a descriptor in an environment without names, as in sd_listen_fds(3).
const UNNAMED: &str = "unknown";

/// sd-listen-fds makes an owner for each descriptor, each time it is asked.
static TAKEN: AtomicBool = AtomicBool::new(false);

pub(super) fn take() -> Result<ActivatedSockets, ActivationError> {
    if handed_over::is_promised() && TAKEN.load(Ordering::Relaxed) {
        return Err(ActivationError::AlreadyTaken);
    }
    if handed_over::is_promised()
        && let Some((sockets, predecessor)) = handed_over::take().map_err(ActivationError::Handover)?
    {
        TAKEN.store(true, Ordering::Relaxed);
        return Ok(ActivatedSockets { sockets: adopt_all(sockets)?, predecessor: Some(predecessor) });
    }
    let names = promised_names(|variable| env::var_os(variable), process::id())?;
    if names.is_empty() {
        return Ok(ActivatedSockets::default());
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(ActivationError::AlreadyTaken);
    }
    // It reads what has just been read and found well formed.
    let descriptors = only_passed(sd_listen_fds::get().unwrap_or_default())?;
    let sockets = adopt_all(names.into_iter().zip(descriptors))?;
    Ok(ActivatedSockets { sockets, predecessor: None })
}

/// The names of the descriptors that the environment promises to the process `own_id`: one each, in order.
fn promised_names(
    variable: impl Fn(&str) -> Option<OsString>,
    own_id: u32,
) -> Result<Vec<String>, ActivationError> {
    let number = |name| text(name, &variable)?.map(|text| parse(name, &text)).transpose();
    // The promise to another process, whose environment we have inherited, is not for us.
    if number("LISTEN_PID")? != Some(own_id) {
        return Ok(Vec::new());
    }
    let count = match number("LISTEN_FDS")? {
        None | Some(0) => return Ok(Vec::new()),
        Some(count) if count > MAX_DESCRIPTORS => return Err(ActivationError::TooMany { count }),
        Some(count) => count as usize,
    };
    let Some(listed) = text("LISTEN_FDNAMES", &variable)? else {
        return Ok(vec![UNNAMED.to_owned(); count]);
    };
    let names: Vec<String> = listed.split(':').map(str::to_owned).collect();
    if names.len() != count {
        return Err(malformed("LISTEN_FDNAMES", &listed, "not one name for each descriptor"));
    }
    Ok(names)
}

fn text(
    name: &'static str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, ActivationError> {
    let not_utf8 = |value: OsString| malformed(name, &value.to_string_lossy(), "not UTF-8");
    variable(name).map(|value| value.into_string().map_err(not_utf8)).transpose()
}

fn parse(name: &'static str, text: &str) -> Result<u32, ActivationError> {
    text.parse().map_err(|_| malformed(name, text, "not a number"))
}

fn malformed(variable: &'static str, value: &str, reason: &'static str) -> ActivationError {
    ActivationError::Variable { variable, value: value.chars().take(SHOWN_CHARS).collect(), reason }
}

/// The descriptors, if every one of them has come to us through exec.
///
/// Those that are not ours are given up without being closed: somebody else in this process owns them, or
/// nobody does.
fn only_passed(
    found: Vec<(Option<String>, sd_listen_fds::OwnedFd)>,
) -> Result<Vec<OwnedFd>, ActivationError> {
    let (passed, foreign): (Vec<OwnedFd>, Vec<OwnedFd>) =
        found.into_iter().map(|(_, descriptor)| descriptor.into_std()).partition(was_passed);
    let foreign: Vec<_> = foreign.into_iter().map(IntoRawFd::into_raw_fd).collect();
    foreign.first().map_or(Ok(passed), |&descriptor| Err(ActivationError::NotPassed { descriptor }))
}

/// What comes through exec cannot be close-on-exec; what std and well-behaved libraries open always is.
fn was_passed(descriptor: &OwnedFd) -> bool {
    fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

fn adopt_all(
    sockets: impl IntoIterator<Item = (String, OwnedFd)>,
) -> Result<Vec<ActivatedSocket>, ActivationError> {
    sockets.into_iter().map(|(name, descriptor)| adopt(name, descriptor)).collect()
}

fn adopt(name: String, owned: OwnedFd) -> Result<ActivatedSocket, ActivationError> {
    let descriptor = owned.as_raw_fd();
    let failed = |step| move |source: io::Error| ActivationError::System { descriptor, step, source };
    set_close_exec(&owned).map_err(failed("setting close-on-exec"))?;
    let socket = sorted(owned);
    match &socket {
        Activated::Tcp(listener) => listener.set_nonblocking(true),
        Activated::Unix(listener) => listener.set_nonblocking(true),
        // Its mode may be shared with others, and is theirs to choose.
        Activated::Other(_) => Ok(()),
    }
    .map_err(failed("setting nonblocking mode"))?;
    Ok(ActivatedSocket { name, descriptor, socket })
}

fn sorted(owned: OwnedFd) -> Activated {
    match stream_listener(&owned) {
        Some((Domain::IPV4 | Domain::IPV6, Some(Protocol::TCP | Protocol::MPTCP))) => {
            Activated::Tcp(owned.into())
        }
        Some((Domain::UNIX, _)) => Activated::Unix(owned.into()),
        _ => Activated::Other(owned),
    }
}

/// Domain and protocol, if this is a stream socket that listens. What is no socket answers none of it.
fn stream_listener(owned: &OwnedFd) -> Option<(Domain, Option<Protocol>)> {
    let socket = SockRef::from(owned);
    let listens = socket.r#type().ok()? == Type::STREAM && socket.is_listener().ok()?;
    listens.then_some((socket.domain().ok()?, socket.protocol().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    const OWN_ID: u32 = 4711;

    fn promised(variables: &[(&str, &str)]) -> Result<Vec<String>, ActivationError> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        promised_names(find, OWN_ID)
    }

    #[track_caller]
    fn assert_malformed(variables: &[(&str, &str)], culprit: &str) {
        let error = promised(variables).expect_err("malformed");
        assert!(
            matches!(error, ActivationError::Variable { variable, .. } if variable == culprit),
            "{error:?}"
        );
    }

    #[test]
    fn every_descriptor_has_its_name() {
        let variables = [("LISTEN_PID", "4711"), ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "http::http")];
        assert_eq!(promised(&variables).expect("well formed"), ["http", "", "http"]);
    }

    #[test]
    fn without_names_each_is_unknown() {
        let names = promised(&[("LISTEN_PID", "4711"), ("LISTEN_FDS", "2")]).expect("well formed");
        assert_eq!(names, ["unknown", "unknown"]);
    }

    #[test]
    fn nothing_is_promised_without_the_variables_or_to_another_process() {
        for variables in [
            &[][..],
            &[("LISTEN_FDS", "2")],
            &[("LISTEN_PID", "4711")],
            &[("LISTEN_PID", "4711"), ("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "")],
            &[("LISTEN_PID", "4712"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")],
        ] {
            assert_eq!(promised(variables).expect("well formed"), [""; 0], "{variables:?}");
        }
    }

    #[test]
    fn a_malformed_variable_is_an_error_that_names_it() {
        assert_malformed(&[("LISTEN_PID", "me"), ("LISTEN_FDS", "1")], "LISTEN_PID");
        assert_malformed(&[("LISTEN_PID", ""), ("LISTEN_FDS", "1")], "LISTEN_PID");
        assert_malformed(&[("LISTEN_PID", "4711"), ("LISTEN_FDS", "-1")], "LISTEN_FDS");
        assert_malformed(&[("LISTEN_PID", "4711"), ("LISTEN_FDS", "4294967296")], "LISTEN_FDS");
        for names in ["", "a", "a:b:c"] {
            let variables = [("LISTEN_PID", "4711"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names)];
            assert_malformed(&variables, "LISTEN_FDNAMES");
        }
    }

    #[test]
    fn a_variable_that_is_not_utf8_or_too_long_is_an_error_with_a_short_text() {
        let error = promised_names(|_| Some(OsString::from_vec(vec![0xff; 100_000])), OWN_ID);
        let ActivationError::Variable { value, .. } = error.expect_err("not UTF-8") else { panic!("wrong") };
        assert_eq!(value.chars().count(), SHOWN_CHARS);
    }

    #[test]
    fn a_promise_beyond_the_bound_is_an_error() {
        let variables = |count| [("LISTEN_PID", "4711"), ("LISTEN_FDS", count)];
        assert_eq!(promised(&variables("4096")).expect("at the bound").len(), 4096);
        for (count, number) in [("4097", 4097), ("4294967295", u32::MAX)] {
            let error = promised(&variables(count)).expect_err("beyond the bound");
            assert!(matches!(error, ActivationError::TooMany { count } if count == number), "{error:?}");
        }
    }
}
