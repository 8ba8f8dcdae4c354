//! Files out and in: conditions, ranges, uploads. On real sockets and a real disk, since another thread reads and writes.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use httpserver::{Exchange, HttpError, HttpServer, IntoResponse, Request, Response, StaticFile, StatusCode};
use support::{Answer, Running, answers_with, plain, unhurried};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("httpserver-files-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// A file that was changed at a second long past.
    fn file(&self, name: &str, contents: &[u8]) {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_359_312_200);
        fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
    }

    fn serve(&self) -> Running {
        let root = self.0.clone();
        Running::start(move || {
            let download = async move |request: Request| -> Result<Response, HttpError> {
                Ok(match StaticFile::open_below(&root, request.path()).await? {
                    Some(file) => file.response_to(&request)?,
                    None => StatusCode::NOT_FOUND.into_response(),
                })
            };
            HttpServer::new(download).options(unhurried(plain()))
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MODIFIED: &str = "Sun, 27 Jan 2013 18:43:20 GMT";

/// All that comes back for these bytes.
fn exchange(running: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    back
}

fn ask(running: &Running, method: &str, path: &str, fields: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut all = answers_with(&exchange(running, request.as_bytes()), |_| method == "HEAD");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn get(running: &Running, fields: &str) -> Answer {
    ask(running, "GET", "/digits.txt", fields)
}

#[test]
fn a_file_comes_whole_with_what_describes_it() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    folder.file("empty.bin", b"");
    let running = folder.serve();
    let whole = get(&running, "");
    assert_eq!((whole.status, whole.text()), (200, "0123456789"));
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(whole.header("last-modified"), Some(MODIFIED));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let etag = whole.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with("-a\""), "{etag}");
    let head = ask(&running, "HEAD", "/digits.txt", "Range: bytes=0-1\r\n");
    assert_eq!(
        (head.status, head.header("content-length"), head.header("etag")),
        (200, Some("10"), Some(etag))
    );
    let empty = ask(&running, "GET", "/empty.bin", "Range: bytes=0-\r\n");
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    for absent in
        ["/absent", "/", "/..", "/digits.txt/x", "/%2e%2e/digits.txt", &format!("/{}", "x".repeat(300))]
    {
        assert_eq!(ask(&running, "GET", absent, "").status, 404, "{absent}");
    }
}

#[test]
fn a_file_of_the_future_is_told_as_one_of_now() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    fs::File::options()
        .write(true)
        .open(folder.0.join("digits.txt"))
        .unwrap()
        .set_modified(tomorrow)
        .unwrap();
    let running = folder.serve();
    let whole = get(&running, "");
    let told = whole.header("last-modified").unwrap().to_owned();
    assert!(httpdate::parse_http_date(&told).unwrap() <= SystemTime::now(), "{told}");
    let again = get(&running, &format!("If-Modified-Since: {told}\r\n"));
    assert_eq!(again.status, 200, "it was changed at no time that is known");
}

#[test]
fn a_client_that_has_the_file_is_told_so() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    let running = folder.serve();
    let etag = get(&running, "").header("etag").unwrap().to_owned();
    let fresh = get(&running, &format!("If-None-Match: {etag}\r\n"));
    assert_eq!(
        (fresh.status, fresh.header("etag"), fresh.header("last-modified")),
        (304, Some(&*etag), Some(MODIFIED))
    );
    assert_eq!((fresh.header("content-length"), fresh.header("content-type")), (None, None));
    assert_eq!(get(&running, &format!("If-Modified-Since: {MODIFIED}\r\n")).status, 304);
    assert_eq!(get(&running, "If-Match: \"other\"\r\n").status, 412);
    folder.file("digits.txt", b"0123456789abc");
    let changed = get(&running, &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((changed.status, changed.text()), (200, "0123456789abc"));
}

#[test]
fn an_entity_tag_of_ones_own_must_be_one() {
    let folder = Folder::new();
    folder.file("a", b"0123456789");
    let path = folder.0.join("a");
    let running = Running::start(move || {
        let tagged = async move |request: Request| -> Result<Response, HttpError> {
            let tag = request.query_arguments().text("tag").map(str::to_owned);
            let file = StaticFile::open(&path).await?.expect("it is there");
            Ok(file.etag(tag).response_to(&request)?)
        };
        HttpServer::new(tagged).options(unhurried(plain()))
    });
    for good in ["%22v1%22", "W/%22v1%22", "%22%22"] {
        let path = format!("/a?tag={good}");
        let back = ask(&running, "GET", &path, "");
        let tag = back.header("etag").expect("a tag");
        assert_eq!(ask(&running, "GET", &path, &format!("If-None-Match: {tag}\r\n")).status, 304, "{tag}");
    }
    for bad in ["v1", "%22v1", "%22v%221%22", "w/%22v1%22", "%22v+1%22", "%22v1%22+", "*"] {
        assert_eq!(ask(&running, "GET", &format!("/a?tag={bad}"), "").status, 500, "{bad}");
    }
    assert_eq!(ask(&running, "GET", "/a", "").header("etag"), None);
}

#[test]
fn parts_of_a_file() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    let running = folder.serve();
    let part = get(&running, "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "234", Some("bytes 2-4/10")));
    assert!(part.header("etag").is_some());
    let last = get(&running, "Range: bytes=-3\r\n");
    assert_eq!((last.text(), last.header("content-range")), ("789", Some("bytes 7-9/10")));
    let behind = get(&running, "Range: bytes=10-\r\n");
    assert_eq!((behind.status, behind.header("content-range")), (416, Some("bytes */10")));
    let stale = get(&running, "Range: bytes=2-4\r\nIf-Range: \"other\"\r\n");
    assert_eq!((stale.status, stale.text()), (200, "0123456789"));
    let same = get(&running, &format!("Range: bytes=2-4\r\nIf-Range: {MODIFIED}\r\n"));
    assert_eq!(same.status, 206);
}

#[test]
fn several_parts_of_a_file_are_a_multipart() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    let running = folder.serve();
    let parts = get(&running, "Range: bytes=7-,0-1\r\n");
    assert_eq!(parts.status, 206);
    let boundary =
        parts.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let head = format!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range:");
    let expected =
        format!("\r\n{head} bytes 7-9/10\r\n\r\n789\r\n{head} bytes 0-1/10\r\n\r\n01\r\n--{boundary}--\r\n");
    assert_eq!(parts.text(), expected);
    assert_eq!(parts.header("content-range"), None);
    let other = get(&running, "Range: bytes=7-,0-1\r\n");
    assert_ne!(other.header("content-type"), parts.header("content-type"), "nobody can foresee the boundary");
}

#[test]
fn a_large_file_comes_through_and_the_connection_goes_on() {
    let folder = Folder::new();
    let contents: Vec<u8> = (0..3_000_001_u32).map(|number| (number / 7) as u8).collect();
    folder.file("large.bin", &contents);
    let running = folder.serve();
    let twice = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    let back = answers_with(&exchange(&running, twice.as_bytes()), |_| false);
    assert_eq!(back.len(), 2);
    assert!(back.iter().all(|answer| answer.body == contents));
}

#[test]
fn a_file_that_is_cut_short_ends_its_connection() {
    let folder = Folder::new();
    folder.file("digits.txt", b"0123456789");
    let root = folder.0.clone();
    let running = Running::start(move || {
        let download = async move |request: Request| -> Result<Response, HttpError> {
            let path = root.join("digits.txt");
            let file = StaticFile::open(&path).await?.unwrap();
            fs::write(path, b"01").unwrap();
            Ok(file.response_to(&request)?)
        };
        HttpServer::new(download).options(unhurried(plain()))
    });
    let back = exchange(&running, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = String::from_utf8(back).unwrap();
    assert!(text.contains("Content-Length: 10\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

/// Saves each body beside the others, and says how it went.
fn receiver(root: &Path, limit: u64) -> Running {
    let root = root.to_owned();
    Running::start(move || {
        let upload = async move |exchange: &mut Exchange<'_>| -> Result<(), HttpError> {
            let path = root.join(exchange.path().trim_start_matches('/'));
            let multipart =
                exchange.headers().text("content-type").is_some_and(|it| it.starts_with("multipart"));
            let mut saved = 0;
            if multipart {
                let mut parts = exchange.multipart()?;
                while let Some(mut part) = parts.next_part().await? {
                    saved += part.save_to(&path, limit).await?;
                }
            } else {
                saved = exchange.body().save_to(&path, limit).await?;
            }
            exchange.send(Response::text(saved.to_string()).status(StatusCode::CREATED)).await
        };
        HttpServer::new(upload).options(unhurried(plain()))
    })
}

fn put(running: &Running, path: &str, fields: &str, body: &[u8]) -> Answer {
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    let mut all = answers_with(&exchange(running, &[head.as_bytes(), body].concat()), |_| false);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_body_goes_into_a_file() {
    let folder = Folder::new();
    let running = receiver(&folder.0, 1_000_000);
    let body: Vec<u8> = (0..1_000_000_u32).map(|number| (number / 7) as u8).collect();
    let back = put(&running, "/one", "", &body);
    assert_eq!((back.status, back.text()), (201, "1000000"));
    assert!(fs::read(folder.0.join("one")).unwrap() == body);
    assert_eq!(put(&running, "/empty", "", b"").text(), "0");
    assert_eq!(fs::read(folder.0.join("empty")).unwrap(), b"");
    let form =
        [b"--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n", &body[..], b"\r\n--b--"]
            .concat();
    assert_eq!(
        put(&running, "/two", "Content-Type: multipart/form-data; boundary=b\r\n", &form).text(),
        "1000000"
    );
    assert!(fs::read(folder.0.join("two")).unwrap() == body);
}

#[test]
fn an_upload_beyond_its_limit_leaves_nothing_behind() {
    let folder = Folder::new();
    let running = receiver(&folder.0, 999);
    assert_eq!(put(&running, "/one", "", &[b'x'; 1_000]).status, 413);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    assert_eq!(put(&running, "/one", "", &[b'x'; 999]).status, 201);
}

#[test]
fn an_upload_does_not_replace_a_file() {
    let folder = Folder::new();
    folder.file("one", b"old");
    let running = receiver(&folder.0, 999);
    assert_eq!(put(&running, "/one", "", b"new").status, 500);
    assert_eq!(fs::read(folder.0.join("one")).unwrap(), b"old");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let folder = Folder::new();
    let running = receiver(&folder.0, 1_000_000);
    let cut = exchange(&running, b"PUT /one HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nonly this");
    assert!(cut.starts_with(b"HTTP/1.1 400 "), "{}", cut.escape_ascii());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}
