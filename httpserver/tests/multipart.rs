//! `multipart/form-data`: Tornado's vectors and what else is sent, whole and in pieces.

mod multipart_support;
mod support;

use bytes::Bytes;
use httpserver::multipart::{Event, Limits, MultipartError, Parser};
use httpserver::{
    BodyError, Exchange, Form, FormLimits, Headers, HttpError, HttpOptions, HttpServer, Request, Response,
};
use multipart_support::{Found, read_pieces};
use support::{Stage, answer, plain};

const TYPE: &str = "multipart/form-data; boundary=1234";

/// Reads a body whole, byte by byte, and split everywhere: it must be the same each time.
fn read_with(content_type: &str, body: &[u8], limits: &Limits) -> Result<Vec<Found>, MultipartError> {
    let whole = read_pieces(content_type, [body], limits);
    assert_eq!(read_pieces(content_type, body.chunks(1), limits), whole, "byte by byte");
    for at in 0..body.len().min(1_000) {
        let (left, right) = body.split_at(at);
        assert_eq!(read_pieces(content_type, [left, right], limits), whole, "split at {at}");
    }
    whole
}

fn read(body: &[u8]) -> Result<Vec<Found>, MultipartError> {
    read_with(TYPE, body, &Limits::default())
}

fn part(disposition: &str, data: &str) -> String {
    format!("--1234\r\nContent-Disposition: {disposition}\r\n\r\n{data}\r\n")
}

fn one_part(disposition: &str) -> Result<Found, MultipartError> {
    let all = read(format!("{}--1234--\r\n", part(disposition, "Foo")).as_bytes())?;
    assert_eq!((all.len(), &all[0].data[..]), (1, &b"Foo"[..]));
    Ok(all[0].clone())
}

#[test]
fn hu29_parts_are_found_whatever_stands_around_them() {
    let parts =
        part("form-data; name=\"a\"", "1") + &part("form-data; name=b", "\r\n--123\r\n--12345x\r\n\r\n");
    assert_eq!(
        read(parts.as_bytes()),
        Err(MultipartError::InvalidBoundaryLine),
        "a boundary with something behind it"
    );
    for behind in [" -", " --", "\t x", " \n", " \r "] {
        let line = part("form-data; name=a", "1").replace("1234\r", &format!("1234{behind}\r"));
        assert_eq!(
            read(line.as_bytes()),
            Err(MultipartError::InvalidBoundaryLine),
            "blanks alone are padding: {behind:?}"
        );
    }
    let parts = part("form-data; name=\"a\"", "1")
        + &part("form-data; name=b", "\r\n--123\r\n-1234\r\n\r\n--\r--1234");
    for body in [
        format!("{parts}--1234--"),
        format!("{parts}--1234--\r\n"),
        format!("{parts}--1234--\r\n--1234\r\nnothing of this is looked at"),
        format!("\r\n{parts}--1234--"),
        format!("a preamble --1234, and\r\nmore of it\r\n{parts}--1234--"),
        format!("--123\r\n{parts}--1234--"),
        format!("{parts}--1234-- \t"),
        format!("{parts}--1234--").replace("--1234\r\nC", "--1234 \t \r\nC"),
    ] {
        let found = read(body.as_bytes()).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].data.as_slice()), ("a", &b"1"[..]));
        assert_eq!(
            (found[1].name.as_str(), found[1].data.as_slice()),
            ("b", &b"\r\n--123\r\n-1234\r\n\r\n--\r--1234"[..])
        );
        assert_eq!(found.len(), 2);
    }
    assert_eq!(read(b"--1234--"), Ok(vec![]));
    let empty = format!("{}--1234--", part("form-data; name=a", ""));
    assert_eq!(read(empty.as_bytes()).unwrap()[0].data, b"");
}

#[test]
fn hu28_hu29_the_content_type_is_read_without_regard_to_case() {
    let body = format!("{}--1234--", part("form-data; name=a", "1"));
    let limits = Limits::default();
    for good in [
        "Multipart/Form-Data; Boundary=1234",
        "multipart/form-data;charset=utf-8 ; boundary=\"1234\"",
        "multipart/form-data; boundary=\"1234\"; boundaries=5",
    ] {
        assert_eq!(read_with(good, body.as_bytes(), &limits).map(|it| it.len()), Ok(1), "{good}");
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for bad in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=1;boundary=1234",
        "multipart/form-data; boundary=\"\r\"",
        "multipart/form-data; boundary=\"",
        &long,
    ] {
        assert_eq!(
            Parser::new(bad.as_bytes(), &limits).err(),
            Some(MultipartError::InvalidBoundary),
            "{bad}"
        );
    }
    assert_eq!(
        Parser::new(b"multipart/mixed; boundary=1", &limits).err(),
        Some(MultipartError::NotMultipart)
    );
}

// HU29: `test_boundary_starts_and_ends_with_quotes`
#[test]
fn hu33_names_with_and_without_quotes() {
    for disposition in [
        "form-data; name=\"files\"; filename=\"ab.txt\"",
        "form-data; name=files; filename=ab.txt",
        "Form-Data;NAME=files;FileName=ab.txt",
    ] {
        let found = one_part(disposition).unwrap();
        assert_eq!(
            (found.name.as_str(), found.file_name.as_deref()),
            ("files", Some("ab.txt")),
            "{disposition}"
        );
    }
}

#[test]
fn hu33_nine_awkward_file_names() {
    for name in [
        "a;b.txt",
        "a\"b.txt",
        "a\";b.txt",
        "a;\"b.txt",
        "a\";\";.txt",
        "a\\\"b.txt",
        "a\\b.txt",
        "a b.txt",
        "a\tb.txt",
    ] {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let found = one_part(&format!("form-data; name=\"files\"; filename=\"{quoted}\"")).unwrap();
        assert_eq!(found.file_name.as_deref(), Some(name));
    }
    let raw = one_part("form-data; name=\"files\"; filename=\"C:\\dir\\a.txt\"").unwrap();
    assert_eq!(raw.file_name.as_deref(), Some("C:\\dir\\a.txt"));
}

#[test]
fn hu30_control_characters_in_a_part_head_are_refused() {
    for bad in ["\0", "\u{8}", "\r", "\n", "\u{7f}"] {
        let found = one_part(&format!("form-data; name=\"files\"; filename=\"a{bad}b\""));
        assert_eq!(found, Err(MultipartError::InvalidPartHead), "{}", bad.escape_debug());
    }
}

#[test]
fn hu33_file_names_that_are_not_ascii() {
    let found =
        one_part("form-data; name=\"files\"; filename=\"ab.txt\"; filename*=UTF-8''%C3%A1b.txt").unwrap();
    assert_eq!(found.file_name.as_deref(), Some("áb.txt"));
    let found = one_part("form-data; name=\"files\"; filename=\"测试.txt\"").unwrap();
    assert_eq!(found.file_name.as_deref(), Some("测试.txt"));
    let found = one_part("form-data; filename*=iso-8859-1'en'%A3+rates; name=a").unwrap();
    assert_eq!(found.file_name.as_deref(), Some("£+rates"));
    for bad in ["filename*=x''a", "filename*=a", "filename*=utf-8''%ff"] {
        assert!(one_part(&format!("form-data; name=a; {bad}")).is_err(), "{bad}");
    }
    let latin1 = b"--1234\r\nContent-Disposition: form-data; name=\"\xe9\"\r\n\r\n\r\n--1234--";
    assert_eq!(read(latin1), Err(MultipartError::NotUtf8));
}

#[test]
fn hu30_the_first_fault_ends_it() {
    let with = |head: &str, data: &str| read(format!("--1234\r\n{head}\r\n{data}--1234--\r\n").as_bytes());
    let fine = "Content-Disposition: form-data; name=a\r\n";
    // test_missing_headers
    assert_eq!(with("", "Foo\r\n"), Err(MultipartError::MissingPartHead));
    // test_invalid_content_disposition
    assert_eq!(
        with("Content-Disposition: invalid; name=a\r\n", "Foo\r\n"),
        Err(MultipartError::InvalidDisposition)
    );
    assert_eq!(with("Content-Type: text/plain\r\n", "Foo\r\n"), Err(MultipartError::InvalidDisposition));
    assert_eq!(with(&format!("{fine}{fine}"), "Foo\r\n"), Err(MultipartError::InvalidDisposition));
    assert_eq!(
        with("Content-Disposition: form-data; name=a; name=b\r\n", "\r\n"),
        Err(MultipartError::InvalidDisposition)
    );
    // test_line_does_not_end_with_correct_line_break
    assert_eq!(with(fine, "Foo"), Err(MultipartError::Truncated));
    // test_content_disposition_header_without_name_parameter
    assert_eq!(
        with("Content-Disposition: form-data; filename=\"ab.txt\"\r\n", "\r\n"),
        Err(MultipartError::MissingName)
    );
    for bad in ["Bad Name: x\r\n", "no colon\r\n", " folded: x\r\n", &format!("{fine} folded\r\n")] {
        assert_eq!(with(bad, "Foo\r\n"), Err(MultipartError::InvalidPartHead), "{bad}");
    }
    let bare_lf = b"--1234\nContent-Disposition: form-data; name=a\n\nFoo\n--1234--\n";
    assert_eq!(read(bare_lf), Err(MultipartError::InvalidBoundaryLine));
    for cut in [
        "",
        "--1234",
        "--1234\r\n",
        "--1234\r\nContent-Disposition: form-data; name=a\r\n\r\nFoo\r\n--1234",
        "no boundary",
    ] {
        assert_eq!(read(cut.as_bytes()), Err(MultipartError::Truncated), "{cut}");
    }
}

#[test]
fn a_fault_stays_the_fault() {
    let mut parser = Parser::new(TYPE.as_bytes(), &Limits::default()).unwrap();
    let error = parser.advance(b"--1234x").unwrap_err();
    assert_eq!(parser.advance(b"--1234--"), Err(error));
}

#[test]
fn hu31_parts_and_their_heads_are_bounded() {
    let body = |parts: usize| part("form-data; name=a", "1").repeat(parts) + "--1234--";
    let mut limits = Limits::default();
    assert_eq!(read_with(TYPE, body(100).as_bytes(), &limits).map(|it| it.len()), Ok(100));
    assert_eq!(read_pieces(TYPE, [body(101).as_bytes()], &limits), Err(MultipartError::TooManyParts));
    limits.parts = 0;
    assert_eq!(read_with(TYPE, body(1).as_bytes(), &limits), Err(MultipartError::TooManyParts));
    limits = Limits::default();
    limits.part_head_bytes = 10;
    assert_eq!(read_with(TYPE, body(1).as_bytes(), &limits), Err(MultipartError::PartHeadTooLarge));
    limits.part_head_bytes = "Content-Disposition: form-data; name=a\r\n\r\n".len();
    assert!(read_with(TYPE, body(1).as_bytes(), &limits).is_ok());
    limits.part_head_bytes -= 1;
    assert_eq!(read_with(TYPE, body(1).as_bytes(), &limits), Err(MultipartError::PartHeadTooLarge));
    let endless = format!("--1234\r\n{}", "X: y\r\n".repeat(2_000));
    assert_eq!(
        read_pieces(TYPE, endless.as_bytes().chunks(7), &Limits::default()),
        Err(MultipartError::PartHeadTooLarge)
    );
}

#[test]
fn hu31_fields_and_files_are_bounded_each_in_its_way() {
    let mut limits = Limits::default();
    (limits.field_bytes, limits.file_bytes) = (3, 5);
    let field = |data: &str| {
        read_with(TYPE, format!("{}--1234--", part("form-data; name=a", data)).as_bytes(), &limits)
    };
    let file = |data: &str| {
        let part = part("form-data; name=a; filename=f", data);
        read_with(TYPE, format!("{part}--1234--").as_bytes(), &limits)
    };
    assert!(field("123").is_ok() && file("12345").is_ok());
    assert_eq!(field("1234"), Err(MultipartError::PartTooLarge));
    assert_eq!(file("123456"), Err(MultipartError::PartTooLarge));
}

#[test]
fn hu33_parsing_is_linear() {
    // Not timed: what is kept between two calls is bounded, and no call looks further back than that.
    let parameters = "; a=\"".repeat(1_000);
    assert!(
        one_part(&format!("form-data; name=\"x\"; filename=\"{}\"", parameters.replace('"', ""))).is_ok()
    );
    let mut parser = Parser::new(TYPE.as_bytes(), &Limits::default()).unwrap();
    let mut held = part("form-data; name=a; filename=b", "").into_bytes();
    held.truncate(held.len() - 2);
    let mut most = 0;
    for piece in std::iter::repeat_n(b"\r\n--123\r\n--12\r\r\n-", 5_000) {
        held.extend_from_slice(piece);
        loop {
            match parser.advance(&held).unwrap() {
                Event::NeedMore { consumed } => {
                    held.drain(..consumed);
                    break;
                }
                Event::Part { consumed, .. } | Event::Data { consumed, .. } => drop(held.drain(..consumed)),
                other => panic!("{other:?}"),
            }
        }
        most = most.max(held.len());
    }
    assert!(most < b"\r\n--1234".len(), "{most} bytes held");
}

#[test]
fn hu32_files_and_fields_come_apart() {
    let body = part("form-data; name=\"argument\"", "caf\u{e9}")
        + &part("form-data; name=files; filename=\"one.txt\"", "1")
        + "--1234\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION: form-data; name=files; filename=two\r\n\r\n\x02\r\n"
        + &part("form-data; name=nofile; filename=\"\"", "")
        + "--1234--\r\n";
    let headers = Headers::from_pairs([("Content-Type", TYPE)]).unwrap();
    let form = Form::parse(&headers, &Bytes::from(body.clone()), &FormLimits::default()).unwrap();
    assert_eq!(form.arguments.text("argument"), Some("café"));
    assert_eq!(form.arguments.text("nofile"), Some(""), "where no file was chosen there is none");
    let files: Vec<_> =
        form.files.iter().map(|it| (it.name(), it.file_name(), it.content_type(), &it.body()[..])).collect();
    assert_eq!(
        files,
        [("files", "one.txt", "application/unknown", &b"1"[..]), ("files", "two", "image/png", b"\x02")]
    );
    assert_eq!(form.file("files").map(httpserver::UploadedFile::file_name), Some("one.txt"));
    assert!(!format!("{form:?}").contains('\u{e9}'), "contents stay out of logs");
    let coded = Headers::from_pairs([("Content-Type", TYPE), ("Content-Encoding", "gzip")]).unwrap();
    assert_eq!(Form::parse(&coded, &Bytes::from(body), &FormLimits::default()), Err(BodyError::Encoded));
}

fn request(body: &[u8]) -> Vec<u8> {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [request.as_bytes(), body].concat()
}

async fn sizes(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut text = String::new();
    let mut parts = exchange.multipart()?;
    while let Some(mut part) = parts.next_part().await? {
        let name = part.head().name().to_owned();
        match name.as_str() {
            "skipped" => text += "skipped ",
            "begun" => text += &format!("begun {} ", part.chunk().await?.is_some()),
            "text" => text += &format!("text {} ", part.text(100).await?),
            _ => {
                let mut sum = 0_usize;
                while let Some(chunk) = part.chunk().await? {
                    assert!(!chunk.is_empty());
                    sum += chunk.len();
                }
                assert!(part.chunk().await?.is_none());
                text += &format!("{name} {sum} ");
            }
        }
    }
    assert!(parts.next_part().await?.is_none());
    exchange.send(Response::text(text)).await
}

#[test]
fn parts_stream_through_a_handler_however_they_arrive() {
    let large = "x\r\n--123".repeat(50_000);
    let body = part("form-data; name=skipped", "a")
        + &part("form-data; name=large; filename=f", &large)
        + &part("form-data; name=begun; filename=f", &large)
        + &part("form-data; name=text", "hello")
        + "--1234--\r\nepilogue";
    let stage = Stage::new();
    let server = HttpServer::new(sizes).options(plain());
    for segment in [usize::MAX, 60_000, 997] {
        let peer = stage.connect(&server);
        let request = request(body.as_bytes());
        peer.send_in_segments(&request, segment.min(request.len()));
        stage.time.run_until_stalled();
        let expected = format!("skipped large {} begun true text hello ", large.len());
        assert_eq!(answer(peer.received()).text(), expected, "segments of {segment}");
        assert!(!peer.is_over(), "the connection is kept");
    }
}

#[test]
fn what_is_wrong_with_a_streamed_form_is_told() {
    let ask = |options: HttpOptions, body: &str| {
        let back =
            answer(Stage::new().ask(&HttpServer::new(sizes).options(options), request(body.as_bytes())));
        (back.status, back.text().trim_end().to_owned())
    };
    let mut few = plain();
    few.form.multipart.parts = 1;
    let body = part("form-data; name=a", "1").repeat(2) + "--1234--";
    assert_eq!(ask(few, &body), (413, "bad request: too many multipart parts".into()));
    assert_eq!(ask(plain(), &body[..body.len() - 8]), (400, "bad request: multipart body cut short".into()));
    let long = part("form-data; name=text", &"x".repeat(101)) + "--1234--";
    assert_eq!(ask(plain(), &long), (413, "bad request: content larger than 100 bytes".into()));
    let server = HttpServer::new(sizes).options(plain());
    let other = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer(Stage::new().ask(&server, other)).status, 415);
    let body = body.replace("name=a", "name=text");
    let twice = |type_: &str| {
        let twice = format!("Content-Type: {type_}\r\nContent-Type");
        String::from_utf8(request(body.as_bytes())).unwrap().replace("Content-Type", &twice)
    };
    for type_ in ["text/plain", "multipart/form-data; boundary=1234", "multipart/form-data; boundary=other"] {
        assert_eq!(answer(Stage::new().ask(&server, twice(type_))).status, 415, "{type_}");
    }
}

#[test]
fn a_whole_form_is_what_a_request_has() {
    async fn form(request: Request) -> Result<String, HttpError> {
        let form = request.form()?;
        Ok(format!("{} {:?}", form.arguments.text("a").unwrap_or("none"), form.files))
    }
    let body = part("form-data; name=a", "1") + &part("form-data; name=f; filename=g", "2") + "--1234--";
    let back = answer(Stage::new().ask(&HttpServer::new(form).options(plain()), request(body.as_bytes())));
    assert_eq!(back.text(), r#"1 [UploadedFile { name: "f", file_name: "g", bytes: 1, .. }]"#);
}
