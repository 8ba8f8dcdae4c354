//! Server and Date as they stand now, written once a second.

use std::cell::{Cell, Ref, RefCell};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http1::Ambient;

/// The fields that all responses of a server share, and until when they are right.
#[derive(Debug)]
pub(crate) struct AmbientCache {
    ambient: RefCell<Ambient>,
    good_until: Cell<Option<Instant>>,
}

impl AmbientCache {
    pub(crate) fn new(ambient: Ambient) -> AmbientCache {
        AmbientCache { ambient: RefCell::new(ambient), good_until: Cell::new(None) }
    }

    /// The fields at `now`, the loop's time. The wall clock is looked at once a second.
    #[inline]
    pub(crate) fn at(&self, now: Instant) -> Ref<'_, Ambient> {
        if self.good_until.get().is_none_or(|until| now >= until) {
            self.renew(now);
        }
        self.ambient.borrow()
    }

    #[cold]
    fn renew(&self, now: Instant) {
        let wall = SystemTime::now();
        self.ambient.borrow_mut().set_date(wall);
        let into_second = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        self.good_until.set(Some(now + Duration::from_nanos(u64::from(1_000_000_000 - into_second))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_asked_again_when_the_second_is_over() {
        let cache = AmbientCache::new(Ambient::default());
        let now = Instant::now();
        drop(cache.at(now));
        let until = cache.good_until.get();
        assert!(until > Some(now) && until <= Some(now + Duration::from_secs(1)));
        drop(cache.at(now));
        assert_eq!(cache.good_until.get(), until, "within the second nothing is asked");
        drop(cache.at(until.unwrap()));
        assert!(cache.good_until.get() > until);
    }
}
