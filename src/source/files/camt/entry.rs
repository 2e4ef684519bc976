//! Turns an entry, `Ntry`, into a row. The details of an entry, `TxDtls`, explain it and are never booked beside it.

use chrono::NaiveDate;

use super::node::Node;
use super::quoted;
use crate::source::files::keywords;
use crate::source::files::numbers;
use crate::source::files::statement::{Clock, FileRow, Statement, bank_id, says_none};

/// The longest description that is put together from the details of a batch.
const LONGEST_DESCRIPTION: usize = 1000;

/// Reads an entry; `None` where it is announced, not booked. `otherwise` is the day of an entry that names none.
pub(super) fn read(
    entry: &Node,
    otherwise: Option<NaiveDate>,
    statement: &mut Statement,
) -> Result<Option<FileRow>, String> {
    let amount = entry.child("Amt").ok_or("the entry has no amount")?;
    let value = numbers::signed(&amount.text)
        .ok_or_else(|| format!("the amount {} of the entry cannot be read", quoted(&amount.text)))?;
    let out = match entry.text_at(&["CdtDbtInd"]) {
        Some("DBIT") => true,
        Some("CRDT") => false,
        Some(other) => return Err(format!("the entry is neither CRDT nor DBIT but {}", quoted(other))),
        None => return Err("the entry says neither CRDT nor DBIT".to_owned()),
    };
    if value.is_sign_negative() && !value.is_zero() && !out {
        return Err(format!("the amount {} of money in is negative", quoted(&amount.text)));
    }
    let value = value.abs();
    let booked = day(entry, "BookgDt")?;
    let valued = day(entry, "ValDt")?;
    if pending(entry) {
        return Ok(None);
    }
    let (date, time) = match booked.or(valued.map(|(date, _)| (date, None))) {
        Some(found) => found,
        None => {
            let date = otherwise.ok_or("the entry has no date")?;
            statement.notes.push(format!("an entry without a date is put on {date}, the day of its statement"));
            (date, None)
        }
    };
    let details: Vec<&Node> = entry.children("NtryDtls").flat_map(|details| details.children("TxDtls")).collect();
    let mut row = FileRow {
        date,
        time,
        value_date: valued.map(|(date, _)| date),
        amount: if out { -value } else { value },
        currency: amount.currency.clone().unwrap_or_default(),
        reversal: matches!(entry.text_at(&["RvslInd"]), Some("true" | "1")),
        raw: entry.json().to_string(),
        ..FileRow::default()
    };
    describe(entry, &details, out, &mut row);
    Ok(Some(row))
}

/// `BOOK` or nothing is booked; the state is a text, or a code below the element in later versions.
fn pending(entry: &Node) -> bool {
    let status = entry.child("Sts").and_then(|status| {
        let code = status.text_at(&["Cd"]).or_else(|| status.text_at(&["Prtry"]));
        code.or(Some(status.text.as_str()))
    });
    matches!(status, Some("PDNG" | "INFO" | "FUTR"))
}

/// A day of the entry, where it names one; one that cannot be read refuses the file.
fn day(entry: &Node, name: &str) -> Result<Option<(NaiveDate, Option<Clock>)>, String> {
    let Some(node) = entry.child(name) else { return Ok(None) };
    let written = node.text_at(&["Dt"]).or_else(|| node.text_at(&["DtTm"])).unwrap_or(&node.text);
    if written.is_empty() {
        return Ok(None);
    }
    date(node).map(Some).ok_or_else(|| format!("the date {} of the entry does not exist", quoted(written)))
}

/// The day of a choice of `Dt` and `DtTm`, in the bank's own zone.
pub(super) fn date(node: &Node) -> Option<(NaiveDate, Option<Clock>)> {
    let text = node.text_at(&["Dt"]).or_else(|| node.text_at(&["DtTm"])).unwrap_or(&node.text);
    let (date, clock) = numbers::iso_date(text)?;
    // Midnight is a day, not a time.
    let midnight = clock.is_some_and(|clock| clock.time == chrono::NaiveTime::MIN);
    Some((date, clock.filter(|_| !midnight)))
}

/// Counterparty, texts, references and codes.
fn describe(entry: &Node, details: &[&Node], out: bool, row: &mut FileRow) {
    let single = (details.len() == 1).then(|| details[0]);
    let returned = row.reversal || single.is_some_and(|detail| detail.child("RtrInf").is_some());
    if let Some(detail) = single {
        // On a return the parties keep the roles that they had in what is returned.
        other_side(detail, out != returned, row);
    }
    let remittance = keywords::read(&description(entry, details));
    let reference = details.iter().find_map(|detail| reference(detail)).unwrap_or(remittance.reference);
    row.description = remittance.subject;
    row.reference = if details.len() <= 1 { reference } else { String::new() };
    // An entry reference of few digits numbers the entries of its statement.
    let entry_reference = entry.text_at(&["NtryRef"]);
    let references = [
        entry.text_at(&["AcctSvcrRef"]),
        single.and_then(|detail| detail.text_at(&["Refs", "AcctSvcrRef"])),
        entry_reference.filter(|reference| reference.bytes().filter(u8::is_ascii_digit).count() >= 6),
    ];
    row.bank_id = references.into_iter().flatten().find_map(bank_id);
    let code = entry.child("BkTxCd").or_else(|| single.and_then(|detail| detail.child("BkTxCd")));
    if let Some(code) = code {
        let domain = [&["Domn", "Cd"][..], &["Domn", "Fmly", "Cd"], &["Domn", "Fmly", "SubFmlyCd"]];
        let domain: Vec<&str> = domain.iter().filter_map(|path| code.text_at(path)).collect();
        row.code = domain.join("-");
        let own = code.text_at(&["Prtry", "Cd"]).unwrap_or_default();
        if row.code.is_empty() {
            own.clone_into(&mut row.code);
        }
    }
    let booking_text = entry.text_at(&["AddtlNtryInf"]).unwrap_or_default();
    if booking_text != row.description {
        row.kind = collapse(booking_text);
    }
}

/// Name and account of the other side: the creditor of money out, the debtor of money in.
fn other_side(detail: &Node, out: bool, row: &mut FileRow) {
    let Some(parties) = detail.child("RltdPties") else { return };
    let (role, account, ultimate) =
        if out { ("Cdtr", "CdtrAcct", "UltmtCdtr") } else { ("Dbtr", "DbtrAcct", "UltmtDbtr") };
    let name = |role: &str| {
        let party = parties.child(role)?;
        party
            .text_at(&["Nm"])
            .or_else(|| party.text_at(&["Pty", "Nm"]))
            .or_else(|| party.text_at(&["Agt", "FinInstnId", "Nm"]))
    };
    row.counterparty = name(role).or_else(|| name(ultimate)).map(collapse).unwrap_or_default();
    let number = parties.child(account).and_then(|account| {
        let iban = account.text_at(&["Id", "IBAN"]).or_else(|| account.text_at(&["Id", "Othr", "Id"]));
        iban.or_else(|| account.text_at(&["Id", "BBAN"])).or_else(|| account.text_at(&["Id", "PrtryAcct", "Id"]))
    });
    row.counterparty_account = number.map(str::to_owned).unwrap_or_default();
}

/// The remittance texts, else what the bank adds.
fn description(entry: &Node, details: &[&Node]) -> String {
    let mut text = String::new();
    for detail in details {
        let part = remittance(detail);
        if part.is_empty() {
            continue;
        }
        if text.len() + part.len() > LONGEST_DESCRIPTION && !text.is_empty() {
            text.push_str(" …");
            break;
        }
        if !text.is_empty() {
            text.push_str(" | ");
        }
        text.push_str(&part);
    }
    let added = details.iter().find_map(|detail| detail.text_at(&["AddtlTxInf"])).filter(|_| details.len() == 1);
    match text.is_empty() {
        true => added.or_else(|| entry.text_at(&["AddtlNtryInf"])).map(collapse).unwrap_or_default(),
        false => text,
    }
}

fn remittance(detail: &Node) -> String {
    let Some(information) = detail.child("RmtInf") else { return String::new() };
    let mut text = String::new();
    for line in information.children("Ustrd") {
        // A line of 140 characters is full and runs on.
        if !text.is_empty() && !text.chars().count().is_multiple_of(140) {
            text.push(' ');
        }
        text.push_str(&line.text);
    }
    let structured = information.children("Strd").filter_map(|structured| {
        let reference =
            structured.text_at(&["CdtrRefInf", "Ref"]).or_else(|| structured.text_at(&["CdtrRefInf", "CdtrRef"]));
        reference.or_else(|| structured.text_at(&["AddtlRmtInf"]))
    });
    if text.is_empty() {
        text = structured.collect::<Vec<_>>().join(" ");
    }
    collapse(&text)
}

/// The payer's name for the payment: the structured reference of an invoice, else the end-to-end id.
fn reference(detail: &Node) -> Option<String> {
    let structured = detail.child("RmtInf").and_then(|information| {
        information.children("Strd").find_map(|structured| {
            structured.text_at(&["CdtrRefInf", "Ref"]).or_else(|| structured.text_at(&["CdtrRefInf", "CdtrRef"]))
        })
    });
    let reference = structured.or_else(|| detail.text_at(&["Refs", "EndToEndId"]))?;
    (!says_none(reference)).then(|| reference.to_owned())
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
