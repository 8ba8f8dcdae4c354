//! Reading up to the end of a match, with an automaton that stops where the bytes stop and goes on from there.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use thiserror::Error;

use crate::error::{CloseReason, StreamError};
use crate::read::Found;
use crate::stream::IoStream;

/// What the automaton of a pattern may take: hundreds of states, where a protocol's pattern has a dozen.
const SIZE_LIMIT: usize = 1024 * 1024;

/// A pattern for [`read_until_regex`](IoStream::read_until_regex), compiled once. Clones share it, also across threads.
///
/// The syntax is that of the `regex` crate, on bytes as in Tornado's `re.compile(b"…")`: `\w`, `\d`, `\s`, `\b` and `(?i)` mean
/// ASCII, `.` is any byte but `\n`, `\xff` is that byte, and there is neither `\1` nor `(?=…)`, so that no pattern is
/// slow. A letter outside ASCII stands for its bytes in UTF-8; in a class it needs `(?u:[…])`.
///
/// The whole automaton is built here, so a read costs a table look-up per byte, allocates nothing, and no peer can
/// make it grow.
#[derive(Clone)]
pub struct Regex {
    shared: Arc<Compiled>,
}

struct Compiled {
    pattern: Box<str>,
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegexError {
    /// It is not a pattern; the text shows where and why.
    #[error("{0}")]
    Syntax(Box<str>),
    /// It would match nothing at all, everywhere, as an empty delimiter would (IO14).
    #[error("the pattern matches the empty string")]
    MatchesEmpty,
    /// Its automaton would be larger than allowed: often a long counted repetition of something that can begin anywhere.
    #[error("the pattern needs an automaton of more than {limit} bytes")]
    TooLarge {
        /// The limit that was in force.
        limit: usize,
    },
    /// It asks for something that no such automaton can do, for instance a Unicode word boundary.
    #[error("{0}")]
    Unsupported(Box<str>),
}

impl Regex {
    /// Compiles `pattern`; its automaton may take 1 MiB.
    ///
    /// # Errors
    ///
    /// [`RegexError`]: no pattern, one that matches the empty string, or one that is too large.
    pub fn new(pattern: &str) -> Result<Regex, RegexError> {
        Regex::with_size_limit(pattern, SIZE_LIMIT)
    }

    /// Compiles `pattern` to an automaton of at most `limit` bytes. While it is built, the work takes a few times as much,
    /// and time in proportion to it.
    ///
    /// # Errors
    ///
    /// As for [`new`](Regex::new).
    pub fn with_size_limit(pattern: &str, limit: usize) -> Result<Regex, RegexError> {
        let bytes = syntax::Config::new().unicode(false).utf8(false);
        let parsed = syntax::parse_with(pattern, &bytes)
            .map_err(|error| RegexError::Syntax(error.to_string().into_boxed_str()))?;
        if parsed.properties().minimum_len() == Some(0) {
            return Err(RegexError::MatchesEmpty);
        }
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(thompson::WhichCaptures::None)
                    .nfa_size_limit(Some(limit)),
            )
            .build_from_hir(&parsed)
            .map_err(|error| match error.size_limit() {
                Some(_) => RegexError::TooLarge { limit },
                None => RegexError::Unsupported(error.to_string().into_boxed_str()),
            })?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(limit))
                    .determinize_size_limit(Some(limit.saturating_mul(4))),
            )
            .build_from_nfa(&nfa)
            .map_err(|error| match error.is_size_limit_exceeded() {
                true => RegexError::TooLarge { limit },
                false => RegexError::Unsupported(error.to_string().into_boxed_str()),
            })?;
        let start = dfa
            .start_state(&start::Config::new())
            .map_err(|error| RegexError::Unsupported(error.to_string().into_boxed_str()))?;
        Ok(Regex { shared: Arc::new(Compiled { pattern: pattern.into(), dfa, start }) })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shared.pattern
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.as_str()).finish()
    }
}

impl IoStream {
    /// Reads up to the end of a match of `regex` (IO17): the shortest beginning of what is unread that holds one.
    ///
    /// So the result depends on the bytes alone and not on how they arrive, and no read waits for a byte that it does not
    /// need. It is what Tornado returns when every byte is a packet of its own; there a pattern that could go on gives more
    /// when more has arrived. Mind what that means: **end the pattern with what ends the message**. `[0-9]+` returns with
    /// the first digit, `[0-9]+\n` with the line; of `ab` and `abc` only the first is ever found. What looks ahead at its
    /// end (`\b`, `$`) is decided by the byte behind it, or the end of the stream, and `^` is where the read begins.
    ///
    /// However the bytes arrive, each is looked at once. Bytes behind the match stay for the next read.
    ///
    /// ```
    /// # use ioloop::testing::VirtualLoop;
    /// # use iostream::{IoStream, Regex, testing};
    /// # VirtualLoop::new().run(async {
    /// let end_of_head = Regex::new(r"\r?\n\r?\n")?;
    /// # let (transport, script) = testing::scripted();
    /// # let stream = IoStream::new(transport)?;
    /// # script.send("GET / HTTP/1.0\n\nbody");
    /// let head = stream.read_until_regex_max(&end_of_head, 8192).await?;
    /// # assert_eq!(head, "GET / HTTP/1.0\n\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_until`](IoStream::read_until); and [`DelimiterNotFound`](StreamError::DelimiterNotFound) as soon as no
    /// byte that may follow could make a match, which only happens to a pattern that is tied to the beginning.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns. A read that takes its place looks at what is
    /// buffered from the start, so attempts that are given up cost what was buffered each; one future that is kept and
    /// polled on costs a look per byte in all.
    pub async fn read_until_regex(&self, regex: &Regex) -> Result<Bytes, StreamError> {
        self.read_to_match(regex, None).await
    }

    /// [`read_until_regex`](IoStream::read_until_regex) for a result of at most `max_bytes` (IO15).
    ///
    /// # Errors
    ///
    /// [`DelimiterNotFound`](StreamError::DelimiterNotFound) as soon as it is clear that no match can end within
    /// `max_bytes`. Unlike in Tornado the stream stays open and the bytes stay where they are (IO16).
    ///
    /// # Cancel safety
    ///
    /// As for [`read_until_regex`](IoStream::read_until_regex).
    pub async fn read_until_regex_max(&self, regex: &Regex, max_bytes: usize) -> Result<Bytes, StreamError> {
        self.read_to_match(regex, Some(max_bytes)).await
    }

    async fn read_to_match(&self, regex: &Regex, max_bytes: Option<usize>) -> Result<Bytes, StreamError> {
        let mut scan = Scan::new(&regex.shared, max_bytes.unwrap_or(usize::MAX));
        let n = match self.read_while(|buffered| scan.look(buffered)).await {
            Ok(Some(n)) => n,
            Ok(None) => {
                let max_bytes = max_bytes.unwrap_or(self.inner.options.max_buffer_size);
                return Err(StreamError::DelimiterNotFound { max_bytes });
            }
            Err(StreamError::Closed(CloseReason::EndOfStream)) if scan.ends_with_match() => scan.examined,
            Err(error) => return Err(error),
        };
        Ok(self.take_buffered(n))
    }
}

/// How far the automaton has come in what is unread.
struct Scan<'a> {
    compiled: &'a Compiled,
    max_bytes: usize,
    state: StateID,
    examined: usize,
}

impl Scan<'_> {
    fn new(compiled: &Compiled, max_bytes: usize) -> Scan<'_> {
        Scan { compiled, max_bytes, state: compiled.start, examined: 0 }
    }

    /// Goes on to the end of what is buffered, or one byte beyond the limit: a state tells of the match that ended before
    /// the byte that led to it.
    fn look(&mut self, buffered: &[u8]) -> Found {
        if buffered.len() < self.examined {
            *self = Scan::new(self.compiled, self.max_bytes); // somebody else has taken bytes
        }
        let dfa = &self.compiled.dfa;
        let end = buffered.len().min(self.max_bytes.saturating_add(1));
        for &byte in &buffered[self.examined..end] {
            self.state = self.step(byte);
            self.examined += 1;
            if dfa.is_special_state(self.state) {
                if dfa.is_match_state(self.state) {
                    return Found::At(self.examined - 1);
                }
                if dfa.is_dead_state(self.state) || dfa.is_quit_state(self.state) {
                    return Found::TooLate;
                }
            }
        }
        match self.ends_with_match() {
            true if self.ends_whatever_follows() => Found::At(self.examined),
            false if self.examined >= self.max_bytes => Found::TooLate,
            _ => Found::NotYet,
        }
    }

    /// Whether a match ends with the last byte that was looked at, if the stream does too.
    fn ends_with_match(&self) -> bool {
        let dfa = &self.compiled.dfa;
        self.examined <= self.max_bytes && dfa.is_match_state(dfa.next_eoi_state(self.state))
    }

    /// Whether it does so whatever comes: not so where the pattern looks ahead.
    fn ends_whatever_follows(&self) -> bool {
        (0..=u8::MAX).all(|byte| self.compiled.dfa.is_match_state(self.step(byte)))
    }

    fn step(&self, byte: u8) -> StateID {
        #[cfg(test)]
        tests::STEPS.set(tests::STEPS.get() + 1);
        self.compiled.dfa.next_state(self.state, byte)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ioloop::testing::VirtualLoop;

    use super::*;
    use crate::testing::scripted;

    thread_local! {
        /// Look-ups in an automaton's table.
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Reads `text` up to `end`, arriving in segments of `segment` bytes, and gives the look-ups that it took.
    fn steps(pattern: &str, text: &str, end: usize, segment: usize) -> usize {
        VirtualLoop::new().run(async {
            let regex = Regex::new(pattern).unwrap();
            let (transport, script) = scripted();
            let stream = IoStream::new(transport).unwrap();
            script.send_in_segments(text, segment);
            STEPS.set(0);
            assert!(stream.read_until_regex(&regex).await.unwrap() == text[..end]);
            STEPS.get()
        })
    }

    #[test]
    fn io17_each_byte_is_looked_at_once_however_the_bytes_arrive() {
        const BYTES: usize = 100_000;
        let text = format!("{}\n\n", "a".repeat(BYTES - 2));
        // `a+\n\n` could begin at every byte of this, as often as there are bytes for one who tries each beginning.
        for pattern in [r"\r?\n\r?\n", r"a+\n\n", r"(?:a|aa)+\n\n", r"[a-z]{3,60}\n\n"] {
            for segment in [1, 2, 1_000, BYTES] {
                let steps = steps(pattern, &text, BYTES, segment);
                // Beyond the bytes: the question what every byte would lead to, asked once, at the match.
                assert!(steps <= BYTES + 256, "{pattern} in segments of {segment}: {steps} steps");
            }
        }
    }

    #[test]
    fn io17_a_match_that_stays_undecided_costs_the_same_for_each_byte() {
        for bytes in [1_000, 10_000] {
            let steps = steps(r"a+\b", &format!("{} ", "a".repeat(bytes)), bytes, 1);
            assert!(steps <= (bytes + 1) * 257, "{steps} steps for {bytes} bytes");
        }
    }

    #[test]
    fn io17_a_read_that_is_given_up_costs_what_was_buffered() {
        VirtualLoop::new().run(async {
            let regex = Regex::new(r"\n\n").unwrap();
            let (transport, script) = scripted();
            let stream = IoStream::new(transport).unwrap();
            script.send("x".repeat(1_000));
            stream.fill().await.unwrap();
            STEPS.set(0);
            for _ in 0..10 {
                let never = std::time::Duration::ZERO;
                assert!(ioloop::timeout(never, stream.read_until_regex(&regex)).await.is_err());
            }
            assert_eq!(STEPS.get(), 10 * 1_000);
        });
    }

    #[test]
    fn a_pattern_takes_no_more_than_its_limit() {
        for (pattern, limit) in [(r"\r?\n\r?\n", 2_000), (r"(?i)content-length: *\d{1,20}\r\n", 50_000)] {
            let used = Regex::with_size_limit(pattern, limit).unwrap().shared.dfa.memory_usage();
            println!("{pattern}: {used} bytes");
            assert!(used <= limit);
            assert_eq!(
                Regex::with_size_limit(pattern, 100).unwrap_err(),
                RegexError::TooLarge { limit: 100 }
            );
        }
    }
}
