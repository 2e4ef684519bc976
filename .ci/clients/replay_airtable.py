"""Holds the simulated Airtable against traffic recorded from the real one.

    BANKFEED_RECORDINGS=… replay_airtable.py STATE.json      {"airtable": {"url": …, "token": …, "base": …}}

For every recording the simulator is brought to the state the request presumes (through its /simulator paths, which are
no part of the real API), the request is sent, and the answer compared: status, keys at every level, types, order of
records, and values other than new ids and times. Documented and reported errors are provoked and compared by status,
type and text, the names inside the text apart. Prints `N passed, N failed, N skipped` with reasons; fails on a failure.
The recordings are read in place and are no part of this repository.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

ID = re.compile(r"^(app|tbl|fld|rec|viw|sel|usr|att|itr)[A-Za-z0-9]{14,}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

BASE = "appReplayReplay01"
EMPLOYEES = [
    {"name": "Employee", "type": "singleLineText"},
    {"name": "Phone", "type": "phoneNumber"},
    {"name": "Headshot", "type": "multipleAttachments"},
    {"name": "Employee type", "type": "singleSelect"},
    {"name": "Manager", "type": "singleCollaborator"},
]
ARTICLES = [
    {"name": "Title", "type": "singleLineText"},
    {"name": "Description", "type": "multilineText"},
    {"name": "Published at", "type": "dateTime"},
]
# For errors that are known without the request that caused them.
ERRORS = [
    {"name": "txid", "type": "singleLineText"},
    {"name": "title", "type": "number"},
    {"name": "state", "type": "singleSelect"},
]


class Mismatch(Exception):
    pass


class Simulator:
    def __init__(self, state, folder):
        self.url, self.token, self.folder = state["url"], state["token"], folder

    def ask(self, method, target, body=None, token=None):
        headers = {"authorization": f"Bearer {token or self.token}"}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["content-type"] = "application/json"
        request = urllib.request.Request(self.url + target, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def set_up(self, **what):
        for path, body in what.items():
            status, answer = self.ask("POST", f"/simulator/{path}", body)
            if status != 200:
                raise Mismatch(f"cannot set up {path}: {answer}")
        return answer

    def base(self, base, tables):
        self.set_up(bases={"bases": [{"id": base, "name": "Replay", "tables": tables}]})

    def recording(self, name):
        with open(os.path.join(self.folder, f"{name}.json"), encoding="utf-8") as file:
            return json.load(file)


def compare(expected, found, known, where="body"):
    """Structure, types and order must be equal; values too, but for ids the state did not hold, and times."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if set(expected) != set(found):
            raise Mismatch(f"{where}: keys missing {sorted(set(expected) - set(found))}, "
                           f"extra {sorted(set(found) - set(expected))}")
        for key in expected:
            compare(expected[key], found[key], known, f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            raise Mismatch(f"{where}: {len(expected)} items expected, {len(found)} found")
        for at, (left, right) in enumerate(zip(expected, found)):
            compare(left, right, known, f"{where}[{at}]")
    elif isinstance(expected, str) and isinstance(found, str):
        for pattern in (ID, TIME):
            if pattern.match(expected) and pattern.match(found) and expected not in known:
                return
        if expected != found:
            raise Mismatch(f"{where}: {expected!r} expected, {found!r} found")
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        raise Mismatch(f"{where}: {expected!r} expected, {found!r} found")


def anonymous(text):
    """A message without the names in it."""
    text = re.sub(r"\b(rec|app|tbl|itr)[A-Za-z0-9]{14}(/rec[A-Za-z0-9]{14})?", "ID", text)
    return re.sub(r'"[^"]*"', '"NAME"', text)


def compare_error(left, right, where="body"):
    """As `compare`, with the names inside the texts apart."""
    if isinstance(left, dict) and isinstance(right, dict):
        if set(left) != set(right):
            raise Mismatch(f"{where}: keys {sorted(left)} expected, {sorted(right)} found")
        for key in left:
            compare_error(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, other in zip(left, right):
            compare_error(one, other, where)
    elif type(left) is not type(right) or anonymous(str(left)) != anonymous(str(right)):
        raise Mismatch(f"{where}: {left!r} expected, {right!r} found")


def target_of(request):
    path = request["path"].replace("<AIRTABLE_BASE_ID>", BASE)
    if request.get("query"):
        path += "?" + urllib.parse.urlencode(request["query"], doseq=True)
    return path


def columns_of(simulator, path):
    """Columns of the table a recorded path speaks of."""
    if "Articles" in path:
        return ARTICLES
    if "applZ8mmnZKl0jmeo" not in path:
        return EMPLOYEES
    tables = simulator.recording("meta_tables_200")["response"]["body"]["tables"]
    wanted = "Empty" if "Empty" in path else "All"
    fields = [table for table in tables if table["name"] == wanted][0]["fields"]
    columns = []
    for field in fields:
        column = {"name": field["name"], "type": field["type"]}
        if "choices" in field.get("options", {}):
            column["options"] = {"choices": [{"name": choice["name"]} for choice in field["options"]["choices"]]}
        if field["type"] == "rating":
            column["options"] = {"icon": "star", "max": 5, "color": "yellowBright"}
        if field["type"] == "formula":
            column["options"] = {"formula": "{Name}&{f_autoNumber}"}
        columns.append(column)
    return columns


def with_constants(simulator, columns):
    """Gives the columns that the simulator does not compute what they showed in a recorded row."""
    body = simulator.recording("create_batch_200_one")["response"]["body"]
    fields = body["records"][0]["fields"]
    computed = ("button", "createdBy", "lastModifiedBy", "rollup", "count")
    for column in columns:
        if column["type"] in computed:
            column["constant"] = fields[column["name"]]
    return columns


def rows_before(simulator, file):
    """Rows that must be there before the request, other than the answer wherever the request changes or selects."""
    request, body = file["request"], file["response"]["body"]
    sent = request.get("body") or {}
    if request["method"] == "DELETE":
        return [{"id": row["id"]} for row in body["records"]]
    if request["method"] == "POST" and not request["path"].endswith("listRecords"):
        return []
    if "error" in body:
        return [{"id": row["id"]} for row in sent.get("records", []) if "id" in row]
    rows = body.get("records", [body])
    before = []
    for at, row in enumerate(rows):
        if row["id"] in body.get("createdRecords", []):
            continue
        stored = {"id": row["id"], "createdTime": row["createdTime"], "fields": stored_fields(row["fields"])}
        if request["method"] == "PATCH":
            changed = sent["fields"] if "fields" in sent else sent["records"][at]["fields"]
            unlike_answer(simulator, stored["fields"], changed, sent.get("performUpsert"))
        if "f_autoNumber" in row["fields"]:
            stored["number"] = row["fields"]["f_autoNumber"]
        before.append(stored)
    if "sort" in sent:
        before.reverse()
    if "filterByFormula" in request.get("query", {}):
        before.insert(0, {"fields": {"Name": "Somebody else"}})
    return before


def stored_fields(fields):
    return {key: value for key, value in fields.items() if key not in NOT_STORED}


def unlike_answer(simulator, fields, changed, upsert):
    """Makes cells that the request writes differ beforehand, but for the key of an upsert."""
    filled = simulator.recording("create_batch_200_all_field_types")["request"]["body"]["records"][0]["fields"]
    for name, value in changed.items():
        if upsert and name in upsert["fieldsToMergeOn"]:
            continue
        if value is None:
            fields[name] = filled[name]
        else:
            fields.pop(name, None)


NOT_STORED = {"f_autoNumber", "f_createdTime", "f_formula", "f_lastModifiedTime"}


def replay(simulator, name, file):
    """A recorded request, answered from the state it presumes."""
    request, response = file["request"], file["response"]
    target = target_of(request)
    path = [urllib.parse.unquote(part) for part in urllib.parse.urlsplit(target).path.strip("/").split("/")]
    columns = columns_of(simulator, target)
    if "applZ8mmnZKl0jmeo" in target:
        columns = with_constants(simulator, columns)
    body = response["body"]
    if name == "listrecords_post_200_sort_fields":
        # A name that was replaced after the recording no longer sorts where it stood.
        for row in body["records"]:
            if row["fields"].get("Employee") == "Employee Redacted":
                row["fields"]["Employee"] = "Kind Redacted"
    rows = rows_before(simulator, file)
    table = {"id": path[2] if path[2].startswith("tbl") else None, "name": path[2], "fields": columns,
             "records": rows}
    created = [row["fields"].get("f_autoNumber") for row in body.get("records", [])] if not rows else []
    if created and created[0]:
        table["numbered"] = created[0] - 1
    tables = [] if name == "err_404_table_not_found_2022" else [table]
    simulator.base(path[1], tables)
    status, found = simulator.ask(request["method"], target, request.get("body"))
    if status != response["status"]:
        raise Mismatch(f"status {response['status']} expected, {status} found: {found}")
    known = {row["id"] for row in rows if "id" in row}
    compare(body, found, known)


def meta(simulator, name, file):
    """Recorded and sampled schema calls: the body itself is the state."""
    body = file["response"]["body"]
    if name in ("meta_bases_200", "meta_bases_docs_shape"):
        ids = [base["id"] for base in body["bases"]]
        simulator.set_up(bases={"bases": [{"id": base["id"], "name": base["name"]} for base in body["bases"]]})
        token = simulator.set_up(tokens={"bases": ids})["token"]
        status, found = simulator.ask("GET", "/v0/meta/bases", token=token)
        for base in body["bases"]:
            # The simulator's tokens have one role in all their bases.
            base["permissionLevel"] = "create"
        compare(body, found, set(ids))
        return status == 200 or fail(f"status {status}")
    if name == "field_schemas_pyairtable":
        tables = [{"name": "T", "fields": list(body.values())}]
    else:
        tables = body["tables"]
    base = BASE if name == "field_schemas_pyairtable" else file["request"]["path"].split("/")[4]
    state = []
    for table in tables:
        kept = {key: table[key] for key in ("id", "name", "primaryFieldId") if key in table}
        kept["fields"] = [{"options": None, **field} for field in table["fields"]]
        state.append(kept)
    simulator.base(base, state)
    status, found = simulator.ask("GET", f"/v0/meta/bases/{base}/tables")
    if status != 200:
        raise Mismatch(f"status {status}")
    if name == "field_schemas_pyairtable":
        compare(list(body.values()), found["tables"][0]["fields"], set())
    else:
        compare(body, found, {table["id"] for table in tables})
    return True


def fail(why):
    raise Mismatch(why)


def upsert_semantics(simulator, file):
    """What a client's tests assert of the live service."""
    body, expected = file["request"]["body"], file["response"]["body"]
    columns = [{"name": "text", "type": "singleLineText"}, {"name": "num", "type": "number"}]
    one, two = "recReplayReplay01", "recReplayReplay02"
    rows = [{"id": one, "fields": {"text": "One"}}, {"id": two, "fields": {"text": "Two"}}]
    simulator.base(BASE, [{"name": "T", "fields": columns, "records": rows}])

    def send(method, key):
        records = json.loads(json.dumps(body[key]).replace("recONE", one))
        asked = {"performUpsert": body["performUpsert"], "records": records}
        status, found = simulator.ask(method, f"/v0/{BASE}/T", asked)
        if status != 200 or [row["fields"] for row in found["records"]] != expected[key]["fields"]:
            raise Mismatch(f"{key}: {found}")
        return found

    found = send("PATCH", "patch")
    if found["updatedRecords"] != [one, two] or found["createdRecords"] != [found["records"][2]["id"]]:
        raise Mismatch(f"{found}")
    found = send("PUT", "put")
    if found["createdRecords"] != [found["records"][3]["id"]]:
        raise Mismatch(f"{found}")


def wire(simulator, file):
    """Requests as real clients send them must find their way, whatever they then are told about their content."""
    accepted = 0
    told = ("INVALID_FILTER_BY_FORMULA", "LIST_RECORDS_ITERATOR_NOT_AVAILABLE")
    for request in file["requests"]:
        method, target, body = request["method"], request["target"], request["body"]
        names = ["Tränsactions/2026", "paged", "rate", "quota", "nf"]
        if not (method == "POST" and target.endswith("/tables")):
            names.append("T")
        columns = [{"name": "txid", "type": "singleLineText"}, {"name": "date", "type": "date"},
                   {"name": "a", "type": "number"}]
        if not target.endswith("/fields"):
            columns.append({"name": "amount", "type": "currency"})
        rows = [1, 2, 9]
        tables = [{"name": name, "fields": columns,
                   "records": [{"id": f"rec{row:014}"} for row in rows] if "/" in name else []} for name in names]
        simulator.base("appuDtbNAbPABffT2", tables)
        status, found = simulator.ask(method, target, body)
        kind = found.get("error", {}).get("type") if status == 422 else None
        if status != 200 and kind not in told:
            raise Mismatch(f"{request['client']} {method} {target}: {status} {found}")
        accepted += 1
    if accepted == 0:
        raise Mismatch("no requests in the recording")


def provoke(simulator, name):
    """Brings about an error that is known by its answer only; returns what came."""
    rows = [{"id": "recReplayReplay01"}]
    simulator.base(BASE, [{"name": "T", "fields": ERRORS, "records": rows}])
    records = f"/v0/{BASE}/T"

    def create(fields, **more):
        return simulator.ask("POST", records, {"records": [{"fields": fields}], **more})

    def listed(offset):
        return simulator.ask("GET", f"{records}?offset={offset}")

    def settings(**wanted):
        simulator.set_up(settings=wanted)
        answer = simulator.ask("GET", records)
        simulator.set_up(settings={"perSecond": None, "monthlyCalls": None})
        return answer

    def as_role(role):
        return simulator.ask("POST", records, {"fields": {}}, token=simulator.set_up(tokens={"role": role})["token"])

    def without_schema():
        simulator.set_up(settings={"oldErrors": True})
        token = simulator.set_up(tokens={"scopes": ["data.records:read"]})["token"]
        answer = simulator.ask("GET", f"/v0/meta/bases/{BASE}/tables", token=token)
        simulator.set_up(settings={"oldErrors": False})
        return answer

    patch = {"records": [{"id": "recp3To0hE6ltYTqI", "fields": {}}]}
    ways = {
        "doc_403_invalid_permissions": lambda: as_role("read"),
        "doc_403_model_not_found": lambda: simulator.ask("GET", f"/v0/{BASE}/None"),
        "doc_404_object": without_schema,
        "err_404_meta_tables_no_access_object": without_schema,
        "doc_404_string": lambda: simulator.ask("GET", "/v0/junk/T"),
        "err_404_bare_string_not_found": lambda: simulator.ask("GET", "/v0/meta/bases/junk/tables"),
        "doc_422_invalid_request_unknown": lambda: create({}, unknown=True),
        "doc_422_iterator_expired": lambda: listed("itrAAAAAAAAAAAAAA/recAAAAAAAAAAAAAA"),
        "doc_429_rate_limit": lambda: settings(perSecond=0, penaltySeconds=0),
        "reported_429_monthly_quota": lambda: settings(monthlyCalls=0),
        "err_401_authentication_required": lambda: simulator.ask("GET", "/v0/meta/bases", token="patNone"),
        "reported_422_invalid_offset": lambda: listed("recXXXXXXXXXXXXXX"),
        "reported_422_invalid_records": lambda: simulator.ask("PATCH", records, {"records": [{"fields": {}}]}),
        "reported_422_invalid_value": lambda: create({"title": "text"}),
        "reported_422_more_than_10_records": lambda: simulator.ask("POST", records,
                                                                    {"records": [{"fields": {}}] * 100}),
        "reported_422_row_does_not_exist": lambda: simulator.ask("PATCH", records, patch),
        "reported_422_select_option": lambda: create({"state": "Pending"}),
        "reported_422_unknown_field": lambda: create({"sessionId": "x"}),
        "err_404_record_not_found_2022": lambda: simulator.ask("GET", f"{records}/recZllNxpnYJazfnO"),
    }
    return ways[name]() if name in ways else None


SKIPPED = {"doc_503_retriable": "comes from a scripted fault only"}


def run(simulator, name):
    """Checks one recording."""
    file = simulator.recording(name)
    simulator.set_up(settings={"perSecond": None, "monthlyCalls": None, "recordCap": None, "oldErrors": False})
    if name == "wire_requests_pyairtable_airtablejs":
        return wire(simulator, file)
    if name == "livetest_upsert_semantics":
        return upsert_semantics(simulator, file)
    if name in ("meta_bases_200", "meta_bases_docs_shape", "meta_tables_200", "field_schemas_pyairtable"):
        return meta(simulator, name, file)
    provoked = provoke(simulator, name)
    if provoked is not None:
        status, found = provoked
        if status != file["response"]["status"]:
            raise Mismatch(f"status {file['response']['status']} expected, {status} found: {found}")
        return compare_error(file["response"]["body"], found)
    if name == "err_404_table_not_found_2022":
        simulator.set_up(settings={"oldErrors": True})
    return replay(simulator, name, file)


def main():
    recordings = os.environ.get("BANKFEED_RECORDINGS")
    if not recordings:
        print("0 passed, 0 failed, 1 skipped\n  skipped all: BANKFEED_RECORDINGS is not set")
        return
    folder = os.path.join(recordings, "airtable")
    with open(sys.argv[1], encoding="utf-8") as file:
        simulator = Simulator(json.load(file)["airtable"], folder)
    names = sorted(name[:-5] for name in os.listdir(folder) if name.endswith(".json") and name != "INDEX.json")
    passed, failed, skipped = 0, [], []
    before = simulator.set_up(settings={})
    for name in names:
        if name in SKIPPED:
            skipped.append(f"{name}: {SKIPPED[name]}")
            continue
        try:
            run(simulator, name)
            passed += 1
        except Exception as error:
            # A recording that raises an error fails alone; the others still count.
            failed.append(f"{name}: {type(error).__name__} {error}")
    simulator.set_up(settings=before)
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    for title, lines in (("failed", failed), ("skipped", skipped)):
        for line in lines:
            print(f"  {title} {line}")
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
