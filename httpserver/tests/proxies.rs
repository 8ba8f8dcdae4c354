//! What a trusted proxy says of its client, and what anybody else says.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use httpserver::{
    ConnectionContext, HttpOptions, HttpServer, ListenOptions, PeerAddr, ProxyHeader, ProxyHeaders,
    ProxyProtocol, Request, TrustedProxies,
};
use iostream::IoStream;
use iostream::testing::scripted;
use support::{Running, Stage, answer, answers, plain};

async fn tell(request: Request) -> String {
    format!("{} {}", request.protocol(), request.remote_ip().map_or("none".to_owned(), |ip| ip.to_string()))
}

/// What a server that trusts `proxies` takes a request with these fields for; the peer is 192.0.2.1.
fn seen(proxies: &TrustedProxies, fields: &str) -> String {
    let stage = Stage::new();
    let server = HttpServer::new(tell).options(plain().xheaders(proxies.clone()));
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields.replace('\n', "\r\n"));
    answer(stage.ask(&server, request)).text().to_owned()
}

fn ip(proxies: &TrustedProxies, fields: &str) -> String {
    seen(proxies, fields).split_once(' ').unwrap().1.to_owned()
}

fn peer() -> TrustedProxies {
    TrustedProxies::networks(["192.0.2.0/24"]).unwrap()
}

#[test]
fn hs8_the_nearest_untrusted_address_is_the_client() {
    let proxies = peer();
    assert_eq!(ip(&proxies, ""), "192.0.2.1");
    assert_eq!(ip(&proxies, "X-Real-IP: 4.4.4.4\n"), "4.4.4.4");
    assert_eq!(ip(&proxies, "X-Forwarded-For: 127.0.0.1, 4.4.4.4\n"), "4.4.4.4");
    assert_eq!(ip(&proxies, "X-Real-IP: 2620:0:1cfe:face:b00c::3\n"), "2620:0:1cfe:face:b00c::3");
    assert_eq!(ip(&proxies, "X-Forwarded-For: ::1, 2620:0:1cfe:face:b00c::3\n"), "2620:0:1cfe:face:b00c::3");
    assert_eq!(
        ip(&proxies, "X-Real-IP: 4.4.4.4\nX-Forwarded-For: 5.5.5.5\n"),
        "4.4.4.4",
        "the first goes before"
    );
    for bad in [
        "X-Real-IP: 4.4.4.4<script>",
        "X-Forwarded-For: 4.4.4.4, 5.5.5.5<script>",
        "X-Real-IP: www.google.com",
    ] {
        assert_eq!(ip(&proxies, &format!("{bad}\n")), "192.0.2.1", "{bad}");
    }
}

#[test]
fn hs8_trusted_proxies_are_passed_over() {
    let proxies = TrustedProxies::networks(["192.0.2.1", "5.5.5.5", "10.0.0.0/8"]).unwrap();
    assert_eq!(ip(&proxies, "X-Forwarded-For: 127.0.0.1, 4.4.4.4, 5.5.5.5\n"), "4.4.4.4");
    assert_eq!(
        ip(&proxies, "X-Forwarded-For: 127.0.0.1, 4.4.4.4\nX-Forwarded-For: 10.1.2.3, 5.5.5.5\n"),
        "4.4.4.4"
    );
    assert_eq!(ip(&proxies, "X-Forwarded-For: 10.1.2.3, 5.5.5.5\n"), "10.1.2.3", "all trusted: the leftmost");
    assert_eq!(ip(&proxies, "X-Forwarded-For: unknown, 5.5.5.5\n"), "192.0.2.1", "nobody knows");
    assert_eq!(
        ip(&proxies, "X-Forwarded-For: junk, 4.4.4.4, 5.5.5.5\n"),
        "4.4.4.4",
        "what clients wrote is not looked at"
    );
}

#[test]
fn hs9_the_nearest_proxy_says_the_protocol() {
    let proxies = peer();
    let scheme = |fields: &str| seen(&proxies, fields).split_once(' ').unwrap().0.to_owned();
    assert_eq!(scheme(""), "http");
    assert_eq!(scheme("X-Scheme: https\n"), "https");
    assert_eq!(scheme("X-Forwarded-Proto: https\n"), "https");
    assert_eq!(scheme("X-Scheme: http\nX-Forwarded-Proto: https\n"), "http");
    assert_eq!(scheme("X-Forwarded-Proto: https , http\n"), "http");
    assert_eq!(scheme("X-Forwarded-Proto: http,https\n"), "https");
    assert_eq!(scheme("X-Forwarded-Proto: http\nX-Forwarded-Proto: https\n"), "https");
    for bad in ["unknown", "HTTPS", "https,", ""] {
        assert_eq!(scheme(&format!("X-Forwarded-Proto: {bad}\n")), "http", "{bad}");
    }
}

#[test]
fn hs10_what_was_said_of_one_request_is_not_said_of_the_next() {
    let stage = Stage::new();
    let server = HttpServer::new(tell).options(plain().xheaders(peer()));
    let first = "GET / HTTP/1.1\r\nHost: a\r\nX-Real-Ip: 4.4.4.4\r\nX-Scheme: https\r\n\r\n";
    let back = answers(stage.ask(&server, format!("{first}GET / HTTP/1.1\r\nHost: a\r\n\r\n")));
    assert_eq!((back[0].text(), back[1].text()), ("https 4.4.4.4", "http 192.0.2.1"));
}

#[test]
fn hs11_nobody_is_believed_who_was_not_named() {
    let said = "X-Real-Ip: 4.4.4.4\nX-Scheme: https\n";
    let others = TrustedProxies::networks(["192.0.3.0/24"]).unwrap();
    assert_eq!(seen(&others, said), "http 192.0.2.1");
    assert_eq!(seen(&others.clone().unix_sockets(), said), "http 192.0.2.1");
    assert_eq!(seen(&others.any_peer(), said), "https 4.4.4.4");
    let stage = Stage::new();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Real-Ip: 4.4.4.4\r\n\r\n";
    assert_eq!(answer(stage.ask(&HttpServer::new(tell).options(plain()), request)).text(), "http 192.0.2.1");
    for bad in ["127.1", "10.0.0.1/8", "all"] {
        assert!(TrustedProxies::networks([bad]).unwrap_err().to_string().contains(bad));
    }
}

#[test]
fn hs11_ports_and_brackets_are_understood() {
    let proxies = peer();
    assert_eq!(ip(&proxies, "X-Forwarded-For: 1.1.1.1:80\n"), "1.1.1.1");
    assert_eq!(ip(&proxies, "X-Forwarded-For: [::1]\n"), "::1");
    assert_eq!(ip(&proxies, "X-Real-Ip: [2001:db8::1]:80\n"), "2001:db8::1");
    assert_eq!(ip(&proxies, "X-Real-Ip: [::ffff:4.4.4.4]:80\n"), "4.4.4.4", "one client, one address");
    assert_eq!(ip(&proxies, "X-Real-Ip: 127.1\n"), "192.0.2.1");
    assert_eq!(
        ip(&proxies, "X-Real-Ip: 4.4.4.4\nX-Real-Ip: 5.5.5.5\n"),
        "192.0.2.1",
        "two of them: whose word?"
    );
}

#[test]
fn hs11_of_several_kinds_of_fields_one_is_read() {
    let fields = "X-Real-Ip: 1.1.1.1\nX-Forwarded-For: 2.2.2.2\nX-Scheme: http\nX-Forwarded-Proto: https\n\
                  Forwarded: for=3.3.3.3, for=\"[2001:db8::1]:4711\";proto=http\n";
    assert_eq!(seen(&peer(), fields), "http 1.1.1.1");
    assert_eq!(seen(&peer().headers(ProxyHeaders::XForwarded), fields), "https 2.2.2.2");
    assert_eq!(seen(&peer().headers(ProxyHeaders::Forwarded), fields), "http 2001:db8::1");
}

#[test]
fn hs11_forwarded_is_walked_like_the_others() {
    let proxies =
        TrustedProxies::networks(["192.0.2.1", "10.0.0.0/8"]).unwrap().headers(ProxyHeaders::Forwarded);
    assert_eq!(
        seen(
            &proxies,
            "Forwarded: for=9.9.9.9, for=4.4.4.4;proto=http\nForwarded: For=10.0.0.1;Proto=HTTPS\n"
        ),
        "https 4.4.4.4"
    );
    assert_eq!(ip(&proxies, "Forwarded: for=4.4.4.4, for=unknown\n"), "192.0.2.1");
    assert_eq!(ip(&proxies, "Forwarded: for=4.4.4.4, for=_hidden\n"), "192.0.2.1");
    assert_eq!(ip(&proxies, "Forwarded: for=4.4.4.4, by=1.1.1.1\n"), "192.0.2.1");
    assert_eq!(ip(&proxies, "Forwarded: for=4.4.4.4, for=\"10.0.0.1\n"), "192.0.2.1", "malformed");
}

#[test]
fn hs11_hops_bound_how_far_is_looked() {
    let one = TrustedProxies::networks(["192.0.2.1"]).unwrap();
    let all = one.clone().any_peer();
    let fields = "X-Forwarded-For: 3.3.3.3, 2.2.2.2, 192.0.2.1, 192.0.2.1\n";
    assert_eq!(ip(&all, fields), "2.2.2.2");
    assert_eq!(ip(&all.clone().hops(2), fields), "192.0.2.1");
    assert_eq!(ip(&all.hops(0), fields), "192.0.2.1");
}

#[test]
fn hs12_a_peer_on_a_unix_socket_has_no_address_until_a_proxy_names_one() {
    let ask = |proxies: TrustedProxies, fields: &str| {
        let stage = Stage::new();
        let (transport, script) = scripted();
        let stream = IoStream::new(transport).unwrap();
        let server = HttpServer::new(tell).options(plain().xheaders(proxies));
        script.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let context = ConnectionContext::new(PeerAddr::Unix(None));
        stage.time.spawn_detached(async move { server.serve_stream(stream, context).await });
        stage.time.run_until_stalled();
        answer(script.received()).text().to_owned()
    };
    let said = "X-Forwarded-For: 4.4.4.4\r\n";
    assert_eq!(ask(peer(), said), "http none");
    assert_eq!(ask(peer().unix_sockets(), said), "http 4.4.4.4");
    assert_eq!(ask(peer().unix_sockets(), ""), "http none");
}

/// What is seen of a request with `fields` on a connection whose proxy, 192.0.2.1, has sent `header` before it.
fn seen_behind(header: &[u8], proxies: Option<TrustedProxies>, fields: &str) -> String {
    let (header, _) = ProxyHeader::parse(header, 4096).unwrap().unwrap();
    let stage = Stage::new();
    let (transport, script) = scripted();
    let stream = IoStream::new(transport).unwrap();
    let options = proxies.into_iter().fold(plain(), HttpOptions::xheaders);
    let server = HttpServer::new(tell).options(options);
    script.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let peer = PeerAddr::Tcp("192.0.2.1:9".parse().unwrap());
    let context = ConnectionContext::new(peer).proxied(header);
    stage.time.spawn_detached(async move { server.serve_stream(stream, context).await });
    stage.time.run_until_stalled();
    answer(script.received()).text().to_owned()
}

#[test]
fn hs11_the_proxy_protocol_goes_first_and_fields_count_if_whom_it_names_may_write_them() {
    let header = b"PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\n";
    let said = "X-Forwarded-For: 4.4.4.4\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(seen_behind(header, None, said), "http 203.0.113.9");
    let balancer = TrustedProxies::networks(["192.0.2.0/24"]).unwrap();
    assert_eq!(
        seen_behind(header, Some(balancer.clone()), said),
        "http 203.0.113.9",
        "its client wrote them"
    );
    let both = TrustedProxies::networks(["192.0.2.0/24", "203.0.113.9"]).unwrap();
    assert_eq!(seen_behind(header, Some(both), said), "https 4.4.4.4");
    let unknown = b"PROXY UNKNOWN\r\n";
    assert_eq!(seen_behind(unknown, Some(balancer), said), "https 4.4.4.4");
}

#[test]
fn hu22_the_protocol_is_https_where_the_proxy_has_ended_tls() {
    let header = |client: u8| {
        let mut header =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xcb\0\x71\x09\xc6\x33\x64\x07\0\x01\0\x02".to_vec();
        header.extend([0x20, 0, 5, client, 0, 0, 0, 0]);
        header
    };
    assert_eq!(seen_behind(&header(1), None, ""), "https 203.0.113.9");
    assert_eq!(seen_behind(&header(0), None, ""), "http 203.0.113.9");
}

#[test]
fn a_request_in_the_segment_of_the_proxy_protocol_header_is_answered() {
    let running = Running::start_with(|| {
        let server = HttpServer::new(tell);
        let expecting = ListenOptions::new().proxy_protocol(ProxyProtocol::required());
        let addresses = server.with(expecting).listen(0).unwrap();
        (server, addresses)
    });
    let header = "PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\n";
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut client = TcpStream::connect(running.address()).unwrap();
    client.write_all(format!("{header}{request}").as_bytes()).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(answer(received).text(), "http 203.0.113.9");
}

#[test]
fn what_was_read_of_a_stream_before_it_is_served_belongs_to_its_requests() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for split in [1, request.len() - 1, request.len()] {
        let stage = Stage::new();
        let (transport, script) = scripted();
        let stream = IoStream::new(transport).unwrap();
        let server = HttpServer::new(tell).options(plain());
        script.send(format!("hello\n{}", &request[..split]));
        stage.time.spawn_detached(async move {
            stream.read_until(b"\n").await.unwrap();
            let peer = PeerAddr::Tcp("192.0.2.1:9".parse().unwrap());
            server.serve_stream(stream, ConnectionContext::new(peer)).await;
        });
        stage.time.run_until_stalled();
        script.send(&request[split..]);
        stage.time.run_until_stalled();
        assert_eq!(
            answer(script.received()).text(),
            "http 192.0.2.1",
            "the first {split} bytes were read before"
        );
    }
}
