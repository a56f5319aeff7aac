//! Which atomic words the connection table is made of.
//!
//! The table's rules are written once, over [`Atoms`]. User space uses the processor's atomics ([`Host`]), the model
//! checker its own, and the XDP program the kernel's atomic instructions, which this crate cannot name: the BPF
//! target has no read-modify-write in `core::sync::atomic`.

/// One word that several CPUs read and change.
///
/// A load is at least *acquire*, a store at least *release*, and what reads and writes at once is a full barrier.
/// On x86-64, plain volatile loads and stores are that.
pub trait Word<V>: Sized {
    /// A word that nobody else can see yet.
    fn new(value: V) -> Self;
    /// The value now.
    fn load(&self) -> V;
    /// Sets the value.
    fn store(&self, value: V);
    /// Sets the value; what it was.
    fn swap(&self, value: V) -> V;
    /// Sets the value to `new` if it is `current`; what it was, as `Ok` when it was changed. Never fails for nothing.
    fn compare_exchange(&self, current: V, new: V) -> Result<V, V>;
    /// Adds, modulo the word's size; what it was.
    fn fetch_add(&self, value: V) -> V;
}

/// A family of atomic words.
pub trait Atoms: Sized + 'static {
    /// 64 bits.
    type U64: Word<u64>;
    /// 32 bits.
    type U32: Word<u32>;

    /// What this CPU wrote before is visible to all before it reads on. Nothing is to be done where a
    /// read-modify-write, which always precedes it here, is a full barrier, as in the kernel.
    fn fence();
}

/// The atomics of the processor that this is compiled for.
#[cfg(target_has_atomic = "64")]
#[derive(Clone, Copy, Debug)]
pub struct Host;

#[cfg(target_has_atomic = "64")]
mod host {
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    impl super::Atoms for super::Host {
        type U64 = AtomicU64;
        type U32 = AtomicU32;

        #[inline(always)]
        fn fence() {
            fence(Ordering::SeqCst);
        }
    }

    macro_rules! word {
        ($atomic:ty, $value:ty) => {
            impl super::Word<$value> for $atomic {
                #[inline(always)]
                fn new(value: $value) -> Self {
                    <$atomic>::new(value)
                }

                #[inline(always)]
                fn load(&self) -> $value {
                    self.load(Ordering::Acquire)
                }

                #[inline(always)]
                fn store(&self, value: $value) {
                    self.store(value, Ordering::Release);
                }

                #[inline(always)]
                fn swap(&self, value: $value) -> $value {
                    self.swap(value, Ordering::SeqCst)
                }

                #[inline(always)]
                fn compare_exchange(&self, current: $value, new: $value) -> Result<$value, $value> {
                    self.compare_exchange(current, new, Ordering::SeqCst, Ordering::Acquire)
                }

                #[inline(always)]
                fn fetch_add(&self, value: $value) -> $value {
                    self.fetch_add(value, Ordering::SeqCst)
                }
            }
        };
    }

    word!(AtomicU64, u64);
    word!(AtomicU32, u32);
}
