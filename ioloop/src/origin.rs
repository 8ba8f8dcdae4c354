//! Where work came from. Each origin is known by a small number, so that a loop can say what it runs in one store and
//! any thread can look up what that means.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// What kind of work a loop runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WorkKind {
    /// Added by `add_callback`, here or from another thread.
    Callback,
    /// Added by `call_at` or `call_later`.
    Timer,
    /// A task: `spawn`, or the future of `run_sync`.
    Task,
    /// Added by `add_handler`.
    Handler,
}

impl fmt::Display for WorkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkKind::Callback => "callback",
            WorkKind::Timer => "timer",
            WorkKind::Task => "task",
            WorkKind::Handler => "handler",
        })
    }
}

/// What a loop was running, and which line of the program gave it that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Origin {
    /// What kind of work it is.
    pub kind: WorkKind,
    /// What the work calls itself with [`label`](crate::label), else the path of its function, or of the function around
    /// it for a closure or an async block.
    pub label: &'static str,
    /// Where it was added or spawned.
    pub location: &'static Location<'static>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` from {}", self.kind, self.label, self.location)
    }
}

/// The number of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(pub(crate) u32);

/// Every origin that the process has seen: as many as its source has places that add work, times the types they add.
struct Origins {
    all: Vec<Origin>,
    places: HashMap<Origin, Place>,
}

impl Origins {
    /// With room for more than most programs have: it would be memory that stays amid a crowd that passes.
    fn new() -> Origins {
        Origins { all: Vec::with_capacity(32), places: HashMap::with_capacity(28) }
    }
}

static ORIGINS: Mutex<Option<Origins>> = Mutex::new(None);

/// Places that this thread has asked for before, found by the addresses of their location and label: work is added
/// from the same few lines again and again.
const RECENT: usize = 64;

thread_local! {
    static RECENTLY: [Cell<(usize, usize, Place)>; RECENT] =
        const { [const { Cell::new((0, 0, Place::NONE)) }; RECENT] };
}

impl Place {
    /// Work that nobody in particular has added.
    pub(crate) const NONE: Place = Place(0);

    /// The place of work of type `W` that was added at `location`.
    pub(crate) fn of<W>(kind: WorkKind, location: &'static Location<'static>) -> Place {
        let name = std::any::type_name::<W>();
        let key = (std::ptr::from_ref(location).addr(), name.as_ptr().addr());
        let slot = (key.0 >> 3 ^ key.1 ^ kind as usize) % RECENT;
        // In the destructors of a thread that ends there is no memory of what was asked.
        let known = RECENTLY.try_with(|recent| recent[slot].get()).ok();
        match known {
            Some((location, name, place)) if (location, name) == key => place,
            _ => {
                let place = Place::intern(Origin { kind, label: function_in(name), location });
                let _ = RECENTLY.try_with(|recent| recent[slot].set((key.0, key.1, place)));
                place
            }
        }
    }

    fn intern(origin: Origin) -> Place {
        let mut origins = ORIGINS.lock().unwrap_or_else(PoisonError::into_inner);
        let origins = origins.get_or_insert_with(Origins::new);
        *origins.places.entry(origin).or_insert_with(|| {
            origins.all.push(origin);
            Place(u32::try_from(origins.all.len()).unwrap_or(0))
        })
    }

    /// The same work under another label.
    pub(crate) fn labelled(self, label: &'static str) -> Place {
        self.origin().map_or(Place::NONE, |origin| Place::intern(Origin { label, ..origin }))
    }

    pub(crate) fn origin(self) -> Option<Origin> {
        let origins = ORIGINS.lock().unwrap_or_else(PoisonError::into_inner);
        origins.as_ref()?.all.get((self.0 as usize).checked_sub(1)?).copied()
    }
}

/// The function in the name of a type: `server::serve` in `server::serve<Echo>::{{closure}}`, and the whole of
/// `<server::Echo as server::Serve>::serve`.
fn function_in(name: &'static str) -> &'static str {
    const CLOSURE: &str = "::{{closure}}";
    let (mut depth, mut group, mut end) = (0, 0, name.len());
    let mut before = 0;
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'<' => {
                if depth == 0 {
                    group = at;
                }
                depth += 1;
            }
            b'>' if before != b'-' => depth -= 1, // else an arrow
            b':' if depth == 0 && name[at..].starts_with(CLOSURE) => {
                end = at;
                break;
            }
            _ => {}
        }
        before = byte;
    }
    let path = &name[..end];
    // What the function is generic over goes; what is generic in the path before it stays, or it would have no name.
    if path.ends_with('>') && group > 0 { &path[..group] } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_function() -> impl Fn() {
        || {}
    }

    fn place_of<W>(_work: W, location: &'static Location<'static>) -> Place {
        Place::of::<W>(WorkKind::Callback, location)
    }

    #[test]
    fn the_same_work_from_the_same_line_has_one_place() {
        let here = Location::caller();
        let first = place_of(some_function(), here);
        assert_eq!(first, place_of(some_function(), here));
        assert_ne!(first, Place::of::<u8>(WorkKind::Callback, here));
        let elsewhere = std::thread::spawn(move || place_of(some_function(), here)).join().unwrap();
        assert_eq!(first, elsewhere, "other threads call it the same");
    }

    #[test]
    fn a_closure_is_labelled_with_the_function_around_it() {
        let origin = place_of(some_function(), Location::caller()).origin().unwrap();
        assert_eq!(origin.label, "ioloop::origin::tests::some_function");
        assert_eq!(origin.location.file(), file!());
    }

    #[test]
    fn a_function_keeps_its_name_whatever_is_generic_around_it() {
        for (name, function) in [
            ("a::main::{{closure}}", "a::main"),
            ("a::serve<a::Echo>::{{closure}}::{{closure}}", "a::serve"),
            ("a::serve<a::main::{{closure}}, fn() -> u8>::{{closure}}", "a::serve"),
            ("<a::Echo as a::Serve<u8>>::serve::{{closure}}", "<a::Echo as a::Serve<u8>>::serve"),
            ("<a::Echo as a::Serve>::serve<u8>::{{closure}}", "<a::Echo as a::Serve>::serve"),
            ("a::Cache<a::Key>::sweep::{{closure}}", "a::Cache<a::Key>::sweep"),
            ("core::pin::Pin<alloc::boxed::Box<dyn core::future::Future>>", "core::pin::Pin"),
            ("fn() -> u8", "fn() -> u8"),
        ] {
            assert_eq!(function_in(name), function, "{name}");
        }
    }

    #[test]
    fn a_label_of_ones_own_keeps_kind_and_location() {
        let place = place_of(some_function(), Location::caller());
        let (before, after) = (place.origin().unwrap(), place.labelled("resize").origin().unwrap());
        assert_eq!(after, Origin { label: "resize", ..before });
        assert_eq!(Place::NONE.labelled("nothing"), Place::NONE);
    }
}
