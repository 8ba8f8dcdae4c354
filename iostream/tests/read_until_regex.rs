//! Reading up to a match (IO17, and IO14-IO16 and IO21 where they are the same for patterns).

mod support;

use std::rc::Rc;

use iostream::testing::scripted;
use iostream::{CloseReason, IoStream, Regex, RegexError, StreamError, StreamOptions};
use support::random::Random;
use support::{assert_closed_here, assert_end_of_stream, in_every_way, poll_once, run, stream, turns};

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

#[test]
fn io17_it_gives_everything_up_to_the_end_of_the_match_however_the_bytes_arrive() {
    // Tornado's test_read_until_regex.
    let end_of_head = regex(r"\r?\n\r?\n");
    in_every_way(b"a: b\r\nc: d\r\n\r\ne: f\n\nrest", async |stream| {
        assert_eq!(stream.read_until_regex(&end_of_head).await.unwrap(), "a: b\r\nc: d\r\n\r\n");
        assert_eq!(stream.read_until_regex(&end_of_head).await.unwrap(), "e: f\n\n");
        assert_end_of_stream(stream.read_until_regex(&end_of_head).await);
        assert_eq!(stream.read_until_close().await.unwrap(), "rest");
    });
}

#[test]
fn io17_the_result_is_the_shortest_that_holds_a_match_and_not_what_happened_to_arrive() {
    let digits = regex("[0-9]+");
    let line_of_digits = regex(r"[0-9]+\n");
    let either = regex("abcd|bc");
    in_every_way(b"x123\n456\nabcd", async |stream| {
        assert_eq!(stream.read_until_regex(&digits).await.unwrap(), "x1");
        assert_eq!(stream.read_until_regex(&line_of_digits).await.unwrap(), "23\n");
        assert_eq!(stream.read_until_regex(&line_of_digits).await.unwrap(), "456\n");
        assert_eq!(stream.read_until_regex(&either).await.unwrap(), "abc");
    });
}

#[test]
fn io17_a_match_is_told_with_its_last_byte_and_nothing_more_is_waited_for() {
    for pattern in [r"\r\n", r"\bEND\r\n", r"(?m)^END\r\n", r"\r\n(?:\r\n)?"] {
        run(async {
            let (stream, script) = stream();
            script.send("END\r\n");
            assert_eq!(stream.read_until_regex(&regex(pattern)).await.unwrap(), "END\r\n", "{pattern}");
        });
    }
}

#[test]
fn io17_a_pattern_that_looks_ahead_is_decided_by_the_next_byte_or_the_end() {
    let word = regex(r"end\b");
    in_every_way(b"ending, end. end", async |stream| {
        assert_eq!(stream.read_until_regex(&word).await.unwrap(), "ending, end");
        assert_eq!(stream.read_until_regex_max(&word, 5).await.unwrap(), ". end");
    });
    run(async {
        let (stream, script) = stream();
        script.send("end");
        assert!(poll_once(stream.read_until_regex_max(&word, 3)).await.is_none(), "it may go on");
        script.send("s");
        let result = stream.read_until_regex_max(&word, 3).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 3 })), "{result:?}");
    });
}

#[test]
fn io17_it_is_on_bytes_and_on_ascii() {
    let word = regex(r"(?i)\w+\W\xff.K");
    in_every_way(b"Gr\xc3\xbc\xff\x80k", async |stream| {
        // The first byte that is no ASCII letter ends the word.
        assert_eq!(
            stream.read_until_regex(&word).await.unwrap_err().to_string(),
            "stream closed: end of stream"
        );
        assert_eq!(stream.read_bytes(3).await.unwrap(), &b"Gr\xc3"[..]);
    });
    in_every_way(b"Gr\xc3\xff\x80k.", async |stream| {
        assert_eq!(stream.read_until_regex(&word).await.unwrap(), &b"Gr\xc3\xff\x80k"[..]);
    });
    in_every_way("Grün!".as_bytes(), async |stream| {
        assert_eq!(stream.read_until_regex(&regex("(?u:[üö])")).await.unwrap(), "Grü");
    });
}

#[test]
fn io14_a_pattern_that_matches_nothing_at_all_is_refused() {
    for pattern in ["", "a*", "(?:)|b", r"\b", "^", "(?m)$", "x?y?"] {
        assert_eq!(Regex::new(pattern).unwrap_err(), RegexError::MatchesEmpty, "{pattern}");
    }
}

#[test]
fn io17_a_bad_pattern_says_what_is_wrong_with_it() {
    assert!(matches!(Regex::new("(a"), Err(RegexError::Syntax(text)) if text.contains("unclosed group")));
    assert!(matches!(Regex::new(r"(a)\1"), Err(RegexError::Syntax(_))));
    assert!(matches!(Regex::new("[ü]"), Err(RegexError::Syntax(_))));
    assert!(matches!(Regex::new(r"(?u:\b)a"), Err(RegexError::Unsupported(_))));
}

#[test]
fn io17_no_pattern_makes_the_automaton_grow_beyond_its_limit() {
    for (pattern, limit) in [
        ("[01]*1[01]{40}", 1 << 20),
        ("((a{100}){100}){100}", 1 << 20),
        ("(?:.{1,200}x){1,200}", 1 << 16),
        (&format!("(?:{})", vec!["[a-z]+[0-9]*"; 200].join("x?")), 1 << 16),
    ] {
        let result = Regex::with_size_limit(pattern, limit);
        assert_eq!(result.unwrap_err(), RegexError::TooLarge { limit }, "{pattern}");
    }
    assert!(Regex::new("[01]*1[01]{4}").is_ok());
    assert_eq!(Regex::new("[01]*1[01]{40}").unwrap_err(), RegexError::TooLarge { limit: 1024 * 1024 });
}

#[test]
fn io15_the_limit_is_for_the_result_with_its_match() {
    // Tornado's test_read_until_regex_max_bytes, _inline and _ignores_extra.
    let end = regex(r"\r\n");
    in_every_way(b"abcdef\r\nrest", async |stream| {
        for max_bytes in [0, 1, 5, 7] {
            match stream.read_until_regex_max(&end, max_bytes).await {
                Err(StreamError::DelimiterNotFound { max_bytes: limit }) => assert_eq!(limit, max_bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stream.read_until_regex_max(&end, 8).await.unwrap(), "abcdef\r\n");
        assert_eq!(stream.read_bytes(4).await.unwrap(), "rest");
    });
}

#[test]
fn io15_it_fails_as_soon_as_that_many_bytes_are_there_without_a_match() {
    run(async {
        let (stream, script) = stream();
        script.send("abcdefgh"); // and no end, and nothing more
        let result = stream.read_until_regex_max(&regex(r"\r\n"), 8).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 8 })));
        assert!(!stream.is_closed());
        assert_eq!(stream.buffered(), 8);
    });
}

#[test]
fn io16_a_pattern_that_can_no_longer_match_fails_at_once_and_leaves_the_bytes() {
    run(async {
        let (stream, script) = stream();
        script.send("SSH-2.0-x");
        let result = stream.read_until_regex_max(&regex(r"\AHTTP/[^\n]*\n"), 8192).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 8192 })), "{result:?}");
        let result = stream.read_until_regex(&regex(r"\AHTTP/[^\n]*\n")).await;
        assert!(
            matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 104_857_600 })),
            "{result:?}"
        );
        assert_eq!(stream.read_until_regex(&regex(r"\ASSH-2\.[0-9]")).await.unwrap(), "SSH-2.0");
    });
}

#[test]
fn io20_a_buffer_that_is_full_without_a_match_closes_the_stream() {
    run(async {
        let (transport, script) = scripted();
        let options = Rc::new(StreamOptions::new().max_buffer_size(8));
        let stream = IoStream::with_options(transport, options).unwrap();
        script.send("12345678\n");
        match stream.read_until_regex(&regex(r"\n")).await {
            Err(StreamError::Closed(CloseReason::ReadBufferFull(8))) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn io7_what_is_buffered_can_be_matched_on_a_stream_that_is_closed() {
    run(async {
        let (stream, script) = stream();
        script.send("one\ntwo");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "o");
        stream.close();
        assert_eq!(stream.read_until_regex(&regex(r"\n")).await.unwrap(), "ne\n");
        assert_closed_here(stream.read_until_regex(&regex(r"\n")).await);
        assert_eq!(stream.read_until_close().await.unwrap(), "two");
    });
}

#[test]
fn io9_a_match_that_is_given_up_after_every_byte_takes_nothing() {
    run(async {
        let (stream, script) = stream();
        let end = regex(r"\r?\n\r?\n");
        let text = b"a: b\r\nc: d\r\n\r";
        for byte in text {
            script.send([*byte]);
            turns(2).await;
            assert!(poll_once(stream.read_until_regex(&end)).await.is_none());
            assert!(!stream.is_reading());
        }
        assert_eq!(stream.buffered(), text.len());
        script.send("\nnext");
        assert_eq!(stream.read_until_regex(&end).await.unwrap(), "a: b\r\nc: d\r\n\r\n");
        assert_eq!(stream.read_bytes(4).await.unwrap(), "next");
    });
}

/// What the `regex` crate says that a read of `text` should give: the shortest beginning that holds a match.
fn expected(pattern: &regex::bytes::Regex, text: &[u8]) -> Option<usize> {
    (0..=text.len()).find(|end| pattern.is_match(&text[..*end]))
}

#[test]
fn io17_random_text_cut_anywhere_gives_what_the_regex_crate_gives() {
    let patterns = [
        r"\r?\n\r?\n",
        "ab",
        "a+b",
        "(?:a|ab)(?:c|bcd)",
        "[ab]c?a",
        "(?:ab|ba){2}",
        "b.a",
        r"\Aa.*c",
        "(?m)^b+\n",
        "abcd|bc",
        "(?s).{3}c",
        r"\Bb",
        r"\ba",
    ];
    for (seed, pattern) in patterns.into_iter().cycle().take(patterns.len() * 40).enumerate() {
        let random = Random::new(seed as u64);
        let ours = regex(pattern);
        let theirs = regex::bytes::Regex::new(&format!("(?-u){pattern}")).unwrap();
        let text: Vec<u8> = (0..200).map(|_| b"abcd\r\n"[random.below(6)]).collect();
        run(async {
            let (stream, script) = stream();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (segment, later) = rest.split_at((1 + random.below(9)).min(rest.len()));
                script.send(segment);
                rest = later;
            }
            script.finish();
            let mut rest = &text[..];
            while let Some(n) = expected(&theirs, rest) {
                let read = stream.read_until_regex(&ours).await.unwrap();
                assert!(read == rest[..n], "seed {seed}, {pattern} in {rest:?}: {read:?}");
                rest = &rest[n..];
            }
            assert!(stream.read_until_regex(&ours).await.is_err());
            assert_eq!(stream.read_until_close().await.unwrap(), rest);
        });
    }
}
