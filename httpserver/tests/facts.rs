//! What a handler can ask of a request.

mod support;

use std::time::Duration;

use httpserver::{
    Arguments, Cookies, Exchange, Headers, HttpError, HttpOptions, HttpServer, Protocol, Request, Response,
    StatusCode, format_timestamp, split_host_and_port, url_concat,
};
use support::{Stage, answer, answers, plain};

/// What a handler that takes whole requests answers.
fn ask<R: httpserver::IntoResponse>(
    request: impl AsRef<[u8]>,
    tell: impl Fn(&Request) -> R + 'static,
) -> support::Answer {
    ask_with(plain(), request, tell)
}

fn ask_with<R: httpserver::IntoResponse>(
    options: HttpOptions,
    request: impl AsRef<[u8]>,
    tell: impl Fn(&Request) -> R + 'static,
) -> support::Answer {
    let stage = Stage::new();
    let server = HttpServer::new(move |request: Request| {
        let response = tell(&request).into_response();
        async { response }
    });
    answer(stage.ask(&server.options(options), request))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: Example.ORG:8080\r\n\r\n")
}

fn post(content_type: &str, body: &str) -> String {
    let head = "POST /p?a=query HTTP/1.1\r\nHost: a\r\n";
    format!("{head}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const FORM: &str = "application/x-www-form-urlencoded";

fn pairs(arguments: &Arguments) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    arguments.iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn hu16_a_path_of_two_slashes_is_no_host() {
    let back =
        ask(get("//doubleslash?a?b"), |it| format!("{} {:?} {}", it.path(), it.query(), it.full_url()));
    assert_eq!(back.text(), "//doubleslash Some(\"a?b\") http://Example.ORG:8080//doubleslash?a?b");
}

#[test]
fn hu17_fields_are_bytes_in_order_blank_values_kept() {
    let parsed = Arguments::parse("foo=&foo=&b=%C3%A9+x&&c&=d&b=%ff&%zz=%4&k%3D=v=w;x");
    let foo: Vec<_> = parsed.get_list("foo").collect();
    assert_eq!(foo, [b"", b""]);
    assert_eq!(parsed.get_list("b").collect::<Vec<_>>(), [&b"\xc3\xa9 x"[..], b"\xff"]);
    assert_eq!(
        (parsed.get("b"), parsed.text("b")),
        (Some(&b"\xff"[..]), None),
        "the last one, which is no text"
    );
    assert_eq!((parsed.get("c"), parsed.get(""), parsed.get("d")), (Some(&b""[..]), Some(&b"d"[..]), None));
    assert_eq!(parsed.text("%zz"), Some("%4"), "what is no escape stays");
    assert_eq!(parsed.text("k="), Some("v=w;x"));
    assert_eq!((parsed.len(), parsed.is_empty(), parsed.contains("c")), (8, false, true));
    assert_eq!(format!("{parsed:?}").matches("\\xff").count(), 0, "values stay out of logs");
    assert_eq!((Arguments::parse(""), Arguments::parse("&&")), (Arguments::new(), Arguments::new()));
}

#[test]
fn hu17_arguments_are_those_of_the_query_and_then_those_of_the_body() {
    let back = ask(post(FORM, "a=body&b=%31"), |it| {
        let arguments = it.arguments().unwrap();
        let from_query = it.query_arguments().text("a").unwrap().to_owned();
        format!(
            "{from_query} {:?} {}",
            arguments.get_list("a").collect::<Vec<_>>().len(),
            arguments.text("a").unwrap()
        )
    });
    assert_eq!(back.text(), "query 2 body");
}

#[test]
fn hu18_a_form_has_at_most_so_many_fields() {
    let mut options = plain();
    options.form.fields = 3;
    let count =
        |it: &Request| it.form().map(|form| form.arguments.len().to_string()).map_err(HttpError::from);
    let within = ask_with(options.clone(), post(FORM, "a&b&&c"), count);
    assert_eq!(within.text(), "3");
    let beyond = ask_with(options, post(FORM, "a&b&c&d"), count);
    assert_eq!(beyond.status, 413);
}

#[test]
fn hu21_the_host_name_is_lower_case_without_the_port() {
    assert_eq!(ask(get("/"), |it| it.host_name().unwrap().into_owned()).text(), "example.org");
    let bracketed = "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n";
    assert_eq!(ask(bracketed, |it| it.host_name().unwrap().into_owned()).text(), "[::1]");
}

#[test]
fn hu22_hs5_the_protocol_is_that_of_the_connection_unless_the_server_says_otherwise() {
    assert_eq!(ask(get("/"), |it| it.protocol().to_string()).text(), "http");
    // test_manual_protocol (HS5)
    let forced = plain().protocol(Protocol::Https);
    assert_eq!(ask_with(forced, get("/a"), |it| it.full_url()).text(), "https://Example.ORG:8080/a");
}

#[test]
fn hu23_the_full_url_of_each_form_of_target() {
    let of = |request: &str| ask(request, |it| it.full_url()).text().to_owned();
    assert_eq!(of("GET http://other/p?q HTTP/1.1\r\nHost: h\r\n\r\n"), "http://other/p?q");
    assert_eq!(of("OPTIONS * HTTP/1.1\r\nHost: h:1\r\n\r\n"), "http://h:1");
    assert_eq!(of("GET /p HTTP/1.0\r\n\r\n"), "http://127.0.0.1/p");
    let connect = ask("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", |it| {
        Response::text(it.full_url()).status(StatusCode::FORBIDDEN)
    });
    assert_eq!(connect.text(), "h:443");
}

#[test]
fn hu24_request_time_runs_from_the_head_on() {
    async fn slow(request: Request) -> String {
        ioloop::sleep(Duration::from_secs(2)).await;
        format!("{:?}", request.request_time())
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(slow).options(plain()));
    stage.time.advance(Duration::from_secs(5));
    stage.exchange(&peer, get("/"));
    stage.time.advance(Duration::from_secs(2));
    assert_eq!(answer(peer.received()).text(), "2s");
}

#[test]
fn hu25_debug_output_has_neither_fields_nor_body() {
    let secret = "POST /p HTTP/1.1\r\nHost: a\r\nCookie: s3cret\r\nContent-Length: 6\r\n\r\ns3cret";
    let back = ask(secret, |it| format!("{it:?}"));
    let expected = "Request { protocol: Http, host: Some(\"a\"), method: POST, uri: \"/p\", version: HTTP/1.1, \
                    remote_ip: Some(192.0.2.1), .. }";
    assert_eq!(back.text(), expected);
}

#[test]
fn hu26_cookies_of_all_fields_are_one_list() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\ncookie: a=3\r\n\r\n";
    let back = ask(request, |it| {
        let cookies = it.cookies();
        format!("{:?} {:?} {:?} {cookies:?}", cookies.text("a"), cookies.text("b"), cookies.text("c"))
    });
    assert_eq!(back.text(), r#"Some("3") Some("2") None ["a", "b", "a"]"#);
    assert_eq!(ask(get("/"), |it| it.cookies().is_empty().to_string()).text(), "true");
}

#[test]
fn hu27_hs7_a_form_that_is_none_is_refused_before_anything_is_done_with_it() {
    let form =
        |it: &Request| it.form().map(|form| format!("{:?}", pairs(&form.arguments))).map_err(HttpError::from);
    assert_eq!(ask(post(FORM, "a=1&a=2"), form).text(), r#"[("a", "1"), ("a", "2")]"#);
    assert_eq!(
        ask(post("Application/X-WWW-Form-URLencoded; charset=x", "a=1"), form).text(),
        r#"[("a", "1")]"#
    );
    assert_eq!(ask(post("text/plain", "a=1"), form).text(), "[]");
    assert_eq!(ask(get("/"), form).text(), "[]");
    let two = post(&format!("{FORM}\r\nContent-Type: text/plain"), "a=1");
    assert_eq!(ask(two, form).text(), "bad request: unsupported content type\n");
    let coded = post(&format!("{FORM}\r\nContent-Encoding: gzip"), "a=1");
    let coded = ask(coded, form);
    assert_eq!((coded.status, coded.text()), (415, "bad request: unsupported content encoding\n"));
    assert_eq!(coded.header("accept-encoding"), Some("identity"), "RFC 9110 §12.5.3");
    assert_eq!(ask(post(&format!("{FORM}\r\nContent-Encoding: identity"), "a=1"), form).status, 200);
}

#[test]
fn a_handler_that_streams_and_refuses_what_a_whole_body_says_keeps_the_connection() {
    async fn form(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        match exchange.path() {
            "/p" => drop(exchange.read_body().await?),
            "/parts" => drop(exchange.multipart()?),
            _ => {}
        }
        let fields = exchange.form()?.arguments.len();
        exchange.send(Response::text(fields.to_string())).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(form).options(plain()));
    let coded = post(&format!("{FORM}\r\nContent-Encoding: br"), "a=1");
    let back = answers(stage.exchange(&peer, coded.clone() + &post(FORM, "a=1") + &coded));
    assert_eq!(
        back.iter().map(|it| (it.status, it.closes())).collect::<Vec<_>>(),
        [(415, false), (200, false), (415, false)]
    );
    assert_eq!(back[0].header("accept-encoding"), Some("identity"));
    let unread = answers(stage.exchange(&peer, coded.replace("/p?", "/unread?")));
    assert_eq!((unread[0].status, unread[0].closes()), (500, true), "the handler's own mistake");
    let parts = stage.connect(&HttpServer::new(form).options(plain()));
    let none = answers(stage.exchange(&parts, post(FORM, "a=1").replace("/p?", "/parts?") + &get("/")));
    assert_eq!((none.len(), none[0].status, none[0].closes()), (1, 415, true), "its body is not waited for");
}

#[test]
fn hu38_h1_49_a_bad_form_is_the_clients_fault_and_the_answer_says_so() {
    async fn form(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.read_body().await?;
        let fields = exchange.form()?.arguments.len();
        exchange.send(Response::text(fields.to_string())).await
    }
    let stage = Stage::new();
    let server = HttpServer::new(form).options(plain());
    let bad = post("multipart/form-data; boundary=b", "--b\r\n\r\n--b--");
    let back = answer(stage.ask(&server, bad));
    assert_eq!((back.status, back.text()), (400, "bad request: multipart part without header fields\n"));
    assert_eq!(answer(stage.ask(&server, post(FORM, "a&b"))).text(), "2");
}

#[test]
fn a_form_that_has_not_been_read_is_the_handlers_fault() {
    async fn form(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let fields = exchange.form()?.arguments.len();
        exchange.send(Response::text(fields.to_string())).await
    }
    let stage = Stage::new();
    let back = answer(stage.ask(&HttpServer::new(form).options(plain()), post(FORM, "a=1")));
    assert_eq!(back.status, 500);
}

#[test]
fn a_body_that_was_read_can_be_asked_for_again() {
    async fn twice(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let first = exchange.read_body().await?.clone();
        let again = exchange.read_body().await? == &first && exchange.whole_body() == &first;
        exchange.send(Response::text(format!("{again} {}", first.len()))).await
    }
    let stage = Stage::new();
    let server = HttpServer::new(twice).options(plain());
    assert_eq!(answer(stage.ask(&server, post(FORM, "a=1"))).text(), "true 3");
    assert_eq!(answer(stage.ask(&server, get("/"))).text(), "true 0");
}

#[test]
fn hu34_url_concat_has_tornados_vectors() {
    let one = |url: &str| url_concat(url, [("y", "y"), ("z", "z")]);
    assert_eq!(one("https://localhost/path"), "https://localhost/path?y=y&z=z");
    assert_eq!(one("https://localhost/path?"), "https://localhost/path?y=y&z=z");
    assert_eq!(one("https://localhost/path?x"), "https://localhost/path?x=&y=y&z=z");
    assert_eq!(one("https://localhost/path?x&"), "https://localhost/path?x=&y=y&z=z");
    assert_eq!(one("https://localhost/path?a=1&b=2"), "https://localhost/path?a=1&b=2&y=y&z=z");
    assert_eq!(one("https://localhost/path?r=1&t=2#tab"), "https://localhost/path?r=1&t=2&y=y&z=z#tab");
    assert_eq!(
        url_concat("https://localhost/path", [("y", "/y"), ("z", "z ü")]),
        "https://localhost/path?y=%2Fy&z=z+%C3%BC"
    );
    let none: [(&str, &str); 0] = [];
    assert_eq!(url_concat("https://localhost/path?r=1&t=2#f", none), "https://localhost/path?r=1&t=2#f");
    assert_eq!(
        url_concat("https://localhost/path?r=1&t=2", [("y", "1"), ("y", "2")]),
        "https://localhost/path?r=1&t=2&y=1&y=2"
    );
}

#[test]
fn hu35_timestamps_are_imf_fixdates() {
    use std::time::UNIX_EPOCH;
    let at = |seconds| format_timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(1_359_312_200), "Sun, 27 Jan 2013 18:43:20 GMT");
    assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(at(u64::from(u32::MAX) * 1000), "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_eq!(format_timestamp(UNIX_EPOCH - Duration::from_secs(1)), at(0));
    // qs_to_qsl: a multi-map is a list of pairs already.
    assert_eq!(pairs(&Arguments::parse("a=1&b=2&a=3")).len(), 3);
}

#[test]
fn hu36_hosts_are_split_from_their_ports() {
    let cases = [
        ("example.org:80", ("example.org", Some(80))),
        ("example.org", ("example.org", None)),
        ("example.org:", ("example.org", None)),
        ("[::1]:8080", ("[::1]", Some(8080))),
        ("[::1]", ("[::1]", None)),
        ("::1", ("::1", None)),
        ("a:99999", ("a:99999", None)),
        ("a:+1", ("a:+1", None)),
        ("", ("", None)),
    ];
    for (given, split) in cases {
        assert_eq!(split_host_and_port(given), split, "{given}");
    }
}

/// The cookies of one field, as a list of pairs with each name once, the last value counting.
fn cookies(field: &str) -> Vec<(String, String)> {
    let headers = Headers::from_pairs([("Cookie", field)]).unwrap();
    let cookies = Cookies::of(&headers);
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, _) in cookies.iter() {
        let name = str::from_utf8(name).unwrap();
        let latin1 = cookies.get(name).unwrap();
        let value = str::from_utf8(&latin1)
            .map_or_else(|_| latin1.iter().map(|&it| char::from(it)).collect(), str::to_owned);
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), value));
    }
    all
}

fn expect(field: &str, expected: &[(&str, &str)]) {
    let mut expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let mut found = cookies(field);
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{field}");
}

#[test]
fn hu37_cookies_of_pythons_own_tests() {
    expect("chips=ahoy; vienna=finger", &[("chips", "ahoy"), ("vienna", "finger")]);
    expect(
        "keebler=\"E=mc2; L=\\\"Loves\\\"; fudge=\\012;\"",
        &[("keebler", "\"E=mc2"), ("L", "\\\"Loves\\\""), ("fudge", "\\012"), ("", "\"")],
    );
    expect("keebler=E=mc2", &[("keebler", "E=mc2")]);
    expect("key:term=value:term", &[("key:term", "value:term")]);
    expect("a=b; c=[; d=r; f=h", &[("a", "b"), ("c", "["), ("d", "r"), ("f", "h")]);
}

#[test]
fn hu37_cookies_that_browsers_send_though_they_should_not() {
    expect("a=b; Domain=example.com", &[("a", "b"), ("Domain", "example.com")]);
    expect("a=b; h=i; a=c", &[("a", "c"), ("h", "i")]);
    expect(
        "abc=def; unnamed; django_language=en",
        &[("", "unnamed"), ("abc", "def"), ("django_language", "en")],
    );
    expect("a=b; \"; c=d", &[("a", "b"), ("", "\""), ("c", "d")]);
    expect("a b c=d e = f; gh=i", &[("a b c", "d e = f"), ("gh", "i")]);
    expect("a   b,c<>@:/[]?{}=d  \"  =e,f g", &[("a   b,c<>@:/[]?{}", "d  \"  =e,f g")]);
    expect("saint=André Bessette", &[("saint", "André Bessette")]);
    expect("  =  b  ;  ;  =  ;   c  =  ;  ", &[("", "b"), ("c", "")]);
}

#[test]
fn hu37_quotes_and_escapes_are_undone() {
    let cases = [
        (r#"a="b=\"""#, r#"b=""#),
        (r#"a="b=\\""#, r"b=\"),
        (r#"a="b=\=""#, "b=="),
        (r#"a="b=\n""#, "b=n"),
        (r#"a="b=\042""#, r#"b=""#),
        (r#"a="b=\134""#, r"b=\"),
        (r#"a="b=\377""#, "b=\u{ff}"),
        (r#"a="b=\400""#, "b=400"),
        (r#"a="b=\42""#, "b=42"),
        (r#"a="b=\\042""#, r"b=\042"),
        (r#"a="b=\\134""#, r"b=\134"),
        (r#"a="b=\\\"""#, r#"b=\""#),
        (r#"a="b=\\\042""#, r#"b=\""#),
        (r#"a="b=\134\"""#, r#"b=\""#),
        (r#"a="b=\134\042""#, r#"b=\""#),
        (r#"a="""#, ""),
        (r#"a=""#, "\""),
    ];
    for (field, value) in cases {
        expect(field, &[("a", value)]);
    }
    let large = format!("a=\"{}\"", "\\042".repeat(100_000));
    expect(&large, &[("a", &"\"".repeat(100_000))]);
}
