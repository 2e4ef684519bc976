//! The two protocols and the few pages around them: JSON-2 (19 and newer), JSON-RPC, and the server's version.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use serde_json::{Map, Value, json};

use super::super::lock;
use super::lines::Caller;
use super::methods::{self, Call};
use super::refusal::Refusal;
use super::{State, setup};

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

const NO_DATABASE: &str = "<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>No database is selected \
     and the requested URL was not found in the server-wide controllers.</p>\n<p>Please verify the hostname, <a \
     href=/web/login>login</a> and try again.</p>\n\n<!-- Alternatively, use the X-Odoo-Database header. -->\n";

/// An answer before it is sent.
struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
    location: Option<String>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Answer {
        Answer { status, kind: JSON, body: body.to_string(), location: None }
    }

    fn page(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, kind: HTML, body: body.into(), location: None }
    }

    fn refusal(refusal: &Refusal) -> Answer {
        Answer::json(refusal.status, &refusal.body())
    }

    fn unsupported(path: &str, kind: &str, accepted: &str) -> Answer {
        Answer::page(
            415,
            format!(
                "<!doctype html>\n<html lang=en>\n<title>415 Unsupported Media Type</title>\n<h1>Unsupported Media \
                 Type</h1>\n<p>Request inferred type is compatible with {accepted} but &#39;{path}&#39; is \
                 type=&#39;{kind}&#39;.<br><br>Please verify the Content-Type request header and try again.</p>\n"
            ),
        )
    }

    /// Version 18 sends whoever it does not know to its login page.
    fn to_login(path: &str) -> Answer {
        let target = format!("/web/login?redirect={}%3F", path.replace('/', "%2F"));
        let page = format!(
            "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be \
             redirected automatically to the target URL: <a href=\"{target}\">{target}</a>. If not, click the link.\n"
        );
        Answer { location: Some(target), ..Answer::page(303, page) }
    }
}

pub(super) async fn serve(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let answer = {
        let mut state = lock(&state);
        state.answer(&method, uri.path(), &headers, &body)
    };
    let mut response = Response::builder().status(answer.status).header(header::CONTENT_TYPE, answer.kind);
    if answer.status == 401 {
        response = response.header(header::WWW_AUTHENTICATE, "Bearer ");
    }
    if let Some(location) = answer.location {
        response = response.header(header::LOCATION, location);
    }
    response.body(Body::from(answer.body)).unwrap_or_default()
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let version_info = json!([self.version, 0, 0, "final", 0, ""]);
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("POST", ["simulator", what]) => match setup::answer(self, what, body) {
                Ok(value) => Answer::json(200, &value),
                Err(why) => Answer::json(400, &json!({ "error": why })),
            },
            ("GET", ["web", "version"] | ["json", "version"]) if self.version >= 19 => {
                Answer::json(200, &json!({"version_info": version_info, "version": format!("{}.0", self.version)}))
            }
            ("POST", ["web", "webclient", "version_info"]) => {
                let id = serde_json::from_slice(body).ok().and_then(|body: Value| body.get("id").cloned());
                Answer::json(200, &json!({"jsonrpc": "2.0", "id": id, "result": self.version_of_rpc()}))
            }
            (_, ["json", ..]) if self.version < 19 => Answer::to_login(path),
            (_, ["json", "2", rest @ ..]) => self.json2(method, rest, headers, body),
            ("GET", ["jsonrpc"]) => Answer::unsupported(path, "jsonrpc", "[&#39;http&#39;, &#39;json2&#39;]"),
            ("POST", ["jsonrpc"]) => self.json_rpc(body),
            _ => Answer::page(404, "<!DOCTYPE html>\n<html>\n    <head>\n        <title>Odoo</title></head></html>"),
        }
    }

    fn version_of_rpc(&self) -> Value {
        let version = self.version;
        json!({
            "server_version": format!("{version}.0"), "server_version_info": [version, 0, 0, "final", 0, ""],
            "server_serie": format!("{version}.0"), "protocol_version": 1,
        })
    }

    fn json2(&mut self, method: &Method, rest: &[&str], headers: &HeaderMap, body: &[u8]) -> Answer {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // The header is needed where the host serves several databases.
        let named = text("x-odoo-database").map(str::to_owned);
        let only = || (self.databases.len() == 1).then(|| self.databases.keys().next().cloned()).flatten();
        let Some(database) = named.or_else(only).filter(|name| self.databases.contains_key(name)) else {
            return Answer::page(404, NO_DATABASE);
        };
        let [model, called] = rest else {
            return Answer::refusal(&Refusal::not_found("Did you mean POST /json/2/<model>/<method>?"));
        };
        if method != Method::POST {
            return Answer::refusal(&Refusal::not_found("Did you mean POST /json/2/<model>/<method>?"));
        }
        let is_json = text("content-type").is_none_or(|kind| kind.starts_with("application/json"));
        if !is_json {
            return Answer::unsupported("/json/2/&lt;__model__&gt;/&lt;__method__&gt;", "json2", "[&#39;http&#39;]");
        }
        match self.json2_call(&database, model, called, text("authorization"), body) {
            Ok(answer) => Answer::json(200, &answer.unwrap_or(Value::Null)),
            Err(refusal) => Answer::refusal(&refusal),
        }
    }

    fn json2_call(
        &mut self,
        database: &str,
        model: &str,
        called: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Result<Option<Value>, Refusal> {
        let bearer = authorization.and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
        });
        let key = bearer.ok_or_else(|| {
            Refusal::unauthorized("User not authenticated, use an API Key with a Bearer Authorization header.")
        })?;
        let user = self.user_by_key(database, None, &key).ok_or_else(|| Refusal::unauthorized("Invalid apikey"))?;
        let mut arguments = match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => map,
            Ok(_) => Map::new(),
            Err(_) if body.is_empty() => Map::new(),
            Err(error) => return Err(Refusal::broken_body(error.column())),
        };
        let books = self.databases.get(database).ok_or_else(|| Refusal::no_database(database))?;
        if !methods::has_model(books, model) {
            return Err(Refusal::not_found(format!("the model '{model}' does not exist")));
        }
        if called.starts_with('_') {
            return Err(Refusal::private_method(model, called));
        }
        let known = methods::find(model, called)
            .ok_or_else(|| Refusal::not_found(format!("The method '{model}.{called}' does not exist")))?;
        let context = arguments.remove("context").and_then(|it| it.as_object().cloned()).unwrap_or_default();
        let ids = arguments.remove("ids");
        if ids.is_some() && !known.on_records {
            return Err(Refusal::unprocessable(format!("cannot call {model}.{called} with ids")));
        }
        if let Some(lacking) = known.parameters[..known.required].iter().find(|name| !arguments.contains_key(**name)) {
            return Err(Refusal::unprocessable(format!("missing a required argument: '{lacking}'")));
        }
        if let Some(stranger) = arguments.keys().find(|name| !known.parameters.contains(&name.as_str())) {
            return Err(Refusal::unprocessable(format!("got an unexpected keyword argument '{stranger}'")));
        }
        let ids = numbers(ids.as_ref());
        let call = Call { model, method: called, ids, arguments, context };
        let made = self.carry_out(database, user, &call)?;
        // The records that were made come as a list, even of one.
        Ok(made.map(|made| if called == "create" && made.is_number() { json!([made]) } else { made }))
    }

    fn json_rpc(&mut self, body: &[u8]) -> Answer {
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return Answer::page(400, "Invalid JSON data");
        };
        let mut answer = json!({"jsonrpc": "2.0", "id": request.get("id")});
        match self.rpc(&request["params"]) {
            Ok(Some(result)) => answer["result"] = result,
            // A method that returns nothing has neither a result nor an error.
            Ok(None) => {}
            Err(refusal) => {
                let code = if self.version < 19 { 200 } else { 0 };
                answer["error"] = json!({"code": code, "message": "Odoo Server Error", "data": refusal.body()});
            }
        }
        Answer::json(200, &answer)
    }

    fn rpc(&mut self, params: &Value) -> Result<Option<Value>, Refusal> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (service, method) = (text(&params["service"]), text(&params["method"]));
        let arguments = params["args"].as_array().cloned().unwrap_or_default();
        let argument = |at: usize| arguments.get(at).cloned().unwrap_or(Value::Null);
        match (service.as_str(), method.as_str()) {
            ("common", "version") => Ok(Some(self.version_of_rpc())),
            ("common", "authenticate" | "login") => {
                let (database, login, key) = (text(&argument(0)), text(&argument(1)), text(&argument(2)));
                if !self.databases.contains_key(&database) {
                    return Err(Refusal::no_database(&database));
                }
                let found = self.user_by_login(&database, &login, &key);
                Ok(Some(found.map_or(json!(false), |user| json!(user))))
            }
            ("db", "list") => Ok(Some(json!(self.databases.keys().collect::<Vec<_>>()))),
            ("object", "execute_kw" | "execute") => {
                let (database, key) = (text(&argument(0)), text(&argument(2)));
                let user = argument(1).as_i64().unwrap_or_default();
                let (model, called) = (text(&argument(3)), text(&argument(4)));
                let (given, named) = if method == "execute" {
                    (arguments.get(5..).unwrap_or_default().to_vec(), Map::new())
                } else {
                    let given = argument(5).as_array().cloned().unwrap_or_default();
                    (given, argument(6).as_object().cloned().unwrap_or_default())
                };
                self.execute(&database, user, &key, (&model, &called), given, named)
            }
            _ => Err(Refusal::unknown_service(&service)),
        }
    }

    fn execute(
        &mut self,
        database: &str,
        user: i64,
        key: &str,
        (model, called): (&str, &str),
        given: Vec<Value>,
        mut named: Map<String, Value>,
    ) -> Result<Option<Value>, Refusal> {
        let books = self.databases.get(database).ok_or_else(|| Refusal::no_database(database))?;
        if !books.users.iter().any(|known| known.id == user) {
            return Err(Refusal::missing("res.users", user, user));
        }
        self.user_by_key(database, Some(user), key).ok_or_else(|| Refusal::denied("Access Denied"))?;
        if !methods::has_model(books, model) {
            return Err(Refusal::unknown_model(model));
        }
        if called.starts_with('_') {
            return Err(Refusal::private_method(model, called));
        }
        let known = methods::find(model, called).ok_or_else(|| Refusal::unknown_method(model, called))?;
        let context = named.remove("context").and_then(|it| it.as_object().cloned()).unwrap_or_default();
        let mut given = given.into_iter();
        let ids = if known.on_records { numbers(given.next().as_ref()) } else { Vec::new() };
        let mut arguments: Map<String, Value> =
            known.parameters.iter().map(|name| (*name).to_owned()).zip(given).collect();
        arguments.extend(named);
        if let Some(lacking) = known.parameters[..known.required].iter().find(|name| !arguments.contains_key(**name)) {
            return Err(Refusal::value(format!("missing 1 required positional argument: '{lacking}'")));
        }
        let call = Call { model, method: called, ids, arguments, context };
        self.carry_out(database, user, &call)
    }

    fn carry_out(&mut self, database: &str, user: i64, call: &Call<'_>) -> Result<Option<Value>, Refusal> {
        let (version, today) = (self.version, self.today());
        let books = self.databases.get_mut(database).ok_or_else(|| Refusal::no_database(database))?;
        let known = books.users.iter().find(|known| known.id == user).cloned();
        let user = known.ok_or_else(|| Refusal::missing("res.users", user, user))?;
        books.call(&Caller { user: &user, version, today }, call)
    }

    /// The user of a key that has not run out, or of a password; of this id where one is given.
    fn user_by_key(&self, database: &str, id: Option<i64>, key: &str) -> Option<i64> {
        let users = &self.databases.get(database)?.users;
        let now = chrono::Utc::now();
        let opens = |user: &&super::User| {
            let by_key = user.keys.iter().any(|it| it.key == key && it.expires.is_none_or(|end| end > now));
            // JSON-2 takes no password.
            by_key || id.is_some() && !user.password.is_empty() && user.password == key
        };
        users.iter().filter(|user| id.is_none_or(|id| user.id == id)).find(opens).map(|user| user.id)
    }

    fn user_by_login(&self, database: &str, login: &str, key: &str) -> Option<i64> {
        let user = self.databases.get(database)?.users.iter().find(|user| user.login == login)?;
        self.user_by_key(database, Some(user.id), key)
    }
}

fn numbers(ids: Option<&Value>) -> Vec<i64> {
    match ids {
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_i64).collect(),
        Some(Value::Number(id)) => id.as_i64().into_iter().collect(),
        _ => Vec::new(),
    }
}
