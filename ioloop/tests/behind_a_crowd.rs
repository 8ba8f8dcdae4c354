//! Pages that a crowd has left behind go back to the operating system, after one crowd as after the next. In a file of its own,
//! because it measures the memory of the whole process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use ioloop::IoLoop;

const CROWD: usize = 15_000;

/// What comes and goes with each of a crowd: some blocks of sizes that a thread keeps when they are freed.
fn belongings(number: usize) -> Vec<Vec<u8>> {
    (0..4).map(|which| black_box(vec![1; 24 + (number * 7 + which * 31) % 61 * 16])).collect()
}

fn resident() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// They end in an order that has nothing to do with the one in which they came.
async fn crowd() {
    let io_loop = IoLoop::current();
    let tasks = (0..CROWD).map(|number| {
        let belongings = belongings(number);
        io_loop.spawn(async move {
            ioloop::sleep(Duration::from_micros((number as u64 * 7_919) % 20_000)).await;
            drop(belongings);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[test]
fn what_stays_of_a_crowd_is_less_than_glibc_keeps_however_many_have_come_before() {
    let io_loop = IoLoop::new().unwrap();
    io_loop.run_sync(async {}).unwrap();
    let before = resident();
    let stays = || {
        io_loop.run_sync(crowd()).unwrap();
        io_loop.shrink_to_fit();
        resident().saturating_sub(before)
    };
    let several: [usize; 4] = std::array::from_fn(|_| stays());
    println!("{several:?}");
    assert!(several.iter().all(|stays| *stays < 128 * 1024), "{several:?}");
    // Behind what is kept free for this.
    let lives_on = black_box(vec![1_u8; 20 * 1024]);
    let several: [usize; 4] = std::array::from_fn(|_| stays());
    println!("when something else lives on: {several:?}");
    assert!(several.iter().all(|stays| *stays < 256 * 1024), "{several:?}");
    drop(lives_on);
}
