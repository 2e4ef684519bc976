//! The filters that find rows by transaction id. Pure.
//!
//! No id can break a filter: an id is printable ASCII without blanks, and NocoDB takes each of these characters between
//! double quotes as it is, but for the quote itself (an error) and the backslash (found or not, by version). An id with
//! one of the two is looked for by a pattern that lets any character stand in their place. A filter may therefore find
//! more than was asked for; its caller compares.

/// Most ids in one filter.
const MOST_IDS: usize = 100;

/// Longest filter as it stands in an address; servers in between take lines of 8 KiB.
const MOST_BYTES: usize = 6_500;

/// The filters on this field that together find every one of the ids.
pub(super) fn filters<'a>(field: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let (mut filters, mut group, mut length) = (Vec::new(), Vec::new(), 0);
    let close = |group: &mut Vec<String>, filters: &mut Vec<String>| {
        if !group.is_empty() {
            filters.push(format!("({field},in,{})", group.join(",")));
            group.clear();
        }
    };
    for id in ids {
        if !is_plain(id) {
            filters.push(format!("({field},like,\"{}\")", pattern(id)));
            continue;
        }
        let quoted = format!("\"{id}\"");
        let bytes = encoded_length(&quoted) + 3;
        if group.len() == MOST_IDS || length + bytes > MOST_BYTES {
            close(&mut group, &mut filters);
            length = 0;
        }
        group.push(quoted);
        length += bytes;
    }
    close(&mut group, &mut filters);
    filters
}

/// True where the id may stand between double quotes as it is.
fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// A pattern of SQL's LIKE that matches the id: `_` is any one character, `%` any number of them.
fn pattern(id: &str) -> String {
    let wild = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '_' };
    id.chars().map(wild).collect()
}

fn encoded_length(text: &str) -> usize {
    url::form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_between_quotes_and_odd_ones_are_looked_for_by_a_pattern() {
        assert_eq!(filters("c1", ["a:1", "b,(2)'"]), ["(c1,in,\"a:1\",\"b,(2)'\")"]);
        assert_eq!(
            filters("c1", ["a\"b", "a:1", "a\\b"]),
            ["(c1,like,\"a_b\")", "(c1,like,\"a_b\")", "(c1,in,\"a:1\")"]
        );
        assert!(filters("c1", []).is_empty());
    }

    #[test]
    fn no_filter_holds_a_quote_of_an_id_or_is_longer_than_servers_take() {
        // Every character that an id may consist of, each in an id of its own and all in one.
        let all: String = ('!'..='~').collect();
        let mut ids: Vec<String> = ('!'..='~').map(|c| format!("x{c}y")).collect();
        ids.extend([all, "fibank:BG32FINV91501000000001:".to_owned() + &"7".repeat(3_000)]);
        ids.extend((0..250).map(|n| format!("fibank:BG32FINV91501000000001:{n}")));
        let mut looked_for = 0;
        for filter in filters("c1", ids.iter().map(String::as_str)) {
            assert!(encoded_length(&filter) < 7_500, "{}", filter.len());
            let (inner, quotes) = (filter.strip_prefix("(c1,").unwrap(), filter.matches('"').count());
            let count = inner.matches("\",\"").count() + 1;
            assert!(count <= MOST_IDS && !filter.contains('\\'));
            assert_eq!(quotes % 2, 0);
            looked_for += if inner.starts_with("in,") { quotes / 2 } else { 1 };
        }
        assert_eq!(looked_for, ids.len());
    }
}
