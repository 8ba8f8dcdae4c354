//! The keys of the small Redis: strings, some of which go by themselves when their time has come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ioloop::{IoLoop, Timeout};

use super::resp::{integer, text};

const MAX_KEYS: usize = 1 << 20;
const CENTURY: Duration = Duration::from_secs(36_525 * 86_400); // as good as never

#[derive(Default)]
pub struct Keys {
    entries: RefCell<HashMap<Vec<u8>, Entry>>,
}

struct Entry {
    value: Vec<u8>,
    expiry: Option<Expiry>,
}

/// Removes a key when its time has come. To drop it is to call that off.
struct Expiry(Instant, Timeout);

impl Drop for Expiry {
    fn drop(&mut self) {
        IoLoop::current().remove_timeout(&self.1);
    }
}

/// An error is what Redis says.
impl Keys {
    pub fn get<R>(&self, key: &[u8], show: impl FnOnce(Option<&[u8]>) -> R) -> R {
        show(self.entries.borrow().get(key).map(|entry| &entry.value[..]))
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.entries.borrow().contains_key(key)
    }

    pub fn remove(&self, key: &[u8]) -> bool {
        let removed = self.entries.borrow_mut().remove(key);
        removed.is_some()
    }

    /// SET with NX, and EX or PX. False if only a new key was to be set and this one is there.
    pub fn set(self: &Rc<Keys>, key: &[u8], value: &[u8], options: &[&[u8]]) -> Result<bool, String> {
        let options: Vec<_> = options.iter().map(|word| text(word).to_ascii_uppercase()).collect();
        let (only_new, time) = match options.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => (false, None),
            ["NX"] => (true, None),
            [unit @ ("EX" | "PX"), time] => (false, Some((unit, time))),
            ["NX", unit @ ("EX" | "PX"), time] | [unit @ ("EX" | "PX"), time, "NX"] => {
                (true, Some((unit, time)))
            }
            _ => return Err("ERR syntax error".into()),
        };
        let expiry = match time {
            Some((unit, time)) => {
                let time = integer(time.as_bytes())?;
                let expiry = self.expiry(key, if unit == "EX" { time.saturating_mul(1000) } else { time });
                Some(expiry.ok_or("ERR invalid expire time in 'set' command")?)
            }
            None => None,
        };
        if only_new && self.contains(key) {
            return Ok(false);
        }
        self.insert(key, value.to_vec(), expiry)?;
        Ok(true)
    }

    pub fn add(&self, key: &[u8], number: i64) -> Result<i64, String> {
        let old = self.get(key, |value| value.map_or(Ok(0), integer))?;
        let sum = old.checked_add(number).ok_or("ERR increment or decrement would overflow")?;
        let expiry = self.entries.borrow_mut().get_mut(key).and_then(|entry| entry.expiry.take());
        self.insert(key, sum.to_string().into(), expiry)?;
        Ok(sum)
    }

    /// False if there is no such key. Where the time has passed already, it goes now.
    pub fn expire(self: &Rc<Keys>, key: &[u8], seconds: i64) -> bool {
        let Some(expiry) = self.expiry(key, seconds.saturating_mul(1000)) else { return self.remove(key) };
        self.entries.borrow_mut().get_mut(key).map(|entry| entry.expiry = Some(expiry)).is_some()
    }

    /// Rounded; -1 for a key that stays, -2 for one that is not there.
    pub fn seconds_left(&self, key: &[u8]) -> i64 {
        match self.entries.borrow().get(key) {
            Some(Entry { expiry: Some(Expiry(at, _)), .. }) => {
                (*at - IoLoop::current().now()).as_secs_f64().round() as i64
            }
            Some(_) => -1,
            None => -2,
        }
    }

    fn insert(&self, key: &[u8], value: Vec<u8>, expiry: Option<Expiry>) -> Result<(), String> {
        let entry = Entry { value, expiry };
        let mut entries = self.entries.borrow_mut();
        let is_full = entries.len() >= MAX_KEYS;
        match entries.get_mut(key) {
            Some(old) => *old = entry,
            None if is_full => return Err("OOM command not allowed when used memory > 'maxmemory'.".into()),
            None => drop(entries.insert(key.to_vec(), entry)),
        }
        Ok(())
    }

    /// `None` for a time that has passed.
    fn expiry(self: &Rc<Keys>, key: &[u8], millis: i64) -> Option<Expiry> {
        let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0)?;
        let (after, io_loop) = (Duration::from_millis(millis).min(CENTURY), IoLoop::current());
        let (keys, owned) = (Rc::downgrade(self), key.to_vec());
        let remove = move || {
            if let Some(keys) = keys.upgrade() {
                keys.remove(&owned);
            }
        };
        Some(Expiry(io_loop.now() + after, io_loop.call_later(after, remove)))
    }
}
