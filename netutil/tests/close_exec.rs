//! set_close_exec, read back from the kernel.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::net::TcpListener;

use netutil::set_close_exec;
use socket2::SockRef;
use support::is_close_on_exec;

#[test]
fn an_inherited_socket_is_marked_close_on_exec() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    SockRef::from(&listener).set_cloexec(false).expect("an open socket");
    assert!(!is_close_on_exec(&listener));
    set_close_exec(&listener).expect("an open socket");
    assert!(is_close_on_exec(&listener));
    set_close_exec(&listener).expect("marking it again changes nothing");
    assert!(is_close_on_exec(&listener));
}

#[test]
fn a_file_is_marked_too() {
    let file = File::open("/dev/null").expect("a file");
    SockRef::from(&file).set_cloexec(false).expect("an open file");
    assert!(!is_close_on_exec(&file));
    set_close_exec(&file).expect("an open file");
    assert!(is_close_on_exec(&file));
}
