//! The form on a page that asks for a code: found, and filled in as a browser would.
//!
//! No such page of the real bank has been seen, so a form counts only where the question is beyond doubt: the
//! form is posted, and a person has exactly one thing to type. All other fields go back as they came.

use scraper::{ElementRef, Html};
use url::Url;

use super::html::is_hidden;

/// A form with one thing to type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CodeForm {
    /// The page's `<base>`, if it has one.
    base: Option<String>,
    /// The target, as the page writes it; empty: the page's own address.
    action: String,
    /// Names and values in the order of the page; `None`: the code.
    fields: Vec<(String, Option<String>)>,
    /// The input's name says that it wants a code.
    is_named_so: bool,
}

/// Forms of a page, and inputs of a form, beyond which nobody would be asked for one code.
const FORMS: usize = 20;
const INPUTS: usize = 200;

/// Parts of the names of inputs that want a code.
const CODE_NAMES: [&str; 8] = ["otp", "sms", "token", "tan", "verif", "factor", "code", "challenge"];

/// True for an input whose name (in lower case) asks for a code.
pub(super) fn wants_code(name: &str) -> bool {
    CODE_NAMES.iter().any(|part| name.contains(part))
}

impl CodeForm {
    /// The one form that a code belongs into; `None` where there is none, or more than one that might be it.
    pub fn find(document: &Html, csrf: Option<&str>) -> Option<CodeForm> {
        let elements = || document.root_element().descendent_elements();
        let base = elements().find(|element| element.value().name() == "base").and_then(|base| base.attr("href"));
        let forms = elements().filter(|element| element.value().name() == "form").take(FORMS + 1);
        let forms: Vec<ElementRef> = forms.collect();
        let forms = (forms.len() <= FORMS).then_some(forms).into_iter().flatten().filter_map(read);
        let (named, others): (Vec<_>, Vec<_>) = forms.partition(|form| form.is_named_so);
        let mut fitting = if named.is_empty() { others } else { named };
        let mut form = fitting.pop().filter(|_| fitting.is_empty())?;
        form.base = base.map(str::to_owned);
        // Many pages have the token in a tag only, for a script to take.
        if let Some(csrf) = csrf.filter(|_| !form.fields.iter().any(|(name, _)| name == "_csrf")) {
            form.fields.push(("_csrf".into(), Some(csrf.to_owned())));
        }
        Some(form)
    }

    /// The target of the form on the page at this address.
    pub fn target(&self, page: &Url) -> Option<Url> {
        let base = match &self.base {
            Some(base) if !self.action.is_empty() => page.join(base).ok()?,
            _ => page.clone(),
        };
        let mut target = if self.action.is_empty() { base } else { base.join(&self.action).ok()? };
        target.set_fragment(None);
        Some(target)
    }

    /// The fields that the form sends.
    pub fn filled<'a>(&'a self, code: &'a str) -> Vec<(&'a str, &'a str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or(code))).collect()
    }
}

/// Reads a form; `None` where it is not posted as plain fields, or asks for more or less than one thing.
fn read(form: ElementRef) -> Option<CodeForm> {
    let is_posted = form.attr("method").is_some_and(|method| method.trim().eq_ignore_ascii_case("post"));
    let is_plain =
        form.attr("enctype").is_none_or(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    if !is_posted || !is_plain {
        return None;
    }
    let mut fields = Vec::new();
    let mut is_named_so = None;
    let mut has_button = false;
    let mut inputs = 0;
    for element in form.descendent_elements().filter(|element| element.attr("disabled").is_none()) {
        let tag = element.value().name();
        inputs += usize::from(tag == "input");
        if inputs > INPUTS {
            return None;
        }
        let kind = element.attr("type").unwrap_or_default().trim().to_lowercase();
        let name = element.attr("name").map(str::trim).filter(|name| !name.is_empty());
        let value = |usual: &str| Some(element.attr("value").unwrap_or(usual).to_owned());
        let given = match (tag, kind.as_str()) {
            ("input", "submit" | "image") | ("button", "submit" | "") => {
                // A browser sends the first button's name, as if it had been pressed.
                let is_first = !std::mem::replace(&mut has_button, true);
                if !is_first || kind == "image" {
                    continue;
                }
                value("")
            }
            ("input", "button" | "reset" | "file") => continue,
            ("input", "checkbox" | "radio") if element.attr("checked").is_some() => value("on"),
            ("input", "checkbox" | "radio") => continue,
            ("input", _) if kind == "hidden" || is_invisible(element) || element.attr("readonly").is_some() => {
                value("")
            }
            ("input", _) => {
                let wanted = is_named_so.replace(wants_code(&names_of(element)));
                if wanted.is_some() || is_password(element) || name.is_none() {
                    return None;
                }
                None
            }
            // A further field to fill in or to choose, of unknown meaning.
            ("select" | "textarea", _) => return None,
            _ => continue,
        };
        if let Some(name) = name {
            fields.push((name.to_owned(), given));
        }
    }
    let action = form.attr("action").unwrap_or_default().trim().to_owned();
    Some(CodeForm { base: None, action, fields, is_named_so: is_named_so? })
}

/// The names of an input, from every place where a page gives one, in lower case.
fn names_of(input: ElementRef) -> String {
    let said = ["name", "id", "autocomplete"].iter().filter_map(|attribute| input.attr(attribute));
    said.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The password itself is asked for: a code there would count as a wrong one.
fn is_password(input: ElementRef) -> bool {
    let names = names_of(input);
    (names.contains("pass") || names.contains("username")) && !wants_code(&names)
}

/// True where the element or an element around it is hidden from a person.
fn is_invisible(input: ElementRef) -> bool {
    std::iter::once(input).chain(input.ancestors().filter_map(ElementRef::wrap)).any(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(body: &str) -> Option<CodeForm> {
        CodeForm::find(&Html::parse_document(&format!("<html><body>{body}</body></html>")), None)
    }

    fn filled(body: &str) -> String {
        let form = find(body).unwrap_or_else(|| panic!("no form in {body}"));
        let fields: Vec<String> = form.filled("42").iter().map(|(name, value)| format!("{name}={value}")).collect();
        fields.join("&")
    }

    #[test]
    fn everything_goes_back_as_it_came_and_the_code_with_it() {
        assert_eq!(
            filled(
                "<form method=POST><input type=hidden name=execution value=e1s2><input name=otp maxlength=6>\
                 <input type=checkbox name=trust value=yes><input type=checkbox name=terms checked>\
                 <p style='display: none'><input name=trap value=''></p><input name=off disabled>\
                 <button name=_eventId value=proceed>OK</button><button name=_eventId value=cancel>No</button></form>"
            ),
            "execution=e1s2&otp=42&terms=on&trap=&_eventId=proceed"
        );
        let kinds = ["text", "tel", "number", "password"];
        for kind in kinds {
            assert_eq!(filled(&format!("<form method=post><input type={kind} name=x></form>")), "x=42");
        }
        let document = Html::parse_document("<form method=post><input name=otp></form>");
        assert_eq!(CodeForm::find(&document, Some("11-22")).unwrap().filled("42").last(), Some(&("_csrf", "11-22")));
    }

    #[test]
    fn a_form_that_leaves_a_doubt_is_not_filled_in() {
        for body in [
            "<form><input name=otp></form>",
            "<form method=get><input name=otp></form>",
            "<form method=post enctype=multipart/form-data><input name=otp></form>",
            "<form method=post><input name=otp><input name=other></form>",
            "<form method=post><input name=otp><select name=device></select></form>",
            "<form method=post><input type=password name=password></form>",
            "<form method=post><input type=hidden name=otp></form>",
            "<form method=post><input id=otp></form>",
            "<form method=post><input name=a></form><form method=post><input name=b></form>",
            "Потвърдете с Fibank Token <button>Готово</button>",
        ] {
            assert_eq!(find(body), None, "{body}");
        }
        // A search box beside it is no doubt.
        assert_eq!(
            filled("<form method=post><input name=q></form><form method=post><input name=smsCode></form>"),
            "smsCode=42"
        );
    }

    #[test]
    fn it_goes_where_a_browser_would_send_it() {
        let page = Url::parse("https://bank/oauth2-server/login?x=1").unwrap();
        let target = |body: &str| find(body).unwrap().target(&page).unwrap().to_string();
        assert_eq!(target("<form method=post><input name=otp></form>"), "https://bank/oauth2-server/login?x=1");
        assert_eq!(
            target("<form method=post action=confirm><input name=otp></form>"),
            "https://bank/oauth2-server/confirm"
        );
        assert_eq!(target("<base href=/a/><form method=post action=b><input name=otp></form>"), "https://bank/a/b");
        assert_eq!(target("<form method=post action='//else/x'><input name=otp></form>"), "https://else/x");
    }
}
