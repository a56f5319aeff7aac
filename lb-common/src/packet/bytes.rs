//! Where do a packet's bytes come from, and how far may one look?

use super::wire::Header;

/// A frame, from its Ethernet header to its last byte.
///
/// The two accessors are the only way to a packet's bytes; each checks that the whole header lies inside. Of a frame that does
/// not fit one page of memory, they give those of the first.
pub trait Bytes {
    /// The frame's length.
    fn len(&self) -> usize;

    /// Whether the frame has at least so many bytes: what costs less than to know how many.
    #[inline(always)]
    fn reaches(&self, len: usize) -> bool {
        self.len() >= len
    }

    /// Whether the frame has no bytes.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header at `at`, if all of it lies in the frame.
    fn header<H: Header>(&self, at: usize) -> Option<&H>;

    /// The header at `at` for writing, if all of it lies in the frame.
    fn header_mut<H: Header>(&mut self, at: usize) -> Option<&mut H>;

    /// Adds `by` bytes of unknown content in front. What was at offset 0 is then at `by`.
    fn grow_front(&mut self, by: u16) -> Option<()>;

    /// Takes `by` bytes off the front.
    fn cut_front(&mut self, by: u16) -> Option<()>;

    /// Takes `by` bytes off the end.
    fn cut_end(&mut self, by: u16) -> Option<()>;
}

/// A frame in a buffer of the host, with room in front for what a rewrite adds.
#[derive(Debug)]
pub struct SliceFrame<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> SliceFrame<'a> {
    /// The frame that fills `buffer` from `start` to its end; the bytes before it are room to grow.
    pub fn new(buffer: &'a mut [u8], start: usize) -> Self {
        let end = buffer.len();
        Self {
            buffer,
            start: start.min(end),
            end,
        }
    }

    /// The frame's bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where a header of `size` bytes at `at` lies in the buffer.
    fn span(&self, at: usize, size: usize) -> Option<core::ops::Range<usize>> {
        let from = self.start.checked_add(at)?;
        let to = from.checked_add(size)?;
        (to <= self.end).then_some(from..to)
    }
}

impl Bytes for SliceFrame<'_> {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn header<H: Header>(&self, at: usize) -> Option<&H> {
        H::from_bytes(self.buffer.get(self.span(at, size_of::<H>())?)?)
    }

    fn header_mut<H: Header>(&mut self, at: usize) -> Option<&mut H> {
        let span = self.span(at, size_of::<H>())?;
        H::from_bytes_mut(self.buffer.get_mut(span)?)
    }

    fn grow_front(&mut self, by: u16) -> Option<()> {
        self.start = self.start.checked_sub(by.into())?;
        Some(())
    }

    fn cut_front(&mut self, by: u16) -> Option<()> {
        let start = self.start + usize::from(by);
        // The kernel keeps at least an Ethernet header, so the model does too.
        if start + super::wire::ETH_LEN > self.end {
            return None;
        }
        self.start = start;
        Some(())
    }

    fn cut_end(&mut self, by: u16) -> Option<()> {
        let end = self.end.checked_sub(by.into())?;
        if end < self.start + super::wire::ETH_LEN {
            return None;
        }
        self.end = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::wire::Word32;

    #[test]
    fn a_header_must_lie_inside_the_frame_whole() {
        let mut buffer = [7u8; 24];
        let mut frame = SliceFrame::new(&mut buffer, 4);
        assert_eq!(frame.len(), 20);
        assert!(frame.header::<Word32>(16).is_some());
        assert!(frame.header::<Word32>(17).is_none());
        assert!(frame.header_mut::<Word32>(17).is_none());
        assert!(frame.header::<Word32>(usize::MAX).is_none());
    }

    #[test]
    fn growing_uses_the_room_in_front_and_no_more() {
        let mut buffer = [0u8; 24];
        let mut frame = SliceFrame::new(&mut buffer, 4);
        assert!(frame.grow_front(4).is_some());
        assert_eq!(frame.len(), 24);
        assert!(frame.grow_front(1).is_none());
        assert!(frame.cut_front(10).is_some());
        assert!(frame.cut_front(1).is_none());
        assert!(frame.cut_end(1).is_none());
    }
}
