//! A file as a response: validators, conditions, ranges. The bytes go out in `file_body.rs`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};

use crate::arguments::{Plus, percent_decode};
use crate::conditional::{Validators, Verdict, is_entity_tag, judge};
use crate::error::HttpError;
use crate::facts::RequestFacts;
use crate::file_body::{FileBody, Segment};
use crate::headers::HeaderError;
use crate::helpers::format_timestamp;
use crate::ranges::{Ranges, ranges};
use crate::response::Response;
use crate::saving::blocking;

/// A file that answers requests: whole, in parts, or by saying that the client has it already (RFC 9110 §13, §14).
///
/// ```
/// use httpserver::{HttpError, HttpServer, IntoResponse, Request, Response, StaticFile, StatusCode};
///
/// async fn download(request: Request) -> Result<Response, HttpError> {
///     Ok(match StaticFile::open_below("/srv/files", request.path()).await? {
///         Some(file) => file.response_to(&request)?,
///         None => StatusCode::NOT_FOUND.into_response(),
///     })
/// }
///
/// HttpServer::new(download);
/// ```
///
/// The file is read on the loop's executor, 256 KiB at a time, and no further than the client takes it: the disk holds up
/// nobody else. Being read, the file should be replaced by renaming another over it, not changed: one that becomes shorter
/// meanwhile ends its connection.
///
/// There is no `sendfile`. It would read the file on the loop's own thread, where a page that is not in memory holds up every
/// connection; on another thread it would write to a socket that the loop writes to as well. And it can neither encrypt nor
/// compress. What it would save is one copy of each block.
#[derive(Debug, Clone)]
pub struct StaticFile {
    file: Arc<File>,
    len: u64,
    modified: Option<SystemTime>,
    etag: Option<String>,
    content_type: Cow<'static, str>,
}

impl StaticFile {
    /// Opens a regular file, on the loop's executor. `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`HttpError::Io`] when it cannot be opened for another reason.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn open(path: impl AsRef<Path>) -> Result<Option<StaticFile>, HttpError> {
        let path = path.as_ref().to_owned();
        blocking(move || match StaticFile::open_now(&path) {
            Err(error) if is_absent(&error) => Ok(None),
            opened => opened,
        })
        .await
    }

    /// Opens the regular file below `root` that the path of a URL names, percent-decoded. `None` if there is none, also for every
    /// path that could lead out of `root`: with a segment `.` or `..`, a backslash, NUL, or a drive. Links are followed.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn open_below(root: impl AsRef<Path>, url_path: &str) -> Result<Option<StaticFile>, HttpError> {
        match relative(url_path) {
            Some(path) => StaticFile::open(root.as_ref().join(path)).await,
            None => Ok(None),
        }
    }

    /// `None` for what is no regular file. It is looked at before it is opened, because opening a pipe can wait for ever.
    fn open_now(path: &Path) -> io::Result<Option<StaticFile>> {
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(metadata.is_file().then(|| StaticFile {
            file: Arc::new(file),
            len: metadata.len(),
            modified: since.map(|since| UNIX_EPOCH + Duration::from_secs(since.as_secs())),
            etag: since.map(|since| format!("\"{:x}-{:x}\"", since.as_nanos(), metadata.len())),
            content_type: content_type_of(path).into(),
        }))
    }

    /// Sets the content type, instead of the one that the name's ending stands for.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> StaticFile {
        self.content_type = content_type.into();
        self
    }

    /// Sets the entity tag, with its quotes; nothing sends none. Default: time of the last change, to the nanosecond, and length.
    #[must_use]
    pub fn etag(mut self, etag: impl Into<Option<String>>) -> StaticFile {
        self.etag = etag.into();
        self
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The response to this request: 200, 206 with what was asked for, 304, 412 or 416. Its fields may be added to.
    ///
    /// Up to 16 ranges are followed if they come to no more than the whole; other requests get the whole (§14.2). The method is
    /// not looked at, but that HEAD gets no body, and GET alone ranges.
    ///
    /// # Errors
    ///
    /// When the entity tag is none: no quotes around it, or a byte that it cannot have.
    pub fn response_to(&self, request: &RequestFacts) -> Result<Response, HeaderError> {
        if self.etag.as_deref().is_some_and(|etag| !is_entity_tag(etag)) {
            return Err(HeaderError::InvalidValue);
        }
        let validators = Validators { etag: self.etag.as_deref(), last_modified: self.modified };
        let answer = match judge(request.method(), request.headers(), &validators, SystemTime::now()) {
            Verdict::Failed => return Ok(Response::new(StatusCode::PRECONDITION_FAILED)),
            Verdict::NotModified => Response::new(StatusCode::NOT_MODIFIED),
            Verdict::Whole => self.whole(*request.method() == Method::HEAD)?,
            Verdict::Ranges => match ranges(request.headers(), self.len) {
                Ranges::Ignored => self.whole(false)?,
                Ranges::Parts(parts) => match &parts[..] {
                    [part] => self.part(part.clone())?,
                    parts => self.parts(parts)?,
                },
                Ranges::Unsatisfiable => {
                    let range = format!("bytes */{}", self.len);
                    return Response::new(StatusCode::RANGE_NOT_SATISFIABLE).header("Content-Range", range);
                }
            },
        };
        #[cfg(feature = "gzip")]
        let answer = match crate::content_coding::varies(request.options(), &self.content_type, self.len) {
            true => answer.header("Vary", "Accept-Encoding")?,
            false => answer,
        };
        self.with_validators(answer)
    }

    fn with_validators(&self, mut response: Response) -> Result<Response, HeaderError> {
        if let Some(etag) = &self.etag {
            response = response.header("ETag", etag)?;
        }
        if let Some(modified) = self.modified {
            // A file of the future is told as one of now (RFC 9110 §8.8.2.1); nobody is told that he has it, until it is that.
            let modified = modified.min(SystemTime::now());
            response = response.header("Last-Modified", format_timestamp(modified))?;
        }
        Ok(response)
    }

    fn whole(&self, is_head: bool) -> Result<Response, HeaderError> {
        let segments = if is_head { vec![] } else { vec![Segment::File(0..self.len)] };
        let response = Response::new(StatusCode::OK).content_type(self.content_type.clone());
        response.file(FileBody::new(&self.file, self.len, segments)).header("Accept-Ranges", "bytes")
    }

    fn part(&self, part: Range<u64>) -> Result<Response, HeaderError> {
        let response = Response::new(StatusCode::PARTIAL_CONTENT).content_type(self.content_type.clone());
        let response = response.header("Content-Range", self.content_range(&part))?;
        let len = part.end - part.start;
        Ok(response.file(FileBody::new(&self.file, len, vec![Segment::File(part)])))
    }

    /// `multipart/byteranges` (§14.6).
    fn parts(&self, parts: &[Range<u64>]) -> Result<Response, HeaderError> {
        // Random, so that no file can be made that contains it.
        let random = || RandomState::new().hash_one(0);
        let boundary = format!("{:016x}{:016x}", random(), random());
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for part in parts {
            let (kind, range) = (&self.content_type, self.content_range(part));
            let head = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
            segments.extend([Segment::Bytes(head.into()), Segment::File(part.clone())]);
        }
        segments.push(Segment::Bytes(format!("\r\n--{boundary}--\r\n").into()));
        let len = segments.iter().map(Segment::len).sum();
        let response = Response::new(StatusCode::PARTIAL_CONTENT);
        let response = response.content_type(format!("multipart/byteranges; boundary={boundary}"));
        Ok(response.file(FileBody::new(&self.file, len, segments)))
    }

    fn content_range(&self, part: &Range<u64>) -> String {
        format!("bytes {}-{}/{}", part.start, part.end - 1, self.len)
    }
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// The path of a URL as one below some root; `None` if it could lead elsewhere.
fn relative(url_path: &str) -> Option<PathBuf> {
    let mut decoded = Vec::new();
    percent_decode(url_path.as_bytes(), Plus::IsPlus, &mut decoded);
    let decoded = String::from_utf8(decoded).ok()?;
    let path = Path::new(decoded.strip_prefix('/')?);
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let is_below = path.components().all(|component| matches!(component, Component::Normal(_)));
    let is_good = is_below && !decoded.contains(['\\', '\0']) && decoded[1..].split('/').all(is_plain);
    is_good.then(|| path.to_owned())
}

/// What the endings of names stand for, for what is usually served; the rest is bytes.
fn content_type_of(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" | "map" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/vnd.microsoft.icon",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_url_leads_nowhere_but_down() {
        assert_eq!(relative("/a/b%20c.txt"), Some("a/b c.txt".into()));
        assert_eq!(relative("/a%2Fb"), Some("a/b".into()));
        for bad in [
            "",
            "/",
            "a",
            "//a",
            "/a//b",
            "/a/",
            "/..",
            "/../a",
            "/a/../b",
            "/%2e%2e/a",
            "/a/%2E%2E%2Fb",
            "/./a",
            "/a/.",
            "/a\\..\\b",
            "/%5c..%5ca",
            "/a%00.txt",
            "/%ff",
            "/%2F",
            "/%2Fetc/passwd",
        ] {
            assert_eq!(relative(bad), None, "{bad}");
        }
    }
}
