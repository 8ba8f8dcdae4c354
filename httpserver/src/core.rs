//! What all connections of one server share: options, the date, and heads to use again.

use std::cell::RefCell;

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
    #[expect(clippy::vec_box, reason = "requests hold the boxes, which travel in and out as they are")]
    heads: RefCell<Vec<Box<RequestHead>>>,
}

impl Core {
    pub(crate) fn new(options: HttpOptions) -> Core {
        let ambient = AmbientCache::new(options.ambient.clone());
        Core { options, ambient, heads: RefCell::default() }
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
