//! The refusals of Odoo, with the texts and names of the recordings.

use serde_json::{Value, json};

/// Why a call is not served.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The status of JSON-2; JSON-RPC always says 200.
    pub status: u16,
    /// The name of the exception.
    pub name: String,
    /// The text.
    pub message: String,
    /// The arguments of the exception, where they say more than the text.
    arguments: Option<Value>,
}

impl Refusal {
    fn new(status: u16, name: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, name: name.to_owned(), message: message.into(), arguments: None }
    }

    pub fn user(message: impl Into<String>) -> Refusal {
        Refusal::new(422, "odoo.exceptions.UserError", message)
    }

    pub fn validation(message: impl Into<String>) -> Refusal {
        Refusal::new(422, "odoo.exceptions.ValidationError", message)
    }

    pub fn value(message: impl Into<String>) -> Refusal {
        Refusal::new(500, "builtins.ValueError", message)
    }

    pub fn access(message: impl Into<String>) -> Refusal {
        Refusal::new(403, "odoo.exceptions.AccessError", message)
    }

    pub fn denied(message: &str) -> Refusal {
        Refusal::new(403, "odoo.exceptions.AccessDenied", message)
    }

    /// A warning that offers a list of the lines in the way.
    pub fn open_lines(lines: &[i64]) -> Refusal {
        let text = "There are still unreconciled bank statement lines in the period you want to lock.You should either \
                    reconcile or delete them.";
        let button = "Show Unreconciled Bank Statement Line";
        let action = json!({
            "name": "Unreconciled Transactions", "type": "ir.actions.act_window", "res_model": super::books::LINE,
            "context": {"create": false}, "view_mode": "list,form", "domain": [["id", "in", lines]],
        });
        let message = format!("{text}\n{action}\n{button}\nNone");
        let arguments = Some(json!([text, action, button, null]));
        Refusal { arguments, ..Refusal::new(422, "odoo.exceptions.RedirectWarning", message) }
    }

    pub fn unauthorized(message: &str) -> Refusal {
        Refusal::new(401, "werkzeug.exceptions.Unauthorized", message)
    }

    pub fn unprocessable(message: impl Into<String>) -> Refusal {
        Refusal::new(422, "werkzeug.exceptions.UnprocessableEntity", message)
    }

    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(404, "werkzeug.exceptions.NotFound", message)
    }

    pub fn broken_body(column: usize) -> Refusal {
        let text =
            format!("could not parse the body as json: Expecting value: line 1 column {} (char {column})", column + 1);
        Refusal::new(400, "werkzeug.exceptions.BadRequest", text)
    }

    pub fn unknown_service(name: &str) -> Refusal {
        Refusal::new(500, "builtins.KeyError", name)
    }

    pub fn missing(model: &str, id: i64, user: i64) -> Refusal {
        let text = format!("Record does not exist or has been deleted.\n(Record: {model}({id},), User: {user})");
        Refusal::new(404, "odoo.exceptions.MissingError", text)
    }

    pub fn no_database(name: &str) -> Refusal {
        let text = format!(
            "connection to server at \"127.0.0.1\", port 54329 failed: FATAL:  database \"{name}\" does not exist\n"
        );
        Refusal::new(500, "psycopg2.OperationalError", text)
    }

    /// Unknown to JSON-RPC; JSON-2 has words of its own.
    pub fn unknown_model(model: &str) -> Refusal {
        Refusal::user(format!("Object {model} doesn't exist"))
    }

    pub fn unknown_method(model: &str, method: &str) -> Refusal {
        Refusal::new(404, "builtins.AttributeError", format!("The method '{model}.{method}' does not exist"))
    }

    pub fn private_method(model: &str, method: &str) -> Refusal {
        Refusal::access(format!("Private methods (such as '{model}.{method}') cannot be called remotely."))
    }

    pub fn reconciled() -> Refusal {
        Refusal::user(
            "You can't delete a posted journal item. Don’t play games with your accounting records; reset the journal \
             entry to draft before deleting it.",
        )
    }

    pub fn locked(day: chrono::NaiveDate) -> Refusal {
        let day = day.format("%m/%d/%Y");
        Refusal::user(format!("You cannot add/modify entries prior to and inclusive of: Global Lock Date ({day})."))
    }

    pub fn imported_once() -> Refusal {
        Refusal::validation("The operation cannot be completed: A bank account transaction can be imported only once!")
    }

    pub fn lone_foreign_amount() -> Refusal {
        Refusal::validation("You can't provide an amount in foreign currency without specifying a foreign currency.")
    }

    /// A right that the user lacks, with the groups that have it.
    pub fn right(deed: &str, title: &str, model: &str, groups: &[&str]) -> Refusal {
        let groups: Vec<String> = groups.iter().map(|group| format!("\t- {group}")).collect();
        let groups = groups.join("\n");
        Refusal::access(format!(
            "You are not allowed to {deed} '{title}' ({model}) records.\n\nThis operation is allowed for the following \
             groups:\n{groups}\n\nContact your administrator to request access if necessary."
        ))
    }

    pub fn top_secret(login: &str, id: i64) -> Refusal {
        let name = login.split('@').next().unwrap_or_default();
        Refusal::access(format!(
            "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\nSorry, {name} (id={id}) doesn't have \
             'create' access to:\n- Journal Entry (account.move)\n\nIf you really, really need access, perhaps you can win \
             over your friendly administrator with a batch of freshly baked cookies."
        ))
    }

    /// The body in JSON-2, and the `data` in JSON-RPC.
    pub fn body(&self) -> Value {
        let mut arguments = vec![json!(self.message)];
        if self.name.starts_with("werkzeug") {
            arguments.push(json!(self.status));
        }
        let debug = format!("Traceback (most recent call last):\n  … 38 lines …\n{}: {}", self.name, self.message);
        json!({"name": self.name, "message": self.message, "arguments": self.arguments.clone().unwrap_or(json!(arguments)), "context": {}, "debug": debug})
    }
}
