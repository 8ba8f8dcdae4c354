//! bind_unix_socket with real files.
#![cfg(unix)]

mod support;

use std::env;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use netutil::{BindError, BindStep, UnixBindOptions, bind_unix_socket, bind_unix_socket_guarded};
use support::TestDir;

fn options() -> UnixBindOptions {
    UnixBindOptions::new()
}

fn bind(path: &Path) -> UnixListener {
    bind_unix_socket(path, &options()).expect("the path can be had")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
}

/// A socket file that nobody serves, as a killed process leaves it.
fn leave_dead_socket(path: &Path) {
    drop(UnixListener::bind(path).expect("the path is free"));
    assert!(path.exists());
}

#[track_caller]
fn assert_serves(listener: &UnixListener, mut client: UnixStream) {
    client.write_all(b"ping").expect("it listens");
    let (mut served, _) = listener.accept().expect("the client waits in this queue");
    let mut bytes = [0; 4];
    served.read_exact(&mut bytes).expect("the client has written");
    assert_eq!(&bytes, b"ping");
}

#[test]
fn nu2_1_a_missing_path_becomes_a_socket_that_can_be_reached() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let listener = bind(&path);
    assert_serves(&listener, UnixStream::connect(&path).expect("it listens"));
}

#[test]
fn nu2_1_the_listener_is_nonblocking() {
    let dir = TestDir::new();
    assert!(support::is_nonblocking(&bind(&dir.join("server.sock"))));
}

#[test]
fn nu2_1_the_listener_is_a_stream_socket_with_reuse_address() {
    let dir = TestDir::new();
    let listener = bind(&dir.join("server.sock"));
    let socket = socket2::SockRef::from(&listener);
    assert_eq!(socket.r#type().expect("an open socket"), socket2::Type::STREAM);
    assert!(socket.reuse_address().expect("an open socket"));
}

#[test]
#[cfg(target_os = "linux")]
fn the_listener_is_close_on_exec() {
    let dir = TestDir::new();
    assert!(support::is_close_on_exec(&bind(&dir.join("server.sock"))));
}

#[test]
#[cfg(target_os = "linux")]
fn the_backlog_bounds_the_connections_that_wait() {
    use socket2::{Domain, SockAddr, Socket, Type};

    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let _listener = bind_unix_socket(&path, &options().backlog(2)).expect("the path is free");
    let connect = || {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        client.set_nonblocking(true)?;
        client.connect(&SockAddr::unix(&path)?).map(|()| client)
    };
    // Linux queues one more than it is told.
    let _waiting = [(); 3].map(|()| connect().expect("there is room"));
    assert_eq!(connect().expect_err("no room").kind(), ErrorKind::WouldBlock);
}

#[test]
fn nu2_3_a_dead_socket_is_replaced() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    leave_dead_socket(&path);
    let listener = bind(&path);
    assert_serves(&listener, UnixStream::connect(&path).expect("it listens"));
}

#[test]
fn nu2_3_a_live_socket_is_an_error_and_goes_on_serving() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let live = bind(&path);
    let error = bind_unix_socket(&path, &options()).expect_err("somebody listens");
    assert!(matches!(&error, BindError::LiveSocket { path: named } if *named == path), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    let (mut probe, _) = live.accept().expect("the probe comes first");
    assert_eq!(probe.read(&mut [0]).expect("a clean end"), 0);
    assert_serves(&live, UnixStream::connect(&path).expect("it listens"));
}

#[test]
#[cfg(target_os = "linux")]
fn nu2_3_a_live_socket_with_a_full_queue_is_an_error_and_no_wait() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let _live = bind_unix_socket(&path, &options().backlog(0)).expect("the path is free");
    let _waiting = UnixStream::connect(&path).expect("room for one");
    let error = bind_unix_socket(&path, &options()).expect_err("somebody listens");
    assert!(matches!(error, BindError::LiveSocket { .. }), "{error:?}");
}

#[test]
fn nu2_3_a_live_datagram_socket_is_an_error_and_stays() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let _live = UnixDatagram::bind(&path).expect("the path is free");
    let error = bind_unix_socket(&path, &options()).expect_err("somebody has it");
    assert!(matches!(error, BindError::LiveSocket { .. }), "{error:?}");
    assert!(path.exists());
}

#[test]
fn nu2_4_a_regular_file_is_an_error_and_stays() {
    let dir = TestDir::new();
    let path = dir.join("precious.txt");
    fs::write(&path, "precious").expect("a new file");
    let error = bind_unix_socket(&path, &options()).expect_err("not a socket");
    assert!(matches!(&error, BindError::NotASocket { path: named } if *named == path), "{error:?}");
    assert_eq!(fs::read_to_string(&path).expect("the file is there"), "precious");
}

#[test]
fn nu2_4_a_directory_is_an_error_and_stays() {
    let dir = TestDir::new();
    let error = bind_unix_socket(dir.path(), &options()).expect_err("not a socket");
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert!(dir.path().is_dir());
}

#[test]
fn nu2_4_of_a_link_to_a_dead_socket_the_link_is_replaced_and_the_target_stays() {
    let dir = TestDir::new();
    let (path, target) = (dir.join("link.sock"), dir.join("target.sock"));
    leave_dead_socket(&target);
    symlink(&target, &path).expect("a new link");
    let listener = bind(&path);

    assert!(!fs::symlink_metadata(&path).expect("the file exists").is_symlink());
    assert!(target.exists());
    assert_serves(&listener, UnixStream::connect(&path).expect("it listens"));
    assert_eq!(UnixStream::connect(&target).expect_err("still dead").kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nu2_4_a_link_to_a_live_socket_is_an_error_and_both_stay() {
    let dir = TestDir::new();
    let (path, target) = (dir.join("link.sock"), dir.join("target.sock"));
    let _live = bind(&target);
    symlink(&target, &path).expect("a new link");
    let error = bind_unix_socket(&path, &options()).expect_err("somebody listens behind it");
    assert!(matches!(error, BindError::LiveSocket { .. }), "{error:?}");
    assert!(fs::symlink_metadata(&path).expect("the link is there").is_symlink());
    assert!(target.exists());
}

#[test]
fn nu2_4_a_link_to_another_file_or_to_nothing_is_an_error_and_stays() {
    let dir = TestDir::new();
    let (path, target) = (dir.join("link.sock"), dir.join("precious.txt"));
    symlink(&target, &path).expect("a new link");
    // bind does not follow the link: the name is taken.
    let dangling = bind_unix_socket(&path, &options()).expect_err("the name is taken");
    assert!(matches!(dangling, BindError::Unix { step: BindStep::Bind, .. }), "{dangling:?}");
    assert_eq!(dangling.kind(), ErrorKind::AddrInUse);

    fs::write(&target, "precious").expect("a new file");
    let error = bind_unix_socket(&path, &options()).expect_err("not a socket");
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert!(fs::symlink_metadata(&path).expect("the link is there").is_symlink());
    assert_eq!(fs::read_to_string(&target).expect("the file is there"), "precious");
}

#[test]
fn nu2_5_the_mode_is_0600_unless_chosen() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let _listener = bind(&path);
    assert_eq!(mode(&path), 0o600);

    let path = dir.join("open.sock");
    let _listener = bind_unix_socket(&path, &options().mode(0o666)).expect("the path is free");
    assert_eq!(mode(&path), 0o666);
}

/// The umask belongs to the whole process, so the sockets are bound by this test binary run once more, in a
/// shell that sets the umask first.
#[test]
fn nu2_5_the_mode_is_as_chosen_under_any_umask() {
    const DIRECTORY: &str = "NETUTIL_TEST_DIRECTORY";
    if let Some(dir) = env::var_os(DIRECTORY) {
        let dir = Path::new(&dir);
        bind(&dir.join("private.sock"));
        bind_unix_socket(dir.join("shared.sock"), &options().mode(0o666)).expect("the path is free");
        return;
    }
    for umask in ["0000", "0777", "0137"] {
        let dir = TestDir::new();
        let child = Command::new("sh")
            .args(["-c", "umask \"$1\" && shift && exec \"$@\"", "sh", umask])
            .arg(env::current_exe().expect("the path of this test"))
            .args(["--exact", "nu2_5_the_mode_is_as_chosen_under_any_umask"])
            .env(DIRECTORY, dir.path())
            .output()
            .expect("a shell");
        assert!(child.status.success(), "{child:?}");
        assert_eq!(mode(&dir.join("private.sock")), 0o600, "umask {umask}");
        assert_eq!(mode(&dir.join("shared.sock")), 0o666, "umask {umask}");
    }
}

#[test]
fn nu2_6_the_file_stays_when_the_listener_closes() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    drop(bind(&path));
    assert!(path.exists());
}

#[test]
fn nu2_6_the_guard_removes_the_file_when_dropped_and_the_listener_lives_on() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let (listener, file) = bind_unix_socket_guarded(&path, &options()).expect("the path is free");
    assert_eq!(file.path(), Some(path.as_path()));
    let client = UnixStream::connect(&path).expect("it listens");
    drop(file);
    assert!(!path.exists());
    assert_serves(&listener, client);
}

#[test]
fn nu2_6_the_guard_leaves_the_file_of_a_successor() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let (_listener, file) = bind_unix_socket_guarded(&path, &options()).expect("the path is free");
    let successor = bind(&dir.join("successor.sock"));
    fs::rename(dir.join("successor.sock"), &path).expect("both are there");
    drop(file);
    assert_serves(&successor, UnixStream::connect(&path).expect("it listens"));
}

#[test]
fn nu2_6_a_file_that_is_gone_or_kept_is_no_error() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let (_listener, file) = bind_unix_socket_guarded(&path, &options()).expect("the path is free");
    fs::remove_file(&path).expect("the file is there");
    file.unlink().expect("it is gone already");

    let (_listener, file) = bind_unix_socket_guarded(&path, &options()).expect("the path is free");
    file.keep();
    assert!(path.exists());

    let other = dir.join("other.sock");
    let (_listener, file) = bind_unix_socket_guarded(&other, &options()).expect("the path is free");
    file.unlink().expect("the file is ours");
    assert!(!other.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn nu2_2_an_abstract_name_has_no_file_and_vanishes_with_its_socket() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let name = format!("netutil-abstract-{}", std::process::id());
    let path = format!("\0{name}");
    let (listener, file) = bind_unix_socket_guarded(&path, &options()).expect("the name is free");
    assert_eq!(file.path(), None);
    let address = listener.local_addr().expect("a bound socket");
    assert_eq!(address.as_abstract_name(), Some(name.as_bytes()));
    let client = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).expect("a short name"));
    assert_serves(&listener, client.expect("it listens"));

    let error = bind_unix_socket(&path, &options()).expect_err("the name is taken");
    assert!(matches!(error, BindError::Unix { step: BindStep::Bind, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    drop(listener);
    bind_unix_socket(&path, &options()).expect("the name is free again");
}

#[test]
#[cfg(target_os = "linux")]
fn a_mode_for_an_abstract_name_is_an_error() {
    let error = bind_unix_socket("\0netutil-mode", &options().mode(0o600)).expect_err("it has no mode");
    assert!(matches!(error, BindError::AbstractMode { .. }), "{error:?}");
}

#[test]
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn nu2_2_elsewhere_an_abstract_name_is_an_error() {
    let error = bind_unix_socket("\0netutil", &options()).expect_err("there are none here");
    assert!(matches!(error, BindError::InvalidPath { .. }), "{error:?}");
}

#[test]
fn a_path_that_cannot_be_a_sockets_is_an_error() {
    for path in ["", "a\0b", &"x".repeat(200), &format!("\0{}", "x".repeat(200))] {
        let error = bind_unix_socket(path, &options()).expect_err("no such path");
        assert!(matches!(error, BindError::InvalidPath { .. }), "{path:?}: {error:?}");
    }
}

#[test]
fn a_number_that_is_no_mode_is_an_error_and_makes_no_file() {
    let dir = TestDir::new();
    let path = dir.join("server.sock");
    let error = bind_unix_socket(&path, &options().mode(0o10000)).expect_err("not a mode");
    assert!(matches!(error, BindError::InvalidMode { mode: 0o10000 }), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn a_path_in_a_missing_directory_is_an_error_that_names_path_and_step() {
    let dir = TestDir::new();
    let path = dir.join("missing/server.sock");
    let error = bind_unix_socket(&path, &options()).expect_err("no such directory");
    assert!(
        matches!(&error, BindError::Unix { path: named, step: BindStep::Bind, .. } if *named == path),
        "{error:?}"
    );
    assert!(error.to_string().contains("missing/server.sock"), "{error}");
}
