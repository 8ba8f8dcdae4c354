//! The body of a response that comes from a file, on its way out.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::active::Active;
use crate::error::HttpError;
use crate::http1::{ResponseHead, ResponseLength};
use crate::response::Response;
use crate::saving::blocking;

/// What is read at once: enough to be worth the trip to another thread.
const BLOCK_BYTES: u64 = 256 * 1024;

/// Parts of a file, and what stands around them.
#[derive(Debug, Clone)]
pub(crate) struct FileBody {
    file: Arc<File>,
    /// Of all segments; for HEAD, of those that are left out.
    len: u64,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
pub(crate) enum Segment {
    Bytes(Bytes),
    File(Range<u64>),
}

impl Segment {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::File(range) => range.end - range.start,
        }
    }
}

impl FileBody {
    pub(crate) fn new(file: &Arc<File>, len: u64, segments: Vec<Segment>) -> FileBody {
        FileBody { file: Arc::clone(file), len, segments }
    }
}

/// Sends a response with such a body, block by block, each when the peer has taken enough of the one before.
pub(crate) async fn send(active: &Active<'_>, response: Response, body: FileBody) -> Result<(), HttpError> {
    let mut head = ResponseHead::new(response.status).headers(&response.headers);
    head = head.length(ResponseLength::Known(body.len));
    if let Some(content_type) = &response.content_type {
        head = head.content_type(content_type);
    }
    active.announce_end_if_too_much_is_unread();
    active.send_head(&head)?;
    for segment in body.segments {
        match segment {
            Segment::Bytes(bytes) => active.send_data(bytes)?,
            Segment::File(range) => send_range(active, &body.file, range).await?,
        }
    }
    active.finish(None)?;
    active.session.room_for_more().await
}

async fn send_range(active: &Active<'_>, file: &Arc<File>, mut range: Range<u64>) -> Result<(), HttpError> {
    while range.start < range.end {
        active.session.memory_for(BLOCK_BYTES as usize).await?;
        let len = BLOCK_BYTES.min(range.end - range.start);
        let (file, offset) = (Arc::clone(file), range.start);
        let block = blocking(move || read_at(&file, offset, len as usize)).await?;
        active.write_data(block).await?;
        range.start += len;
    }
    Ok(())
}

/// Reads so many bytes: fewer are an error, for more have been announced. The file's own position is shared and not used.
fn read_at(file: &File, offset: u64, len: usize) -> std::io::Result<Bytes> {
    let mut block = vec![0; len];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut block, offset)?;
    #[cfg(windows)]
    {
        let mut read = 0;
        while read < len {
            let more =
                std::os::windows::fs::FileExt::seek_read(file, &mut block[read..], offset + read as u64)?;
            if more == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            read += more;
        }
    }
    Ok(block.into())
}
