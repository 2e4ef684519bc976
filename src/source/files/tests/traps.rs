//! Every trap of statement files in a small invented file.

use std::str::FromStr;

use rust_decimal::Decimal;

use super::*;

fn amount(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn whole(text: &str) -> Vec<(Statement, Vec<FileRow>)> {
    read("file", text.as_bytes(), &options()).unwrap()
}

fn one(text: &str) -> (Statement, Vec<FileRow>) {
    let mut found = whole(text);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn refusal(text: &str) -> String {
    read("file", text.as_bytes(), &options()).unwrap_err().to_string()
}

/// An MT940 statement in euros around some lines, with an opening balance of 100.
fn mt940(lines: &str, closing: &str) -> String {
    format!(":20:A\n:25:DE89370400440532013000\n:28C:1/1\n:60F:C260101EUR100,00\n{lines}\n:62F:{closing}\n-\n")
}

fn entry(line: &str) -> FileRow {
    one(&mt940(line, "C260131EUR100,00")).1.remove(0)
}

#[test]
fn reversed_credits_go_out_and_reversed_debits_come_in() {
    for (mark, sign) in
        [("C", 1), ("D", -1), ("RC", -1), ("RD", 1), ("CR", 1), ("DR", -1), ("RCR", -1), ("RDR", 1), ("DD", -1)]
    {
        let row = entry(&format!(":61:2601020102{mark}12,50NTRFNONREF"));
        assert_eq!(row.amount, amount("12.50") * Decimal::from(sign), "{mark}");
        assert_eq!(row.reversal, mark.starts_with('R'), "{mark}");
    }
}

#[test]
fn entry_dates_take_the_year_nearest_to_the_value_date() {
    for (dates, expected) in [
        ("1901011231", "2018-12-31"),
        ("1412310105", "2015-01-05"),
        ("2601020102", "2026-01-02"),
        ("260102", "2026-01-02"),
        ("260102    ", "2026-01-02"),
        ("2703010229", "2027-02-28"),
        ("1602300301", "2016-03-01"),
        ("990102", "1999-01-02"),
    ] {
        assert_eq!(entry(&format!(":61:{dates}C1,NTRFNONREF")).date, day(expected), "{dates}");
    }
    assert_eq!(entry(":61:160230C1,NTRFNONREF").value_date, Some(day("2016-02-29")));
}

#[test]
fn days_that_cannot_be_refuse_the_file_and_name_the_entry() {
    for dates in ["261302", "260132", "26010201XX", "2601021302"] {
        let why = refusal(&mt940(&format!(":61:260102C1,NTRFNONREF\n:61:{dates}C1,NTRFNONREF"), "C260131EUR1,00"));
        assert!(why.starts_with("line 6, entry 2: "), "{dates}: {why}");
    }
    let why = refusal(&mt940(":61:260102CX,NTRFNONREF", "C260131EUR1,00"));
    assert!(why.contains("entry 1"), "{why}");
}

#[test]
fn amounts_are_written_in_many_ways() {
    for (written, expected) in [
        ("9,", "9"),
        ("107", "107"),
        ("141,48", "141.48"),
        ("1000.12", "1000.12"),
        ("000000000012,5", "12.5"),
        ("0,00", "0"),
    ] {
        assert_eq!(entry(&format!(":61:2601020102C{written}NTRFNONREF")).amount, amount(expected), "{written}");
    }
}

#[test]
fn kinds_and_references_stand_in_many_ways() {
    for (rest, code, reference, id) in [
        ("NTRFREF 7//ABC1234567", "NTRF", "REF 7", Some("ABC1234567")),
        ("S   X", "S", "X", None),
        ("//MB170201323000", "", "", Some("MB170201323000")),
        ("NMSC", "NMSC", "", None),
        ("N654NONREF", "N654", "", None),
        ("NMSC//000001", "NMSC", "", None),
        ("NOVBNL91ABNA0417164300", "NOVB", "", None),
    ] {
        let row = entry(&format!(":61:2601020102C1,{rest}"));
        assert_eq!(
            (row.code.as_str(), row.reference.as_str(), row.bank_id.as_deref()),
            (code, reference, id),
            "{rest}"
        );
    }
}

#[test]
fn old_dutch_references_hold_the_other_side() {
    let row = entry(":61:260102D1,N0440121470966      J. DOE");
    assert_eq!(
        (row.counterparty_account.as_str(), row.counterparty.as_str(), row.reference.as_str()),
        ("0121470966", "J. DOE", "")
    );
    let row = entry(":61:260102D1,NOVBNL91ABNA0417164300\nj jansen\n:86:NL91ABNA0417164300 j jansen\n\nHuur\n");
    assert_eq!((row.counterparty_account.as_str(), row.counterparty.as_str()), ("NL91ABNA0417164300", "j jansen"));
    assert_eq!((row.description.as_str(), row.reference.as_str()), ("Huur", ""));
}

#[test]
fn bulbank_files_have_empty_references_and_odd_ends() {
    let message = "{1:F01UNCRBGSFAXXX0000000000}{2:I940}{4:\n:20:\n:25:BG80BNBA96611020345678\n:28C:5/0\n:60F:C260101EUR1,\n\
        :61:2601020102D1,NMSC//000001\n:86:051?00Transfer?20Rent?30UNCRBGSF?31BG80BNBA96611020345678?32Maria\n:62F:C260102EUR0,\n-}$\n";
    let found = whole(&message.repeat(2));
    assert_eq!(found.len(), 2);
    let row = &found[0].1[0];
    assert_eq!((row.counterparty.as_str(), row.description.as_str(), row.bank_id.as_deref()), ("Maria", "Rent", None));
}

#[test]
fn text_that_looks_like_a_tag_is_text() {
    let (statement, rows) = one(&mt940(
        ":61:2601020102D1,NTRFNONREF\n:86:paid at\n:20:44:45 by card\n:61:23 is no entry\n-\nand a hyphen\n:62 neither\n:61:2601030103D2,NTRFNONREF",
        "C260131EUR97,00",
    ));
    assert_eq!(rows.len(), 2);
    assert_eq!(statement.adds_up, Some(true));
    assert_eq!(rows[0].description, "paid at :20:44:45 by card :61:23 is no entry - and a hyphen :62 neither");
}

#[test]
fn pages_that_continue_each_other_are_one_statement() {
    let text = ":20:A\n:25:DE89370400440532013000\n:28C:5/1\n:60F:C260101EUR100,00\n:61:260102C5,NTRFNONREF\n:62M:C260102EUR105,00\n-\n\
        :20:B\n:25:DE89370400440532013000\n:28C:5/2\n:60M:C260102EUR105,00\n:61:260103C6,NTRFNONREF\n:62F:C260103EUR111,00\n-\n";
    let (statement, rows) = one(text);
    assert_eq!(rows.len(), 2);
    assert_eq!(statement.adds_up, Some(true));
    assert!(statement.last_day_is_closed);
    // A page with another number, or with a balance that does not continue, is a statement of its own.
    assert_eq!(whole(&text.replace("5/2", "6/2")).len(), 2);
    assert_eq!(whole(&text.replace(":60M:C260102EUR105,00", ":60M:C260102EUR106,00")).len(), 2);
}

#[test]
fn messages_end_in_many_ways() {
    let message = |end: &str| {
        format!(
            "{{1:F01}}{{2:I940}}{{4:\n:20:A\n:25:DE89370400440532013000\n:28C:1\n:60F:C260101EUR1,\n:61:260102C1,NTRFNONREF\n:86:x\n:62F:C260102EUR2,{end}"
        )
    };
    for end in ["\n-", "\n-}", "\n-}{5:}", "\n-}{5:{MAC:00}}\n", "\n-XXX\nprose\n", "", "\n-\u{3}", "\r\n-\r\n"] {
        let text = format!("{}\n{}", message(end), message(end));
        assert_eq!(whole(&text).iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [1, 1], "{end:?}");
    }
    let seven_bit = message("\n-Å").replace('{', "Ä").replace('}', "Å");
    assert_eq!(one(&seven_bit).1.len(), 1);
    assert_eq!(one(&message("\n-}").replace("{4:\n", "{4:")).1.len(), 1);
}

#[test]
fn interim_reports_have_no_balances_and_close_no_day() {
    let (statement, rows) = one(
        ":20:A\n:25:DE89370400440532013000\n:28C:1/1\n:34F:EUR0,\n:13D:2601021000+0100\n:61:260102C5,NTRFNONREF\n:90D:0EUR0,\n:90C:1EUR5,\n-\n",
    );
    assert_eq!((statement.format, rows.len()), (Format::Mt942, 1));
    assert_eq!(statement.currency.as_deref(), Some("EUR"));
    assert!(!statement.last_day_is_closed);
}

#[test]
fn accounts_are_read_however_they_are_written() {
    for (written, expected) in [
        ("NL92 KNAB 0123 4567 89", "NL92KNAB0123456789"),
        ("NL50RABO0156750961 EUR", "NL50RABO0156750961"),
        ("NL68INGB0000012345EUR", "NL68INGB0000012345"),
        ("1291.99.348EUR", "1291.99.348"),
        ("37040044/532013000", "DE89370400440532013000"),
    ] {
        let mut options = options();
        options.accounts.insert("37040044/532013000".to_owned(), "DE89370400440532013000".to_owned());
        let text = mt940(":61:260102C5,NTRFNONREF", "C260131EUR105,00").replace("DE89370400440532013000", written);
        let found = read("file", text.as_bytes(), &options).unwrap();
        assert_eq!(found[0].0.account.as_deref(), Some(expected), "{written}");
    }
}

#[test]
fn files_without_an_account_or_a_currency_need_the_owner() {
    let nobody = Options { account: None, currency: None, ..options() };
    let text = mt940(":61:260102C5,NTRFNONREF", "C260131EUR105,00").replace(":25:DE89370400440532013000\n", "");
    assert!(read("file", text.as_bytes(), &nobody).unwrap_err().to_string().contains("set `account`"));
    let text = ":20:A\n:25:DE89370400440532013000\n:28:1\n:61:260102C5,NTRFNONREF\n";
    assert!(read("file", text.as_bytes(), &nobody).unwrap_err().to_string().contains("set `currency`"));
}

/// A CAMT.053 statement around some elements.
fn camt(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><x:Document xmlns:x=\"iso:20023\"><x:BkToCstmrStmt><x:Stmt><x:Acct><x:Id><x:IBAN>DE89370400440532013000</x:IBAN></x:Id>\
         <x:Ccy>EUR</x:Ccy></x:Acct>{}</x:Stmt></x:BkToCstmrStmt></x:Document>",
        inner.replace("</", "</x:").replace('<', "<x:").replace("<x:/x:", "</x:")
    )
}

fn camt_balance(code: &str, amount: &str, date: &str) -> String {
    format!(
        "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{date}</Dt></Dt></Bal>"
    )
}

fn camt_entry(amount: &str, mark: &str, more: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><BookgDt><DtTm>2026-01-02T23:30:00-05:00</DtTm></BookgDt>{more}</Ntry>"
    )
}

#[test]
fn camt_dates_stay_the_banks_own() {
    let (_, rows) = one(&camt(&camt_entry("5.00", "CRDT", "")));
    assert_eq!(rows[0].date, day("2026-01-02"));
    assert_eq!(rows[0].time.unwrap().offset.unwrap().local_minus_utc(), -5 * 3600);
}

#[test]
fn camt_states_and_parties_are_read_in_both_forms() {
    for (status, booked) in [("BOOK", 1), ("<Cd>BOOK</Cd>", 1), ("PDNG", 0), ("<Cd>PDNG</Cd>", 0), ("<Cd>INFO</Cd>", 0)]
    {
        let (statement, rows) = one(&camt(&camt_entry("5.00", "CRDT", &format!("<Sts>{status}</Sts>"))));
        assert_eq!((rows.len(), statement.pending), (booked, 1 - booked), "{status}");
    }
    for party in ["<Nm>Maria Test</Nm>", "<Pty><Nm>Maria Test</Nm></Pty>"] {
        let details = format!(
            "<NtryDtls><TxDtls><RltdPties><Dbtr>{party}</Dbtr><DbtrAcct><Id><IBAN>NL91ABNA0417164300</IBAN></Id></DbtrAcct></RltdPties>\
             <RmtInf><Ustrd>A &amp; B</Ustrd><Ustrd>C &#33;</Ustrd></RmtInf></TxDtls></NtryDtls>"
        );
        let (_, rows) = one(&camt(&camt_entry("5.00", "CRDT", &details)));
        assert_eq!(rows[0].counterparty, "Maria Test");
        assert_eq!(rows[0].counterparty_account, "NL91ABNA0417164300");
        assert_eq!(rows[0].description, "A & B C !");
    }
}

#[test]
fn camt_batches_are_one_row() {
    let details = "<NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch><TxDtls><Amt Ccy=\"EUR\">2.00</Amt><RmtInf><Ustrd>one</Ustrd></RmtInf></TxDtls>\
        <TxDtls><Amt Ccy=\"EUR\">2.50</Amt><RmtInf><Ustrd>two</Ustrd></RmtInf></TxDtls></NtryDtls>";
    let (statement, rows) = one(&camt(&camt_entry("5.00", "DBIT", details)));
    assert_eq!((rows.len(), statement.sum), (1, amount("-5.00")));
    assert_eq!(rows[0].description, "one | two");
    assert!(rows[0].raw.contains("\"2.50\""));
}

#[test]
fn camt_reversals_keep_their_sign_unless_only_the_inverse_adds_up() {
    let statement = |closing: &str| {
        let balances =
            format!("{}{}", camt_balance("OPBD", "100.00", "2026-01-01"), camt_balance("CLBD", closing, "2026-01-02"));
        let plain = camt_entry("7.00", "DBIT", "");
        one(&camt(&format!("{balances}{plain}{}", camt_entry("5.00", "DBIT", "<RvslInd>true</RvslInd>"))))
    };
    let (standard, rows) = statement("88.00");
    assert_eq!((standard.adds_up, rows[1].amount), (Some(true), amount("-5.00")));
    let (inverted, rows) = statement("98.00");
    assert_eq!((inverted.adds_up, rows[1].amount, inverted.sum), (Some(true), amount("5.00"), amount("-2.00")));
    assert!(!inverted.notes.is_empty());
    let (neither, rows) = statement("1.00");
    assert_eq!((neither.adds_up, rows[1].amount), (Some(false), amount("-5.00")));
}

#[test]
fn references_that_repeat_or_count_identify_nothing() {
    let both = |one: &str, two: &str| {
        let entry = |amount: &str, id: &str| camt_entry(amount, "CRDT", &format!("<AcctSvcrRef>{id}</AcctSvcrRef>"));
        let rows = super::super::read(
            "f",
            camt(&format!("{}{}", entry("1.00", one), entry("2.00", two))).as_bytes(),
            &options(),
        );
        rows.unwrap().remove(0).1.into_iter().map(|row| row.bank_id).collect::<Vec<_>>()
    };
    assert_eq!(both("2026AAA1", "2026AAA2"), [Some("2026AAA1".to_owned()), Some("2026AAA2".to_owned())]);
    assert_eq!(both("CH700033", "CH700033"), [None, None]);
    assert_eq!(both("1", "0002"), [None, None]);
    assert_eq!(both("NOTPROVIDED", "NONREF"), [None, None]);
}

#[test]
fn xml_bombs_and_broken_xml_are_refused() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    assert!(refusal(&format!("{bomb}{}", camt("<Id>&b;</Id>"))).contains("document type"));
    assert!(refusal(&camt(&camt_entry("1.00", "CRDT", "<AddtlNtryInf>&b;</AddtlNtryInf>"))).contains("entity"));
    let deep = format!("{}{}", "<A>".repeat(100), "</A>".repeat(100));
    assert!(refusal(&camt(&camt_entry("1.00", "CRDT", &deep))).contains("deeper"));
    let whole = camt(&camt_entry("1.00", "CRDT", ""));
    for cut in [whole.len() - 3, whole.len() - 30, whole.len() - 120, whole.len() / 2] {
        assert!(read("f", &whole.as_bytes()[..cut], &options()).is_err(), "{cut}");
    }
    assert!(refusal(&camt(&camt_entry("1.00", "BOTH", ""))).contains("entry 1"));
    assert!(refusal(&camt(&camt_entry("one", "CRDT", ""))).contains("`one`"));
    assert!(refusal("<html><body>Sign in</body></html>").contains("`<html>`"));
}

/// An OFX statement around some entries.
fn ofx(entries: &str) -> String {
    format!(
        "OFXHEADER:100\nDATA:OFXSGML\nENCODING:USASCII\nCHARSET:1252\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR<BANKACCTFROM><BANKID>1\
         <ACCTID>777</BANKACCTFROM><BANKTRANLIST><DTSTART>20260101<DTEND>20260131{entries}</BANKTRANLIST><LEDGERBAL><BALAMT>R$ 5.326,43\
         <DTASOF>00000000</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )
}

fn ofx_entry(date: &str, money: &str, more: &str) -> String {
    format!("<STMTTRN><TRNTYPE>OUT<DTPOSTED>{date}<TRNAMT>{money}{more}</STMTTRN>")
}

#[test]
fn ofx_amounts_and_dates() {
    for (written, expected) in [
        ("-11.76", "-11.76"),
        ("   -11,76", "-11.76"),
        ("+5", "5"),
        ("1,234.56", "1234.56"),
        ("1.234,56", "1234.56"),
        ("-33.3", "-33.3"),
    ] {
        let (_, rows) = one(&ofx(&ofx_entry("20260102", written, "<FITID>AB12345")));
        assert_eq!(rows[0].amount, amount(expected), "{written}");
        assert_eq!(rows[0].bank_id.as_deref(), Some("AB12345"));
    }
    for money in ["$120", ".", "", "12,34,5"] {
        assert!(refusal(&ofx(&ofx_entry("20260102", money, ""))).contains("entry 1: the amount"), "{money}");
    }
    for date in ["00000000", "", "20262001", "x"] {
        assert!(refusal(&ofx(&ofx_entry(date, "1", ""))).contains("entry 1: the date"), "{date}");
    }
    let (_, rows) = one(&ofx(&ofx_entry("20260102233000.000[-3:BRT]", "1", "")));
    assert_eq!((rows[0].date, rows[0].time.unwrap().time.to_string()), (day("2026-01-02"), "23:30:00".to_owned()));
}

#[test]
fn ofx_ids_that_repeat_are_no_ids_and_pending_is_no_booking() {
    let twins =
        format!("{}{}", ofx_entry("20260102", "1", "<FITID>AB12345"), ofx_entry("20260102", "-2", "<FITID>AB12345"));
    let (statement, rows) = one(&ofx(&twins));
    assert!(rows.iter().all(|row| row.bank_id.is_none()) && !statement.notes.is_empty());
    let pending = "<STMTTRNP><TRNAMT>1<DTTRAN>20260102<NAME>x</STMTTRNP>";
    let (statement, rows) = one(&ofx(pending));
    assert_eq!((rows.len(), statement.pending), (0, 1));
    let whole = ofx(&twins);
    assert!(read("f", &whole.as_bytes()[..whole.len() - 60], &options()).is_err());
}

fn bytes(text: &str, encoding: &'static encoding_rs::Encoding) -> Vec<u8> {
    encoding.encode(text).0.into_owned()
}

#[test]
fn bytes_beat_declarations() {
    let text = ofx(&ofx_entry("20260102", "1", "<MEMO>Pão de açúcar"));
    for content in [text.clone().into_bytes(), bytes(&text, encoding_rs::WINDOWS_1252)] {
        assert_eq!(read("f", &content, &options()).unwrap()[0].1[0].description, "Pão de açúcar");
    }
    let mut cyrillic = options();
    cyrillic.encoding = Some("windows-1251".to_owned());
    let text = mt940(":61:2601020102C5,NTRFNONREF\n:86:^20Наем за месец май^32Мария Тестова", "C260131EUR105,00");
    for options in [&cyrillic, &options()] {
        let found = read("f", &bytes(&text, encoding_rs::WINDOWS_1251), options).unwrap();
        assert_eq!(found[0].1[0].counterparty, "Мария Тестова");
    }
    let camt = camt(&camt_entry("1.00", "CRDT", "<AddtlNtryInf>Gebühr</AddtlNtryInf>"));
    let declared = camt.replace("<?xml version=\"1.0\"?>", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>");
    for content in [declared.clone().into_bytes(), bytes(&declared, encoding_rs::WINDOWS_1252)] {
        assert_eq!(read("f", &content, &options()).unwrap()[0].1[0].description, "Gebühr");
    }
    let mut wide = vec![0xFF, 0xFE];
    wide.extend("Date,Details,Debit,Credit,Balance\n01/02/2026,Çay,1,,\n".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(read("f", &wide, &options()).unwrap()[0].1[0].description, "Çay");
}

fn layout(toml: &str) -> Options {
    let layout: Layout = toml::from_str(&format!("name = \"own\"\n{toml}")).unwrap();
    assert_eq!(layout.problem(), None);
    Options { layouts: vec![layout], ..options() }
}

const OWN: &str = "date = \"Day\"\ndate_format = \"%d.%m.%Y\"\namount = \"Sum\"\ndecimal = \",\"\nthousands = \".\"\n";

#[test]
fn the_layouts_that_ship_can_be_read() {
    let count = layouts::SHIPPED.matches("[[layout]]").count();
    assert_eq!(layouts::shipped().len(), count);
    let mut names: Vec<&str> = layouts::shipped().iter().map(|layout| layout.name.as_str()).collect();
    assert!(layouts::shipped().iter().all(|layout| layout.problem().is_none()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn an_owners_layout_is_tried_first_and_found_below_a_preamble() {
    let own = layout(&format!(
        "{OWN}description = [\"A\", \"B\"]\nleave_out = {{ A = [\"Vorgemerkt\"] }}\nbalance = \"Saldo\"\n"
    ));
    let text = "Konto;123\n;\nDay;A;B;Sum;Saldo\n03.01.2026;x;y;-1.234,50 EUR;98,00\n02.01.2026;Vorgemerkt;;-5,00;\n02.01.2026;x;;(2,00);1.332,50\n;;;Summe;\n";
    let found = read("f", text.as_bytes(), &own).unwrap();
    let (statement, rows) = &found[0];
    assert_eq!(rows.iter().map(|row| row.amount).collect::<Vec<_>>(), [amount("-1234.50"), amount("-2.00")]);
    assert_eq!(rows[0].description, "x y");
    assert_eq!((statement.newest_first, statement.adds_up), (true, Some(true)));
    assert_eq!(statement.opening.as_ref().unwrap().amount, amount("1334.50"));
    assert_eq!(statement.closing.as_ref().unwrap().amount, amount("98.00"));
}

#[test]
fn rows_that_cannot_be_read_refuse_the_file_by_their_line() {
    let own = layout(OWN);
    for (row, why) in [
        ("31.02.2026;1,00", "line 3: the date `31.02.2026`"),
        ("02/01/2026;1,00", "line 3: the date"),
        ("02.01.26;1,00", "line 3: the date"),
        ("02.01.2026;1.50", "line 3: the amount `1.50`"),
        ("02.01.2026;1,5x6", "line 3: the amount"),
    ] {
        let text = format!("Day;Sum;Text\r\n01.01.2026;1,00;a\r\n{row};b\r\n");
        let found = read("f", text.as_bytes(), &own).unwrap_err().to_string();
        assert!(found.starts_with(why), "{row}: {found}");
    }
    let unclosed = format!("Day;Sum;Text\n01.01.2026;1,00;\"a\n{}", "02.01.2026;1,00;b\n".repeat(60));
    assert!(read("f", unclosed.as_bytes(), &own).unwrap_err().to_string().contains("quote"));
}

#[test]
fn directions_that_nobody_knows_refuse_the_file() {
    let own = layout(&format!("{OWN}direction = {{ column = \"S/H\", out = [\"S\"], in = [\"H\"] }}\n"));
    let file = |mark: &str| read("f", format!("Day;Sum;S/H\n01.01.2026;1,00;{mark}\n").as_bytes(), &own);
    assert_eq!(file("S").unwrap()[0].1[0].amount, amount("-1.00"));
    assert_eq!(file("H").unwrap()[0].1[0].amount, amount("1.00"));
    assert!(file("X").unwrap_err().to_string().contains("direction `X`"));
}

#[test]
fn dates_that_several_formats_read_decide_nothing() {
    let several = layout("date = \"Day\"\ndate_format = [\"%d/%m/%Y\", \"%m/%d/%Y\"]\namount = \"Sum\"\n");
    let file = |dates: &[&str]| {
        let rows: String = dates.iter().map(|date| format!("{date},1.00\n")).collect();
        read("f", format!("Day,Sum\n{rows}").as_bytes(), &several).map(|found| found[0].1[0].date)
    };
    assert_eq!(file(&["02/03/2026", "13/03/2026"]).unwrap(), day("2026-03-02"));
    assert_eq!(file(&["02/03/2026", "03/13/2026"]).unwrap(), day("2026-02-03"));
    assert_eq!(file(&["03/03/2026"]).unwrap(), day("2026-03-03"));
    assert!(file(&["02/03/2026"]).unwrap_err().to_string().contains("date_format"));
}

#[test]
fn an_unknown_layout_shows_its_header_and_a_block_to_start_from() {
    let text = "Konto 1\n\nTag;Wer;Was;Betrag in EUR\n02.01.2026;Maria;Miete;-1.234,50\n03.01.2026;Jan;Lohn;99,00\n";
    let why = refusal(text);
    assert!(why.starts_with("line 3: no CSV layout has these columns: `Tag` `Wer` `Was` `Betrag in EUR`"), "{why}");
    let block = why.split_once("[[source.csv]]").unwrap().1;
    let layout: Layout = toml::from_str(block).unwrap();
    let found = read("f", text.as_bytes(), &Options { layouts: vec![layout], ..options() }).unwrap();
    assert_eq!(found[0].1.iter().map(|row| row.amount).collect::<Vec<_>>(), [amount("-1234.50"), amount("99.00")]);
    let renamed = layout_with_a_renamed_column();
    assert!(renamed.contains("the layout `own` misses `Sum`"), "{renamed}");
}

fn layout_with_a_renamed_column() -> String {
    let own = layout(&format!("{OWN}value_date = \"Valuta\"\ndescription = \"Text\"\n"));
    read("f", b"Day;Valuta;Text;Total\n01.01.2026;01.01.2026;a;1,00\n", &own).unwrap_err().to_string()
}

#[test]
fn revolut_fees_belong_to_the_amount_and_only_completed_rows_count() {
    let text = "Type,Product,Started Date,Completed Date,Description,Amount,Fee,Currency,State,Balance\n\
        CARD_PAYMENT,Current,2026-01-02 10:00:00,2026-01-03 09:00:00,Shop,-10.00,0.50,EUR,COMPLETED,89.50\n\
        TOPUP,Current,2026-01-04 10:00:00,2026-01-04 11:00:00,Top-up,5.00,0.00,EUR,COMPLETED,94.50\n\
        CARD_PAYMENT,Current,2026-01-05 10:00:00,,Hotel,-80.00,0.00,EUR,PENDING,\n\
        EXCHANGE,Current,2026-01-06 10:00:00,2026-01-06 10:00:00,To USD,7.00,0.00,USD,COMPLETED,7.00\n";
    let found = whole(text);
    assert_eq!(
        found.iter().map(|(statement, rows)| (statement.currency.clone().unwrap(), rows.len())).collect::<Vec<_>>(),
        [("EUR".to_owned(), 2), ("USD".to_owned(), 1)]
    );
    assert_eq!(found[0].1[0].amount, amount("-10.50"));
    assert_eq!(found[0].0.adds_up, Some(true));
}

#[test]
fn identical_rows_stay_two() {
    let own = layout(OWN);
    let found = read("f", b"Day;Sum\n01.01.2026;-2,40\n01.01.2026;-2,40\n", &own).unwrap();
    assert_eq!(found[0].1.len(), 2);
}

#[test]
fn foreign_files_are_refused_by_name() {
    for (content, why) in [
        (&b"%PDF-1.7 x"[..], "PDF"),
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1", "Excel"),
        (b"hello there", "no table"),
        (b"\x7fELF\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00\x07\x00\x08", "not text"),
    ] {
        let found = read("f", content, &options()).unwrap_err().to_string();
        assert!(found.contains(why), "{why}: {found}");
    }
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Deflated);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_are_read_whole_or_not_at_all() {
    let good = camt(&camt_entry("1.00", "CRDT", ""));
    let found = zip(&[
        ("../../etc/A.XML", good.as_bytes()),
        ("readme.txt", b"hello"),
        ("b/c.sta", mt940("", "C260131EUR100,").as_bytes()),
    ]);
    let reading = inspect("f.zip", &found, &options()).unwrap();
    assert_eq!(reading.statements.len(), 2);
    assert!(reading.notes.iter().any(|note| note.contains("readme.txt")));
    let bad = zip(&[("a.xml", good.as_bytes()), ("b.xml", camt(&camt_entry("x", "CRDT", "")).as_bytes())]);
    assert!(read("f.zip", &bad, &options()).unwrap_err().to_string().contains("`b.xml`"));
    assert!(read("f.zip", &zip(&[("readme.txt", b"hello")]), &options()).is_err());
    assert!(
        read("f.zip", &zip(&[("x.zip", &found)]), &options()).unwrap_err().to_string().contains("inside an archive")
    );
}

#[test]
fn archives_that_unpack_to_too_much_are_refused() {
    let zeros = vec![b' '; 64 << 20];
    let bomb = zip(&[("a.txt", &zeros), ("b.txt", &zeros), ("c.txt", &zeros)]);
    assert!(bomb.len() < 1 << 20);
    assert!(read("f.zip", &bomb, &options()).unwrap_err().to_string().contains("unpacks to more than"));
}
