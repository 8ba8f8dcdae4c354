//! A body, or a part of one, into a file, without the loop ever waiting for the disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use ioloop::{IoLoop, caught};
use iostream::HeldBytes;

use crate::error::HttpError;
use crate::form::BodyError;

/// What is written at once at least, but for the end: a trip to another thread should carry something.
const BLOCK_BYTES: usize = 256 * 1024;

/// Where pieces come from.
pub(crate) trait Source {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError>;
}

/// Writes all that comes into a file that must not exist yet, and says how much it was. Of what fails, or is given up, nothing
/// stays.
pub(crate) async fn save(source: &mut impl Source, path: &Path, limit: u64) -> Result<u64, HttpError> {
    let path = path.to_owned();
    let mut file = blocking(move || Unfinished::create(path)).await?;
    let mut saved = 0;
    let (mut block, mut held) = (BytesMut::new(), HeldBytes::new());
    loop {
        let chunk = source.next().await?;
        let is_last = chunk.is_none();
        block.extend_from_slice(&chunk.unwrap_or_default());
        held.set(block.len());
        if saved + block.len() as u64 > limit {
            return Err(BodyError::TooLarge { limit }.into());
        }
        if block.len() >= BLOCK_BYTES || is_last {
            let bytes = block.split().freeze();
            saved += bytes.len() as u64;
            file = blocking(move || file.write(&bytes)).await?;
        }
        if is_last {
            file.finish();
            return Ok(saved);
        }
    }
}

/// Runs what waits for the disk on a thread of the loop's executor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, HttpError> {
    let job = IoLoop::current().run_in_executor(work); // and no handle of the loop while it waits, which would keep that open
    job.await.map_err(HttpError::handler)?.map_err(|error| HttpError::Io(error.kind()))
}

/// A file that is removed unless it comes to its end. It goes from thread to thread with the work, so that also what is given up
/// while a thread is at it leaves nothing behind.
struct Unfinished {
    file: File,
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    fn create(path: PathBuf) -> io::Result<Unfinished> {
        Ok(Unfinished { file: File::create_new(&path)?, path, is_finished: false })
    }

    fn write(mut self, bytes: &[u8]) -> io::Result<Unfinished> {
        self.file.write_all(bytes)?;
        Ok(self)
    }

    fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_file(&self.path)
        {
            // A log that panics here, amid a panic perhaps, would end the process.
            let _logged = caught(|| {
                tracing::warn!(path = %self.path.display(), %error, "an unfinished upload stays behind");
            });
        }
    }
}

#[cfg(test)]
#[path = "../../ioloop/tests/support/broken_log.rs"]
mod broken_log;

#[cfg(test)]
mod tests {
    use std::env;
    use std::process;
    use std::rc::Rc;
    use std::sync::mpsc;

    use super::broken_log::Broken;
    use super::*;

    #[test]
    fn an_upload_that_stays_behind_costs_a_line_and_not_the_process_where_the_log_panics() {
        let path = env::temp_dir().join(format!("waterspout-unfinished-{}", process::id()));
        let unfinished = Unfinished::create(path.clone()).unwrap();
        fs::remove_file(path).unwrap();
        tracing::subscriber::with_default(Broken, || drop(unfinished));
    }

    #[test]
    fn a_loop_that_goes_while_the_disk_is_waited_for_drops_who_waits() {
        let io_loop = IoLoop::new().unwrap();
        let waits = Rc::new(());
        let (held, (let_go, go_on)) = (Rc::clone(&waits), mpsc::channel::<()>());
        io_loop.spawn_detached(async move {
            let _held = held;
            drop(blocking(move || go_on.recv().map_err(io::Error::other)).await);
        });
        io_loop.run_sync(async {}).unwrap();
        assert_eq!(Rc::strong_count(&waits), 2, "it waits");
        drop(io_loop);
        assert_eq!(Rc::strong_count(&waits), 1);
        drop(let_go);
    }
}
