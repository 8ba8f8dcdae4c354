//! What is sent: the bytes of each kind of request, and how long the body of its answer is.

/// The chunks of an upload.
const CHUNK: usize = 16 * 1024;

/// What is sent, and so which route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A short request, as TechEmpower's load generator sends it, and the body bytes of its answer.
    Get(&'static str, u64),
    /// The same for `/bytes/N`.
    GetBytes(u64),
    /// A request for `/plaintext` with so many fields, Host among them.
    GetWithFields(usize),
    /// The same with the 14 fields that a browser sends.
    BrowserGet(&'static str, u64),
    /// A body of this many bytes with Content-Length, to `/echo`.
    Post(usize),
    /// The same in chunks of 16 KiB.
    PostChunked(usize),
    /// Lines of this many bytes, each echoed.
    Lines(usize),
}

impl Traffic {
    /// The bytes of one request, or of one line.
    pub fn request(&self, close: bool) -> Vec<u8> {
        let connection = if close { "close" } else { "keep-alive" };
        match *self {
            Traffic::Get(path, _) => short_request(path, connection).into_bytes(),
            Traffic::GetBytes(bytes) => short_request(&format!("/bytes/{bytes}"), connection).into_bytes(),
            Traffic::GetWithFields(fields) => request_with_fields(fields).into_bytes(),
            Traffic::BrowserGet(path, _) => browser_request(path, connection).into_bytes(),
            Traffic::Post(bytes) => {
                let mut request = post_head(&format!("Content-Length: {bytes}"), connection).into_bytes();
                request.resize(request.len() + bytes, b'x');
                request
            }
            Traffic::PostChunked(bytes) => chunked_post(bytes, connection),
            Traffic::Lines(bytes) => {
                let mut line = vec![b'x'; bytes.max(1)];
                line[bytes.max(1) - 1] = b'\n';
                line
            }
        }
    }

    /// Body bytes of one right answer. None: not HTTP.
    pub fn answer_bytes(&self) -> Option<u64> {
        match *self {
            Traffic::Get(_, bytes) | Traffic::GetBytes(bytes) | Traffic::BrowserGet(_, bytes) => Some(bytes),
            Traffic::GetWithFields(_) => Some(13),
            Traffic::Post(bytes) | Traffic::PostChunked(bytes) => Some(bytes as u64),
            Traffic::Lines(_) => None,
        }
    }
}

fn short_request(path: &str, connection: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: {connection}\r\n\
         Accept: text/plain,text/html;q=0.9,application/xhtml+xml;q=0.9,application/xml;q=0.8,*/*;q=0.7\r\n\r\n"
    )
}

/// Host, and as many fields that mean nothing as are missing to that number.
fn request_with_fields(fields: usize) -> String {
    let mut request = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n".to_string();
    for number in 1..fields {
        request.push_str(&format!("X-Field-{number}: what number {number} says\r\n"));
    }
    request + "\r\n"
}

fn post_head(framing: &str, connection: &str) -> String {
    format!(
        "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: {connection}\r\n\
         Content-Type: application/octet-stream\r\n{framing}\r\n\r\n"
    )
}

fn chunked_post(bytes: usize, connection: &str) -> Vec<u8> {
    let mut request = post_head("Transfer-Encoding: chunked", connection).into_bytes();
    for chunk in vec![b'x'; bytes].chunks(CHUNK) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

fn browser_request(path: &str, connection: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: 127.0.0.1:8080\r\n\
         Connection: {connection}\r\n\
         Cache-Control: max-age=0\r\n\
         sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
         sec-ch-ua-mobile: ?0\r\n\
         sec-ch-ua-platform: \"Linux\"\r\n\
         Upgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
         Sec-Fetch-Site: none\r\n\
         Sec-Fetch-Mode: navigate\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
         Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark; consent=analytics%2Cnone; csrf=5feceb66ffc86f38d952786c6d696c79\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = 100 * 1024;

    #[test]
    fn as_many_fields_are_sent_as_are_asked_for() {
        for number in [1, 3, 100] {
            let request = Traffic::GetWithFields(number).request(false);
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut parsed = httparse::Request::new(&mut fields);
            assert_eq!(parsed.parse(&request).unwrap(), httparse::Status::Complete(request.len()));
            assert_eq!(parsed.headers.len(), number);
        }
    }

    #[test]
    fn a_browser_sends_14_fields_in_about_750_bytes() {
        let request = Traffic::BrowserGet("/plaintext", 13).request(false);
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut fields);
        assert_eq!(parsed.parse(&request).unwrap(), httparse::Status::Complete(request.len()));
        assert_eq!(parsed.headers.len(), 14);
        assert!((700..=800).contains(&request.len()), "{}", request.len());
    }

    #[test]
    fn a_chunked_upload_carries_every_byte() {
        let request = chunked_post(BODY, "close");
        assert_eq!(
            request.iter().filter(|byte| **byte == b'x').count(),
            BODY + "application/octet-stream".matches('x').count()
        );
        assert!(request.ends_with(b"\r\n0\r\n\r\n"));
    }
}
