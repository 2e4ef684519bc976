#!/usr/bin/env python3
"""Drives the simulated Google with real clients, and checks logged requests against Google's own description.

    google.py SIMULATED.json          gspread and google-api-python-client against the simulator
    google.py --check-log FILE...     each line {"method","target","body","status"} against the discovery document

SIMULATED.json: {"google": {"url": ..., "key_file": ..., "spreadsheet": ...}}. Needs gspread, google-api-python-client
and google-auth. The clients are used as they are; only the host they speak to is changed. The discovery document is the
one inside google-api-python-client, so neither the simulator's nor the connector's idea of the API is relied on.
"""

import importlib.resources
import json
import math
import os
import re
import sys
import urllib.parse

# This folder holds a `google.py` that would hide the package `google`.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]

import google.auth.exceptions
import google.auth.transport.requests
import gspread
import gspread.exceptions
import requests.adapters
from google.oauth2 import service_account
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

SCOPES = ["https://www.googleapis.com/auth/spreadsheets"]
DOCUMENT = json.loads(
    (importlib.resources.files("googleapiclient") / "discovery_cache/documents/sheets.v4.json").read_text())


# ---- the clients ----------------------------------------------------------------------------------------------------

class Elsewhere(requests.adapters.HTTPAdapter):
    """Sends what is meant for Google to the simulator."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def send(self, request, **options):
        request.url = re.sub(r"^https://sheets\.googleapis\.com", self.url, request.url)
        return super().send(request, **options)


def credentials(where, scopes=SCOPES):
    return service_account.Credentials.from_service_account_file(where["key_file"], scopes=scopes)


def spreadsheet_of(where, identifier, title):
    """Makes a spreadsheet through the simulator's own control, which is no part of Google's API."""
    answer = requests.post(where["url"] + "/simulator/spreadsheets", json={"id": identifier, "title": title}, timeout=10)
    answer.raise_for_status()


def check_gspread(where):
    session = google.auth.transport.requests.AuthorizedSession(credentials(where))
    session.mount("https://sheets.googleapis.com", Elsewhere(where["url"]))
    client = gspread.Client(auth=session.credentials, session=session)
    spreadsheet_of(where, "gspread-client", "Household")
    book = client.open_by_key("gspread-client")
    assert book.title == "Household" and book.locale == "en_US", book.title
    sheet = book.sheet1
    sheet.update([["Date", "Amount", "Payee"]], "A1:C1")
    for row in (["2026-01-03", 3, "Ivan"], ["2026-01-01", 1.5, "=IMPORTXML()"], ["2026-01-02", -2, "Мария"]):
        sheet.append_row(row, value_input_option="RAW")
    sheet.append_rows([["2026-01-05", 5, "x"], ["2026-01-04", 4, "y"]])
    assert sheet.get_all_values()[2] == ["2026-01-01", "1.5", "=IMPORTXML()"], sheet.get_all_values()
    assert len(sheet.get_all_records()) == 5 and sheet.get_all_records()[0]["Payee"] == "Ivan"
    sheet.sort((1, "asc"), range="A2:C6")
    assert sheet.col_values(2)[1:] == ["1.5", "-2", "3", "4", "5"], sheet.col_values(2)
    sheet.batch_update([{"range": "B2", "values": [[10]]}, {"range": "D1:D2", "values": [["Sum"], ["=B2+B3"]]}],
                       raw=False)
    assert sheet.acell("D2").value == "8" and sheet.acell("D2", value_render_option="FORMULA").value == "=B2+B3"
    assert sheet.get("A1:B2") == [["Date", "Amount"], ["2026-01-01", "10"]]
    assert [part[0][0] for part in sheet.batch_get(["A1", "C3"])] == ["Date", "Мария"]
    assert sheet.find("Ivan").row == 4
    sheet.insert_row(["new", 0, "top"], 2)
    assert sheet.row_values(2) == ["new", "0", "top"] and sheet.row_values(3)[2] == "=IMPORTXML()"
    sheet.delete_rows(2)
    sheet.format("B2:B10", {"numberFormat": {"type": "NUMBER", "pattern": "#,##0.00"}, "textFormat": {"bold": True}})
    assert sheet.acell("B2").value == "10.00"
    sheet.update_note("A1", "a note")
    assert sheet.get_note("A1") == "a note"
    sheet.freeze(rows=1)
    sheet.set_basic_filter("A1:C6")
    sheet.clear_basic_filter()
    sheet.define_named_range("A1:B2", "corner")
    assert [name["name"] for name in book.list_named_ranges()] == ["corner"]
    sheet.delete_named_range(book.list_named_ranges()[0]["namedRangeId"])
    sheet.add_protected_range("A1:C1", warning_only=True)
    sheet.merge_cells("E1:F1")
    sheet.unmerge_cells("E1:F1")
    sheet.hide_columns(4, 5)
    sheet.unhide_columns(4, 5)
    second = book.add_worksheet("Second tab", rows=5, cols=3)
    second.update_title("Renamed")
    second.update_tab_color("#ff0000")
    second.resize(rows=7, cols=2)
    assert (second.row_count, second.col_count) == (7, 2)
    assert [tab.title for tab in book.worksheets()] == ["Sheet1", "Renamed"]
    book.reorder_worksheets([second, sheet])
    assert [tab.title for tab in book.worksheets()] == ["Renamed", "Sheet1"]
    book.del_worksheet(second)
    sheet.batch_clear(["A6:C6"])
    assert sheet.row_values(6) == [], sheet.row_values(6)
    sheet.clear()
    assert sheet.get_all_values() == [[]], sheet.get_all_values()
    book.update_title("Renamed book")
    book.update_locale("bg_BG")
    book.update_timezone("Europe/Sofia")
    assert client.open_by_key("gspread-client").locale == "bg_BG"
    refused(lambda: book.add_worksheet("Sheet1", 1, 1), 400, "already exists")
    refused(lambda: client.open_by_key("nothing").title, 404, "Requested entity was not found.")
    refused(lambda: sheet.update([["x"]], "Nowhere!A1"), 400, "Unable to parse range: ")


def refused(call, status, text):
    """The call must fail, with this status and text."""
    try:
        call()
    except gspread.exceptions.SpreadsheetNotFound:
        assert status == 404
    except gspread.exceptions.APIError as error:
        assert error.response.status_code == status and text in str(error), error
    else:
        raise AssertionError(f"not refused: {text}")


def service(where, scopes=SCOPES):
    return build_from_document(dict(DOCUMENT, rootUrl=where["url"] + "/"), credentials=credentials(where, scopes))


def check_api_client(where):
    identifier = "api-client"
    spreadsheet_of(where, identifier, "Books")
    books = service(where).spreadsheets()
    # The recipe of a delivery: guard, rows, ledger in one batch.
    books.batchUpdate(spreadsheetId=identifier, body={"requests": [
        {"addSheet": {"properties": {"sheetId": 7, "title": "Transactions", "gridProperties": {
            "rowCount": 3, "columnCount": 3, "frozenRowCount": 1}}}},
        {"updateCells": {"start": {"sheetId": 7}, "fields": "userEnteredValue", "rows": [
            {"values": [text("Date"), text("Amount"), text("ID")]}]}},
        {"createDeveloperMetadata": {"developerMetadata": {
            "metadataId": 9001, "metadataKey": "ledger", "metadataValue": "0", "visibility": "DOCUMENT",
            "location": {"spreadsheet": True}}}},
    ]}).execute()

    def deliver(number, rows):
        return books.batchUpdate(spreadsheetId=identifier, body={
            "requests": [
                {"addNamedRange": {"namedRange": {"namedRangeId": f"g{number}", "name": f"guard_{number:06}", "range": {
                    "sheetId": 7, "startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1}}}},
                {"appendCells": {"sheetId": 7, "fields": "userEnteredValue,userEnteredFormat.numberFormat",
                                 "rows": [{"values": row} for row in rows]}},
                {"updateDeveloperMetadata": {"dataFilters": [{"developerMetadataLookup": {"metadataId": 9001}}],
                                             "developerMetadata": {"metadataValue": str(number)},
                                             "fields": "metadataValue"}},
            ],
            "includeSpreadsheetInResponse": True, "responseRanges": ["Transactions!C:C"],
        }, fields="replies,updatedSpreadsheet.sheets.data.rowData.values.userEnteredValue").execute()

    day = {"userEnteredValue": {"numberValue": 46000},
           "userEnteredFormat": {"numberFormat": {"type": "DATE", "pattern": "yyyy-mm-dd"}}}
    answer = deliver(1, [[day, {"userEnteredValue": {"numberValue": n}}, text(f"id-{n}")] for n in range(4)])
    ids = [row["values"][0]["userEnteredValue"]["stringValue"]
           for row in answer["updatedSpreadsheet"]["sheets"][0]["data"][0]["rowData"]]
    assert ids == ["ID", "id-0", "id-1", "id-2", "id-3"], ids
    assert len(answer["replies"]) == 3 and answer["replies"][1] == {}
    error = failing(lambda: deliver(1, [[day]]))
    assert error == (400, "Invalid requests[0].addNamedRange: Cannot add named range with name: guard_000001, "
                          "a named range with that name already exists."), error
    error = failing(lambda: deliver(2, [[text("")] * 4]))
    assert error[0] == 400 and error[1].startswith("Invalid requests[1].appendCells: "), error
    found = books.developerMetadata().get(spreadsheetId=identifier, metadataId=9001).execute()
    assert found["metadataValue"] == "1" and found["location"]["locationType"] == "SPREADSHEET", found
    names = books.get(spreadsheetId=identifier, fields="namedRanges(name,namedRangeId)").execute()
    assert names == {"namedRanges": [{"name": "guard_000001", "namedRangeId": "g1"}]}, names
    values = books.values().get(spreadsheetId=identifier, range="Transactions!A2:C2").execute()["values"]
    assert values == [["2025-12-09", "0", "id-0"]], values
    row = {"dimensionRange": {"sheetId": 7, "dimension": "ROWS", "startIndex": 2, "endIndex": 3}}
    books.batchUpdate(spreadsheetId=identifier, body={"requests": [
        {"createDeveloperMetadata": {"developerMetadata": {
            "metadataKey": "row", "metadataValue": "id-1", "visibility": "DOCUMENT", "location": row}}},
        {"insertDimension": {"range": {"sheetId": 7, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}}},
        {"moveDimension": {"source": {"sheetId": 7, "dimension": "COLUMNS", "startIndex": 2, "endIndex": 3},
                           "destinationIndex": 0}},
    ]}).execute()
    by_row = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "row", "metadataValue": "id-1"}}]}
    answer = books.values().batchGetByDataFilter(spreadsheetId=identifier, body=by_row).execute()
    assert answer["valueRanges"][0]["valueRange"]["range"] == "Transactions!A4:C4", answer
    assert answer["valueRanges"][0]["valueRange"]["values"][0][0] == "id-1", answer
    answer = books.developerMetadata().search(spreadsheetId=identifier, body=by_row).execute()
    assert answer["matchedDeveloperMetadata"][0]["developerMetadata"]["location"]["dimensionRange"]["startIndex"] == 3
    answer = books.getByDataFilter(spreadsheetId=identifier, fields="sheets.data", body=by_row).execute()
    assert answer["sheets"][0]["data"][0]["startRow"] == 3 and len(answer["sheets"]) == 1, answer
    books.values().batchUpdateByDataFilter(spreadsheetId=identifier, body={"valueInputOption": "RAW", "data": [
        {"dataFilter": by_row["dataFilters"][0], "values": [[None, "kept left"]]}]}).execute()
    values = books.values().get(spreadsheetId=identifier, range="Transactions!A4:B4").execute()["values"]
    assert values == [["id-1", "kept left"]], values
    made = books.create(body={"properties": {"title": "Made", "locale": "de_DE"}}).execute()
    assert made["properties"]["title"] == "Made" and made["sheets"][0]["properties"]["title"] == "Sheet1", made
    error = failing(lambda: books.get(spreadsheetId=identifier, fields="sheets.nonsense").execute())
    assert error[0] == 400, error
    error = failing(lambda: service(where, ["https://www.googleapis.com/auth/spreadsheets.readonly"]).spreadsheets()
                    .values().clear(spreadsheetId=identifier, range="A1", body={}).execute())
    assert error == (403, "Request had insufficient authentication scopes."), error


def check_refusals(where):
    """What the real clients would never send."""
    spreadsheet_of(where, "strict", "Strict")
    session = google.auth.transport.requests.AuthorizedSession(credentials(where))
    address = where["url"] + "/v4/spreadsheets/strict:batchUpdate"

    def message(body):
        answer = session.post(address, json=body, timeout=10)
        assert answer.status_code == 400, (answer.status_code, answer.text)
        return answer.json()["error"]["message"]

    assert "Unknown name \"cells\" at 'requests[0].update_cells.rows[0]': Cannot find field." in message(
        {"requests": [{"updateCells": {"start": {}, "fields": "*", "rows": [{"cells": []}]}}]})
    assert "sort_order" in message({"requests": [{"sortRange": {"range": {}, "sortSpecs": [{"sortOrder": "UP"}]}}]})
    assert "At least one field must be listed" in message({"requests": [{"repeatCell": {"range": {}, "cell": {}}}]})
    assert message({"requests": []}) == "Must specify at least one request."
    bad = requests.get(where["url"] + "/v4/spreadsheets/strict", headers={"Authorization": "Bearer no"}, timeout=10)
    assert bad.status_code == 401 and bad.json()["error"]["status"] == "UNAUTHENTICATED"
    none = requests.get(where["url"] + "/v4/spreadsheets/strict", timeout=10)
    assert none.status_code == 403, none.text
    try:
        credentials(where, ["https://www.googleapis.com/auth/nonsense"]).refresh(
            google.auth.transport.requests.Request())
    except google.auth.exceptions.RefreshError as error:
        assert "invalid_scope" in str(error), error
    else:
        raise AssertionError("a scope that is none was granted")


def text(value):
    return {"userEnteredValue": {"stringValue": value}}


def failing(call):
    try:
        call()
    except HttpError as error:
        return error.status_code, json.loads(error.content)["error"]["message"]
    raise AssertionError("not refused")


# ---- the log --------------------------------------------------------------------------------------------------------

def methods(resource=DOCUMENT):
    for method in resource.get("methods", {}).values():
        yield method
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


def pattern(method):
    parts = re.split(r"\{\+?(\w+)\}", method["path"])
    return re.compile("/" + "".join(re.escape(part) if at % 2 == 0 else "[^/]+?" for at, part in enumerate(parts)) + "$")


METHODS = [(method, pattern(method)) for method in methods()]


def problems(line):
    """What in a logged request the discovery document does not allow."""
    address = urllib.parse.urlsplit(line["target"])
    found = [method for method, path in METHODS if method["httpMethod"] == line["method"] and path.match(address.path)]
    # `values:batchGet` and the like also look like a range; the longest fixed path is meant.
    if not found:
        return [f"no method {line['method']} {address.path}"]
    method = max(found, key=lambda method: len(re.sub(r"\{.*?\}", "", method["path"])))
    allowed = dict(DOCUMENT["parameters"], **method.get("parameters", {}))
    out = []
    for name, value in urllib.parse.parse_qsl(address.query, keep_blank_values=True):
        kind = allowed.get(name)
        if kind is None or kind.get("location") == "path":
            out.append(f"unknown parameter {name}")
        elif "enum" in kind and value not in kind["enum"]:
            out.append(f"parameter {name}: {value} is none of {kind['enum']}")
        elif kind["type"] == "boolean" and value.lower() not in ("true", "false"):
            out.append(f"parameter {name}: {value} is no boolean")
    body = line["body"]
    if "request" not in method:
        return out + (["a body where none belongs"] if body.strip() else [])
    if not body.strip():
        return out
    try:
        parsed = json.loads(body)
    except ValueError as error:
        return out + [f"the body is no JSON: {error}"]
    return out + wrong(method["request"], parsed, "body")


def wrong(schema, value, path):
    """What in a value a schema does not allow. Null is the same as absent."""
    if value is None:
        return []
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema["type"]
    if kind == "any":
        return []
    if kind == "object":
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        if "additionalProperties" in schema:
            return [line for key, inner in value.items()
                    for line in wrong(schema["additionalProperties"], inner, f"{path}[{key}]")]
        fields = schema.get("properties", {})
        return [line for key, inner in value.items() for line in (
            wrong(fields[key], inner, f"{path}.{key}") if key in fields else [f"{path}.{key} does not exist"])]
    if kind == "array":
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [line for at, inner in enumerate(value) for line in wrong(schema["items"], inner, f"{path}[{at}]")]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is none of the enum"]
    good = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool) and -2**31 <= value < 2**31,
        "number": isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
    }[kind]
    return [] if good else [f"{path}: {value!r} is no {kind}"]


def check_log(files):
    checked = bad = other = 0
    for file in files:
        for number, text_line in enumerate(open(file, encoding="utf-8"), 1):
            line = json.loads(text_line)
            if not line["target"].startswith("/v4/"):
                other += 1
                continue
            checked += 1
            found = problems(line)
            bad += bool(found)
            for problem in found[:10]:
                print(f"FAILED {file}:{number} {line['method']} {line['target'][:80]}: {problem}")
    print(f"{checked} requests checked, {bad} against the discovery document, {other} not of the API")
    return 1 if bad or not checked else 0


def main():
    if sys.argv[1] == "--check-log":
        return check_log(sys.argv[2:])
    where = json.load(open(sys.argv[1]))["google"]
    # The clients here send more than a minute's worth.
    requests.post(where["url"] + "/simulator/settings", json={"quota": None}, timeout=10).raise_for_status()
    for check in (check_gspread, check_api_client, check_refusals):
        check(where)
        print(f"ok {check.__name__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
