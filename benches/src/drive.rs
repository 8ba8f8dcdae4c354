//! The loop under [`Load`]: one poll, its events, and what a connection does when its batch is answered.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::{Events, Token};

use crate::connection::{Connection, Received};
use crate::load::{Load, LoadError, MAX_ERRORS, Measured, STALL, Until};

/// The longest latency that is told apart from longer ones.
const MAX_LATENCY: Duration = Duration::from_secs(60);
/// How long one poll may sleep before the run looks whether it has stalled or was interrupted.
const LOOK_UP: Duration = Duration::from_millis(100);

/// One run under way.
struct Run {
    measured: Measured,
    /// Connections with a batch outstanding, or still to be closed by the server.
    busy: usize,
    begun: Instant,
    /// Or, in an open loop, the last request: nothing can be overdue before it.
    last_answer: Instant,
    pace: Pace,
}

enum Pace {
    /// A connection that is done starts again until then.
    Closed { until: Until, issued: u64 },
    /// A connection that is done waits here until a request is due.
    Open { idle: Vec<usize> },
}

impl Load {
    pub(crate) fn drive(&mut self, first: usize, until: Until) -> Result<Measured, LoadError> {
        let mut run = Run::new(Pace::Closed { until, issued: 0 })?;
        for index in first..self.connections.len() {
            self.begin(index, Instant::now(), &mut run)?;
        }
        while run.busy > 0 {
            self.turn(LOOK_UP, &mut run)?;
        }
        Ok(run.finished())
    }

    pub(crate) fn drive_at_rate(
        &mut self,
        per_second: f64,
        duration: Duration,
    ) -> Result<Measured, LoadError> {
        let mut run = Run::new(Pace::Open { idle: (0..self.connections.len()).collect() })?;
        let begun = run.begun;
        let depth = u64::from(self.wanted.depth());
        let batches = (duration.as_secs_f64() * per_second) as u64 / depth;
        let due = |batch: u64| begun + Duration::from_secs_f64((batch * depth) as f64 / per_second);
        let mut schedule = (0..batches).map(due).peekable();
        while schedule.peek().is_some() || run.busy > 0 {
            let now = Instant::now();
            while let Some(intended) = schedule.peek().copied().filter(|intended| *intended <= now)
                && let Some(index) = run.take_idle()
            {
                schedule.next();
                run.last_answer = now;
                self.begin(index, intended, &mut run)?;
            }
            self.turn(Duration::ZERO, &mut run)?;
        }
        Ok(run.finished())
    }

    fn begin(&mut self, index: usize, began: Instant, run: &mut Run) -> Result<(), LoadError> {
        run.busy += 1;
        if let Pace::Closed { issued, .. } = &mut run.pace {
            *issued += u64::from(self.wanted.depth());
        }
        let connection = &mut self.connections[index];
        if connection.spent {
            *connection = Connection::open(self.address, self.poll.registry(), Token(index), &self.wanted)?;
        }
        match connection.begin(&self.wanted, began) {
            Ok(()) => Ok(()),
            Err(_) => self.broken(index, run),
        }
    }

    fn turn(&mut self, wait: Duration, run: &mut Run) -> Result<(), LoadError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(LoadError::Interrupted);
        }
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        if run.busy > 0 && run.last_answer.elapsed() > STALL {
            return Err(LoadError::Stalled(run.busy));
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let result = events.iter().try_for_each(|event| self.handle(event, run));
        self.events = events;
        result
    }

    fn handle(&mut self, event: &Event, run: &mut Run) -> Result<(), LoadError> {
        let index = event.token().0;
        let connection = &mut self.connections[index];
        if connection.spent {
            return Ok(());
        }
        if event.is_writable() && connection.send(self.wanted.batch()).is_err() {
            return self.broken(index, run);
        }
        if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
            return Ok(());
        }
        let was_waiting = connection.waiting > 0;
        match connection.receive(event, &self.wanted, &mut self.shape, &mut self.buffer) {
            Ok(received) => self.received(index, was_waiting, received, run),
            Err(error) => Err(error),
        }
    }

    fn received(
        &mut self,
        index: usize,
        was_waiting: bool,
        received: Received,
        run: &mut Run,
    ) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        let refused = u64::from(received.answers.refused);
        run.measured.refused += refused;
        run.measured.body_bytes += received.answers.body_bytes;
        run.measured.answers += u64::from(received.answers.whole) - refused;
        if received.closed && connection.waiting > 0 {
            return self.broken(index, run);
        }
        connection.spent = received.closed;
        if received.closed && self.wanted.kept_alive() {
            run.count_error()?;
        }
        let answered = was_waiting && connection.waiting == 0;
        if answered {
            run.record(connection.began, self.wanted.depth());
        }
        // A kept-alive batch is done when it is answered, a connection per request when the server has closed.
        if if self.wanted.kept_alive() { answered } else { received.closed } {
            run.busy -= 1;
            self.next(index, run)?;
        }
        Ok(())
    }

    /// The connection is gone with its batch unanswered.
    fn broken(&mut self, index: usize, run: &mut Run) -> Result<(), LoadError> {
        self.connections[index].spent = true;
        run.busy -= 1;
        run.count_error()?;
        self.next(index, run)
    }

    fn next(&mut self, index: usize, run: &mut Run) -> Result<(), LoadError> {
        let again = match &mut run.pace {
            Pace::Closed { until: Until::Elapsed(duration), .. } => run.last_answer < run.begun + *duration,
            Pace::Closed { until: Until::Requests(requests), issued } => issued < requests,
            Pace::Open { idle } => {
                idle.push(index);
                false
            }
        };
        if again { self.begin(index, run.last_answer, run) } else { Ok(()) }
    }
}

impl Run {
    fn new(pace: Pace) -> Result<Run, LoadError> {
        let begun = Instant::now();
        let latency = Histogram::new_with_max(MAX_LATENCY.as_nanos() as u64, 2)?;
        let measured =
            Measured { answers: 0, refused: 0, errors: 0, body_bytes: 0, elapsed: Duration::ZERO, latency };
        Ok(Run { measured, busy: 0, begun, last_answer: begun, pace })
    }

    /// The one clock reading per batch: this one's end is the next one's beginning.
    fn record(&mut self, began: Instant, depth: u32) {
        self.last_answer = Instant::now();
        let nanos = self.last_answer.saturating_duration_since(began).as_nanos() as u64;
        self.measured.latency.saturating_record_n(nanos, u64::from(depth));
    }

    fn count_error(&mut self) -> Result<(), LoadError> {
        self.measured.errors += 1;
        if self.measured.errors > MAX_ERRORS { Err(LoadError::TooManyErrors) } else { Ok(()) }
    }

    fn take_idle(&mut self) -> Option<usize> {
        match &mut self.pace {
            Pace::Open { idle } => idle.pop(),
            Pace::Closed { .. } => None,
        }
    }

    fn finished(mut self) -> Measured {
        self.measured.elapsed = self.begun.elapsed();
        self.measured
    }
}
