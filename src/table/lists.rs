//! Doubly linked lists of slots, or of other numbers. The links are in the things that the numbers name. So a list
//! needs no memory of its own, and taking an entry out of the middle is O(1).

/// No slot, bucket, site, line or position.
pub(crate) const NONE: u32 = u32::MAX;

/// `None` instead of [`NONE`].
#[inline]
pub(crate) fn some(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

/// The neighbours of an entry in a list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    pub(crate) newer: u32,
    pub(crate) older: u32,
}

/// A table whose entries have links. It is implemented by [`linked`].
pub(crate) trait Linked {
    fn links(&self, slot: u32) -> Links;
    fn links_mut(&mut self, slot: u32) -> &mut Links;
}

/// Implements [`Linked`], by saying where the links of a slot are: `linked!(|self: Vec<Links>, slot| self[slot as
/// usize]);`.
macro_rules! linked {
    ($([$parameter:ident])? |$this:ident: $slots:ty, $slot:ident| $links:expr) => {
        impl $(<$parameter>)? $crate::table::lists::Linked for $slots {
            #[inline]
            fn links(&$this, $slot: u32) -> $crate::table::lists::Links {
                $links
            }

            #[inline]
            fn links_mut(&mut $this, $slot: u32) -> &mut $crate::table::lists::Links {
                &mut $links
            }
        }
    };
}

pub(crate) use linked;

/// A list of slots, newest first. The `newer` of the newest entry and the `older` of the oldest one mean nothing. So
/// taking out the newest entry changes no other entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) newest: u32,
    pub(crate) oldest: u32,
}

impl Links {
    pub(crate) const NONE: Links = Links { newer: NONE, older: NONE };
}

impl Default for List {
    fn default() -> List {
        List::EMPTY
    }
}

impl List {
    pub(crate) const EMPTY: List = List { newest: NONE, oldest: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.newest == NONE
    }

    /// Whether this slot is the only one in the list.
    #[inline]
    pub(crate) fn is_only(&self, slot: u32) -> bool {
        self.newest == slot && self.oldest == slot
    }

    #[inline]
    pub(crate) fn push_newest(&mut self, slots: &mut impl Linked, slot: u32) {
        slots.links_mut(slot).older = self.newest;
        match self.newest {
            NONE => self.oldest = slot,
            newest => slots.links_mut(newest).newer = slot,
        }
        self.newest = slot;
    }

    /// Puts `slot` next to `older`, on its newer side; at the oldest end if that is [`NONE`].
    pub(crate) fn insert(&mut self, slots: &mut impl Linked, slot: u32, older: u32) {
        let newer = match older {
            NONE => self.oldest,
            older => self.newer(slots, older).unwrap_or(NONE),
        };
        *slots.links_mut(slot) = Links { newer, older };
        match older {
            NONE => self.oldest = slot,
            older => slots.links_mut(older).newer = slot,
        }
        match newer {
            NONE => self.newest = slot,
            newer => slots.links_mut(newer).older = slot,
        }
    }

    /// Takes `slot`, which is in this list, out of it.
    #[inline]
    pub(crate) fn remove(&mut self, slots: &mut impl Linked, slot: u32) {
        let links = slots.links(slot);
        self.take_out(slots, slot, links);
    }

    /// [`remove`](List::remove) for a caller that has the links of `slot` at hand.
    #[inline(always)]
    pub(crate) fn take_out(&mut self, slots: &mut impl Linked, slot: u32, links: Links) {
        let Links { newer, older } = links;
        match (self.newest == slot, self.oldest == slot) {
            (true, true) => *self = List::EMPTY,
            (true, false) => self.newest = older,
            (false, true) => self.oldest = newer,
            (false, false) => {
                slots.links_mut(newer).older = older;
                slots.links_mut(older).newer = newer;
            }
        }
    }

    #[inline]
    pub(crate) fn newest(&self) -> Option<u32> {
        some(self.newest)
    }

    #[inline]
    pub(crate) fn oldest(&self) -> Option<u32> {
        some(self.oldest)
    }

    /// The one after `slot`, towards the oldest.
    pub(crate) fn older(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.oldest).then(|| slots.links(slot).older)
    }

    /// The one after `slot`, towards the newest.
    pub(crate) fn newer(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.newest).then(|| slots.links(slot).newer)
    }

    /// All of the list, oldest first.
    pub(crate) fn oldest_first(self, slots: &impl Linked) -> impl Iterator<Item = u32> {
        std::iter::successors(self.oldest(), move |&slot| self.newer(slots, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    linked!(|self: Vec<Links>, slot| self[slot as usize]);

    #[test]
    fn a_list_is_what_a_plain_vector_would_be() {
        let mut slots = vec![Links::NONE; 30];
        for seed in 0..20 {
            let (mut random, mut list, mut naive) = (Random::new(seed), List::EMPTY, Vec::new());
            for _ in 0..2_000 {
                let slot = random.below(slots.len()) as u32;
                match naive.iter().position(|&s| s == slot) {
                    Some(at) => {
                        naive.remove(at);
                        list.remove(&mut slots, slot);
                    }
                    None if random.below(2) == 0 => {
                        naive.insert(0, slot);
                        list.push_newest(&mut slots, slot);
                    }
                    None => {
                        let at = random.below(naive.len() + 1);
                        list.insert(&mut slots, slot, naive.get(at).copied().unwrap_or(NONE));
                        naive.insert(at, slot);
                    }
                }
                let older = |&slot: &u32| list.older(&slots, slot);
                let newest_first = std::iter::successors(list.newest(), older);
                assert!(newest_first.eq(naive.iter().copied()), "seed {seed}");
                assert!(list.oldest_first(&slots).eq(naive.iter().rev().copied()), "seed {seed}");
            }
        }
    }
}
