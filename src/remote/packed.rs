//! A long text that is kept compressed: a reply of 45 MB takes some eight.
//!
//! Promises: bytes that are no characters become U+FFFD, and a byte order mark at the beginning is left out; any piece of
//! the text can be read again, and pieces that lie near one another are cheap. The meaning of the text is not known here.

use std::collections::VecDeque;
use std::ops::Range;

use zstd::bulk::{Compressor, Decompressor};

/// Plain bytes of a block: a piece is read by unpacking the blocks that hold it.
const BLOCK_BYTES: usize = 32 * 1024;

/// Blocks that stay unpacked: neighbouring rows may stand in several.
const BLOCKS_KEPT: usize = 8;

/// Fast rather than small: the text lives for seconds.
const LEVEL: i32 = -1;

/// The mark that some services put before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text in compressed blocks.
#[derive(Clone, Debug, Default)]
pub struct PackedText {
    blocks: Vec<Block>,
    first: Option<char>,
    is_broken: bool,
}

#[derive(Clone, Debug)]
struct Block {
    /// The part of the text.
    plain: Range<usize>,
    /// The bytes, compressed where that makes them fewer.
    packed: Box<[u8]>,
}

impl PackedText {
    /// Bytes of the plain text.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.plain.end)
    }

    /// True for a text without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first character that is no white space.
    pub fn first(&self) -> Option<char> {
        self.first
    }

    /// True where some bytes were no characters.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// A text that has arrived already, in blocks of this size.
    #[cfg(test)]
    pub fn in_blocks_of(block_bytes: usize, text: &str) -> PackedText {
        let mut packer = Packer::with_blocks_of(block_bytes);
        packer.push(text.as_bytes());
        packer.finish()
    }

    /// The whole text, or the beginning of one that is longer than `most` bytes, a little longer than that.
    pub fn head(&self, most: usize) -> String {
        let last = self.blocks.iter().take_while(|block| block.plain.start <= most).last();
        let end = last.map_or(0, |block| block.plain.end);
        Unpacker::default().get(std::slice::from_ref(self), 0, 0..end).to_owned()
    }
}

#[cfg(test)]
impl From<&str> for PackedText {
    fn from(text: &str) -> PackedText {
        PackedText::in_blocks_of(BLOCK_BYTES, text)
    }
}

#[cfg(test)]
impl From<String> for PackedText {
    fn from(text: String) -> PackedText {
        PackedText::from(text.as_str())
    }
}

/// Packs a text as it arrives.
pub struct Packer {
    text: PackedText,
    zstd: Option<Compressor<'static>>,
    block_bytes: usize,
    /// Bytes that are not packed yet.
    pending: Vec<u8>,
    /// The bytes of the last block as they come out of the compressor.
    room: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::with_blocks_of(BLOCK_BYTES)
    }
}

impl Packer {
    fn with_blocks_of(block_bytes: usize) -> Packer {
        Packer { text: PackedText::default(), zstd: None, block_bytes, pending: Vec::new(), room: Vec::new() }
    }

    /// Appends bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while self.pending.len() + bytes.len() > self.block_bytes {
            let (now, later) = bytes.split_at(self.block_bytes.saturating_sub(self.pending.len()));
            self.pending.extend_from_slice(now);
            self.pack(false);
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// The text.
    pub fn finish(mut self) -> PackedText {
        self.pack(true);
        self.text
    }

    /// Packs what is pending, but for a character at the end that may still become whole.
    fn pack(&mut self, is_last: bool) {
        let mut pending = std::mem::take(&mut self.pending);
        if let Ok(plain) = std::str::from_utf8(&pending) {
            self.add(plain);
            pending.clear();
            self.pending = pending;
            return;
        }
        let mut plain = String::with_capacity(pending.len());
        let mut rest = &pending[..];
        for chunk in pending.utf8_chunks() {
            plain.push_str(chunk.valid());
            rest = &rest[chunk.valid().len()..];
            let may_become_whole = chunk.invalid().len() == rest.len() && !is_last && is_cut_off(rest);
            if chunk.invalid().is_empty() || may_become_whole {
                continue;
            }
            plain.push('\u{fffd}');
            self.text.is_broken = true;
            rest = &rest[chunk.invalid().len()..];
        }
        self.pending = rest.to_vec();
        self.add(&plain);
    }

    fn add(&mut self, plain: &str) {
        let start = self.text.len();
        let plain = plain.strip_prefix(BYTE_ORDER_MARK).filter(|_| start == 0).unwrap_or(plain);
        if plain.is_empty() {
            return;
        }
        self.text.first = self.text.first.or_else(|| plain.trim_start().chars().next());
        if self.zstd.is_none() {
            self.zstd = Compressor::new(LEVEL).ok();
        }
        // The compressor asks for room for the worst case. A buffer of its own takes it: blocks cut to their size in place
        // would leave a hole behind each of them that nothing fits in.
        self.room.clear();
        self.room.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let packed = self.zstd.as_mut().and_then(|zstd| zstd.compress_to_buffer(plain.as_bytes(), &mut self.room).ok());
        let is_smaller = packed.is_some_and(|length| length < plain.len());
        let packed: Box<[u8]> = Box::from(if is_smaller { &self.room[..] } else { plain.as_bytes() });
        self.text.blocks.push(Block { plain: start..start + plain.len(), packed });
    }
}

/// True where these bytes begin a character and end within it.
fn is_cut_off(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Unpacks pieces of texts; the blocks last used stay unpacked.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<Decompressor<'static>>,
    /// Blocks by text and number, the last used one at the end.
    kept: VecDeque<((usize, usize), Vec<u8>)>,
    piece: Vec<u8>,
}

impl Unpacker {
    /// A piece of one of the texts; empty where the text has no such piece.
    pub fn get(&mut self, texts: &[PackedText], which: usize, piece: Range<usize>) -> &str {
        let Some(text) = texts.get(which) else { return "" };
        let number = text.blocks.partition_point(|block| block.plain.end <= piece.start);
        let within = |block: &Block| {
            let end = piece.end.min(block.plain.end).saturating_sub(block.plain.start);
            piece.start.saturating_sub(block.plain.start).min(end)..end
        };
        let bytes = match text.blocks.get(number) {
            None => &[],
            Some(block) if piece.end <= block.plain.end => &self.block(texts, which, number)[within(block)],
            Some(_) => {
                let mut joined = std::mem::take(&mut self.piece);
                joined.clear();
                let blocks = text.blocks.iter().enumerate().skip(number);
                for (number, block) in blocks.take_while(|(_, block)| block.plain.start < piece.end) {
                    joined.extend_from_slice(&self.block(texts, which, number)[within(block)]);
                }
                self.piece = joined;
                &self.piece[..]
            }
        };
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The bytes of a block; empty behind the last one.
    pub fn block(&mut self, texts: &[PackedText], which: usize, number: usize) -> &[u8] {
        let Some(block) = texts.get(which).and_then(|text| text.blocks.get(number)) else { return &[] };
        let wanted = (which, number);
        match self.kept.iter().rposition(|(kept, _)| *kept == wanted) {
            Some(at) if at + 1 == self.kept.len() => {}
            Some(at) => {
                let found = self.kept.remove(at);
                self.kept.extend(found);
            }
            None => {
                let oldest = if self.kept.len() < BLOCKS_KEPT { None } else { self.kept.pop_front() };
                let plain = oldest.map(|(_, plain)| plain).unwrap_or_default();
                let plain = self.unpack(block, plain);
                self.kept.push_back((wanted, plain));
            }
        }
        self.kept.back().map_or(&[], |(_, plain)| plain)
    }

    /// The bytes of a block.
    fn unpack(&mut self, block: &Block, mut room: Vec<u8>) -> Vec<u8> {
        let length = block.plain.len();
        room.clear();
        if block.packed.len() == length {
            room.extend_from_slice(&block.packed);
            return room;
        }
        room.reserve(length);
        if self.zstd.is_none() {
            self.zstd = Decompressor::new().ok();
        }
        let unpacked = self.zstd.as_mut().and_then(|zstd| zstd.decompress_to_buffer(&block.packed, &mut room).ok());
        if unpacked != Some(length) {
            // Only garbled memory does this; what is read then is refused as no JSON.
            room.clear();
            room.resize(length, 0);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as a text in blocks of this size, that arrive in chunks of that size.
    fn packed(bytes: &[u8], block_bytes: usize, chunk_bytes: usize) -> PackedText {
        let mut packer = Packer::with_blocks_of(block_bytes);
        bytes.chunks(chunk_bytes).for_each(|chunk| packer.push(chunk));
        packer.finish()
    }

    #[test]
    fn a_text_comes_out_as_it_went_in_whatever_its_blocks_are() {
        let broken =
            [b"\xd0".as_slice(), "я\u{1f389} ".as_bytes(), b"\xf0\x9f\x8e", b"x\xff\xd1", b"\xe2\x82"].concat();
        for text in
            ["", " \n{\"я\":1}", "я\u{1f389}ж", "x"].map(|text| text.as_bytes().to_vec()).into_iter().chain([broken])
        {
            let shown = String::from_utf8_lossy(&text).into_owned();
            for (block, chunk) in [(4, 1), (5, 3), (7, 100), (100, 7)] {
                let packed = packed(&text, block, chunk);
                assert_eq!(packed.head(usize::MAX), shown, "{block} {chunk}");
                assert_eq!((packed.len(), packed.is_empty()), (shown.len(), shown.is_empty()));
                assert_eq!(packed.first(), shown.trim_start().chars().next());
                assert_eq!(packed.is_broken(), std::str::from_utf8(&text).is_err());
            }
        }
    }

    #[test]
    fn any_piece_can_be_read_in_any_order() {
        let text: String = (0..500).map(|number| format!("ред {number}, ")).collect();
        let other = text.to_uppercase();
        let texts = [packed(text.as_bytes(), 64, 100), packed(other.as_bytes(), 200, 9)];
        let mut unpacker = Unpacker::default();
        for round in 0..2_000 {
            let (which, start) = (round % 2, text.floor_char_boundary(round * 7_919 % text.len()));
            let end = text.floor_char_boundary((start + round % 300).min(text.len()));
            let whole = [&text, &other][which];
            assert_eq!(unpacker.get(&texts, which, start..end), &whole[start..end]);
        }
        assert_eq!(unpacker.get(&texts, 0, text.len()..text.len() + 9), "");
        assert_eq!(unpacker.get(&texts, 2, 0..1), "");
        assert!(text.starts_with(&texts[0].head(100)) && texts[0].head(100).len() >= 100);
    }
}
