//! Who is not read from because memory is scarce, and how they go on.
//!
//! Whoever would hold more than is left waits here, smallest first; behind all others who had room and was slow to fill it, and who wants
//! most of what there is. When memory is given back, those go on for whom what is left has become enough: their registrations are made
//! ready, as if something had come.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use ioloop::{IoLoop, Notifier, Ready, Remote};

use crate::budget::{self, MemoryBudget};
use crate::{grant, shortage};

/// What a stream may hold of the part that is kept for this: a head, or a line, in which it says what it wants.
pub(crate) const LITTLE_BYTES: usize = 8 * 1024;

/// While somebody waits, who has waited for too long is looked for so often in the time of the patience.
pub(crate) const LOOKS: u32 = 16;

/// But no more often than this, or a loop with no patience would do nothing else.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    static HELD_BACK: RefCell<HeldBack> = RefCell::default();
}

#[derive(Default)]
struct HeldBack {
    order: BTreeSet<Place>,
    streams: HashMap<StreamId, Waiting>,
    /// Who went on lately. Who has to wait again soon has got nowhere.
    resumed: HashMap<StreamId, Resumed>,
    /// How many of them have not heard so yet, and come before the last part of the line.
    called: usize,
    /// Somebody had to go, and it is these, who wanted that and had waited since then; they have not heard so yet.
    failing: HashMap<StreamId, (Wish, Instant)>,
    /// How many had to go at the last look.
    failed: usize,
    looks: u64,
    last_look: Option<Instant>,
    /// The loops that look: each on which somebody has begun to wait, as any of a thread's may not be run any more.
    watchmen: Vec<Remote>,
}

/// The address of a stream's state. A stream is forgotten when it closes, before another can have its place.
pub(crate) type StreamId = usize;

/// What a stream wants to hold, and how much more that is than it does.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) needs: usize,
    pub(crate) more: usize,
    /// Where there is [enough](budget::scarce) for so much, it need not wait, whatever it holds.
    pub(crate) asked: usize,
    /// It had room, and was slow to fill it: others come first, and it waits half as long.
    pub(crate) was_slow: bool,
}

/// Where a stream is in the line: whether that is its last part, what the stream needs, and which it is.
type Place = (bool, usize, StreamId);

impl Wish {
    fn place(&self, stream: StreamId) -> Place {
        (self.was_slow || self.needs > MemoryBudget::current().hard / 2, self.needs, stream)
    }

    /// Who was slow had a part of its time.
    fn latest(&self, now: Instant) -> Instant {
        let had = if self.was_slow { MemoryBudget::current().patience / 2 } else { Duration::ZERO };
        now.checked_sub(had).unwrap_or(now)
    }
}

struct Waiting {
    place: Place,
    wish: Wish,
    since: Instant,
    notifier: Notifier,
}

struct Resumed {
    /// Since when it had waited.
    since: Instant,
    /// At which look it went on.
    look: u64,
    is_called: bool,
}

/// Has a stream wait until it may hold what it needs. `false` if it has waited for too long.
pub(crate) fn wait(stream: StreamId, wish: Wish, now: Instant, notifier: Notifier, io_loop: &IoLoop) -> bool {
    let begins = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        let before = held_back.remove(stream).map(|before| before.since);
        let before = before.or(held_back.no_longer_resumed(stream));
        if held_back.failing.remove(&stream).is_some() {
            held_back.say_whether_somebody_waits();
            return None;
        }
        let latest = wish.latest(now);
        let since = before.map_or(latest, |before| before.min(latest));
        let place = wish.place(stream);
        held_back.order.insert(place);
        held_back.streams.insert(stream, Waiting { place, wish, since, notifier });
        held_back.say_whether_somebody_waits();
        Some(!held_back.watchmen.contains(&io_loop.remote()))
    });
    match begins {
        Ok(Some(true)) => {
            io_loop.add_callback(|| _ = shortage::relieve());
            look_after(io_loop);
        }
        Ok(Some(false)) => {}
        Ok(None) => return false,
        Err(_) => return false, // the thread is being torn down
    }
    true
}

/// Whether somebody waits who is not in the last part of the line: who was slow has to make room.
pub(crate) fn is_room_wanted() -> bool {
    HELD_BACK.try_with(|held_back| held_back.borrow().is_room_wanted()) == Ok(true)
}

/// Whether somebody comes before a stream that was slow.
pub(crate) fn anybody_comes_first() -> bool {
    HELD_BACK.try_with(|held_back| held_back.borrow().anybody_comes_first()) == Ok(true)
}

/// How often those who wait have been looked after.
pub(crate) fn looks() -> u64 {
    HELD_BACK.try_with(|held_back| held_back.borrow().looks).unwrap_or(0)
}

/// Whether the stream waits.
pub(crate) fn waits(stream: StreamId) -> bool {
    budget::is_watched()
        && HELD_BACK.try_with(|held_back| held_back.borrow().streams.contains_key(&stream)) == Ok(true)
}

/// There is memory for the stream, so it does not wait, whatever it has waited for before. `false` if it has to go all the same:
/// what it holds was promised to others.
#[cold]
pub(crate) fn resume(stream: StreamId) -> bool {
    let may_go_on = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        drop(held_back.resume(stream));
        held_back.has_come(stream);
        let must_fail = held_back.failing.remove(&stream).is_some();
        held_back.say_whether_somebody_waits();
        !must_fail
    });
    may_go_on.unwrap_or(true)
}

/// The stream has closed.
#[cold]
pub(crate) fn forget(stream: StreamId) {
    let _ = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        held_back.failing.remove(&stream);
        held_back.no_longer_resumed(stream);
        drop(held_back.remove(stream));
    });
}

/// Has the stream look again, if it waits: it may need less than before.
#[cold]
pub(crate) fn look_again(stream: StreamId) {
    let _ = HELD_BACK.try_with(|held_back| {
        if let Some(waiting) = held_back.borrow().streams.get(&stream) {
            waiting.notifier.set_ready(Ready::READABLE);
        }
    });
}

/// Called when memory has been given back. As many go on as there is memory for, or each who leaves would have all others
/// look. Runs nobody's code: who goes on is told after the next poll.
#[cold]
pub(crate) fn wake_who_may_go_on() {
    let share = budget::scarce(0);
    let mut left = budget::left().max(share.unwrap_or(0));
    let _ = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        if share.is_none() {
            held_back.spare_who_need_not_fail();
        }
        while let Some(&place) = held_back.order.first()
            && held_back.may_go_on(place, &mut left)
        {
            held_back.call(place.2);
        }
        held_back.say_whether_somebody_waits();
    });
}

/// Has those go on, behind whomever, for whom there is enough for everybody: who wants more than that, and little, may be before them.
fn wake_all_who_need_not_wait() {
    if budget::scarce(0).is_some() {
        return;
    }
    let mut left = budget::left();
    let _ = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        let places: Vec<Place> = held_back.order.iter().copied().collect();
        for place in places {
            let asked = held_back.streams.get(&place.2).map_or(0, |waiting| waiting.wish.asked);
            if budget::scarce(asked).is_none() && held_back.may_go_on(place, &mut left) {
                held_back.call(place.2);
            }
        }
    });
}

impl HeldBack {
    fn remove(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.streams.remove(&stream)?;
        self.order.remove(&waiting.place);
        self.say_whether_somebody_waits();
        Some(waiting)
    }

    fn resume(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.remove(stream)?;
        let (is_called, since) = (!waiting.place.0, waiting.since);
        self.called += usize::from(is_called);
        self.resumed.insert(stream, Resumed { since, look: self.looks, is_called });
        Some(waiting)
    }

    /// Whether there is memory for who waits at that place, as the stream itself will see it, beside those who have taken of what was
    /// `left`.
    fn may_go_on(&self, (is_last, needs, stream): Place, left: &mut usize) -> bool {
        let Some(&Waiting { wish: Wish { more, asked, was_slow, .. }, .. }) = self.streams.get(&stream)
        else {
            return false;
        };
        let is_kept = |share| needs > share || (is_last && self.called > 0);
        let gives_way = was_slow && self.anybody_comes_first();
        if more > *left || gives_way || budget::scarce(asked).is_some_and(is_kept) {
            return false;
        }
        *left -= more;
        true
    }

    /// There is enough for everybody. If that has gone again before they take it, they have waited since when they had before.
    fn spare_who_need_not_fail(&mut self) {
        let HeldBack { failing, resumed, looks: look, .. } = self;
        let spared =
            failing.extract_if(|_, (wish, _)| !wish.was_slow && budget::scarce(wish.asked).is_none());
        let gone_on = |since| Resumed { since, look: *look, is_called: false };
        resumed.extend(spared.map(|(stream, (_, since))| (stream, gone_on(since))));
    }

    fn call(&mut self, stream: StreamId) {
        if let Some(waiting) = self.resume(stream) {
            waiting.notifier.set_ready(Ready::READABLE);
        }
    }

    /// The stream has heard that it may go on.
    fn has_come(&mut self, stream: StreamId) {
        if let Some(resumed) = self.resumed.get_mut(&stream) {
            self.called -= usize::from(std::mem::take(&mut resumed.is_called));
        }
    }

    /// Forgets that the stream went on lately, and gives since when it had waited before.
    fn no_longer_resumed(&mut self, stream: StreamId) -> Option<Instant> {
        self.has_come(stream);
        self.resumed.remove(&stream).map(|resumed| resumed.since)
    }

    fn is_room_wanted(&self) -> bool {
        self.order.first().is_some_and(|(is_last, ..)| !is_last)
    }

    fn anybody_comes_first(&self) -> bool {
        self.called > 0 || self.is_room_wanted()
    }

    fn say_whether_somebody_waits(&self) {
        budget::watch(!(self.order.is_empty() && self.failing.is_empty() && self.resumed.is_empty()));
    }

    /// Has those fail in the last part of the line, and then those that want most, of all who have waited for so long: one, and then twice
    /// as many at each look, until what they had is enough for the others.
    fn end_largest(&mut self, now: Instant, patience: Duration) {
        let most = (2 * self.failed).max(1);
        let has_waited = |stream: &StreamId| {
            let waiting = self.streams.get(stream);
            waiting.is_some_and(|waiting| now.saturating_duration_since(waiting.since) >= patience)
        };
        // Whoever has come since does not keep the others from their end, however much it wants.
        let waited = self.order.iter().rev().map(|(_, _, stream)| *stream).filter(has_waited);
        let largest: Vec<StreamId> = waited.take(most).collect();
        self.failed = largest.len();
        for stream in largest {
            if let Some(waiting) = self.remove(stream) {
                waiting.notifier.set_ready(Ready::READABLE);
                self.failing.insert(stream, (waiting.wish, waiting.since));
            }
        }
        self.say_whether_somebody_waits();
    }

    fn forget_who_has_gone_on(&mut self) {
        self.looks += 1;
        let (looks, called) = (self.looks, &mut self.called);
        self.resumed.retain(|_, resumed| {
            let is_recent = resumed.look + 1 >= looks;
            *called -= usize::from(resumed.is_called && !is_recent); // it has not come
            is_recent
        });
        self.say_whether_somebody_waits();
    }
}

/// Has this loop look after those who wait, as long as there are any.
fn look_after(io_loop: &IoLoop) {
    let watch = Watch::begin(io_loop);
    io_loop.call_later(pause(), move || {
        let io_loop = IoLoop::current();
        if is_time_to_look(io_loop.now()) {
            look(io_loop.now());
        }
        drop(watch);
        if budget::is_watched() {
            look_after(&io_loop);
        }
    });
}

fn pause() -> Duration {
    (MemoryBudget::current().patience / LOOKS).max(LEAST_PAUSE)
}

/// Whether no other loop of this thread has looked just now. By a virtual clock that may be yet to come.
fn is_time_to_look(now: Instant) -> bool {
    let is_recent = |last| now.checked_duration_since(last).is_some_and(|passed| passed < pause());
    let last = HELD_BACK.try_with(|held_back| held_back.borrow().last_look);
    last.is_ok_and(|last| !last.is_some_and(is_recent))
}

fn look(now: Instant) {
    shortage::relieve();
    // What another thread has given back is only found out here.
    wake_who_may_go_on();
    wake_all_who_need_not_wait();
    let _ = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        held_back.last_look = Some(now);
        held_back.end_largest(now, MemoryBudget::current().patience);
        held_back.forget_who_has_gone_on();
    });
    if is_room_wanted() {
        grant::have_them_look();
    }
}

/// That a loop looks; ends with the callback that does, be that called or dropped with its loop.
struct Watch(Remote);

impl Watch {
    fn begin(io_loop: &IoLoop) -> Watch {
        let watchman = io_loop.remote();
        let _ = HELD_BACK.try_with(|held_back| held_back.borrow_mut().watchmen.push(watchman.clone()));
        Watch(watchman)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = HELD_BACK
            .try_with(|held_back| held_back.borrow_mut().watchmen.retain(|watchman| *watchman != self.0));
    }
}
