//! Channel bindings: which connections to one peer must not replace each other.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::sync::Arc;

/// Distinguishes connections to one peer that must not replace each other, because they have different TLS settings,
/// client certificates, proxy credentials or local addresses.
///
/// Choose the numbers yourself, or let one [`Interner`] turn configurations into them. (It never makes 0, which means
/// "nothing special".) The number may be printed and logged. The configuration behind it never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelBindingId(pub u64);

impl ChannelBindingId {
    /// Nothing special: no TLS and no credentials.
    pub const PLAIN: ChannelBindingId = ChannelBindingId(0);
}

impl fmt::Display for ChannelBindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Turns configurations into [`ChannelBindingId`]s: equal ones into the same id, different ones into different ids.
///
/// Configurations are compared in full, and kept until they are [forgotten](Interner::forget). Ids are never 0 and
/// never reused, not even those of forgotten configurations. `Debug` shows only how many configurations there are.
///
/// Use one interner for each cache, and no numbers of your own besides: two interners give the same ids to different
/// configurations. If a configuration has several parts (TLS settings, a proxy's user), intern them as one value, such
/// as a tuple.
///
/// ```
/// use conncache::Interner;
///
/// let mut channels = Interner::new();
/// let alice = channels.intern(("alice", "secret"))?;
/// let bob = channels.intern(("bob", "secret"))?;
/// assert_ne!(alice, bob);
/// assert_eq!(channels.intern(("alice", "secret"))?, alice);
/// assert_eq!(channels.get(bob), Some(&("bob", "secret")));
/// # Ok::<(), conncache::ChannelsExhausted>(())
/// ```
pub struct Interner<T> {
    ids: HashMap<Arc<T>, ChannelBindingId>,
    configurations: HashMap<ChannelBindingId, Arc<T>>,
    last: u64,
}

impl<T: Eq + Hash> Interner<T> {
    /// An empty interner.
    pub fn new() -> Interner<T> {
        Interner::default()
    }

    /// The id of `configuration`: the one it has, else a new one.
    ///
    /// # Errors
    ///
    /// [`ChannelsExhausted`] once all 2^64 - 1 ids have been given out. Known configurations still get theirs.
    pub fn intern(&mut self, configuration: T) -> Result<ChannelBindingId, ChannelsExhausted> {
        if let Some(&id) = self.ids.get(&configuration) {
            return Ok(id);
        }
        self.last = self.last.checked_add(1).ok_or(ChannelsExhausted)?;
        let (id, configuration) = (ChannelBindingId(self.last), Arc::new(configuration));
        self.ids.insert(Arc::clone(&configuration), id);
        self.configurations.insert(id, configuration);
        Ok(id)
    }

    /// The configuration behind `id`.
    pub fn get(&self, id: ChannelBindingId) -> Option<&T> {
        self.configurations.get(&id).map(|configuration| &**configuration)
    }

    /// Drops the configuration behind `id`, and returns whether there was one. If it is interned again, it gets a new
    /// id, so that connections made under the old one are never found for it.
    pub fn forget(&mut self, id: ChannelBindingId) -> bool {
        self.configurations.remove(&id).is_some_and(|configuration| self.ids.remove(&configuration).is_some())
    }

    /// How many configurations are known.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no configuration is known.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl<T> Default for Interner<T> {
    fn default() -> Interner<T> {
        Interner { ids: HashMap::new(), configurations: HashMap::new(), last: 0 }
    }
}

impl<T> fmt::Debug for Interner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interner").field("len", &self.ids.len()).finish_non_exhaustive()
    }
}

/// All ids of an [`Interner`] have been given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelsExhausted;

impl fmt::Display for ChannelsExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel bindings: all {} ids have been given out", u64::MAX)
    }
}

impl std::error::Error for ChannelsExhausted {}

impl From<ChannelsExhausted> for io::Error {
    fn from(error: ChannelsExhausted) -> io::Error {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_configuration_gets_a_new_id() {
        let mut channels = Interner::new();
        let first = channels.intern("config").unwrap();
        assert!(!channels.is_empty() && channels.get(first) == Some(&"config"));
        assert!(channels.forget(first));
        assert!(!channels.forget(first));
        assert_eq!(channels.get(first), None);
        assert_eq!((channels.len(), channels.is_empty()), (0, true));
        assert_ne!(channels.intern("config").unwrap(), first);
    }

    #[test]
    fn ids_run_out_with_an_error_and_are_never_reused() {
        let mut channels = Interner { last: u64::MAX - 1, ..Interner::default() };
        let last = channels.intern("a").unwrap();
        assert_eq!(channels.intern("b"), Err(ChannelsExhausted));
        assert_eq!(channels.intern("a"), Ok(last));
        assert_eq!(channels.len(), 1);
        assert_eq!(ChannelsExhausted.to_string(), "channel bindings: all 18446744073709551615 ids have been given out");
    }
}
