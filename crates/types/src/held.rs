//! How full what is bounded is.

/// One queue, map or set of a replica: how much it holds, and how much it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// Its name, as `stage.what`; in bytes where it ends in `-bytes`.
    pub name: &'static str,
    /// Items in it, or bytes.
    pub count: u64,
    /// How many it may hold, by construction.
    pub bound: u64,
}

impl Held {
    /// So many items, of at most so many.
    #[must_use]
    pub fn new(name: &'static str, count: usize, bound: u64) -> Self {
        Self { name, count: u64::try_from(count).unwrap_or(u64::MAX), bound }
    }

    /// Whether it holds more than it may: then something is not bounded as it should be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.count > self.bound
    }
}
