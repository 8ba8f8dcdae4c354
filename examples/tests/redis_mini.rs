//! The small Redis on a virtual loop: what it answers, what it bounds, and what may happen in any order.

#[allow(dead_code, reason = "the program's main")]
#[path = "../redis_mini.rs"]
mod redis_mini;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::{VirtualLoop, for_each_seed};
use iostream::testing::{Faults, Pair, Script, scripted};
use iostream::{CloseReason, IoStream};
use redis_mini::{Redis, serve};

const SECOND: Duration = Duration::from_secs(1);

/// A client of `redis` over a wire with `faults`.
fn connect(redis: &Rc<Redis>, faults: Faults) -> IoStream {
    let pair = Pair::with_options(faults, Redis::limits());
    let served = serve(Rc::clone(redis), pair.right);
    IoLoop::current().spawn_detached(async move { drop(served.await) });
    pair.left
}

/// A client that is a script, and the stream that serves it.
fn connect_script(redis: &Rc<Redis>) -> (Script, IoStream) {
    let (transport, script) = scripted();
    let stream = IoStream::with_options(transport, Rc::new(Redis::limits())).expect("limits in range");
    let served = serve(Rc::clone(redis), stream.clone());
    IoLoop::current().spawn_detached(async move { drop(served.await) });
    (script, stream)
}

/// A command as clients send it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Lines of words, each as a command.
fn commands(lines: &str) -> Vec<u8> {
    lines.lines().flat_map(|line| command(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())).collect()
}

/// What a new server answers to all of `input`, and how it ends: true if it closes by itself.
fn answers(input: &[u8]) -> (String, bool) {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, stream) = connect_script(&Rc::default());
    script.send(input);
    test.run_until_stalled();
    let is_over = script.is_shut();
    script.finish();
    test.run_until_stalled();
    assert!(stream.is_closed());
    (String::from_utf8_lossy(&script.received()).into_owned(), is_over)
}

const DIALOGUE: &str = "PING\nPING hello\nECHO hello\nGET a\nSET a 1\nGET a\nINCR a\nINCR n\nEXISTS a a b\nTTL a\nTTL b\nEXPIRE a 100\n\
    TTL a\nEXPIRE b 100\nSET a 2\nTTL a\nSET a 3 NX\nSET b 3 nx px 1500\nTTL b\nSET b 3 EX 7 NX\nDEL a b c\nEXPIRE n 0\nEXISTS n\n\
    CONFIG GET save\nSUBSCRIBE one two\nPING\nPING you\nUNSUBSCRIBE\nUNSUBSCRIBE\nPUBLISH one x\nCOMMAND DOCS\nQUIT";
const ANSWERS: &str = "+PONG\r\n$5\r\nhello\r\n$5\r\nhello\r\n$-1\r\n+OK\r\n$1\r\n1\r\n:2\r\n:1\r\n:2\r\n:-1\r\n:-2\r\n:1\r\n:100\r\n:0\r\n\
    +OK\r\n:-1\r\n$-1\r\n+OK\r\n:2\r\n$-1\r\n:2\r\n:1\r\n:0\r\n*2\r\n$4\r\nsave\r\n$0\r\n\r\n\
    *3\r\n$9\r\nsubscribe\r\n$3\r\none\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$3\r\ntwo\r\n:2\r\n\
    *2\r\n$4\r\npong\r\n$0\r\n\r\n*2\r\n$4\r\npong\r\n$3\r\nyou\r\n\
    *3\r\n$11\r\nunsubscribe\r\n$3\r\none\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$3\r\ntwo\r\n:0\r\n\
    *3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n:0\r\n*0\r\n+OK\r\n";

#[test]
fn every_command_is_answered_in_redis_words() {
    assert_eq!(answers(&commands(DIALOGUE)), (ANSWERS.into(), true));
}

#[test]
fn a_command_may_be_typed_as_a_line() {
    assert_eq!(
        answers(b"set  k v \nGET k\r\n\r\n get nothing\r\n"),
        ("+OK\r\n$1\r\nv\r\n$-1\r\n".into(), false)
    );
}

#[test]
fn errors_read_as_those_of_redis_and_the_connection_goes_on() {
    for (line, error) in [
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("foo bar", "ERR unknown command 'foo', with args beginning with: 'bar' "),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 1 PX 1", "ERR syntax error"),
        ("SET k v EX soon", "ERR value is not an integer or out of range"),
        ("EXPIRE k soon", "ERR value is not an integer or out of range"),
        ("SET k v\nINCR k", "ERR value is not an integer or out of range"),
        ("SET k 9223372036854775807\nINCR k", "ERR increment or decrement would overflow"),
    ] {
        let (answer, is_over) = answers(&commands(&format!("{line}\nPING")));
        let answer = answer.strip_prefix("+OK\r\n").unwrap_or(&answer).to_owned();
        assert_eq!((answer, is_over), (format!("-{error}\r\n+PONG\r\n"), false), "{line}");
    }
    let (answer, _) = answers(&command(&[b"two\r\nlines"]));
    assert_eq!(answer, "-ERR unknown command 'two  lines', with args beginning with: \r\n");
    let (answer, _) = answers(&commands("SUBSCRIBE c\nGET k"));
    assert!(answer.contains("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"), "{answer}");
}

#[test]
fn what_breaks_the_protocol_is_said_and_ends_the_connection() {
    let long = "x".repeat(4096);
    for (input, error) in [
        ("*1025\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*1\r\n$1048577\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("say \"hello\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
    ] {
        let (answer, is_over) = answers(format!("PING\r\n{input}PING\r\n").as_bytes());
        assert_eq!(
            (answer, is_over),
            (format!("+PONG\r\n-ERR Protocol error: {error}\r\n"), true),
            "{input:?}"
        );
    }
}

#[test]
fn any_bytes_are_a_key_and_a_value_and_a_message() {
    let (key, value) = (&b"\0\r\n$5\r\n\xff"[..], &b"*1\r\n\xfe\0"[..]);
    let test = VirtualLoop::new();
    test.run(async {
        let redis = Rc::default();
        let (client, listener) = (connect(&redis, Faults::new()), connect(&redis, Faults::new()));
        drop(client.write([command(&[b"SET", key, value]), command(&[b"GET", key])].concat()));
        let expected = [b"+OK\r\n$6\r\n", value, b"\r\n"].concat();
        assert_eq!(client.read_bytes(expected.len()).await.unwrap(), expected);
        drop(listener.write(command(&[b"SUBSCRIBE", key])));
        listener.read_until(b":1\r\n").await.unwrap();
        drop(client.write(command(&[b"PUBLISH", key, value])));
        let expected = command(&[b"message", key, value]);
        assert_eq!(listener.read_bytes(expected.len()).await.unwrap(), expected);
    });
}

#[test]
fn pipelined_commands_may_be_split_anywhere() {
    let input = commands(DIALOGUE);
    for split in 1..input.len() {
        let test = VirtualLoop::new();
        test.make_current();
        let (script, _stream) = connect_script(&Rc::default());
        script.send(&input[..split]);
        test.run_until_stalled();
        script.send(&input[split..]);
        script.finish();
        test.run_until_stalled();
        assert_eq!(String::from_utf8(script.received()).unwrap(), ANSWERS, "split at {split}");
    }
}

#[test]
fn pipelined_commands_may_come_byte_by_byte_and_over_any_wire() {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, _stream) = connect_script(&Rc::default());
    script.send_in_segments(commands(DIALOGUE), 1);
    test.run_until_stalled();
    assert_eq!(String::from_utf8(script.received()).unwrap(), ANSWERS);
    for_each_seed(100, |test| {
        // Delays are left out: some answers tell the time.
        let faults = Faults::seeded((test.chance() * 1e9) as u64).delay(Duration::ZERO);
        let answer = test.run(async {
            let client = connect(&Rc::default(), faults);
            drop(client.write(commands(DIALOGUE)));
            client.read_until_close().await.unwrap()
        });
        assert_eq!(answer, ANSWERS);
    });
}

#[test]
fn sixteen_commands_that_arrive_together_cost_one_write() {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, _stream) = connect_script(&Rc::default());
    test.run_until_stalled();
    let before = script.calls();
    script.send(command(&[b"SET", b"k", b"v"]).repeat(16));
    test.run_until_stalled();
    assert_eq!(script.received(), b"+OK\r\n".repeat(16));
    assert_eq!((script.calls().reads - before.reads, script.calls().writes - before.writes), (1, 1));
}

#[test]
fn a_client_that_asks_for_much_and_reads_nothing_is_not_answered_ahead() {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, stream) = connect_script(&Rc::default());
    script.send(command(&[b"SET", b"k", &[b'x'; 1 << 20]]));
    test.run_until_stalled();
    assert_eq!(script.received(), b"+OK\r\n");
    script.set_room(Some(0));
    script.send(command(&[b"GET", b"k"]).repeat(1000));
    test.run_until_stalled();
    assert!(stream.pending() < 2 << 20, "{} bytes wait", stream.pending());
    script.set_room(None);
    test.run_until_stalled();
    assert_eq!(
        script.received().len(),
        1000 * ("$1048576\r\n".len() + (1 << 20) + 2),
        "all of them, once it reads"
    );
}

#[test]
fn a_subscriber_that_never_reads_is_given_up_and_the_others_hear_everything() {
    let test = VirtualLoop::new();
    test.make_current();
    let redis = Rc::default();
    let (slow, stream) = connect_script(&redis);
    let ((good, _), (publisher, _)) = (connect_script(&redis), connect_script(&redis));
    slow.send(b"SUBSCRIBE news\r\n");
    good.send(b"SUBSCRIBE news\r\n");
    test.run_until_stalled();
    drop(good.received());
    slow.set_room(Some(0));
    let message = command(&[b"PUBLISH", b"news", &[b'x'; 100_000]]);
    let mut counts = Vec::new();
    for _ in 0..20 {
        publisher.send(&message);
        test.run_until_stalled();
        counts.extend(publisher.received());
        assert!(stream.pending() <= (1 << 20) + 100_100, "{} bytes wait", stream.pending());
        assert!(good.received().len() > 100_000);
    }
    // Eleven are more than a mebibyte: the one that finds no room costs the connection.
    assert_eq!(counts, [b":2\r\n".repeat(11), b":1\r\n".repeat(9)].concat());
    assert!(stream.is_closed());
    assert!(matches!(stream.close_reason(), Some(CloseReason::WriteAbandoned)));
}

#[test]
fn nobody_listens_to_any_number_of_channels() {
    let names: Vec<String> = (0..1025).map(|number| format!("channel-{number}")).collect();
    let input: Vec<u8> = names.iter().flat_map(|name| command(&[b"SUBSCRIBE", name.as_bytes()])).collect();
    let (answer, is_over) = answers(&input);
    assert!(answer.ends_with(":1024\r\n-ERR too many channels\r\n") && !is_over);
}

/// Each PUBLISH says how many it has reached: exactly those messages arrive, and none behind the end of the subscription.
#[test]
fn whoever_unsubscribes_while_others_publish_gets_what_was_counted_and_nothing_later() {
    for_each_seed(100, |test| {
        let (seed, later) = ((test.chance() * 1e9) as u64, (test.chance() * 0.1));
        let (reached, heard) = test.run(async {
            let redis = Rc::default();
            let (publisher, listener) =
                (connect(&redis, Faults::seeded(seed)), connect(&redis, Faults::seeded(seed + 1)));
            drop(listener.write(command(&[b"SUBSCRIBE", b"c"])));
            assert!(listener.read_until(b":1\r\n").await.unwrap().ends_with(b":1\r\n"));
            let publishing = IoLoop::current().spawn(async move {
                drop(publisher.write(command(&[b"PUBLISH", b"c", b"m"]).repeat(100)));
                let mut reached = 0;
                for _ in 0..100 {
                    reached += usize::from(publisher.read_until(b"\r\n").await.unwrap() == ":1\r\n");
                }
                reached
            });
            ioloop::sleep(Duration::from_secs_f64(later)).await;
            drop(listener.write([command(&[b"UNSUBSCRIBE", b"c"]), command(&[b"PING"])].concat()));
            let all = listener.read_until(b"+PONG\r\n").await.unwrap();
            let reached = publishing.await.unwrap();
            drop(listener.shutdown_write().await);
            assert_eq!(listener.read_until_close().await.unwrap(), "", "nothing comes behind");
            let end = [&b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n+PONG\r\n"[..]].concat();
            let messages = all.strip_suffix(&end[..]).expect("the confirmation behind all messages").to_vec();
            let one = command(&[b"message", b"c", b"m"]);
            assert_eq!(messages, one.repeat(messages.len() / one.len()));
            (reached, messages.len() / one.len())
        });
        assert_eq!(reached, heard);
    });
}

#[test]
fn who_goes_without_unsubscribing_is_forgotten() {
    let test = VirtualLoop::new();
    test.make_current();
    let redis = Rc::default();
    let ((listener, _), (publisher, _)) = (connect_script(&redis), connect_script(&redis));
    listener.send(b"SUBSCRIBE c\r\n");
    test.run_until_stalled();
    publisher.send(b"PUBLISH c m\r\n");
    test.run_until_stalled();
    listener.finish();
    test.run_until_stalled();
    publisher.send(b"PUBLISH c m\r\n");
    test.run_until_stalled();
    assert_eq!(publisher.received(), b":1\r\n:0\r\n");
}

/// Asks one thing and gives the answer.
fn ask(test: &VirtualLoop, script: &Script, lines: &str) -> String {
    script.send(commands(lines));
    test.run_until_stalled();
    String::from_utf8(script.received()).unwrap()
}

#[test]
fn a_key_goes_when_its_time_has_come_and_not_before() {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, _stream) = connect_script(&Rc::default());
    assert_eq!(
        ask(&test, &script, "SET k v EX 10\nSET m v PX 1500\nSET e v\nEXPIRE e 3600"),
        "+OK\r\n+OK\r\n+OK\r\n:1\r\n"
    );
    test.advance(Duration::from_millis(1499));
    assert_eq!(ask(&test, &script, "EXISTS k m e\nTTL k"), ":3\r\n:9\r\n");
    test.advance(Duration::from_millis(1));
    assert_eq!(ask(&test, &script, "EXISTS m\nTTL k"), ":0\r\n:9\r\n");
    test.advance(Duration::from_millis(8499));
    assert_eq!(ask(&test, &script, "GET k"), "$1\r\nv\r\n");
    test.advance(Duration::from_millis(1));
    assert_eq!(ask(&test, &script, "GET k\nTTL k\nEXISTS e"), "$-1\r\n:-2\r\n:1\r\n");
    test.advance(3600 * SECOND);
    assert_eq!(ask(&test, &script, "EXISTS e"), ":0\r\n");
    assert_eq!(test.counters().timers, 0);
}

#[test]
fn an_expiry_is_called_off_by_what_replaces_it_and_kept_by_incr() {
    let test = VirtualLoop::new();
    test.make_current();
    let (script, _stream) = connect_script(&Rc::default());
    ask(&test, &script, &"SET k 1 EX 10\n".repeat(1000));
    assert_eq!(test.counters().timers, 1, "a key has one timer");
    ask(
        &test,
        &script,
        "SET a 1 EX 10\nSET a 2\nSET b 1 EX 10\nEXPIRE b 20\nSET c 1 EX 10\nDEL c\nSET c 2\nINCR k",
    );
    test.advance(10 * SECOND);
    assert_eq!(ask(&test, &script, "EXISTS a\nEXISTS b\nEXISTS c\nEXISTS k"), ":1\r\n:1\r\n:1\r\n:0\r\n");
    assert_eq!(test.counters().timers, 1);
    assert_eq!(ask(&test, &script, "EXPIRE a 9223372036854775807\nTTL a"), ":1\r\n:3155760000\r\n");
    test.advance(10 * SECOND);
    assert_eq!(ask(&test, &script, "EXISTS b"), ":0\r\n");
}

/// Clients send bursts of INCR while the server is told to end. Every INCR that was executed has been answered, every
/// answer has arrived, and the server is done long before its time is up.
#[test]
fn a_drain_loses_no_command_that_was_accepted() {
    for_each_seed(100, |test| {
        test.make_current();
        let redis = Rc::<Redis>::default();
        let answered = Rc::new(Cell::new(0));
        let began = test.now();
        test.run(async {
            let clients: Vec<_> = (0..5)
                .map(|_| {
                    let client = connect(&redis, Faults::seeded((test.chance() * 1e9) as u64));
                    let (burst, answered) = (1 + (test.chance() * 20.0) as usize, Rc::clone(&answered));
                    let pause = Duration::from_secs_f64(0.002 + test.chance() * 0.02);
                    IoLoop::current().spawn(async move {
                        // Until the server ends: what is sent then may go unheard.
                        loop {
                            drop(client.write(command(&[b"INCR", b"n"]).repeat(burst)));
                            for _ in 0..burst {
                                let Ok(_answer) = client.read_until(b"\r\n").await else { return };
                                answered.set(answered.get() + 1);
                            }
                            ioloop::sleep(pause).await;
                        }
                    })
                })
                .collect();
            ioloop::sleep(Duration::from_secs_f64(test.chance() * 0.1)).await;
            redis.drain.run().await;
            for client in clients {
                client.await.unwrap();
            }
        });
        assert!(test.now() - began < 10 * SECOND);
        let (script, _stream) = connect_script(&Rc::clone(&redis));
        script.send(b"GET n\r\n");
        test.run_until_stalled();
        let text = answered.get().to_string();
        let executed =
            if answered.get() == 0 { "$-1\r\n".into() } else { format!("${}\r\n{text}\r\n", text.len()) };
        assert_eq!(String::from_utf8(script.received()).unwrap(), executed);
        assert!(script.is_shut(), "it was the last thing that it answered");
    });
}

#[test]
fn a_peer_that_sends_without_end_does_not_hold_up_a_drain() {
    let test = VirtualLoop::new();
    test.make_current();
    let redis = Rc::<Redis>::default();
    let (script, stream) = connect_script(&redis);
    script.send_in_segments(b"ECHO xxxxxxxxx\r\n".repeat(1 << 16), 1 << 16); // sixteen full reads
    test.run(redis.drain.run());
    test.run_until_stalled();
    assert!(script.is_shut());
    let answered = script.received().len() / "$9\r\nxxxxxxxxx\r\n".len();
    assert!((4096..=8 * 4096).contains(&answered), "{answered} of 65536");
    assert_eq!(stream.buffered(), 0, "what was read was answered, or dropped behind the last answer");
}
