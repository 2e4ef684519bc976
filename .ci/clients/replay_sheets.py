#!/usr/bin/env python3
"""Replays recorded Google Sheets traffic against the simulator and compares the answers.

    replay_sheets.py SIMULATED.json

SIMULATED.json says where the simulator is: {"google": {"url": ..., "key_file": ...}}. The recordings are found in
$BANKFEED_RECORDINGS/sheets; without that variable nothing is replayed and the script says so. Only the standard
library and google-auth are used.

Compared are: the status, the set of keys at every level, literal values except ids, dates and project numbers, error
texts literally, and the layout (two spaces of indent, final newline).
"""

import glob
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

# This folder holds a `google.py` that would hide the package `google`.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]

import google.auth.transport.requests
from google.oauth2 import service_account

SCOPE = "https://www.googleapis.com/auth/spreadsheets"
# Values the service makes up, or that the recorder replaced.
FREE = {"spreadsheetId", "spreadsheetUrl", "sheetId", "namedRangeId", "protectedRangeId", "metadataId",
        "window_start_time", "consumer"}


class Simulator:
    def __init__(self, where):
        self.url = where["url"]
        self.credentials = service_account.Credentials.from_service_account_file(where["key_file"], scopes=[SCOPE])
        self.credentials.refresh(google.auth.transport.requests.Request())

    def send(self, method, target, body=None, token=True):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + target, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        elif method in ("POST", "PUT"):
            request.data = b""
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", "Bearer " + self.credentials.token)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def spreadsheet(self, identifier, title, access="editor"):
        self.send("POST", "/simulator/spreadsheets", {"id": identifier, "title": title, "access": access}, token=False)

    def settings(self, **settings):
        self.send("POST", "/simulator/settings", settings, token=False)

    def api(self, method, target, body=None):
        status, _, text = self.send(method, target, body)
        if status != 200:
            raise RuntimeError(f"setting up {target}: {status} {text}")
        return json.loads(text)


def differences(recorded, answered, path="", error=False):
    """What differs, as a list of lines."""
    if isinstance(recorded, dict) and isinstance(answered, dict):
        found = []
        # Answers carry this since 2026; older recordings do not.
        keys, others = set(recorded) - {"commentUpdateState"}, set(answered) - {"commentUpdateState"}
        for key in sorted(keys - others):
            found.append(f"{path}.{key} is missing")
        for key in sorted(others - keys):
            found.append(f"{path}.{key} is extra: {json.dumps(answered[key])[:80]}")
        for key in sorted(keys & others):
            if key not in FREE:
                found += differences(recorded[key], answered[key], f"{path}.{key}")
        return found
    if isinstance(recorded, list) and isinstance(answered, list):
        # The recorder cut long lists and said so in their last item.
        if recorded and isinstance(recorded[-1], str) and recorded[-1].startswith("<..."):
            recorded = recorded[:-1]
            answered = answered[:len(recorded)]
        if len(recorded) != len(answered):
            return [f"{path} has {len(answered)} items, recorded {len(recorded)}"]
        return [line for at, pair in enumerate(zip(recorded, answered)) for line in differences(*pair, f"{path}[{at}]")]
    if path.endswith(".message") and isinstance(recorded, str):
        recorded = re.sub(r"project_number:[^'.]*", "project_number:N", recorded)
        answered = re.sub(r"project_number:[^'.]*", "project_number:N", str(answered))
    # True is 1 in Python, not on the wire; 2 and 2.0 are the same there.
    same = recorded == answered and isinstance(recorded, bool) == isinstance(answered, bool)
    return [] if same else [f"{path} is {json.dumps(answered)}, recorded {json.dumps(recorded)}"]


def target_of(request, identifier=None):
    if request.get("raw_target"):
        return request["raw_target"]
    path = re.sub(r"<[A-Z_]*ID>", identifier or "", request["path"])
    query = request.get("query") or ""
    query = query if isinstance(query, str) else urllib.parse.urlencode([tuple(pair) for pair in query])
    return path + ("?" + query if query else "")


def exchange(simulator, request, response, identifier=None):
    """Sends one recorded request; gives what differs."""
    status, headers, text = simulator.send(request["method"], target_of(request, identifier), request.get("body"))
    return compare(status, headers, text, response)


def compare(status, headers, text, response):
    if status != response["status"]:
        return [f"status {status}, recorded {response['status']}: {text[:300]}"]
    found = []
    if not headers.get("content-type", "").startswith("application/json; charset=UTF-8"):
        found.append(f"content-type is {headers.get('content-type')}")
    try:
        answered = json.loads(text)
    except ValueError:
        return found + [f"not JSON: {text[:200]}"]
    # Both texts must be laid out alike, so the rule is held against the recording first.
    for layout, whose in ((response.get("body_text"), "recorded"), (text, "answered")):
        if layout and layout != json.dumps(json.loads(layout), indent=2, ensure_ascii=False) + "\n":
            found.append(f"the {whose} layout is not two spaces of indent and a final newline")
    return found + differences(response["body"], answered)


# Steps that bring a fresh spreadsheet to the state presumed by a recorded request: functions of (simulator, path).

def resize(rows, columns):
    return lambda sim, path: sim.api("POST", path + ":batchUpdate", {"requests": [{"updateSheetProperties": {
        "properties": {"sheetId": 0, "gridProperties": {"rowCount": rows, "columnCount": columns}},
        "fields": "gridProperties/rowCount,gridProperties/columnCount"}}]})


def put(cells, values, option="RAW"):
    where = urllib.parse.quote(f"'Sheet1'!{cells}", safe="")
    return lambda sim, path: sim.api("PUT", f"{path}/values/{where}?valueInputOption={option}", {"values": values})


def batch(*requests):
    return lambda sim, path: sim.api("POST", path + ":batchUpdate", {"requests": list(requests)})


def rename(title, sheet=0):
    return batch({"updateSheetProperties": {"properties": {"sheetId": sheet, "title": title}, "fields": "title"}})


def tabs(*wanted):
    return batch(*({"addSheet": {"properties": {"sheetId": sheet, "title": title}}} for sheet, title in wanted))


def row_keys(sheet, count, rows):
    """The tab of the live probes: a key in each row's first cell and as metadata on the row."""
    def set_up(sim, path):
        # The recorded search answers k-004, k-002, k-003 first: entries are made in the reverse order of that.
        order = [number for number in range(count, 0, -1) if number not in (2, 3, 4)] + [3, 2, 4]
        sim.api("POST", path + ":batchUpdate", {"requests": [{"createDeveloperMetadata": {"developerMetadata": {
            "metadataKey": "harvester.row-key", "metadataValue": f"k-{number:03}", "visibility": "DOCUMENT",
            "location": {"dimensionRange": {"sheetId": sheet, "dimension": "ROWS", "startIndex": rows(number),
                                            "endIndex": rows(number) + 1}}}}} for number in order]})
        for number in range(1, count + 1):
            where = urllib.parse.quote(f"Jobs!A{rows(number) + 1}", safe="")
            company = "Beta" if number == 2 else f"Company {number}"
            sim.api("PUT", f"{path}/values/{where}?valueInputOption=RAW",
                    {"values": [[f"k-{number:03}", company, "Analyst", "d", "e", "f", "g"]]})
    return set_up


DATES = [["=4/2", "2020-01-01", "string", 53], ["=3/2", 0.12, "1999-01-02", ""]]
EMPTY_ROW = ["test_append_row_with_empty_value 1", "", "test_append_row_with_empty_value 3"]
ANCHORED_ROW = [text.replace("_value ", "_value_and_table_range ") for text in EMPTY_ROW]
JOBS = 1873450312

SET_UP = {
    "01": [], "05": [], "10": [], "11": [], "12": [], "14": [], "15": [], "18": [], "20": [], "21": [], "22": [],
    "24": [], "25": [], "26": [], "28": [], "29": [], "30": [],
    "04": [batch({"updateSheetProperties": {"properties": {"sheetId": 0, "tabColorStyle": {"rgbColor": {
        "red": 1, "green": 0, "blue": 0.49803922}}}, "fields": "tabColorStyle"}})],
    "06": [put("J2:K2", [["test_find 1", "test_find 1"]])],
    "07": [resize(2, 4)],
    "08": [resize(2, 4), put("A1:D2", DATES, "USER_ENTERED")],
    "09": [resize(2, 4), put("A1:D2", DATES, "USER_ENTERED")],
    "13": [put("A1:B1", [["A1", "B1"]]), put("B4:D4", [["B4", "", "D4"]])],
    "16": [put("A1:C1", [EMPTY_ROW])],
    "17": [put("A1:C1", [ANCHORED_ROW])],
    "19": [tabs((1877059582, "test_add_del_worksheet 1"))],
    "23": [resize(6, 3)],
    "27": [put("A1", [["a"], ["b"], ["c"]])],
    "40": [tabs((JOBS, "Jobs"), (1845724677, "Scratch"))],
    "41": [rename("Scratch")],
    "42": [tabs((11, "B"), (12, "C"))],
    "43": [tabs((JOBS, "Jobs")), row_keys(JOBS, 8, lambda number: number)],
    "44": [tabs((JOBS, "Jobs")), row_keys(JOBS, 6, lambda number: 7 - number)],
    "45": [tabs((JOBS, "Jobs")), row_keys(JOBS, 6, lambda number: 7 - number)],
    "46": [tabs((7001, "Scratch"))],
    "49": [],
}
# The rows of 44 and 45 after the sort: k-002 in sheet row 6, k-003 in 5.

SKIPPED = {
    "47": "answered by the Gmail host; the shape is covered by the simulator's own tests",
}


def replay_single(simulator, name, recording):
    number = name[:2]
    request, response = recording["request"], recording["response"]
    found = re.match(r"/v4/spreadsheets/([^/:?<]+)", request["path"])
    identifier = found.group(1) if found else "1" + "Live" * 10 + number
    title = "spreadsheet"
    if number == "01":
        title = response["body"]["properties"]["title"]
    if number not in ("02",):
        simulator.spreadsheet(identifier, title, "none" if number == "03" else "editor")
    for step in SET_UP.get(number, []):
        step(simulator, "/v4/spreadsheets/" + identifier)
    if number == "46":
        simulator.settings(quota=60)
        for _ in range(60):
            simulator.api("POST", f"/v4/spreadsheets/{identifier}:batchUpdate", request["body"])
    if number == "49":
        simulator.settings(oldErrors=True)
    try:
        return exchange(simulator, request, response, identifier)
    finally:
        simulator.settings(quota=None, oldErrors=False)


def replay_own_files_only(where, recording):
    """File 48 with a token that sees only what its program made."""
    simulator = Simulator(where)
    scope = "https://www.googleapis.com/auth/drive.file"
    simulator.credentials = service_account.Credentials.from_service_account_file(where["key_file"], scopes=[scope])
    simulator.credentials.refresh(google.auth.transport.requests.Request())
    identifier = "1" + "Other" * 8
    simulator.spreadsheet(identifier, "not made by this program")
    return exchange(simulator, recording["request"], recording["response"], identifier)


def replay_sequence(simulator, recording):
    renamed = {}
    for at, step in enumerate(recording["interactions"]):
        request, response = step["request"], step["response"]
        if request["host"] == "www.googleapis.com":
            if request["method"] == "POST":
                simulator.spreadsheet(response["body"]["id"], request["body"]["name"])
            continue
        # Ids the real service made up stand in later requests: ours take their place.
        request = json.loads(re.sub(r"\b\d{6,10}\b", lambda hit: str(renamed.get(hit[0], hit[0])), json.dumps(request)))
        status, _, text = simulator.send(request["method"], target_of(request), request.get("body"))
        learn(response["body"], json.loads(text) if text.startswith("{") else {}, renamed)
        found = [] if status == response["status"] else [f"status {status}, recorded {response['status']}: {text[:300]}"]
        found = found or differences(response["body"], json.loads(text))
        if found:
            return [f"interaction {at} {request['method']} {target_of(request)}: {line}" for line in found]
    return []


def learn(recorded, answered, renamed):
    if isinstance(recorded, dict) and isinstance(answered, dict):
        for key in recorded.keys() & answered.keys():
            if key in ("sheetId", "namedRangeId", "protectedRangeId"):
                renamed[str(recorded[key])] = answered[key]
            learn(recorded[key], answered[key], renamed)
    elif isinstance(recorded, list) and isinstance(answered, list):
        for pair in zip(recorded, answered):
            learn(*pair, renamed)


def main():
    folder = os.environ.get("BANKFEED_RECORDINGS")
    if not folder:
        print("skipped: BANKFEED_RECORDINGS is not set")
        return 0
    where = json.load(open(sys.argv[1]))["google"]
    simulator = Simulator(where)
    simulator.settings(quota=None)
    folder = os.path.join(folder, "sheets")
    passed = failed = skipped = 0

    def count(name, found):
        nonlocal passed, failed
        passed, failed = passed + (not found), failed + bool(found)
        for line in found:
            print(f"FAILED {name}: {line}")

    for file in sorted(glob.glob(os.path.join(folder, "[0-9]*.json"))):
        name = os.path.basename(file)[:-len(".json")]
        recording = json.load(open(file))
        if name[:2] == "48":
            count(name, replay_own_files_only(where, recording))
        elif name[:2] in SKIPPED:
            skipped += 1
            print(f"skipped {name}: {SKIPPED[name[:2]]}")
        else:
            count(name, replay_single(simulator, name, recording))
    for file in sorted(glob.glob(os.path.join(folder, "sequences", "*.json"))):
        count("sequences/" + os.path.basename(file), replay_sequence(simulator, json.load(open(file))))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
