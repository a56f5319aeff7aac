//! The frame that the driver hands over, as [`Bytes`].

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use lb_common::packet::Bytes;
use lb_common::packet::wire::Header;

/// A frame in the driver's memory.
///
/// `data` to `end` is its first page, or all of it; what a jumbo frame has in others is never read.
///
/// Every pointer into it is made by [`header`](Bytes::header) or [`header_mut`](Bytes::header_mut), after a
/// comparison with the end, which is what the verifier asks for too.
pub(crate) struct Frame {
    ctx: *mut xdp_md,
    data: usize,
    end: usize,
}

impl Frame {
    /// The frame of a program's context.
    #[inline(always)]
    pub(crate) fn new(ctx: *mut xdp_md) -> Self {
        // SAFETY: the kernel gives a program a valid context.
        let (data, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
        Self { ctx, data, end }
    }

    /// Where the header at `at` is, if it lies in the frame.
    #[inline(always)]
    fn at<H: Header>(&self, at: usize) -> Option<*mut H> {
        let from = self.data + at;
        let header = from as *mut H;
        // SAFETY: no frame is at address 0. (The compiler would look.)
        unsafe { core::hint::assert_unchecked(!header.is_null()) };
        (from + size_of::<H>() <= self.end).then_some(header)
    }

    /// Takes over new bounds after a helper has moved them, which makes all earlier pointers invalid.
    #[inline(always)]
    fn moved(&mut self, result: i64) -> Option<()> {
        *self = Self::new(self.ctx);
        (result == 0).then_some(())
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid.
        (unsafe { bpf_xdp_get_buff_len(self.ctx) }) as usize
    }

    #[inline(always)]
    fn reaches(&self, len: usize) -> bool {
        // Nearly every frame lies in one page whole.
        self.end - self.data >= len || self.len() >= len
    }

    #[inline(always)]
    fn header<H: Header>(&self, at: usize) -> Option<&H> {
        // SAFETY: the header lies between the frame's start and end, which only change together with `self`, borrowed
        // mutably; any address and any bytes will do for a `Header`.
        self.at(at).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<H: Header>(&mut self, at: usize) -> Option<&mut H> {
        // SAFETY: as above, and `self` is borrowed mutably, so there is no other reference.
        self.at(at).map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn grow_front(&mut self, by: u16) -> Option<()> {
        // SAFETY: the context is valid; the kernel checks that there is room.
        let result = unsafe { bpf_xdp_adjust_head(self.ctx, -i32::from(by)) };
        self.moved(result)
    }

    #[inline(always)]
    fn cut_front(&mut self, by: u16) -> Option<()> {
        // SAFETY: the context is valid; the kernel checks that a frame remains.
        let result = unsafe { bpf_xdp_adjust_head(self.ctx, i32::from(by)) };
        self.moved(result)
    }

    #[inline(always)]
    fn cut_end(&mut self, by: u16) -> Option<()> {
        // SAFETY: the context is valid; the kernel checks that a frame remains.
        let result = unsafe { bpf_xdp_adjust_tail(self.ctx, -i32::from(by)) };
        self.moved(result)
    }
}
