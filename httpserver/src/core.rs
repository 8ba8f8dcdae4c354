//! What all connections of one server share: options, the date, and heads to use again.

use std::cell::{OnceCell, RefCell};
use std::time::Instant;

use crate::ambient::AmbientCache;
use crate::http1::RequestHead;
use crate::options::HttpOptions;

/// Heads that are kept for the next request.
const KEEP_HEADS: usize = 64;

/// A head that grew beyond this is shrunk before it is kept.
const KEEP_HEAD_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: HttpOptions,
    pub(crate) ambient: AmbientCache,
    /// When the first connection came, from which ages are counted.
    epoch: OnceCell<Instant>,
    #[expect(clippy::vec_box, reason = "requests hold the boxes, which travel in and out as they are")]
    heads: RefCell<Vec<Box<RequestHead>>>,
}

impl Core {
    pub(crate) fn new(options: HttpOptions) -> Core {
        let ambient = AmbientCache::new(options.ambient.clone());
        Core { options, ambient, epoch: OnceCell::new(), heads: RefCell::default() }
    }

    /// How long there have been connections, in seconds.
    pub(crate) fn age(&self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_init(|| now);
        u32::try_from(now.saturating_duration_since(epoch).as_secs()).unwrap_or(u32::MAX)
    }

    pub(crate) fn lease_head(&self) -> Box<RequestHead> {
        let kept = self.heads.borrow_mut().pop();
        kept.unwrap_or_default()
    }

    pub(crate) fn return_head(&self, mut head: Box<RequestHead>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < KEEP_HEADS {
            head.clear();
            head.shrink_to(KEEP_HEAD_BYTES);
            heads.push(head);
        }
    }
}
