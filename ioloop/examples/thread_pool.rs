//! Files are read and hashed in a lane of threads, while the loop's own thread goes on ticking.
//!
//! Run it: cargo run -p ioloop --example thread_pool [-- FILE …]
//!
//! Without files it hashes its own program, eight times. A file that cannot be read is reported; the others go on.

use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, LaneOptions};

const TICK: Duration = Duration::from_millis(1);

/// Blocks: on the disk, and on the processor.
fn hash_file(path: &Path) -> io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            n => hasher.write(&block[..n]),
        }
    }
}

async fn tick(ticks: Rc<Cell<u64>>) {
    loop {
        ioloop::sleep(TICK).await;
        ticks.set(ticks.get() + 1);
    }
}

async fn hash_all(paths: Vec<PathBuf>) {
    let files = IoLoop::current().lane("files", LaneOptions::new().threads(4));
    let jobs: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let name = path.display().to_string();
            (name, files.run(move || hash_file(&path)))
        })
        .collect();
    for (name, job) in jobs {
        match job.await {
            Ok(Ok(hash)) => println!("{hash:016x}  {name}"),
            Ok(Err(error)) => eprintln!("{name}: {error}"),
            Err(error) => eprintln!("{name}: {error}"), // the lane is full, or the job panicked
        }
    }
    println!("{:?}", files.metrics());
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let paths = if given.is_empty() { vec![std::env::current_exe()?; 8] } else { given };

    let io_loop = IoLoop::new()?;
    let ticks = Rc::new(Cell::new(0));
    io_loop.spawn_detached(tick(Rc::clone(&ticks)));
    io_loop.run_sync(hash_all(paths))?;
    println!("meanwhile the loop's thread ticked {} times", ticks.get());
    Ok(())
}
