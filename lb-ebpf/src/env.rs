//! The data plane's surroundings in the kernel: maps, clock, routes.

use core::ffi::c_void;
use core::marker::PhantomData;

use aya_ebpf::bindings::{BPF_NOEXIST, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_loop,
};
use lb_common::abi::{
    CpuState, Datagram, DatagramKey, LOADS_LEN, Locality, LocalityKey, MEMBERS_LEN, Member,
    OwnMacs, Plan, Real, RealKey, ServiceKey, Settings, TemplateKey, Timeouts, Traffic,
};
use lb_common::atomic::Word;
use lb_common::conn::{Loads, Tick};
use lb_common::counter::Counter;
use lb_common::env::{Env, Query, Route};
use lb_common::load;
use lb_common::net::Be32;
use lb_common::sched::{Pool, Step};
use lb_common::table::{Bucket, Buckets};
use lb_common::template::Template;

use crate::atomic::{Atomic, Bpf};
use crate::family::Family;
use crate::{fib, maps};

/// The last tick that a CPU asked for, and below it the jiffy in which it did, its lowest bit set. In a cache line of its own.
static TICK: OwnLine = OwnLine(Atomic::zero());

#[repr(align(64))]
struct OwnLine(Atomic<u64>);

/// The kernel, from where a program for packets of one family runs.
pub(crate) struct Kernel<A> {
    ctx: *mut xdp_md,
    family: PhantomData<A>,
}

impl<A> Kernel<A> {
    /// The kernel of a program's context.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut xdp_md) -> Self {
        Self {
            ctx,
            family: PhantomData,
        }
    }

    /// The kernel for what asks neither for the interface nor for routes. (The verifier refuses a program that does.)
    #[inline(always)]
    pub(crate) const fn without_context() -> Self {
        Self::new(core::ptr::null_mut())
    }
}

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(count) = maps::COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the element is this CPU's own, and programs on one CPU do not interrupt each other here.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}

impl<A: Family> Buckets for Kernel<A> {
    type Atoms = Bpf;
    type Addr = A;

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket<Bpf, A>> {
        A::conns().get(index)
    }
}

impl<A: Family> Loads for Kernel<A> {
    #[inline(always)]
    fn add(&self, real: u32, change: u64) {
        add_load(real, change);
    }
}

/// Adds to the load of a real server. It is done in many places, so the verifier is to look at it once.
#[unsafe(no_mangle)]
extern "C" fn add_load(real: u32, change: u64) -> u32 {
    // What it asks for is of no family.
    let kernel = Kernel::<Be32>::without_context();
    if let Some(loads) = kernel.loads()
        && let Some(record) = kernel.real(real)
    {
        load::add(&loads[(real & (LOADS_LEN - 1)) as usize], record, change);
    }
    0
}

impl<A: Family> Env for Kernel<A> {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        maps::SETTINGS.get(0)
    }

    #[inline(always)]
    fn clock(&self) -> u64 {
        // SAFETY: the helper has no conditions.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    /// The clock's helper takes as long as the look-up of a connection, and what it answers changes with the jiffies, which
    /// are but a load.
    #[inline(always)]
    fn tick(&self) -> Tick {
        // SAFETY: the helper has no conditions.
        let jiffy = unsafe { bpf_jiffies64() } as u32 | 1;
        let known = TICK.0.load();
        if known as u32 == jiffy {
            return Tick((known >> 32) as u32);
        }
        let tick = Tick::at(self.clock());
        TICK.0.store(u64::from(tick.0) << 32 | u64::from(jiffy));
        tick
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no conditions.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn filter(&self, word: u32) -> u64 {
        maps::FILTER.get(word).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn real(&self, slot: u32) -> Option<&Real> {
        maps::REALS.get(slot)
    }

    #[inline(always)]
    fn timeouts(&self, profile: u32) -> Option<&Timeouts> {
        maps::TIMEOUTS.get(profile)
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey<A>) -> Option<u32> {
        // SAFETY: the value is one word, copied out at once.
        unsafe { A::services().get(key) }.copied()
    }

    #[inline(always)]
    fn current(&self, service: u32) -> Option<u32> {
        Some(maps::CURRENT.get(service)?.load() as u32)
    }

    #[inline(always)]
    fn plan(&self, generation: u32) -> Option<&Plan> {
        Some(&maps::GENERATIONS.get(generation)?.plan)
    }

    #[inline(always)]
    fn standby(&self, router: u32) -> bool {
        maps::STANDBY
            .get(router)
            .is_some_and(|standby| standby.load() != 0)
    }

    #[inline(always)]
    fn own_macs(&self, place: u32) -> Option<&OwnMacs> {
        maps::OWNMACS.get(place)
    }

    #[inline(always)]
    fn turn(&self, generation: u32) -> Option<&Atomic<u64>> {
        let generation = maps::GENERATIONS.get_ptr_mut(generation)?;
        // SAFETY: the element lies in the map, `Atomic` has the layout of its word, and nobody reaches the word otherwise.
        Some(unsafe { &*(&raw mut (*generation).turn).cast() })
    }

    #[inline(always)]
    fn members(&self) -> Option<&[Member; MEMBERS_LEN as usize]> {
        maps::MEMBERS.get(0)
    }

    #[inline(always)]
    fn slots(&self, index: u32) -> u64 {
        maps::SLOTS.get(index).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn loads(&self) -> Option<&[Atomic<u64>; LOADS_LEN as usize]> {
        maps::LOADS.get(0)
    }

    #[inline(always)]
    fn locality(&self, key: &LocalityKey<A>) -> Option<Locality> {
        // SAFETY: copied out at once. Another CPU may write meanwhile; the schedulers trust none of it.
        unsafe { A::localities().get(key) }.copied()
    }

    #[inline(always)]
    fn remember(&self, key: &LocalityKey<A>, locality: &Locality) {
        // Where there is no memory for it, the next connection is scheduled as if it were the first.
        let _ = A::localities().insert(key, locality, 0);
    }

    #[inline(always)]
    fn template(&self, key: &TemplateKey<A>) -> Option<Template> {
        // SAFETY: the value is one word, copied out at once.
        unsafe { A::templates().get(key) }.copied()
    }

    #[inline(always)]
    fn add_template(&self, key: &TemplateKey<A>, template: Template) -> bool {
        A::templates()
            .insert(key, template, BPF_NOEXIST.into())
            .is_ok()
    }

    #[inline(always)]
    fn put_template(&self, key: &TemplateKey<A>, template: Template) -> bool {
        A::templates().insert(key, template, 0).is_ok()
    }

    #[inline(always)]
    fn nat_real(&self, key: &RealKey<A>) -> Option<ServiceKey<A>> {
        // SAFETY: the value is one word, copied out at once.
        unsafe { A::nat_reals().get(key) }.copied()
    }

    #[inline(always)]
    fn datagram(&self, key: &DatagramKey<A>) -> Option<Datagram<A>> {
        // SAFETY: copied out at once. Another CPU may write meanwhile; nothing in it is trusted.
        unsafe { A::fragments().get(key) }.copied()
    }

    #[inline(always)]
    fn keep_datagram(&self, key: &DatagramKey<A>, datagram: &Datagram<A>) {
        // Where there is no memory for it, later fragments are the stack's.
        let _ = A::fragments().insert(key, datagram, 0);
    }

    #[inline(always)]
    fn traffic(&self, real: u32, change: impl FnOnce(&mut Traffic)) {
        if let Some(traffic) = maps::TRAFFIC.get_ptr_mut(real) {
            // SAFETY: the element is this CPU's own, and programs on one CPU do not interrupt each other here.
            change(unsafe { &mut *traffic });
        }
    }

    #[inline(always)]
    fn cpu<R>(&self, change: impl FnOnce(&mut CpuState) -> R) -> Option<R> {
        let cpu = maps::CPU.get_ptr_mut(0)?;
        // SAFETY: the element is this CPU's own, and programs on one CPU do not interrupt each other here.
        Some(change(unsafe { &mut *cpu }))
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the kernel gives a program a valid context.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn route(&self, query: &Query<A>) -> Route {
        fib::route(self.ctx, self.ingress(), query)
    }

    #[inline(always)]
    fn repeat<P: Pool, S: Step<P>>(&self, pool: &P, times: u32, step: S) -> S {
        const {
            assert!(size_of::<S>() <= size_of::<maps::Scratch>() && align_of::<S>() <= 8);
        }
        let Some(place) = maps::SCRATCH.get_ptr_mut(0) else {
            return step;
        };
        let place = place.cast::<S>();
        let mut round = Round { pool, step: place };
        let body: unsafe extern "C" fn(u64, *mut c_void) -> i64 = once::<P, S>;
        // SAFETY: the place is this CPU's own, large enough and aligned, and loops are not nested; `once` gets the address of
        // `round` back, which outlives the call.
        unsafe {
            place.write(step);
            bpf_loop(times, body as *mut c_void, (&raw mut round).cast(), 0);
            place.read()
        }
    }
}

/// What a round of a loop works on.
///
/// The step's state lies in a map: there the verifier knows nothing of its values, so after one round it has seen them all. On the stack
/// it would follow them from round to round.
struct Round<'a, P, S> {
    pool: &'a P,
    step: *mut S,
}

/// The body of a loop: 1 ends it.
unsafe extern "C" fn once<P: Pool, S: Step<P>>(index: u64, round: *mut c_void) -> i64 {
    // SAFETY: `repeat` passes the address of a `Round` of these types, and nobody else uses it or the step meanwhile.
    let (pool, step) = unsafe {
        let round = &*round.cast::<Round<'_, P, S>>();
        (round.pool, &mut *round.step)
    };
    i64::from(!step.step(pool, index as u32))
}
