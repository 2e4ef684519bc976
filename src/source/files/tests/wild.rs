//! Files that nobody wrote: damaged, cut off, repeated, random. Every one is read or refused, without a panic and in a time
//! that grows with its length alone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// The pieces that damages put into a file.
const PIECES: [&str; 40] = [
    ":20:",
    ":61:",
    "\n:61:2601020102RC1,5NTRF//",
    ":86:",
    "\n:62F:C260101EUR",
    "-\n",
    "-}",
    "{4:",
    "?20",
    "?3",
    "/REMI/",
    "/CNTP/",
    "EREF+",
    "<",
    ">",
    "</",
    "<Ntry>",
    "</Ntry>",
    "<Amt Ccy=\"EUR\">",
    "&",
    "&amp;",
    "&#x110000;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<STMTTRN>",
    "</STMTTRN>",
    "<STMTRS>",
    "\"",
    ";",
    ",",
    "\r",
    "\n",
    "\0",
    "\u{feff}",
    "é",
    "9999999999999999999999999999",
    "-",
    "(",
    "%",
];

fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/statements").join(kind);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = paths.into_iter().filter(|path| path.extension().is_none_or(|extension| extension != "json"));
    files.map(|path| std::fs::read(path).unwrap()).filter(|content| content.len() < 8000).collect()
}

#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, &'static str),
    Set(Index, u8),
    Flood(Index, &'static str, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1..200usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), 1..400usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), select(&PIECES[..]), 1..300usize)
            .prop_map(|(at, piece, times)| Damage::Flood(at, piece, times)),
    ]
}

fn apply(content: &mut Vec<u8>, damage: &Damage) {
    let at = |index: &Index, content: &Vec<u8>| index.index(content.len() + 1);
    match damage {
        Damage::Cut(index) => content.truncate(at(index, content)),
        Damage::Remove(index, length) => {
            let from = at(index, content);
            content.drain(from..(from + length).min(content.len()));
        }
        Damage::Repeat(index, length) => {
            let from = at(index, content);
            let part = content[from..(from + length).min(content.len())].to_vec();
            content.splice(from..from, part);
        }
        Damage::Insert(index, piece) => {
            let from = at(index, content);
            content.splice(from..from, piece.bytes());
        }
        Damage::Set(index, byte) => {
            let from = at(index, content);
            if let Some(place) = content.get_mut(from) {
                *place = *byte;
            }
        }
        Damage::Flood(index, piece, times) => {
            let from = at(index, content);
            content.splice(from..from, piece.repeat(*times).into_bytes());
        }
    }
}

/// Reads a file and holds what is true of every file that is read.
fn survives(content: &[u8]) {
    let start = Instant::now();
    if let Ok(found) = read("wild", content, &options()) {
        for (statement, rows) in found {
            assert_eq!(statement.entries, rows.len());
            let sum: rust_decimal::Decimal = rows.iter().map(|row| row.amount).sum();
            assert_eq!(statement.sum, sum);
            assert!(rows.is_empty() || (statement.account.is_some() && statement.currency.is_some()));
            assert!(rows.iter().all(|row| serde_json::from_str::<serde_json::Value>(&row.raw).is_ok()));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{} bytes took {:?}", content.len(), start.elapsed());
}

fn damaged(kind: &str) {
    let seeds = seeds(kind);
    let strategy = (any::<Index>(), prop::collection::vec(damage(), 1..6));
    proptest!(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }, |((seed, damages) in strategy)| {
        let mut content = seeds[seed.index(seeds.len())].clone();
        for damage in &damages {
            apply(&mut content, damage);
        }
        survives(&content);
    });
}

#[test]
fn damaged_mt940_files_are_read_or_refused() {
    damaged("mt940");
}

#[test]
fn damaged_camt_files_are_read_or_refused() {
    damaged("camt");
}

#[test]
fn damaged_ofx_files_are_read_or_refused() {
    damaged("ofx");
}

#[test]
fn damaged_csv_files_are_read_or_refused() {
    damaged("csv");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_pieces_are_read_or_refused(
        start in select(vec!["", ":20:A\n:25:B\n:60F:C260101EUR1,\n", "<Document><BkToCstmrStmt><Stmt>", "<OFX><STMTRS>", "Date,Details,Debit,Credit,Balance\n"]),
        pieces in prop::collection::vec(prop_oneof![select(&PIECES[..]).prop_map(str::to_owned), ".{0,12}"], 0..60),
    ) {
        survives(format!("{start}{}", pieces.concat()).as_bytes());
    }

    #[test]
    fn random_bytes_are_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..600)) {
        survives(&content);
    }
}

#[test]
fn long_repetitions_take_no_more_than_their_length() {
    let mt940 = ":20:A\n:25:DE89370400440532013000\n:28C:1\n:60F:C260101EUR1,\n:61:260102C1,NTRFNONREF\n:86:";
    let starts = [
        mt940.to_owned(),
        format!("{mt940}020?00x?20"),
        format!("{mt940}/REMI/"),
        "<OFX><STMTRS><BANKTRANLIST><STMTTRN><DTPOSTED>20260101<TRNAMT>1<MEMO>".to_owned(),
        "<Document><BkToCstmrStmt><Stmt><Ntry><Amt>".to_owned(),
        "Date,Details,Debit,Credit,Balance\n01/01/2026,".to_owned(),
    ];
    for start in &starts {
        for piece in PIECES.iter().chain(&["?20a", "EREF+", "\n?20", "x\n-\n", "\n:20:\n", "a;b;c;", "a\nb\n"]) {
            survives(format!("{start}{}", piece.repeat(30_000 / piece.len().max(4))).as_bytes());
        }
    }
}

/// Copies of every file in the corpus with flipped bytes, cut off, and grown together with another file.
#[test]
fn mutated_copies_of_every_file_are_read_or_refused() {
    /// Copies of each file, and the time for all.
    const COPIES: usize = 25;
    const PATIENCE: Duration = Duration::from_secs(60);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/statements");
    let mut files: Vec<PathBuf> = ["mt940", "camt", "ofx", "csv"]
        .iter()
        .flat_map(|kind| std::fs::read_dir(folder.join(kind)).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_none_or(|extension| extension != "json"))
        .collect();
    files.sort();
    let contents: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(contents.len() >= 150, "{} files", contents.len());
    let mut random = fastrand::Rng::with_seed(20261201);
    let (start, mut cases) = (Instant::now(), 0);
    for copy in 0..COPIES {
        for content in &contents {
            // The slowest machines try fewer copies of each file, and always one.
            if copy > 0 && start.elapsed() > PATIENCE {
                continue;
            }
            let mut content = content[..content.len().min(40_000)].to_vec();
            for _ in 0..random.usize(1..8) {
                mutate(&mut content, &mut random, &contents);
            }
            survives(&content);
            cases += 1;
        }
    }
    assert!(cases >= contents.len(), "{cases} cases");
}

fn mutate(content: &mut Vec<u8>, random: &mut fastrand::Rng, others: &[Vec<u8>]) {
    if content.is_empty() {
        return content.push(random.u8(..));
    }
    let at = random.usize(..content.len());
    match random.u8(0..5) {
        0 | 1 => content[at] ^= 1 << random.u8(0..8),
        2 => content[at] = random.u8(..),
        3 => content.truncate(at),
        _ => {
            let other = &others[random.usize(..others.len())];
            let from = random.usize(..other.len().max(1)).min(other.len());
            let part = &other[from..(from + random.usize(1..600)).min(other.len())];
            content.splice(at..at, part.iter().copied());
        }
    }
}
