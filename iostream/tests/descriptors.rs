//! No descriptor is left over. A file of its own, with one test: others would open descriptors meanwhile.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

use ioloop::IoLoop;
use iostream::Subprocess;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn pr9_neither_a_spawn_that_fails_nor_a_child_that_has_ended_leaves_a_descriptor() {
    let io_loop = IoLoop::new().unwrap();
    let before = open_descriptors();
    io_loop
        .run_sync(async {
            for program in ["/no/such/program", "/", "true"] {
                let mut command = Command::new(program);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                if let Ok(child) = Subprocess::spawn(&mut command) {
                    assert_eq!(open_descriptors(), before + 3, "ours, and not the child's");
                    child.stdout.as_ref().unwrap().read_until_close().await.unwrap();
                    child.process.wait_for_exit().await.unwrap();
                }
            }
            ioloop::yield_now().await;
        })
        .unwrap();
    assert_eq!(open_descriptors(), before);
}
