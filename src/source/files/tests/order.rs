//! Rows in the order of their times, whichever way a file is written, with a bounded number of rows in memory.

use std::sync::Arc;

use super::content::Content;
use super::prepared::{Prepared, RowReader};
use super::*;
use crate::model::Row;

fn rows_of(content: Content) -> Vec<Row> {
    let prepared = Prepared::new("file", content, Arc::new(options()), chrono_tz::Europe::Sofia).unwrap();
    let prepared = Arc::new(prepared);
    let mut reader = RowReader::new(prepared.clone());
    let mut all = Vec::new();
    for statement in prepared.order() {
        while let Some(row) = reader.next(*statement).unwrap() {
            all.push(row);
        }
    }
    all
}

fn csv(lines: &[String]) -> Content {
    Content::Bytes(format!("Date,Details,Debit,Credit,Balance\n{}", lines.concat()).into_bytes())
}

#[test]
fn a_long_file_that_begins_with_the_newest_row_is_turned_round() {
    let mut balance = 1_000_000;
    let lines: Vec<String> = (0..8_000)
        .map(|row| {
            balance -= 1 + row % 3;
            let day = chrono::NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(row / 20);
            let text = "a long remittance text ".repeat(14);
            format!("{},{text}{},{},,{balance},\n", day.format("%d/%m/%Y"), row % 4, 1 + row % 3)
        })
        .collect();
    let forward = rows_of(csv(&lines));
    let reversed: Vec<String> = lines.iter().rev().cloned().collect();
    let backward = rows_of(csv(&reversed));
    assert_eq!(forward.len(), lines.len());
    assert!(forward.windows(2).all(|pair| pair[0].time <= pair[1].time));
    assert!(forward == backward, "both ways give the same rows with the same ids in the same order");
}

#[test]
fn days_begin_at_midnight_of_the_source_and_keep_their_date() {
    let content = b"Date,Details,Debit,Credit,Balance\n29/03/2026,A,1.00,,\n30/06/2026,B,1.00,,\n".to_vec();
    let rows = rows_of(Content::Bytes(content));
    let times: Vec<String> = rows.iter().map(|row| row.time.to_rfc3339()).collect();
    assert_eq!(times, ["2026-03-29T00:00:00+02:00", "2026-06-30T00:00:00+03:00"]);
    let camt = "<Document><BkToCstmrStmt><Stmt><Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy></Acct>\
        <Ntry><Amt Ccy=\"EUR\">1</Amt><CdtDbtInd>DBIT</CdtDbtInd><BookgDt><DtTm>2026-01-31T23:30:00.123-05:00</DtTm></BookgDt>\
        </Ntry></Stmt></BkToCstmrStmt></Document>";
    let rows = rows_of(Content::Bytes(camt.as_bytes().to_vec()));
    assert_eq!(
        (rows[0].date.to_string(), rows[0].time.to_rfc3339()),
        ("2026-01-31".into(), "2026-01-31T23:30:00-05:00".into())
    );
}

#[test]
fn a_row_that_stands_twice_with_the_same_balance_or_bank_id_is_one() {
    let twice = |line: &str| csv(&[line.to_owned(), line.to_owned()]);
    assert_eq!(rows_of(twice("01/02/2026,A,1.00,,99.00,\n")).len(), 1);
    assert_eq!(rows_of(twice("01/02/2026,A,1.00,,,\n")).len(), 2);
    assert_eq!(rows_of(twice("01/02/2026,A,0.00,,99.00,\n")).len(), 2);
    let ofx = |ids: [&str; 2]| {
        let entry = |id| format!("<STMTTRN><DTPOSTED>20260201<TRNAMT>-1.00<FITID>{id}<NAME>A</STMTTRN>");
        let entries = ids.map(entry).concat();
        Content::Bytes(
            format!("<OFX><STMTRS><CURDEF>EUR<BANKACCTFROM><ACCTID>1234567</BANKACCTFROM><BANKTRANLIST>{entries}</BANKTRANLIST></STMTRS></OFX>")
                .into_bytes(),
        )
    };
    assert_eq!(rows_of(ofx(["20260201000017", "20260201000017"])).len(), 1);
    assert_eq!(rows_of(ofx(["20260201000017", "20260201000018"])).len(), 2);
}

#[test]
fn a_long_camt_message_is_read_from_the_file_itself() {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    write!(
        file,
        "\u{feff}<Document><BkToCstmrStmt><Stmt><Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    )
    .unwrap();
    let padding = " ".repeat(500_000);
    for row in 0..40 {
        write!(
            file,
            "\n<Ntry><Amt Ccy=\"EUR\">{}</Amt><CdtDbtInd>DBIT</CdtDbtInd><BookgDt><Dt>2026-01-{:02}</Dt></BookgDt><AddtlNtryInf>Überweisung</AddtlNtryInf></Ntry>{padding}",
            row + 1,
            31 - row % 28
        )
        .unwrap();
    }
    write!(file, "</Stmt></BkToCstmrStmt></Document>").unwrap();
    let mut again = file.try_clone().unwrap();
    let (content, sha256) = Content::read(file).unwrap().unwrap();
    assert!(matches!(content, Content::Camt(_)) && sha256.len() == 64);
    let streamed = rows_of(content);
    assert_eq!(streamed.len(), 40);
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut again).unwrap();
    std::io::Read::read_to_end(&mut again, &mut bytes).unwrap();
    assert!(streamed == rows_of(Content::Bytes(bytes.clone())));
    // A file of another encoding, or one that is cut off, is no message in UTF-8.
    let latin1 = bytes.len() - 100;
    bytes[latin1] = 0xDC;
    std::io::Seek::rewind(&mut again).unwrap();
    again.write_all(&bytes).unwrap();
    assert!(matches!(Content::read(again).unwrap().unwrap().0, Content::Bytes(_)));
}
