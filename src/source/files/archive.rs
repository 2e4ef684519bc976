//! Zip archives of statements. Members are read into memory, one at a time and never by their names; the number of members
//! and the size unpacked are bounded.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::charset::shown;
use super::sniff::Kind;
use super::statement::{FileRow, Reading, Refusal, Statement};
use super::{LONGEST_FILE_BYTES, Options, one_file, sniff};

const MOST_MEMBERS: usize = 2000;
const MOST_UNPACKED_BYTES: usize = LONGEST_FILE_BYTES;

/// Reads every statement of an archive. Members of other kinds are named and skipped.
pub(super) fn inspect(
    bytes: &[u8],
    options: &Options,
    sink: &mut dyn FnMut(usize, FileRow),
) -> Result<Reading, Refusal> {
    let mut reading = Reading::default();
    let mut documents = 0;
    each_member(bytes, |name, kind, content| {
        let Some(kind) = kind else {
            reading.notes.push(format!("`{name}` is no statement and was skipped"));
            return Ok(());
        };
        let before = reading.statements.len();
        let member = one_file(name, kind, content, options, &mut |index, row| sink(before + index, row))
            .map_err(|refusal| of_member(name, refusal))?;
        let document = documents;
        documents += 1;
        reading.statements.extend(member.statements.into_iter().map(|statement| Statement { document, ..statement }));
        reading.notes.extend(member.notes.into_iter().map(|note| format!("`{name}`: {note}")));
        Ok(())
    })?;
    if reading.statements.is_empty() {
        return Err(Refusal::whole("the archive holds no statement"));
    }
    Ok(reading)
}

/// Hands over the rows of every statement of an archive.
pub(super) fn rows(bytes: &[u8], options: &Options, sink: &mut dyn FnMut(usize, FileRow)) -> Result<(), Refusal> {
    let mut before = 0;
    each_member(bytes, |name, kind, content| {
        let Some(kind) = kind else { return Ok(()) };
        let member = one_file(name, kind, content, options, &mut |index, row| sink(before + index, row))
            .map_err(|refusal| of_member(name, refusal))?;
        before += member.statements.len();
        Ok(())
    })
}

/// Unpacks one member after the other, in the order of the archive. A kind of `None`: no statement.
fn each_member(
    bytes: &[u8],
    mut with: impl FnMut(&str, Option<Kind>, &[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let broken = |error: zip::result::ZipError| Refusal::whole(format!("the archive cannot be read: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MOST_MEMBERS {
        return Err(Refusal::whole(format!("the archive has more than {MOST_MEMBERS} members")));
    }
    let mut left = MOST_UNPACKED_BYTES;
    for number in 0..archive.len() {
        let mut member = archive.by_index(number).map_err(broken)?;
        let name = shown(&String::from_utf8_lossy(member.name_raw()));
        if member.is_dir() || name.starts_with("__MACOSX") || name.ends_with(".DS_Store") {
            continue;
        }
        let mut content = Vec::new();
        // The size in a header is not believed.
        (&mut member)
            .take(left as u64 + 1)
            .read_to_end(&mut content)
            .map_err(|error| of_member(&name, Refusal::whole(format!("it cannot be unpacked: {error}"))))?;
        left = left.checked_sub(content.len()).ok_or_else(|| {
            Refusal::whole(format!("the archive unpacks to more than {} MiB", MOST_UNPACKED_BYTES >> 20))
        })?;
        with(&name, member_kind(&name, &content)?, &content)?;
    }
    Ok(())
}

/// The kind of a member. Text that is only perhaps a CSV counts by its extension, or every read-me would refuse an archive.
fn member_kind(name: &str, content: &[u8]) -> Result<Option<Kind>, Refusal> {
    match sniff::kind(content) {
        Ok(Kind::Zip) => Err(of_member(name, Refusal::whole("an archive inside an archive is not opened"))),
        Ok(Kind::Csv) if !name.to_ascii_lowercase().ends_with(".csv") => Ok(None),
        Ok(kind) => Ok(Some(kind)),
        Err(_) => Ok(None),
    }
}

fn of_member(name: &str, refusal: Refusal) -> Refusal {
    Refusal { why: format!("`{name}`: {}", refusal.why), ..refusal }
}
