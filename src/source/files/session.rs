//! A pull from a directory of statement files: one round for each statement, the files in the order of their days.
//!
//! A file is read whole before its first row is stored, and it moves only after all of its rows are stored. A file that a
//! crash leaves in the directory is read again, which changes nothing. A refused file holds back no other one: the pull goes
//! on and ends as failed.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, Utc};

use super::Options;
use super::inbox::{self, Candidate};
use super::pages::Pages;
use super::prepared::Prepared;
use super::settings::{After, FilesSettings};
use super::state::{KnownFile, Saved};
use super::statement::Refusal;
use crate::model::Account;
use crate::remote::{Cause, Error};
use crate::source::{Page, Session, Setup, Source};

/// Bytes of files that stay in memory between the first look and their turn.
const KEPT_BYTES: usize = 8 << 20;

/// The most refused files that a report names.
const NAMED: usize = 5;

/// The source.
pub struct Files {
    settings: Arc<FilesSettings>,
    setup: Setup,
}

impl Files {
    pub(super) fn new(settings: FilesSettings, setup: Setup) -> Files {
        Files { settings: Arc::new(settings), setup }
    }

    fn today(&self) -> NaiveDate {
        Utc::now().with_timezone(&self.setup.timezone).date_naive()
    }

    /// The files of the directory.
    fn list(&self) -> Result<Vec<Candidate>, Error> {
        let directory = &self.settings.directory;
        inbox::list(directory).map_err(|error| self.unreadable(directory, &error))
    }

    fn unreadable(&self, directory: &Path, error: &std::io::Error) -> Error {
        let (name, directory) = (&self.setup.name, directory.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::attention(
                Cause::NotFound,
                format!("{name}: the folder {directory} does not exist; make it, or correct `directory`"),
            ),
            _ => Error::attention(
                Cause::Machine,
                format!(
                    "{name}: the folder {directory} cannot be read: {error}; give the user of the service the right to"
                ),
            ),
        }
    }
}

#[async_trait]
impl Source for Files {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        let (found, growing) = inbox::whole(self.list()?).await;
        let saved = Saved::read(&self.setup.state.read()?);
        let settings = self.settings.fingerprint();
        let mut pull = Pull {
            settings: self.settings.clone(),
            options: Arc::new(self.settings.options(self.today())),
            name: self.setup.name.clone(),
            zone: self.setup.timezone,
            today: self.today(),
            history_from: self.setup.scope.history_from,
            state: self.setup.state.clone(),
            is_retried: saved.settings != settings,
            known: saved.clone(),
            saved: Saved { settings, ..saved },
            names: found.iter().map(Candidate::shown).collect(),
            queue: VecDeque::new(),
            current: None,
            refused: Vec::new(),
            trouble: None,
            notes: Vec::new(),
            has_rejected: false,
        };
        if growing > 0 {
            pull.notes.push(format!("{growing} files still grow and wait for the next run"));
        }
        pull.prepare(found, &self.setup).await?;
        pull.begin_next();
        Ok(Box::new(pull))
    }

    async fn proof(&self) -> Result<Option<Vec<String>>, Error> {
        let waiting = self.list()?;
        let directory = &self.settings.directory;
        if self.settings.after == After::Move
            && let Err(error) = rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
        {
            return Err(Error::attention(
                Cause::NotPermitted,
                format!(
                    "{}: the folder {} cannot be written: {error}; read files are moved there into `{}` and `{}`: give the user of the service the right to, or set after = \"keep\"",
                    self.setup.name,
                    directory.display(),
                    inbox::DONE,
                    inbox::REJECTED
                ),
            ));
        }
        let known = Saved::read(&self.setup.state.read()?);
        let is_known = |candidate: &&Candidate| {
            known.files.get(&candidate.shown()).is_some_and(|file| is_as_known(candidate, file))
        };
        let read = waiting.iter().filter(is_known).count();
        let kept = if read > 0 { format!(", {read} were read already") } else { String::new() };
        let line = format!("the folder {} is there, {} files wait{kept}", directory.display(), waiting.len() - read);
        Ok(Some(vec![line]))
    }
}

fn is_as_known(candidate: &Candidate, file: &KnownFile) -> bool {
    file.size == candidate.size && file.modified == candidate.modified
}

/// A file that waits for its turn.
struct Waiting {
    candidate: Candidate,
    sha256: String,
    days: (Option<NaiveDate>, Option<NaiveDate>),
    /// The file as it was read, where that takes little memory.
    prepared: Option<Prepared>,
}

/// The file whose rows are fetched.
struct Current {
    candidate: Candidate,
    sha256: String,
    pages: Pages,
    /// The place among the file's statements.
    at: usize,
}

/// A file that is no good.
struct RefusedFile {
    candidate: Candidate,
    why: String,
    /// True for a file that lies there since an earlier pull, and for one that cannot be moved.
    stays: bool,
}

/// A pull.
struct Pull {
    settings: Arc<FilesSettings>,
    options: Arc<Options>,
    name: String,
    zone: chrono_tz::Tz,
    today: NaiveDate,
    history_from: Option<NaiveDate>,
    state: Arc<dyn crate::source::State>,
    /// Files that were refused under other settings are tried again.
    is_retried: bool,
    /// The state before the pull.
    known: Saved,
    /// The state after the pull.
    saved: Saved,
    /// The names of all files in the directory.
    names: BTreeSet<String>,
    queue: VecDeque<Waiting>,
    current: Option<Current>,
    refused: Vec<RefusedFile>,
    /// A failure to move a file.
    trouble: Option<Error>,
    notes: Vec<String>,
    has_rejected: bool,
}

impl Pull {
    /// Reads every file once, and puts those that are good in order.
    async fn prepare(&mut self, found: Vec<Candidate>, setup: &Setup) -> Result<(), Error> {
        let mut room = KEPT_BYTES;
        for candidate in found {
            if setup.context.shutdown.requested() {
                return Err(Error::stopped());
            }
            self.look(candidate, &mut room);
            tokio::task::yield_now().await;
        }
        let mut queue: Vec<Waiting> = self.queue.drain(..).collect();
        queue.sort_by(|one, other| (one.days, &one.candidate.name).cmp(&(other.days, &other.candidate.name)));
        self.queue = queue.into();
        Ok(())
    }

    /// Looks at one file.
    fn look(&mut self, candidate: Candidate, room: &mut usize) {
        let keeps = self.settings.after == After::Keep;
        if let Some(known) =
            self.known.files.get(&candidate.shown()).filter(|known| keeps && is_as_known(&candidate, known))
            && self.is_settled(&candidate, &known.clone())
        {
            return;
        }
        let (content, sha256) = match candidate.read() {
            Ok(Some(read)) => read,
            Ok(None) => return self.refuse(candidate, String::new(), Refusal::whole(too_long())),
            Err(error) => {
                let why = format!("it cannot be read: {error}; give the user of the service the right to");
                return self.refused.push(RefusedFile { candidate, why, stays: true });
            }
        };
        let twin = self.known.files.values().find(|known| known.sha256 == sha256).filter(|_| keeps).cloned();
        if let Some(known) = twin
            && self.is_settled(&candidate, &known)
        {
            return;
        }
        match Prepared::new(&candidate.shown(), content, self.options.clone(), self.zone) {
            Ok(prepared) => {
                let (days, bytes) = (prepared.days(), prepared.len_bytes());
                let prepared = (bytes <= *room).then(|| {
                    *room -= bytes;
                    prepared
                });
                self.queue.push_back(Waiting { candidate, sha256, days, prepared });
            }
            Err(refusal) => self.refuse(candidate, sha256, refusal),
        }
    }

    /// True if a known file needs no reading. The entry in the state follows the present name and times of the file.
    fn is_settled(&mut self, candidate: &Candidate, known: &KnownFile) -> bool {
        if known.refused.is_some() && self.is_retried {
            return false;
        }
        if let Some(why) = &known.refused {
            self.refused.push(RefusedFile { candidate: candidate.clone(), why: why.clone(), stays: true });
        }
        let file = KnownFile { size: candidate.size, modified: candidate.modified, ..known.clone() };
        self.saved.files.insert(candidate.shown(), file);
        true
    }

    fn refuse(&mut self, candidate: Candidate, sha256: String, refusal: Refusal) {
        let why = refusal.to_string();
        let stays = self.settings.after == After::Keep;
        if stays {
            // The block to start from stands in the report of `import`.
            let line = why.lines().next().unwrap_or_default().to_owned();
            self.note_kept(&candidate, sha256, Some(line));
        }
        self.refused.push(RefusedFile { candidate, why, stays });
    }

    fn note_kept(&mut self, candidate: &Candidate, sha256: String, refused: Option<String>) {
        let file = KnownFile { size: candidate.size, modified: candidate.modified, sha256, refused };
        self.saved.files.insert(candidate.shown(), file);
    }

    /// Takes the next file that can still be read as it was; afterwards there is none.
    fn begin_next(&mut self) {
        self.current = None;
        while let Some(waiting) = self.queue.pop_front() {
            let Waiting { candidate, sha256, prepared, .. } = waiting;
            let Some(prepared) = prepared.or_else(|| self.prepare_again(&candidate, &sha256)) else { continue };
            self.saved.learn(&prepared);
            let pages = Pages::new(prepared, self.today, self.history_from);
            self.current = Some(Current { candidate, sha256, pages, at: 0 });
            return;
        }
    }

    /// Reads a file once more; `None`: the file has changed meanwhile and waits for the next pull.
    fn prepare_again(&mut self, candidate: &Candidate, sha256: &str) -> Option<Prepared> {
        let read = candidate.read().ok().flatten().filter(|(_, now)| now == sha256);
        let prepared = read
            .and_then(|(content, _)| Prepared::new(&candidate.shown(), content, self.options.clone(), self.zone).ok());
        if prepared.is_none() {
            self.notes.push(format!("{} changed while it was read and waits for the next run", candidate.shown()));
        }
        prepared
    }

    /// Puts a file away whose rows are stored.
    fn finish(&mut self, current: Current) {
        let Current { candidate, sha256, .. } = current;
        if self.settings.after == After::Keep {
            return self.note_kept(&candidate, sha256, None);
        }
        // A file that has changed since its reading is read again.
        if candidate.is_unchanged()
            && let Err(error) = inbox::put_away(&candidate)
        {
            self.cannot_move(&candidate, inbox::DONE, &error);
        }
    }

    fn cannot_move(&mut self, candidate: &Candidate, to: &str, error: &std::io::Error) {
        let (name, directory) = (&self.name, self.settings.directory.display());
        let message = format!(
            "{name}: {} cannot be moved into {directory}/{to}: {error}; give the user of the service the right to, or set after = \"keep\"",
            candidate.shown()
        );
        self.trouble.get_or_insert(Error::attention(Cause::Machine, message));
    }

    /// Moves the refused files away.
    fn reject(&mut self) {
        self.has_rejected = true;
        for at in 0..self.refused.len() {
            let RefusedFile { candidate, why, stays } = &self.refused[at];
            if *stays || !candidate.is_unchanged() {
                continue;
            }
            let text = reason(&self.settings.directory, &candidate.shown(), why);
            let candidate = candidate.clone();
            if let Err(error) = inbox::reject(&candidate, &text) {
                self.cannot_move(&candidate, inbox::REJECTED, &error);
            }
        }
    }

    /// The end of the pull.
    fn end(&mut self, stored: bool) -> Result<bool, Error> {
        if stored {
            self.saved.keep_files(&self.names);
            if self.saved != self.known {
                self.state.write(&self.saved.text())?;
            }
        }
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        match self.refusals() {
            Some(message) => Err(Error::rejected(message)),
            None => Ok(false),
        }
    }

    /// The sentence about the refused files; `None`: there is none.
    fn refusals(&self) -> Option<String> {
        let one = |refused: &RefusedFile| {
            let why = refused.why.lines().next().unwrap_or_default().trim_end_matches([':', ';', ' ']);
            format!("{}: {why}", refused.candidate.shown())
        };
        let named: Vec<String> = self.refused.iter().take(NAMED).map(one).collect();
        let more = match self.refused.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let there = match self.settings.after {
            After::Move if self.refused.iter().any(|refused| !refused.stays) => {
                format!(
                    "; the reasons stand beside the files in {}/{}",
                    self.settings.directory.display(),
                    inbox::REJECTED
                )
            }
            _ => String::new(),
        };
        (!named.is_empty()).then(|| format!("{}: a file is refused: {}{more}{there}", self.name, named.join("; ")))
    }
}

#[async_trait]
impl Session for Pull {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        let Some(Current { pages, at, .. }) = &self.current else { return Ok(Vec::new()) };
        let prepared = pages.prepared();
        let Some(index) = prepared.order().get(*at) else { return Ok(Vec::new()) };
        let statement = &prepared.statements()[*index];
        let latest = statement.account.as_ref().and_then(|account| self.saved.accounts.get(account));
        Ok(vec![pages.account(statement, latest)])
    }

    async fn fetch(&mut self, account: &Account, _from: Option<NaiveDate>) -> Result<Page, Error> {
        let current = self.current.as_ref();
        let index = current.and_then(|current| current.pages.prepared().order().get(current.at));
        match (current, index) {
            (Some(current), Some(index)) => Ok(current.pages.page(*index, account.clone())),
            _ => Err(Error::malformed(format!("{}: no file holds the account {}", self.name, account.account))),
        }
    }

    async fn next(&mut self, stored: bool) -> Result<bool, Error> {
        if stored && !self.has_rejected {
            self.reject();
        }
        if let Some(current) = &mut self.current {
            current.at += 1;
            if current.at < current.pages.prepared().order().len() {
                return Ok(true);
            }
        }
        if let Some(current) = self.current.take() {
            self.notes.extend(notes(&current));
            if stored {
                self.finish(current);
            }
            self.begin_next();
        }
        if self.current.is_some() { Ok(true) } else { self.end(stored) }
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn lists_every_account(&self) -> bool {
        false
    }

    async fn close(self: Box<Self>) {}
}

/// Remarks on a file that was read.
fn notes(current: &Current) -> Vec<String> {
    let prepared = current.pages.prepared();
    let (file, doubt) = (current.candidate.shown(), "do not lead from the opening to the closing balance");
    let of_statements = prepared.statements().iter().flat_map(|statement| &statement.notes);
    let notes = prepared.notes().iter().chain(of_statements);
    // The engine has the doubt about balances from the page, by account.
    notes.filter(|note| !note.contains(doubt)).take(10).map(|note| format!("{file}: {note}")).collect()
}

/// Why a file of this length is refused.
pub fn too_long() -> String {
    format!("the file is longer than {} MiB: ask the bank for a shorter period", super::LONGEST_FILE_BYTES >> 20)
}

/// The text beside a refused file.
fn reason(directory: &Path, name: &str, why: &str) -> String {
    let (line, block) = why.split_once('\n').map_or((why, ""), |(line, block)| (line, block));
    let mut text = format!("{name}: {}\n", line.trim_end_matches(':'));
    if !block.is_empty() {
        text += &format!("\n{block}\n");
    }
    text + &format!(
        "\nNothing of this file was kept. Once the file or the configuration is corrected, put the file back into {}.\n",
        directory.display()
    )
}
