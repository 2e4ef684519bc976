//! The whole store as one file that any machine can read: what `backup` writes and `recover` reads.
//!
//! ```text
//! 16 bytes   "bankfeed backup\n"
//! 4 bytes    version of this format, then 4 bytes schema of the records        (all numbers little-endian)
//! 8 bytes    when it was made, seconds since 1970
//! 8 + 8      last change, what all destinations have acknowledged
//! 4 bytes    CRC-32 of the head so far
//! then       one zstd stream: per record its key's length (2 bytes), its value's (4 bytes), key, value;
//!            the counters last; then a key's length of 65535, the number of records (8), XXH3 of all before it (8)
//! at last    XXH3 of all bytes before it (8)
//! ```
//! A backup holds no secret: the store has none. Reading takes little memory however long the file, and nothing in it is
//! believed before the whole of it was checked ([`inspect`]).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::Xxh3;

use super::codec::{Codec, MAX_VALUE_BYTES};
use super::{DestinationState, Error, Meta, Result, SCHEMA, Store, codec, readable};

const MAGIC: &[u8; 16] = b"bankfeed backup\n";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16 + 4 + 4 + 8 + 8 + 8 + 4;

/// A key's length that ends the records.
const END: u16 = u16::MAX;

/// Most bytes that a backup may hold for each byte of its file, beyond a fixed part. Real ones hold some twenty at most; what
/// holds more was made to fill memory and disk.
const UNPACKED_PER_BYTE: u64 = 200;
const UNPACKED_FREE: u64 = 64 * 1024 * 1024;

/// The memory that unpacking may take for what it refers back to, as a power of two: four times what [`LEVEL`] uses.
const WINDOW_LOG: u32 = 23;

/// Quick; most values are compressed already.
const LEVEL: i32 = 3;

/// The head of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Schema of the records.
    pub schema: u32,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// Last change in it.
    pub last_seq: u64,
    /// The changes that its destinations had acknowledged, all together.
    pub delivered: u64,
}

/// A backup that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The head.
    pub head: Head,
    /// Counters of the store.
    pub meta: Meta,
    /// Records, the counters included.
    pub records: u64,
}

impl Store {
    /// Writes the whole store as it is at this instant and proves on the way that nothing of it is missing. Writers
    /// wait meanwhile.
    pub fn write_backup(&self, now: DateTime<Utc>, out: &mut dyn Write) -> Result<Head> {
        let head = Head {
            schema: self.meta().schema,
            made: now,
            last_seq: self.meta().last_seq,
            delivered: self.delivered()?,
        };
        let mut out = Hashing { out, hash: Xxh3::new() };
        out.write_all(&encode_head(&head))?;
        let mut encoder = zstd::stream::write::Encoder::new(&mut out, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut records = Records { out: BufWriter::new(encoder), hash: Xxh3::new(), count: 0 };
        let (_, meta) = self.walk(|key, value| records.put(key, value))?;
        records.put(b"m", &codec::encode_json(&meta)?)?;
        records.end()?.finish()?;
        let sum = out.hash.digest();
        out.write_all(&sum.to_le_bytes())?;
        Ok(head)
    }

    /// The changes that all destinations have acknowledged, in one number that changes with each of them.
    pub fn delivered(&self) -> Result<u64> {
        let mut delivered = 0u64;
        for entry in self.db.prefix(b"d") {
            delivered = delivered.wrapping_add(codec::decode_json::<DestinationState>(&entry?.1)?.watermark);
        }
        Ok(delivered)
    }
}

/// Hashes what passes through.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Xxh3,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The part of a file that is being written.
struct Records<W: Write> {
    out: BufWriter<W>,
    hash: Xxh3,
    count: u64,
}

impl<W: Write> Records<W> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let too_long = |_| Error::Unfit("a record is too long for a backup".into());
        let (key_length, value_length) = (u16::try_from(key.len()).map_err(too_long)?, value.len());
        let value_length = u32::try_from(value_length).map_err(too_long)?;
        if key_length == END || value.len() > MAX_VALUE_BYTES {
            return Err(Error::Unfit("a record is too long for a backup".into()));
        }
        self.count += 1;
        for part in [&key_length.to_le_bytes()[..], &value_length.to_le_bytes(), key, value] {
            self.hash.update(part);
            self.out.write_all(part)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<W> {
        self.out.write_all(&END.to_le_bytes())?;
        self.out.write_all(&self.count.to_le_bytes())?;
        self.out.write_all(&self.hash.digest().to_le_bytes())?;
        self.out.into_inner().map_err(|error| error.into_error().into())
    }
}

/// Reads only the head.
pub fn head(path: &Path) -> Result<Head> {
    let mut file = File::open(path).map_err(|error| refused(path, error))?;
    read_head(path, &mut file)
}

/// Reads a backup whole and checks everything there is to check.
pub fn inspect(path: &Path) -> Result<Contents> {
    let mut file = File::open(path).map_err(|error| refused(path, error))?;
    read_head(path, &mut file)?;
    check_sum(path, file)?;
    let codec = Codec::default();
    read(path, |key, value| {
        readable::read(&codec, key, value).map_err(|error| match error {
            Error::Damaged(what) => Error::Backup(format!("{}: this backup cannot be used: {what}", path.display())),
            other => other,
        })
    })
}

/// Proves that a file holds, byte for byte, what this program has just written into it. Records were proven
/// readable while they were written and are not taken apart a second time.
pub fn read_back(path: &Path) -> Result<Contents> {
    let mut file = File::open(path).map_err(|error| refused(path, error))?;
    read_head(path, &mut file)?;
    check_sum(path, file)?;
    read(path, |_, _| Ok(()))
}

/// Compares the sum at the end of the file with its bytes: not every flipped bit of a compressed stream changes what it
/// decompresses to, but a file that has changed is not to be trusted.
fn check_sum(path: &Path, mut file: File) -> Result<()> {
    let mut check = || -> io::Result<bool> {
        let length = file.metadata()?.len().checked_sub(8).ok_or(ErrorKind::UnexpectedEof)?;
        file.rewind()?;
        let (mut hash, mut left, mut chunk) = (Xxh3::new(), length, vec![0; 64 * 1024]);
        while left > 0 {
            let part = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut chunk[..part])?;
            hash.update(&chunk[..part]);
            left -= part as u64;
        }
        let mut sum = [0; 8];
        file.read_exact(&mut sum)?;
        Ok(u64::from_le_bytes(sum) == hash.digest())
    };
    match check() {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Error::Backup(format!("{}: this backup is damaged: it is cut short or was changed", path.display())))
        }
        Err(error) => Err(refused(path, error)),
    }
}

/// Reads a backup and gives each record but the counters to `each`, before the end of the file was seen: only for a
/// file that was [inspected](inspect).
pub fn read(path: &Path, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<Contents> {
    let mut file = File::open(path).map_err(|error| refused(path, error))?;
    let head = read_head(path, &mut file)?;
    let most = UNPACKED_FREE + UNPACKED_PER_BYTE * file.metadata().map_err(|error| refused(path, error))?.len();
    let mut decoder = zstd::stream::read::Decoder::new(file).map_err(|error| refused(path, error))?;
    decoder.window_log_max(WINDOW_LOG).map_err(|error| refused(path, error))?;
    let mut input = BufReader::new(decoder.single_frame());
    let damaged = |what: &str| Error::Backup(format!("{}: this backup is damaged: {what}", path.display()));
    let (mut hash, mut records, mut meta, mut unpacked) = (Xxh3::new(), 0, None, 0);
    loop {
        let key_length: [u8; 2] = take(path, &mut input)?;
        if u16::from_le_bytes(key_length) == END {
            break;
        }
        let value_length: [u8; 4] = take(path, &mut input)?;
        let length = u32::from_le_bytes(value_length);
        unpacked += u64::from(length) + u64::from(u16::from_le_bytes(key_length));
        if length as usize > MAX_VALUE_BYTES || unpacked > most {
            return Err(damaged("it unpacks to more than a backup can hold"));
        }
        let key = take_bytes(path, &mut input, u16::from_le_bytes(key_length).into())?;
        let value = take_bytes(path, &mut input, length as usize)?;
        for part in [&key_length[..], &value_length, &key, &value] {
            hash.update(part);
        }
        codec::check(&value).map_err(|codec::Broken(what)| damaged(&what))?;
        records += 1;
        if key == b"m" {
            meta = Some(codec::decode_json::<Meta>(&value).map_err(|codec::Broken(what)| damaged(&what))?);
        } else {
            each(&key, &value)?;
        }
    }
    let (count, sum): ([u8; 8], [u8; 8]) = (take(path, &mut input)?, take(path, &mut input)?);
    if u64::from_le_bytes(count) != records || u64::from_le_bytes(sum) != hash.digest() {
        return Err(damaged("its checksum does not match"));
    }
    // Only at the end of its stream does zstd compare its own checksum.
    if input.read(&mut [0]).map_err(|error| refused(path, error))? != 0 {
        return Err(damaged("something follows its end"));
    }
    let mut rest = Vec::new();
    input.into_inner().finish().take(9).read_to_end(&mut rest).map_err(|error| refused(path, error))?;
    if rest.len() != 8 {
        return Err(damaged("something is wrong about its end"));
    }
    let meta = meta.ok_or_else(|| damaged("its counters are missing"))?;
    Ok(Contents { head, meta, records })
}

fn encode_head(head: &Head) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&head.schema.to_le_bytes());
    bytes.extend_from_slice(&head.made.timestamp().to_le_bytes());
    bytes.extend_from_slice(&head.last_seq.to_le_bytes());
    bytes.extend_from_slice(&head.delivered.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn read_head(path: &Path, file: &mut File) -> Result<Head> {
    let foreign = || Error::Backup(format!("{}: not a backup made by bankfeed", path.display()));
    let later = |what: &str, found: u32, known: u32| {
        let path = path.display();
        Error::Backup(format!(
            "{path}: made by a later release ({what} {found}, this one knows {known}); install that release"
        ))
    };
    let mut bytes = Vec::new();
    file.take(HEAD_BYTES as u64).read_to_end(&mut bytes).map_err(|error| refused(path, error))?;
    if !bytes.starts_with(MAGIC) {
        return Err(foreign());
    }
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let long = |at: usize| bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
    let cut = || Error::Backup(format!("{}: this backup is damaged: it is cut short", path.display()));
    // A later format may have another head, so the version comes before the checksum.
    let (version, schema) = (word(16).ok_or_else(cut)?, word(20).ok_or_else(cut)?);
    if version > VERSION {
        return Err(later("format", version, VERSION));
    }
    let sum = word(HEAD_BYTES - 4).ok_or_else(cut)?;
    let made = long(24).and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
    if version != VERSION || sum != crc32fast::hash(&bytes[..HEAD_BYTES - 4]) {
        return Err(Error::Backup(format!("{}: this backup is damaged: its head is garbled", path.display())));
    }
    if schema > SCHEMA {
        return Err(later("schema", schema, SCHEMA));
    }
    let (made, last_seq, delivered) = (made.ok_or_else(cut)?, long(32).ok_or_else(cut)?, long(40).ok_or_else(cut)?);
    Ok(Head { schema, made, last_seq, delivered })
}

fn take<const N: usize>(path: &Path, input: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| refused(path, error))?;
    Ok(bytes)
}

/// Grows with what is really there, so that a wrong length cannot ask for more memory than the file holds.
fn take_bytes(path: &Path, input: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length as u64).read_to_end(&mut bytes).map_err(|error| refused(path, error))?;
    if bytes.len() < length { Err(refused(path, ErrorKind::UnexpectedEof.into())) } else { Ok(bytes) }
}

fn refused(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        // zstd's own complaints have no number of the system's.
        _ if error.raw_os_error().is_none() => {
            Error::Backup(format!("{path}: this backup is damaged: {}", words(&error)))
        }
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory => {
            Error::Backup(format!("{path}: {error}"))
        }
        _ => Error::Io(format!("{path}: {error}")),
    }
}

fn words(error: &io::Error) -> String {
    if error.kind() == ErrorKind::UnexpectedEof { "it is cut short".into() } else { error.to_string() }
}
