//! A connection's state, which is active with an owner or inactive under a channel binding, and its id.

use crate::channel::ChannelBindingId;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Instant;

/// A lease: one use of one connection. Whoever inserts a connection or is handed one gets a new id.
///
/// The id is good until the connection is handed out again. While the connection is inactive, its last id still finds
/// it. Once it has been handed out again, every call with the old id returns [`NotFound`](crate::NotFound). So a former
/// owner can't give back, close or move a connection that somebody else uses.
///
/// An id never names another connection later, neither in this cache nor in another one of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) generation: NonZeroU64,
    /// In the upper half the connection's number of uses at the time, in the lower half its slot. An id of two words is
    /// passed in registers. Three fields would go through memory: to write them one by one and then read them as a
    /// whole stalls the processor.
    lease: u64,
}

impl ConnId {
    #[inline]
    pub(crate) fn new(generation: NonZeroU64, slot: u32, uses: u32) -> ConnId {
        ConnId { generation, lease: u64::from(uses) << 32 | u64::from(slot) }
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        self.lease as u32
    }

    #[inline]
    pub(crate) fn uses(self) -> u32 {
        (self.lease >> 32) as u32
    }

    /// Whether both are leases of one connection, the same lease or different ones.
    pub fn same_connection(self, other: ConnId) -> bool {
        self.generation == other.generation
    }
}

/// The connection's number in the process and the number of the use: `17#3`.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.generation, self.uses())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// Who uses an active connection: any number that the host chooses, such as the index of its session. An owner may have
/// several connections and requests at a time. Before you use the number for somebody else,
/// [close](crate::Cache::close_connection) the connections that it still has, and
/// [withdraw](crate::Cache::withdraw) the requests that still wait. Successive numbers, such as those of a counter or the
/// keys of a slab, are the fastest.
///
/// The seed, Ocamlnet's connection cache, uses the pipeline object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// What a host wants to keep with an inactive connection: a TLS session to resume, or a protocol's state.
///
/// It moves into the cache when the connection becomes inactive, and out when the connection is handed out or evicted.
/// It is never printed. Keep values that aren't `Send` (such as an `Rc`) in the connection type instead.
pub type PrivateData = Option<Box<dyn Any + Send>>;

/// The state that a connection is to have: in use, or free for reuse.
pub enum ConnState {
    /// In use by this owner.
    Active(Owner),
    /// Not in use, and watched by the cache. Built by [`ConnState::inactive`].
    #[non_exhaustive]
    Inactive {
        /// The channel binding under which it can be found.
        channel: ChannelBindingId,
        /// What to keep with it.
        private: PrivateData,
        /// A deadline of its own.
        until: Option<Instant>,
    },
}

impl ConnState {
    /// Inactive under this channel binding, without private data and without a deadline of its own.
    pub fn inactive(channel: ChannelBindingId) -> ConnState {
        ConnState::Inactive { channel, private: None, until: None }
    }

    /// Keeps `data` with the inactive connection. [`PrivateData`] that came from a cache, or the box in it, isn't boxed
    /// again. An active connection has no private data, so this changes nothing there.
    pub fn private(self, data: impl Any + Send) -> ConnState {
        let mut data = Some(data);
        let any: &mut dyn Any = &mut data;
        if let Some(private) = any.downcast_mut::<Option<PrivateData>>() {
            return self.private_data(private.take().flatten());
        }
        if let Some(boxed) = any.downcast_mut::<Option<Box<dyn Any + Send>>>() {
            return self.private_data(boxed.take());
        }
        self.private_data(data.map(|data| Box::new(data) as Box<dyn Any + Send>))
    }

    /// Keeps private data that came from a cache.
    pub fn private_data(mut self, data: PrivateData) -> ConnState {
        if let ConnState::Inactive { private, .. } = &mut self {
            *private = data;
        }
        self
    }

    /// From `until` on, the inactive connection isn't handed out but evicted, for example for HTTP's
    /// `Keep-Alive: timeout=`. The cache's own limits still apply; the earliest counts.
    pub fn until(mut self, until: Instant) -> ConnState {
        if let ConnState::Inactive { until: kept_until, .. } = &mut self {
            *kept_until = Some(until);
        }
        self
    }
}

impl fmt::Debug for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnState::Active(owner) => ConnStateRef::Active(*owner),
            ConnState::Inactive { channel, private, until } => {
                ConnStateRef::Inactive { channel: *channel, private: private.as_deref(), until: *until }
            }
        }
        .fmt(f)
    }
}

/// The state of a connection, borrowed from the cache.
#[derive(Clone, Copy)]
pub enum ConnStateRef<'a> {
    /// In use by this owner.
    Active(Owner),
    /// Not in use, and watched by the cache.
    #[non_exhaustive]
    Inactive {
        /// The channel binding under which it can be found.
        channel: ChannelBindingId,
        /// The private data kept with it.
        private: Option<&'a (dyn Any + Send)>,
        /// The deadline of its own, if one was set.
        until: Option<Instant>,
    },
}

impl ConnStateRef<'_> {
    /// The owner of an active connection.
    pub fn owner(&self) -> Option<Owner> {
        match self {
            ConnStateRef::Active(owner) => Some(*owner),
            ConnStateRef::Inactive { .. } => None,
        }
    }

    /// Whether nobody uses the connection.
    pub fn is_inactive(&self) -> bool {
        self.owner().is_none()
    }
}

impl fmt::Debug for ConnStateRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnStateRef::Active(owner) => f.debug_tuple("Active").field(owner).finish(),
            ConnStateRef::Inactive { channel, private, until } => f
                .debug_struct("Inactive")
                .field("channel", &channel.0)
                .field("private", &private.is_some())
                .field("until", until)
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Interner;

    #[test]
    fn private_data_is_boxed_once() {
        let (out, boxed, plain): (PrivateData, Box<dyn Any + Send>, _) =
            (Some(Box::new("data")), Box::new("data"), "data");
        for state in [
            ConnState::inactive(ChannelBindingId::PLAIN).private(out),
            ConnState::inactive(ChannelBindingId::PLAIN).private(boxed),
            ConnState::inactive(ChannelBindingId::PLAIN).private(plain),
        ] {
            let ConnState::Inactive { private, .. } = state else { panic!("it is inactive") };
            assert_eq!(private.unwrap().downcast_ref(), Some(&"data"));
        }
    }

    #[test]
    fn an_id_is_two_words_and_so_is_none_or_one() {
        assert_eq!((size_of::<ConnId>(), size_of::<Option<ConnId>>()), (16, 16));
        let id = ConnId::new(NonZeroU64::MAX, u32::MAX - 1, u32::MAX);
        assert_eq!((id.generation, id.slot(), id.uses()), (NonZeroU64::MAX, u32::MAX - 1, u32::MAX));
    }

    #[test]
    fn names_and_states_are_printed() {
        let id = ConnId::new(NonZeroU64::MIN.saturating_add(16), 3, 2);
        assert_eq!(format!("{id} {id:?} {}", ChannelBindingId(3)), "17#2 ConnId(17#2) 3");
        assert_eq!(format!("{:?}", ConnState::Active(Owner(1))), "Active(Owner(1))");
        let inactive = ConnState::inactive(ChannelBindingId(3));
        assert_eq!(format!("{inactive:?}"), "Inactive { channel: 3, private: false, until: None }");
        let inactive = format!("{:?}", inactive.private("data"));
        assert_eq!(inactive, "Inactive { channel: 3, private: true, until: None }");
        assert_eq!(format!("{:?}", Interner::<u8>::new()), "Interner { len: 0, .. }");
    }
}
