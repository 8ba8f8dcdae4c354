//! The descriptor limit, raised in processes of its own: it belongs to a whole process.
#![cfg(unix)]

use std::env;
use std::fs::File;
use std::process::Command;

use netutil::{descriptor_limit, raise_descriptor_limit};

const IN_CHILD: &str = "NETUTIL_TEST_CHILD";

/// Runs a test of this binary once more, in a shell that first sets limits with `ulimit`.
#[track_caller]
fn run_under(limits: &str, test: &str) {
    let child = Command::new("sh")
        .args(["-c", &format!("{limits} && exec \"$@\""), "sh"])
        .arg(env::current_exe().expect("the path of this test"))
        .args(["--exact", test])
        .env(IN_CHILD, "1")
        .output()
        .expect("a shell");
    assert!(child.status.success(), "{child:?}");
}

fn in_child() -> bool {
    env::var_os(IN_CHILD).is_some()
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one_and_both_are_reported() {
    if !in_child() {
        return run_under(
            "ulimit -Sn 48 && ulimit -Hn 96",
            "the_soft_limit_is_raised_to_the_hard_one_and_both_are_reported",
        );
    }
    let open = |count| (0..count).map(|_| File::open("/dev/null")).collect::<Result<Vec<_>, _>>();
    let limit = descriptor_limit();
    assert_eq!((limit.before, limit.soft, limit.hard), (48, 48, 96));
    assert!(open(64).is_err());

    let limit = raise_descriptor_limit().expect("up to the hard limit everybody may");
    assert_eq!((limit.before, limit.soft, limit.hard), (48, 96, 96));
    open(64).expect("there is room now");

    let limit = raise_descriptor_limit().expect("there is nothing to do");
    assert_eq!((limit.before, limit.soft, limit.hard), (96, 96, 96));
    assert_eq!(descriptor_limit(), limit);
}
