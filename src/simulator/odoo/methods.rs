//! The methods that can be called on models, whatever the protocol: their parameters by name, and what they do.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use serde_json::{Map, Value, json};

use super::books::{ApiKey, Books, FIELDS, LINE};
use super::domain::{filter, page, select};
use super::lines::Caller;
use super::refusal::Refusal;

/// A method: its parameters in order, those that must be given, and whether it is called on records.
pub(super) struct Method {
    pub parameters: &'static [&'static str],
    pub required: usize,
    pub on_records: bool,
}

const fn method(parameters: &'static [&'static str], required: usize, on_records: bool) -> Method {
    Method { parameters, required, on_records }
}

/// The models that the simulator has.
const MODELS: &[&str] = &[
    LINE,
    "account.journal",
    "account.move",
    "ir.model.data",
    "res.company",
    "res.currency",
    "res.users",
    "res.users.apikeys",
];

/// True for a model of this database.
pub(super) fn has_model(books: &Books, model: &str) -> bool {
    MODELS.contains(&model) && !(books.without_accounting && model.starts_with("account."))
}

/// A method by name.
pub(super) fn find(model: &str, name: &str) -> Option<Method> {
    Some(match (model, name) {
        (_, "search") => method(&["domain", "offset", "limit", "order"], 1, false),
        (_, "search_count") => method(&["domain", "limit"], 1, false),
        (_, "search_read") => method(&["domain", "fields", "offset", "limit", "order"], 0, false),
        (_, "read") => method(&["fields", "load"], 0, true),
        (_, "fields_get") => method(&["allfields", "attributes"], 0, false),
        (_, "has_access") => method(&["operation"], 1, true),
        (LINE | "ir.model.data", "create") => method(&["vals_list"], 1, false),
        (LINE | "res.company", "write") => method(&["vals"], 1, true),
        (LINE, "unlink" | "get_external_id") => method(&[], 0, true),
        (LINE, "load") => method(&["fields", "data"], 2, false),
        (LINE, "export_data") => method(&["fields_to_export"], 1, true),
        ("account.move", "button_draft") => method(&[], 0, true),
        ("res.users", "context_get") => method(&[], 0, false),
        ("res.users.apikeys", "generate") => method(&["key", "scope", "name", "expiration_date"], 4, false),
        ("res.users.apikeys", "revoke") => method(&["key"], 1, false),
        _ => return None,
    })
}

/// A call with its arguments by name.
pub(super) struct Call<'a> {
    pub model: &'a str,
    pub method: &'a str,
    pub ids: Vec<i64>,
    pub arguments: Map<String, Value>,
    pub context: Map<String, Value>,
}

impl Call<'_> {
    fn argument(&self, name: &str) -> &Value {
        self.arguments.get(name).unwrap_or(&Value::Null)
    }

    fn text(&self, name: &str) -> &str {
        self.argument(name).as_str().unwrap_or_default()
    }
}

impl Books {
    /// Carries a call out. `None`: the method returns nothing.
    pub(super) fn call(&mut self, caller: &Caller<'_>, call: &Call<'_>) -> Result<Option<Value>, Refusal> {
        if let Some(language) = call.context.get("lang").and_then(Value::as_str)
            && language != "en_US"
        {
            return Err(Refusal::user(format!("Invalid language code: {language}")));
        }
        let answer = match call.method {
            "search" | "search_count" | "search_read" | "read" => self.look(caller, call)?,
            "fields_get" => self.fields_get(call),
            "has_access" => match call.text("operation") {
                "read" => json!(caller.may_read(call.model).is_ok()),
                _ => json!(caller.may_book().is_ok()),
            },
            "create" if call.model == LINE => self.create_all(caller, call.argument("vals_list"))?,
            "create" => self.name_record(caller, call.argument("vals_list"))?,
            "write" if call.model == LINE => {
                let values = call.argument("vals").as_object().cloned().unwrap_or_default();
                self.all_or_none(|books| books.write(caller, &call.ids, &values))?;
                json!(true)
            }
            "write" => self.lock_company(call)?,
            "unlink" => {
                self.unlink(caller, &call.ids)?;
                json!(true)
            }
            "load" => {
                let fields = call.argument("fields").as_array().into_iter().flatten();
                let fields: Vec<String> = fields.filter_map(Value::as_str).map(str::to_owned).collect();
                let data = call.argument("data").as_array().cloned().unwrap_or_default();
                self.load(caller, &fields, &data)?
            }
            "get_external_id" => {
                caller.may_read(LINE)?;
                let name = |id: &i64| (id.to_string(), json!(self.external_id(*id).unwrap_or_default()));
                Value::Object(call.ids.iter().map(name).collect())
            }
            "export_data" => {
                return Err(Refusal::user(
                    "You don't have the rights to export data. Please contact an Administrator.",
                ));
            }
            "button_draft" => {
                for id in &call.ids {
                    self.lines.entry(*id).and_modify(|line| (line.draft, line.reconciled) = (true, false));
                }
                return Ok(None);
            }
            "context_get" => json!({"lang": "en_US", "tz": false, "uid": caller.user.id}),
            "generate" => self.generate_key(caller, call)?,
            "revoke" => self.revoke_key(caller, call)?,
            _ => return Err(Refusal::unknown_method(call.model, call.method)),
        };
        Ok(Some(answer))
    }

    fn look(&self, caller: &Caller<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
        caller.may_read(call.model)?;
        let archived = call.context.get("active_test") == Some(&json!(false));
        let reads = call.method == "read";
        let records = self.records(call.model, caller.user, archived || reads)?;
        if reads {
            // A record that is gone is passed over in silence.
            let wanted = |id: &i64| records.iter().find(|record| record.get("id") == Some(&json!(id))).cloned();
            let found = call.ids.iter().filter_map(wanted).collect();
            return select(call.model, found, call.arguments.get("fields"));
        }
        let domain = call.arguments.get("domain").filter(|domain| !domain.is_null()).cloned().unwrap_or(json!([]));
        let found = page(filter(call.model, records, &domain)?, &call.arguments);
        match call.method {
            "search" => Ok(json!(found.iter().filter_map(|record| record.get("id")).collect::<Vec<_>>())),
            "search_count" => Ok(json!(found.len())),
            _ => select(call.model, found, call.arguments.get("fields")),
        }
    }

    fn create_all(&mut self, caller: &Caller<'_>, values: &Value) -> Result<Value, Refusal> {
        match values {
            Value::Object(one) => {
                let one = one.clone();
                Ok(json!(self.all_or_none(|books| books.create(caller, &one))?))
            }
            Value::Array(many) => {
                let many: Vec<_> = many.iter().filter_map(Value::as_object).cloned().collect();
                let all = |books: &mut Books| many.iter().map(|one| books.create(caller, one)).collect();
                let ids: Vec<i64> = self.all_or_none(all)?;
                Ok(json!(ids))
            }
            _ => Err(Refusal::value("create() takes a dictionary or a list of dictionaries")),
        }
    }

    /// Runs a call as one transaction.
    fn all_or_none<T>(&mut self, act: impl FnOnce(&mut Books) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let before = self.clone();
        let done = act(self);
        if done.is_err() {
            *self = before;
        }
        done
    }

    fn fields_get(&self, call: &Call<'_>) -> Value {
        let wanted: Vec<&str> =
            call.argument("allfields").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let attributes: Vec<&str> =
            call.argument("attributes").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if call.model != LINE {
            return json!({"id": {"type": "integer"}, "name": {"type": "char"}});
        }
        let unique = ("unique_import_id", "char", "Import ID", false);
        let raw = ("raw_data", "text", "Raw Data", false);
        let mut fields = FIELDS.to_vec();
        if self.unique_import_id {
            fields.extend([unique, raw]);
        }
        let described = fields.into_iter().filter(|field| wanted.is_empty() || wanted.contains(&field.0));
        let described = described.map(|(name, kind, title, is_read_only)| {
            let stored = !["ref", "date", "narration"].contains(&name);
            let required = ["journal_id", "date", "move_id"].contains(&name);
            let all = json!({
                "type": kind, "string": title, "readonly": is_read_only || name == "transaction_details",
                "required": required, "store": stored,
            });
            let mut shown = all.as_object().cloned().unwrap_or_default();
            if kind == "many2one" {
                let relation = match name {
                    "journal_id" => "account.journal",
                    "move_id" => "account.move",
                    "company_id" => "res.company",
                    "partner_id" => "res.partner",
                    _ => "res.currency",
                };
                shown.insert("relation".to_owned(), json!(relation));
            }
            shown.retain(|key, _| attributes.is_empty() || attributes.contains(&key.as_str()));
            (name.to_owned(), Value::Object(shown))
        });
        Value::Object(described.collect())
    }

    fn name_record(&mut self, caller: &Caller<'_>, values: &Value) -> Result<Value, Refusal> {
        caller.may_give_external_ids()?;
        let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (module, name, model) = (text("module"), text("name"), text("model"));
        let id = format!("{module}.{name}");
        if self.external_ids.contains_key(&id) {
            return Err(Refusal::validation(format!(
                "The operation cannot be completed: duplicate key value violates unique constraint \
                 \"ir_model_data_module_name_uniq_index\"\nDETAIL:  Key (module, name)=({module}, {name}) already exists.\n"
            )));
        }
        let record = values.get("res_id").and_then(Value::as_i64).unwrap_or_default();
        self.external_ids.insert(id, (model, record));
        Ok(json!(31_796 + self.external_ids.len()))
    }

    fn lock_company(&mut self, call: &Call<'_>) -> Result<Value, Refusal> {
        let date = |key: &str| call.argument("vals").get(key)?.as_str()?.parse().ok();
        let (soft, hard) = (date("fiscalyear_lock_date"), date("hard_lock_date"));
        let journals: Vec<i64> =
            self.journals.iter().filter(|it| call.ids.contains(&it.company)).map(|it| it.id).collect();
        let last = soft.max(hard);
        let mut open: Vec<i64> = self
            .lines
            .values()
            .filter(|line| !line.reconciled)
            .filter(|line| journals.contains(&line.journal) && last.is_some_and(|last| line.date <= last))
            .map(|line| line.id)
            .collect();
        open.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        if !open.is_empty() {
            return Err(Refusal::open_lines(&open));
        }
        for company in self.companies.iter_mut().filter(|company| call.ids.contains(&company.id)) {
            company.lock_date = soft.or(company.lock_date);
            company.hard_lock_date = hard.or(company.hard_lock_date);
        }
        Ok(json!(true))
    }

    fn generate_key(&mut self, caller: &Caller<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
        if !self.programmatic_keys {
            return Err(Refusal::user("Programmatic API keys are not enabled"));
        }
        let now = Utc::now();
        let end = NaiveDateTime::parse_from_str(call.text("expiration_date"), "%Y-%m-%d %H:%M:%S").ok();
        let end: Option<DateTime<Utc>> = end.map(|end| end.and_utc());
        match end {
            None => return Err(Refusal::validation("The API key must have an expiration date")),
            Some(end) if end > now + Duration::days(90) => {
                return Err(Refusal::validation("You cannot exceed 90.0 days."));
            }
            Some(_) => {}
        }
        if caller.user.keys.len() >= 10 {
            return Err(Refusal::user("Limit of 10 API keys is reached for programmatic creation"));
        }
        let id = 1 + self.users.iter().flat_map(|user| &user.keys).map(|key| key.id).max().unwrap_or_default();
        let key = format!("{id:040x}");
        for user in self.users.iter_mut().filter(|user| user.id == caller.user.id) {
            user.keys.push(ApiKey { id, key: key.clone(), name: call.text("name").to_owned(), expires: end });
        }
        Ok(json!(key))
    }

    fn revoke_key(&mut self, caller: &Caller<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
        let key = call.text("key");
        for user in self.users.iter_mut().filter(|user| user.id == caller.user.id) {
            if let Some(at) = user.keys.iter().position(|known| known.key == key) {
                user.keys.remove(at);
                return Ok(json!(true));
            }
        }
        Err(Refusal::denied("The provided API key is invalid."))
    }
}
