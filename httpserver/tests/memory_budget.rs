//! The memory budget of a loop under HTTP: uploads, slow readers and both stay within it, small requests are served meanwhile, who
//! has to be turned away gets a 503, and afterwards all is as before.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use httpserver::{Exchange, Handler, HttpError, HttpMetrics, HttpOptions, HttpServer, Request, Response};
use iostream::{HeldBytes, MemoryBudget, buffered_bytes};
use support::budget::{KIB, MIB, held, length, post, stage};
use support::{Peer, Seeded, Stage, answer, plain};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What leaves less than half of what is kept for those who hold little.
fn held_until_exhausted(hard: usize) -> HeldBytes {
    held(hard - hard / 20)
}

/// Answers with the length of the body, and notes what is held while it works.
fn noting(seen: &Rc<Cell<usize>>) -> HttpServer<impl Handler<httpserver::Whole>, httpserver::Whole> {
    let seen = Rc::clone(seen);
    HttpServer::new(async move |request: Request| {
        ioloop::yield_now().await;
        seen.set(buffered_bytes());
        Response::text(request.body().len().to_string())
    })
}

/// Answers with so many pieces, each made when there was room for the one before.
fn pieces(
    count: usize,
    bytes: usize,
) -> HttpServer<impl Handler<httpserver::Streaming>, httpserver::Streaming> {
    HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        for _ in 0..count {
            response.write(vec![b'x'; bytes]).await?;
        }
        response.finish().await
    })
}

/// Lets the loop do what it can, and notes the most that is held meanwhile.
fn run(stage: &Stage, most: &Cell<usize>) {
    stage.time.run_until_stalled();
    most.set(most.get().max(buffered_bytes()));
}

#[test]
fn an_upload_that_is_echoed_to_a_peer_that_takes_nothing_holds_a_block_that_was_read_and_two_that_wait() {
    const BLOCK: usize = 64 * KIB;
    for segment in [1, 5, 15, 17, 31, 33, 40, 47, 49, 63, 64, 100].map(|kib| kib * KIB) {
        let stage = Stage::new();
        let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            while let Some(chunk) = exchange.body().chunk().await? {
                response.write(chunk).await?;
            }
            response.finish().await
        });
        let (peer, most) = (stage.connect(&server), Cell::new(0));
        peer.set_room(Some(0));
        peer.send(post(100 * segment));
        for _ in 0..100 {
            peer.send(vec![7; segment]);
            run(&stage, &most);
        }
        assert!(most.get() > 48 * KIB && most.get() <= 3 * BLOCK, "{} bytes of {segment}", most.get());
        peer.set_room(None);
        stage.time.run_until_stalled();
        assert_eq!((answer(peer.received()).body.len(), buffered_bytes()), (100 * segment, 0));
    }
}

#[test]
fn uploads_that_are_more_than_there_is_stay_within_the_budget_and_all_come_to_their_end_while_small_requests_are_served()
 {
    [4 * MIB, 16 * MIB].into_iter().for_each(uploads_come_to_their_end);
}

fn uploads_come_to_their_end(soft: usize) {
    const BYTES: usize = 256 * KIB;
    let stage = stage(soft, 16 * MIB);
    let budget = MemoryBudget::current();
    let server = HttpServer::new(length).options(plain());
    let (small, most) = (stage.connect(&server), Cell::new(0));
    let began = stage.time.now();
    let uploads: Vec<Peer> =
        (0..200).map(|_| stage.connect_with(&server, |peer| peer.send(post(BYTES)))).collect();
    for _ in 0..BYTES / KIB {
        uploads.iter().for_each(|peer| peer.send([b'x'; KIB]));
        run(&stage, &most);
        assert_eq!(answer(stage.exchange(&small, GET)).status, 200);
    }
    assert!(most.get() <= budget.hard && most.get() > budget.hard / 2, "{} bytes", most.get());
    // Whoever began had all that it needs, or had not begun: nobody waits for somebody who waits.
    stage.time.run_until_stalled();
    assert!(uploads.iter().all(|peer| answer(peer.received()).text() == BYTES.to_string()));
    assert_eq!(stage.time.now(), began);
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn uploads_of_unknown_length_are_taken_to_need_a_quarter_of_the_budget_and_come_to_their_end_too() {
    const BYTES: usize = 640 * KIB;
    let stage = stage(4 * MIB, 8 * MIB);
    let server = HttpServer::new(length).options(plain());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let most = Cell::new(0);
    let began = stage.time.now();
    let uploads: Vec<Peer> = (0..24).map(|_| stage.connect_with(&server, |peer| peer.send(head))).collect();
    for _ in 0..BYTES / (16 * KIB) {
        uploads.iter().for_each(|peer| peer.send([b"4000\r\n", &[b'x'; 16 * KIB][..], b"\r\n"].concat()));
        run(&stage, &most);
    }
    uploads.iter().for_each(|peer| peer.send("0\r\n\r\n"));
    run(&stage, &most);
    assert!(uploads.iter().all(|peer| answer(peer.received()).text() == BYTES.to_string()));
    assert!(most.get() <= 8 * MIB && most.get() > 4 * MIB, "{} bytes", most.get());
    assert_eq!((stage.time.now(), buffered_bytes()), (began, 0));
}

#[test]
fn a_body_that_has_hardly_begun_takes_eight_times_what_has_come_and_not_what_it_says_that_it_will_be() {
    let stage = stage(16 * MIB, 40 * MIB);
    let server = HttpServer::new(length).options(plain());
    let peer = stage.connect_with(&server, |peer| peer.send(post(10 * MIB)));
    for sent in 1..=40 {
        peer.send([b'x'; 20 * KIB]);
        stage.time.run_until_stalled();
        assert!(buffered_bytes() <= 8 * sent * 20 * KIB, "{} for {sent}", buffered_bytes());
    }
    assert!(buffered_bytes() >= 800 * KIB);
    let others = held(16 * MIB);
    for _ in 0..200 {
        peer.send([b'x'; 20 * KIB]);
    }
    stage.time.run_until_stalled();
    assert_eq!(buffered_bytes() - others.get(), 10 * MIB, "where memory is scarce it has all at once");
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!(buffered_bytes(), others.get());
}

#[test]
fn many_slow_readers_stay_within_the_budget_small_requests_are_served_meanwhile_and_who_reads_on_gets_all() {
    const READERS: usize = 200;
    let stage = stage(MIB, 8 * MIB);
    let (most, server) = (Cell::new(0), pieces(16, 8 * KIB));
    let small_server = HttpServer::new(length);
    let small = stage.connect(&small_server);
    let readers: Vec<Peer> = (0..READERS)
        .map(|_| {
            stage.connect_with(&server, |peer| {
                peer.set_room(Some(0));
                peer.send(GET);
            })
        })
        .collect();
    for _ in 0..READERS {
        run(&stage, &most);
        assert_eq!(answer(stage.exchange(&small, GET)).status, 200);
    }
    assert!(most.get() <= 8 * MIB && most.get() > 3 * MIB, "{} bytes", most.get());
    readers.iter().for_each(|peer| peer.set_room(None));
    for _ in 0..100 {
        run(&stage, &most);
    }
    assert!(most.get() <= 8 * MIB, "{} bytes", most.get());
    for reader in &readers {
        assert_eq!(answer(reader.received()).body.len(), 16 * 8 * KIB);
    }
    assert_eq!(buffered_bytes(), 0);
}

/// The most that is held for 40 who at first read nothing of a response of a mebibyte, and how many of them get it in the end. The others
/// are turned away, because there is no memory for them.
fn held_for_readers<M: 'static>(server: &HttpServer<impl Handler<M>, M>) -> (usize, usize) {
    let stage = stage(2 * MIB, 8 * MIB);
    let most = Cell::new(0);
    let connect = |_| {
        let peer = stage.connect_with(server, |peer| {
            peer.set_room(Some(0));
            peer.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        });
        run(&stage, &most);
        peer
    };
    let readers: Vec<Peer> = (0..40).map(connect).collect();
    readers.iter().for_each(|peer| peer.set_room(None));
    run(&stage, &most);
    let answers = readers.iter().map(|reader| answer(reader.received()));
    let served =
        answers.filter(|it| it.status != 503).inspect(|it| assert!(it.body.len() >= MIB, "{}", it.head));
    let served = served.count();
    assert_eq!(buffered_bytes(), 0);
    (most.get(), served)
}

#[test]
fn whole_responses_count_while_they_wait_unless_others_hold_them_too() {
    let responding = |body: Rc<dyn Fn() -> Bytes>| {
        HttpServer::new(move |_: Request| {
            let response = Response::bytes(body());
            async { response }
        })
    };
    let own = Rc::new(|| vec![b'x'; MIB].into());
    let (most, served) = held_for_readers(&responding(own));
    assert!(most > 7 * MIB && most <= 9 * MIB && served == 40, "{most} bytes, {served} served");
    let shared = Bytes::from(vec![b'x'; MIB]);
    let (most, served) = held_for_readers(&responding(Rc::new(move || shared.clone())));
    assert!(most < MIB && served == 40, "{most} bytes, {served} served");
    let classic = HttpServer::new(|exchange: &mut Exchange<'_>| {
        let body = "x".repeat(MIB);
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {MIB}\r\n\r\n{body}"));
        exchange.finish();
    });
    let (most, served) = held_for_readers(&classic);
    assert!(most > 7 * MIB && most <= 9 * MIB && served == 40, "{most} bytes, {served} served");
}

#[cfg(feature = "gzip")]
#[test]
fn what_is_still_to_be_compressed_counts_too() {
    let noise = |_: Request| {
        let mut seeded = Seeded(4711);
        let text: Vec<u8> = (0..MIB + MIB / 2).map(|_| b' ' + seeded.below(95) as u8).collect();
        async { Response::text(text) }
    };
    let server =
        HttpServer::new(noise).options(plain().compress_response(httpserver::Compression::new().level(1)));
    let (most, served) = held_for_readers(&server);
    assert!(most <= 9 * MIB + MIB / 2 && served <= 6, "{most} bytes, {served} served");
}

#[test]
fn two_thousand_that_have_begun_and_answer_all_at_once_wait_for_memory_before_they_write() {
    let stage = stage(2 * MIB, 4 * MIB);
    let most = Cell::new(0);
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.flush().await?;
        ioloop::sleep(Duration::from_secs(1)).await;
        for _ in 0..4 {
            response.write(vec![b'x'; 8 * KIB]).await?;
        }
        response.finish().await
    });
    let readers: Vec<Peer> = (0..2000).map(|_| stage.connect_with(&server, |peer| peer.send(GET))).collect();
    readers.iter().for_each(|reader| reader.set_room(Some(0)));
    stage.time.advance(Duration::from_secs(1));
    run(&stage, &most);
    assert!(most.get() <= 4 * MIB && most.get() > 3 * MIB, "{} bytes", most.get());
    readers.iter().for_each(|reader| reader.set_room(None));
    run(&stage, &most);
    assert!(most.get() <= 4 * MIB, "{} bytes", most.get());
    assert!(readers.iter().all(|reader| answer(reader.received()).body.len() == 32 * KIB));
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn uploads_and_slow_readers_together_stay_within_the_budget_and_leave_nothing_behind() {
    let stage = stage(2 * MIB, 8 * MIB);
    let budget = MemoryBudget::current();
    let most = Cell::new(0);
    let (uploads, readers) = (HttpServer::new(length), pieces(1000, 8 * KIB));
    let small_server = HttpServer::new(length);
    let small = stage.connect(&small_server);
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(stage.connect_with(&uploads, |peer| peer.send(post(MIB))));
        peers.push(stage.connect_with(&readers, |peer| {
            peer.set_room(Some(0));
            peer.send(GET);
        }));
    }
    for round in 0..100 {
        peers.iter().step_by(2).for_each(|peer| peer.send([b'x'; 2 * KIB]));
        run(&stage, &most);
        assert_eq!(answer(stage.exchange(&small, GET)).status, 200, "round {round}");
    }
    assert!(most.get() <= budget.hard && most.get() > budget.hard / 2, "{} bytes", most.get());
    stage.time.advance(Duration::from_secs(200));
    assert!(peers.iter().all(Peer::is_over), "each has met one limit or another");
    assert_eq!(buffered_bytes(), 0);
    assert_eq!(answer(stage.exchange(&stage.connect(&small_server), GET)).status, 200);
}

#[test]
fn when_half_of_what_is_kept_for_heads_is_gone_requests_get_503_and_close_counted_and_then_are_served_again()
{
    let stage = stage(MIB, 2 * MIB);
    let called = Rc::new(Cell::new(0));
    let count = Rc::clone(&called);
    let metrics = HttpMetrics::new();
    let server = HttpServer::new(async move |_: Request| {
        count.set(count.get() + 1);
        "served"
    })
    .options(HttpOptions::new().metrics(metrics.clone()));
    let kept_alive = stage.connect(&server);
    assert_eq!(answer(stage.exchange(&kept_alive, GET)).text(), "served");
    let others = held_until_exhausted(2 * MIB);
    for peer in [kept_alive, stage.connect(&server)] {
        let refused = answer(stage.exchange(&peer, GET));
        assert_eq!((refused.status, refused.closes()), (503, true));
        peer.finish();
        stage.time.run_until_stalled();
        assert!(peer.is_over());
    }
    assert_eq!(called.get(), 1);
    let text = metrics.to_prometheus();
    let line = r#"http_server_errors_total{fault="server",reason="over_memory_budget"} 2"#;
    assert!(text.lines().any(|it| it == line), "{text}");
    assert_eq!(buffered_bytes(), others.get());
    drop(others);
    assert_eq!(answer(stage.ask(&server, GET)).text(), "served");
}

#[test]
fn a_body_for_which_there_is_no_memory_in_time_is_a_503_and_not_its_peers_fault() {
    let stage = stage(MIB, 2 * MIB);
    let server = HttpServer::new(length).options(plain().body_timeout(Duration::from_secs(5)));
    let others = held(MIB);
    let peer = stage.connect(&server);
    peer.send(post(900 * KIB));
    for _ in 0..900 {
        peer.send([b'x'; KIB]);
        stage.time.run_until_stalled();
    }
    assert!(peer.received().is_empty());
    assert!(buffered_bytes() <= 2 * MIB);
    stage.time.advance(Duration::from_secs(12));
    let refused = answer(peer.received());
    assert_eq!((refused.status, refused.closes()), (503, true));
    drop(others);
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn who_has_waited_for_memory_for_too_long_is_told_so_also_while_others_who_want_more_come() {
    let stage = stage(MIB, 2 * MIB);
    let server = HttpServer::new(length).options(plain());
    let _others = held(MIB);
    let begin = |bytes| {
        let peer = stage.connect(&server);
        peer.send(post(bytes));
        peer.send([b'x'; KIB]);
        stage.time.run_until_stalled();
        peer
    };
    let first = begin(900 * KIB);
    let _later = [(); 3].map(|()| {
        stage.time.advance(Duration::from_secs(4));
        begin(1000 * KIB)
    });
    assert_eq!(answer(first.received()).status, 503);
}

#[test]
fn a_handler_that_waits_for_memory_for_a_body_is_not_late() {
    let stage = stage(MIB, 2 * MIB);
    let server = HttpServer::new(length).options(plain().handler_timeout(Duration::from_secs(5)));
    let others = held(MIB);
    let peer = stage.connect(&server);
    peer.send(post(900 * KIB));
    peer.send([b'x'; KIB]);
    stage.time.run_until_stalled();
    stage.time.advance(Duration::from_secs(9));
    assert_eq!(peer.received(), b"");
    drop(others);
    stage.time.run_until_stalled();
    peer.send(vec![b'x'; 899 * KIB]);
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), (900 * KIB).to_string());
}

#[test]
fn a_head_for_which_there_is_no_memory_in_time_ends_its_connection_and_is_not_its_peers_fault() {
    let stage = stage(MIB, 2 * MIB);
    MemoryBudget::current().patience(Duration::from_secs(20)).install(); // longer than a head may take
    let metrics = HttpMetrics::new();
    let server = HttpServer::new(length).options(plain().metrics(metrics.clone()));
    let _others = held_until_exhausted(2 * MIB);
    let peer = stage.connect(&server);
    peer.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40 * KIB)));
    stage.time.advance(Duration::from_secs(13));
    assert!(peer.received().is_empty() && peer.is_over());
    let text = metrics.to_prometheus();
    assert!(text.contains(r#"{fault="server",reason="over_memory_budget"} 1"#), "{text}");
}

#[test]
fn a_thousand_that_are_turned_away_and_do_not_read_it_do_not_pass_the_hard_mark() {
    let stage = stage(MIB, 2 * MIB);
    let server = HttpServer::new(length);
    let _others = held_until_exhausted(2 * MIB);
    let peers: Vec<Peer> = (0..1000)
        .map(|_| {
            let peer = stage.connect_with(&server, |peer| {
                peer.set_room(Some(0));
                peer.send(GET);
            });
            assert!(buffered_bytes() <= 2 * MIB, "{}", buffered_bytes());
            peer
        })
        .collect();
    assert!(buffered_bytes() > 2 * MIB - 8 * KIB, "{}", buffered_bytes());
    stage.time.advance(Duration::from_secs(40));
    assert!(peers.iter().all(Peer::is_over));
}

#[test]
fn what_is_gathered_and_kept_of_a_request_counts_as_long_as_it_lasts() {
    let stage = stage(8 * MIB, 16 * MIB);
    let seen = Rc::new(Cell::new(0));
    let server = noting(&seen);
    let peer = stage.connect(&server);
    for bytes in [300 * KIB, 30 * KIB, 3 * MIB] {
        peer.send(post(bytes));
        for _ in 0..bytes / KIB {
            peer.send([b'x'; KIB]);
            stage.time.run_until_stalled();
        }
        assert_eq!(answer(peer.received()).text(), bytes.to_string());
        assert!((bytes..=2 * bytes + 64 * KIB).contains(&seen.get()), "{} for {bytes}", seen.get());
        assert_eq!(buffered_bytes(), 0);
    }
    stage.exchange(&peer, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(50 * KIB)));
    assert!(seen.get() >= 50 * KIB, "a large head counts: {}", seen.get());
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn a_body_of_unknown_length_counts_by_its_length_once_it_is_there() {
    let stage = stage(256 * MIB, 512 * MIB);
    let seen = Rc::new(Cell::new(0));
    let server = noting(&seen);
    let others = held(256 * MIB);
    let peer = stage.connect(&server);
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        peer.send([b"4000\r\n", &[b'x'; 16 * KIB][..], b"\r\n"].concat());
        stage.time.run_until_stalled();
    }
    peer.send("0\r\n\r\n");
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), (320 * KIB).to_string());
    assert!(seen.get() - others.get() <= 400 * KIB, "{} bytes", seen.get() - others.get());
}

#[test]
fn a_body_for_which_there_was_no_memory_in_time_is_there_whole_for_who_asks_again() {
    let stage = stage(MIB, 2 * MIB);
    let others = Rc::new(Cell::new(Some(held(MIB))));
    let server = {
        let others = Rc::clone(&others);
        HttpServer::new(async move |exchange: &mut Exchange<'_>| {
            assert!(matches!(exchange.read_body().await, Err(HttpError::OverBudget)));
            drop(others.take());
            let sum: usize = exchange.read_body().await?.iter().map(|byte| usize::from(*byte)).sum();
            exchange.send(Response::text(sum.to_string())).await
        })
    };
    let peer = stage.connect(&server);
    peer.send(post(900 * KIB));
    for byte in 0..900 {
        peer.send([(1 + byte % 7) as u8; KIB]);
        stage.time.run_until_stalled();
    }
    stage.time.advance(Duration::from_secs(12));
    let sum: usize = (0..900).map(|byte| (1 + byte % 7) * KIB).sum();
    assert_eq!(answer(peer.received()).text(), sum.to_string());
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn a_part_of_a_form_is_gathered_within_the_budget() {
    let stage = stage(MIB, 2 * MIB);
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut parts = exchange.multipart()?;
        let mut all = 0;
        while let Some(mut part) = parts.next_part().await? {
            all += part.bytes(u64::MAX).await?.len();
        }
        exchange.send(Response::text(all.to_string())).await
    });
    let part = [
        b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n".to_vec(),
        vec![b'x'; 600 * KIB],
        b"\r\n".to_vec(),
    ]
    .concat();
    let form = [part.clone(), part, b"--x--\r\n".to_vec()].concat();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let peer = stage.connect(&server);
    peer.send(&head);
    for bytes in form.chunks(8 * KIB) {
        peer.send(bytes);
        stage.time.run_until_stalled();
        assert!(buffered_bytes() <= MIB + 300 * KIB, "{}", buffered_bytes());
    }
    assert_eq!(
        answer(peer.received()).text(),
        (1200 * KIB).to_string(),
        "the first is given back before the second"
    );
    let _others = held(1300 * KIB);
    peer.send(&head);
    form.chunks(8 * KIB).for_each(|bytes| {
        peer.send(bytes);
        stage.time.run_until_stalled();
        assert!(buffered_bytes() <= 2 * MIB);
    });
    stage.time.advance(Duration::from_secs(12));
    assert_eq!(answer(peer.received()).status, 503);
}

#[cfg(feature = "gzip")]
#[test]
fn who_asks_for_gzip_where_memory_is_scarce_gets_the_body_as_it_is() {
    let stage = stage(MIB, 2 * MIB);
    let text = "waterspout ".repeat(20_000);
    let (options, body) = (plain().compress_response(httpserver::Compression::new()), text.clone());
    let server = HttpServer::new(async move |_: Request| Response::text(body.clone())).options(options);
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    let encoded = answer(stage.ask(&server, get));
    assert_eq!(encoded.header("content-encoding"), Some("gzip"));
    let _others = held(2 * MIB - 2 * MIB / 8 - 300 * KIB);
    let plain = answer(stage.ask(&server, get));
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(plain.text(), text);
}

#[cfg(feature = "gzip")]
#[test]
fn decoders_count_and_who_would_be_one_too_many_is_turned_away() {
    for hard in [MIB / 2, MIB, 2 * MIB] {
        let stage = stage(hard / 2, hard);
        let server = HttpServer::new(length).options(plain().decompress_request());
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n";
        let peers: Vec<_> = (0..40).map(|_| stage.connect_with(&server, |peer| peer.send(head))).collect();
        stage.time.run_until_stalled();
        assert!(buffered_bytes() <= hard, "{}", buffered_bytes());
        let served = peers.iter().filter(|peer| peer.received().is_empty()).count();
        assert!(served <= hard / (112 * KIB) && served + 2 >= hard / (112 * KIB), "{served} of {hard}");
    }
}

#[test]
fn sixty_four_echoed_uploads_that_come_at_their_own_pace_are_all_served_on_a_budget_for_eight() {
    const PIECE: usize = 256 * KIB;
    let stage = stage(16 * MIB, 32 * MIB);
    let server =
        HttpServer::new(async |request: Request| Response::bytes(request.body().clone())).options(plain());
    let uploads: Vec<Peer> =
        (0..64).map(|_| stage.connect_with(&server, |peer| peer.send(post(4 * MIB)))).collect();
    let most = Cell::new(0);
    for _ in 0..4 * MIB / PIECE {
        for peer in &uploads {
            peer.send(vec![b'x'; PIECE]);
            run(&stage, &most);
        }
        stage.time.advance(Duration::from_millis(50));
    }
    stage.time.advance(Duration::from_secs(1));
    assert!(uploads.iter().all(|peer| answer(peer.received()).body.len() == 4 * MIB));
    assert!(most.get() <= 32 * MIB && most.get() > 24 * MIB, "{} bytes", most.get());
    assert_eq!(buffered_bytes(), 0);
}

#[test]
fn a_body_that_fits_is_served_however_it_comes() {
    for budget in [8 * MIB, 32 * MIB] {
        let stage = stage(budget / 2, budget);
        let server = HttpServer::new(length).options(plain());
        let bytes = budget / 8 * 7 - 200 * KIB;
        for segment in [3, 16, 17, 50, 100, 300].map(|kib| kib * KIB) {
            let peer = stage.connect_with(&server, |peer| peer.send(post(bytes)));
            let most = Cell::new(0);
            for piece in vec![b'x'; bytes].chunks(segment) {
                peer.send(piece);
                run(&stage, &most);
            }
            let answered = answer(peer.received());
            assert_eq!(
                (answered.status, answered.text()),
                (200, &*bytes.to_string()),
                "{budget} in pieces of {segment}"
            );
            assert!(most.get() <= budget, "{}", most.get());
        }
        assert_eq!(buffered_bytes(), 0);
    }
}

#[test]
fn a_body_of_unknown_length_that_fits_is_served_too() {
    for (soft, hard) in [(16 * MIB, 32 * MIB), (64 * MIB, 128 * MIB), (96 * MIB, 96 * MIB)] {
        let stage = stage(soft, hard);
        let server = HttpServer::new(length).options(plain().max_body_size(hard as u64));
        let bytes = hard / 8 * 7 - 200 * KIB;
        let peer = stage.connect_with(&server, |peer| peer.send(CHUNKED));
        let (most, chunk) = (Cell::new(0), [b"20000\r\n", &[b'x'; 128 * KIB][..], b"\r\n"].concat());
        for _ in 0..bytes / (128 * KIB) {
            peer.send(&chunk);
            run(&stage, &most);
        }
        peer.send("0\r\n\r\n");
        stage.time.run_until_stalled();
        let answered = answer(peer.received());
        let whole = bytes / (128 * KIB) * (128 * KIB);
        assert_eq!((answered.status, answered.text()), (200, &*whole.to_string()), "{hard}");
        assert!(most.get() <= hard, "{}", most.get());
        assert_eq!(buffered_bytes(), 0);
    }
}

#[test]
fn a_body_that_can_never_fit_is_refused_at_once() {
    let stage = stage(16 * MIB, 32 * MIB);
    let server = HttpServer::new(length).options(plain());
    for bytes in [28 * MIB + KIB, 90 * MIB] {
        let head = post(bytes).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let refused = answer(stage.ask(&server, head));
        assert_eq!((refused.status, refused.closes()), (413, true));
    }
    let peer = stage.connect_with(&server, |peer| peer.send(CHUNKED));
    let began = stage.time.now();
    for _ in 0..29 {
        peer.send([b"100000\r\n", &[b'x'; MIB][..], b"\r\n"].concat());
        stage.time.run_until_stalled();
    }
    assert_eq!(answer(peer.received()).status, 413);
    assert_eq!((stage.time.now(), buffered_bytes()), (began, 0));
}
