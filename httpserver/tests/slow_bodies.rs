//! Bodies that come slowly where memory is scarce: they keep nobody from what they do not fill, and lose nothing of what has come.

mod support;

use std::time::Duration;

use httpserver::{Handler, HttpServer, Request};
use iostream::{MemoryBudget, buffered_bytes};
use support::budget::{KIB, MIB, held, length, post, stage};
use support::{Peer, Stage, answer, plain};

/// Peers that have announced so much each, have sent so much of it, and stay above the minimum rate from then on.
struct Slow {
    peers: Vec<Peer>,
}

impl Slow {
    fn begin<M: 'static, H: Handler<M>>(
        stage: &Stage,
        server: &HttpServer<H, M>,
        (count, announced, sent): (usize, usize, usize),
    ) -> Slow {
        let begin = |peer: Peer| {
            peer.send(post(announced));
            peer.send(vec![b'x'; sent]);
            stage.time.run_until_stalled();
            peer
        };
        Slow { peers: (0..count).map(|_| begin(stage.connect(server))).collect() }
    }

    fn pass(&self, stage: &Stage) {
        self.peers.iter().for_each(|peer| peer.send([b'x'; 125]));
        stage.time.advance(Duration::from_millis(500));
        assert!(buffered_bytes() <= MemoryBudget::current().hard);
    }

    /// What a peer is answered that sends all of its body beside them, and after how long.
    fn beside<M: 'static, H: Handler<M>>(
        &self,
        stage: &Stage,
        server: &HttpServer<H, M>,
        bytes: usize,
    ) -> (u16, Duration) {
        let peer = stage.connect_with(server, |peer| peer.send(post(bytes)));
        peer.send(vec![b'x'; bytes]);
        let began = stage.time.now();
        stage.time.run_until_stalled();
        let mut received = peer.received();
        while received.is_empty() {
            self.pass(stage);
            received = peer.received();
        }
        (answer(received).status, stage.time.now() - began)
    }

    /// Each has met one limit or another, and nothing is left of it.
    fn end(self, stage: &Stage) {
        self.peers.iter().for_each(|peer| peer.finish());
        stage.time.advance(Duration::from_secs(60));
        assert!(self.peers.iter().all(Peer::is_over));
        assert_eq!(buffered_bytes(), 0);
    }
}

/// Many that announce much, that announce all that one may, and small ones by the thousand.
const SLOW: [(usize, usize); 4] = [(12, 4 * MIB), (100, 4 * MIB), (12, 12 * MIB), (1000, 200 * KIB)];

#[test]
fn who_sends_all_of_its_body_is_served_within_moments_beside_any_number_that_have_room_and_hardly_send() {
    for ((count, announced), (soft, scarce)) in SLOW
        .into_iter()
        .flat_map(|slow| [(4 * MIB, 4 * MIB), (32 * MIB, 12 * MIB)].map(|marks| (slow, marks)))
    {
        let stage = stage(soft, 32 * MIB);
        let server = HttpServer::new(length).options(plain());
        let others = held(scarce);
        let slow = Slow::begin(&stage, &server, (count, announced, 4 * KIB));
        drop(others);
        (0..6).for_each(|_| slow.pass(&stage));
        for round in 0..20 {
            let (status, after) = slow.beside(&stage, &server, 5 * MIB);
            assert!(
                status == 200 && after <= Duration::from_secs(2),
                "{round} beside {count} of {announced}, {soft}: {status} after {after:?}"
            );
        }
        slow.end(&stage);
    }
}

#[test]
fn who_stops_shortly_before_its_end_keeps_what_it_has_sent_for_no_longer_than_others_wait() {
    for (count, announced) in [(6, 4 * MIB), (2, 12 * MIB), (120, 200 * KIB), (1000, 25 * KIB)] {
        let stage = stage(4 * MIB, 32 * MIB);
        let server = HttpServer::new(length).options(plain());
        let slow = Slow::begin(&stage, &server, (count, announced, announced - 20 * KIB));
        (0..6).for_each(|_| slow.pass(&stage));
        for round in 0..3 {
            let (status, after) = slow.beside(&stage, &server, 5 * MIB);
            assert!(
                status == 200 && after <= Duration::from_secs(10),
                "{round} beside {count} of {announced}: {status} after {after:?}"
            );
        }
        slow.end(&stage);
    }
}

/// Answers with the length of the body and with a sum that tells it from one whose pieces are in another order.
fn digest(body: &[u8]) -> String {
    let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", body.len())
}

#[test]
fn what_was_taken_back_of_a_slow_bodys_room_is_counted_once_and_the_body_is_whole_when_it_has_room_again() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for (bytes, head) in [(4 * MIB, post(4 * MIB)), (100 * KIB, post(100 * KIB)), (MIB, chunked.clone())] {
        let stage = stage(4 * MIB, 32 * MIB);
        let server = HttpServer::new(async |request: Request| digest(request.body())).options(plain());
        let body: Vec<u8> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
        let frame = |piece: &[u8]| match head == chunked {
            true => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
            false => piece.to_vec(),
        };
        let rest = held(27 * MIB);
        let peer = stage.connect_with(&server, |peer| peer.send(&head));
        let (first, second) = body.split_at(bytes / 2);
        for piece in first.chunks(8 * KIB) {
            peer.send(frame(piece));
            stage.time.run_until_stalled();
        }
        drop(rest);
        stage.time.run_until_stalled();
        let room = buffered_bytes();
        assert!(room >= bytes, "it has all that it needs");
        let others = held(27 * MIB - room);
        let more = room + 3 * MIB / 2;
        let waits = stage.connect_with(&server, |peer| peer.send(post(more)));
        waits.send(vec![b'x'; more]);
        let second: Vec<u8> = second.chunks(8 * KIB).flat_map(frame).collect();
        peer.send(&second[..1]); // a part of what a chunk begins with is waiting for more, too
        stage.time.advance(Duration::from_secs(3));
        let own = buffered_bytes() - others.get();
        assert!(
            own >= first.len() && own < first.len() + 200 * KIB,
            "{own} of {bytes} and what the other has begun with"
        );
        drop(others);
        stage.time.run_until_stalled();
        assert_eq!(answer(waits.received()).text(), digest(&vec![b'x'; more]));
        let own = buffered_bytes();
        assert!(own <= 2 * first.len() + 20 * KIB, "{own}: as much again where it is not known");
        peer.send(&second[1..]);
        if head == chunked {
            peer.send("0\r\n\r\n");
        }
        stage.time.run_until_stalled();
        assert_eq!(answer(peer.received()).text(), digest(&body));
        assert_eq!(buffered_bytes(), 0);
    }
}

#[test]
fn a_slow_body_keeps_its_room_while_nobody_waits_or_only_who_wants_most_of_what_there_is() {
    let stage = stage(MIB, 32 * MIB);
    let server = HttpServer::new(length).options(plain());
    let others = held(12 * MIB);
    let peer = stage.connect_with(&server, |peer| peer.send(post(MIB)));
    for second in 0..60 {
        peer.send([b'x'; KIB]);
        stage.time.advance(Duration::from_secs(1));
        if second % 20 == 10 {
            stage.connect_with(&server, |peer| peer.send(post(20 * MIB))).send([b'x'; KIB]);
        }
        assert!(buffered_bytes() - others.get() >= MIB, "{second}");
    }
    peer.send(vec![b'x'; MIB - 60 * KIB]);
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), MIB.to_string());
}
