//! Whether the servers of the comparison answer alike: how long the head of an answer is, and what fields are in it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;

use crate::report::{Row, aligned};

/// Every answer has these, and a field that frames its body.
const COMMON: [&str; 3] = ["content-type", "date", "server"];
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 64;

/// The head of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Up to and including the blank line.
    pub bytes: usize,
    /// The names of its fields, in small letters, sorted, with blanks between.
    pub fields: String,
}

/// Asks once, over TCP, and reads as far as the blank line.
///
/// # Errors
/// When what comes back within ten seconds is not the head of an answer.
pub fn head_of_answer(address: SocketAddr, request: &[u8]) -> io::Result<Head> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut received = Vec::new();
    while memmem::find(&received, b"\r\n\r\n").is_none() {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece)?;
        if read == 0 || received.len() > MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no head of an answer"));
        }
        received.extend_from_slice(&piece[..read]);
    }
    Head::parse(&received).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no head of an answer"))
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(bytes) = answer.parse(bytes).ok()? else { return None };
        let mut names: Vec<String> =
            answer.headers.iter().map(|field| field.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        Some(Head { bytes, fields: names.join(" ") })
    }
}

/// What of the common fields an answer lacks, and what it has beside them.
fn differences(fields: &str) -> String {
    let names: Vec<&str> = fields.split_ascii_whitespace().collect();
    let mut found: Vec<String> =
        COMMON.iter().filter(|name| !names.contains(name)).map(|name| format!("no {name}")).collect();
    if !names.iter().any(|name| FRAMING.contains(name)) {
        found.push("nothing that frames the body".to_string());
    }
    let more = names.iter().filter(|name| !COMMON.contains(name) && !FRAMING.contains(name));
    found.extend(more.map(|name| format!("also {name}")));
    found.join(", ")
}

/// A line for each server whose answer was looked at. None when nobody's was.
pub fn table(rows: &[Row]) -> Option<String> {
    let mut lines = vec![["server", "head, bytes", "differs in"].map(str::to_string).to_vec()];
    for row in rows {
        let Some((bytes, fields)) = &row.head else { continue };
        lines.push(vec![row.name.to_string(), bytes.to_string(), differences(fields)]);
    }
    (lines.len() > 1).then(|| aligned(&lines))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn server_that_answers(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn the_head_of_an_answer_is_measured_without_its_body() {
        let address = server_that_answers(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc");
        let head = head_of_answer(address, b"GET ").unwrap();
        assert_eq!(head, Head { bytes: 49, fields: "content-length server".to_string() });
    }

    #[test]
    fn what_is_no_answer_or_ends_too_soon_is_an_error() {
        for answer in [&b"HTTP/1.1 200 OK\r\nServer: x\r\n"[..], b"hello\r\n\r\n"] {
            assert!(head_of_answer(server_that_answers(answer), b"GET ").is_err());
        }
    }

    #[test]
    fn differences_are_what_is_missing_and_what_is_more() {
        assert_eq!(differences("content-length content-type date server"), "");
        assert_eq!(differences("content-type server transfer-encoding"), "no date");
        assert_eq!(
            differences("connection content-type date server"),
            "nothing that frames the body, also connection"
        );
    }
}
